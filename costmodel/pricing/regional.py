"""The regions of a model that writes other programs at other sizes: the condition of each, and its forms."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sympy import Expr, Integer

from costmodel.errors import CostModelError, DomainError
from costmodel.pricing import metrics
from costmodel.pricing.core import Symbolic
from costmodel.program.fit.programs import box_of
from costmodel.symbolic.forms import evaluate

_MOST = 8  # structures that are fitted for a list
_POINTS = 5  # at which forms are compared that are written otherwise


@dataclass(frozen=True, eq=False)
class Region:
    """Where a model has one program: its condition as text, the cost there, or why there is no closed form of it."""

    condition: str
    cost: Any
    reason: str = ""

    def __str__(self) -> str:
        if self.cost is None:
            return f"where {self.condition}: {self.reason}"
        lines = [f"  {label:<22} {value} {unit}" for label, value, unit in self.cost.headline()]
        return "\n".join((f"where {self.condition}", *lines))


class Listed(tuple[Region, ...]):
    """Regions; printed one after the other."""

    def changed(self, change: Callable[[Any], Any]) -> Listed:
        """The same regions of a changed cost."""
        return Listed(region if region.cost is None else replace(region, cost=change(region.cost)) for region in self)

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def regions_of_fit(cost: Symbolic, main: Symbolic) -> Listed:
    """The region of a fitted cost, of which ``main`` is the cost alone, and those of other structures that its traces met."""
    made: dict[str, Any] = {}
    while left := {key: values for key, values in cost.fitted.others().items() if key not in made}:
        if len(made) == _MOST:
            break
        key, values = next(iter(left.items()))
        try:
            made[key] = cost.region(**values)
        except CostModelError as refusal:
            made[key] = Region(", ".join(f"{k}={v}" for k, v in values.items()) + " and alike", None, str(refusal))
    found = [there if isinstance(there, Region) else Region(_condition(there), there) for there in made.values()]
    here = (pair for pair in _pinned(main) if cost.fitted.reaches(*pair))  # where it is not, it is among those found
    return Listed((Region(_condition(main), main), *found, *_fixed(main, here)))


def _condition(cost: Symbolic) -> str:
    return ", ".join(cost.fitted.conditions) or "no other structure was met"


def regions_of_trace(cost: Symbolic) -> Listed:
    """A symbolic trace; its model with a symbol fixed where that is another program: at 1, or where it is compared with; and in
    other orders of einsums, where points of them were asked for."""
    found = list(_fixed(cost, _pinned(cost)))
    ordered = [Region(f"the order of an einsum is as at {point}", there) for point, there in _ordered(cost)]
    but = ", ".join(region.condition.replace("==", "!=") for region in found)
    if ordered:
        but = ", ".join(filter(None, (but, "the order of no einsum is another one")))
    return Listed((Region(but or "no other program was met", cost), *found, *ordered))


def _ordered(cost: Symbolic) -> Iterator[tuple[str, Symbolic]]:
    """The costs in other orders of einsums that were met, each with a point of it."""
    for there in filter(None, cost.known.ordered.values()):
        point = next((point for point, held in cost.known.elsewhere.items() if held is there), None)
        if point is not None:
            yield ", ".join(f"{name}={value}" for name, value in point), there


def _fixed(cost: Symbolic, pinned: Iterable[tuple[str, int]]) -> Iterator[Region]:
    """Regions of one value of one symbol, where the model with that integer comes to something else."""
    for name, value in pinned:
        try:
            there = cost.region(**{name: value})
        except DomainError:  # a dimension of 1 that several devices are to share
            continue
        if not _same(cost, there, {name: value}):
            yield Region(f"{name} == {value}", there)


def _pinned(cost: Symbolic) -> Iterator[tuple[str, int]]:
    """(symbol, value) of the boundaries that are one value of one symbol."""
    by_name = {v.name: v for v in cost.domain.variables}
    regions = cost.origin.compared
    for d in regions.boundaries[:regions.own]:
        names = {s.name for s in d.free_symbols}
        v = by_name.get(min(names)) if len(names) == 1 else None
        if v is not None and v.divisor.is_Integer and d.is_polynomial() and d.as_poly().degree() == 1:
            (s,) = d.free_symbols
            value = int(-d.coeff(s, 0) / d.coeff(s, 1)) * int(v.divisor)
            if value >= v.lower and (v.upper is None or value <= v.upper):
                yield v.symbol, value


def _same(cost: Symbolic, there: Symbolic, fixed: dict[str, int]) -> bool:
    """Whether two costs come to the same where some symbols are fixed: in every headline, and in the live peak."""
    asked = [(name, dict(options)) for _, name, options, _ in metrics.HEADLINE] + [("live_peak", {})]
    env = {s: Integer(value) for s, value in cost.domain.bind_some(fixed).items()}
    points = _points(there)
    return all(_equal(cost.price(name, **options).xreplace(env), there.price(name, **options), points) for name, options in asked)


def _equal(a: Expr, b: Expr, points: list[dict[Any, int]]) -> bool:
    """Whether two forms are the same, as they are written or at these points."""
    return a == b or all(evaluate(a, env) == evaluate(b, env) for env in points)


def _points(cost: Symbolic) -> list[dict[Any, int]]:
    """A few points of a domain; none where nothing but sizes of 1 is in it."""
    if not cost.domain.variables:
        return [{}]
    box, rng = box_of(cost.domain), random.Random(0)
    return [dict(zip(box.symbols, p, strict=True)) for p in (box.draw(rng, 4) for _ in range(_POINTS)) if box.allows(p)]
