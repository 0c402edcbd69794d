"""Closed forms on their way to the page: each distinct one once, known by its place, and printed as one function on BigInts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sympy import Expr, Integer, Symbol

from costmodel.symbolic import printers
from costmodel.symbolic.quotients import over_common_denominator


class Forms:
    """Expressions in internal symbols. A value need not be whole (a mean over branches, an odd number of 4-bit elements): it is
    printed as numerator and denominator, which are."""

    def __init__(self) -> None:
        self._places: dict[Expr, int] = {}

    def add(self, expr: Expr) -> int:
        """The expression's place."""
        return self._places.setdefault(expr, len(self._places))

    def all(self, exprs: Iterable[Expr]) -> list[int]:
        """The places of several, in order."""
        return [self.add(e) for e in exprs]

    def __iter__(self) -> Iterator[Expr]:
        return iter(self._places)

    def written(self, name: str, symbols: Sequence[Symbol]) -> tuple[str, list[list[int]]]:
        """The text of the function ``name`` of the symbols, which returns all numerators and then denominators other than 1, and
        these as (form, place of its denominator)."""
        parts = [over_common_denominator(e) for e in self._places]
        exprs = [above for above, _ in parts]
        below: list[list[int]] = []
        for place, (_, denominator) in enumerate(parts):
            if denominator != Integer(1):
                below.append([place, len(exprs)])
                exprs.append(denominator)
        return printers.source(exprs, symbols, "bigint", name=name, integer=True), below
