"""What XLA for processors has a library repeat for a loop that follows, which is written as large as that."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from costmodel.fusion.conversions import copied
from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import arithmetic
from costmodel.fusion.ynnpack import clusters, computed
from costmodel.rules.params import Broadcast
from costmodel.rules.traits import Trait, traits_of
from costmodel.rules.work import Array, CostTable, Equation, Value

_COPY = traits_of(Trait.COPY)
T = TypeVar("T")


def repeated(table: CostTable) -> CostTable:
    """The program in which a broadcast of the library's last result is a copy that the library makes: one that stands in the
    program, or that of an operand of arithmetic which the library has not, if it is the only use."""
    graph = Graph(table)
    kernel = clusters(graph)
    if not kernel:
        return table
    equations: list[Equation] = []
    for e in table:
        if e in kernel and Trait.BROADCAST in e.traits and any(kernel.get(user) != kernel[e] for user in graph.consumers(e)):
            e = replace(e, traits=_COPY, params=Broadcast(()))
        for position in range(len(e.ins)) if arithmetic(e) and e not in kernel and not computed(graph, e) else ():
            if _only_use(graph, kernel, e, position):
                v, size = e.ins[position], e.outs[0].array.size
                wide = Value(Array(e.outs[0].array.shape, v.array.dtype))
                equations.append(replace(copied(e, (v,), wide, (v.array.size,), _COPY), params=Broadcast(())))
                e = replace(e, ins=_with(e.ins, position, wide), work=replace(e.work, read=_with(e.work.read, position, size)))
        equations.append(e)
    return replace(table, equations=tuple(equations))


def _only_use(graph: Graph, kernel: dict[Equation, int], e: Equation, position: int) -> bool:
    """Whether arithmetic alone uses what the library makes for it, as something smaller than its result."""
    maker = graph.maker(e.ins[position])
    return maker in kernel and e.ins[position].array.size != e.outs[0].array.size and maker.runs_with(e) and (
        graph.users(maker) == [(e, position)] and not graph.is_result(maker))


def _with(parts: tuple[T, ...], position: int, one: T) -> tuple[T, ...]:
    return (*parts[:position], one, *parts[position + 1:])
