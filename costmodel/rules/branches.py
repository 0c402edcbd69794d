"""Branches of ``cond`` and ``switch``: which side of which an equation is on, and what counts of what excludes each other.

Of the sides of a ``cond`` one runs. Everything that is added up over a program (operations, bytes, seconds, joules) is therefore
added within each side first, and then chosen: each quantity has its own greatest or least side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from costmodel.symbolic.forms import Expr, PeakMax, minimum

T = TypeVar("T")
P = TypeVar("P")


class Branches(StrEnum):
    """What counts of a ``cond``'s sides: of each quantity the greatest or the least, all in equal parts, or each times a weight
    symbol ``taken_k`` that is bound at evaluation. The last two are in how often equations run: there sides are added up."""

    MAX = "max"
    MIN = "min"
    MEAN = "mean"
    SYMBOL = "symbol"

    @property
    def choose(self) -> bool:
        """Whether one side is chosen, so that a sum over a program is a bound."""
        return self in (Branches.MAX, Branches.MIN)

    def told(self, side: Side) -> str:
        """What counts of a branch, as text: "most of 3 branches"."""
        return f"{'most' if self is Branches.MAX else 'least'} of {side.of} branches"

    def pick(self, values: Iterable[T], key: Callable[[T], Any]) -> T:
        """Of several the one with the greatest or least number."""
        return max(values, key=key) if self is Branches.MAX else min(values, key=key)

    def extreme(self, values: Iterable[Expr]) -> Expr:
        """The greatest or least of expressions, as one."""
        return PeakMax(*values) if self is Branches.MAX else minimum(*values)


class Side(NamedTuple):
    """A side of a ``cond``: the number of that, and which of how many it is."""

    cond: int
    which: int
    of: int


# Where something stands: on these sides, outermost first.
Branch = tuple[Side, ...]


def told(branch: Branch) -> str:
    """Where something stands, as text: "branch 1 of 3"."""
    return ", ".join(f"branch {side.which + 1} of {side.of}" for side in branch)


def combined(parts: Iterable[tuple[Branch, P]], branches: Branches, *, add: Callable[[list[P]], T], join: Callable[[list[T]], T],
             choose: Callable[[Sequence[T]], T] | None = None) -> T:
    """One quantity of all that happens: ``add`` of what is on no side, ``join``ed with what counts of the sides of each ``cond``.

    choose: the greatest or least of several; by default of expressions.

    >>> from costmodel.symbolic.forms import symbol
    >>> n, yes, no = symbol("n"), Side(0, 0, 2), Side(0, 1, 2)
    >>> combined([((), 5), ((yes,), n), ((no,), n), ((no,), n)], Branches.MAX, add=sum, join=sum)
    2*n + 5
    """
    outside: list[P] = []
    conds: dict[int, list[list[tuple[Branch, P]]]] = {}
    for branch, part in parts:
        if branch and branches.choose:
            side = branch[0]
            conds.setdefault(side.cond, [[] for _ in range(side.of)])[side.which].append((branch[1:], part))
        else:
            outside.append(part)
    if not conds:
        return add(outside)
    pick: Callable[[Sequence[Any]], Any] = choose or branches.extreme
    return join([add(outside), *(pick([combined(side, branches, add=add, join=join, choose=choose) for side in sides])
                                 for sides in conds.values())])
