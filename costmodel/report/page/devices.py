"""Devices as the page has them: what one operation of each kind and type takes, and the memories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from costmodel.errors import CostModelError
from costmodel.fusion import policies
from costmodel.hardware import (
    TILES,
    Hardware,
    Link,
    MissingPeak,
    ProductCalibration,
    Protocol,
    Quantity,
    Standing,
    available,
    load,
    standing,
)
from costmodel.pricing.communication import LINK
from costmodel.pricing.tiles import SUM, products_of
from costmodel.pricing.times import runs_as, seconds_an_operation
from costmodel.report.page.places import Places
from costmodel.rules.work import BITS, OpKind, is_floating

# What a reader may price a program in, besides the types it was traced in.
TYPES = ("float32", "bfloat16", "float16", "float8_e4m3fn", "int8")


def devices(wanted: Sequence[str | Hardware]) -> list[Hardware]:
    """The devices that the page offers; all known ones where none is named."""
    return [each if isinstance(each, Hardware) else load(each) for each in (wanted or available())]


def exported(found: Iterable[Hardware], kinds: Sequence[OpKind], texts: Places[str],
             stands: Places[Standing]) -> list[dict[str, Any]]:
    """Each device; ``seconds`` has a list by type to price in ("" as traced), of seconds an operation of each kind, None where the
    device has no peak for it. ``shaped`` has one of the places in ``products`` of what predicts products of each kind by their
    shape, None where nothing does. ``figures`` are all that is known of it, as (label, value, unit, source), texts by their place;
    ``stands`` are the places of what predictions go by, by policy."""
    return [_device(device, kinds) | {"figures": [_figure(label, q, texts) for label, q in _figures(device)],
                                      "stands": _stands(device, stands)} for device in found]


def _stands(device: Hardware, stands: Places[Standing]) -> dict[str, int]:
    by_policy = {policy: standing(device, policy) for policy in policies()}
    return {policy: stands.of(each) for policy, each in by_policy.items() if each is not None}


def predictions(stands: Iterable[Standing]) -> list[dict[str, Any]]:
    """What each calibration says: efficiencies, seconds a kernel and a call, the factors of its 90 % interval, and its words."""
    return [{"of": {kind: q.value for kind, q in each.calibration.kinds.items()}, "efficiency": each.calibration.efficiency.value,
             "launch": each.calibration.launch.value, "call": each.calibration.call.value if each.calibration.call else 0.0,
             "interval": each.calibration.interval, "words": each.words} for each in stands]


def _figures(device: Hardware) -> Iterator[tuple[str, Quantity]]:
    yield "memory bandwidth", device.bandwidth
    if device.capacity:
        yield "memory capacity", device.capacity
    yield from ((f"{engine} {dtype}", quantity) for (engine, dtype), quantity in device.peaks.items())
    yield "a transcendental counts as", device.weight
    if device.launch_overhead:
        yield "launch overhead a kernel", device.launch_overhead
    for link in device.links:
        yield f"{link.name}, {link.direction}", link.bandwidth
        if link.latency:
            yield f"{link.name} latency", link.latency
    for level in device.levels:
        yield f"{level.name} capacity", level.capacity
        if level.bandwidth:
            yield f"{level.name} bandwidth", level.bandwidth


def _figure(label: str, quantity: Quantity, texts: Places[str]) -> list[Any]:
    source = quantity.source + (f"; doubt: {quantity.doubt}" if quantity.doubt else "")
    return [texts.of(label), quantity.value, texts.of(quantity.unit), texts.of(source)]


def _device(device: Hardware, kinds: Sequence[OpKind]) -> dict[str, Any]:
    launch = device.launch_overhead
    return {
        "name": device.name, "title": device.title, "kind": device.kind, "year": device.year, "policy": device.fusion,
        "bandwidth": device.bandwidth.value, "oneUnit": device.one_unit,
        "capacity": device.capacity.value if device.capacity else None,
        "launch": launch.value if launch else 0.0,
        "links": [_link(link) for link in device.links], "topology": dict(device.topology),
        "collectives": [{"link": c.link, "kind": c.kind, "protocols": [_protocol(p) for p in c.protocols]}
                        for c in device.collectives],
        "levels": [[level.name, level.capacity.value, level.bandwidth.value] for level in device.levels if level.bandwidth],
        "seconds": {name: [_seconds(device, kind, name) for kind in kinds] for name in ("", *TYPES)},
        "products": [_product(device, each) for each in device.products],
        "shaped": {name: [_shaped(device, kind, name) for kind in kinds] for name in ("", *TYPES)} if device.products else {},
    }


def _link(link: Link) -> dict[str, Any]:
    """What :mod:`costmodel.pricing.links` needs of a connection; the rate is that of one direction."""
    return {"name": link.name, "kind": link.kind, "rate": link.one_way, "topology": link.topology, "axes": link.axes,
            "latency": link.latency.value if link.latency else None, "domain": link.domain, "wraparound": link.wraparound}


def _protocol(found: Protocol) -> list[float | None]:
    return [found.launch.value, found.step.value, *(q.value if q else None for q in (found.rate, found.own))]


def _product(device: Hardware, found: ProductCalibration) -> dict[str, Any]:
    """What :mod:`costmodel.pricing.tiles` needs of a chip."""
    how = products_of(device, found)
    return {"dtype": found.dtype, "error": found.error, "multiprocessors": how.chip.multiprocessors, "peak": how.chip.peak,
            "bandwidth": how.chip.bandwidth, "reached": how.reached, "tiles": TILES, "memory": how.memory, "sums": how.sums,
            "start": how.start, "launch": how.launch, "again": how.again, "apart": how.apart, "sum": SUM}


def _shaped(device: Hardware, kind: OpKind, dtype: str) -> int | None:
    if kind.name != "mac" or kind.engine != "matrix":
        return None
    wanted = runs_as(device, _priced(kind, dtype))
    return next((i for i, each in enumerate(device.products) if each.dtype == wanted), None)


def _priced(kind: OpKind, dtype: str) -> OpKind:
    return replace(kind, dtype=dtype) if dtype and is_floating(kind.dtype) else kind


def _seconds(device: Hardware, kind: OpKind, dtype: str) -> float | None:
    if kind.engine == LINK:
        return None  # a matter of the links that a mesh is laid on
    try:
        return seconds_an_operation(device, _priced(kind, dtype))
    except (MissingPeak, CostModelError):
        return None


def bits(dtypes: Iterable[str]) -> dict[str, int]:
    """Bits of an element of each type on the page."""
    return {name: BITS[name] for name in dict.fromkeys((*dtypes, *TYPES))}
