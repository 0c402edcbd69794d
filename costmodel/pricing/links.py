"""Seconds of what devices send to each other, in closed form: steps · latency + bytes / bandwidth on each link.

Ring algorithms everywhere, as for the bytes (:mod:`costmodel.rules.collective`). On an axis of a torus that is closed to a ring
both directions carry a half each; on one that is not, everything goes one way (Austin et al., *How to Scale Your Model*, 2025).
Numbers may be expressions: the sizes of a mesh's axes, and the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Expr, Integer, Rational

from costmodel.hardware import Link

# How often a collective goes round a ring; an exchange with one partner does not.
ROUNDS = {"all_gather": 1, "reduce_scatter": 1, "all_reduce": 2, "broadcast": 1, "all_to_all": 1}


@dataclass(frozen=True)
class Leg:
    """The part of a collective that goes over one link.

    devices: along it: a number, or an expression.
    on:      the axes of a torus that it is on, by number; none elsewhere.
    closed:  whether these are rings.
    stride:  how many devices further on the next of these is: between them are those of the mesh's axes further in, which share
             the axis of the torus.
    """

    link: Link
    devices: Any
    on: tuple[int, ...] = ()
    closed: bool = True
    stride: Any = 1

    def rate(self, kind: str) -> Any:
        """B/s out of a device."""
        link, whole = self.link, _figure(self.link.one_way, self.devices)
        if link.topology == "full":
            return whole * (self.devices - 1) / (link.domain - 1 if link.domain else 1)
        if link.topology != "torus":
            return whole
        one_direction = whole * len(self.on) / (2 * link.axes * self.stride)
        return 2 * one_direction if self.closed and kind in ROUNDS else one_direction

    def hops(self, kind: str) -> Any:
        """How often something is sent on, one time after another."""
        rounds, topology = ROUNDS.get(kind), self.link.topology
        if rounds is None:
            return self.stride
        if topology == "full" or (topology == "switch" and kind == "all_to_all"):
            return rounds
        if topology != "torus":
            return rounds * (self.devices - 1)
        along = self.along
        return rounds * self.stride * len(self.on) * (along / 2 if self.closed else along - 1)

    @property
    def along(self) -> Any:
        """Devices along each of its axes of a torus, of which it has as many along all."""
        return self.devices if len(self.on) == 1 else self.devices ** (_one(self.devices) / len(self.on))

    def carried(self, kind: str) -> Any:
        """Bytes on the busiest connection, by the bytes that a device sends: of an exchange of all with all on a torus, each goes a
        quarter round the ring, or over the middle of what is none."""
        if self.link.topology != "torus" or kind != "all_to_all":
            return 1
        return self.devices * self.along / (4 * (self.devices - 1))

    def seconds(self, kind: str, sent: Any, hops: Any = None) -> Any:
        """Of ``sent`` bytes a device."""
        latency = self.link.latency
        hops = self.hops(kind) if hops is None else hops
        start = hops * _figure(latency.value, self.devices) if latency is not None else 0
        return start + self.carried(kind) * sent / self.rate(kind)


def seconds(kind: str, sent: Any, legs: Sequence[Leg], hops: Any = None) -> Any:
    """Seconds of a collective of which each device sends so many bytes.

    kind:  "all_gather", "all_reduce", "reduce_scatter", "all_to_all", "broadcast", "permute" or "halo".
    legs:  the links that it goes over, the nearest first: first within every domain, then between them.
    hops:  how many devices on the partner of an exchange is (permute), where that is known.

    Zero where one device is all there are.

    >>> from costmodel.hardware import load
    >>> nvlink, infiniband = load("h100-sxm").links
    >>> round(1e3 * seconds("all_gather", 7 / 8 * 2**30, [Leg(nvlink, 8)]), 3)                        # ms, within a node
    2.088
    >>> round(1e3 * seconds("all_gather", 15 / 16 * 2**30, [Leg(nvlink, 8), Leg(infiniband, 2)]), 3)  # on two nodes
    3.43
    """
    found: Any = 0
    for _, each in by_leg(kind, sent, legs, hops):
        found = found + each
    return found


def by_leg(kind: str, sent: Any, legs: Sequence[Leg], hops: Any = None) -> Iterator[tuple[Leg, Any]]:
    """(leg, seconds) of a collective of which each device sends so many bytes; see :func:`seconds`."""
    for leg, part in shares(kind, legs):
        if part != 0:
            yield leg, leg.seconds(kind, part * sent, hops)


def shares(kind: str, legs: Sequence[Leg]) -> Iterator[tuple[Leg, Any]]:
    """The legs along which there are further devices, each with its share of the bytes; see :func:`parts`."""
    taken = [leg for leg in legs if leg.devices != 1]
    return zip(taken, parts(kind, taken), strict=True)


def parts(kind: str, legs: Sequence[Leg]) -> list[Any]:
    """The share of its bytes that a collective sends over each of several legs. Those of a ring that was gone round within a domain
    go on between domains in parts, a device's its own; what is for all goes out at once; a partner is in another domain."""
    if len(legs) < 2:
        return [1] * len(legs)
    if kind not in ROUNDS:
        return [0] * (len(legs) - 1) + [1]
    whole = _product(legs)
    shares = []
    for i, leg in enumerate(legs):
        others = _product(legs[:i]) if kind == "all_to_all" else _product(legs[i + 1:])
        shares.append((leg.devices - 1) * others / (whole - _one(whole)))
    return shares


def _product(legs: Sequence[Leg]) -> Any:
    found: Any = 1
    for leg in legs:
        found = found * leg.devices
    return found


def _figure(value: float, beside: Any) -> Any:
    """A figure beside a number or, exact, beside an expression."""
    if not isinstance(beside, Expr):
        return value
    return Integer(int(value)) if value == int(value) else Rational(str(value))


def _one(beside: Any) -> Any:
    return Integer(1) if isinstance(beside, Expr) else 1
