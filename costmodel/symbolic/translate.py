"""jax's dimension expressions as sympy: the only bridge between the two."""

from __future__ import annotations

from typing import Any

import sympy

from costmodel.symbolic.domain import assumed
from costmodel.symbolic.forms import Expr, PeakMax, lower_bound, minimum, symbol
from costmodel.symbolic.periods import divide, merge_divisions


def internal(dim: Any) -> Expr:
    """A jax dimension (or an integer) as sympy over the internal variables, in canonical integer form; sympy as it is."""
    if isinstance(dim, Expr):
        return dim
    if type(dim) is int:
        return sympy.Integer(dim)
    from costmodel import _jax_compat as compat  # formulas of a file need no jax

    if not compat.is_symbolic(dim):
        return sympy.Integer(int(dim))
    if id(dim) in _translated_by_id and _translated_by_id[id(dim)][0] is dim:
        return _translated_by_id[id(dim)][1]
    terms = []
    for coefficient, factors in compat.dim_terms(dim):
        product = [sympy.Integer(coefficient)]
        for factor, exponent in factors:
            product.append((symbol(factor) if isinstance(factor, str) else _operation(*factor)) ** exponent)
        terms.append(sympy.Mul(*product))
    expr = merge_divisions(sympy.expand(sympy.Add(*terms)))
    _translated_by_id[id(dim)] = (dim, expr)
    return expr


# jax's own equality of dimensions may run its decision procedure, so translations are remembered by identity; the dimension
# is kept beside its translation, which keeps its id from being used again.
_translated_by_id: dict[int, tuple[Any, Expr]] = {}


def _operation(name: str, a: Any, b: Any) -> Expr:
    a, b = internal(a), internal(b)
    if name in ("floordiv", "mod") and _fits_into(a, b):
        return sympy.Integer(0) if name == "floordiv" else a
    if name == "floordiv":
        return divide(a, b)
    if name == "mod":
        return sympy.expand(a - b * divide(a, b))
    if name == "max":
        greater = _greater(a, b)
        return PeakMax(a, b) if greater is None else greater
    if name == "min":
        greater = _greater(a, b)
        return minimum(a, b) if greater is None else a if greater is b else b
    raise NotImplementedError(f"jax dimension operation {name!r}")


def _fits_into(a: Expr, b: Expr) -> bool:
    """Whether 0 ≤ a < b everywhere in their domain."""
    known = assumed(a + b)
    return lower_bound(a, known) >= 0 and lower_bound(b - a, known) > 0


def _greater(a: Expr, b: Expr) -> Expr | None:
    """Whichever of two is never below the other in their domain, or None where the domain leaves it open."""
    difference = a - b
    known = assumed(difference)
    if lower_bound(difference, known) >= 0:
        return a
    return b if lower_bound(-difference, known) >= 0 else None
