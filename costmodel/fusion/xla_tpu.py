"""XLA for TPUs."""

from __future__ import annotations

from costmodel.fusion.compiler import Fusion, compiler
from costmodel.fusion.conversions import hoisted
from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import almost_unary, contraction, loop, reduction, rejoins
from costmodel.fusion.registry import register
from costmodel.rules.work import Equation


def _producer(graph: Graph, producer: Equation, consumer: Equation, operand: int) -> bool:
    """Loops fuse into everything, contractions included."""
    return loop(consumer) or reduction(consumer) or contraction(consumer)


def _epilogue(graph: Graph, anchor: Equation, consumer: Equation, operand: int) -> bool:
    return loop(consumer)


XLA_TPU = register(compiler(
    name="xla-tpu", summary="XLA for TPUs",
    fusion=Fusion(producer=_producer, duplication=almost_unary, epilogue=_epilogue, reduction_diamond=rejoins, passes=hoisted,
                  multi_output=True)))
