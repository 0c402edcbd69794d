"""Devices as the page has them: what one operation of each kind and type takes, and the memories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, MissingPeak, Quantity, available, load
from costmodel.pricing.workload import seconds_an_operation
from costmodel.report.page.places import Places
from costmodel.rules.work import BITS, OpKind, is_floating

# What a reader may price a program in, besides the types it was traced in.
TYPES = ("float32", "bfloat16", "float16", "float8_e4m3fn", "int8")


def devices(wanted: Sequence[str | Hardware]) -> list[Hardware]:
    """The devices that the page offers; all known ones where none is named."""
    return [each if isinstance(each, Hardware) else load(each) for each in (wanted or available())]


def exported(found: Iterable[Hardware], kinds: Sequence[OpKind], texts: Places[str]) -> list[dict[str, Any]]:
    """Each device; ``seconds`` has a list by type to price in ("" as traced), of seconds an operation of each kind, None where the
    device has no peak for it. ``figures`` are all that is known of it, as (label, value, unit, source), texts by their place."""
    return [_device(device, kinds) | {"figures": [_figure(label, q, texts) for label, q in _figures(device)]} for device in found]


def _figures(device: Hardware) -> Iterator[tuple[str, Quantity]]:
    yield "memory bandwidth", device.bandwidth
    if device.capacity:
        yield "memory capacity", device.capacity
    yield from ((f"{engine} {dtype}", quantity) for (engine, dtype), quantity in device.peaks.items())
    yield "a transcendental counts as", device.weight
    if device.launch_overhead:
        yield "launch overhead a kernel", device.launch_overhead
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
        "levels": [[level.name, level.capacity.value, level.bandwidth.value] for level in device.levels if level.bandwidth],
        "seconds": {name: [_seconds(device, kind, name) for kind in kinds] for name in ("", *TYPES)},
    }


def _seconds(device: Hardware, kind: OpKind, dtype: str) -> float | None:
    priced = replace(kind, dtype=dtype) if dtype and is_floating(kind.dtype) else kind
    try:
        return seconds_an_operation(device, priced)
    except (MissingPeak, CostModelError):
        return None


def bits(dtypes: Iterable[str]) -> dict[str, int]:
    """Bits of an element of each type on the page."""
    return {name: BITS[name] for name in dict.fromkeys((*dtypes, *TYPES))}
