"""What XLA for processors makes of a product with a mask of numbers: a choice by the truths that the mask was made of."""

from __future__ import annotations

from dataclasses import replace

from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import arithmetic, computes
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation, Value

_PRODUCT = frozenset({"mul"})


def chosen(table: CostTable) -> CostTable:
    """The program with a · convert(p) as select(p, a, 0), where p are truths (XLA, AlgebraicSimplifier): as in the gradient of a
    maximum. A library that multiplies does not choose."""
    if not any(v.array.dtype == "bool" for e in table for v in e.ins):
        return table
    graph = Graph(table)
    return replace(table, equations=tuple(_chosen(graph, e) for e in table))


def _chosen(graph: Graph, e: Equation) -> Equation:
    if not (arithmetic(e) and computes(e, _PRODUCT) and len(e.ins) == 2 and Trait.COMPOSED not in e.traits):
        return e
    size = e.outs[0].array.size
    for position, mask in enumerate(e.ins):
        truths = _truths(graph, mask)
        if truths is None or mask.array.size != size or truths.array.size != size:
            continue
        other = e.ins[1 - position]
        work = replace(e.work, ops=tuple((replace(kind, name="select"), dense, valid) for kind, dense, valid in e.work.ops),
                       read=(e.work.read[position], e.work.read[1 - position]))
        return replace(e, primitive="select_n", rule="select_n", ins=(truths, other), work=work, params=None)
    return e


def _truths(graph: Graph, mask: Value) -> Value | None:
    """What a mask of numbers was made of, if it is a conversion of truths."""
    maker = graph.maker(mask)
    converts = maker is not None and arithmetic(maker) and Trait.COPY in maker.traits and maker.ins[0].array.dtype == "bool"
    return maker.ins[0] if maker is not None and converts else None
