"""XLA for processors: CpuInstructionFusion, and YNNPACK for contractions and reductions."""

from __future__ import annotations

from costmodel.fusion.compiler import Fusion, compiler
from costmodel.fusion.conversions import every_pair, hoisted, only_transposes, relaid, transposed
from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import (
    almost_unary,
    arithmetic,
    folds,
    inner_batches,
    loop,
    not_channels_last,
    product,
    reduction,
    rejoins,
    takes,
)
from costmodel.fusion.registry import register
from costmodel.fusion.ynnpack import clusters
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation


def _producer(graph: Graph, producer: Equation, consumer: Equation, operand: int) -> bool:
    """Loops fuse into loops. A contraction's and a window's operands are written first; a reduction takes what only it uses."""
    if reduction(consumer):
        return arithmetic(producer) and len(graph.consumers(producer)) == 1 and almost_unary(graph, producer)
    return folds(producer, consumer) or (loop(consumer) and not (operand == 0 and takes(consumer)))


def _duplication(graph: Graph, e: Equation) -> bool:
    """Not what is expensive, nor what would read more; but what has one use goes where that goes, however often (XLA,
    InstructionFusion::ComputeGloballyUnfusible)."""
    return Trait.EXPENSIVE not in e.traits and (almost_unary(graph, e) or len(graph.consumers(e)) == 1)


def _passes(table: CostTable) -> CostTable:
    """Convolutions are brought into one layout (XLA, ConvCanonicalization)."""
    return relaid(every_pair(hoisted(table)), lambda e: (*inner_batches(e), *not_channels_last(e)))


def _fresh(e: Equation) -> bool:
    """A product of more than two dimensions is computed as a matrix: what follows has another shape, and gets memory of its own."""
    return product(e) and len(e.outs[0].array.shape) > 2


XLA_CPU = register(compiler(
    name="xla-cpu", summary="XLA for processors, with YNNPACK", fresh=_fresh,
    fusion=Fusion(producer=_producer, duplication=_duplication, epilogue=transposed, epilogue_chain=only_transposes,
                  reduction_diamond=rejoins, passes=_passes, library_calls=clusters, rematerialisation=True)))
