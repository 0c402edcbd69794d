"""Sums and products of one quotient a symbol, found along lines on which only that symbol varies."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from sympy import Expr, Integer, Mul

from costmodel.program.fit.algebraic import Atoms, rational
from costmodel.program.fit.box import Point
from costmodel.program.fit.linear import line, solve
from costmodel.program.fit.sample import Values
from costmodel.program.fit.steps import KEPT, steps
from costmodel.symbolic.forms import floor_div

# How many points of a line a quotient must hold at.
_ENOUGH = 6
_TRIED = 24

Single = tuple[Expr, Values]


def separable(y: Values, atoms: Atoms, points: Sequence[Point]) -> list[Expr]:
    """a·f(x)·g(z) + b, a·f(x) + b·g(z) + c, and their sum, where f and g are quotients or the symbols themselves."""
    single = [_along(y, axis, atoms, points) for axis in range(atoms.symbols)]
    hits: list[Expr] = []
    for first, second in itertools.combinations([s for s in single if s], 2):
        for (f, u), (g, v) in itertools.product(first, second):
            hits += _joined(y, (f, u), (g, v))
            if len(hits) >= KEPT:
                return hits
    return hits


def _along(y: Values, axis: int, atoms: Atoms, points: Sequence[Point]) -> list[Single]:
    """The functions of one symbol that fit on the longest line along it."""
    lines: dict[Point, list[int]] = {}
    for i, p in enumerate(points):
        lines.setdefault((*p[:axis], *p[axis + 1:]), []).append(i)
    longest = max(lines.values(), key=len)
    x, w = atoms.forms[axis], atoms.values[axis]
    on, seen = [w[i] for i in longest], [y[i] for i in longest]
    if len(longest) < _ENOUGH or len(set(seen)) == 1:
        return []
    if line(on, seen) is not None:
        return [(x, w)]
    return [_unit(x, w, step.multiplier, step.shift, step.divisor) for step in steps(tuple(on), tuple(seen))[:_TRIED]]


def _unit(x: Expr, w: Values, m: int, c: int, d: int) -> Single:
    return floor_div((m * x + c).expand(), Integer(d)), tuple((m * v + c) // d for v in w)


def _joined(y: Values, first: Single, second: Single) -> list[Expr]:
    (f, u), (g, v) = first, second
    both = tuple(p * q for p, q in zip(u, v, strict=True))
    found = line(both, y)
    if found is not None:
        return [rational(found[0]) * f * g + rational(found[1])]
    one = (1,) * len(y)
    for columns, forms in (((u, v, one), (f, g, Integer(1))), ((both, u, v, one), (f * g, f, g, Integer(1)))):
        solution = solve(columns, y)
        if solution is not None:
            return [sum((Mul(rational(q), form) for q, form in zip(solution, forms, strict=True)), Integer(0))]
    return []


