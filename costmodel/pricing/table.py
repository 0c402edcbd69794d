"""Tables of a cost: per module, layer, kernel or primitive. Rows sum exactly to the total."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sympy import Add, Expr, Rational

from costmodel.errors import CostModelError
from costmodel.fusion import Kernel, plan, policies
from costmodel.memory.saved import residuals, saved_bytes
from costmodel.pictures import Bars
from costmodel.pricing.core import Priced
from costmodel.pricing.sides import shared_path, with_branches
from costmodel.pricing.workload import metrics
from costmodel.rules.branches import Branch, told
from costmodel.rules.work import CostTable, Equation, Value, total
from costmodel.sheets import Column, Line, Result, Sheet
from costmodel.surface import levels, named, option, said
from costmodel.symbolic.forms import ZERO
from costmodel.text import did_you_mean


@dataclass(frozen=True)
class Row:
    """One line: its label, how many identical consecutive rows it stands for, its cells (of one), and its output shape. A row of 0
    repeats is a part of the row above that is no part of the sum: one of several branches."""

    label: str
    cells: tuple[Any, ...]
    repeats: int = 1
    output: str = ""


@dataclass(frozen=True)
class Table(Result):
    """Columns are (name, unit) of additive metrics. ``total`` is the whole program's; ``notes`` state the conventions."""

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    total: tuple[Any, ...]
    notes: tuple[str, ...]

    def sum(self) -> tuple[Any, ...]:
        """Σ of the rows, column by column; equal to ``total`` or something is wrong."""
        return tuple(_add([row.cells[i] * row.repeats for row in self.rows]) for i in range(len(self.columns)))

    def sheet(self) -> Sheet:
        """The rows, with output shapes and, of numbers, each row's share of the MACs (of bytes where there are none)."""
        names = [name for name, _ in self.columns]
        shared = self._shared(names)
        columns = (Column("name"), Column("output", style="text"),
                   *(Column(name, unit, adds=True) for name, unit in self.columns),
                   *([Column("share", f"of {names[shared]}", "share")] if shared is not None else []))

        def cells(row: Row, times: int = 1) -> tuple[Any, ...]:
            share = () if shared is None else (row.cells[shared] * times / self.total[shared],)
            return (row.output, *row.cells, *share)

        rows = tuple(Line(row.label, cells(row, row.repeats or 1), row.repeats or 1, row.repeats > 0) for row in self.rows)
        each = ("×: several alike, the cells of one; the share is of all",) if any(row.repeats > 1 for row in self.rows) else ()
        return Sheet(self.title, columns, rows, cells(Row("total", self.total)), (*each, *self.notes), grouped=True)

    def chart(self, metric: str | None = None) -> Bars:
        """A bar a row: ``metric`` is a column, by name or its beginning (default: the MACs, or the first that is not all 0)."""
        names = [name for name, _ in self.columns]
        if any(isinstance(value, Expr) and not value.is_number for value in self.total):
            raise CostModelError("bars are drawn at a point: " + said("cost.at(…).table(…).plot()", "give --at"))
        if metric is None:
            index = self._shared(names)
            index = next((i for i, value in enumerate(self.total) if value), 0) if index is None else index
        else:
            found = [i for i, name in enumerate(names) if name.lower().startswith(metric.lower())]
            if not found:
                raise CostModelError(f"no column {metric!r};{did_you_mean(metric, names)} this table has {', '.join(names)}")
            index = found[0]
        rows = [row for row in self.rows if row.repeats]
        name, unit = self.columns[index]
        labels = tuple(row.label + (f" ×{row.repeats}" if row.repeats > 1 else "") for row in rows)
        values = tuple(float(row.cells[index] * row.repeats) for row in rows)
        return Bars(self.title, name, unit if unit != "elements" else "", labels, ((name, values),),
                    whole=float(self.total[index]) or None, adds=True)

    def _shared(self, names: Sequence[str]) -> int | None:
        """The column of which a row's share is given; none of formulas."""
        if any(isinstance(value, Expr) and not value.is_number for value in self.total):
            return None
        worth = (i for i, name in enumerate(names) if name == "MACs" or name.startswith(("bytes", "saved")))
        return next((i for i in worth if self.total[i]), None)


