"""Which program holds at points that are looked at one by one, as flat arrays: those of a fitted cost, and those of one region of a
grid (:mod:`costmodel.pricing.grid.regions` finds the regions axis by axis, and is what a sweep asks).

At some points of each sort a concrete trace is made, and the others go with them: on a boundary (``n == 1``), in a region where all
comparisons that the model makes come out alike. Where nothing tells how far a program reaches, every point is traced by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sympy import Expr, Symbol

from costmodel.errors import CostModelError, DomainError, TraceError
from costmodel.pricing.core import Symbolic
from costmodel.pricing.grid.boundaries import or_unverified
from costmodel.pricing.workload import Formulas
from costmodel.program.fit.refusal import FitError
from costmodel.symbolic.domain import Domain

# So many points of a grid are traced by themselves.
_MAX_TRACED = 256
_PROBES = 3  # points that are traced of a region in which nothing was verified


@dataclass(frozen=True, eq=False)
class Points:
    """Points of a grid, flat arrays of one length: internal variables, the user's symbols, and their places in the grid."""

    env: Mapping[Any, np.ndarray]
    values: Mapping[str, np.ndarray]
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def some(self, which: np.ndarray) -> Points:
        """Those of these indices."""
        return Points({s: a[which] for s, a in self.env.items()}, {name: a[which] for name, a in self.values.items()},
                      self.places[which])

    def within(self, domain: Domain) -> Points:
        """The same points in the symbols of a domain that has fewer."""
        names = {v.name for v in domain.variables}
        return Points({s: a for s, a in self.env.items() if s.name in names},
                      {name: a for name, a in self.values.items() if name in domain.symbols}, self.places)

    def at(self, i: int) -> dict[str, int]:
        """One of them, as values by symbol."""
        return {name: int(a[i]) for name, a in self.values.items()}

    def internal(self, i: int) -> dict[Symbol, int]:
        """One of them, as values by internal variable."""
        return {s: int(a[i]) for s, a in self.env.items()}

    def evaluate(self, expr: Expr) -> np.ndarray:
        """An expression at every point."""
        return np.broadcast_to(Formulas([expr]).on(self.env)[0], (len(self),))


@dataclass(frozen=True, eq=False)
class Part:
    """A cost that holds at some points of a grid."""

    cost: Symbolic
    points: Points


def at_points(cost: Symbolic, points: Points) -> tuple[Part, ...]:
    """Where on these points another cost than this one holds. Raises CostModelError where too many points need a trace."""
    if not cost.origin.looks_again:
        return ()
    fitted = cost.fitted is not None and cost.origin.compared.checked
    found = list(_fitted(cost, points, cost) if fitted else _traced(cost, points))
    alone = sum(len(part.points) == 1 for part in found)
    if alone > _MAX_TRACED:
        raise _too_many(alone)
    return tuple(found)


def _too_many(count: int) -> CostModelError:
    return CostModelError(f"the model is another program at {count} points of this grid, which would be traced one by one; sweep "
                          f"at most {_MAX_TRACED} such points" + or_unverified())


# -- a symbolic trace, and boundaries on which it may not hold ----------------------------------------------------------------


def _traced(cost: Symbolic, points: Points) -> Iterator[Part]:
    """The first point of each set of boundaries is compared with a concrete trace, as it would be by itself; where that is another
    program and a boundary has a symbol that is the same at all of its points (``n == 1``), the model is analysed with that
    integer."""
    regions = cost.origin.compared
    on = [points.evaluate(d) == 0 for d in regions.boundaries]
    orders = [np.array([regions.other(order, order.at(points.internal(i))) for i in range(len(points))])
              for order in regions.orders]
    for members in _alike([*on, *orders], len(points)):
        first = int(members[0])
        there = cost.at(**points.at(first)).cost
        bounds = [d for d, mask in zip(regions.boundaries, on, strict=True) if mask[first]]
        if regions.single:
            yield from each(cost, points.some(members))
        elif there is not cost and (bounds or any(numbers[first] for numbers in orders)):
            # Else only its bytes differ, which was said: the grid is that of the formulas.
            yield from on_boundaries(cost, bounds, points.some(members))


def over_a_mesh(cost: Symbolic, points: Points) -> tuple[Part, ...]:
    """Where on these points of a sharded program the partitioner sends something else. It is asked once for all points at which
    arrays weigh alike."""
    found: list[Part] = []
    assert cost.sharded is not None
    for members in _alike(list(cost.sharded.weights.at(points.env)), len(points)):
        some = points.some(members)
        there = cost.at(**some.at(0)).cost
        if cost.origin.partitioned_at(some.internal(0)) is None or there.symbols != cost.symbols:
            found += each(cost, some)
        elif there is not cost:
            found.append(Part(there, some))
    return tuple(found)


