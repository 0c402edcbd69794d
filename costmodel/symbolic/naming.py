"""Names for forms that stand several times in a set of formulas: h_o for the rows that a convolution makes of h.

>>> from costmodel.symbolic.forms import symbol
>>> n, h, w, k = map(symbol, "nhwk")
>>> names, values = named([n*k**2*(h - k + 1)*(w - k + 1), n*(h - k + 1)*(w - k + 1)])
>>> names[symbol("h_o")], names[symbol("w_o")], values
(h - k + 1, -k + w + 1, [h_o*k**2*n*w_o, h_o*n*w_o])
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sympy
from sympy import Add, Dummy, Expr, Function, Mul, Pow, Symbol

from costmodel.symbolic.forms import CeilDiv, FloorDiv, symbol
from costmodel.symbolic.plain import has_long_numbers

MOST = 64  # terms of a sum that is still factored at once


def named(values: Sequence[Any], least: int = 2) -> tuple[dict[Symbol, Expr], list[Any]]:
    """(name -> form, the values with the names in place of the forms). What is no formula stays as it is.

    Named are sums that are factors, as h - k + 1, and of them those that stand in the formulas ``least`` times. A form is named
    after the one symbol that stands in it alone, and keeps its own text where there is none.
    """
    formulas = [value for value in values if isinstance(value, Expr)]
    found: Counter[Expr] = Counter(form for formula in formulas for form in _factors(formula))
    taken = {s.name for formula in formulas for s in formula.free_symbols}
    names: dict[Symbol, Expr] = {}
    for form in sorted((form for form, times in found.items() if times >= least), key=str):
        base = _subject(form)
        if base and f"{base}_o" not in taken:
            taken.add(f"{base}_o")
            names[symbol(f"{base}_o")] = form
    names = {name: names[name] for name in sorted(names, key=lambda name: name.name)}
    back = {form: name for name, form in names.items()}
    return names, [value.xreplace(back) if isinstance(value, Expr) else value for value in values]


def in_factors(expr: Expr) -> Expr:
    """An equal product of sums, each of more added than subtracted terms, where there is one; the expression otherwise.

    >>> from costmodel.symbolic.forms import symbol
    >>> n, l, k, g = map(symbol, "nlkg")
    >>> in_factors((k*n*(l - k + 1)/g).expand())
    k*n*(-k + l + 1)/g
    >>> in_factors(8*n*k - 8*n*k/g)
    8*k*n*(1 - 1/g)
    """
    if not isinstance(expr, Add) or len(expr.args) > MOST or has_long_numbers(expr):
        return expr
    below = {part for part in expr.atoms(Pow) if part.exp.is_negative}
    stand_ins: dict[Expr, Expr] = {form: Dummy() for form in sorted(expr.atoms(Function) | below, key=str)}
    product = sympy.factor(expr.xreplace(stand_ins))
    if not isinstance(product, Mul):
        return expr
    less = product.could_extract_minus_sign()  # then a sum of as many subtracted terms as added ones takes the sign
    turned = [-part if isinstance(part, Add) and 2 * sum(term.could_extract_minus_sign() for term in part.args) + less
              > len(part.args) else part for part in product.args]
    sign = (-1) ** sum(after != before for after, before in zip(turned, product.args, strict=True))
    return Mul(sign, *turned).xreplace({dummy: form for form, dummy in stand_ins.items()})


def _factors(formula: Expr) -> list[Expr]:
    """Short sums that are factors of products in a formula, as often as they are."""
    found: list[Expr] = []
    if isinstance(formula, Mul):
        found += [factor for factor in formula.args
                  if isinstance(factor, Add) and 1 < len(factor.args) <= 5 and (len(factor.free_symbols) > 1)]
    return found + [form for part in formula.args for form in _factors(part)]


def _subject(form: Expr) -> str:
    """The name of the only symbol of a short sum, or of its quotient, that is added as it is and stands in no other term."""
    inside = [part.args[0] if isinstance(part, FloorDiv | CeilDiv) else part for part in form.args]
    parts = [term for part in inside for term in Add.make_args(part)]
    alone = [term.name for term in parts if isinstance(term, Symbol) and sum(term in other.free_symbols for other in parts) == 1]
    return alone[0] if len(alone) == 1 else ""
