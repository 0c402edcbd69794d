"""Fusion policies: which values never leave a kernel. Each is a few predicates, with the compiler's pass or the experiment that it
reflects; none looks at sizes, only at what equations are and how they are connected.

To add a policy, write a :class:`Policy` and enter it in :data:`PREDICATES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from costmodel.fusion.conversions import as_is, every_pair, hoisted, relaid
from costmodel.fusion.graph import Graph
from costmodel.fusion.layers import ANCHORS
from costmodel.fusion.ynnpack import clusters
from costmodel.rules.movement import COPIES
from costmodel.rules.work import CostTable, Equation, Value

# What equations are to a loop over the elements of one result.
_ARITHMETIC = ("elementwise", "mul", "select_n", "special", "integer_pow", "complex_parts", "one_minus_square", "polynomial")
_MOVES = frozenset({*COPIES, "slice", "dynamic_slice", "gather", "scan_read"})
# XLA, InstructionFusion::IsExpensive: not computed twice.
_EXPENSIVE = frozenset({"div", "rem", "exp", "exp2", "expm1", "log", "log1p", "log2", "logistic", "tanh", "sin", "cos", "tan",
                        "sqrt", "rsqrt", "cbrt", "pow", "atan2", "erf", "erf_inv", "erfc", "lgamma", "digamma"})


def arithmetic(e: Equation) -> bool:
    """One operation per element of the result, or a change of type."""
    return e.rule in _ARITHMETIC or e.primitive in ("convert_element_type", "reduce_precision")


def loop(e: Equation) -> bool:
    """An element of the result needs few elements of the operands: it can be computed where it is used."""
    return arithmetic(e) or e.primitive in _MOVES or e.rule in ("constant", "shape constant", "dynamic_update_slice")


def contraction(e: Equation) -> bool:
    """A matrix product, a convolution, or what else runs as a library's kernel."""
    return any(kind.engine == "matrix" for kind, _, _ in e.work.ops) or e.rule == "pallas_call"


def window(e: Equation) -> bool:
    return e.primitive.startswith("reduce_window")


def reduction(e: Equation) -> bool:
    return e.rule in ("reduce", "generic_reduce")


def reduced_dimensions(e: Equation) -> tuple[int, ...]:
    """The dimensions over which a reduction goes."""
    axes = re.search(r"axes=\(([\d,]*)\)", e.detail)
    return () if axes is None else tuple(int(d) for d in axes[1].split(",") if d)


def along_lines(e: Equation) -> bool:
    """Reduces the innermost dimension, so that a line is one thread block's."""
    return len(e.ins[0].array.shape) - 1 in reduced_dimensions(e)


def vector_product(e: Equation) -> bool:
    """A product with a vector: every element of the larger operand is used once."""
    macs = [dense for kind, dense, _ in e.work.ops if kind.name == "mac"]
    return e.primitive == "dot_general" and bool(macs) and any(macs[0] == v.array.size for v in e.ins)


def inner_batches(e: Equation) -> tuple[int, ...]:
    """Operands of a batched product whose batch dimensions do not come first, as (batch, sequence, head, width) has them: they are
    copied into a layout that has (XLA, DotDecomposer)."""
    numbers = re.search(r"dimension_numbers=\(\(.*?\),\(\(([\d,]*)\),\(([\d,]*)\)\)\)", e.detail)
    if e.primitive != "dot_general" or numbers is None or vector_product(e):
        return ()
    batches = [[int(d) for d in side.split(",") if d] for side in numbers.groups()]
    return tuple(i for i, dims in enumerate(batches) if dims != list(range(len(dims))))


def not_channels_last(e: Equation) -> tuple[int, ...]:
    """Operands of a convolution that are not (n, space, c) or (space, input, output), as those of gradients are not."""
    numbers = re.search(r"dimension_numbers=\(\((\d+),[\d,]*\),\((\d+),", e.detail)
    if e.primitive != "conv_general_dilated" or numbers is None:
        return ()
    rank = len(e.ins[0].array.shape)
    return tuple(i for i, first in enumerate(map(int, numbers.groups())) if first != (0, rank - 1)[i])


def one_value_per_line(graph: Graph, e: Equation, operand: int) -> bool:
    """Whether an operand adds little to what a kernel reads: a literal, or smaller by shape than the result (a bias, a scale, or
    what is broadcast)."""
    maker = graph.maker(e.ins[operand])
    if e.work.read[operand] == 0 or e.ins[operand].array.size != e.outs[0].array.size:
        return True
    return maker is not None and maker.primitive in ("broadcast_in_dim", "iota")


def _large(graph: Graph, e: Equation) -> dict[int, Value]:
    """Operands (by id) as large as the result."""
    return {id(graph.name(v)): v for i, v in enumerate(e.ins) if not one_value_per_line(graph, e, i)}


