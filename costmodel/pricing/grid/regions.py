"""Where on a grid another program holds than the one with symbols."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from costmodel.errors import CostModelError
from costmodel.pricing.core import Point, Symbolic
from costmodel.pricing.grid.axes import Grid
from costmodel.pricing.grid.boundaries import Part, Place, Places, Zeros, part_of, zeros
from costmodel.program.regions import Signature

# So many points of a grid are traced by themselves, where the symbolic program is another one.
MOST_TRACED = 256
# So many are looked up one by one where the other program is known in closed form.
MOST_DERIVED = 2**17

def elsewhere(cost: Symbolic, grid: Grid) -> dict[Place, Point]:
    """The points of a grid at which another program holds. The first point of each region is compared with a concrete trace, as it
    would be by itself; where there are many points of another program, CostModelError says so."""
    regions = cost.origin.regions
    if not regions.checked:
        return {}
    if cost.fitted is not None:
        _check_fitted(cost, grid)
    found: dict[Place, Point] = {}

    def there(place: Place) -> bool:
        point = cost.at(**grid.point(place))
        if point.cost is not cost:
            found[place] = point
        return point.cost is not cost

    single = regions.stand_ins or regions.everywhere
    for signature, members in _classes(cost, grid):
        if not single and signature in regions.same:
            continue
        first = next(iter(members))
        another = there(first)
        single = regions.stand_ins or regions.everywhere
        if another and not signature and not single:
            del found[first]  # only its bytes differ, which was said: the grid is that of the formulas
        elif another or single:
            derived = another and found[first].cost.request is not None  # in closed form, where symbols are 1
            most = MOST_DERIVED if derived else MOST_TRACED
            if members.count > most:
                raise CostModelError(f"the model is another program at {members.count} points of this grid, which would be traced "
                                     f"one by one; sweep at most {most} such points, or analyze(..., verify=False)")
            for place in members:
                there(place)
    return found


def _check_fitted(cost: Symbolic, grid: Grid) -> None:
    assert cost.fitted is not None
    if grid.count > 2**20:
        raise CostModelError(f"{grid.count:,} points of a fitted cost would be looked at one by one; sweep at most {2**20:,}, or "
                             "analyze(..., verify=False)")
    from costmodel.symbolic.forms import symbol

    whole = {symbol(name): np.broadcast_to(a, grid.shape).ravel() for name, a in grid.variables.items()}
    cost.fitted.check_all([{s: int(a[i]) for s, a in whole.items()} for i in range(grid.count)])


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
        return prod([places.count for _, places in self.parts] + [length for _, length in self.free])

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


def _parts(cost: Symbolic, grid: Grid) -> tuple[list[Part], Signature]:
    """The boundaries that are met somewhere, grouped by the axes that they share; and those that are met everywhere."""
    always: set[int] = set()
    groups: list[tuple[int, list[Zeros]]] = []
    for number, difference in enumerate(cost.origin.regions.boundaries):
        if not {s.name for s in difference.free_symbols} <= grid.variables.keys():
            continue  # of a symbol that this cost does not have
        found = zeros(number, difference, grid)
        if not len(found.places):
            continue
        if not found.axes:
            always.add(number)
            continue
        axes, members = sum(1 << i for i in found.axes), [found]
        for other, theirs in [group for group in groups if group[0] & axes]:
            axes |= other
            members += theirs
        groups = [group for group in groups if not group[0] & axes]
        groups.append((axes, members))
    parts = [part_of(tuple(i for i in range(len(grid.shape)) if axes >> i & 1), members, grid.shape) for axes, members in groups]
    return parts, frozenset(always)
