"""How often a loop runs, where shapes decide it: from the comparison in its condition and the increment in its body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sympy import Expr, Integer

from costmodel import _jax_compat as compat
from costmodel.program.integers import integer_result, integer_value
from costmodel.symbolic.forms import ZERO, Assumptions, PeakMax, floor_div, lower_bound, minimum

# comparison of a counter (first operand) with a bound -> (1 if it counts upwards and -1 if downwards, bound included)
_COMPARISONS = {"lt": (1, 0), "le": (1, 1), "gt": (-1, 0), "ge": (-1, 1)}


class Trips(NamedTuple):
    """How often a loop runs: exactly, or at most, where its condition asks for more than a counter below its bound."""

    count: Expr
    exact: bool


def trip_count(params: Mapping[str, Any], cond_consts: Sequence[Expr | None], start: Sequence[Expr | None],
               assumptions: Assumptions) -> Trips | None:
    """⌈(bound - start) / step⌉ of a ``while`` where the condition compares a counter with a bound, the body adds a constant to the
    counter, and both start and bound are known integers; downwards likewise. Of several such comparisons joined by *and* the least
    count; joined with anything else that is an upper bound. None where there is no such comparison.

    params: of the ``while`` equation.  cond_consts, start: values of the condition's constants and of the carried values at the
    start, None for what is not known.
    """
    cond = getattr(params["cond_jaxpr"], "jaxpr", params["cond_jaxpr"])
    body = getattr(params["body_jaxpr"], "jaxpr", params["body_jaxpr"])
    carried, before = cond.invars[params["cond_nconsts"]:], body.invars[params["body_nconsts"]:]
    # Of what is carried only that is known which stays as it is.
    kept = [value if old is new else None for value, old, new in zip(start, before, body.outvars, strict=True)]
    known = _known_in(cond, [*cond_consts, *kept])
    steps = [increment(body, old, new) for old, new in zip(before, body.outvars, strict=True)]
    counts = [_until(test, carried, start, steps, known, assumptions) for test in _conjuncts(cond, cond.outvars[0])]
    found = [count for count in counts if count is not None]
    return Trips(minimum(*found), len(found) == len(counts)) if found else None


def _conjuncts(cond: Any, result: Any) -> Iterator[Any]:
    """The equations whose results must all be true for that to be; None for what no equation of this jaxpr makes."""
    made = next((e for e in cond.eqns if any(v is result for v in e.outvars)), None)
    if made is not None and made.primitive.name in ("and", "convert_element_type"):
        for part in made.invars:
            yield from _conjuncts(cond, part)
    else:
        yield made


def _until(test: Any, carried: Sequence[Any], start: Sequence[Expr | None], steps: Sequence[int],
           known: Mapping[Any, Expr | None], assumptions: Assumptions) -> Expr | None:
    """How often a loop runs until this comparison of a counter with a known bound fails; None for anything else."""
    if test is None or test.primitive.name not in _COMPARISONS:
        return None
    for counter, bound, sign in zip(test.invars, reversed(test.invars), (1, -1), strict=True):
        if compat.is_literal(counter) or counter not in carried:
            continue
        position = carried.index(counter)
        first, limit = start[position], integer_value(bound, known)
        if first is None or limit is None:
            continue
        upwards, inclusive = _COMPARISONS[test.primitive.name]
        step = sign * upwards * steps[position]
        if step > 0:
            return _steps(sign * upwards * (limit - first) + inclusive, step, assumptions)
    return None


def _known_in(cond: Any, operands: Sequence[Expr | None]) -> dict[Any, Expr | None]:
    """What is known inside a condition of its integers."""
    known: dict[Any, Expr | None] = dict(zip(cond.invars, operands, strict=True))
    for e in cond.eqns:
        result = integer_result(e, [integer_value(v, known) for v in e.invars])
        if result is not None:
            known[e.outvars[0]] = result
    return known


def _steps(distance: Expr, step: int, assumptions: Assumptions) -> Expr:
    """⌈distance / step⌉, not below 0."""
    trips = floor_div((distance + step - 1).expand(), Integer(step))
    return trips if lower_bound(trips, assumptions) >= 0 else PeakMax(ZERO, trips)


def increment(body: Any, before: Any, after: Any) -> int:
    """The constant that the body adds to a carried integer, or 0 if it does otherwise."""
    for e in body.eqns:
        if any(v is after for v in e.outvars) and e.primitive.name in ("add", "sub") and any(v is before for v in e.invars):
            other = [v for v in e.invars if v is not before]
            if len(other) == 1 and compat.is_literal(other[0]) and (e.primitive.name == "add" or e.invars[0] is before):
                return int(other[0].val) * (1 if e.primitive.name == "add" else -1)
    return 0
