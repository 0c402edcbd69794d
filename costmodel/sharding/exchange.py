"""What the partitioner's collectives are to us: primitives of our own, and the axes that they are over."""

from __future__ import annotations

from typing import Any

from costmodel.program.raw import SHARD_VIEW
from costmodel.sharding.alignment import root
from costmodel.sharding.shardy import Axis, Operation, Sharding, Tensor

PRIMITIVES = {"all_gather": "all_gather", "all_reduce": "psum", "all_to_all": "all_to_all", "reduce_scatter": "reduce_scatter",
              "collective_permute": "ppermute", "all_slice": SHARD_VIEW, "reshard": SHARD_VIEW}
REDUCTIONS = ("all_reduce", "reduce_scatter", "all_slice")


def is_constant(op: Operation) -> bool:
    """Whether an operation spreads constants."""
    return all(tensor.maker is not None and not tensor.maker.operands for tensor in op.operands)


def is_barrier(tensor: Tensor) -> bool:
    """Whether it is the operand of what is computed again, kept apart from itself in the forward pass."""
    return tensor.maker is not None and tensor.maker.name == "stablehlo.optimization_barrier" and not tensor.maker.mark


def _removed(op: Operation) -> tuple[Axis, ...]:
    """The axes that dimensions are sharded along before a collective and not after it."""
    return added(op.results[0].sharding, op.operands[0].sharding)


def added(less: Sharding, more: Sharding) -> tuple[Axis, ...]:
    """The axes by which the second is sharded more than the first, dimension by dimension."""
    return tuple(axis for a, b in zip(less, more, strict=True) for axis in b[len(a):])


def _moved(op: Operation) -> tuple[Axis, ...]:
    pairs = zip(op.operands[0].sharding, op.results[0].sharding, strict=True)
    return tuple(sorted({axis for a, b in pairs if a != b for axis in (*a, *b)}, key=lambda axis: (axis.name, axis.before)))


_AXES: dict[str, Any] = {
    "all_gather": _removed, "all_to_all": _removed, "all_reduce": lambda op: op.axes,
    "reduce_scatter": lambda op: added(op.operands[0].sharding, op.results[0].sharding), "collective_permute": _moved,
    "all_slice": lambda op: (), "reshard": lambda op: (),
}


def turns(op: Operation) -> list[tuple[Axis, ...]]:
    """The axes that a collective is over, one list a turn. Every device has constants, so that nothing is sent of them; what a
    convolution or a reduction sums over sharded dimensions is reduced once a dimension (XLA's ``AllReduceAlongShardingDims``)."""
    axes, maker = _AXES[op.collective](op), root(op.operands[0]).maker
    if maker is not None and is_constant(maker):
        return [()]
    if op.collective == "all_reduce" and maker is not None and maker.name in ("stablehlo.convolution", "stablehlo.reduce"):
        by_dimension = [tuple(a for a in axes if a in dim) for dim in maker.operands[0].sharding]
        left = tuple(a for a in axes if not any(a in dim for dim in by_dimension))
        return [turn for turn in (*by_dimension, left) if turn]
    return [axes]


def unchanged(tensor: Tensor) -> Tensor | None:
    """What a loop's body sees that no iteration changes, as it is outside of the loop."""
    loop = tensor.loop
    assert loop is not None
    if loop.name == "stablehlo.while" and all(tensor.index < len(y) for y in loop.yields[1:]):
        if loop.yields and loop.yields[-1][tensor.index] is tensor and tensor.index < len(loop.operands):
            return loop.operands[tensor.index]
    return None