_COLUMNS = (("params", "elements"), ("MACs", "MAC"), ("FLOPs", "FLOP"), ("transc.", "evaluations"))
_STORED = _COLUMNS[:1]  # is there whichever branch runs


def build(cost: Priced, *, depth: int | None, by: str, collapse: bool, policy: str | None = None) -> Table:
    """The table of a cost; see :meth:`costmodel.Cost.table`."""
    if named("sort of rows", by, "module") not in _BUILDERS:
        raise CostModelError(f"unknown rows {by!r};{did_you_mean(by, _BUILDERS)} a table is by {', '.join(_BUILDERS)}")
    levels(depth)
    if depth is not None and by in ("op", "phase"):
        raise CostModelError(f"{option('depth', depth)} is of rows by module: give {option('by', 'module')}, or leave it out")
    if (by == "kernel") != (policy is not None):
        raise CostModelError(f"{option('by', 'kernel')} goes with {said('policy=…', '--policy')}, one of {', '.join(policies())}, "
                             "and nothing else does")
    builder = _BUILDERS[by] if policy is None else functools.partial(_by_kernel, policy=policy)
    columns, drafts, totals = builder(cost.program, depth)
    rows = _with_branches(cost.program, drafts, [i for i, column in enumerate(columns) if column in _STORED])
    priced = [Row(r.label, tuple(cost.evaluate(c) for c in r.cells), int(r.counts), _show(cost, r.output)) for r in rows]
    if collapse:
        priced = _collapse(priced)
    notes = conventions(cost)
    title = f"{cost.name}, by {by}" + (f" under {policy}" if policy else "")
    return Table(title, columns, tuple(priced), tuple(cost.evaluate(t) for t in totals), notes)


def counted_rows(table: CostTable, by: str, depth: int | None) -> tuple[Any, list[tuple[str, tuple[Expr, ...]]], tuple[Expr, ...]]:
    """A table's columns, (label, cells) of the rows that are part of its sum, and its totals, all as internal expressions."""
    columns, drafts, totals = _BUILDERS[by](table, depth)
    rows = _with_branches(table, drafts, [i for i, column in enumerate(columns) if column in _STORED])
    return columns, [(row.label, row.cells) for row in rows if row.counts], tuple(totals)


def conventions(cost: Priced) -> tuple[str, ...]:
    """What a table says below its rows."""
    return f"MACs: {metrics.get('macs').convention}", f"FLOPs: {metrics.get('flops').convention}", str(cost.coverage)


def _show(cost: Priced, value: Value | str) -> str:
    if isinstance(value, str):
        return value
    return "×".join(str(cost.evaluate(d)).replace(" ", "") for d in value.array.shape)


def _add(terms: list[Any]) -> Any:
    return total(terms) if any(isinstance(t, Expr) for t in terms) else sum(terms)


@dataclass(frozen=True)
class _Draft:
    """A row in the making, of what is on one branch; ``counts`` says whether it is part of the sum."""

    label: str
    cells: tuple[Expr, ...]
    output: Value | str = ""
    branch: Branch = ()
    counts: bool = True


