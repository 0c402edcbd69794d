"""Exact integer forms: symbols, divisions, logarithms, and the maximum over a schedule.

sympy's own ``floor`` evaluates through floating point once lambdified and its ``Max`` compares every pair of arguments; both
are wrong or slow at the sizes met here. These forms are integers by construction, merge when nested, and print
exactly. What is proven of them is in :mod:`.bounds`, what they come to at a point in :mod:`.values`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache

import sympy
from sympy import Expr, Function, Integer, Rational, Symbol
from sympy.core.sympify import _sympify

from costmodel.errors import CostModelError
from costmodel.symbolic.bounds import POSITIVE as POSITIVE
from costmodel.symbolic.bounds import Assumptions as Assumptions
from costmodel.symbolic.bounds import lower_bound as lower_bound
from costmodel.symbolic.bounds import surely_nonnegative as surely_nonnegative
from costmodel.symbolic.bounds import undominated
from costmodel.symbolic.division import ZERO as ZERO
from costmodel.symbolic.division import CeilDiv as CeilDiv
from costmodel.symbolic.division import FloorDiv as FloorDiv
from costmodel.symbolic.division import ceil_div as ceil_div
from costmodel.symbolic.division import floor_div as floor_div
from costmodel.symbolic.division import latex_power
from costmodel.symbolic.values import evaluate as evaluate
from costmodel.symbolic.values import exact_function as exact_function

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
    exact = staticmethod(max)

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


def at_most(expr: Expr, limit: Expr, assumptions: Assumptions = POSITIVE) -> Expr:
    """The smaller of two expressions: the one of them where the assumptions decide."""
    room = (limit - expr).expand()
    if surely_nonnegative(room, assumptions):
        return expr
    return limit if surely_nonnegative(-room, assumptions) else minimum(expr, limit)


def at_least_zero(expr: Expr, assumptions: Assumptions = POSITIVE) -> Expr:
    """max(0, expr): the expression itself where the assumptions say that it is never negative."""
    return expr if surely_nonnegative(expr, assumptions) else PeakMax(ZERO, expr)
