"""What of a device's program is not known to be what XLA makes of it, told in words."""

from __future__ import annotations

from collections.abc import Iterator

from costmodel.program.dead import remove_dead
from costmodel.program.raw import SHARD_VIEW, Raw, RawProgram
from costmodel.rules.work import Value
from costmodel.sharding.lines import where
from costmodel.sharding.local import Local

_CUMULATIVE = frozenset({"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"})


def doubts(program: RawProgram, local: Local | None = None) -> tuple[str, ...]:
    """A line for each such place in a device's program; ``local`` is how that was put together.

    Where a cumulative sum goes along a dimension that devices share, or its result is then shared along it, XLA gathers the whole
    operand first (seen for processors, for which jax writes it as slices and pads, and for TPUs). What the partitioner sends and
    what it shares has to be that of an equation, or would be missing without a word.
    """
    readers: dict[Value, list[Raw]] = {}
    for r in program.equations:
        for v in r.ins:
            readers.setdefault(v, []).append(r)
    of_local = () if local is None else (*_unsent(local), *_unaligned(local), *_regrouped(local))
    return tuple(dict.fromkeys((*_cumulative(program, readers), *of_local)))


def _unsent(local: Local) -> Iterator[str]:
    for op in local.unsent:
        shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in op.operands)
        yield (f"the partitioner sends by {op.collective} something of {shapes} elements that belongs to no equation: "
               "a device sends more than these formulas say")


def _regrouped(local: Local) -> Iterator[str]:
    for r in local.doubted:
        yield (f"{r.primitive} at {where(r)}: devices share a table and rows of it along the same axes, and other devices have "
               "copies of both, of which XLA may have each take a part: a device may send more than these formulas say")


def _unaligned(local: Local) -> Iterator[str]:
    found = frozenset(local.unaligned)
    for r in remove_dead(local.program)[0].equations if found else ():
        if not found.isdisjoint(r.outs):
            yield (f"{r.primitive} at {where(r)}: the partitioner's program does not show how its result is shared, so that it is "
                   "taken to be as its operand of this shape is, or whole: a device may compute and hold less")


def _cumulative(program: RawProgram, readers: dict[Value, list[Raw]]) -> Iterator[str]:
    for r in program.equations:
        if r.primitive not in _CUMULATIVE:
            continue
        axis, (made,) = int(r.params["axis"]), r.outs
        if made.array.shape[axis].as_numer_denom()[1].free_symbols:
            yield (f"{r.primitive} at {where(r)}: devices share the dimension that it goes along, for which XLA gathers the "
                   "operand first: a device sends and holds more than these formulas say")
        for user in _readers(made, readers):
            if user.primitive in ("all_to_all", SHARD_VIEW) and _shared(made, user.outs[0], axis):
                yield (f"{r.primitive} at {where(r)}: its result is shared along the summed dimension, for which XLA may gather "
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