def unary(e: Equation) -> bool:
    """Arithmetic on one operand; all others are literals."""
    return arithmetic(e) and sum(elements != 0 for elements in e.work.read) <= 1


def folds(producer: Equation, consumer: Equation) -> bool:
    """A transposition is a matter of how a product reads its operand (XLA, TransposeFolding)."""
    return producer.primitive == "transpose" and consumer.primitive == "dot_general"


def almost_unary(graph: Graph, e: Equation) -> bool:
    """Computing it again reads one large operand (XLA, InstructionFusion::EffectivelyAtMostUnary)."""
    return len(_large(graph, e)) <= 1


def rejoins(graph: Graph, e: Equation) -> bool:
    """A reduction whose result meets what was reduced again, on one path: softmax, root-mean-square normalisation. Then a line
    is read once and kept (XLA's softmax rewriter for Triton)."""
    reduced, current = _lineage(graph, e.ins[0]), e
    for _ in range(8):
        users = graph.users(current)
        if len(users) != 1 or graph.is_result(current):
            return False
        current, operand = users[0]
        if not (arithmetic(current) or current.primitive == "broadcast_in_dim"):
            return False
        if any(reduced & _lineage(graph, v) for i, v in enumerate(current.ins) if i != operand):
            return True
    return False


def _lineage(graph: Graph, value: Value) -> set[int]:
    """A value, and those that it is made from by arithmetic on one large operand, such as a square: by id."""
    found = {id(graph.name(value))}
    for _ in range(4):
        maker = graph.maker(value)
        if maker is None or not arithmetic(maker):
            break
        large = _large(graph, maker)
        if len(large) != 1:
            break
        (value,) = large.values()
        found.add(id(graph.name(value)))
    return found


def _no_library(graph: Graph) -> Mapping[int, int]:
    return {}


@dataclass(frozen=True)
class Policy:
    """What may be computed inside the kernel of a use.

    into:      producer, consumer, which operand -> whether the consumer's kernel may compute that operand itself.
    anew:      whether a producer may be computed in several kernels, instead of being written once.
    epilogue:  contraction or window, consumer, operand -> whether its kernel may go on with that consumer, its only use.
    finish:    whether a contraction's kernel may go on with all of these.
    one_pass:  whether a reduction may share a kernel with what uses its result.
    prepare:   what the compiler changes before it fuses.
    library:   equations (by id) that a library runs in one kernel -> the number of it; nothing else enters such a kernel.
    besides:   whether a producer may be computed in a kernel although it must be written for another one.
    untouched: whether nothing is written over an equation's result, although nobody reads it any more.
    together:  reductions of the same array, and what makes it, share a kernel that has several results.
    """

    name: str
    into: Callable[[Graph, Equation, Equation, int], bool]
    anew: Callable[[Graph, Equation], bool]
    epilogue: Callable[[Graph, Equation, Equation, int], bool]
    finish: Callable[[Graph, Iterable[Equation]], bool]
    one_pass: Callable[[Graph, Equation], bool]
    prepare: Callable[[CostTable], CostTable] = as_is
    library: Callable[[Graph], Mapping[int, int]] = _no_library
    besides: bool = False
    untouched: Callable[[Equation], bool] = lambda e: False
    together: bool = False


def _transposed(graph: Graph, anchor: Equation, consumer: Equation, operand: int) -> bool:
    """The transpose of a product is the product of its operands in the other order (XLA, AlgebraicSimplifier)."""
    return anchor.primitive == "dot_general" and consumer.primitive == "transpose"


def _only_transposes(graph: Graph, members: Iterable[Equation]) -> bool:
    return all(e.primitive == "transpose" for e in members)


def _anything(*_: object) -> bool:
    return True


def _one_chain(graph: Graph, members: Iterable[Equation]) -> bool:
    """One operation after the other on the result's elements where they are, each with one large operand."""
    return all(e.primitive in ("broadcast_in_dim", "transpose") or (arithmetic(e) and almost_unary(graph, e) and (
        len(graph.consumers(e)) == 1 or not _used_among(graph, e, members))) for e in members)


def _used_among(graph: Graph, e: Equation, members: Iterable[Equation]) -> bool:
    return any(user is member for user, _ in graph.users(e) for member in members)


def _bias(graph: Graph, e: Equation, operand: int) -> bool:
    """Adds or scales by something that is one value a line."""
    return arithmetic(e) and all(one_value_per_line(graph, e, i) for i in range(len(e.ins)) if i != operand)


# -- XLA for processors: CpuInstructionFusion, and YNNPACK for contractions and reductions ------------------------------------


