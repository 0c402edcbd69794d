"""Errors that a user can mend. Their message is one line that says what to do next; the command line prints just that."""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it, without the time that typing takes to import

if TYPE_CHECKING:
    from collections.abc import Sequence


class CostModelError(Exception):
    """Base of every error that a user can mend."""


class DomainError(CostModelError):
    """A symbol is unbound, unknown, or bound to a value outside its domain."""


class Undefined(DomainError, ZeroDivisionError):
    """A form has no value at a point: a divisor is zero there."""


class TraceError(CostModelError):
    """jax refused to trace the model with these symbolic dimensions."""


class UnknownPrimitive(CostModelError):
    """An equation's primitive has no cost rule; nothing is ever counted as zero silently."""


class IndivisibleShards(TraceError):
    """A dimension is not known to be a multiple of the devices that share it."""


class RankError(CostModelError):
    """A partition in ``argument`` has more entries than its array has dimensions. ``told(said)`` is what is wrong with it as its
    user typed it."""

    def __init__(self, argument: str, partition: Sequence[object], of: str, rank: int) -> None:
        self.argument, self.entries, self.of, self.rank = argument, len(partition), of, rank
        super().__init__(self.told(f"{argument}: {partition}"))

    def told(self, said: str) -> str:
        """One line about the partition ``said``."""
        dimensions = f"{self.rank} dimension{'' if self.rank == 1 else 's'}"
        return f"{said} has {self.entries} entries and {self.of} has {dimensions}: give at most one entry a dimension"
