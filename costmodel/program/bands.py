"""Pairs of a row and a column of a matrix, such as masks keep: bands along the diagonal, ranges of rows and columns, of single
places or of blocks of them, and diagonals at equal distances; each with its count in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sympy import Expr, Rational

from costmodel.symbolic.forms import ONE, ZERO, CeilDiv, FloorDiv, PeakMax, at_least_zero, minimum, surely_nonnegative

Range = tuple[Expr | None, Expr | None]  # first and last, both included; None is no bound
ALL: Range = (None, None)


@dataclass(frozen=True)
class Piece:
    """Pairs (i, j) with low ≤ j - i ≤ high, i among ``rows`` and j among ``columns``.

    block:   i and j count blocks of so many rows and columns, of which the last one may be cut off.
    modulus: j - i leaves ``residue`` when divided by it.
    inner:   of whole blocks on the diagonal (low = high = 0), the band of places in each.
    """

    low: Expr | None = None
    high: Expr | None = None
    rows: Range = ALL
    columns: Range = ALL
    block: Expr = ONE
    modulus: Expr = ONE
    residue: Expr = ZERO
    inner: Range = ALL

    @property
    def band(self) -> Range:
        """The differences of a column and a row."""
        return self.low, self.high

    def transposed(self) -> Piece:
        """The same of (j, i)."""
        return replace(self, low=_minus(self.high), high=_minus(self.low), rows=self.columns, columns=self.rows,
                       residue=-self.residue, inner=(_minus(self.inner[1]), _minus(self.inner[0])))

    def both(self, other: Piece) -> Piece | None:
        """What is in this piece and in the other; None where that is no piece."""
        if self.block != other.block:
            return self._within_blocks(other) or other._within_blocks(self)
        if self.inner != ALL or other.inner != ALL:
            return self if self == other else None
        if ONE not in (self.modulus, other.modulus) and (self.modulus, self.residue) != (other.modulus, other.residue):
            return None
        congruent = other if self.modulus == ONE else self
        low, high = _overlap(self.band, other.band)
        return Piece(low, high, _overlap(self.rows, other.rows), _overlap(self.columns, other.columns), self.block,
                     congruent.modulus, congruent.residue)

    def _within_blocks(self, other: Piece) -> Piece | None:
        diagonal = self == Piece(ZERO, ZERO, block=self.block) and self.block != ONE
        return replace(self, inner=other.band) if diagonal and other == Piece(other.low, other.high) else None

    def outside(self) -> tuple[Piece, ...] | None:
        """All that is not in it; None where that is no union of pieces."""
        if self.modulus != ONE or self.inner != ALL:
            return None
        found = []
        for below, above in ((Piece(high=_less(self.low)), Piece(low=_more(self.high))),
                             (Piece(rows=(None, _less(self.rows[0]))), Piece(rows=(_more(self.rows[1]), None))),
                             (Piece(columns=(None, _less(self.columns[0]))), Piece(columns=(_more(self.columns[1]), None)))):
            found += [replace(side, block=self.block) for side in (below, above) if side != Piece()]
        return tuple(found)

    def empty(self) -> bool:
        """Whether it is surely empty."""
        return any(first is not None and last is not None and surely_nonnegative(first - last - 1)
                   for first, last in (self.band, self.rows, self.columns))

    def count(self, rows: Expr, columns: Expr) -> Expr | None:
        """How many pairs there are in a matrix; None where there is no form.

        >>> from costmodel.symbolic.forms import symbol
        >>> Piece(high=ZERO).count(symbol("s"), symbol("s"))
        s**2/2 + s/2
        """
        if self.inner != ALL:
            if rows != columns:
                return None
            whole = FloorDiv(rows, self.block)
            parts = [_band(self.inner, size, size) for size in (self.block, (rows - whole * self.block).expand())]
            return (whole * parts[0] + parts[1]).expand()
        if self.block != ONE:
            return self._in_blocks(rows, columns)
        (top, height), (left, width) = _inside(self.rows, rows), _inside(self.columns, columns)
        low, high = (None if bound is None else (bound + top - left).expand() for bound in self.band)
        if low is not None and high is not None and not surely_nonnegative(high - low + 1):
            high = PeakMax(high, low - 1)  # an empty band is no negative one
        if self.modulus == ONE:
            return _band((low, high), height, width)
        return _congruent((low, high), self.modulus, (self.residue + top - left).expand(), height, width)

    def _in_blocks(self, rows: Expr, columns: Expr) -> Expr:
        """Blocks, less what is missing of the last ones."""
        size, places = self.block, replace(self, block=ONE)
        down, across = CeilDiv(rows, size), CeilDiv(columns, size)
        missing = (size * down - rows).expand(), (size * across - columns).expand()
        last = Piece(rows=(down - 1, None)), Piece(columns=(across - 1, None))

        def blocks(*cut: Piece) -> Expr:
            found: Piece | None = places
            for each in cut:
                assert found is not None
                found = found.both(each)
            counted = None if found is None else found.count(down, across)
            assert counted is not None
            return counted

        total = size**2 * blocks()
        for lost, edge in zip(missing, last, strict=True):
            if lost != ZERO:
                total -= size * lost * blocks(edge)
        if ZERO not in missing:
            total += missing[0] * missing[1] * blocks(*last)
        return total.expand()


def _band(band: Range, rows: Expr, columns: Expr) -> Expr:
    low, high = band
    below = rows * columns if high is None else _up_to(high, rows, columns)
    return (below - (ZERO if low is None else _up_to(low - 1, rows, columns))).expand()


def _congruent(band: Range, modulus: Expr, residue: Expr, rows: Expr, columns: Expr) -> Expr:
    """Pairs on diagonals t = j - i that leave ``residue``. A diagonal has as many as max(0, t + rows) - max(0, t) -
    max(0, t + rows - columns) + max(0, t - columns); these are summed over every ``modulus``-th t up to a bound."""
    def up_to(bound: Expr) -> Expr:
        last = residue + modulus * FloorDiv((bound - residue).expand(), modulus)
        found = ZERO
        for sign, shift in ((1, rows), (-1, ZERO), (-1, rows - columns), (1, -columns)):
            most = (last + shift).expand()
            terms = CeilDiv(at_least_zero(most), modulus)
            found += sign * (terms * most - modulus * terms * (terms - 1) * Rational(1, 2))
        return found

    low, high = band
    below = up_to((columns - 1).expand() if high is None else high)
    return (below - (ZERO if low is None else up_to((low - 1).expand()))).expand()


def _inside(within: Range, size: Expr) -> tuple[Expr, Expr]:
    """The first index of a range, and how many it has, of an axis."""
    first = ZERO if within[0] is None else at_least_zero(within[0])
    if within[1] is None or surely_nonnegative(within[1] - size + 1):
        last = size - 1
    else:
        last = minimum(within[1], size - 1)
    return first, size if (first, last) == (ZERO, size - 1) else at_least_zero((last - first + 1).expand())


def _overlap(a: Range, b: Range) -> Range:
    return _minus(_least(_minus(a[0]), _minus(b[0]))), _least(a[1], b[1])


def _least(bound: Expr | None, other: Expr | None) -> Expr | None:
    """The lesser of two upper bounds; None is no bound."""
    if bound is None or other is None:
        return other if bound is None else bound
    if surely_nonnegative(bound - other):
        return other
    return bound if surely_nonnegative(other - bound) else minimum(bound, other)


def _minus(bound: Expr | None) -> Expr | None:
    return None if bound is None else -bound


def _less(bound: Expr | None) -> Expr | None:
    return None if bound is None else bound - 1


def _more(bound: Expr | None) -> Expr | None:
    return None if bound is None else bound + 1


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