def _with_branches(table: CostTable, drafts: Sequence[_Draft], stored: Sequence[int]) -> Iterator[_Draft]:
    """The rows, each branching as one row with what counts of its sides, column by column, and its sides' own rows below.
    ``stored`` are columns of which everything counts."""
    def together(sides: Sequence[tuple[Branch, _Draft]]) -> _Draft:
        def cell(i: int) -> Expr:
            parts = [(branch, draft.cells[i]) for branch, draft in sides]
            return total(part for _, part in parts) if i in stored else table.combined(parts, total)

        (first, *_), draft = sides[0]
        path = "/".join(shared_path(each.label.split(" ")[0].split("/") for _, each in sides)) or "(root)"
        return _Draft(f"{path} [{table.branches.told(first)}]", tuple(map(cell, range(len(draft.cells)))))

    return with_branches([(draft.branch, draft) for draft in drafts], table.branches, together,
                         lambda branch, draft: replace(draft, label=f"{told(branch)}: {draft.label}", counts=False))


def _work_cells(equations: list[Equation]) -> tuple[Expr, ...]:
    def price(of_work: Callable[..., Expr]) -> Expr:
        return total(of_work(e.work) * e.times for e in equations)

    return price(metrics.work_macs), price(metrics.work_flops), price(metrics.work_transcendentals)


def _by_module(table: CostTable, depth: int | None):
    def key(path: tuple[str, ...]) -> str:
        return "/".join(path[:depth]) or "(root)"

    params: dict[str, list[Expr]] = {}
    for v in table.parameters:
        params.setdefault(key(tuple(v.name.split("/")[:-1])), []).append(v.array.size)
    groups: dict[tuple[Branch, str], list[Equation]] = {}
    for e in table:
        groups.setdefault((e.branch, key(e.path)), []).append(e)
    for name in params:
        groups.setdefault(((), name), [])
    traffic = _unfused_traffic(table)
    rows = [_Draft(name, (ZERO if branch else Add(*params.get(name, ())), *_work_cells(es),
                          total(traffic.get(e.index, ZERO) for e in es)), _output(es) if name != "(root)" else "", branch)
            for (branch, name), es in groups.items()]
    totals = (metrics.params(table), metrics.macs(table), metrics.flops(table), metrics.transcendentals(table),
              metrics.bytes_(table, "unfused"))
    return (*_COLUMNS, ("bytes, unfused", "B")), rows, totals


def _output(equations: Sequence[Equation]) -> Value | str:
    """What the last of a module's equations makes."""
    return equations[-1].outs[0] if equations else ""


def _unfused_traffic(table: CostTable) -> dict[int, Expr]:
    """Bytes by equation: a kernel each, which reads an operand given twice once."""
    return {k.main.index: k.bytes * k.times for k in plan(table, "unfused")}


def _by_kind(table: CostTable, key: Callable[[Equation], str]):
    """Rows of work and traffic, without parameters, for equations grouped by ``key``, in order of first appearance."""
    traffic = _unfused_traffic(table)
    groups: dict[tuple[Branch, str], list[Equation]] = {}
    for e in table:
        groups.setdefault((e.branch, key(e)), []).append(e)
    rows = [_Draft(name, (*_work_cells(group), total(traffic.get(e.index, ZERO) for e in group)), branch=branch)
            for (branch, name), group in groups.items()]
    totals = (metrics.macs(table), metrics.flops(table), metrics.transcendentals(table), metrics.bytes_(table, "unfused"))
    return (*_COLUMNS[1:], ("bytes, unfused", "B")), rows, totals


def _by_op(table: CostTable, depth: int | None):
    counts = Counter((e.branch, e.primitive) for e in table)
    columns, rows, totals = _by_kind(table, lambda e: f"{e.primitive} ({counts[e.branch, e.primitive]})")
    return columns, sorted(rows, key=lambda row: (row.branch, row.label)), totals


def _by_phase(table: CostTable, depth: int | None):
    return _by_kind(table, lambda e: str(e.phase) or "forward")


