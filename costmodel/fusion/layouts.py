"""What a loop of XLA for processors is given in another layout is copied first.

XLA's layout assignment makes a transposition of computed values a matter of layout: they are written in the order that they had.
So it does with an axis of one element that ``broadcast_in_dim`` inserts, which is outermost. A ``while`` takes arrays in row-major
order only, and its operands are copied into that order after fusion, by a kernel that does nothing else.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr

from costmodel.fusion.conversions import copied
from costmodel.fusion.graph import views
from costmodel.fusion.predicates import arithmetic, loop
from costmodel.rules.traits import NO_TRAITS, Trait
from costmodel.rules.work import Array, CostTable, Equation, Value
from costmodel.symbolic.forms import ONE


def row_major_in_loops(table: CostTable) -> CostTable:
    """The program with what enters a loop in another order copied before the loop starts."""
    entered = {number: e for e in reversed(table.equations) for number in e.loops}  # the first equation of each loop
    if not entered:
        return table
    found = _Orders(table)
    before: dict[Equation, list[Equation]] = {}  # by the equation before which they stand
    copies: dict[tuple[Value, int | None], Value] = {}
    equations: list[Equation] = []
    for e in table:
        ins = list(e.ins)
        for i, v in enumerate(e.ins):
            loops = found.loops(v)
            starts = Trait.LOOP_CARRY in e.traits and len(loops) == len(e.loops)
            if not (starts or len(loops) < len(e.loops)) or not found.differs(v):
                continue
            first = e if starts else entered[e.loops[len(loops)]]
            key = (v, None if starts else e.loops[len(loops)])
            if key not in copies:
                copies[key] = Value(v.array)
                at = replace(first, loops=loops, times=found.times(loops))
                before.setdefault(first, []).append(copied(at, (v,), copies[key], (v.array.size,), NO_TRAITS))
            ins[i] = copies[key]
        equations.append(e if ins == list(e.ins) else replace(e, ins=tuple(ins)))
    if not before:
        return table
    placed = [each for e, changed in zip(table, equations, strict=True) for each in (*before.get(e, ()), changed)]
    return replace(table, equations=tuple(placed))


class _Orders:
    """In which loops values are made, and which are written in another order than the row-major one."""

    def __init__(self, table: CostTable) -> None:
        self.made = {out: e for e in table for out in e.outs}
        self.often: dict[tuple[int, ...], Expr] = {(): ONE} | {e.loops: e.times for e in reversed(table.equations)}
        self.root = views(table)
        self.viewed: dict[Value, Value] = {}
        self.other: set[Value] = set()
        for e in table:
            if Trait.VIEW in e.traits and Trait.LOOP_CARRY not in e.traits and len(e.ins) == 1:
                # One view after another is one (XLA, AlgebraicSimplifier), however jax writes them.
                self.viewed |= dict.fromkeys(e.outs, self.viewed.get(e.ins[0], e.ins[0]))
            self.other.update(out for out in e.outs if self._differs(e, out))

    def loops(self, value: Value) -> tuple[int, ...]:
        made = self.made.get(value)
        return made.loops if made is not None else ()

    def times(self, loops: tuple[int, ...]) -> Expr:
        return self.often[loops]

    def differs(self, value: Value) -> bool:
        """Whether a value is written in another order than the row-major one."""
        return value in self.other

    def _differs(self, e: Equation, value: Value) -> bool:
        if Trait.VIEW in e.traits:
            return value in self.viewed and inserts_inner_unit(self.viewed[value].array, value.array)
        if Trait.TRANSPOSE in e.traits:  # of what is in memory it is a copy anyway
            source = self.made.get(self.root(e.ins[0]))
            return source is not None and loop(source) and source.runs_with(e)
        large = [v for v in e.ins if v.array.size == value.array.size]
        return arithmetic(e) and bool(large) and all(v in self.other for v in large)


def inserts_inner_unit(before: Array, after: Array) -> bool:
    """Whether a view adds an axis of one element, or moves it, to within the others.

    >>> inserts_inner_unit(Array((3, 4), "float32"), Array((3, 4, 1), "float32"))
    True
    >>> inserts_inner_unit(Array((3, 4), "float32"), Array((1, 3, 4), "float32"))
    False
    """
    (dims, units), (others, wanted) = _units(before), _units(after)
    return dims == others and any(more > had for had, more in zip(units[1:], wanted[1:], strict=True))


def _units(array: Array) -> tuple[list[object], list[int]]:
    """The axes of more than one element, and how many of one stand before each, and after the last."""
    dims, units = list[object](), [0]
    for d in array.shape:
        if d == 1:
            units[-1] += 1
        else:
            dims.append(d)
            units.append(0)
    return dims, units
