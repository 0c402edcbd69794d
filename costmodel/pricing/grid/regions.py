"""Where on a grid another program holds than the one with symbols: regions by the boundaries that are met along its axes. What
holds within one is told point by point (:mod:`costmodel.pricing.grid.pointwise`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
from sympy import Expr

from costmodel.errors import CostModelError
from costmodel.pricing.core import Symbolic
from costmodel.pricing.grid.axes import Grid
from costmodel.pricing.grid.boundaries import OnAxes, Place, Places, Zeros, or_unverified, other_orders, part_of, zeros
from costmodel.pricing.grid.pointwise import Part, Points, at_points, each, on_boundaries, over_a_mesh
from costmodel.program.regions import Signature
from costmodel.symbolic.forms import symbol

MOST = 2**20  # points that are looked at one by one


def elsewhere(cost: Symbolic, grid: Grid) -> tuple[Part, ...]:
    """The parts of a grid at which another program holds, their places numbered in order. The first point of each region is
    compared with a concrete trace, as it would be by itself. Raises CostModelError where too many points need a trace; without
    verification the formulas are taken there, which is said."""
    regions = cost.origin.compared
    if not cost.origin.looks_again:
        regions.doubt([cost.condition(d) for d in _met(cost, grid)])
    if cost.sharded is not None:
        if grid.count > MOST:
            raise CostModelError(f"what the partitioner sends is told point by point, and this grid has {grid.count:,}: sweep "
                                 f"at most {MOST:,} points of a sharded program")
        return over_a_mesh(cost, _points(grid, np.arange(grid.count)))
    if not cost.origin.looks_again:
        return ()
    if cost.fitted is not None and regions.checked:
        if grid.count > MOST:
            raise CostModelError(f"{grid.count:,} points of a fitted cost would be looked at one by one; sweep at most {MOST:,}"
                                 + or_unverified())
        return at_points(cost, _points(grid, np.arange(grid.count)))
    found: list[Part] = []
    for signature, members in _classes(cost, grid):
        if not regions.single and signature in regions.same:
            continue
        try:
            found += _in_region(cost, grid, signature, members)
        except CostModelError:
            if regions.checked:
                raise
            regions.doubt(cost.on(signature, cost.domain.bind(grid.point(next(iter(members))))))
    return tuple(found)


def _in_region(cost: Symbolic, grid: Grid, signature: Signature, members: Members) -> Iterable[Part]:
    """What holds at the points of a region where the cost's own program does not."""
    regions = cost.origin.compared
    another = cost.at(**grid.point(next(iter(members)))).cost is not cost
    if regions.single:
        return tuple(each(cost, _of(grid, members)))
    if not (another and signature):  # only its bytes differ, which was said: the grid is that of the formulas
        return ()
    return tuple(on_boundaries(cost, regions.met(signature), _of(grid, members)))


def _of(grid: Grid, members: Members) -> Points:
    """The points of a region."""
    if members.count > MOST:
        raise CostModelError(f"the model is another program at {members.count:,} points of this grid; sweep at most {MOST:,} such "
                             "points" + or_unverified())
    return _points(grid, members.numbers(grid.shape))


def _points(grid: Grid, places: np.ndarray) -> Points:
    """Places of a grid with the values there."""
    indices = np.unravel_index(places, grid.shape) if grid.shape else ()

    def at(array: np.ndarray) -> np.ndarray:
        lengths: tuple[int, ...] = array.shape[:len(grid.shape)]
        own = array.reshape(lengths)
        index = tuple(i if n > 1 else 0 for i, n in zip(indices, lengths, strict=True))
        return np.broadcast_to(own[index], places.shape)

    return Points({symbol(name): at(a) for name, a in grid.variables.items()},
                  {name: at(a) for name, a in grid.values.items()}, places)


