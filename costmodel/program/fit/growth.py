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
DEPTHS = 2 * _PERIOD + 1  # so many consecutive depths tell each of the forms from all others: two steps of the longest period


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
    """A maximum candidate by candidate, from the depths on from which there are as many as at the deepest. At lower ones, where
    some candidates cover others, it must be what it is there."""
    counts = [len(e.args) if isinstance(e, PeakMax) else 1 for e in exprs]
    start = next(i for i in range(len(counts)) if len(set(counts[i:])) == 1)
    columns = [sorted(e.args if isinstance(e, PeakMax) else [e], key=_shape) for e in exprs[start:]]
    form = PeakMax(*(_joined(list(column), depths[start:], depth) for column in zip(*columns, strict=True)))
    if any(form.xreplace({depth: Integer(d)}) != e for d, e in zip(depths[:start], exprs, strict=False)):
        several = " or ".join(map(str, sorted(set(counts))))
        raise Unfitted(f"a maximum over the schedule has {several} candidates as {depth} grows")
    return form


def _shape(arg: Expr) -> str:
    """A candidate without its coefficients, so that candidates of different depths are paired."""
    return str(sorted(map(str, arg.as_coefficients_dict())))


def polynomial(x: Sequence[int], y: Sequence[Expr], depth: Symbol) -> Expr:
    """The plainest form through all (x, y) that :data:`SPARE` of them confirm: a polynomial, or a line with steps at every second,
    third … layer."""
    values = [_number(v) for v in y]
    for basis in _bases(depth, len(x)):
        found = solve([[evaluate(form, {depth: v}) for v in x] for form in basis], values)
        if found is not None:
            return Add(*(Rational(q.numerator, q.denominator) * form for q, form in zip(found, basis, strict=True)))
    looks = diagnosis(list(x), [int(v) for v in y]) if all(v.is_Integer for v in y) else "it is no polynomial"
    raise Unfitted(f"no polynomial of {depth} is {', '.join(map(str, y))} at {', '.join(map(str, x))}: {looks}")


def _bases(depth: Symbol, count: int) -> Iterator[list[Expr]]:
    """Powers of the depth; then with another layer among every 2, 3, 4 … of them; then with any layers in such a period."""
    for degree in range(min(_DEGREE, count - SPARE - 1) + 1):
        yield [depth**k for k in range(degree + 1)]
    periods = range(2, min(_PERIOD, (count - 1) // 2) + 1)
    for period in periods:
        yield from ([Integer(1), depth, floor_div(depth + shift, Integer(period))] for shift in range(period))
    for period in periods:
        yield [Integer(1), *(floor_div(depth + shift, Integer(period)) for shift in range(period))]


def _number(value: Expr) -> Fraction:
    return Fraction(int(value.p), int(value.q))
