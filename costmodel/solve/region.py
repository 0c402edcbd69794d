"""Which program a model is far along a line: what tends to a limit is asked of it, not of the program that was traced."""

from __future__ import annotations

from dataclasses import replace

from costmodel.errors import CostModelError
from costmodel.program.regions import Signature
from costmodel.solve.line import Line, first_true

_FAR = 2**40  # steps from a line's first one: nothing that a model compares sizes with is as large
_MOST = 16  # regions along a line


def in_the_limit(line: Line) -> Line:
    """The line of the program that the model is at all large values: by the orders of einsums that jax chooses there and by the
    comparisons that the model makes. The same line where nothing tells another program from its own, or where it ends.

    Raises CostModelError where there is no closed form of that program.
    """
    if line.last is not None or not line.cost.origin.looks_again:
        return line
    there = _told(line, line.first + _FAR)
    if there in _own(line):
        return line
    step = first_true(lambda i: _told(line, i) == there, line.first, None)
    assert step is not None
    point = line.point(step)
    if line.name in point.cost.symbols:
        return replace(line, cost=point.cost)
    try:
        return replace(line, cost=line.cost.region(**point.values))
    except CostModelError as refusal:
        raise CostModelError(f"{line.cost.name} is another program where {line.name} is large, from about {line.value(step)} on, "
                             f"without a closed form: give {line.name} an end with cm.dims(..., max=...)") from refusal


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


def _told(line: Line, i: int) -> tuple[Signature, tuple[bool, ...]]:
    """What tells programs apart at a step, without a trace there."""
    origin = line.cost.origin
    env = origin.domain.bind({**line.at, line.name: line.value(i)})
    orders = origin.compared.other_orders(env)
    known = origin.fitted is not None and origin.fitted.told_apart
    return orders, origin.fitted.asked.outcome(env) if known else ()


def _own(line: Line) -> set[tuple[Signature, tuple[bool, ...]]]:
    """What tells the line's own program."""
    origin = line.cost.origin
    known = origin.fitted is not None and origin.fitted.told_apart
    return {(frozenset(), outcome) for outcome in (origin.fitted.outcomes if known else {()})}
