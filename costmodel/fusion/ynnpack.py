"""What XLA for processors hands to the library YNNPACK as one kernel: found by experiment with jax 0.10.

A reduction, or pooling over windows that do not overlap, draws in what it can: producers all of whose uses are inside, and the one
use of what is inside, as long as the library has the operation, up to some sixty of them. So softmax runs with the products around
it, and a stage of convolutions with the pooling that follows it.
"""

from __future__ import annotations

from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import arithmetic, computes, one_operation, product, vector_product
from costmodel.rules.params import Broadcast, Contraction, Reduction, Window
from costmodel.rules.traits import Trait
from costmodel.rules.work import Equation, Value
from costmodel.symbolic.forms import ZERO

LIMIT = 64
# What the library computes, as operations of elementwise equations (XLA, GetYnnUnaryOpMap and GetYnnBinaryOpMap); ``mac`` are its
# products and convolutions.
_OPERATIONS = frozenset({
    "add", "add_any", "sub", "mul", "div", "max", "min", "pow", "neg", "abs", "sign", "floor", "ceil", "round", "sqrt", "rsqrt",
    "exp", "expm1", "log", "log1p", "logistic", "erf", "tanh", "mac"})
# Of which types (XLA, IsElementwiseOpSupportedByYnn), and of which a reduction (IsReduceLikeOpSupportedByYnn).
_TYPES = frozenset({"float64", "float32", "bfloat16", "int8", "uint8"})
_SUMMED = frozenset({"float64", "float32"})
_COMPARED = frozenset({"float64", "float32", "float16", "bfloat16", "int8", "uint8"})
_REDUCTIONS = {"add": _SUMMED, "max": _COMPARED, "min": _COMPARED}
_OF_STATISTICS = frozenset({"sqrt", "rsqrt", "log"})
_DIVISION = frozenset({"div"})
_COMPARISONS = frozenset({"max", "min"})
_CLAMPS = {"max": frozenset({"min"}), "min": frozenset({"max"})}


def clusters(graph: Graph) -> dict[Equation, int]:
    """Equations that share a kernel -> its number. Seeds later in the program come first."""
    found: dict[Equation, int] = {}
    few = _on_few(graph)
    for seed in reversed(graph.equations):
        if seed not in found and _seeds(seed):
            for e in _grown(graph, seed, found, few):
                found[e] = graph.index[seed]
    return found


def _on_few(graph: Graph) -> set[Equation]:
    """Arithmetic on numbers and on what reductions left, of at most two dimensions. XLA hands none on fewer than 4 096 elements to
    the library (IsInstructionPreferredByYnn), and policies do not look at sizes: so many are taken to have fewer, lines of
    attention to have more. So are roots and logarithms of more dimensions: statistics of normalisations, of pixels for one. Where
    nothing else is left of the program it may be many: with its reduction it is one kernel of the library, or one loop. What is
    divided by so few is multiplied by their reciprocals (XLA, AlgebraicSimplifier), which are arithmetic on them."""
    left: set[Equation] = set()  # arithmetic on what reductions left

    def is_left(value: Value) -> bool:
        made = graph.maker(value)
        return made is not None and (made in left or isinstance(made.params, Reduction))

    for e in graph.equations:
        if arithmetic(e) and all(is_left(v) for v in e.ins if v.array.shape):
            left.add(e)
    last: set[Equation] = set()
    for e in reversed(graph.equations):
        if e in left and e.outs[0].array.size != 1 and all(user in last for user in graph.consumers(e)):
            last.add(e)
    few = {e for e in left - last if _in_two_dimensions(e.outs[0]) or computes(e, _OF_STATISTICS)}
    return few | {e for e in graph.equations if arithmetic(e) and computes(e, _DIVISION) and len(e.ins) == 2
                  and _in_two_dimensions(e.ins[1]) and e.ins[1].array.size != e.outs[0].array.size and is_left(e.ins[1])}


def _in_two_dimensions(value: Value) -> bool:
    return sum(d != 1 for d in value.array.shape) <= 2


