"""Where a symbolic program was compared with concrete traces, and where it must be before it is believed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sympy import Expr

from costmodel.errors import DomainError
from costmodel.symbolic.forms import evaluate
from costmodel.trace.undecided import Order

Signature = frozenset[int]  # the boundaries that a point is on by their place, and other orders of einsums by numbers above
Key = tuple[tuple[str, int], ...]  # a point


class Regions:
    """The boundaries of a program and the regions in which a concrete trace was the same.

    boundaries: differences, in internal variables; the program may be another one where one is zero.
    orders:     of einsums, which are another program's where jax chooses another one; the first ``own_orders`` are this program's.
    stand_ins:  such orders are not known, as in a file: every point is a region of its own.
    coincident: differences that are zero where arrays happen to be alike: boundaries too, of a program that is checked.
    checked:    False: it is believed on no boundary, and where its arrays happen to be alike.
    own:        the first so many boundaries were asked for by this program; others by programs before it, from which jax may have
                remembered parts.
    same:       regions in which a concrete trace was the same: the boundaries that their points are on.
    counted:    regions in which one counted the same and moved other bytes.
    points:     points at which one was the same.
    """

    def __init__(self, boundaries: Iterable[Expr] = (), *, orders: Iterable[Order] = (), stand_ins: bool = False,
                 checked: bool = True, same: Iterable[Signature] = (), everywhere: bool = False, own: int | None = None,
                 counted: Iterable[Signature] = (), points: Iterable[Key] = (), coincident: Iterable[Expr] = (),
                 own_orders: int = 0) -> None:
        self.boundaries, self.orders = tuple(boundaries), tuple(orders)
        self.stand_ins, self.checked = stand_ins, checked
        self.same = {*same} if checked else {*same, frozenset()}
        self.coincident = tuple(coincident)
        self.counted = set(counted)
        self.everywhere = everywhere  # a point on no boundary differed: no point may be believed unseen
        self.own = len(self.boundaries) if own is None else own
        self.own_orders = own_orders
        self.points = set(points)
        self._told = self._doubted = False
        self._other: dict[tuple[Order, Any], int] = {}  # numbers of orders that jax chooses in place of the program's

    def signature(self, env: Mapping[Any, int]) -> Signature:
        """The boundaries that a point is on."""
        on = [i for i, d in enumerate(self.boundaries) if evaluate(d, env) == 0]
        return frozenset([*on, *filter(None, (self.other(order, order.at(env)) for order in self.orders))])

    def other(self, order: Order, chosen: Any) -> int:
        """The number of an order that jax chooses; 0 where it is the program's."""
        if chosen == order.assumed():
            return 0
        return self._other.setdefault((order, chosen), len(self.boundaries) + len(self._other) + 1)

    def met(self, signature: Signature) -> list[Expr]:
        """The differences that are zero in a region."""
        return [self.boundaries[i] for i in sorted(signature) if i < len(self.boundaries)]

    def reordered(self, signature: Signature) -> bool:
        """Whether jax chooses another order of an einsum in a region than the program's."""
        return any(i > len(self.boundaries) for i in signature)

    def other_orders(self, env: Mapping[Any, int]) -> Signature:
        """The orders that jax chooses at a point in place of those that the program itself asked for, by their numbers."""
        return frozenset(filter(None, (self.other(order, order.at(env)) for order in self.orders[:self.own_orders])))

    @property
    def by_order(self) -> bool:
        """Whether the program may be another one where jax chooses another order of an einsum of its own."""
        return self.own_orders > 0 or self.stand_ins

    def asked(self, signature: Signature) -> Signature:
        """What the program itself asked for of what a point is on."""
        orders = {self._other[order, chosen] for order, chosen in self._other if order in self.orders[:self.own_orders]}
        return frozenset(i for i in signature if i < self.own or i in orders)

    def own_of(self, signatures: Iterable[Signature]) -> set[Signature]:
        """Of these regions, those with the program's orders of einsums, by the boundaries that it asked for itself."""
        return {frozenset(i for i in s if i < self.own) for s in signatures if not self.reordered(s)}

    @property
    def single(self) -> bool:
        """Whether every point is a region of its own."""
        return self.stand_ins or self.everywhere

    def settled(self, env: Mapping[Any, int], point: Key) -> bool:
        """Whether the program may be believed at this point."""
        if point in self.points:
            return True
        return not self.single and self.signature(env) in self.same

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

    def tell(self, conditions: Sequence[str]) -> None:
        """Says once that a model is traced although verification is off."""
        if not self.checked and not self._told:
            self._told = True
            print(f"costmodel: the model may be another program where {', '.join(conditions)}: there it is traced again, once in "
                  "each region", file=sys.stderr)

    def refuse(self, env: Mapping[Any, int], values: Mapping[str, int]) -> None:
        """Raises DomainError for a point on a boundary that was not verified before the cost was saved."""
        if not self.checked:
            return
        signature = self.signature(env)
        if (self.asked(signature) and signature not in self.same) or self.single:
            point = ", ".join(f"{k}={v}" for k, v in sorted(values.items()))
            raise DomainError(f"{point} was not verified by a concrete trace before this cost was saved, and the model may be "
                              "another one there; evaluate the cost at such a point before to_json(), and give a function its "
                              "dimensions with functools.partial")
