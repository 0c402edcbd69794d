"""Arrays all of whose elements are one known number, as zeros are: a compiler never reads them.

What is made of them alone by arithmetic, movement, a reduction or a sort is such an array, too (XLA, AlgebraicSimplifier on
broadcasts of constants). It is computed where it is used; inside a loop that is there, not before the loop, where it would be held
until the loop ends (XLA, WhileLoopConstantSinking, which sinks broadcasts of constants).
"""

from __future__ import annotations

from dataclasses import replace

from costmodel.fusion.graph import views
from costmodel.rules.traits import Trait, traits_of
from costmodel.rules.work import CostTable, Equation, Value, Work
from costmodel.symbolic.forms import ZERO

_CONSTANT = traits_of(Trait.CONSTANT)
# What gives one number everywhere if its operands have one each: of a sum over equal elements the number of these is known, too.
_KEEPING = (Trait.ELEMENTWISE, Trait.REDUCTION, Trait.VIEW)
_MOVING = (Trait.MOVE, Trait.SORT)  # the same, but of one operand: of several that meet in one array each has its own number
_NEVER = (Trait.LOOP_CARRY, Trait.BRANCH_RESULT, Trait.IN_PLACE, Trait.SCAN_WRITE, Trait.CONCATENATE, Trait.PAD)


def uniform(table: CostTable) -> CostTable:
    """The program with uniform arrays known as constants, made in the loops that read them."""
    found = _Uniform(table)
    return replace(table, equations=tuple(found.equations)) if found.makers else table


class _Uniform:
    """``makers`` make a uniform value; ``equations`` are the program's with copies of them in the loops that read what was made
    outside."""

    def __init__(self, table: CostTable) -> None:
        self.makers: dict[Value, Equation] = {}
        self.copies: dict[tuple[Value, tuple[int, ...], object], Value] = {}
        self.equations: list[Equation] = []
        name = views(table)
        changing = {name(e.outs[0]) for e in table if Trait.LOOP_CARRY in e.traits}  # what stands there is one number at first
        for e in table:
            if self._gives(e):
                known = _known(e)
                self.makers.update((out, known) for out in e.outs)
                e = e if any(name(out) in changing for out in e.outs) else known
            elif any(v in self.makers for v in e.ins) and not e.has(Trait.LOOP_CARRY, Trait.BRANCH_RESULT):
                e = replace(e, ins=tuple(self._near(v, e) for v in e.ins))
            self.equations.append(e)

    def _gives(self, e: Equation) -> bool:
        if e.has(*_NEVER) or not e.ins or not all(self._is(v) for v in e.ins):
            return False
        return e.has(*_KEEPING) or (e.has(*_MOVING) and len({*e.ins}) == 1)

    def _is(self, value: Value) -> bool:
        return value in self.makers or (value.origin == "literal" and not value.array.shape)

    def _near(self, value: Value, user: Equation) -> Value:
        """What a user in a loop reads instead of a uniform value from outside."""
        made = self.makers.get(value)
        if made is None or len(made.loops) >= len(user.loops):
            return value
        key = (value, user.loops, user.branch)
        if key not in self.copies:
            outs = tuple(Value(out.array) for out in made.outs)
            ins = tuple(self._near(v, user) for v in made.ins)
            again = replace(made, ins=ins, outs=outs, loops=user.loops, times=user.times, branch=user.branch, path=user.path,
                            phase=user.phase, work=replace(made.work, ops=()))
            self.equations.append(again)
            self.copies.update(((old, user.loops, user.branch), new) for old, new in zip(made.outs, outs, strict=True))
        return self.copies[key]


def _known(e: Equation) -> Equation:
    """The equation as one that reads nothing."""
    if Trait.VIEW in e.traits:
        return e
    return replace(e, traits=_CONSTANT, params=None, work=Work(e.work.ops, (ZERO,) * len(e.ins), e.work.written))
