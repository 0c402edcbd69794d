"""Which links the axes of a mesh are laid on: as ``topology=`` says, else the innermost axes on the nearest link.

Every axis of a torus takes one axis of the mesh, the innermost first; more axes than the torus has share its last one. What does
not fit into a link's domain goes on to the next link: an axis of 16 devices of which 8 are in a node is 8 of one link by 2 of the
next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd, prod

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, Link
from costmodel.pricing.links import Leg
from costmodel.surface import option
from costmodel.symbolic.forms import symbol
from costmodel.text import did_you_mean

Topology = Mapping[str, str]
_PLACE = re.compile(r"(.*?)(?:\s+(\d+(?:x\d+)*))?\s*")


@dataclass(frozen=True)
class Layout:
    """The legs of each axis of a mesh, the nearest first; none of an axis of one device."""

    device: Hardware
    legs: Mapping[str, tuple[Leg, ...]]

    def over(self, axes: Sequence[str]) -> tuple[Leg, ...]:
        """The legs of a collective over several axes at once: the devices that one link connects are one leg."""
        found: dict[str, Leg] = {}
        for axis in axes:
            for leg in self.legs[axis]:
                before = found.get(leg.link.name)
                found[leg.link.name] = leg if before is None else _joined(before, leg)
        return tuple(found[link.name] for link in self.device.links if link.name in found)

    def like(self, other: Layout) -> bool:
        """Whether the axes are on the same links in the same way, so that one form in their sizes holds for both. An axis of one
        device, which sends nothing, is like any."""
        def shape(legs: tuple[Leg, ...]) -> list[tuple[object, ...]]:
            ends = [leg.devices for leg in legs[:-1]]
            return [(leg.link, leg.on, leg.closed, leg.stride, end) for leg, end in zip(legs, [*ends, None], strict=True)]

        return all(not legs or not other.legs[axis] or shape(legs) == shape(other.legs[axis]) for axis, legs in self.legs.items())

    def __str__(self) -> str:
        return "; ".join(f"{axis} on {' and '.join(map(_told, legs))}" for axis, legs in self.legs.items() if legs)


def _joined(one: Leg, other: Leg) -> Leg:
    near = one if one.stride == 1 or other.stride != 1 else other
    return Leg(one.link, one.devices * other.devices, tuple(sorted({*one.on, *other.on})), one.closed and other.closed, near.stride)


def _told(leg: Leg) -> str:
    link = leg.link
    how = link.topology
    if link.topology == "torus":
        how = f"{len(leg.on)} of {link.axes} axes of a torus, {'closed' if leg.closed else 'not closed'}"
        how += f", every {leg.stride}th device" if leg.stride != 1 else ""
    return f"{link.name} x {leg.devices} ({how})"


@dataclass
class _Room:
    """What is left of a link: how many of its domain's devices are taken, and those along each axis of a torus."""

    link: Link
    taken: int = 1
    along: dict[int, int] = field(default_factory=dict)


def lay(device: Hardware, sizes: Mapping[str, int], topology: Topology | None = None, *, symbols: bool = False) -> Layout:
    """Lay a mesh's axes, outermost first and by name with their sizes, on a device's links.

    topology: where an axis goes, by name: a link's name or kind, and of a torus how many of its axes or how many devices along
              each, as in {"data": "ICI 2", "model": "ICI 4x4"}.
    symbols:  have the sizes in the legs as the axes' symbols; where an axis goes over several links, those of the last one.

    Raises CostModelError for a device without a link, without one for what is beyond the last one's domain, and for a topology that
    names no axis or link.
    """
    topology = topology or {}
    for axis in topology:
        if axis not in sizes:
            raise CostModelError(f"{option('topology')} lays {axis!r}, which is no axis of the mesh;{did_you_mean(axis, sizes)} "
                                 f"its axes are {', '.join(sizes)}")
    rooms = [_Room(link) for link in device.links]
    legs: dict[str, tuple[Leg, ...]] = {}
    for axis, size in reversed(list(sizes.items())):
        if axis in topology:
            found = _where(device, rooms, axis, size, topology[axis])
        else:
            found = _default(device, rooms, axis, size)
        legs[axis] = found if not symbols or not found else _in_symbols(axis, size, found)
    return _closing(Layout(device, {axis: legs[axis] for axis in sizes}), rooms)


