"""Exact floor and ceiling division as canonical sympy functions: nested divisions merge, whole multiples are pulled out.

>>> from costmodel.symbolic.forms import symbol
>>> h = symbol("h")
>>> FloorDiv(FloorDiv(h - 1, 2), 2) + 1
CeilDiv(h, 4)
>>> FloorDiv(6*h + 5, 2), -FloorDiv(-h, 4)
(3*h + 2, CeilDiv(h, 4))
"""

from __future__ import annotations

import operator
from functools import lru_cache
from math import gcd, lcm
from typing import Any

import sympy
from sympy import Add, Expr, Function, Integer
from sympy.core.sympify import _sympify

ZERO = Integer(0)


class FloorDiv(Function):
    """⌊a / b⌋ for integer-valued ``a`` and positive ``b``. Canonical: whole multiples of ``b`` are pulled out, nested
    divisions are merged, a common factor is cancelled, ⌊-x / b⌋ is -⌈x / b⌉, and ⌊(x + b - 1) / b⌋ is written ``CeilDiv(x, b)``."""

    nargs = 2
    exact = staticmethod(operator.floordiv)

    def __new__(cls, a, b, **_):
        return floor_div(_sympify(a), _sympify(b))

    def _eval_is_integer(self):
        return True

    def _latex(self, printer, exp=None):
        return latex_power(rf"\left\lfloor \frac{{{printer._print(self.args[0])}}}{{{printer._print(self.args[1])}}} "
                      r"\right\rfloor", exp)


class CeilDiv(Function):
    """⌈a / b⌉ for integer-valued ``a`` and positive ``b``; the canonical spelling of ``FloorDiv(a + b - 1, b)``."""

    nargs = 2

    def __new__(cls, a, b, **_):
        return ceil_div(a, b)

    @staticmethod
    def exact(a: Any, b: Any) -> Any:
        """⌈a / b⌉ of numbers."""
        return -(-a // b)

    def _eval_is_integer(self):
        return True

    def _latex(self, printer, exp=None):
        return latex_power(rf"\left\lceil \frac{{{printer._print(self.args[0])}}}{{{printer._print(self.args[1])}}} "
                      r"\right\rceil", exp)


def latex_power(text: str, exp) -> str:
    """LaTeX of a text to a power, or of the text alone."""
    return text if exp is None else rf"{{{text}}}^{{{exp}}}"


@lru_cache(maxsize=65536)
def floor_div(a: Expr, b: Expr) -> Expr:
    """Canonical ⌊a / b⌋; ``a`` integer-valued, ``b`` positive. Raises ZeroDivisionError for a zero divisor."""
    if b.is_Integer and b <= 0:
        if b == 0:
            raise ZeroDivisionError(f"FloorDiv({a}, 0)")
        a, b = -a, -b
    if b == 1:
        return a
    a, b = _integer_coefficients(sympy.expand(a), sympy.expand(b))
    if b == 1 and a.is_Integer:
        return a
    if b.is_Add:
        quotient, remainder = _divide_by_sum(a, b)
        return quotient + (Function.__new__(FloorDiv, remainder, b, evaluate=False) if remainder != 0 else ZERO)

    if _faces_down(a, b):
        return -ceil_div(-a, b)
    whole, rest = _pull_out_multiples(a, b)
    rest, b = _cancel_common_factor(rest, b)
    if rest == 0 or (rest.is_Integer and b.is_Integer and 0 <= rest < b):
        return whole
    merged = _merge_nested(rest, b)
    if merged is not None:
        return whole + merged
    constant = rest.as_coeff_Add()[0]
    if b.is_Integer and constant == b - 1:
        return whole + Function.__new__(CeilDiv, rest - constant, b, evaluate=False)
    if not b.is_Integer and constant == -1:
        if rest == -1:
            return whole - 1  # -1 // b for b >= 1
        return whole - 1 + Function.__new__(CeilDiv, rest + 1, b, evaluate=False)
    return whole + Function.__new__(FloorDiv, rest, b, evaluate=False)


def ceil_div(a, b) -> Expr:
    """Canonical ⌈a / b⌉."""
    a, b = _sympify(a), _sympify(b)
    return floor_div(a + b - 1, b)


def _integer_coefficients(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """The same quotient with integer coefficients above and below."""
    scale = 1
    for part in (a, b):
        for term in Add.make_args(part):
            scale = lcm(scale, int(term.as_coeff_Mul()[0].q))
    return (a, b) if scale == 1 else (sympy.expand(a * scale), sympy.expand(b * scale))


def _pull_out_multiples(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a = whole·b + rest, term by term, every coefficient left in ``rest`` between 0 and b's (b is a single term). What devices
    share is whole, as n/data; 1/data, in which nothing is left of n, is not."""
    b_coefficient, b_monomial = b.as_coeff_Mul()
    b_powers = b_monomial.as_powers_dict() if b_monomial != 1 else {}
    whole, rest = [], []
    for term in Add.make_args(a):
        coefficient, monomial = term.as_coeff_Mul()
        powers = monomial.as_powers_dict()
        fraction = b_powers and any(power < min(b_powers.get(base, 0), 0) for base, power in powers.items())
        if fraction or any(powers.get(base, 0) < power for base, power in b_powers.items()):
            rest.append(term)
            continue
        quotient, remainder = divmod(coefficient, b_coefficient)
        whole.append(quotient * monomial / b_monomial)
        rest.append(remainder * monomial)
    return Add(*whole), Add(*rest)


def _divide_by_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Pull out an integer multiple of a divisor that is itself a sum, when the leading terms show one."""
    lead = b.as_coefficients_dict()
    term, coefficient = next(iter(sorted(((t, c) for t, c in lead.items() if t != 1), key=lambda tc: str(tc[0]))))
    quotient = a.coeff(term) // coefficient if a.coeff(term).is_Integer else ZERO
    remainder = sympy.expand(a - quotient * b)
    return (quotient, remainder) if remainder == 0 else (ZERO, a)


def _cancel_common_factor(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """⌊(g·x + c) / (g·b)⌋ = ⌊(x + ⌊c / g⌋) / b⌋ for an integer g."""
    constant, variable = a.as_coeff_Add()
    common = int(b.as_coeff_Mul()[0])
    for term in Add.make_args(variable):
        common = gcd(common, int(term.as_coeff_Mul()[0]))
    if common <= 1:
        return a, b
    return sympy.expand(variable / common) + constant // common, b / common


def _faces_down(a: Expr, b: Expr) -> bool:
    """Whether all that varies in a dividend has a negative sign; whole multiples of a number do not count."""
    coefficients = [c for c, monomial in (term.as_coeff_Mul() for term in Add.make_args(a)) if monomial != 1]
    left = [c for c in coefficients if not b.is_Integer or c % b]
    return bool(left) and all(c < 0 for c in left)


def _merge_nested(a: Expr, b: Expr) -> Expr | None:
    """⌊(⌊x / d⌋ + y) / b⌋ = ⌊(x + d·y) / (d·b)⌋ for integer y: exact for positive d. Minus a ceiling of x is a floor of -x."""
    inner = [term for term in Add.make_args(a) if term.has(FloorDiv, CeilDiv)]
    sign, form = inner[0].as_coeff_Mul() if len(inner) == 1 else (0, a)
    if abs(sign) != 1 or not isinstance(form, FloorDiv | CeilDiv):
        return None
    (x, d), y = form.args, a - inner[0]
    x = sign * x
    if isinstance(form, CeilDiv) == (sign > 0):
        x = x + d - 1
    return floor_div(sympy.expand(x + d * y), sympy.expand(d * b))
