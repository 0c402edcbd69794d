"""Expressions taken apart for printing: one common denominator, and factors and terms in the order of handwriting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import lcm

from sympy import Add, Expr, Integer, Mul, Pow, Rational, Symbol

from costmodel.symbolic.forms import PeakMax

# Batch, sequence and space, then kernel, channels and groups, the way that shapes and the formulas of a layer are written.
_READING_ORDER = "nbtsdhwkcg"


def factors(product: Expr) -> list[Expr]:
    """Factors in reading order: the number, symbols, forms and sums."""
    return sorted(product.args, key=_factor_key) if isinstance(product, Mul) else [product]


def terms(total: Expr) -> list[Expr]:
    """Terms in reading order: the highest degree first, numbers last."""
    return sorted(total.args, key=_term_key) if isinstance(total, Add) else [total]


def _rank(name: str) -> int:
    place = _READING_ORDER.find(name.split("_")[0].lower() or "_")  # a name of several letters is no dimension's letter
    return place if place >= 0 else len(_READING_ORDER)


def _factor_key(factor: Expr) -> tuple:
    base = factor.args[0] if isinstance(factor, Pow) else factor
    if isinstance(base, Symbol):
        return (1, _rank(base.name), base.name)
    return (0 if base.is_Rational else 2,)


def _term_key(term: Expr) -> tuple:
    degree = 0
    for factor in Mul.make_args(term):
        degree += int(factor.args[1]) if isinstance(factor, Pow) else not factor.is_Rational
    return (-degree, sorted(_factor_key(factor) for factor in Mul.make_args(term) if not factor.is_Rational))


def is_whole_valued(expr: Expr) -> bool:
    """Whether ``expr`` is taken for an integer under its domain: unless it is a bare fraction, or has a symbol in a
    denominator outside of its integer forms, as an operational intensity has."""
    return not (_has_quotient(expr) or (isinstance(expr, Rational) and not isinstance(expr, Integer)))


def _has_quotient(expr: Expr) -> bool:
    if isinstance(expr, Pow):
        return bool(expr.args[1] < 0) or _has_quotient(expr.args[0])
    return isinstance(expr, Add | Mul | PeakMax) and any(map(_has_quotient, expr.args))


def split(product: Expr) -> tuple[list[Expr], list[Expr]]:
    """(factors above, factors below the line) of a product as it stands, in reading order, with positive powers only."""
    above: list[Expr] = []
    below: list[Expr] = []
    for factor in factors(product):
        if isinstance(factor, Pow) and factor.args[1] < 0:
            base, exponent = factor.args
            below.append(base if exponent == -1 else Pow(base, -exponent))
        elif factor.is_Rational and not factor.is_Integer:
            below.append(Integer(factor.q))
            if factor.p != 1:
                above.append(Integer(factor.p))
        else:
            above.append(factor)
    return above, below


def over_common_denominator(expr: Expr) -> tuple[Expr, Expr]:
    """(numerator, denominator) with integer coefficients and no negative powers outside of the integer forms.

    >>> from costmodel.symbolic.forms import symbol
    >>> c, g, h = symbol("c"), symbol("g"), symbol("h")
    >>> over_common_denominator(h**2/2 + h/2 + c/g)
    (2*c + g*h**2 + g*h, 2*g)
    >>> over_common_denominator(PeakMax(0, c/g - h))
    (PeakMax(0, c - g*h), g)
    """
    if _is_whole(expr):
        return expr, Integer(1)
    numerator, number, bases = _fraction(expr)
    return numerator, Mul(number, *(base**power for base, power in bases.items()))


def _is_whole(expr: Expr) -> bool:
    if isinstance(expr, Pow):
        return bool(expr.args[1] >= 0) and _is_whole(expr.args[0])
    if isinstance(expr, Add | Mul | PeakMax):
        return all(map(_is_whole, expr.args))
    return not isinstance(expr, Rational) or isinstance(expr, Integer)


# numerator, and the denominator as an integer and the powers of what else is in it
_Fraction = tuple[Expr, int, Counter[Expr]]


def _fraction(expr: Expr) -> _Fraction:
    if isinstance(expr, Rational):
        return Integer(expr.p), int(expr.q), Counter()
    if isinstance(expr, Pow):
        return _power(_fraction(expr.args[0]), int(expr.args[1]))
    if isinstance(expr, Mul):
        parts = [_fraction(arg) for arg in expr.args]
        number, bases = 1, Counter[Expr]()
        for _, n, b in parts:
            number, bases = number * n, bases + b
        return Mul(*(numerator for numerator, _, _ in parts)), number, bases
    if isinstance(expr, PeakMax):
        return _maximum(expr)
    if not isinstance(expr, Add):
        return expr, 1, Counter()
    scaled, number, bases = _common(expr.args)
    return Add(*scaled), number, bases


def _common(exprs: Sequence[Expr]) -> tuple[list[Expr], int, Counter[Expr]]:
    """Several numerators over one denominator."""
    parts = [_fraction(expr) for expr in exprs]
    number, bases = lcm(*(n for _, n, _ in parts)), Counter[Expr]()
    for _, _, b in parts:
        bases |= b
    scaled = [Mul(number // n, numerator, *(base**power for base, power in (bases - b).items())) for numerator, n, b in parts]
    return scaled, number, bases


def _maximum(expr: PeakMax) -> _Fraction:
    """max(a/p, b/q) = max(a q, b p) / (p q), where the denominators are positive."""
    scaled, number, bases = _common(expr.args)
    if not all(base.is_positive for base in bases):
        return expr, 1, Counter()
    return PeakMax(*scaled), number, bases


def _power(fraction: _Fraction, exponent: int) -> _Fraction:
    numerator, number, bases = fraction
    if exponent >= 0:
        return numerator**exponent, number**exponent, Counter({base: power * exponent for base, power in bases.items()})
    flipped = Mul(number, *(base**power for base, power in bases.items())) ** -exponent
    if numerator.is_Integer:
        sign = 1 if numerator > 0 or exponent % 2 == 0 else -1
        return sign * flipped, abs(int(numerator)) ** -exponent, Counter()
    return flipped, 1, Counter({numerator: -exponent})
