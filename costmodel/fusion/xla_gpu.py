"""XLA for GPUs: PriorityFusion, MultiOutputFusion, Triton's matrix products, cuDNN's convolutions."""

from __future__ import annotations

from collections.abc import Iterable

from costmodel.fusion.compiler import Fusion, compiler
from costmodel.fusion.conversions import relaid, transposed
from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import (
    almost_unary,
    arithmetic,
    bias,
    computes,
    contraction,
    folds,
    inner_batches,
    loop,
    not_channels_last,
    product,
    reduction,
    rejoins,
    unary,
    vector_product,
    window,
)
from costmodel.fusion.registry import register
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation

_BIAS_AND_RELU = frozenset({"add", "max"})


def _producer(graph: Graph, producer: Equation, consumer: Equation, operand: int) -> bool:
    """Loops fuse into loops, reductions and windows; a product with a vector is a reduction. Another product takes what is unary
    or concatenated; a convolution reads what was written."""
    if product(consumer) and not vector_product(consumer):
        return folds(producer, consumer) or unary(producer) or Trait.CONCATENATE in producer.traits
    return (loop(consumer) or reduction(consumer) or window(consumer) or vector_product(consumer)
            or Trait.SCAN_WRITE in consumer.traits)


def _epilogue(graph: Graph, anchor: Equation, consumer: Equation, operand: int) -> bool:
    """A product's bias and scale, a convolution's bias and ReLU."""
    if vector_product(anchor):
        return False
    if transposed(graph, anchor, consumer, operand):
        return True
    if Trait.CONVOLUTION in anchor.traits:
        return computes(consumer, _BIAS_AND_RELU) and bias(graph, consumer, operand)
    return contraction(anchor) and bias(graph, consumer, operand)


def _passes(table: CostTable) -> CostTable:
    return relaid(table, lambda e: (*inner_batches(e), *_kernel_of_convolution(e)))


def _kernel_of_convolution(e: Equation) -> tuple[int, ...]:
    """cuDNN wants it as (output, space, input) and not as jax has it, (space, input, output); it has the gradients itself."""
    return (1,) if Trait.CONVOLUTION in e.traits and 0 not in not_channels_last(e) else ()


def _fresh(e: Equation) -> bool:
    """cuDNN gives its result together with a workspace, as a tuple, which buffer assignment does not take apart."""
    return Trait.CONVOLUTION in e.traits


def _one_chain(graph: Graph, members: Iterable[Equation]) -> bool:
    """One operation after the other on the result's elements where they are, each with one large operand."""
    return all(e.has(Trait.BROADCAST, Trait.TRANSPOSE) or (arithmetic(e) and almost_unary(graph, e) and (
        len(graph.consumers(e)) == 1 or not _used_among(graph, e, members))) for e in members)


def _used_among(graph: Graph, e: Equation, members: Iterable[Equation]) -> bool:
    return any(user is member for user, _ in graph.users(e) for member in members)


XLA_GPU = register(compiler(
    name="xla-gpu", summary="XLA for GPUs, with cuDNN and Triton", fresh=_fresh,
    fusion=Fusion(producer=_producer, duplication=almost_unary, epilogue=_epilogue, epilogue_chain=_one_chain,
                  reduction_diamond=rejoins, passes=_passes, multi_output=True)))