def on_links(device: Hardware, name: str, axes: Mapping[str, int], topology: Topology) -> Hardware:
    """The device with a mesh's axes on these links of it. Raises CostModelError as :func:`lay` does, where nothing is sent too, and
    for a program of one device (``name``)."""
    if not topology:
        return device
    if not axes:
        raise CostModelError(f"{name} is of one device: no axis is to be laid on links; give it a mesh, or no topology")
    lay(device, axes, topology)
    return device.laid(topology)


def _in_symbols(axis: str, size: int, legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
    *near, last = legs
    inside = prod(leg.devices for leg in near)
    return (*near, Leg(last.link, symbol(axis) / inside, last.on, last.closed, last.stride))


def _default(device: Hardware, rooms: Sequence[_Room], axis: str, size: int) -> tuple[Leg, ...]:
    found: list[Leg] = []
    left = size
    for room in rooms:
        if left == 1:
            break
        free = left if room.link.domain is None else max(room.link.domain // room.taken, 1)
        here = left if left <= free else gcd(left, free)
        if here > 1:
            found.append(_leg(room, here, None))
            left //= here
    if left > 1:
        raise _missing(device, axis, size)
    return tuple(found)


def _missing(device: Hardware, axis: str, size: int) -> CostModelError:
    if not device.links:
        return CostModelError(f"{device.name} states no link, and the program sends data to other devices: add a "
                              "[[datasheet.links]] table with name, bandwidth and direction to its file")
    last = device.links[-1]
    return CostModelError(f"{device.name} connects at most {last.domain} devices by {last.name}, and the mesh goes on with {axis} "
                          f"of {size}: add a further [[datasheet.links]] table, without a domain, to its file")


def _leg(room: _Room, devices: int, along: tuple[int, ...] | None) -> Leg:
    """So many devices further on a link; ``along``: those on each axis of a torus, which the leg has to itself."""
    room.taken *= devices
    if room.link.topology != "torus":
        return Leg(room.link, devices)
    free = [i for i in range(room.link.axes) if i not in room.along]
    on = (free or [room.link.axes - 1])[:len(along or (devices,))]
    each = along or (devices,)
    stride = room.along.get(on[0], 1) if len(on) == 1 else 1
    for i, number in zip(on, each, strict=True):
        room.along[i] = room.along.get(i, 1) * number
    return Leg(room.link, devices, tuple(on), stride=stride)


def _where(device: Hardware, rooms: Sequence[_Room], axis: str, size: int, place: str) -> tuple[Leg, ...]:
    match = _PLACE.fullmatch(place)
    name, numbers = (match[1], match[2]) if match else (place, None)
    room = next((r for r in rooms if name in (r.link.name, r.link.kind)), None)
    if room is None:
        names = [r.link.name for r in rooms]
        has = ", ".join(names) or "none: add a [[datasheet.links]] table to its file"
        raise CostModelError(f"{option('topology')} lays {axis} on {place!r}, which is no link of {device.name};"
                             f"{did_you_mean(name, names)} it has {has}")
    if size == 1:
        return ()
    if numbers is None:
        return (_leg(room, size, None),)
    along = tuple(map(int, numbers.split("x")))
    if "x" not in numbers:
        each = round(size ** (1 / along[0]))
        along = (each,) * along[0] if each ** along[0] == size else (size, *(1,) * (along[0] - 1))
    elif prod(along) != size:
        raise CostModelError(f"{option('topology')} lays {axis} of {size} devices on {numbers}, which are {prod(along)}")
    free = room.link.axes - len(room.along)
    if room.link.topology != "torus" or len(along) > free:
        raise CostModelError(f"{option('topology')} lays {axis} on {len(along)} axes of {room.link.name}, which has "
                             f"{max(free, 0)} left"
                             if room.link.topology == "torus" else f"{room.link.name} is no torus: lay {axis} on {name!r} alone")
    return (_leg(room, size, along),)


def _closing(layout: Layout, rooms: Sequence[_Room]) -> Layout:
    """Which axes of a torus are rings is known when all are laid."""
    along = {room.link.name: room.along for room in rooms}

    def closed(leg: Leg) -> Leg:
        rings = all(along[leg.link.name][i] >= leg.link.wraparound for i in leg.on)
        return Leg(leg.link, leg.devices, leg.on, rings, leg.stride)

    return Layout(layout.device, {axis: tuple(map(closed, legs)) for axis, legs in layout.legs.items()})
