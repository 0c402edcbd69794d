"""The table of a model that grows with a symbol: a row for all modules whose paths differ in integers only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sympy import Expr

from costmodel.errors import CostModelError
from costmodel.pricing.grown import Grown
from costmodel.pricing.table import Row, Table, conventions, counted_rows
from costmodel.rules.work import CostTable, total
from costmodel.surface import levels, said
from costmodel.symbolic.forms import ZERO

_BY = ("module", "phase")


class _Cells(NamedTuple):
    """A program's rows by label, and its totals; ``columns`` are (name, unit)."""

    columns: Any
    rows: Mapping[str, tuple[Expr, ...]]
    totals: tuple[Expr, ...]


def build(cost: Grown, *, depth: int | None, by: str) -> Table:
    """Rows by module path without its integers, or by phase; they sum exactly to the total row.

    Raises CostModelError where a row has no form in the depth, and for what has a row for each equation or kernel.
    """
    grows = cost.parts.grows.depth.symbol
    if by not in _BY:
        raise CostModelError(f"a table by {by} has other rows at every {grows}: "
                             + said(f"ask .region({grows}=…).table(by={by!r})", f"give --at with {grows}")
                             + f", or one by {' or '.join(_BY)}")
    levels(depth)
    parts = cost.generic()

    def cells(table: CostTable) -> _Cells:
        return table.remember(("rows without integers", by, depth), lambda: _cells(table, by, depth))

    def form(what: str, label: str, i: int) -> Any:
        def cell(table: CostTable) -> Expr:
            return cells(table).rows[label][i] if label in cells(table).rows else ZERO

        return cost.evaluate(parts.form(f"{what} of {label}", lambda there: cell(there.program), cell))

    def whole(what: str, i: int) -> Any:
        return cost.evaluate(parts.form(what, lambda there: cells(there.program).totals[i], lambda table: cells(table).totals[i]))

    sample = [cells(table) for table in (*(parts.at(d).program for d in parts.first), *(table for _, table in parts.fresh))]
    columns = sample[-1].columns
    labels = dict.fromkeys(label for each in reversed(sample) for label in each.rows)
    rows = tuple(Row(label, tuple(form(name, label, i) for i, (name, _) in enumerate(columns))) for label in labels)
    totals = tuple(whole(name, i) for i, (name, _) in enumerate(columns))
    return Table(f"{cost.name}, by {by}", columns, rows, totals,
                 (*conventions(cost), f"* stands for the integers of all modules that it names; coverage is that of "
                                      f"{grows} = {parts.first[-1]}"))


def _cells(table: CostTable, by: str, depth: int | None) -> _Cells:
    columns, rows, totals = counted_rows(table, by, depth)
    found: dict[str, list[tuple[Expr, ...]]] = {}
    for label, row in rows:
        found.setdefault(label, []).append(row)
    return _Cells(columns, {label: tuple(map(total, zip(*same, strict=True))) for label, same in found.items()}, totals)