def on_boundaries(cost: Symbolic, bounds: list[Expr], points: Points) -> Iterator[Part]:
    """What holds at points on the same boundaries, where it is another program than the cost's."""
    fixed = _fixed(cost, bounds, points) if len(points) > 1 and cost.fitted is None else {}
    yield from _region(cost, fixed, points) if fixed else each(cost, points)


def _fixed(cost: Symbolic, bounds: list[Expr], points: Points) -> dict[str, int]:
    """The symbols in these boundaries that have one value at all of the points."""
    names = {s.name for d in bounds for s in d.free_symbols}
    return {v.symbol: int(points.values[v.symbol][0]) for v in cost.domain.variables
            if v.name in names and (points.values[v.symbol] == points.values[v.symbol][0]).all()}


def _region(cost: Symbolic, fixed: Mapping[str, int], points: Points) -> Iterator[Part]:
    """The cost with some symbols fixed, and where on these points that one does not hold."""
    try:
        there = cost.region(**fixed)
    except (FitError, TraceError):
        yield from each(cost, points)
        return
    own = points.within(there.domain)
    yield Part(there, own)
    yield from at_points(there, own)


def each(cost: Symbolic, points: Points) -> Iterator[Part]:
    """Every point traced by itself."""
    if len(points) > _MAX_TRACED:
        raise _too_many(len(points))
    for i in range(len(points)):
        there = cost.at(**points.at(i)).cost
        if there is not cost:
            yield Part(there, points.some(np.array([i])))


def _alike(answers: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Places with the same answers, as arrays."""
    rows = np.stack([*answers, np.zeros(count, dtype=bool)])
    _, number = np.unique(rows, axis=1, return_inverse=True)
    number = np.asarray(number).ravel()
    return [np.flatnonzero(number == k) for k in range(int(number.max()) + 1 if count else 0)]


# -- fits, and the regions of their models ------------------------------------------------------------------------------------


def _fitted(cost: Symbolic, points: Points, whole: Symbolic) -> Iterator[Part]:
    """What holds where this fitted cost does not. Points where all comparisons of its model come out alike have the same program;
    ``whole`` is the cost of which this one may be a region."""
    fit = cost.fitted
    if cost.origin.request is None:  # from a file: nothing can be traced, and what is not known raises
        for i in range(len(points)):
            fit.holds(points.internal(i))
        yield from _traced(cost, points)
        return
    for members in _alike([_outcome(test, points) for test in fit.asked.tests], len(points)):
        some = points.some(members)
        if fit.asked.outcome(some.internal(0)) in fit.outcomes:
            yield from _traced(cost, some)
            continue
        probes = _spread(len(some)) if fit.told_apart else range(len(some))
        if len(probes) > _MAX_TRACED:
            raise CostModelError(f"{len(some):,} points of a fitted cost need a concrete trace each, which is too many; sweep at "
                                 f"most {_MAX_TRACED}")
        here = {i: fit.key_at(some.internal(i)) for i in probes if not fit.holds(some.internal(i))}
        if fit.told_apart and len(here) == len(probes) and len(set(here.values())) == 1:
            yield from _structure(some, whole)
        elif here:
            yield from _by_key(cost, some, whole)
        else:
            yield from _traced(cost, some)


def _by_key(cost: Symbolic, points: Points, whole: Symbolic) -> Iterator[Part]:
    """Each point traced, and those of one structure together."""
    if len(points) > _MAX_TRACED:
        raise _too_many(len(points))
    found: dict[str, list[int]] = {}
    for i in range(len(points)):
        env = points.internal(i)
        found.setdefault("" if cost.fitted.holds(env) else cost.fitted.key_at(env), []).append(i)
    for key, same in found.items():
        yield from _structure(points.some(np.array(same)), whole) if key else _traced(cost, points.some(np.array(same)))


def _outcome(test: Any, points: Points) -> np.ndarray:
    values = points.evaluate(test.difference)
    return values == 0 if test.equal else values >= 0


def _structure(points: Points, whole: Symbolic) -> Iterator[Part]:
    """The forms of another structure where it has some and there are points enough, else every point by itself."""
    if len(points) > 1 and not whole.alone:
        try:
            there = whole.region(**points.at(0))
            yield from (Part(there, points.within(there.domain)), *_fitted(there, points, whole))
            return
        except (FitError, DomainError):  # it has none, or they do not reach all of these points
            pass
    yield from each(whole, points)


def _spread(count: int) -> list[int]:
    """A few of so many, the first and the last among them."""
    return sorted({0, count // 2, count - 1}) if count > _PROBES else list(range(count))
