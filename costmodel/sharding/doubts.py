"""What is known to be sent otherwise by XLA than these rules say, told in words."""

from __future__ import annotations

from collections.abc import Iterator

from costmodel import _jax_compat as compat
from costmodel.program.raw import SHARD_VIEW, Raw, RawProgram
from costmodel.rules.work import Value

_CUMULATIVE = frozenset({"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"})


def doubts(program: RawProgram) -> tuple[str, ...]:
    """A line for each such place in a device's program.

    Where the result of a cumulative sum is then shared along the summed dimension, XLA gathers the whole operand first (seen for
    processors, for which jax writes it as slices and pads, and for TPUs).
    """
    readers: dict[Value, list[Raw]] = {}
    for r in program.equations:
        for v in r.ins:
            readers.setdefault(v, []).append(r)
    return tuple(dict.fromkeys(_cumulative(program, readers)))


def _cumulative(program: RawProgram, readers: dict[Value, list[Raw]]) -> Iterator[str]:
    for r in program.equations:
        if r.primitive not in _CUMULATIVE:
            continue
        axis, (made,) = int(r.params["axis"]), r.outs
        for user in _readers(made, readers):
            if user.primitive in ("all_to_all", SHARD_VIEW) and _shared(made, user.outs[0], axis):
                yield (f"{r.primitive} at {_where(r)}: its result is shared along the summed dimension, for which XLA may gather "
                       "the operand first: a device may send more than these formulas say")


def _readers(v: Value, readers: dict[Value, list[Raw]]) -> Iterator[Raw]:
    """What reads a value, also through constraints."""
    for r in readers.get(v, ()):
        if r.primitive == "sharding_constraint":
            yield from _readers(r.outs[0], readers)
        else:
            yield r


def _shared(before: Value, after: Value, axis: int) -> bool:
    same_rank = len(before.array.shape) == len(after.array.shape)
    return same_rank and before.array.shape[axis] != after.array.shape[axis]


def _where(r: Raw) -> str:
    frames = compat.user_frames(r.source)
    line = next((f"{frame.file_name}:{frame.start_line}" for frame in frames), "")  # type: ignore[attr-defined]  # jax's own frames
    return line or "/".join(r.path) or "the top level"
