"""A program as an eager framework's composite functions are looked for in it, and what one is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import arithmetic
from costmodel.fusion.strides import strided
from costmodel.rules.params import Broadcast
from costmodel.rules.traits import Trait
from costmodel.rules.work import Equation, Value
from costmodel.trace.words import Phase

# The phases whose equations the backward pass differentiates.
FORWARD = (Phase.FORWARD, Phase.RECOMPUTE)


@dataclass(eq=False)
class Composite:
    """Equations that are one call. ``result`` is the equation that makes what the call returns; ``full`` an array it goes over.

    axes:       what a normalisation or softmax reduces.
    output:     (inner value, result): the framework keeps the result for the backward pass, and not the inner value.
    mask, scale: of a dropout: which elements it keeps, and the operation that scales them.
    from_result: whether its derivative may be computed from its result.
    """

    members: dict[Equation, None]
    result: Equation
    axes: tuple[int, ...] = ()
    output: tuple[Value, Value] | None = None
    mask: Value | None = None
    scale: Equation | None = None
    from_result: bool = False

    @property
    def full(self) -> Value:
        """The value that it ends in."""
        return self.result.outs[0]

    @property
    def inner(self) -> Iterator[Value]:
        """What the call makes and does not return."""
        return (out for e in self.members if e is not self.result for out in e.outs)


class Reading:
    """A program as composites are looked for in it: what makes and uses a value, broadcasts seen through. ``residual`` are
    equations whose result only the backward pass needs, ``constants`` those that need nothing but the program's text, ``taken``
    those that belong to a composite."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.residual: set[Equation] = set()
        self.taken: dict[Equation, Composite] = {}
        self.constants: set[Equation] = set()
        for e in graph.equations:
            if Trait.CONSTANT in e.traits or ((arithmetic(e) or strided(e)) and all(map(self.constant, e.ins))):
                self.constants.add(e)
        for e in reversed(graph.equations):
            if e.phase in FORWARD and (arithmetic(e) or Trait.MOVE in e.traits) and not graph.is_result(e):
                users = graph.users(e)
                if users and all(e.runs_with(u) and (u.phase == Phase.BACKWARD or u in self.residual) for u, _ in users):
                    self.residual.add(e)

    def forward(self, e: Equation) -> bool:
        """Whether the equation belongs to the forward pass, and does not make what only the backward pass reads."""
        return e.phase in FORWARD and e not in self.residual

    def source(self, value: Value) -> Value:
        """What a value repeats."""
        while (e := self.graph.maker(value)) is not None and Trait.BROADCAST in e.traits:
            value = e.ins[0]
        return self.graph.name(value)

    def uncast(self, value: Value) -> Value:
        """What a value is in another type."""
        source = self.source(value)
        while (e := self.graph.maker(source)) is not None and casts(e):
            source = self.source(e.ins[0])
        return source

    def maker(self, value: Value) -> Equation | None:
        """The equation that makes what a value repeats; None for an input."""
        return self.graph.maker(self.source(value))

    def users(self, e: Equation) -> Iterator[Equation]:
        """The equations that use an equation's results, through broadcasts."""
        pending, seen = [e], {e}
        while pending:
            for user, _ in self.graph.users(pending.pop()):
                if user not in seen:
                    seen.add(user)
                    if Trait.BROADCAST in user.traits:
                        pending.append(user)
                    else:
                        yield user

    def next(self, e: Equation) -> Equation | None:
        """The only use in the forward pass."""
        found = [user for user in self.users(e) if self.forward(user)]
        return found[0] if len(found) == 1 and not self.graph.is_result(e) and found[0].runs_with(e) else None

    def variables(self, e: Equation) -> list[Value]:
        """The operands that are no literals and no repeated ones, each once."""
        found = dict.fromkeys(self.source(v) for v in e.ins if not self.constant(v))
        return list(found)

    def constant(self, value: Value) -> bool:
        """Whether a value is known without running the program."""
        source = self.source(value)
        made = self.graph.maker(source)
        return source.origin == "literal" if made is None else made in self.constants

    def along(self, value: Value, rank: int) -> set[int]:
        """The axes of a result of that rank along which an operand differs; none if it cannot be told."""
        made = self.graph.maker(value)
        if made is not None and isinstance(made.params, Broadcast):
            return {axis for axis, d in zip(made.params.axes, made.ins[0].array.shape, strict=True) if d != 1}
        shape = value.array.shape
        return {axis for axis, d in enumerate(shape) if d != 1} if len(shape) == rank else set()

    def unary(self, e: Equation | None) -> Value | None:
        """The one operand of arithmetic on one array."""
        if e is None or not arithmetic(e):
            return None
        operands = self.variables(e)
        return operands[0] if len(operands) == 1 else None

    def chain(self, value: Value, limit: int = 8) -> list[Value]:
        """A value, and what it is made of by arithmetic on one array, nearest first."""
        found = [self.source(value)]
        while len(found) < limit and (operand := self.unary(self.graph.maker(found[-1]))) is not None:
            found.append(operand)
        return found

    def between(self, value: Value, ancestor: Value) -> list[Equation]:
        """The equations on the chain from an ancestor to a value."""
        found, current = [], self.source(value)
        while current is not ancestor:
            e = self.graph.maker(current)
            operand = self.unary(e)
            if e is None or operand is None:
                break
            found.append(e)
            current = operand
        return found


def casts(e: Equation) -> bool:
    """A change of type."""
    return arithmetic(e) and Trait.COPY in e.traits


def same_array(e: Equation) -> bool:
    """A move that changes neither shape nor type nor order that anyone could see."""
    return (Trait.COPY in e.traits and not e.has(Trait.TRANSPOSE, Trait.BROADCAST, Trait.CONCATENATE)
            and len(e.ins) == 1 and e.ins[0].array == e.outs[0].array)
