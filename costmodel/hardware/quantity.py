"""A figure of a device: a number in base units, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """A number in base units with where it comes from.

    value:    in ``unit``, one of FLOP/s, OP/s, B/s, B, s, W, FLOP, J, J/B, 1 (a ratio).
    source:   who says so.
    doubt:    what may be wrong with it; empty if nothing is known to be.
    measured: it was timed on the device, not read in a datasheet.
    """

    value: float
    unit: str
    source: str
    doubt: str = ""
    measured: bool = False
