"""XLA for processors: CpuInstructionFusion, and YNNPACK for contractions and reductions."""

from __future__ import annotations

from sympy import Expr

from costmodel.fusion.activations import GENERATORS, derives_keys
from costmodel.fusion.compiler import Fusion, compiler
from costmodel.fusion.conversions import every_pair, hoisted, only_transposes, relaid, transposed
from costmodel.fusion.exchanges import exchanged
from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import (
    almost_unary,
    computes,
    folds,
    inner_batches,
    loop,
    not_channels_last,
    product,
    rejoins,
)
from costmodel.fusion.registry import register
from costmodel.fusion.ynnpack import clusters
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation, is_floating, total
from costmodel.symbolic.forms import ZERO

_WORD = 4  # bytes of a random number generator's counter, and of a float that holds narrower ones


def _producer(graph: Graph, producer: Equation, consumer: Equation, operand: int) -> bool:
    """Loops fuse into loops. A contraction's, a window's and a reduction's operands are written first: a reduction that the library
    does not have goes over windows of 32 elements, and then over their results (XLA, TreeReductionRewriter)."""
    return folds(producer, consumer) or loop(consumer)


def _duplication(graph: Graph, e: Equation) -> bool:
    """Not what is expensive, nor what would read more; but what has one use goes where that goes, however often (XLA,
    InstructionFusion::ComputeGloballyUnfusible)."""
    return Trait.EXPENSIVE not in e.traits and (almost_unary(graph, e) or len(graph.consumers(e)) == 1)


def _passes(table: CostTable) -> CostTable:
    """Convolutions are brought into one layout (XLA, ConvCanonicalization)."""
    return relaid(every_pair(hoisted(exchanged(table))), lambda e: (*inner_batches(e), *not_channels_last(e)))


def _fresh(e: Equation) -> bool:
    """A product of more than two dimensions is computed as a matrix: what follows has another shape, and gets memory of its own."""
    return product(e) and len(e.outs[0].array.shape) > 2


def _workspace(e: Equation) -> Expr:
    """Random bits are made in a loop over two counters, which is given copies. A cumulative operation goes over tiles, padded and
    written (XLA, ReduceWindowRewriter). Products and convolutions of 16-bit types get their operands, and give their result, in
    32 bits (XLA, FloatNormalization with the processor's FloatSupport)."""
    if computes(e, GENERATORS) and not derives_keys(e):
        return 3 * e.outs[0].array.size * _WORD
    if product(e) or Trait.CONVOLUTION in e.traits:
        return total(v.array.size * _WORD for v in (*e.ins, *e.outs) if is_floating(v.array.dtype) and v.array.bits == 16)
    return 2 * e.outs[0].bytes if Trait.CUMULATIVE in e.traits else ZERO


XLA_CPU = register(compiler(
    name="xla-cpu", summary="XLA for processors, with YNNPACK", fresh=_fresh, workspace=_workspace,
    fusion=Fusion(producer=_producer, duplication=_duplication, epilogue=transposed, epilogue_chain=only_transposes,
                  reduction_diamond=rejoins, passes=_passes, library_calls=clusters, rematerialisation=True)))
