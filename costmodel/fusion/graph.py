"""Who makes and who uses each value of a program, with views seen through."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation, Value
from costmodel.symbolic.forms import ZERO


def aliases(table: CostTable) -> Callable[[Value], Value]:
    """A function from a value to the one whose memory it shows: views are other names of what they view, and an update in
    place is another name of what it updates."""
    return table.remember("aliases", lambda: _names(table, lambda e: True))


def views(table: CostTable) -> Callable[[Value], Value]:
    """A function from a value to the one that it is a view of."""
    return table.remember("views", lambda: _names(table, lambda e: False))


def _names(table: CostTable, in_place: Callable[[Equation], bool]) -> Callable[[Value], Value]:
    source: dict[Value, Value] = {}

    def root(value: Value) -> Value:
        return source.get(value, value)

    for e in table:
        if Trait.VIEW in e.traits:
            source.update((out, root(into)) for into, out in zip(e.ins, e.outs, strict=False))
        elif Trait.IN_PLACE in e.traits and in_place(e):
            source[e.outs[0]] = root(e.ins[0])
    return root


class Graph:
    """A program's equations but views, and their connections. ``index`` of an equation is its place in ``equations``."""

    def __init__(self, table: CostTable) -> None:
        self.table = table
        self.name = views(table)
        self.equations = tuple(e for e in table if Trait.VIEW not in e.traits)
        self.index = {e: i for i, e in enumerate(self.equations)}
        self._uses: dict[Value, list[tuple[Equation, int]]] = {}
        self._maker: dict[Value, Equation] = {}
        for e in self.equations:
            for out in e.outs:
                self._maker[out] = e
            for position, v in enumerate(e.ins):
                if e.work.read[position] is not ZERO or (position == 0 and Trait.IN_PLACE in e.traits) or (
                        Trait.BRANCH_RESULT in e.traits):
                    self._uses.setdefault(self.name(v), []).append((e, position))

    @cached_property
    def memory(self) -> Callable[[Value], Value]:
        """A function from a value to the one whose memory it shows, where what a program just made is not updated in place."""
        return _names(self.table, self.updates_in_place)

    @cached_property
    def results(self) -> frozenset[Value]:
        """Values that something outside the equations reads: the program's outputs, and what a loop carries on."""
        return frozenset(self.name(v) for v in (*self.table.outputs, *(after for _, after in self.table.carried)))

    def uses(self, value: Value) -> list[tuple[Equation, int]]:
        """(equation, operand) of every use of a value that touches it."""
        return self._uses.get(self.name(value), [])

    def users(self, e: Equation) -> list[tuple[Equation, int]]:
        """The uses of an equation's results."""
        return [use for out in e.outs for use in self.uses(out)]

    def maker(self, value: Value) -> Equation | None:
        """The equation that makes a value, or what it is a view of."""
        return self._maker.get(self.name(value))

    def updates_in_place(self, e: Equation) -> bool:
        """Whether an equation writes into memory that is there already, not into something that this program just made."""
        if Trait.IN_PLACE not in e.traits:
            return False
        made = self.maker(e.ins[0])
        return Trait.UPDATE not in e.traits or made is None or Trait.SCAN_READ not in made.traits

    def copies_to_update(self, e: Equation) -> bool:
        """Whether an update makes an array of its own: what is not updated is copied."""
        return Trait.UPDATE in e.traits and not self.updates_in_place(e)

    def consumers(self, e: Equation) -> list[Equation]:
        """The equations that use an equation's results."""
        return list({user: None for user, _ in self.users(e)})

    def is_result(self, e: Equation) -> bool:
        """Whether any of the equation's results is one of the program."""
        return any(out in self.results for out in e.outs)
