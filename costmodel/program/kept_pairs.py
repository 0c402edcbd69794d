"""What a mask keeps of an array along two of its axes, or along one: a union of pieces (:mod:`costmodel.program.bands`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Expr

from costmodel.program.bands import Piece
from costmodel.symbolic.forms import ONE, ZERO

_MOST = 4  # pieces of a union: it is counted by inclusion and exclusion


@dataclass(frozen=True)
class Region:
    """Elements (…, i, …, j, …) of an array, i along axis ``row`` and j along a later axis ``column``, that are in one of the
    pieces. Without a ``column`` the pieces are of rows, and the column is 0."""

    row: int
    column: int | None
    pieces: tuple[Piece, ...]

    @property
    def axes(self) -> set[int]:
        """The axes along which it tells something."""
        return {axis for axis in (self.row, self.column) if axis is not None}

    def moved(self, axes: Mapping[int, int]) -> Region | None:
        """The region where axis a has become axis ``axes[a]``."""
        if not self.axes <= axes.keys():
            return None
        return _in_order(axes[self.row], None if self.column is None else axes[self.column], self.pieces)

    def outside(self) -> Region | None:
        """What is not in it, where that is a region."""
        found: tuple[Piece, ...] = ()
        for i, piece in enumerate(self.pieces):
            sides = piece.outside()
            if sides is None:
                return None
            made = sides if i == 0 else _each(found, sides)
            if made is None:
                return None
            found = made
        return self._of(found)

    def both(self, other: Region) -> Region | None:
        """What is in this region and in the other, where that is a region."""
        pair = _along_the_same(self, other)
        pieces = None if pair is None else _each(pair[0].pieces, pair[1].pieces)
        return None if pair is None or pieces is None else pair[0]._of(pieces)

    def either(self, other: Region) -> Region | None:
        """What is in this region or in the other, where that is a region."""
        pair = _along_the_same(self, other)
        return None if pair is None else pair[0]._of((*pair[0].pieces, *pair[1].pieces))

    def _of(self, pieces: Iterable[Piece]) -> Region | None:
        """The union of pieces, without those that are empty or in another one."""
        found: list[Piece] = []
        for piece in dict.fromkeys(pieces):
            if piece.empty() or any(piece.both(other) == piece for other in found):
                continue
            found = [*(other for other in found if other.both(piece) != other), piece]
        return Region(self.row, self.column, tuple(found)) if 0 < len(found) <= _MOST else None

    def count(self, shape: Sequence[Expr]) -> tuple[Expr, Expr] | None:
        """How many elements there are along its axes of an array in it, and in all; None where there is no form."""
        rows, columns = shape[self.row], ONE if self.column is None else shape[self.column]
        kept = ZERO
        for some in range(1, len(self.pieces) + 1):
            for chosen in itertools.combinations(self.pieces, some):
                common: Piece | None = chosen[0]
                for piece in chosen[1:]:
                    common = None if common is None else common.both(piece)
                if common is None:
                    return None
                counted = ZERO if common.empty() else common.count(rows, columns)
                if counted is None:
                    return None
                kept += counted if some % 2 else -counted
        return kept.expand(), (rows * columns).expand()


def region_along(axis: int, other: int | None, **limits: Any) -> Region:
    """The region of one piece, whose rows are along the first axis and whose columns along the second, if there is one."""
    return _in_order(axis, other, (Piece(**limits),))


def _in_order(row: int, column: int | None, pieces: tuple[Piece, ...]) -> Region:
    if column is None or row < column:
        return Region(row, column, pieces)
    return Region(column, row, tuple(piece.transposed() for piece in pieces))


def _along_the_same(a: Region, b: Region) -> tuple[Region, Region] | None:
    """Both along the same one or two axes; None where they are along more."""
    axes = sorted(a.axes | b.axes)
    if len(axes) > 2:
        return None
    if len(axes) == 1:
        return a, b
    if any(each.column is None and piece.modulus != ONE for each in (a, b) for piece in each.pieces):
        return None  # of every column
    row, column = axes

    def widened(each: Region) -> Region:
        if each.column is not None:
            return each
        return Region(row, column, each.pieces if each.row == row else tuple(piece.transposed() for piece in each.pieces))

    return widened(a), widened(b)


def _each(these: Iterable[Piece], those: Iterable[Piece]) -> tuple[Piece, ...] | None:
    """What is in one of these and in one of those."""
    found = [a.both(b) for a, b in itertools.product(these, those)]
    return None if None in found else tuple(piece for piece in found if piece is not None)
