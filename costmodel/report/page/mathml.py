"""Expressions as presentation MathML, which browsers draw without a library, in the order in which people write them.

>>> from costmodel.symbolic.forms import CeilDiv, symbol
>>> mathml(2*symbol("n")*CeilDiv(symbol("h"), 32))
'<mn>2</mn><mi>n</mi><mrow><mo>⌈</mo><mfrac><mi>h</mi><mn>32</mn></mfrac><mo>⌉</mo></mrow>'
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence

from sympy import Add, Expr, Integer, Mul, Pow, Rational, Symbol

from costmodel.symbolic.forms import CeilDiv, CeilLog2, FloorDiv, PeakMax
from costmodel.symbolic.quotients import split, terms

# Of a sum or a maximum of more terms than this the rest is said in words: nobody reads it.
MOST_TERMS = 40


def mathml(expr: Expr) -> str:
    """The expression without the surrounding ``<math>``. Names are escaped."""
    if isinstance(expr, Symbol):
        return _name(expr.name)
    if isinstance(expr, Integer):
        return _integer(int(expr))
    if isinstance(expr, Add):
        return _sum(expr)
    if isinstance(expr, Mul | Rational):
        return _product(*split(expr))
    if isinstance(expr, Pow) and expr.args[1].is_Integer:
        return _power(*expr.args) if expr.args[1] >= 0 else _product(*split(expr))
    if isinstance(expr, FloorDiv | CeilDiv):
        left, right = "⌊⌋" if isinstance(expr, FloorDiv) else "⌈⌉"
        return f"<mrow><mo>{left}</mo>{_fraction(*map(mathml, expr.args))}<mo>{right}</mo></mrow>"
    return _function(expr)


def _function(expr: Expr) -> str:
    if isinstance(expr, CeilLog2):
        return f"<mrow><mo>⌈</mo><msub><mi>log</mi><mn>2</mn></msub>{mathml(expr.args[0])}<mo>⌉</mo></mrow>"
    name = "max" if isinstance(expr, PeakMax) else "taps"
    inside = _several([mathml(a) for a in expr.args[:MOST_TERMS]], len(expr.args), ",")
    return f"<mrow><mi>{name}</mi><mo>(</mo>{inside}<mo>)</mo></mrow>"


def _several(texts: Sequence[str], count: int, between: str) -> str:
    rest = [] if count == len(texts) else [f"<mtext>… {count - len(texts)} more</mtext>"]
    return f"<mo>{between}</mo>".join([*texts, *rest])


def _sum(expr: Add) -> str:
    parts = terms(expr)
    out = ""
    for term in parts[:MOST_TERMS]:
        negative = term.could_extract_minus_sign()
        sign = "<mo>−</mo>" if negative else "<mo>+</mo>" if out else ""
        out += sign + mathml(-term if negative else term)
    return out + (f"<mo>+</mo><mtext>{len(parts) - MOST_TERMS} terms more</mtext>" if len(parts) > MOST_TERMS else "")


def _product(above: list[Expr], below: list[Expr]) -> str:
    sign = ""
    if above and above[0].is_Integer and above[0] < 0:
        sign, above = "<mo>−</mo>", [-above[0], *above[1:]]
    top = _times(above)
    return sign + (_fraction(top, _times(below)) if below else top)


def _fraction(above: str, below: str) -> str:
    return f"<mfrac>{_row(above)}{_row(below)}</mfrac>"


def _times(parts: list[Expr]) -> str:
    written = [_bracketed(p) if isinstance(p, Add) else mathml(p) for p in parts if p != 1]
    # Numbers side by side need a visible dot, and so do words, of which each letter would be a factor.
    dots = [i > 0 and (text.startswith("<mn>") or bool(_WORD.match(text) or _WORD.match(written[i - 1])))
            for i, text in enumerate(written)]
    return "".join("<mo>·</mo>" * dot + text for dot, text in zip(dots, written, strict=True)) or "<mn>1</mn>"


def _power(base: Expr, exponent: Expr) -> str:
    inside = mathml(base) if isinstance(base, Symbol | FloorDiv | CeilDiv | CeilLog2 | PeakMax) else _bracketed(base)
    return f"<msup>{inside}<mn>{exponent}</mn></msup>"


def _bracketed(expr: Expr) -> str:
    return f"<mrow><mo>(</mo>{mathml(expr)}<mo>)</mo></mrow>"


def _integer(value: int) -> str:
    text = f"<mn>{abs(value):,}</mn>".replace(",", "\u2009")
    return f"<mo>−</mo>{text}" if value < 0 else text


_WORD = re.compile(r"<(?:msup><)?mi>\w\w")
_ONE_ELEMENT = re.compile(r"<(\w+)>[^<]*</\1>")


def _row(text: str) -> str:
    """As one element, where it may be several."""
    return text if _ONE_ELEMENT.fullmatch(text) else f"<mrow>{text}</mrow>"


def _name(name: str) -> str:
    base, *subscripts = filter(None, name.split("_"))
    match = re.fullmatch(r"(\D+)(\d+)", base)
    if match:
        base, subscripts = match[1], [match[2], *subscripts]
    word: Callable[[str], str] = lambda text: f"<mi>{html.escape(text)}</mi>"  # noqa: E731
    return f"<msub>{word(base)}{_row(word(', '.join(subscripts)))}</msub>" if subscripts else word(base)
