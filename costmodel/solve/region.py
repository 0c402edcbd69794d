"""Which program a model is far along a line: what tends to a limit is asked of it, not of the program that was traced."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from costmodel.errors import CostModelError
from costmodel.pricing.core import Symbolic
from costmodel.program.regions import Signature
from costmodel.solve.line import Line, first_true, text
from costmodel.surface import said
from costmodel.symbolic.forms import evaluate, symbol

Told = tuple[Signature, tuple[bool, ...]]
_FAR = 2**40  # steps from a line's first one: nothing that a model compares sizes with is as large
_MOST = 16  # regions along a line
_USUAL = 16  # of symbols that are not large


def in_the_limit(line: Line) -> Line:
    """The line of the program that the model is at all large values: by the orders of einsums that jax chooses there and by the
    comparisons that the model makes. The same line where nothing tells another program from its own, or where it ends.

    Raises CostModelError where there is no closed form of that program.
    """
    if line.last is not None or not line.cost.origin.looks_again:
        return line
    there = _told(line, line.first + _FAR)
    if there in _own(line.cost):
        return line
    step = first_true(lambda i: _told(line, i) == there, line.first, None)
    assert step is not None
    return replace(line, cost=_closed(line.cost, line.name, line.point(step).values))


def at_large(cost: Symbolic, names: Collection[str]) -> Symbolic:
    """The cost of the program that the model is where these symbols are large, and all others are of a usual size.

    Raises CostModelError where there is no closed form of that program.
    """
    if not cost.origin.looks_again:
        return cost
    env: dict[Any, int] = {}
    for v in cost.domain.ordered:
        wanted = max(v.lower, _FAR if v.symbol in names else _USUAL)
        divisor = int(evaluate(v.divisor, env))
        env[symbol(v.name)] = -(-(wanted if v.upper is None else min(wanted, v.upper)) // divisor)
    if _told_at(cost, env) in _own(cost):
        return cost
    values = {v.symbol: int(evaluate(v.divisor, env)) * env[symbol(v.name)] for v in cost.domain.variables}
    return _closed(cost, ", ".join(sorted(names)), values)


def _closed(cost: Symbolic, name: str, values: Mapping[str, int]) -> Symbolic:
    """The cost in closed form of the program at a point where some symbols are large."""
    there: Symbolic = cost.at(**values).cost
    if set(there.symbols) == set(cost.symbols):
        return there
    try:
        return cost.region(**values)
    except CostModelError as refusal:
        raise CostModelError(f"{cost.name} is another program where {name} is large, as at {text(values)}, without a closed form: "
                             f"give {name} an end" + said(" with cm.dims(..., max=...)", " in the domain")) from refusal


def edges(line: Line) -> tuple[int, ...]:
    """The steps from which on the model is another program than at the step before, as far as the orders of einsums and its
    comparisons tell; the first few."""
    last = line.first + _FAR if line.last is None else line.last
    found: list[int] = []
    while len(found) < _MOST:
        here = _told(line, step := found[-1] if found else line.first)
        nearest = first_true(lambda i, here=here: _told(line, i) != here, step, last)  # type: ignore[misc]
        if nearest is None:
            break
        found.append(nearest)
    return tuple(found)


def _told(line: Line, i: int) -> Told:
    """What tells programs apart at a step, without a trace there."""
    return _told_at(line.cost, line.cost.domain.bind({**line.at, line.name: line.value(i)}))


def _told_at(cost: Symbolic, env: Mapping[Any, int]) -> Told:
    origin = cost.origin
    known = origin.fitted is not None and origin.fitted.told_apart
    return origin.compared.other_orders(env), origin.fitted.asked.outcome(env) if known else ()


def _own(cost: Symbolic) -> set[Told]:
    """What tells the cost's own program."""
    fitted = cost.origin.fitted
    return {(frozenset(), outcome) for outcome in (fitted.outcomes if fitted is not None and fitted.told_apart else {()})}
