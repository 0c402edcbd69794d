"""Where a symbolic program was compared with concrete traces, and where it must be before it is believed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sympy import Expr

from costmodel.errors import DomainError
from costmodel.symbolic.forms import evaluate

Signature = frozenset[int]  # the boundaries that a point is on, by their place
Key = tuple[tuple[str, int], ...]  # a point


class Regions:
    """The boundaries of a program and the regions in which a concrete trace was the same.

    boundaries: differences, in internal variables; the program may be another one where one is zero.
    stand_ins:  the order of an einsum was chosen by sizes that stand for all symbols: every point is a region of its own.
    checked:    False: nothing is compared.
    own:        the first so many boundaries were asked for by this program; others by programs before it, from which jax may have
                remembered parts.
    same:       regions in which a concrete trace was the same: the boundaries that their points are on.
    counted:    regions in which one counted the same and moved other bytes.
    points:     points at which one was the same.
    """

    def __init__(self, boundaries: Iterable[Expr] = (), *, stand_ins: bool = False, checked: bool = True,
                 same: Iterable[Signature] = (), everywhere: bool = False, own: int | None = None,
                 counted: Iterable[Signature] = (), points: Iterable[Key] = ()) -> None:
        self.boundaries = tuple(boundaries)
        self.stand_ins, self.checked = stand_ins, checked
        self.same = set(same)
        self.counted = set(counted)
        self.everywhere = everywhere  # a point on no boundary differed: no point may be believed unseen
        self.own = len(self.boundaries) if own is None else own
        self.points = set(points)
        self._told = self._doubted = False

    def signature(self, env: Mapping[Any, int]) -> Signature:
        """The boundaries that a point is on."""
        return frozenset(i for i, d in enumerate(self.boundaries) if evaluate(d, env) == 0)

    def settled(self, env: Mapping[Any, int], point: Key) -> bool:
        """Whether the program may be believed at this point."""
        if not self.checked or point in self.points:
            return True
        return not (self.stand_ins or self.everywhere) and self.signature(env) in self.same

    def visited(self, point: Key) -> bool:
        """Whether a concrete trace was the same at this very point."""
        return point in self.points

    def settle(self, env: Mapping[Any, int], point: Key) -> None:
        """A concrete trace was the same here."""
        self.points.add(point)
        if not self.stand_ins:
            self.same.add(self.signature(env))

    def differ(self, env: Mapping[Any, int], found: str, *, counts: bool) -> None:
        """A concrete trace was another program here, in what it ``counts`` or only in what it moves. On no boundary that is said
        once; where counts differ every point is traced from then on."""
        if not counts:
            self.counted.add(self.signature(env))
        if self.signature(env) or self.stand_ins:
            return
        self.everywhere = self.everywhere or counts
        if not self._told:
            self._told = True
            what = "is another program than" if counts else "moves other bytes than"
            print(f"costmodel: the symbolic trace {what} the concrete one ({found}): each point is traced by itself, and formulas "
                  "are those of the symbolic trace", file=sys.stderr)

    def doubt(self, conditions: Sequence[str]) -> None:
        """Says once that nothing is compared although the program may be another one under these conditions."""
        if conditions and not self._doubted:
            self._doubted = True
            print("costmodel: verification is off, and the model may be another program where "
                  f"{', '.join(conditions)}: turn it on, or analyse the model with that size as an integer", file=sys.stderr)

    def refuse(self, env: Mapping[Any, int], values: Mapping[str, int]) -> None:
        """Raises DomainError for a point on a boundary that was not verified before the cost was saved."""
        on = {i for i in self.signature(env) if i < self.own}
        if (on and self.signature(env) not in self.same) or self.stand_ins or self.everywhere:
            point = ", ".join(f"{k}={v}" for k, v in sorted(values.items()))
            raise DomainError(f"{point} was not verified by a concrete trace before this cost was saved, and the model may be "
                              "another one there; evaluate the cost at such a point before to_json(), and give a function its "
                              "dimensions with functools.partial")
