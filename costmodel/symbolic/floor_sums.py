"""Sums of floors by Euclid's algorithm, and how many points of a lattice lie in a box and between two lines: in O(log).

Both are told for integers of any size. :mod:`costmodel.symbolic.array_forms` has them for arrays.

>>> floor_sum(4, 3, 2, 1), [(2*i + 1) // 3 for i in range(4)]
(4, [0, 1, 1, 2])
>>> floor_sum(10**18, 2, 1, 0) == 10**36 // 4 - 10**18 // 2
True
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple


def floor_sum(count: int, divisor: int, slope: int, start: int) -> int:
    """Σ ⌊(slope·i + start) / divisor⌋ over 0 ≤ i < ``count``, for a positive divisor; a count below 0 is none.

    Whole multiples of the divisor are summed at once. What is left counts the points below a line, and seen from the other axis
    that is the same sum with slope and divisor exchanged, as in Euclid's algorithm.
    """
    total, count = 0, max(count, 0)
    while count:
        (whole, slope), (offset, start) = divmod(slope, divisor), divmod(start, divisor)
        total += count * (count - 1) // 2 * whole + count * offset
        count, start = divmod(slope * count + start, divisor)
        divisor, slope = slope, divisor
    return total


def aligned_pairs(outputs: int, taps: int, stride: int, dilation: int, hole: int, low: int, end: int | None = None) -> int:
    """Pairs (o, t) with 0 ≤ o < ``outputs`` and 0 ≤ t < ``taps`` whose position p = o·stride + t·dilation - low is a multiple of
    ``hole``; with an ``end`` only those of 0 ≤ p ≤ end. Stride, dilation and hole are positive.

    >>> aligned_pairs(9, 3, 1, 1, 1, 1), aligned_pairs(9, 3, 1, 1, 1, 1, end=8)  # 3 taps over 9 elements and a border of one
    (27, 25)
    """
    rows = _Rows.of(stride, dilation, hole, low)
    if rows is None or outputs <= 0 or taps <= 0:
        return 0
    if end is None:
        return rows.up_to(0, taps, 1, 0, outputs - 1) - rows.up_to(0, taps, 1, 0, -1)
    most = (outputs - 1) * stride
    begin, stop = max(0, -((most - low) // dilation)), min(taps, (end + low) // dilation + 1)
    # Early taps end with the last output and begin where the input does, late ones the other way round.
    ends = min(max((end + low - most) // dilation + 1, begin), stop)
    begins = min(max(-(-low // dilation), begin), stop)
    last = rows.up_to(begin, ends, 1, 0, outputs - 1) + rows.up_to(ends, stop, stride, -dilation, end + low)
    before = rows.up_to(begin, begins, stride, -dilation, low - 1) + rows.up_to(begins, stop, 1, 0, -1)
    return last - before


class _Rows(NamedTuple):
    """The taps that meet a multiple at all: ``first``, and every ``step``-th from there. Of the i-th of them the outputs that do
    are every ``period``-th, ``residue`` + i·``turn`` among them."""

    first: int
    step: int
    residue: int
    turn: int
    period: int

    @classmethod
    def of(cls, stride: int, dilation: int, hole: int, low: int) -> _Rows | None:
        common = gcd(stride, hole)
        shared = gcd(dilation, common)
        if low % shared:
            return None
        step, period = common // shared, hole // common
        first = low // shared * pow(dilation // shared, -1, step) % step
        inverse = pow(stride // common, -1, period)
        return cls(first, step, (low - first * dilation) // common * inverse % period,
                   -(step * dilation // common) * inverse % period, period)

    def up_to(self, begin: int, stop: int, divisor: int, slope: int, start: int) -> int:
        """Σ over these taps in [begin, stop) of their outputs up to (slope·tap + start) / divisor, as numbers on an axis that
        begins at 0: what counts is a difference of two."""
        i, j = (-(-(tap - self.first) // self.step) for tap in (begin, stop))
        at = slope * (self.first + i * self.step) + start - divisor * (self.residue + i * self.turn)
        return floor_sum(j - i, divisor * self.period, slope * self.step - divisor * self.turn, at)


__all__ = ["aligned_pairs", "floor_sum"]
