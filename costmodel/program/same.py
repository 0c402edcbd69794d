"""Which equations compute what another value already is: the same of the same operands, or an operation that changes nothing.

jax writes an expression as often as its user does, and once more in each gradient. A compiler computes it once (XLA, HloCSE), and
drops what is times one, plus zero, or the greater of it and the least number (AlgebraicSimplifier). Both need to know all
parameters and the numbers of literals, which only a raw program has.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from math import inf

from costmodel.program.costing import parameter_key
from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.traits import Trait
from costmodel.rules.work import Equation, Value

_NEVER = (Trait.LOOP_CARRY, Trait.BRANCH_RESULT, Trait.SCAN_READ, Trait.SCAN_WRITE, Trait.IN_PLACE)
_REPEATS = (Trait.VIEW, Trait.BROADCAST)  # of one number: everywhere that number
_COMMUTES = frozenset({"add", "mul", "max", "min", "and", "or", "xor"})
_SYNONYMS = {"add_any": "add"}
_OF_TYPES = frozenset({"weak_type", "sharding", "out_sharding"})  # parameters that say nothing of what is computed
# An operation with this number on this side (0 left, 1 right, None either) gives its other operand.
_IDENTITIES = (("mul", None, 1.0), ("add", None, 0.0), ("sub", 1, 0.0), ("div", 1, 1.0), ("max", None, -inf), ("min", None, inf))


def with_same(program: RawProgram, equations: Sequence[Equation], raws: Sequence[Raw],
              written: Mapping[Value, Value]) -> tuple[Equation, ...]:
    """The equations, each with the values that its results are equal to, if an earlier equation made them in the same loops and on
    the same branch, or if they are an operand. ``raws`` are the raw equations of all; ``written`` are the values that follow from
    sizes, of the literals that equations have in their place."""
    found = _Same(program, written)
    return tuple(found.equation(e, r) for e, r in zip(equations, raws, strict=True))


class _Same:
    """``first`` is the earliest value that is equal to a value, ``made`` are results by what makes them, ``numbers`` are arrays
    that are one number everywhere."""

    def __init__(self, program: RawProgram, written: Mapping[Value, Value]) -> None:
        self.written = written
        self.first: dict[Value, Value] = {}
        self.made: dict[Hashable, tuple[Value, ...]] = {}
        self.literals, self.integers = program.literals, program.integers
        self.numbers: dict[Value, float | complex] = dict(program.literals)
        self.order: dict[Hashable, int] = {}

    def equation(self, e: Equation, r: Raw) -> Equation:
        if r.effects or e.has(*_NEVER):
            return e
        if len(e.ins) == 1 and e.ins[0] in self.numbers and e.has(*_REPEATS):
            self.numbers[e.outs[0]] = self.numbers[e.ins[0]]
        same = self._unchanged(e, r) or self.made.setdefault(self._key(e, r), e.outs)
        if same is e.outs:
            return e
        self.first.update((out, self.first.get(v, v)) for out, v in zip(e.outs, same, strict=True))
        return replace(e, same=same)

    def _unchanged(self, e: Equation, r: Raw) -> tuple[Value, ...]:
        name = _SYNONYMS.get(r.jax, r.jax)
        for operation, side, number in _IDENTITIES:
            for at in (0, 1) if name == operation else ():
                if (side in (at, None) and self.numbers.get(e.ins[at]) == number
                        and e.ins[1 - at].array == e.outs[0].array):
                    return (e.ins[1 - at],)
        return ()

    def _key(self, e: Equation, r: Raw) -> Hashable:
        name = _SYNONYMS.get(r.jax, r.jax)
        ins = [self._number(self._operand(v)) for v in e.ins]
        place = e.loops, e.branch, tuple(v.array for v in e.outs)
        if Trait.VIEW in e.traits:  # of the same elements in the same order: only the shape matters
            return place, Trait.VIEW, tuple(ins)
        parameters = tuple((key, parameter_key(value)) for key, value in sorted(r.params.items()) if key not in _OF_TYPES)
        return place, name or (r.primitive,), tuple(sorted(ins) if name in _COMMUTES else ins), parameters

    def _operand(self, value: Value) -> Hashable:
        value = self.written.get(value, value)
        if value in self.integers:  # a literal, or what follows from shapes: with integers in their place that is a literal, too
            return value.array, self.integers[value]
        if value in self.literals:
            return value.array, str(self.literals[value])  # as text: 0 and -0 differ, and what is no number is itself
        return self.first.get(value, value)

    def _number(self, key: Hashable) -> int:
        return self.order.setdefault(key, len(self.order))
