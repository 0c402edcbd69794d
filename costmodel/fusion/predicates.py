"""What an equation is to a fusion policy, by its traits, its typed parameters and its work."""

from __future__ import annotations

from sympy import Add

from costmodel.fusion.graph import Graph
from costmodel.rules.params import Along, Broadcast, Contraction, Convolution, Reduction
from costmodel.rules.traits import Trait
from costmodel.rules.work import Equation, Value, is_floating
from costmodel.symbolic.forms import ZERO


def arithmetic(e: Equation) -> bool:
    """One operation per element of the result, or a change of type."""
    return Trait.ELEMENTWISE in e.traits


def loop(e: Equation) -> bool:
    """An element of the result needs few elements of the operands: it can be computed where it is used."""
    return e.has(Trait.ELEMENTWISE, Trait.MOVE, Trait.CONSTANT)


def contraction(e: Equation) -> bool:
    """A matrix product, a convolution, or what else runs as a library's kernel."""
    return any(kind.engine == "matrix" for kind, _, _ in e.work.ops) or Trait.LIBRARY in e.traits


def window(e: Equation) -> bool:
    """Pooling; its gradient is none."""
    return Trait.WINDOW in e.traits


def reduction(e: Equation) -> bool:
    """Whether the equation reduces over dimensions."""
    return Trait.REDUCTION in e.traits


def reduced_dimensions(e: Equation) -> tuple[int, ...]:
    """The dimensions over which a reduction goes."""
    return e.params.axes if isinstance(e.params, Reduction) else ()


def along_lines(e: Equation) -> bool:
    """Reduces the innermost dimension, so that a line is one thread block's."""
    return len(e.ins[0].array.shape) - 1 in reduced_dimensions(e)


def takes(e: Equation) -> bool:
    """Reads at places that are data; a slice of an array with symbolic dimensions reads at known places."""
    return Trait.INDEXED in e.traits and any(elements is not ZERO for elements in e.work.read[1:])


def computes(e: Equation, names: frozenset[str]) -> bool:
    """Whether all its operations are of these kinds, and it has some."""
    return bool(e.work.ops) and all(kind.name in names for kind, _, _ in e.work.ops)


def one_operation(e: Equation) -> bool:
    """Whether an equation is one operation an element after all, as a square is."""
    return Add(*(dense for _, dense, _ in e.work.ops)) == e.outs[0].array.size


def product(e: Equation) -> bool:
    """A dot with stated dimensions; ragged and scaled ones are none."""
    return isinstance(e.params, Contraction)


def vector_product(e: Equation) -> bool:
    """A product with a vector: every element of the larger operand is used once."""
    macs = [dense for kind, dense, _ in e.work.ops if kind.name == "mac"]
    return product(e) and bool(macs) and any(macs[0] == v.array.size for v in e.ins)


def inner_batches(e: Equation) -> tuple[int, ...]:
    """Operands of a batched product whose batch dimensions do not come first, as (batch, sequence, head, width) has them: they are
    copied into a layout that has (XLA, DotDecomposer)."""
    if not isinstance(e.params, Contraction) or vector_product(e):
        return ()
    return tuple(i for i, dims in enumerate(e.params.batch) if dims != tuple(range(len(dims))))


def not_as_matrices(e: Equation) -> tuple[int, ...]:
    """Operands of a product of more than two matrices' dimensions, or whose batch does not come first, that are no (batch, free,
    contracted) on the left, (batch, contracted, free) on the right: they are copied into that order (XLA, DotDecomposer), but for a
    matrix, which a product reads either way (XLA, TransposeFolding)."""
    if not isinstance(e.params, Contraction) or vector_product(e):
        return ()
    contracting, batch = e.params.contracting, e.params.batch
    ranks = [len(v.array.shape) for v in e.ins[:2]]
    free = [tuple(d for d in range(ranks[i]) if d not in (*contracting[i], *batch[i])) for i in (0, 1)]
    if len(contracting[0]) <= 1 and max(map(len, free)) <= 1 and all(dims == tuple(range(len(dims))) for dims in batch):
        return ()
    orders = (*batch[0], *free[0], *contracting[0]), (*batch[1], *contracting[1], *free[1])
    matrices = [batch[i] == tuple(range(len(batch[i]))) and max(len(free[i]), len(contracting[i])) <= 1 for i in (0, 1)]
    return tuple(i for i in (0, 1) if orders[i] != tuple(range(ranks[i])) and not matrices[i])


