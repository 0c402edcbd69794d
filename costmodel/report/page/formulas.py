"""Formulas for people, as MathML: the headline metrics, and what each module counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sympy import Expr

from costmodel.pricing import metrics
from costmodel.pricing.core import Symbolic
from costmodel.report.page.mathml import mathml
from costmodel.rules.work import Equation, total

# Modules whose formulas are there to be looked at; of a program with more the outer ones.
MOST_MODULES = 400


def headline_formulas(cost: Symbolic) -> list[list[str]]:
    """(label, unit, MathML) of what every report opens with, in the user's symbols."""
    return [[label, unit, mathml(value)] for label, value, unit in cost.headline()]


def module_formulas(cost: Symbolic) -> dict[str, Any]:
    """By module the places of its parameters, MACs and FLOPs, all that is inside it together, among distinct MathML ``texts``.
    Programs with branches have none: of a branch another side may count in each."""
    if any(e.branch for e in cost.program):
        return {"of": {}, "texts": []}
    sizes: dict[str, list[Expr]] = {}
    for v in cost.program.parameters:
        for name in inside(v.name.split("/")[:-1]):
            sizes.setdefault(name, []).append(v.array.size)
    groups: dict[str, list[Equation]] = {}
    for e in cost.program:
        for name in inside(e.path):
            groups.setdefault(name, []).append(e)
    names = sorted({*groups, *sizes}, key=lambda name: name.count("/"))[:MOST_MODULES]
    texts: dict[Expr, int] = {}

    def place(expr: Expr) -> int:
        return texts.setdefault(cost.evaluate(expr), len(texts))

    of = {name: [place(total(sizes.get(name, ()))), *(place(_summed(groups.get(name, []), price))
                 for price in (metrics.work_macs, metrics.work_flops))] for name in names}
    return {"of": of, "texts": [mathml(expr) for expr in texts]}


def _summed(equations: list[Equation], price: Callable[..., Expr]) -> Expr:
    return total(price(e.work) * e.times for e in equations if e.work.ops)


def inside(path: Any) -> Iterator[str]:
    """A module and all that it is in.

    >>> list(inside(["block", "mlp"]))
    ['block', 'block/mlp']
    """
    return ("/".join(path[:depth]) for depth in range(1, len(path) + 1))
