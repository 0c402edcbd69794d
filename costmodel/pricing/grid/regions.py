"""Where on a grid another program holds than the one with symbols."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from costmodel.errors import CostModelError
from costmodel.pricing.core import Point, Symbolic
from costmodel.pricing.grid.axes import Grid, axes_bits, evaluate
from costmodel.program.regions import Signature

# So many points of a grid are traced by themselves, where the symbolic program is another one.
MOST_TRACED = 256
# So many are looked up one by one where the other program is known in closed form.
MOST_DERIVED = 2**17

Place = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Part:
    """The boundaries that share axes: of each combination of them that occurs, the places where it does, as arrays of indices on
    ``axes``."""

    axes: tuple[int, ...]
    classes: Mapping[Signature, np.ndarray]


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


@dataclass(frozen=True)
class _Members:
    """The places of a region: every combination of the parts' own."""

    rank: int
    parts: tuple[tuple[tuple[int, ...], np.ndarray], ...]
    free: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        counts = [len(places) for _, places in self.parts] + [length for _, length in self.free]
        return int(np.prod([1, *counts], dtype=object))

    def __iter__(self) -> Iterator[Place]:
        choices = [*((axes, map(tuple, places.tolist())) for axes, places in self.parts),
                   *(((axis,), ((i,) for i in range(length))) for axis, length in self.free)]
        for chosen in itertools.product(*(values for _, values in choices)):
            place = [0] * self.rank
            for (axes, _), values in zip(choices, chosen, strict=True):
                for axis, value in zip(axes, values, strict=True):
                    place[axis] = value
            yield tuple(place)


def _classes(cost: Symbolic, grid: Grid) -> Iterator[tuple[Signature, _Members]]:
    """The regions of a grid, each by the boundaries that its points are on."""
    parts, always = _parts(cost, grid)
    taken = {axis for part in parts for axis in part.axes}
    free = tuple((axis, length) for axis, length in enumerate(grid.shape) if axis not in taken)
    for chosen in itertools.product(*(part.classes.items() for part in parts)):
        signature = frozenset(always.union(*(s for s, _ in chosen)))
        yield signature, _Members(len(grid.shape), tuple((part.axes, places) for part, (_, places)
                                                         in zip(parts, chosen, strict=True)), free)


def _parts(cost: Symbolic, grid: Grid) -> tuple[list[_Part], frozenset[int]]:
    """The boundaries that are met somewhere, grouped by the axes that they share; and those that are met everywhere."""
    always: set[int] = set()
    groups: list[tuple[int, list[tuple[int, np.ndarray]]]] = []
    for number, difference in enumerate(cost.origin.regions.boundaries):
        if not {s.name for s in difference.free_symbols} <= grid.variables.keys():
            continue  # of a symbol that this cost does not have
        on = evaluate(difference, grid.variables) == 0
        if not on.any():
            continue
        axes = axes_bits(on)
        if not axes:
            always.add(number)
            continue
        shared = [group for group in groups if group[0] & axes]
        groups = [group for group in groups if not group[0] & axes]
        members = [(number, on)]
        for other, theirs in shared:
            axes |= other
            members += theirs
        groups.append((axes, members))
    return [_part(axes, members, grid) for axes, members in groups], frozenset(always)


def _part(bits: int, members: list[tuple[int, np.ndarray]], grid: Grid) -> _Part:
    axes = tuple(i for i in range(len(grid.shape)) if bits >> i & 1)
    shape = tuple(grid.shape[i] for i in axes)
    masks = np.stack([np.broadcast_to(on.reshape([on.shape[i] for i in axes]), shape).ravel() for _, on in members])
    classes: dict[Signature, np.ndarray] = {}
    for pattern in np.unique(masks, axis=1).T if masks.shape[1] < 2**16 else _patterns(masks):
        where = np.flatnonzero((masks == pattern[:, np.newaxis]).all(axis=0))
        signature = frozenset(number for (number, _), on in zip(members, pattern, strict=True) if on)
        classes[signature] = np.stack(np.unravel_index(where, shape), axis=1)
    return _Part(axes, classes)


def _patterns(masks: np.ndarray) -> np.ndarray:
    """The distinct columns of many: the one of those on no boundary, and the few others."""
    met = masks.any(axis=0)
    others = np.unique(masks[:, met], axis=1).T
    return others if met.all() else np.concatenate([np.zeros((1, len(masks)), dtype=bool), others])
