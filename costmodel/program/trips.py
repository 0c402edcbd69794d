"""How often a loop runs, where shapes decide it: from the comparison in its condition and the increment in its body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sympy import Expr, Integer

from costmodel import _jax_compat as compat
from costmodel.symbolic.dimensions import internal
from costmodel.symbolic.forms import ZERO, Assumptions, PeakMax, floor_div, lower_bound

# comparison of a counter (first operand) with a bound -> (1 if it counts upwards and -1 if downwards, bound included)
_COMPARISONS = {"lt": (1, 0), "le": (1, 1), "gt": (-1, 0), "ge": (-1, 1)}

_OPERATIONS: dict[str, Callable[..., Expr]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: (a * b).expand(),
    "neg": lambda a: -a,
    "max": lambda a, b: PeakMax(a, b),
    "min": lambda a, b: -PeakMax(-a, -b),
    "convert_element_type": lambda a: a,
    "squeeze": lambda a: a,
    "reshape": lambda a: a,
    "copy": lambda a: a,
    "stop_gradient": lambda a: a,
}


def trip_count(params: Mapping[str, Any], cond_consts: Sequence[Expr | None], start: Sequence[Expr | None],
               assumptions: Assumptions) -> Expr | None:
    """⌈(bound - start) / step⌉ of a ``while`` where the condition compares a counter with a bound, the body adds a constant to the
    counter, and both start and bound are known integers; downwards likewise. None otherwise.

    params: of the ``while`` equation.  cond_consts, start: values of the condition's constants and of the carried values at the
    start, None for what is not known.
    """
    cond = getattr(params["cond_jaxpr"], "jaxpr", params["cond_jaxpr"])
    body = getattr(params["body_jaxpr"], "jaxpr", params["body_jaxpr"])
    carried, after = cond.invars[params["cond_nconsts"]:], body.outvars
    before = body.invars[params["body_nconsts"]:]
    test = next((e for e in cond.eqns if e.outvars[0] is cond.outvars[0]), None)
    if test is None or test.primitive.name not in _COMPARISONS:
        return None
    known = dict(zip(cond.invars, cond_consts, strict=False))
    known |= {var: value if old is new else None for var, value, old, new in zip(carried, start, before, after, strict=True)}
    for e in cond.eqns:
        if is_integer(e.outvars):
            known[e.outvars[0]] = integer_result(e, [_value(v, known) for v in e.invars])
    for counter, bound, sign in zip(test.invars, reversed(test.invars), (1, -1), strict=True):
        if compat.is_literal(counter) or counter not in carried:
            continue
        position = carried.index(counter)
        first, limit = start[position], _value(bound, known)
        if first is None or limit is None:
            continue
        upwards, inclusive = _COMPARISONS[test.primitive.name]
        upwards *= sign
        step = upwards * _increment(body, before[position], after[position])
        if step > 0:
            trips = floor_div((upwards * (limit - first) + inclusive + step - 1).expand(), Integer(step))
            return trips if lower_bound(trips, assumptions) >= 0 else PeakMax(ZERO, trips)
    return None


def integer_result(eqn: Any, operands: Sequence[Expr | None]) -> Expr | None:
    """The result of an equation of integer scalars, if it follows from shapes."""
    if eqn.primitive.name == "dim_as_value":
        return internal(eqn.params["dim"])
    operation = _OPERATIONS.get(eqn.primitive.name)
    return None if operation is None or None in operands else operation(*operands)


def is_integer(outvars: Sequence[Any]) -> bool:
    """Whether an equation's result is one integer scalar."""
    return len(outvars) == 1 and _is_integer_scalar(outvars[0].aval)


def _is_integer_scalar(aval: Any) -> bool:
    return getattr(aval, "shape", None) == () and str(aval.dtype).startswith(("int", "uint"))


def _value(atom: Any, known: Mapping[Any, Expr | None]) -> Expr | None:
    """What is known of a literal or a variable."""
    if not compat.is_literal(atom):
        return known.get(atom)
    return Integer(int(np.asarray(atom.val))) if _is_integer_scalar(atom.aval) else None


def _increment(body: Any, before: Any, after: Any) -> int:
    """The constant that the body adds to a carried integer, or 0 if it does otherwise."""
    for e in body.eqns:
        if e.outvars[0] is after and e.primitive.name in ("add", "sub") and any(v is before for v in e.invars):
            other = [v for v in e.invars if v is not before]
            if len(other) == 1 and compat.is_literal(other[0]) and (e.primitive.name == "add" or e.invars[0] is before):
                return int(other[0].val) * (1 if e.primitive.name == "add" else -1)
    return 0
