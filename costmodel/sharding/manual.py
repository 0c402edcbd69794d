"""What ``shard_map`` says by itself: the program of one device, where arrays enter and leave it as shards.

Every array outside of ``shard_map`` has the shape of the shard that a device holds of it. That is known where such an array is only
an input, an output, or both; what else a program does with it is the partitioner's to say.
"""

from __future__ import annotations

from collections.abc import Iterator

from costmodel.program.raw import Raw, RawProgram, is_immediate
from costmodel.rules.work import Array, Value


def is_manual(program: RawProgram) -> bool:
    """Whether nothing happens outside of ``shard_map``: shards of every array are known."""
    seen: dict[Value, Array] = {}
    for r in program.equations:
        if r.shard is not None:
            whole, shard = _whole_and_shard(r)
            if seen.setdefault(whole, shard.array) != shard.array:
                return False  # seen in two ways
    return all(r.shard is not None or _inside(r, program) for r in program.equations)


def of_one_device(program: RawProgram) -> RawProgram:
    """The program of one device, of one that :func:`is_manual`."""
    shards = {whole: shard.array for whole, shard in map(_whole_and_shard, _views(program))}
    return program.rewritten(lambda v: shards.get(v, v.array))


def _views(program: RawProgram) -> Iterator[Raw]:
    return (r for r in program.equations if r.shard is not None)


def _whole_and_shard(r: Raw) -> tuple[Value, Value]:
    return (r.outs[0], r.ins[0]) if r.params.get("whole") else (r.ins[0], r.outs[0])


def _inside(r: Raw, program: RawProgram) -> bool:
    """Whether an equation is one of a ``shard_map``'s body."""
    places = program.manual
    return any(r.trail[:k] in places for k in range(1, len(r.trail))) or (not r.ins and is_immediate(r.outs[0]))