def _seeds(e: Equation) -> bool:
    return _reduces(e) or _separate_windows(e)


def _reduces(e: Equation) -> bool:
    return isinstance(e.params, Reduction) and e.ins[0].array.dtype in _REDUCTIONS.get(e.params.operation, ())


def compares_apart(e: Equation) -> bool:
    """Whether the library finds the greatest or the least of each of windows that do not overlap, of 16 bits as they are."""
    return _separate_windows(e) and computes(e, _COMPARISONS)


def _separate_windows(e: Equation) -> bool:
    """Pooling whose windows do not overlap."""
    return isinstance(e.params, Window) and not e.params.overlap and e.ins[0].array.dtype in _COMPARED


def _grown(graph: Graph, seed: Equation, taken: dict[Equation, int], few: set[Equation]) -> list[Equation]:
    inside = {seed: None}
    pending, size = [seed], _instructions(seed)
    while pending:
        e = pending.pop(0)
        for near in (*_producers(graph, e), *_only_use(graph, e)):
            if (near in inside or near in taken or near in few or near.loops != seed.loops or not computed(graph, near)
                    or size + _instructions(near) > LIMIT):
                continue
            users = graph.users(near)
            below = any(user is near for user, _ in graph.users(e))
            if below or (users and not graph.is_result(near) and all(user in inside for user, _ in users)):
                inside[near] = None
                size += _instructions(near)
                # What was left outside because of this use may come in now; what is given to it comes before what uses it.
                again = [near, *(u for v in near.ins for u, _ in graph.uses(v) if u in inside and u is not near)]
                pending = again + pending if not below else pending + again
    return list(inside)


def _producers(graph: Graph, e: Equation) -> list[Equation]:
    return [maker for v in e.ins if (maker := graph.maker(v)) is not None]


def _only_use(graph: Graph, e: Equation) -> list[Equation]:
    """The one use of a result that may be drawn in: not of what a reduction gives in 16 bits, which is widened first."""
    if isinstance(e.params, Reduction) and e.outs[0].array.dtype == "bfloat16":
        return []
    users = graph.consumers(e)
    return users if len(users) == 1 and not graph.is_result(e) else []


def computed(graph: Graph, e: Equation) -> bool:
    """Whether the library has the operation; max and min with literals are one clamp to XLA, which it has not. A square is one
    product, which it has; of other powers what they multiply is mostly used elsewhere, too, as XLA computes it once (HloCSE), so
    that it is not drawn in. A product with a vector is a loop of XLA's own."""
    if arithmetic(e) and any(computes(e, frozenset({name})) for name in _CLAMPS):
        other = _CLAMPS[e.work.ops[0][0].name]
        if any(_with_literal(near, other) for near in (*_only_use(graph, e), *_producers(graph, e))):
            return False
    if arithmetic(e):
        given = Trait.COPY in e.traits or (computes(e, _OPERATIONS) and (Trait.COMPOSED not in e.traits or one_operation(e)))
        return given and all(v.array.dtype in _TYPES for v in (*e.ins, *e.outs))
    if product(e) or Trait.CONVOLUTION in e.traits:
        return computes(e, _OPERATIONS) and not (vector_product(e) and _sums(e))
    return Trait.BROADCAST in e.traits or isinstance(e.params, Broadcast) or _reduces(e) or _separate_windows(e)


def _sums(e: Equation) -> bool:
    """Whether a product sums over more than one element: else it is elementwise arithmetic."""
    return isinstance(e.params, Contraction) and any(e.ins[0].array.shape[axis] != 1 for axis in e.params.contracting[0])


def _with_literal(e: Equation, names: frozenset[str]) -> bool:
    return arithmetic(e) and computes(e, names) and any(elements is ZERO for elements in e.work.read)


def _instructions(e: Equation) -> int:
    """Instructions of XLA's program: an operand of another shape is a broadcast of its own, but for a literal, which many share."""
    return 1 + (arithmetic(e) and any(v.array.size != e.outs[0].array.size and elements is not ZERO
                                      for v, elements in zip(e.ins, e.work.read, strict=True)))
