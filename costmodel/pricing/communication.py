"""What a program sends, priced on the links that its mesh is laid on: at a point in numbers, and in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from sympy import Expr, Rational

from costmodel.fusion import Kernel
from costmodel.hardware import Hardware
from costmodel.pricing.links import ROUNDS, Leg, parts
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


def by_leg(kind: str, bytes_sent: Any, legs: Sequence[Leg], hops: int | None = None) -> Iterator[tuple[Leg, Any]]:
    """(leg, seconds) of an exchange."""
    legs = [leg for leg in legs if leg.devices != 1]
    for leg, part in zip(legs, parts(kind, legs), strict=True):
        if part != 0:
            yield leg, leg.seconds(kind, part * bytes_sent, hops)


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


@dataclass(frozen=True)
class Times:
    """Seconds of what is sent, as (kernel, kind, seconds by leg)."""

    layout: Layout
    rows: tuple[tuple[Sent, tuple[tuple[Leg, float], ...], float], ...]


def times_at(exchanges: Sequence[Sent], counts: Sequence[float], device: Hardware, sizes: Mapping[str, int],
             env: Mapping[Any, int]) -> Times:
    """Seconds at a point, of exchanges that send so many bytes; ``sizes`` are those of the mesh's axes, outermost first."""
    layout = laid(device, sizes)
    rows = []
    for each, count in zip(exchanges, counts, strict=True):
        legs = legs_of(layout, each.params, env)
        far = distance(each.params, legs, layout, sizes) if each.kind.name not in ROUNDS else None
        rows.append((each, tuple(by_leg(each.kind.name, count, legs, far)), count))
    return Times(layout, tuple(rows))


def axes_at(table: CostTable, env: Mapping[Any, int]) -> dict[str, int]:
    """The sizes of the mesh's axes at a point, outermost first."""
    return {axis: int(env[symbol(axis)]) for axis, _ in table.axes}
