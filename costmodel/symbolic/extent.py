"""How large an expression would get if it were expanded or evaluated, told without doing either.

What is read from a file is measured first, so that a short text cannot ask for endless work:

>>> from costmodel.symbolic.forms import symbol
>>> from sympy import Pow
>>> n, h = symbol("n"), symbol("h")
>>> extent(n*h).terms                       # (1 + n)·(1 + h): proofs count every unknown from its least value
4
>>> extent(Pow(Pow(n + 1, 16, evaluate=False), 16, evaluate=False))
Traceback (most recent call last):
costmodel.errors.CostModelError: expression of 2**72 terms, if expanded; the bound is 20000
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import comb
from typing import NamedTuple

from sympy import Expr, Function, Symbol

from costmodel.errors import CostModelError
from costmodel.symbolic.forms import PeakMax

# Every program that was met needs 137 nodes, 5 levels, the exponent 2 and 16 terms.
MAX_NODES = 10_000
MAX_DEPTH = 50
MAX_EXPONENT = 16
MAX_TERMS = 20_000
MAX_BITS = 1000  # of an integer that is written down
MAX_ARGUMENTS = 64  # of a PeakMax, which compares each with each
MAX_VALUE_BITS = 10_000  # of a value where every symbol is below 2**SYMBOL_BITS
SYMBOL_BITS = 64


class Extent(NamedTuple):
    """``terms`` of an expanded expression with x + least value in place of every unknown x, and the bits of its value's numerator
    and denominator where every symbol is below 2**64."""

    terms: int = 1
    above: int = 1
    below: int = 0

    def __mul__(self, other: Extent) -> Extent:  # type: ignore[override]
        return within(Extent(self.terms * other.terms, self.above + other.above, self.below + other.below))

    def to_the(self, exponent: int) -> Extent:
        """Of a power."""
        times = abs(exponent)
        if times > MAX_EXPONENT:
            raise CostModelError(f"expression with the exponent {_short(exponent)}; the bound is {MAX_EXPONENT}")
        above, below = (self.above, self.below) if exponent >= 0 else (self.below, self.above)
        return within(Extent(comb(self.terms + times - 1, times) if times else 1, max(1, above * times), below * times))

    @classmethod
    def of_sum(cls, parts: Iterable[Extent]) -> Extent:
        """Of a sum of these, over a common denominator."""
        parts = list(parts)
        below = sum(part.below for part in parts)
        above = max((part.above for part in parts), default=1) + below + len(parts).bit_length()
        return within(cls(sum(part.terms for part in parts), above, below))


UNKNOWN = Extent(2, SYMBOL_BITS, 0)


def extent(expr: Expr, of: Mapping[Symbol, Extent] | None = None) -> Extent:
    """The extent of an expression; ``of`` has those of what symbols stand for. Raises CostModelError, naming what is too large and
    its bound, for it or a part of it."""
    if expr.is_Symbol:
        return UNKNOWN if of is None else of.get(expr, UNKNOWN)
    if expr.is_Rational:
        return within(Extent(1, _bits(int(expr.p)), _bits(int(expr.q)) if expr.q != 1 else 0))
    if expr.is_Pow:
        return extent(expr.args[0], of).to_the(int(expr.args[1]))
    parts = [extent(arg, of) for arg in expr.args]
    if expr.is_Mul:
        return product(parts)
    if expr.is_Add:
        return Extent.of_sum(parts)
    if isinstance(expr, PeakMax):
        if len(parts) > MAX_ARGUMENTS:
            raise CostModelError(f"expression with a PeakMax of {len(parts)} arguments; the bound is {MAX_ARGUMENTS}")
        return within(Extent(UNKNOWN.terms, max(part.above for part in parts), max(part.below for part in parts)))
    assert isinstance(expr, Function), expr
    return within(Extent(UNKNOWN.terms, sum(part.above + part.below for part in parts), max(part.below for part in parts)))


def product(parts: Iterable[Extent]) -> Extent:
    """The extent of a product of these."""
    made = Extent()
    for part in parts:
        made = made * part
    return made


def within(made: Extent) -> Extent:
    """The extent itself. Raises CostModelError if it is too large."""
    if made.terms > MAX_TERMS:
        raise CostModelError(f"expression of {_short(made.terms)} terms, if expanded; the bound is {MAX_TERMS}")
    if max(made.above, made.below) > MAX_VALUE_BITS:
        raise CostModelError(f"expression of {max(made.above, made.below)} bits where every symbol has {SYMBOL_BITS}; "
                             f"the bound is {MAX_VALUE_BITS}")
    return made


def _bits(value: int) -> int:
    if value.bit_length() > MAX_BITS:
        raise CostModelError(f"integer of {value.bit_length()} bits; the bound is {MAX_BITS}")
    return max(1, value.bit_length())


def _short(value: int) -> str:
    """An integer of any size as a short text."""
    return str(value) if abs(value) < 10**15 else f"{'-' if value < 0 else ''}2**{value.bit_length() - 1}"
