"""Lower bounds of forms, proven from what is known of their symbols; and which of several is never below another."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import sympy
from sympy import Add, Expr, Function, Mul, Rational, Symbol

from costmodel.symbolic.division import CeilDiv, FloorDiv
from costmodel.symbolic.periods import least_value, parts_by_symbol
from costmodel.symbolic.values import evaluate


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


@lru_cache(maxsize=65536)
def lower_bound(expr: Expr, assumptions: Assumptions = POSITIVE) -> Fraction | float:
    """A proven lower bound of ``expr`` under the assumptions; ``-inf`` where none is found.

    >>> h, k = sympy.symbols("h k", integer=True, positive=True)
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
    least = None if terms is None else _least(terms, tuple(bounds.values()))
    return _expanded_bound(expr, bounds) if least is None else least


def _expanded_bound(expr: Expr, bounds: Mapping[Expr, Fraction]) -> Fraction | float:
    """The same of what is divided by a sum, or by what may be zero: a quotient is above zero, too."""
    shift = {atom: sympy.Dummy(nonnegative=True) + Rational(bound.numerator, bound.denominator) for atom, bound in bounds.items()}
    constant, variable = sympy.expand(expr.xreplace(shift)).as_coeff_Add()
    if not constant.is_Rational:
        return UNBOUNDED
    for term in Add.make_args(variable):
        coefficient, rest = term.as_coeff_Mul()
        if not coefficient.is_Rational or coefficient < 0 or (not rest.is_nonnegative and term != 0):
            return UNBOUNDED
    return Fraction(int(constant.p), int(constant.q))


# A polynomial: exponents of its unknowns, below zero where they divide -> coefficient. Shifted by hand, since sympy takes seconds
# for high powers of sums.
_Powers = dict[tuple[int, ...], Fraction]


def _powers(expr: Expr, unknowns: tuple[Expr, ...]) -> _Powers | None:
    """An expression as a polynomial in unknowns and their inverses; None where it is none."""
    places: dict[Expr, int] = {unknown: place for place, unknown in enumerate(unknowns)}
    terms = _monomials(expr, places)
    if terms is not None:
        return terms
    # A product of sums; unknowns that are forms are not to be expanded inside.
    names = {unknown: sympy.Dummy() for unknown in unknowns}
    return _monomials(sympy.expand(expr.xreplace(names)), {name: places[unknown] for unknown, name in names.items()})


def _monomials(expr: Expr, places: Mapping[Expr, int]) -> _Powers | None:
    """A sum of products of unknowns, each with its place among the exponents; None where it is no such sum as it stands."""
    terms: _Powers = {}
    for term in Add.make_args(expr):
        coefficient, product = term.as_coeff_Mul()
        exponents = [0] * len(places)
        for factor in Mul.make_args(product):
            base, exponent = factor.as_base_exp()
            if base in places and exponent.is_Integer:
                exponents[places[base]] += int(exponent)
            elif factor != 1:
                return None
        if not coefficient.is_Rational:
            return None
        key = tuple(exponents)
        terms[key] = terms.get(key, Fraction(0)) + Fraction(int(coefficient.p), int(coefficient.q))
    return terms


def _least(terms: _Powers, bounds: tuple[Fraction, ...]) -> Fraction | float | None:
    """The least value of a polynomial of unknowns that are at least ``bounds``; None where that would take a division by zero.

    Terms with the same divisor are one polynomial over it: it is not below zero where no shifted coefficient is. Of others what is
    taken away is most where the divisor is least: -y/x ≥ -y/b.
    """
    over: dict[tuple[int, ...], _Powers] = {}
    for exponents, coefficient in terms.items():
        divisor = tuple(max(-e, 0) for e in exponents)
        over.setdefault(divisor, {})[tuple(max(e, 0) for e in exponents)] = coefficient
    whole = over.pop((0,) * len(bounds), {})
    if over and any(b < 0 or (b == 0 and any(divisor[i] for divisor in over)) for i, b in enumerate(bounds)):
        return None
    for divisor, share in over.items():
        if min(_all_shifted(share, bounds).values()) < 0:
            least = math.prod((b**e for b, e in zip(bounds, divisor, strict=True)), start=Fraction(1))
            for exponents, coefficient in share.items():
                if coefficient < 0:
                    whole[exponents] = whole.get(exponents, Fraction(0)) + coefficient / least
    shifted = _all_shifted(whole, bounds)
    constant = shifted.pop((0,) * len(bounds), Fraction(0))
    return constant if all(coefficient >= 0 for coefficient in shifted.values()) else UNBOUNDED


def _all_shifted(terms: _Powers, bounds: tuple[Fraction, ...]) -> _Powers:
    for place, bound in enumerate(bounds):
        terms = _shifted(terms, place, bound)
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
    if getattr(atom, "maximum", False):
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


# -- which of several is never below another -----------------------------------------------------------------------------------


def undominated(args: Iterable[Expr]) -> list[Expr]:
    """``args`` without duplicates, and without those that another one is never below, whatever values the symbols take."""
    unique = sorted(set(args), key=sympy.default_sort_key)
    samples = _samples(unique) if len(unique) > 2 else {arg: [] for arg in unique}
    terms = {arg: arg.as_coefficients_dict() for arg in unique}

    def dominates(greater: Expr, smaller: Expr) -> bool:
        # Numbers refute most pairs at a thousandth of the cost of a proof, and never decide that one dominates.
        return all(map(operator.ge, samples[greater], samples[smaller])) and _covers(terms[greater], terms[smaller])

    kept: list[Expr] = []
    for arg in unique:
        if any(dominates(other, arg) for other in kept):
            continue
        kept = [other for other in kept if not dominates(arg, other)] + [arg]
    return kept


# A sum: its terms without their coefficients, and these.
_Terms = Mapping[Expr, Expr]


def _covers(greater: _Terms, smaller: _Terms) -> bool:
    """True if greater ≥ smaller follows term by term or, where their difference is a sum of functions of one symbol each, from a
    period of each."""
    # Not subtracted by sympy, which sorts and counts the terms of each of some hundreds of pairs anew.
    difference = {term: greater.get(term, 0) - smaller.get(term, 0) for term in {**greater, **smaller}}
    return _covers_by_term(difference) or (all(len(term.free_symbols) < 2 for term, c in difference.items() if c)
                                           and _bound_by_dimension(Add(*(c*term for term, c in difference.items())), {}) >= 0)


def _covers_by_term(difference: _Terms) -> bool:
    """True if a sum is ≥ 0: what is negative in it is taken out of positive terms that are it times factors ≥ 1. Sound where it is
    itself a form ≥ 0, and much cheaper than expanding a shifted polynomial."""
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
