"""Several costs side by side: formulas of layers as a textbook has them, or figures of networks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from sympy import Expr, Integer, Symbol

from costmodel.errors import CostModelError
from costmodel.pictures import Bars
from costmodel.pricing.core import Point, Priced
from costmodel.pricing.workload import metrics
from costmodel.report.page.mathml import mathml
from costmodel.sheets import Column, Line, Result, Sheet
from costmodel.symbolic.naming import in_factors, named
from costmodel.symbolic.plain import cell
from costmodel.text import shown

_MEANS = "where"  # the column that says what h_o stands for


class SideBySide(Result):
    """Costs as rows, metrics as columns."""

    def __init__(self, costs: Sequence[Priced], asked: Sequence[str]) -> None:
        self.costs, self.asked = tuple(costs), tuple(asked)
        self.found = [metrics.get_form(text) for text in asked]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each row is called: points of one cost by the symbols in which they differ."""
        points = [dict(getattr(cost, "values", {})) for cost in self.costs]

        def differing(i: int) -> str:
            others = [point for cost, point in zip(self.costs, points, strict=True) if cost.name == self.costs[i].name]
            return ", ".join(f"{k}={v}" for k, v in points[i].items() if any(other.get(k, v) != v for other in others))

        return tuple(f"{cost.name}, {differing(i)}" if differing(i) else cost.name for i, cost in enumerate(self.costs))

    def sheet(self) -> Sheet:
        """A row a cost. A form that stands in several formulas of a row, as h - k_h + 1, has a name there, which the last column
        tells."""
        columns = [Column(text.replace(":", ", "), found.unit) for text, (found, _) in zip(self.asked, self.found, strict=True)]
        rows = tuple(Line(name, self._cells(cost)) for name, cost in zip(self.names, self.costs, strict=True))
        return Sheet("", (Column("name"), *columns, Column(_MEANS, style="text")), rows)

    def _cells(self, cost: Priced) -> tuple[Any, ...]:
        short, names = self._named(cost)
        return *short, ", ".join(f"{name} = {cell(form)}" for name, form in names.items())

    def _named(self, cost: Priced) -> tuple[list[Any], dict[Symbol, Expr]]:
        values = [cost.metric(found.name, **option) for found, option in self.found]
        names, short = named([in_factors(value) if isinstance(value, Expr) else value for value in values], least=1)
        return short, names

    def _repr_html_(self) -> str:
        if all(isinstance(cost, Point) for cost in self.costs):
            return super()._repr_html_()
        columns = self.sheet().for_people().columns
        head = "".join(f"<th style='text-align:left'>{html.escape(column.head)}</th>" for column in columns)
        body = "".join(map(self._row, self.names, self.costs))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _row(self, label: str, cost: Priced) -> str:
        short, names = self._named(cost)
        where = "".join(f"<div>{_math(name)} = {_math(form)}</div>" for name, form in names.items())
        cells = "".join(f"<td style='text-align:left'>{text}</td>" for text in (html.escape(label), *map(_math, short), where))
        return f"<tr>{cells}</tr>"

    def chart(self, metric: str | None = None) -> Bars:
        """One metric of all as bars, by default the first. Raises CostModelError where the costs are formulas."""
        found, option = metrics.get_form(metric or self.asked[0])
        if not all(isinstance(cost, Point) for cost in self.costs):
            raise CostModelError("formulas have no bars: give costs at points, as cost.at(n=1)")
        values = tuple(float(cost.metric(found.name, **option)) for cost in self.costs)
        return Bars(f"{metric or self.asked[0]} of {len(values)} programs", metric or self.asked[0], found.unit,
                    self.names, (("", values),))


def _math(value: Any) -> str:
    return f"<math>{mathml(value if isinstance(value, Expr) else Integer(value))}</math>"


def side_by_side(*costs: Priced, metrics: str | Sequence[str] = ("params", "macs")) -> SideBySide:
    """Several costs as one table, a row each: formulas of costs, numbers of costs at points.

    costs:   costs (``analyze(…)``) or costs at points (``cost.at(…)``).
    metrics: the columns, one or several, with a form after a colon where a metric has several: ``"activations:peak"``,
             ``"bytes:unfused"``.

    Raises CostModelError for an unknown metric or form, where there is none, and for what is no cost.

    >>> import costmodel as cm
    >>> print(cm.side_by_side(cm.model("linear").analyze(), cm.model("conv2d").analyze()).text(120))
                    params                           macs
     name       [elements]                          [MAC]  where
     ────────────────────────────────────────────────────────────────────────────────────────
     linear        c_i·c_o                      c_i·c_o·n
     conv2d  c_i·c_o·k_h·k_w  c_i·c_o·h_o·k_h·k_w·n·w_o  h_o = h - k_h + 1, w_o = w - k_w + 1
    """
    asked = (metrics,) if isinstance(metrics, str) else metrics
    if not costs or not isinstance(asked, Iterable) or not (asked := tuple(asked)) or not all(isinstance(m, str) for m in asked):
        raise CostModelError("give one cost or more, and their metrics by name: side_by_side(cost, other, metrics=('params', "
                             "'macs'))")
    for cost in costs:
        if not isinstance(cost, Priced):
            raise CostModelError(f"{shown(repr(cost), 60)} is no cost: give what analyze(…) returns, or cost.at(…) of it; of "
                                 "several each by itself")
    return SideBySide(costs, asked)