def _by_layer(table: CostTable, depth: int | None):
    kernels = plan(table, "layer")
    owner = _parameter_owner(table, kernels)
    rows = []
    for v in table.inputs:
        if v.origin == "input":
            rows.append(_Draft(f"input {v.name}", (ZERO, ZERO, ZERO, ZERO, v.array.size, ZERO), v))
    for k in kernels:
        params = Add(*(v.array.size for v in table.parameters if owner.get(v) == k.index))
        label = "/".join(k.path[:depth]) or k.main.primitive
        output = next((v for v, _ in reversed(k.writes) if v.is_activation), k.main.outs[0])
        rows.append(_Draft(f"{label} [{k.kind}]", (params, *_work_cells(list(k.equations)), (k.outputs * k.times).expand(),
                                                   (k.bytes * k.times).expand()), output, k.branch))
    unused = Add(*(v.array.size for v in table.parameters if v not in owner))
    if unused != 0:
        rows.append(_Draft("(parameters not used)", (unused, ZERO, ZERO, ZERO, ZERO, ZERO)))
    totals = (metrics.params(table), metrics.macs(table), metrics.flops(table), metrics.transcendentals(table),
              metrics.activations(table), metrics.bytes_(table, "layer"))
    return (*_COLUMNS, ("activations", "elements"), ("bytes, layer", "B")), rows, totals


def _by_kernel(table: CostTable, depth: int | None, policy: str = "unfused"):
    """Kernels in the order in which they run, with what crosses their borders."""
    kernels = plan(table, policy)
    rows = []
    for k in kernels:
        read, written = (total(n * Rational(v.array.bits, 8) * k.times for v, n in side) for side in (k.reads, k.writes))
        label = f"{'/'.join(k.path[:depth]) or k.main.primitive} [{k.kind}]"
        rows.append(_Draft(label, (*_work_cells(list(k.equations)), read, written), k.writes[0][0] if k.writes else "", k.branch))
    totals = (metrics.macs(table), metrics.flops(table), metrics.transcendentals(table),
              *(table.combined(((row.branch, row.cells[i]) for row in rows), total) for i in (3, 4)))
    return (*_COLUMNS[1:], ("read", "B"), ("written", "B")), rows, totals


def _parameter_owner(table: CostTable, kernels: tuple[Kernel, ...]) -> dict[Value, int]:
    """Each parameter's kernel: the first that reads it."""
    owner: dict[Value, int] = {}
    for k in kernels:
        for v, _ in k.reads:
            owner.setdefault(v, k.index)
    return owner


def _by_saved(table: CostTable, depth: int | None):
    """What the backward pass needs, by the module that made it; ``saved`` is bytes of data, ``weights`` of parameters."""
    rows: dict[str, list[list[Expr]]] = {}
    for v, path in residuals(table):
        size = v.bytes
        data, weights = rows.setdefault("/".join(path[:depth]) or "(root)", [[], []])
        (data if v.is_activation else weights).append(size)
    drafts = [_Draft(name, (total(data), total(weights))) for name, (data, weights) in rows.items()]
    kept = saved_bytes(table)
    weights_read = (saved_bytes(table, "residuals+parameters") - kept).expand()
    return (("saved", "B"), ("weights read", "B")), drafts, (kept, weights_read)


_BUILDERS: dict[str, Callable[..., Any]] = {
    "module": _by_module, "layer": _by_layer, "kernel": _by_kernel, "op": _by_op, "phase": _by_phase, "saved": _by_saved,
}


def _collapse(rows: list[Row]) -> list[Row]:
    """Consecutive rows that differ in nothing but the numbers in their names become one, with a count."""
    merged: list[list[Row]] = []
    for row in rows:
        if merged and _alike(merged[-1][0], row):
            merged[-1].append(row)
        else:
            merged.append([row])
    return [Row(g[0].label if len(g) == 1 else f"{g[0].label} … {g[-1].label}", g[0].cells, len(g) * g[0].repeats, g[0].output)
            for g in merged]


def _alike(a: Row, b: Row) -> bool:
    names = [re.sub(r"\d+", "#", row.label) for row in (a, b)]
    return (a.cells, a.repeats, a.output) == (b.cells, b.repeats, b.output) and names[0] == names[1]