def _classes(cost: Symbolic, grid: Grid) -> Iterator[tuple[Signature, Members]]:
    """The regions of a grid, each by the boundaries that its points are on."""
    parts, always = _parts(cost, grid)
    taken = {axis for part in parts for axis in part.axes}
    free = tuple((axis, length) for axis, length in enumerate(grid.shape) if axis not in taken)
    for chosen in itertools.product(*(part.classes for part in parts)):
        signature = always.union(*(s for s, _ in chosen))
        yield signature, Members(len(grid.shape), tuple((part.axes, places) for part, (_, places)
                                                        in zip(parts, chosen, strict=True)), free)


@dataclass(frozen=True)
class Members:
    """The places of a region: every combination of its parts' own, and of all of the free axes (axis, length)."""

    rank: int
    parts: tuple[tuple[tuple[int, ...], Places], ...]
    free: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """How many points belong to it."""
        return prod([places.count for _, places in self.parts] + [length for _, length in self.free])

    def numbers(self, shape: Sequence[int]) -> np.ndarray:
        """Every place as a number in a grid of this shape, in order."""
        steps = [prod(shape[axis + 1:]) for axis in range(self.rank)]
        found = np.zeros(1, dtype=np.int64)
        own = [(axes, places.all) for axes, places in self.parts]
        own += [((axis,), np.arange(length).reshape(-1, 1)) for axis, length in self.free]
        for axes, places in own:
            found = np.add.outer(found, places @ np.array([steps[axis] for axis in axes], dtype=np.int64)).ravel()
        return np.sort(found)

    def __iter__(self) -> Iterator[Place]:
        own: list[tuple[tuple[int, ...], Iterable[Place]]] = list(self.parts)
        own += [((axis,), [(i,) for i in range(length)]) for axis, length in self.free]
        for chosen in _product([values for _, values in own]):
            place = [0] * self.rank
            for (axes, _), values in zip(own, chosen, strict=True):
                for axis, value in zip(axes, values, strict=True):
                    place[axis] = value
            yield tuple(place)


def _product(choices: Sequence[Iterable[Place]]) -> Iterator[tuple[Place, ...]]:
    """As itertools.product, and as lazy as what it is given."""
    if not choices:
        yield ()
        return
    for first in choices[0]:
        for rest in _product(choices[1:]):
            yield (first, *rest)


def _met(cost: Symbolic, grid: Grid) -> list[Expr]:
    """The boundaries of one symbol that are met somewhere on a grid: those that are told fast."""
    regions = cost.origin.compared
    return [d for number, d in enumerate(regions.boundaries[:regions.own])
            if len(d.free_symbols) == 1 and {s.name for s in d.free_symbols} <= grid.variables.keys()
            and len(zeros(number, d, grid).places)]


def _where(cost: Symbolic, grid: Grid) -> Iterator[Zeros]:
    """Where every boundary, and every other order of an einsum, is met on a grid."""
    regions = cost.origin.compared
    for number, difference in enumerate(regions.boundaries):
        if {s.name for s in difference.free_symbols} <= grid.variables.keys():  # else of a symbol that this cost does not have
            yield zeros(number, difference, grid)
    for order in regions.orders:
        if order.names <= grid.variables.keys():
            yield from other_orders(order, partial(regions.other, order), grid)


def _parts(cost: Symbolic, grid: Grid) -> tuple[list[OnAxes], Signature]:
    """The boundaries that are met somewhere, grouped by the axes that they share; and those that are met everywhere."""
    always: set[int] = set()
    groups: list[tuple[int, list[Zeros]]] = []
    for found in _where(cost, grid):
        if not len(found.places):
            continue
        if not found.axes:
            always.add(found.number)
            continue
        axes, members = sum(1 << i for i in found.axes), [found]
        for other, theirs in [group for group in groups if group[0] & axes]:
            axes |= other
            members += theirs
        groups = [group for group in groups if not group[0] & axes]
        groups.append((axes, members))
    parts = [part_of(tuple(i for i in range(len(grid.shape)) if axes >> i & 1), members, grid.shape) for axes, members in groups]
    return parts, frozenset(always)
