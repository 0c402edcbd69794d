"""What a program sends, priced on the links that its mesh is laid on: at a point in numbers, and in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from sympy import Expr, Rational

from costmodel.fusion import Kernel
from costmodel.hardware import Hardware, LinkCalibration, Protocol, Quantity
from costmodel.pricing.links import ROUNDS, Leg, by_leg, shares
from costmodel.pricing.topology import Layout, lay
from costmodel.rules.params import Collective
from costmodel.rules.work import BITS, CostTable, Equation, OpKind
from costmodel.symbolic.forms import symbol

LINK = "link"  # the engine of what is sent, and the unit of its time


@dataclass(frozen=True, eq=False)
class Sent:
    """One kind of data that an equation of a kernel (by number) sends: bytes a device, in one run."""

    kernel: int
    kind: OpKind
    params: Collective
    bytes: Expr


def sent_by(e: Equation, kernel: int = 0) -> Iterator[Sent]:
    """What an equation sends."""
    for kind, count, _ in e.work.ops:
        if kind.engine == LINK and count != 0:
            params = e.params if isinstance(e.params, Collective) else Collective(())
            yield Sent(kernel, kind, params, count * Rational(BITS[kind.dtype], 8))


def sent(kernels: Sequence[Kernel]) -> tuple[Sent, ...]:
    """All that the kernels send."""
    return tuple(each for i, k in enumerate(kernels) for e in (*k.equations, *k.again) for each in sent_by(e, i))


def laid(device: Hardware, sizes: Mapping[str, int], *, symbols: bool = False) -> Layout:
    """The mesh on the device's links. Raises CostModelError for a device that has none."""
    return lay(device, sizes, device.topology, symbols=symbols)


def legs_of(layout: Layout, params: Collective, known: Mapping[Any, int]) -> tuple[Leg, ...]:
    """The links that an exchange goes over: along all axes of the mesh where it names none, and along a part of an axis where its
    program says that fewer devices take part."""
    axes = [axis for axis in params.axes or layout.legs if axis in layout.legs]
    legs = layout.over(axes)
    taking = [d for d in params.devices if d.is_Integer and len(params.devices) == len(axes) == 1]
    if taking and legs and known and int(taking[0]) < known.get(symbol(axes[0]), 0):
        return tuple(_part(legs, int(taking[0])))
    return legs


def _part(legs: Sequence[Leg], devices: int) -> Iterator[Leg]:
    for leg in legs:
        here = min(devices, leg.devices)
        if here > 1:
            yield Leg(leg.link, here, leg.on, leg.closed, leg.stride)
        devices = ceil(devices / here)


def lanes(leg: Leg) -> list[str]:
    """The connections that a leg keeps busy: those along each axis of a torus by themselves."""
    return [f"{leg.link.name} {axis}" for axis in leg.on] if leg.on else [leg.link.name]


def distance(params: Collective, legs: Sequence[Leg], layout: Layout, sizes: Mapping[str, int]) -> int | None:
    """How far the furthest partner of a permutation is along the axes of a torus; None where none is named, or on no torus."""
    if not params.partners or not all(leg.link.topology == "torus" for leg in legs):
        return None
    axes = [axis for axis in params.axes if sizes.get(axis, 1) > 1]

    def steps(a: int, b: int) -> int:
        found = 0
        for axis in reversed(axes):
            size, (leg, *_) = sizes[axis], layout.legs[axis]
            apart = abs(a % size - b % size)
            found += leg.stride * (min(apart, size - apart) if leg.closed else apart)
            a, b = a // size, b // size
        return found

    return max(steps(int(a), int(b)) for a, b in params.partners)


def in_closed_form(each: Sent, layout: Layout) -> dict[Leg, Expr]:
    """Seconds of an exchange by leg, in the axes' symbols where the layout has them."""
    return dict(by_leg(each.kind.name, each.bytes, legs_of(layout, each.params, {})))


def calibration_of(device: Hardware, leg: Leg, kind: str) -> LinkCalibration | None:
    """The calibration of a kind of collective over a link, if the device has one."""
    return next((c for c in device.collectives if c.link == leg.link.name and c.kind == kind), None)


def likely_in_closed_form(each: Sent, layout: Layout) -> tuple[tuple[Expr, ...], ...]:
    """Seconds of an exchange as its links are calibrated: a sum over its legs of the least of several forms; none where a leg is
    not calibrated."""
    found = []
    for leg, part in shares(each.kind.name, legs_of(layout, each.params, {})):
        calibration = calibration_of(layout.device, leg, each.kind.name)
        if calibration is None:
            return ()
        steps = calibration.steps(each.kind.name, leg.devices)
        found.append(tuple(_of_protocol(p, steps, leg.devices, part * each.bytes) for p in calibration.protocols))
    return tuple(found)


def _of_protocol(protocol: Protocol, steps: Any, devices: Any, sent: Expr) -> Expr:
    def figure(quantity: Quantity) -> Rational:
        return Rational(repr(quantity.value))

    found = figure(protocol.launch) + steps * figure(protocol.step)
    found += sent / figure(protocol.rate) if protocol.rate else 0
    return found + (sent / (devices - 1) / figure(protocol.own) if protocol.own else 0)


@dataclass(frozen=True)
class Times:
    """Seconds of what is sent, as (exchange, seconds by leg, seconds as calibrated); the last where all its links are."""

    layout: Layout
    rows: tuple[tuple[Sent, tuple[tuple[Leg, float], ...], float | None], ...]


def times_at(exchanges: Sequence[Sent], counts: Sequence[float], device: Hardware, sizes: Mapping[str, int],
             env: Mapping[Any, int]) -> Times:
    """Seconds at a point, of exchanges that send so many bytes; ``sizes`` are those of the mesh's axes, outermost first."""
    layout = laid(device, sizes)
    rows = []
    for each, count in zip(exchanges, counts, strict=True):
        legs = legs_of(layout, each.params, env)
        far = distance(each.params, legs, layout, sizes) if each.kind.name not in ROUNDS else None
        rows.append((each, tuple(by_leg(each.kind.name, count, legs, far)), _likely(device, each.kind.name, count, legs)))
    return Times(layout, tuple(rows))


def _likely(device: Hardware, kind: str, count: float, legs: Sequence[Leg]) -> float | None:
    seconds = 0.0
    for leg, part in shares(kind, legs):
        calibration = calibration_of(device, leg, kind)
        if calibration is None:
            return None
        seconds += calibration.seconds(leg.devices, part * count)
    return seconds


def axes_at(table: CostTable, env: Mapping[Any, int]) -> dict[str, int]:
    """The sizes of the mesh's axes at a point, outermost first."""
    return {axis: int(env[symbol(axis)]) for axis, _ in table.axes}
