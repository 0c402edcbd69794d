"""What a compiler computes once although the program has it several times."""

from __future__ import annotations

from dataclasses import replace

from costmodel.fusion.conversions import copied
from costmodel.fusion.graph import views
from costmodel.rules.traits import Trait, traits_of
from costmodel.rules.work import CostTable, Equation, Value, Work
from costmodel.symbolic.forms import ZERO

_COPY, _VIEW = traits_of(Trait.COPY), traits_of(Trait.VIEW)


def merged(table: CostTable) -> CostTable:
    """The program in which each result that is equal to an earlier value is another name of it (XLA, HloCSE and
    AlgebraicSimplifier), without what is needed for such results only. What is recomputed on purpose is merged, too: jax's barriers
    are gone by then (XLA for processors, OptimizationBarrierExpander)."""
    if not any(e.same for e in table):
        return table
    known = {*table.inputs, *table.made}
    results = {*table.outputs, *(after for _, after in table.carried)}
    root = views(table)
    taken = {root(v) for v in table.inputs}  # what a result cannot be another name of
    equations: list[Equation] = []
    for e in table:
        if not e.same or not known.issuperset(e.same):
            equations.append(e)
            taken.update(root(out) for out in e.outs if out in results)
            continue
        for out, value in zip(e.outs, e.same, strict=True):
            if out in results and root(value) in taken:
                equations.append(copied(e, (value,), out, (value.array.size,), _COPY))
            else:
                equations.append(replace(e, ins=(value,), outs=(out,), work=Work((), (ZERO,), (ZERO,)), traits=_VIEW, params=None))
            if out in results:
                taken.add(root(value))
    return replace(table, equations=tuple(_used(table, equations)))


def _used(table: CostTable, equations: list[Equation]) -> list[Equation]:
    """The equations without those whose results were used before, and are not any more."""
    before = {v for e in table for v in e.ins}
    needed: set[Value] = {*table.outputs, *(after for _, after in table.carried)}
    kept: list[Equation] = []
    for e in reversed(equations):
        if e.outs and not needed.intersection(e.outs) and before.intersection(e.outs):
            continue
        kept.append(e)
        needed.update(e.ins)
    return kept[::-1]