def _cpu_into(graph: Graph, producer: Equation, consumer: Equation, operand: int) -> bool:
    """Loops fuse into loops. A contraction's and a window's operands are written first; a reduction takes what only it uses."""
    if reduction(consumer):
        return arithmetic(producer) and len(graph.consumers(producer)) == 1 and almost_unary(graph, producer)
    return folds(producer, consumer) or (loop(consumer) and not (operand == 0 and _takes(consumer)))


def _takes(e: Equation) -> bool:
    """A gather at places that are data; a slice of an array with symbolic dimensions is a gather at known places."""
    return e.primitive in ("gather", "dynamic_slice") and any(elements != 0 for elements in e.work.read[1:])


def _cpu_anew(graph: Graph, e: Equation) -> bool:
    """Not what is expensive, nor what would read more; but what has one use goes where that goes, however often (XLA,
    InstructionFusion::ComputeGloballyUnfusible)."""
    return e.primitive not in _EXPENSIVE and (almost_unary(graph, e) or len(graph.consumers(e)) == 1)


def _cpu_prepare(table: CostTable) -> CostTable:
    """Convolutions are brought into one layout (XLA, ConvCanonicalization)."""
    return relaid(every_pair(hoisted(table)), lambda e: (*inner_batches(e), *not_channels_last(e)))


def _cpu_untouched(e: Equation) -> bool:
    """A product of more than two dimensions is computed as a matrix: what follows has another shape, and gets memory of its own."""
    return e.primitive == "dot_general" and len(e.outs[0].array.shape) > 2


XLA_CPU = Policy("xla-cpu", _cpu_into, _cpu_anew, _transposed, _only_transposes, rejoins, prepare=_cpu_prepare, library=clusters,
                 untouched=_cpu_untouched, besides=True)


# -- XLA for GPUs: PriorityFusion, MultiOutputFusion, Triton's matrix products, cuDNN's convolutions --------------------------


def _gpu_into(graph: Graph, producer: Equation, consumer: Equation, operand: int) -> bool:
    """Loops fuse into loops, reductions and windows; a product with a vector is a reduction. Another product takes what is unary
    or concatenated; a convolution reads what was written."""
    if consumer.primitive == "dot_general" and not vector_product(consumer):
        return folds(producer, consumer) or unary(producer) or producer.primitive == "concatenate"
    return loop(consumer) or reduction(consumer) or window(consumer) or vector_product(consumer) or consumer.rule == "scan_write"


def _gpu_epilogue(graph: Graph, anchor: Equation, consumer: Equation, operand: int) -> bool:
    """A product's bias and scale, a convolution's bias and ReLU."""
    if vector_product(anchor):
        return False
    if _transposed(graph, anchor, consumer, operand):
        return True
    if ANCHORS.get(anchor.primitive) == "conv":
        return consumer.primitive in ("add", "max") and _bias(graph, consumer, operand)
    return contraction(anchor) and _bias(graph, consumer, operand)


def _gpu_prepare(table: CostTable) -> CostTable:
    return relaid(table, lambda e: (*inner_batches(e), *_kernel_of_convolution(e)))


def _kernel_of_convolution(e: Equation) -> tuple[int, ...]:
    """cuDNN wants it as (output, space, input) and not as jax has it, (space, input, output); it has the gradients itself."""
    return (1,) if e.primitive == "conv_general_dilated" and 0 not in not_channels_last(e) else ()


def _gpu_untouched(e: Equation) -> bool:
    """cuDNN gives its result together with a workspace, as a tuple, which buffer assignment does not take apart."""
    return e.primitive == "conv_general_dilated"


XLA_GPU = Policy("xla-gpu", _gpu_into, almost_unary, _gpu_epilogue, _one_chain, rejoins, prepare=_gpu_prepare,
                 untouched=_gpu_untouched, together=True)


# -- XLA for TPUs -------------------------------------------------------------------------------------------------------------


def _tpu_into(graph: Graph, producer: Equation, consumer: Equation, operand: int) -> bool:
    """Loops fuse into everything, contractions included."""
    return loop(consumer) or reduction(consumer) or contraction(consumer)


def _tpu_epilogue(graph: Graph, anchor: Equation, consumer: Equation, operand: int) -> bool:
    return loop(consumer)


XLA_TPU = Policy("xla-tpu", _tpu_into, almost_unary, _tpu_epilogue, _anything, rejoins, prepare=hoisted, together=True)


# -- the best that one contraction a kernel allows ----------------------------------------------------------------------------


IDEAL = Policy("ideal", _anything, lambda graph, e: loop(e) and almost_unary(graph, e), _anything, _anything,
               _anything, together=True)

PREDICATES = {policy.name: policy for policy in (XLA_CPU, XLA_GPU, XLA_TPU, IDEAL)}
