"""Forms as people read them in text: ⌈h/32⌉ for a ceiling, · for a product, and factored where that is clearly shorter.

>>> from costmodel.symbolic.forms import CeilDiv, symbol
>>> n, h, w, k = map(symbol, "nhwk")
>>> print(plain(2*n*CeilDiv(h, 32)**2 + n*h*w))
h·n·w + 2·n·⌈h/32⌉^2
>>> print(plain((n*(h - k + 1)*(w - k + 1)).expand()))
n·(h - k + 1)·(w - k + 1)
>>> print(plain(-sympy.sqrt(2) - 1))
-sqrt(2) - 1
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy
from sympy import Add, Dummy, Expr, Function, Mul, Pow
from sympy.printing.str import StrPrinter

FEWEST, MOST = 4, 24  # terms of a sum that is worth factoring, and that is still done at once
FACTORED_BITS = 128  # of a number in such a sum: sympy looks for primes as large as they are, and a file may have 300 digits
SHORTER = 0.75  # of the expanded text: a factored one must be this much shorter


def cell(value: Any) -> str:
    """A table cell: integers with thousands separators, formulas as :func:`plain` writes them."""
    if getattr(value, "is_Integer", True) is False:
        return plain(value)
    return f"{int(value):,}" if value == int(value) else f"{float(value):,.1f}"


def plain(expr: Expr) -> str:
    """The expression as text, the shorter of its expanded and its factored form."""
    text, other = _text(expr), shortest(expr)
    return text if other is expr else _text(other)


@lru_cache(maxsize=4096)
def shortest(expr: Expr) -> Expr:
    """The expression, or an equal factored one where that is clearly shorter to read."""
    if not isinstance(expr, Add) or not FEWEST <= len(expr.args) <= MOST:
        return expr
    stand_ins: dict[Expr, Expr] = {form: Dummy(f"d{i}") for i, form in enumerate(sorted(expr.atoms(Function), key=str))}
    back = {dummy: form for form, dummy in stand_ins.items()}
    polynomial = expr.xreplace(stand_ins)
    if not polynomial.is_polynomial() or has_long_numbers(polynomial):
        return expr
    candidates = [polynomial, *_factorings(polynomial)]
    best = min(candidates, key=lambda each: len(_text(each.xreplace(back))))
    short = best.xreplace(back)
    return short if len(_text(short)) <= SHORTER * len(_text(expr)) else expr


def has_long_numbers(expr: Expr) -> bool:
    """Whether an expression has a number of more than :data:`FACTORED_BITS` bits."""
    return any(max(abs(c.p), c.q).bit_length() > FACTORED_BITS for c in expr.atoms(sympy.Rational))


def _factorings(polynomial: Expr) -> list[Expr]:
    """The whole factored, and the parts that stand with each power of a symbol factored by themselves."""
    found = [sympy.factor(polynomial)]
    for name in sorted(polynomial.free_symbols, key=str):
        parts = sympy.collect(polynomial, name, evaluate=False)
        if 1 < len(parts) < len(polynomial.args):
            found.append(Add(*(_product(power, sympy.factor(rest)) for power, rest in parts.items())))
    return found


def _product(power: Expr, rest: Expr) -> Expr:
    return Mul(power, rest, evaluate=False) if isinstance(rest, Add) and power != 1 else power * rest


class _Plain(StrPrinter):
    """sympy's text, with the signs of mathematics for integer forms."""

    def _as_ordered_terms(self, expr: Expr, order: Any = None) -> list[Expr]:
        """No sum begins with a minus that can begin without."""
        terms = super()._as_ordered_terms(expr, order=order)
        if not terms[0].could_extract_minus_sign():
            return terms
        symbols = sorted((term for term in terms if not term.is_number), key=lambda term: term.could_extract_minus_sign())
        numbers = [term for term in terms if term.is_number]
        return [*numbers, *symbols] if not symbols or symbols[0].could_extract_minus_sign() else [*symbols, *numbers]

    def _print_CeilDiv(self, expr: Expr) -> str:
        return f"⌈{self._quotient(expr)}⌉"

    def _print_FloorDiv(self, expr: Expr) -> str:
        return f"⌊{self._quotient(expr)}⌋"

    def _quotient(self, expr: Expr) -> str:
        above, below = expr.args
        return f"{self._grouped(above, Add)}/{self._grouped(below, (Add, Mul, Pow))}"

    def _grouped(self, expr: Expr, kinds: Any) -> str:
        return f"({self._print(expr)})" if isinstance(expr, kinds) else self._print(expr)

    def _print_PeakMax(self, expr: Expr) -> str:
        return f"max({', '.join(map(self._print, expr.args))})"


def _text(expr: Expr) -> str:
    return _Plain().doprint(expr).replace("**", "^").replace("*", "·")


