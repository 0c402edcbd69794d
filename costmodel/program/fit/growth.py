"""What grows with a depth: a form for each depth, and each of their coefficients interpolated in the depth.

A model whose Python loop makes L layers has another program for each L, so no one program stands for all. Its totals do have one
form: fitted at each L over the other symbols, their coefficients are polynomials of L, found with values to spare.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import sympy
from sympy import Add, Expr, Integer, Rational, Symbol

from costmodel.program.fit.linear import solve
from costmodel.program.fit.refusal import Unfitted, diagnosis
from costmodel.symbolic.forms import PeakMax, evaluate, floor_div

SPARE = 2
_DEGREE, _PERIOD = 4, 6
DEPTHS = _PERIOD + 1 + SPARE  # so many consecutive depths suffice for each of the forms


def interpolated(forms: Mapping[int, Expr], depth: Symbol) -> Expr:
    """The form in ``depth`` and all other symbols that is ``forms[L]`` at every L; at least :data:`SPARE` of them were not needed
    to find it.

    Raises Unfitted where a coefficient is no polynomial of the depth, as that of 2**L is not.

    >>> n, L = sympy.symbols("n L", integer=True, positive=True)
    >>> interpolated({k: 64*k*n + n for k in (2, 3, 4, 5)}, L)
    64*L*n + n
    """
    depths = sorted(forms)
    return _joined([sympy.expand(forms[k]) for k in depths], depths, depth)


def _joined(exprs: Sequence[Expr], depths: Sequence[int], depth: Symbol) -> Expr:
    if any(isinstance(e, PeakMax) for e in exprs):
        return _maximum(exprs, depths, depth)
    parts = [e.as_coefficients_dict() for e in exprs]
    monomials = sorted({m for part in parts for m in part}, key=sympy.default_sort_key)
    return sympy.expand(Add(*(polynomial(depths, [part.get(m, Integer(0)) for part in parts], depth) * m for m in monomials)))


def _maximum(exprs: Sequence[Expr], depths: Sequence[int], depth: Symbol) -> Expr:
    """A maximum argument by argument, where all have as many."""
    counts = {len(e.args) if isinstance(e, PeakMax) else 1 for e in exprs}
    if len(counts) > 1:
        raise Unfitted(f"a maximum over the schedule has {' or '.join(map(str, sorted(counts)))} candidates as {depth} grows")
    columns = [sorted(e.args, key=_shape) for e in exprs]
    return PeakMax(*(_joined(list(column), depths, depth) for column in zip(*columns, strict=True)))


def _shape(arg: Expr) -> str:
    """A candidate without its coefficients, so that candidates of different depths are paired."""
    return str(sorted(map(str, arg.as_coefficients_dict())))


def polynomial(x: Sequence[int], y: Sequence[Expr], depth: Symbol) -> Expr:
    """The plainest form through all (x, y) that :data:`SPARE` of them confirm: a polynomial, or one that has its own at every second,
    third … layer."""
    values = [_number(v) for v in y]
    for basis in _bases(depth):
        if len(basis) + SPARE <= len(x):
            found = solve([[evaluate(form, {depth: v}) for v in x] for form in basis], values)
            if found is not None:
                return sympy.expand(Add(*(Rational(q.numerator, q.denominator) * form for q, form in zip(found, basis, strict=True))))
    looks = diagnosis(list(x), [int(v) for v in y]) if all(v.is_Integer for v in y) else "it is no polynomial"
    raise Unfitted(f"no polynomial of {depth} is {', '.join(map(str, y))} at {', '.join(map(str, x))}: {looks}")


def _bases(depth: Symbol) -> Iterator[list[Expr]]:
    """Powers of the depth; then sums that grow alike in every period of layers, of periods 2, 3, 4 …"""
    for degree in range(_DEGREE + 1):
        yield [depth**k for k in range(degree + 1)]
    for period in range(2, _PERIOD + 1):
        yield [Integer(1), *(floor_div(depth + shift, Integer(period)) for shift in range(period))]


def _number(value: Expr) -> Fraction:
    return Fraction(int(value.p), int(value.q))
