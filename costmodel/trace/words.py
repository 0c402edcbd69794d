"""The words that records of a program carry: what its inputs are for, and which pass of a training step an equation is in.

They are strings, so that text and JSON show them as they are.
"""

from __future__ import annotations

from enum import StrEnum


class Origin(StrEnum):
    """Where a value comes from: out of the program's text, from its caller (and for what), or out of an equation."""

    LITERAL = "literal"
    PARAMETER = "parameter"
    OPTIMIZER = "optimizer"
    BUFFER = "buffer"
    RNG = "rng"
    INPUT = "input"
    EQUATION = "equation"


class Phase(StrEnum):
    """The pass that an equation belongs to; a program that is no training step has the first only."""

    FORWARD = ""
    BACKWARD = "backward"
    RECOMPUTE = "recompute"
    UPDATE = "update"
