"""XLA for processors: CpuInstructionFusion, and YNNPACK for contractions and reductions."""

from __future__ import annotations

from sympy import Expr

from costmodel.fusion.compiler import Fusion, compiler
from costmodel.fusion.conversions import (
    each_way,
    every_pair,
    hoisted,
    located,
    moved_units,
    only_transposes,
    put_back,
    relaid,
    several_tiles,
    sorted_first,
    tiled,
    transposed,
)
from costmodel.fusion.exchanges import exchanged
from costmodel.fusion.graph import Graph
from costmodel.fusion.layouts import row_major_in_loops
from costmodel.fusion.masked import chosen
from costmodel.fusion.merging import merged
from costmodel.fusion.predicates import (
    almost_unary,
    chooses,
    computes,
    dear,
    finds_places,
    folds,
    joins_lines,
    loop,
    not_as_matrices,
    not_channels_last,
    rejoins,
)
from costmodel.fusion.random import in_two_words, two_words
from costmodel.fusion.registry import register
from costmodel.fusion.repeated import repeated
from costmodel.fusion.uniform import uniform
from costmodel.fusion.widened_once import widened_once
from costmodel.fusion.widening import widened
from costmodel.fusion.windows import located_windows
from costmodel.fusion.ynnpack import clusters
from costmodel.rules.params import Along, Contraction
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation

_NEGATION = frozenset({"neg"})
_WORD = 4  # bytes of a float that holds narrower ones


def _producer(graph: Graph, producer: Equation, consumer: Equation, operand: int) -> bool:
    """Loops fuse into loops. A contraction's, a window's and a reduction's operands are written first: a reduction that the library
    does not have goes over windows of 32 elements, and then over their results (XLA, TreeReductionRewriter). What joins lines is a
    kernel of its own (XLA, CpuInstructionFusion), and so is what is transposed by how a product reads it."""
    if Trait.TRANSPOSE in consumer.traits and any(folds(consumer, user) for user in graph.consumers(consumer)):
        return False
    if joins_lines(producer) or joins_lines(consumer) or (chooses(producer) and len(graph.users(producer)) > 1):
        return False
    return folds(producer, consumer) or loop(consumer) or finds_places(consumer) or Trait.CUMULATIVE in consumer.traits


def _once(e: Equation) -> bool:
    """What is dear to compute, and elements at places that are data (XLA, CpuInstructionFusion::IsExpensive)."""
    return dear(e) or Trait.GATHER in e.traits


def _emissions(e: Equation) -> int:
    """Code is not repeated more than fifteen times; what chooses between its operands by place opens blocks, and is there once
    (XLA, FusionNodeIndexingEvaluation::CodeDuplicationTooHigh)."""
    return 10**9 if Trait.BROADCAST in e.traits else 1 if chooses(e) else 15


def _duplication(graph: Graph, e: Equation) -> bool:
    """Not what is expensive, nor what would read more; but what has one use goes where that goes, however often, and to be a result
    is a use (XLA, InstructionFusion::ComputeGloballyUnfusible)."""
    alone = _users(graph, e) == 1 and not graph.is_result(e)
    return not _once(e) and (alone or _reads_one(graph, e))


def _reads_one(graph: Graph, e: Equation) -> bool:
    """Whether computing an equation again reads one large array. A conjugate is put together from two parts."""
    return almost_unary(graph, e) and not _conjugates(e)


def _conjugates(e: Equation) -> bool:
    return Trait.COMPOSED in e.traits and computes(e, _NEGATION)


def _users(graph: Graph, e: Equation) -> int:
    """Operations that use an equation: a conjugate uses both parts of what it is of."""
    return sum(2 if _conjugates(user) else 1 for user in graph.consumers(e))


def _on_all_paths(graph: Graph, e: Equation) -> bool:
    """Whatever is not expensive."""
    return not _once(e)


def _passes(table: CostTable) -> CostTable:
    """Convolutions are brought into one layout (XLA, ConvCanonicalization)."""
    table = uniform(put_back(hoisted(exchanged(two_words(widened(moved_units(chosen(merged(table)))))))))
    table = sorted_first(tiled(each_way(table)))
    table = row_major_in_loops(located(located_windows(every_pair(table))))
    return repeated(widened_once(relaid(table, lambda e: (*not_as_matrices(e), *not_channels_last(e)))))


def _fresh(e: Equation) -> bool:
    """A product is computed with one dimension of either operand that is not summed (XLA, DotDecomposer), and without dimensions of
    1 (AlgebraicSimplifier): what follows has another shape where there are others, and gets memory of its own."""
    return isinstance(e.params, Contraction) and (1 in e.outs[0].array.shape or any(
        len(v.array.shape) - len(summed) - len(batch) > 1
        for v, summed, batch in zip(e.ins, e.params.contracting, e.params.batch, strict=False)))


def _workspace(e: Equation) -> tuple[Expr, ...]:
    """Random bits are made in a loop over two counters, which is given copies. Tiles of a cumulative operation are padded first.
    Of bfloat16 a loop that reads parts of an array is given a copy in 32 bits. What finds the place of the largest
    finds that, too."""
    if in_two_words(e):
        return tuple(word.bytes for word in e.outs)
    if finds_places(e):
        return tuple(e.ins[0].array.bits * place.array.size / 8 for place in e.outs)
    if Trait.SCAN_READ in e.traits:  # for the whole loop
        return tuple(_WORD * v.array.size for v in e.ins if v.array.dtype == "bfloat16")
    if Trait.CUMULATIVE not in e.traits or not isinstance(e.params, Along):
        return ()
    several = several_tiles(e.ins[0].array.shape[e.params.axis])
    return tuple(several * v.bytes for v in e.outs)


XLA_CPU = register(compiler(
    name="xla-cpu", summary="XLA for processors, with YNNPACK", fresh=_fresh, workspace=_workspace,
    looped=in_two_words, reserves_results=True,
    fusion=Fusion(producer=_producer, duplication=_duplication, emissions=_emissions, once=_once, epilogue=transposed,
                  epilogue_chain=only_transposes, reduction_diamond=rejoins, passes=_passes, library_calls=clusters,
                  rematerialisation=True, on_all_paths=_on_all_paths, users=_users, freely=_reads_one)))
