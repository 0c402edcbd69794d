"""A counted program as the page has it: equations, modules, parameters, and the kernels and buffers of every policy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from costmodel.fusion import Kernel, policies
from costmodel.memory.buffers import KINDS
from costmodel.pricing.communication import sent_by
from costmodel.pricing.compulsory import handed_on
from costmodel.pricing.core import Symbolic
from costmodel.pricing.overlap import beside
from costmodel.pricing.products import matmul_of
from costmodel.pricing.times import strictest
from costmodel.pricing.workload import computed, needless
from costmodel.report.page.devices import TYPES
from costmodel.report.page.forms import Forms
from costmodel.report.page.places import Places
from costmodel.report.page.plans import Plan, crosses
from costmodel.rules.branches import Branch
from costmodel.rules.params import Collective
from costmodel.rules.types import Types, retype
from costmodel.rules.work import Array, CostTable, Equation, OpKind, Work, is_floating


class Program:
    """Collects what the page needs of a program. Counts and sizes are places in ``forms``."""

    def __init__(self, cost: Symbolic, forms: Forms) -> None:
        self.cost, self.forms = cost, forms
        self.dtypes: Places[str] = Places()
        self.kinds: Places[OpKind] = Places()
        self.modules: Places[str] = Places()
        self.branches: Places[Branch] = Places({(): 0})
        self.labels: Places[str] = Places()
        self.exchanges: Places[Collective] = Places()
        self._works: Places[tuple[Any, ...]] = Places()
        self._equations: dict[Equation, int] = {}
        self._rows: list[list[int]] = []

    def equation(self, e: Equation) -> int:
        """Its place among rows (work, how often, module, branch and, of one that sends, the exchange). A policy may have put in
        copies that the table has not."""
        if e not in self._equations:
            self._equations[e] = len(self._rows)
            row = [self._work(e.work), self.forms.add(e.times), self.modules.of(e.module), self.branches.of(e.branch)]
            self._rows.append([*row, *(self.exchanges.of(each.params) for each in list(sent_by(e))[:1])])
        return self._equations[e]

    def _work(self, work: Work) -> int:
        ops = (part for kind, dense, valid in work.ops
               for part in (self.kinds.of(kind), self.forms.add(dense), self.forms.add(valid)))
        return self._works.of(tuple(ops))

    def _size(self, array: Array) -> list[int]:
        return [self.forms.add(array.size), self.dtypes.of(array.dtype)]

    def exported(self) -> dict[str, Any]:
        """The program as data that JSON can hold."""
        table = self.cost.program
        own = [self.equation(e) for e in table]
        params = [[self.modules.of("/".join(v.name.split("/")[:-1])), *self._size(v.array)] for v in table.parameters]
        plans = {name: self._policy(name) for name in policies()}
        return {
            "equations": self._rows, "own": len(own), "params": params, "works": [list(w) for w in self._works], "policies": plans,
            "copied": [self._size(v.array) for v in handed_on(table)], "modules": list(self.modules), "labels": list(self.labels),
            "branches": [[list(side) for side in branch] for branch in self.branches],
            "kinds": [[k.name, k.engine, self.dtypes.of(k.dtype), strictest(k.precision)] for k in self.kinds],
            "held": KINDS, "dtypes": list(self.dtypes), "traced": self._traced,
            "exchanges": [_exchange(each) for each in self.exchanges],
        }

    def _policy(self, name: str) -> dict[str, Any]:
        """Its plan as traced, and under ``types`` those of types in which it is another one than that with other widths."""
        traced = Plan.of(self.cost.program, name)
        plans = {dtype: Plan.of(table, name) for dtype, table in self._typed.items()}
        return self._plan(traced) | {"types": {
            dtype: self._plan(plan) for dtype, plan in plans.items() if plan.structure() != traced.structure(dtype)}}

    @cached_property
    def _typed(self) -> dict[str, CostTable]:
        """The program in every type of the page that it is not in. Its equations have the places of those that they are made of."""
        tables = {dtype: retype(self.cost.program, Types.of(dtype)) for dtype in TYPES if self._traced != [dtype]}
        for table in tables.values():
            self._equations.update(zip(table, map(self.equation, self.cost.program), strict=True))
        return tables

    @cached_property
    def _traced(self) -> list[str]:
        """The floating-point types that it is in."""
        table = self.cost.program
        values = (*table.inputs, *(v for e in table for v in (*e.ins, *e.outs)))
        return list(dict.fromkeys(v.array.dtype for v in values if is_floating(v.array.dtype)))

    def _plan(self, plan: Plan) -> dict[str, Any]:
        """Its kernels, as (kind, main primitive, main equation, all equations, sizes and types of what crosses its border, whether
        no lower bound has it, and of one product its kind of operation, m, n, k and batch), which of them can run beside those that
        send, and its buffers, as (size, type, kind, first, last step); the second ones are those with parameters and optimizer
        donated."""
        buffers = [[part for b in held for part in (*self._size(b.array), KINDS.index(b.kind), b.first, b.last)]
                   for held in plan.buffers]
        return {"kernels": [self._kernel(k) for k in plan.kernels], "buffers": buffers,
                "beside": _beside(plan.table, plan.kernels) if self.exchanges else []}

    def _kernel(self, k: Kernel) -> list[Any]:
        crossing = [part for array, elements in crosses(k) for part in (self.forms.add(elements), self.dtypes.of(array.dtype))]
        product = matmul_of(computed(k)) if k.kind == "dot" else None
        sizes = [] if product is None else [self.kinds.of(product.kind), *self.forms.all(product.sizes)]
        return [self.labels.of(k.kind), self.labels.of(k.main.primitive), self.equation(k.main),
                [self.equation(e) for e in computed(k)], crossing, int(needless(k)), *([sizes] if sizes else [])]


def _exchange(params: Collective) -> list[Any]:
    """(axes, how many devices of one axis take part where the program says so, who sends to whom where it says so)."""
    taking = [int(d) for d in params.devices if d.is_Integer] if len(params.devices) == 1 else []
    return [params.axes, taking[0] if taking else None, [[int(a), int(b)] for a, b in params.partners] or None]


def _beside(table: CostTable, kernels: Sequence[Kernel]) -> list[list[Any]]:
    """Of each kernel that sends, (its place, the kernels that can run beside all of its runs, those beside it in an iteration), as
    hexadecimal numbers with a bit a kernel."""
    found = beside(table, kernels)
    return [[int(c), *(f"{sum(1 << i for i in np.flatnonzero(row).tolist()):x}" for row in rows)]
            for c, *rows in zip(found.senders, found.runs, found.once, strict=True)]
