"""Integers that tell where an element of an array is, such as masks are made of by comparing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sympy import Expr

from costmodel.program.kept_pairs import Region, region_along
from costmodel.symbolic.forms import ONE, FloorDiv


@dataclass(frozen=True)
class Place:
    """Integers that are the index along ``axis`` minus that along ``less`` plus ``shift``, each where there is one.

    distance: absolute values of these.
    block:    each index is divided by it, rounded down.
    modulus:  what these leave when divided by it, if it is not 1; ``signed`` if with the sign of what is divided.
    """

    axis: int | None
    shift: Expr
    less: int | None = None
    distance: bool = False
    block: Expr = ONE
    modulus: Expr = ONE
    signed: bool = False

    @property
    def fixed(self) -> bool:
        """Whether it is one number everywhere."""
        return self.axis is None and self.less is None

    @property
    def plain(self) -> bool:
        """Whether it is a sum of indices and a number."""
        return not self.distance and self.modulus == ONE

    def minus(self, other: Place) -> Place | None:
        """The difference, where that is a place."""
        if not (self.plain and other.plain) or None not in (self.axis, other.less) or None not in (self.less, other.axis):
            return None
        if self.block != other.block and not (self.fixed or other.fixed):
            return None
        return Place(self.axis if other.less is None else other.less, (self.shift - other.shift).expand(),
                     self.less if other.axis is None else other.axis, block=other.block if self.fixed else self.block)

    def negated(self) -> Place:
        """The number with the other sign, of a plain one."""
        return replace(self, axis=self.less, less=self.axis, shift=-self.shift)

    def over(self, divisor: Place) -> Place | None:
        """The quotient rounded down, where that is a place: of an index alone, or of a number."""
        if self.fixed and self.plain and divisor.fixed and divisor.shift.is_positive and self.shift.is_nonnegative:
            return replace(self, shift=FloorDiv(self.shift, divisor.shift))
        alone = self.plain and self.block == ONE and self.less is None and self.shift == 0 and self.axis is not None
        return replace(self, block=divisor.shift) if alone and divisor.fixed and divisor.shift.is_positive else None

    def modulo(self, divisor: Place, signed: bool) -> Place | None:
        """What is left of a division, where that is a place."""
        if not (self.plain and self.block == ONE and divisor.fixed and divisor.shift.is_positive):
            return None
        never_negative = self.less is None and self.shift.is_nonnegative is True
        return replace(self, modulus=divisor.shift, signed=signed and not never_negative)

    def moved(self, axes: Mapping[int, int]) -> Place | None:
        """The place where axis a has become axis ``axes[a]``."""
        axis, less = (None if a is None else axes.get(a) for a in (self.axis, self.less))
        lost = (axis is None) != (self.axis is None) or (less is None) != (self.less is None)
        return None if lost else replace(self, axis=axis, less=less)

    def between(self, low: Expr | None, high: Expr | None) -> Region | None:
        """Where low ≤ -place ≤ high; None where that is everywhere the same, or no sum of indices."""
        if not self.plain or self.axis == self.less:
            return None
        bounds = [None if bound is None else (self.shift + bound).expand() for bound in (low, high)]
        if self.axis is None or self.less is None:
            lower, upper = bounds if self.axis is None else (None if bound is None else -bound for bound in reversed(bounds))
            along = self.less if self.axis is None else self.axis
            assert along is not None
            return region_along(along, None, rows=(lower, upper), block=self.block)
        return region_along(self.axis, self.less, low=bounds[0], high=bounds[1], block=self.block)

    def leaves(self, rest: Expr) -> Region | None:
        """Where a division leaves ``rest``, of an index or a difference of two."""
        known = rest == 0 or (not self.signed and rest.is_nonnegative and (self.modulus - rest).is_positive)
        if self.axis == self.less or not known:
            return None
        residue = (self.shift - rest).expand()
        if self.axis is None or self.less is None:  # an index less that along an axis of one
            along = self.less if self.axis is None else self.axis
            assert along is not None
            return region_along(along, None, modulus=self.modulus, residue=-residue if self.axis is None else residue)
        return region_along(self.axis, self.less, modulus=self.modulus, residue=residue)
