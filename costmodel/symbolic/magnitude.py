"""How large the numbers can get while an expression is computed: int64 overflows silently, so the dtype is chosen before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

import numpy as np
from sympy import Add, Expr, Integer, Mul, Pow, Rational, Symbol

from costmodel.errors import CostModelError
from costmodel.symbolic.forms import CeilDiv, CeilLog2, FloorDiv, PeakMax
from costmodel.symbolic.quotients import is_whole_valued, over_common_denominator, split
from costmodel.symbolic.taps import TapCount


def magnitude_bound(expr: Expr, upper: Mapping[Symbol, int], *, integer: bool | None = None) -> int:
    """An integer that no intermediate of ``expr``, as it is printed, exceeds in magnitude while every symbol is between 1 and
    its ``upper`` (in magnitude; a smaller or negative value is fine too).

    >>> from costmodel.symbolic.forms import symbol
    >>> h, n = symbol("h"), symbol("n")
    >>> magnitude_bound(n*(h**2 - 3*h)/2, {h: 10, n: 4})
    520
    """
    meter = _Meter(upper)
    meter.bound(expr, is_whole_valued(expr) if integer is None else integer)
    return meter.largest


def grid_dtype(exprs: Iterable[Expr], upper: Mapping[Symbol, int], *, integer: bool | None = None) -> type[np.generic]:
    """``np.int64`` if no intermediate of any expression can overflow it, else ``np.float64``, which rounds every step to a
    relative 2**-53."""
    fits = all(magnitude_bound(expr, upper, integer=integer) < 2**63 for expr in exprs)
    return np.int64 if fits else np.float64


class _Meter:
    """Bounds of values, subexpression by subexpression, and the largest of them all. Divisors are at least 1 in the domain."""

    def __init__(self, upper: Mapping[Symbol, int]) -> None:
        self.upper = upper
        self.largest = 0
        self._known: dict[tuple[Expr, bool], int] = {}

    def bound(self, expr: Expr, integer: bool) -> int:
        key = (expr, integer)
        if key not in self._known:
            self._known[key] = self._measure(expr, integer)
            self.largest = max(self.largest, self._known[key])
        return self._known[key]

    def _measure(self, expr: Expr, integer: bool) -> int:
        if isinstance(expr, Symbol):
            return self._upper(expr)
        if isinstance(expr, Integer):
            return abs(int(expr))
        if isinstance(expr, FloorDiv | CeilDiv | TapCount):
            return self._form([self.bound(arg, True) for arg in expr.args], expr)
        if isinstance(expr, CeilLog2):
            return self.bound(expr.args[0], True).bit_length()
        if isinstance(expr, PeakMax):
            return max(self.bound(arg, integer) for arg in expr.args)
        if not isinstance(expr, Add | Mul | Pow | Rational):
            raise CostModelError(f"{str(expr)[:60]!r} ({type(expr).__name__}) is not one of costmodel's forms")
        if integer:
            numerator, denominator = over_common_denominator(expr)
            if denominator != 1:
                self.bound(denominator, True)
                return self._divided(self.bound(numerator, True), denominator)
            if numerator is not expr:
                return self.bound(numerator, True)
        if isinstance(expr, Add):
            return sum(self.bound(term, integer) for term in expr.args)
        if isinstance(expr, Pow) and expr.args[1] >= 0:
            return int(self.bound(expr.args[0], integer) ** int(expr.args[1]))
        above, below = (self._product(part, integer) for part in split(expr))
        self.largest = max(self.largest, below)
        return above

    def _product(self, factors: list[Expr], integer: bool) -> int:
        return prod(max(1, self.bound(factor, integer)) for factor in factors)  # at least every partial product

    def _form(self, args: list[int], expr: Expr) -> int:
        if isinstance(expr, TapCount):
            size, taps, stride, dilation, hole, low, high, _ = args
            length = size * hole + low + high + (taps + 1 + hole) * dilation + stride * (hole + 1) + 1
            return 2 * length * (taps + 1)  # a sum over the taps of two parts
        return self._divided(args[0], expr.args[1])

    @staticmethod
    def _divided(numerator: int, denominator: Expr) -> int:
        return numerator // abs(int(denominator)) + 1 if denominator.is_Integer else numerator + 1

    def _upper(self, symbol: Symbol) -> int:
        try:
            return abs(int(self.upper[symbol]))
        except KeyError:
            raise CostModelError(f"no upper bound is given for {symbol.name}") from None