def not_channels_last(e: Equation) -> tuple[int, ...]:
    """Operands of a convolution that are not (n, space, c) or (space, input, output), as those of gradients are not."""
    if not isinstance(e.params, Convolution):
        return ()
    rank = len(e.ins[0].array.shape)
    return tuple(i for i, (first, wanted) in enumerate(((e.params.image[0], 0), (e.params.kernel[0], rank - 1))) if first != wanted)


def one_value_per_line(graph: Graph, e: Equation, operand: int) -> bool:
    """Whether an operand adds little to what a kernel reads: a literal, or smaller by shape than the result (a bias, a scale, or
    what is broadcast)."""
    maker = graph.maker(e.ins[operand])
    if e.work.read[operand] is ZERO or e.ins[operand].array.size != e.outs[0].array.size:
        return True
    return maker is not None and maker.has(Trait.BROADCAST, Trait.CONSTANT)


def large(graph: Graph, e: Equation) -> dict[Value, None]:
    """Operands as large as the result, once each."""
    return {graph.name(v): None for i, v in enumerate(e.ins) if not one_value_per_line(graph, e, i)}


def unary(e: Equation) -> bool:
    """Arithmetic on one operand; all others are literals."""
    return arithmetic(e) and sum(elements is not ZERO for elements in e.work.read) <= 1


def almost_unary(graph: Graph, e: Equation) -> bool:
    """Computing it again reads one large operand (XLA, InstructionFusion::EffectivelyAtMostUnary)."""
    return len(large(graph, e)) <= 1


def folds(producer: Equation, consumer: Equation) -> bool:
    """A transposition is a matter of how a product reads its operand (XLA, TransposeFolding), if that is a matrix, or a batch of
    them: what has more dimensions is brought into another shape first (DotDecomposer)."""
    if Trait.TRANSPOSE not in producer.traits or not isinstance(consumer.params, Contraction):
        return False
    made, sides = producer.outs[0], zip(consumer.ins, consumer.params.contracting, consumer.params.batch, strict=False)
    return all(len(summed) == 1 and len(made.array.shape) - len(batch) <= 2 for v, summed, batch in sides if v is made)


def dear(e: Equation) -> bool:
    """Compilers do not compute it twice; to divide by a number is to multiply (XLA, AlgebraicSimplifier), but for integers."""
    by_number = computes(e, frozenset({"div"})) and e.work.read[-1] is ZERO
    return Trait.EXPENSIVE in e.traits and not (by_number and is_floating(e.outs[0].array.dtype))


def finds_places(e: Equation) -> bool:
    """A reduction that gives places, argmax or argmin."""
    return isinstance(e.params, Reduction) and e.params.operation in ("argmax", "argmin")


def joins_lines(e: Equation) -> bool:
    """Joins arrays within their innermost lines; to join single elements is to compute places."""
    if Trait.CONCATENATE not in e.traits or not isinstance(e.params, Along):
        return False
    shape = e.outs[0].array.shape
    return len(shape) > 1 and e.params.axis == len(shape) - 1 and any(v.array.shape[-1] != 1 for v in e.ins)


def chooses(e: Equation) -> bool:
    """Which operand an element of the result comes from depends on where it is: code that cannot be shared between uses."""
    return e.has(Trait.CONCATENATE, Trait.PAD, Trait.UPDATE)


def bias(graph: Graph, e: Equation, operand: int) -> bool:
    """Adds or scales by something that is one value a line."""
    return arithmetic(e) and all(one_value_per_line(graph, e, i) for i in range(len(e.ins)) if i != operand)


def rejoins(graph: Graph, e: Equation) -> bool:
    """A reduction whose result meets what was reduced again, on one path: softmax, root-mean-square normalisation. Then a line
    is read once and kept (XLA's softmax rewriter for Triton)."""
    reduced, current = _lineage(graph, e.ins[0]), e
    for _ in range(8):
        users = graph.users(current)
        if len(users) != 1 or graph.is_result(current):
            return False
        current, operand = users[0]
        if not (arithmetic(current) or isinstance(current.params, Broadcast)):
            return False
        if any(reduced & _lineage(graph, v) for i, v in enumerate(current.ins) if i != operand):
            return True
    return False


def _lineage(graph: Graph, value: Value) -> set[Value]:
    """A value, and those that it is made from by arithmetic on one large operand, such as a square."""
    found = {graph.name(value)}
    for _ in range(4):
        maker = graph.maker(value)
        if maker is None or not arithmetic(maker):
            break
        operands = large(graph, maker)
        if len(operands) != 1:
            break
        (value,) = operands
        found.add(graph.name(value))
    return found
