"""Functions of one dimension that are a line plus something periodic: one period decides what holds of them everywhere.

Sums, whole multiples, divisions by numbers and maxima of equally steep functions of one symbol x have a slope s and a period L
with f(x + L) = f(x) + s·L for every integer x. What is compared over L values in a row is therefore proved, not sampled: a least
value, or that a sum of several divisions is a single one.

>>> from costmodel.symbolic.forms import FloorDiv, symbol
>>> p, q = symbol("p"), symbol("q")
>>> merge_divisions(p - FloorDiv(p, 2)), merge_divisions(p*q - p*FloorDiv(q, 2) - q*FloorDiv(p, 2) + FloorDiv(p, 2)*FloorDiv(q, 2))
(CeilDiv(p, 2), CeilDiv(p, 2)*CeilDiv(q, 2))
>>> least_value(p - 2*FloorDiv(p, 2), p, 1)
0
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import lcm

import sympy
from sympy import Add, Expr, Function, Integer, Mul, Symbol

from costmodel.symbolic.division import CeilDiv, FloorDiv, floor_div

# Five halvings need 32 values; what needs more than this stays as it is written.
MAX_PERIOD = 512


@lru_cache(maxsize=65536)
def slope_and_period(expr: Expr) -> tuple[Fraction, int] | None:
    """(s, L) with f(x + L) = f(x) + s·L for all integers x, of an integer-valued function of at most one symbol; None where the
    expression is not made so, or L is above ``MAX_PERIOD``."""
    if isinstance(expr, Symbol):
        return Fraction(1), 1
    if isinstance(expr, Integer):
        return Fraction(0), 1
    if isinstance(expr, Mul) and len(expr.args) == 2 and expr.args[0].is_Integer:
        scaled = slope_and_period(expr.args[1])
        return scaled and (int(expr.args[0]) * scaled[0], scaled[1])
    if isinstance(expr, FloorDiv | CeilDiv) and expr.args[1].is_Integer:
        return _divided(slope_and_period(expr.args[0]), int(expr.args[1]))
    if isinstance(expr, Add) or getattr(expr, "maximum", False):
        return _together(expr)
    return None


def _divided(above: tuple[Fraction, int] | None, divisor: int) -> tuple[Fraction, int] | None:
    """⌊f / b⌋ repeats once f has risen by a multiple of b."""
    if above is None:
        return None
    slope, period = above[0] / divisor, above[1]
    period *= (slope * period).denominator
    return (slope, period) if period <= MAX_PERIOD else None


def _together(expr: Expr) -> tuple[Fraction, int] | None:
    parts = [slope_and_period(arg) for arg in expr.args]
    known = [part for part in parts if part is not None]
    slopes, period = [slope for slope, _ in known], lcm(*(length for _, length in known))
    if len(known) < len(parts) or period > MAX_PERIOD:
        return None
    if isinstance(expr, Add):
        return sum(slopes, Fraction(0)), period
    return (slopes[0], period) if len(set(slopes)) == 1 else None


def values(expr: Expr, numbers: list[int]) -> list[int]:
    """The values of an expression that has a slope where its symbol takes each of ``numbers``."""
    if isinstance(expr, Symbol):
        return numbers
    if isinstance(expr, Integer):
        return [int(expr)] * len(numbers)
    if isinstance(expr, Mul):
        factor = int(expr.args[0])
        return [factor * value for value in values(expr.args[1], numbers)]
    if isinstance(expr, FloorDiv | CeilDiv):
        divisor, above = int(expr.args[1]), values(expr.args[0], numbers)
        return [a // divisor for a in above] if isinstance(expr, FloorDiv) else [-(-a // divisor) for a in above]
    combine = sum if isinstance(expr, Add) else max
    return [combine(row) for row in zip(*(values(arg, numbers) for arg in expr.args), strict=True)]


def least_value(expr: Expr, x: Symbol, first: int) -> int | None:
    """The minimum over all x ≥ ``first`` of a function of x alone; None where there is none or it is not a line with a period."""
    found = slope_and_period(expr)
    if found is None or found[0] < 0:
        return None
    return min(values(expr, list(range(first, first + found[1]))))


def parts_by_symbol(expr: Expr) -> dict[Symbol | None, Expr]:
    """The terms of a sum, those of one symbol alone together; under None what has several or none."""
    parts: dict[Symbol | None, list[Expr]] = {}
    for term in Add.make_args(expr):
        symbols = term.free_symbols
        parts.setdefault(next(iter(symbols)) if len(symbols) == 1 else None, []).append(term)
    return {x: Add(*terms) for x, terms in parts.items()}


@lru_cache(maxsize=65536)
def divide(a: Expr, b: Expr) -> Expr:
    """⌊a / b⌋; of one dimension, as a single division where it comes to one however ``a`` is put together."""
    return merge_divisions(floor_div(merge_divisions(sympy.expand(a)), b))


@lru_cache(maxsize=65536)
def merge_divisions(expr: Expr) -> Expr:
    """An expanded sum in which the terms of one dimension that come to a single division are written as one, also as factors."""
    for x in sorted({x for form in _divisions(expr) for x in form.free_symbols}, key=str):
        expr = _merged_in(expr, x)
    return expr


def _divisions(expr: Expr) -> Iterator[Expr]:
    """The forms of one dimension in a sum of products, those inside of others left out."""
    for term in Add.make_args(expr):
        for factor in Mul.make_args(term):
            if isinstance(factor, Function) and len(factor.free_symbols) == 1:
                yield factor


def _merged_in(expr: Expr, x: Symbol) -> Expr:
    """``expr`` as Σ cofactor · (function of x), each such function in its shortest form."""
    functions: dict[Expr, list[Expr]] = {}
    for term in Add.make_args(expr):
        factors = Mul.make_args(term)
        cofactor = Mul(*(f for f in factors if f.free_symbols != {x} and not f.is_Integer))
        functions.setdefault(cofactor, []).append(Mul(*(f for f in factors if f.free_symbols == {x} or f.is_Integer)))
    merged = [(cofactor, _shortest(terms)) for cofactor, terms in functions.items()]
    if all(new is None for _, new in merged):
        return expr
    return sympy.expand(Add(*(cofactor * (new if new is not None else Add(*functions[cofactor])) for cofactor, new in merged)))


def _shortest(terms: list[Expr]) -> Expr | None:
    """The sum of terms of one symbol and of numbers, with what has a slope as a line and one division; None where it stays."""
    steady = [term for term in terms if slope_and_period(term) is not None]
    if sum(not term.is_Integer for term in steady) < 2 and not any(_nests(term) for term in steady):
        return None
    merged = line_and_division(Add(*steady))
    if merged is None or len(Add.make_args(merged)) > len(steady):
        return None
    return Add(merged, *(term for term in terms if term not in steady))


def _nests(term: Expr) -> bool:
    return len(term.atoms(Function)) > 1


@lru_cache(maxsize=65536)
def line_and_division(expr: Expr) -> Expr | None:
    """A function of one symbol x as k·⌊(m·x + c) / b⌋ + j·x + i where it has that value for every integer x; else None.

    One that is so made rises from each x to the next by j plus k times what the division rises, which is one of two neighbours:
    both steps give k, and either gives j but for multiples of k, which belong to the division: j is the one nearest to 0.
    """
    found, symbols = slope_and_period(expr), expr.free_symbols
    if found is None or len(symbols) != 1:
        return None
    x, at = symbols.pop(), values(expr, list(range(found[1] + 1)))
    steps = sorted({after - before for before, after in pairwise(at)})
    if len(steps) == 1:
        return steps[0] * x + at[0]
    if len(steps) > 2:
        return None
    times = steps[1] - steps[0]
    along = steps[0] % times
    along -= times * (2 * along > times)
    rises = [(value - along * number - at[0]) // times for number, value in enumerate(at)]
    division = _division(rises, (found[0] - along) / times, x)
    return None if division is None else times * division + along * x + at[0]


def _division(wanted: list[int], slope: Fraction, x: Symbol) -> Expr | None:
    """⌊(m·x + c) / b⌋ of slope m / b whose values at 0, 1, … are the wanted ones, a period of them: m·x + c is a multiple of b
    somewhere in it, so that c is the greatest b·f(x) - m·x."""
    above, below = slope.numerator, slope.denominator
    constant = max(below * value - above * number for number, value in enumerate(wanted))
    if any((above * number + constant) // below != value for number, value in enumerate(wanted)):
        return None
    return floor_div(above * x + constant, Integer(below))
