r"""Expressions as LaTeX mathematics, in the order in which people write them.

>>> from costmodel.symbolic.forms import CeilDiv, symbol
>>> n, h, c_in = symbol("n"), symbol("h"), symbol("c_in")
>>> print(latex(147*n*c_in*CeilDiv(h, 32)**2 - h*n/2))
147 n c_{\mathrm{in}} {\left\lceil \frac{h}{32} \right\rceil}^{2} - \frac{n h}{2}
"""

from __future__ import annotations

import re

import sympy
from sympy import Add, Expr, Integer, Mul, Pow, Rational, Symbol

from costmodel.symbolic.quotients import split, terms

_GREEK = frozenset("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi "
                   "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split())


def latex(expr: Expr) -> str:
    """``expr`` in LaTeX, without delimiters. ``c_i`` is c with the subscript i, and a name longer than a letter is upright."""
    return _Printer()._print(expr)


class _Printer:
    """Arithmetic here; integer forms print themselves through ``_latex(printer, exp)``, which is sympy's protocol."""

    def _print(self, expr: Expr) -> str:
        if isinstance(expr, Symbol):
            return _name(expr.name)
        if isinstance(expr, Add):
            return self._sum([self._print(term) for term in terms(expr)])
        if isinstance(expr, Mul | Rational) and not isinstance(expr, Integer):
            return self._product(*split(expr))
        if isinstance(expr, Pow) and expr.args[1].is_Integer:
            return self._power(*expr.args) if expr.args[1] >= 0 else self._product(*split(expr))
        return expr._latex(self) if hasattr(expr, "_latex") else sympy.latex(expr)

    @staticmethod
    def _sum(texts: list[str]) -> str:
        first, *others = texts
        return first + "".join(f" - {text[1:]}" if text.startswith("-") else f" + {text}" for text in others)

    def _product(self, above: list[Expr], below: list[Expr]) -> str:
        sign = ""
        if above and above[0].is_Integer and above[0] < 0:
            sign, above = "-", [-above[0], *above[1:]]
        top = self._times(above)
        return sign + (rf"\frac{{{top}}}{{{self._times(below)}}}" if below else top)

    def _times(self, parts: list[Expr]) -> str:
        parts = [part for part in parts if part != 1] or [Integer(1)]
        if len(parts) == 1:
            return self._print(parts[0])
        text = ""
        for part in parts:
            factor = self._bracketed(part) if isinstance(part, Add) else self._print(part)
            # a number after the first factor needs a visible dot
            text += (r" \cdot " if factor[0].isdigit() else " ") * bool(text) + factor
        return text

    def _bracketed(self, expr: Expr) -> str:
        return rf"\left({self._print(expr)}\right)"

    def _power(self, base: Expr, exponent: Expr) -> str:
        if hasattr(base, "_latex") and not isinstance(base, Add | Mul | Symbol):
            return base._latex(self, exp=exponent)
        return rf"{self._print(base) if isinstance(base, Symbol) else self._bracketed(base)}^{{{exponent}}}"


def _name(name: str) -> str:
    base, *subscripts = filter(None, name.split("_")) if name.strip("_") else [r"\_" * len(name)]
    match = re.fullmatch(r"(\D+)(\d+)", base)
    if match:
        base, subscripts = match[1], [match[2], *subscripts]
    return _word(base) + (f"_{{{', '.join(map(_word, subscripts))}}}" if subscripts else "")


def _word(word: str) -> str:
    if word in _GREEK:
        return "\\" + word
    return word if len(word) == 1 or word.isdigit() else rf"\mathrm{{{word}}}"
