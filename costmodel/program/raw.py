"""A raw program: a jaxpr with its calls inlined, its loops and branches marked, and nothing costed yet.

It is what passes between :mod:`costmodel.program.inline`, which makes it, and :mod:`costmodel.program.table`, which counts it;
whatever changes a program (other shapes, other devices) takes one and makes another. Records are compared by identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sympy import Expr

from costmodel.rules.branches import Branch
from costmodel.rules.work import Array, Part, Value
from costmodel.symbolic.domain import Multiple, Relation, Variable
from costmodel.trace.words import Origin, Phase

# The axes of a mesh along which each dimension of an array is shared.
Spec = tuple[tuple[str, ...], ...]
SHARD_VIEW = "shard_view"


@dataclass(frozen=True, eq=False)
class Raw:
    """An inlined equation: jax's primitive and parameters over our values.

    path:    its module.
    times:   how often it runs; of an equation in a branch, if that branch is always taken.
    effects: it is never dead.
    counter: it counts the iterations of a loop that runs a known number of times, or compares that count with the end.
    bounded: it is counted as part of an upper or lower bound.
    loops:   numbers of the loops it is in, outermost first.
    branch:  the sides of each ``cond`` that it is on, outermost first.
    source:  jax's traceback of the call that it stems from, which is also that of its gradients (see ``_jax_compat.source``).
    transposes: how many transpositions made it: 0 as written, 1 in a gradient, 2 in the gradient of a gradient.
    function: it is a jitted function with a rule of the user's, whose name says nothing of what it does.
    part:     of its elements, those that a mask does not throw away.
    trail: where jax's equation stands that it stems from: its place in its jaxpr, after those of the calls around it, outermost
           first; between two places which of the call's jaxprs, in the order in which they are inlined.
    """

    primitive: str
    params: Mapping[str, Any]
    ins: tuple[Value, ...]
    outs: tuple[Value, ...]
    path: tuple[str, ...]
    phase: Phase
    times: Expr
    effects: bool = False
    bounded: bool = False
    counter: bool = False
    loops: tuple[int, ...] = ()
    branch: Branch = ()
    source: Any = None
    transposes: int = 0
    function: bool = False
    part: Part | None = None
    trail: tuple[int, ...] = ()

    @property
    def jax(self) -> str:
        """jax's primitive; nothing for a function of the user's."""
        return "" if self.function else self.primitive

    @property
    def shard(self) -> Spec | None:
        """Of the view of an array as a device's shard of it, or the reverse: the axes that each dimension is shared along."""
        return self.params.get("spec") if self.primitive == SHARD_VIEW else None


@dataclass(frozen=True, eq=False)
class Cond:
    """A ``cond`` or ``switch``: what each branch makes of its operands (``results``), and what the whole hands on (``outs``)."""

    number: int
    results: tuple[tuple[Value, ...], ...]
    outs: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class RawProgram:
    """Equations in order, over values with one identity each.

    carried:   pairs of what a loop's body receives and what it hands to its next iteration.
    zeros:     literals that are 0.
    literals:  scalar literals and what they are.
    ranges:    arrays that are 0, 1, 2 … along their only dimension.
    conds:     inner ones before the one they are in.
    run_time:  symbols for what the data decides: trip counts (``trips_k``), weights of branches (``taken_k``).
    relations: what is known of those.
    integers:  integer scalars that follow from shapes, with their values.
    mesh:      sizes of the axes that its ``shard_map``s and shardings name.
    axes:      symbols for the sizes of a mesh's axes, of a program of one device of it.
    multiples: what is shared evenly among devices.
    """

    equations: tuple[Raw, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    carried: tuple[tuple[Value, Value], ...] = ()
    zeros: frozenset[Value] = frozenset()
    conds: tuple[Cond, ...] = ()
    run_time: tuple[Variable, ...] = ()
    relations: tuple[Relation, ...] = ()
    integers: Mapping[Value, Expr] = field(default_factory=dict)
    literals: Mapping[Value, float | complex] = field(default_factory=dict)
    ranges: frozenset[Value] = frozenset()
    mesh: Mapping[str, int] = field(default_factory=dict)
    axes: tuple[Variable, ...] = ()
    multiples: tuple[Multiple, ...] = ()

    @cached_property
    def manual(self) -> frozenset[tuple[int, ...]]:
        """Trails of its ``shard_map``s."""
        return frozenset(r.trail for r in self.equations if r.shard is not None)

    def rewritten(self, array: Callable[[Value], Array], equation: Callable[[Raw], Raw] = lambda r: r) -> RawProgram:
        """The same program with other arrays (``array`` of each value) and other parameters or trip counts: ``equation`` of each
        equation, whose operands and results are replaced afterwards."""
        made: dict[Value, Value] = {}

        def value(v: Value) -> Value:
            if v not in made:
                made[v] = replace(v, array=array(v))
            return made[v]

        def values(vs: tuple[Value, ...]) -> tuple[Value, ...]:
            return tuple(map(value, vs))

        def changed(r: Raw) -> Raw:
            return replace(equation(r), ins=values(r.ins), outs=values(r.outs))

        return replace(self, inputs=values(self.inputs), outputs=values(self.outputs),
                       equations=tuple(map(changed, self.equations)),
                       carried=tuple((value(a), value(b)) for a, b in self.carried), zeros=frozenset(map(value, self.zeros)),
                       conds=tuple(Cond(c.number, tuple(map(values, c.results)), values(c.outs)) for c in self.conds),
                       integers={value(v): number for v, number in self.integers.items()},
                       literals={value(v): number for v, number in self.literals.items()},
                       ranges=frozenset(map(value, self.ranges)))


def is_immediate(value: Value) -> bool:
    """A scalar literal is part of the program text: it is not read from memory."""
    return value.origin == Origin.LITERAL and not value.array.shape
