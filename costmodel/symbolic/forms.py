"""Exact integer forms: symbols, divisions, logarithms, and the maximum over a schedule; bounds on them, and their exact values.

sympy's own ``floor`` evaluates through floating point once lambdified and its ``Max`` compares every pair of arguments; both
are wrong or slow at the sizes met here. These forms are integers by construction, merge when nested, and print exactly.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

import sympy
from sympy import Add, Expr, Function, Integer, Mul, Rational, Symbol
from sympy.core.sympify import _sympify

from costmodel.errors import CostModelError, Undefined
from costmodel.symbolic.division import ZERO as ZERO
from costmodel.symbolic.division import CeilDiv, FloorDiv, latex_power
from costmodel.symbolic.division import ceil_div as ceil_div
from costmodel.symbolic.division import floor_div as floor_div
from costmodel.symbolic.periods import least_value, parts_by_symbol

ONE = Integer(1)


RUN_TIME = re.compile(r"(trips|taken)_\d+")


@cache
def symbol(name: str) -> Symbol:
    """The one sympy symbol of that name: a positive integer, as every dimension is. What is known only when a program runs
    (:data:`RUN_TIME`: a trip count, a branch's weight) may also be 0."""
    return Symbol(name, integer=True, nonnegative=True) if RUN_TIME.fullmatch(name) else Symbol(name, integer=True, positive=True)


class PeakMax(Function):
    """Maximum of its arguments, kept opaque: arguments that another one dominates for all symbols ≥ 1 are dropped, and what
    remains is only compared at evaluation.

    >>> n, c = symbol("n"), symbol("c")
    >>> PeakMax(3*n*c, 2*n*c, n**2, 3)
    PeakMax(n**2, 3*c*n)
    """

    maximum = True

    def __new__(cls, *args, **_):
        flat: list[Expr] = []
        for arg in args:
            arg = _sympify(arg)
            flat.extend(arg.args if isinstance(arg, PeakMax) else (arg,))
        kept = undominated(flat)
        if len(kept) == 1:
            return kept[0]
        return Function.__new__(cls, *kept, evaluate=False)

    @classmethod
    def opaque(cls, *args: Expr) -> Expr:
        """The maximum of arguments that were compared already, in canonical order."""
        return Function.__new__(cls, *sorted(set(args), key=sympy.default_sort_key), evaluate=False)

    def _eval_is_integer(self):
        return all(arg.is_integer for arg in self.args) or None

    def _latex(self, printer, exp=None):
        return latex_power(r"\max\left(" + ", ".join(printer._print(arg) for arg in self.args) + r"\right)", exp)


class CeilLog2(Function):
    """⌈log₂ n⌉ for n ≥ 1: the levels of a sort or a transform over n elements.

    >>> CeilLog2(1024), CeilLog2(1025), CeilLog2(symbol("n"))
    (10, 11, CeilLog2(n))
    """

    nargs = 1
    counts = True  # never negative

    def __new__(cls, n, **_):
        n = _sympify(n)
        return Integer(cls.exact(int(n))) if n.is_Integer else Function.__new__(cls, n, evaluate=False)

    @staticmethod
    def exact(n: int) -> int:
        """⌈log₂ n⌉ of an integer."""
        return (int(n) - 1).bit_length() if n > 0 else 0

    def _eval_is_integer(self):
        return True

    def _latex(self, printer, exp=None):
        return latex_power(rf"\left\lceil \log_2\left({printer._print(self.args[0])}\right) \right\rceil", exp)


def number(value: Expr | int | Fraction) -> Expr:
    """A number as an exact expression, an expression as it is; text is none.

    >>> number(3), number(Fraction(1, 3)), number(symbol("n"))
    (3, 1/3, n)
    """
    if isinstance(value, Expr):
        return value
    exact = Fraction(value) if isinstance(value, int | Fraction) else None
    if exact is None:
        raise CostModelError(f"{value!r} is neither a whole number, a fraction nor an expression")
    return Rational(exact.numerator, exact.denominator)


def minimum(*args) -> Expr:
    """Minimum, written through :class:`PeakMax` so that there is one canonical form for both."""
    return -PeakMax(*(-_sympify(arg) for arg in args))


def undominated(args: Iterable[Expr]) -> list[Expr]:
    """``args`` without duplicates, and without those that another one is never below, whatever values the symbols take."""
    unique = sorted(set(args), key=sympy.default_sort_key)
    samples = _samples(unique) if len(unique) > 2 else {arg: [] for arg in unique}

    def dominates(greater: Expr, smaller: Expr) -> bool:
        # Numbers refute most pairs at a thousandth of the cost of a proof, and never decide that one dominates.
        return all(map(operator.ge, samples[greater], samples[smaller])) and _covers(greater, smaller)

    kept: list[Expr] = []
    for arg in unique:
        if any(dominates(other, arg) for other in kept):
            continue
        kept = [other for other in kept if not dominates(arg, other)] + [arg]
    return kept


def _covers(greater: Expr, smaller: Expr) -> bool:
    """True if greater ≥ smaller follows term by term or, where their difference is a sum of functions of one symbol each, from a
    period of each."""
    difference = greater - smaller
    return _covers_by_term(difference) or (all(len(term.free_symbols) < 2 for term in Add.make_args(difference))
                                           and _bound_by_dimension(difference, {}) >= 0)


def _covers_by_term(total: Expr) -> bool:
    """True if total ≥ 0: what is negative in it is taken out of positive terms that are it times factors ≥ 1. Sound where it is
    itself a form ≥ 0, and much cheaper than expanding a shifted polynomial."""
    difference = total.as_coefficients_dict()
    positive = {term: c for term, c in difference.items() if c > 0}
    for term, coefficient in difference.items():
        missing = -coefficient
        if missing <= 0:
            continue
        if not _not_negative(term):  # -3·m·f + 3·f is above zero where f, as ⌊max(-3, -n) / 2⌋, is below
            return False
        for other in sorted(positive, key=sympy.default_sort_key):
            if positive[other] > 0 and _at_least_one(other / term):
                taken = min(missing, positive[other])
                positive[other] -= taken
                missing -= taken
                if missing == 0:
                    break
        if missing > 0:
            return False
    # What is left has positive coefficients: it is not negative if its terms are not.
    return all(c == 0 or _not_negative(term) for term, c in positive.items())


@lru_cache(maxsize=65536)
def _at_least_one(quotient: Expr) -> bool:
    """A product of symbols and forms, all of which are ≥ 1, to positive powers."""
    return all(power.is_Integer and power > 0 and (base.is_Symbol or isinstance(base, CeilDiv)) and _atom_bound(base, {}) >= 1
               for base, power in quotient.as_powers_dict().items() if base != 1)


@lru_cache(maxsize=65536)
def _not_negative(term: Expr) -> bool:
    """A product of symbols and forms, all of which are ≥ 0, to positive powers."""
    return all(power.is_Integer and power > 0 and (base.is_Symbol or isinstance(base, Function)) and _atom_bound(base, {}) >= 0
               for base, power in term.as_powers_dict().items() if base != 1)


def _samples(exprs: Iterable[Expr]) -> dict[Expr, list[int | Fraction]]:
    """Values at a few points: all symbols small, all large, and each large among small ones. A point at which any has no
    value is left out."""
    values: dict[Expr, list[int | Fraction]] = {expr: [] for expr in exprs}
    symbols = sorted({s for expr in values for s in expr.free_symbols}, key=str)
    small, large = {s: 1 if s.is_positive else 0 for s in symbols}, dict.fromkeys(symbols, 97)
    for point in (small, large, *({**small, s: 97} for s in symbols)):
        memo: dict[Expr, int | Fraction] = {}
        try:
            row = [evaluate(expr, point, memo) for expr in values]
        except (ArithmeticError, TypeError, ValueError):
            continue
        for expr, value in zip(values, row, strict=True):
            values[expr].append(value)
    return values


@dataclass(frozen=True)
class Assumptions:
    """What is known of the symbols besides being positive integers: ``lower`` bounds by name, and expressions ≥ 0."""

    lower: tuple[tuple[str, int], ...] = ()
    nonnegative: tuple[Expr, ...] = ()

    def __hash__(self):
        try:
            return self.__dict__["_hash"]
        except KeyError:
            self.__dict__["_hash"] = hash((self.lower, self.nonnegative))
            return self.__dict__["_hash"]


POSITIVE = Assumptions()
UNBOUNDED = float("-inf")


def surely_nonnegative(expr: Expr, assumptions: Assumptions = POSITIVE) -> bool:
    """True if ``expr`` ≥ 0 follows from the assumptions (a sufficient test, so False decides nothing)."""
    return lower_bound(expr, assumptions) >= 0


def at_most(expr: Expr, limit: Expr, assumptions: Assumptions = POSITIVE) -> Expr:
    """The smaller of two expressions: the one of them where the assumptions decide."""
    room = (limit - expr).expand()
    if surely_nonnegative(room, assumptions):
        return expr
    return limit if surely_nonnegative(-room, assumptions) else minimum(expr, limit)


def at_least_zero(expr: Expr, assumptions: Assumptions = POSITIVE) -> Expr:
    """max(0, expr): the expression itself where the assumptions say that it is never negative."""
    return expr if surely_nonnegative(expr, assumptions) else PeakMax(ZERO, expr)


@lru_cache(maxsize=65536)
def lower_bound(expr: Expr, assumptions: Assumptions = POSITIVE) -> Fraction | float:
    """A proven lower bound of ``expr`` under the assumptions; ``-inf`` where none is found.

    >>> h, k = symbol("h"), symbol("k")
    >>> lower_bound(h - k + 1), lower_bound(h - k + 1, Assumptions(nonnegative=(h - k,)))
    (-inf, Fraction(1, 1))
    """
    if expr.is_Rational:
        return Fraction(int(expr.p), int(expr.q))
    lower = dict(assumptions.lower)
    best = _shifted_bound(expr, lower)
    for known in assumptions.nonnegative:
        best = max(best, _shifted_bound(expr - known, lower))
    return best if best >= 0 else max(best, _bound_by_dimension(expr, lower))


def _bound_by_dimension(expr: Expr, lower: Mapping[str, int]) -> Fraction | float:
    """The terms of each symbol at their least over a period, where they have one; the others each from their own bounds."""
    total: Fraction | float = Fraction(0)
    for x, part in parts_by_symbol(expr).items():
        least = None if x is None else least_value(part, x, int(_atom_bound(x, lower)))
        total += _shifted_bound(part, lower) if least is None else least
        if total == UNBOUNDED:
            break
    return total


def _shifted_bound(expr: Expr, lower: Mapping[str, int]) -> Fraction | float:
    """Shift each unknown to x + bound with x ≥ 0 and expand: if no coefficient is negative the constant is the minimum."""
    bounds: dict[Expr, Fraction] = {}
    for atom in _outermost(expr):
        bound = _atom_bound(atom, lower)
        if bound == UNBOUNDED:
            return bound
        bounds[atom] = Fraction(bound)
    terms = _powers(expr, tuple(bounds))
    if terms is None:
        return _expanded_bound(expr, bounds)
    for place, bound in enumerate(bounds.values()):
        terms = _shifted(terms, place, bound)
    constant = terms.pop((0,) * len(bounds), Fraction(0))
    return constant if all(coefficient >= 0 for coefficient in terms.values()) else UNBOUNDED


def _expanded_bound(expr: Expr, bounds: Mapping[Expr, Fraction]) -> Fraction | float:
    """The same of what is no polynomial: a quotient is above zero, too."""
    shift = {atom: sympy.Dummy(nonnegative=True) + Rational(bound.numerator, bound.denominator) for atom, bound in bounds.items()}
    constant, variable = sympy.expand(expr.xreplace(shift)).as_coeff_Add()
    if not constant.is_Rational:
        return UNBOUNDED
    for term in Add.make_args(variable):
        coefficient, rest = term.as_coeff_Mul()
        if not coefficient.is_Rational or coefficient < 0 or (not rest.is_nonnegative and term != 0):
            return UNBOUNDED
    return Fraction(int(constant.p), int(constant.q))


# A polynomial: exponents of its unknowns -> coefficient. Shifted by hand, since sympy takes seconds for high powers of sums.
_Powers = dict[tuple[int, ...], Fraction]


def _powers(expr: Expr, unknowns: tuple[Expr, ...]) -> _Powers | None:
    """An expression as a polynomial in unknowns; None where it is none."""
    names = {unknown: sympy.Dummy() for unknown in unknowns}
    places = {name: place for place, name in enumerate(names.values())}
    terms: _Powers = {}
    for term in Add.make_args(sympy.expand(expr.xreplace(names))):
        coefficient, product = term.as_coeff_Mul()
        exponents = [0] * len(unknowns)
        for factor in Mul.make_args(product):
            base, exponent = factor.as_base_exp()
            if base in places and exponent.is_Integer and exponent > 0:
                exponents[places[base]] += int(exponent)
            elif factor != 1:
                return None
        if not coefficient.is_Rational:
            return None
        key = tuple(exponents)
        terms[key] = terms.get(key, Fraction(0)) + Fraction(int(coefficient.p), int(coefficient.q))
    return terms


def _shifted(terms: _Powers, place: int, by: Fraction) -> _Powers:
    """The polynomial with x + ``by`` in place of one of its unknowns x."""
    if by == 0:
        return terms
    made: _Powers = {}
    for exponents, coefficient in terms.items():
        exponent = exponents[place]
        for left in range(exponent + 1):
            key = (*exponents[:place], left, *exponents[place + 1:])
            made[key] = made.get(key, Fraction(0)) + coefficient * math.comb(exponent, left) * by ** (exponent - left)
    return made


def _outermost(expr: Expr) -> set[Expr]:
    """Symbols and forms of ``expr`` that are not inside another form: the unknowns of a polynomial."""
    if isinstance(expr, Symbol | Function):
        return {expr}
    return {unknown for arg in expr.args for unknown in _outermost(arg)}


def _atom_bound(atom: Expr, lower: Mapping[str, int]) -> Fraction | float:
    if isinstance(atom, Symbol):
        return Fraction(lower.get(atom.name, 1 if atom.is_positive else 0))
    if isinstance(atom, PeakMax):
        return max(_shifted_bound(arg, lower) for arg in atom.args)
    if not isinstance(atom, FloorDiv | CeilDiv):
        return Fraction(0) if getattr(atom, "counts", False) else UNBOUNDED
    numerator, denominator = atom.args
    bound = _shifted_bound(numerator, lower)
    if bound == UNBOUNDED or (bound < 0 and not denominator.is_Integer):
        return UNBOUNDED
    if not denominator.is_Integer:
        return Fraction(1 if isinstance(atom, CeilDiv) and bound > 0 else 0)
    quotient = bound / int(denominator)
    return Fraction(-((-quotient) // 1) if isinstance(atom, CeilDiv) else quotient // 1)


def evaluate(expr: Expr, values: Mapping[Symbol, int], memo: dict[Expr, int | Fraction] | None = None) -> int | Fraction:
    """The exact value of ``expr`` with every symbol bound to a Python integer. Share ``memo`` among calls at one point.

    Raises KeyError with the symbol for an unbound one, Undefined where a divisor is zero. Never uses floating point.
    """
    memo = {} if memo is None else memo
    known = memo.get(expr)
    if known is not None:
        return known
    result: Any
    if expr.is_Symbol:
        result = values[expr]
    elif expr.is_Integer:
        result = int(expr)
    elif expr.is_Rational:
        result = Fraction(int(expr.p), int(expr.q))
    else:
        args = [evaluate(arg, values, memo) for arg in expr.args]
        try:
            result = _combined(expr, args)
        except ZeroDivisionError:
            raise Undefined(f"{type(expr).__name__}({', '.join(str(arg)[:20] for arg in args)}) divides by zero at "
                            f"{', '.join(f'{s}={str(value)[:20]}' for s, value in list(values.items())[:8])}") from None
    if isinstance(result, Fraction) and result.denominator == 1:
        result = result.numerator
    memo[expr] = result
    return result


def _combined(expr: Expr, args: list[Any]) -> Any:
    """The value of a node from those of its arguments."""
    if expr.is_Add:
        return sum(args)
    if expr.is_Mul:
        return math.prod(args)
    if expr.is_Pow:
        return args[0] ** args[1] if args[1] >= 0 else Fraction(1) / args[0] ** -args[1]
    return exact_function(type(expr))(*args)


def exact_function(form: Any) -> Any:
    """The exact Python function behind an opaque form; forms defined elsewhere carry it as ``exact``."""
    try:
        return _EXACT[form] if form in _EXACT else form.exact
    except AttributeError:
        raise TypeError(f"costmodel has no exact evaluation for {form.__name__}; it is not one of its forms") from None


_EXACT = {
    FloorDiv: lambda a, b: a // b,
    CeilDiv: lambda a, b: -(-a // b),
    PeakMax: max,
}
