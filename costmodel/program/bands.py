"""Bands of a matrix along its diagonal, such as causal and sliding masks keep, and the integers that tell where an element is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sympy import Expr, Rational

from costmodel.symbolic.forms import ZERO, at_least_zero, minimum, surely_nonnegative


@dataclass(frozen=True)
class Place:
    """Integers that are the index along ``axis`` minus that along ``less`` plus ``shift``, each where there is one; absolute values
    of these for a ``distance``."""

    axis: int | None
    shift: Expr
    less: int | None = None
    distance: bool = False

    def minus(self, other: Place) -> Place | None:
        """The difference, where that is a place."""
        if self.distance or other.distance or None not in (self.axis, other.less) or None not in (self.less, other.axis):
            return None
        return Place(self.axis if other.less is None else other.less, (self.shift - other.shift).expand(),
                     self.less if other.axis is None else other.axis)

    def moved(self, axes: Mapping[int, int]) -> Place | None:
        """The place where axis a has become axis ``axes[a]``."""
        axis, less = (None if a is None else axes.get(a) for a in (self.axis, self.less))
        lost = (axis is None) != (self.axis is None) or (less is None) != (self.less is None)
        return None if lost else replace(self, axis=axis, less=less)

    def between(self, low: Expr | None, high: Expr | None) -> Band | None:
        """Where low ≤ index along ``less`` - index along ``axis`` - shift ≤ high; None if these are not two axes."""
        if self.axis is None or self.less is None or self.axis == self.less:
            return None
        return in_order(Band(self.axis, self.less, None if low is None else (self.shift + low).expand(),
                             None if high is None else (self.shift + high).expand()))


@dataclass(frozen=True)
class Band:
    """Elements (…, i, …, j, …) of an array, i along axis ``row`` and j along ``column``, with low ≤ j - i ≤ high."""

    row: int
    column: int
    low: Expr | None
    high: Expr | None

    def moved(self, axes: Mapping[int, int]) -> Band | None:
        """The band where axis a has become axis ``axes[a]``."""
        if self.row not in axes or self.column not in axes:
            return None
        return in_order(Band(axes[self.row], axes[self.column], self.low, self.high))

    def outside(self) -> Band | None:
        """What is not in it, where that is a band."""
        if self.low is None and self.high is not None:
            return replace(self, low=self.high + 1, high=None)
        if self.high is None and self.low is not None:
            return replace(self, low=None, high=self.low - 1)
        return None

    def exactly_both(self, other: Band) -> Band | None:
        """What is in this band and in the other, where that is a band whose bounds are known."""
        pairs = ((_minus(self.low), _minus(other.low)), (self.high, other.high))
        known = all(a is None or b is None or surely_nonnegative(a - b) or surely_nonnegative(b - a) for a, b in pairs)
        return self.both(other) if known and (self.row, self.column) == (other.row, other.column) else None

    def both(self, other: Band | None) -> Band:
        """What is in this band and in the other; of bands along other axes, in this one."""
        if other is None or (self.row, self.column) != (other.row, other.column):
            return self
        return replace(self, low=_minus(_least(_minus(self.low), _minus(other.low))), high=_least(self.high, other.high))

    def count(self, rows: Expr, columns: Expr) -> Expr:
        """How many (i, j) there are in a matrix.

        >>> from costmodel.symbolic.forms import symbol
        >>> Band(0, 1, None, ZERO).count(symbol("s"), symbol("s"))
        s**2/2 + s/2
        """
        below = rows * columns if self.high is None else _up_to(self.high, rows, columns)
        return (below - (ZERO if self.low is None else _up_to(self.low - 1, rows, columns))).expand()


def _least(bound: Expr | None, other: Expr | None) -> Expr | None:
    """The lesser of two upper bounds, if it is known which; None is no bound."""
    if bound is None or other is None:
        return other if bound is None else bound
    return other if surely_nonnegative(bound - other) else bound


def _minus(bound: Expr | None) -> Expr | None:
    return None if bound is None else -bound


def _up_to(bound: Expr, rows: Expr, columns: Expr) -> Expr:
    """How many (i, j) have j - i ≤ bound: row i meets as many columns as there are up to i + bound. From the diagonal on they are
    all but those that have i - j ≤ -bound - 1, which is shorter to write."""
    if surely_nonnegative(bound):
        return rows * columns - _clipped(columns - bound - 1, rows) + _clipped(-bound - 1, rows)
    return _clipped(rows + bound, columns) - _clipped(bound, columns)


def _clipped(last: Expr, columns: Expr) -> Expr:
    """The sum over m ≤ last of the columns up to the m-th: of m, at least none and at most all."""
    some = at_least_zero(last)
    if surely_nonnegative(columns - last):
        return some * (some + 1) * Rational(1, 2)
    inner = minimum(some, columns)
    return inner * (inner + 1) * Rational(1, 2) + at_least_zero(last - columns) * columns


def in_order(band: Band) -> Band:
    """The same band, its row the earlier axis."""
    return band if band.row < band.column else Band(band.column, band.row, _minus(band.high), _minus(band.low))
