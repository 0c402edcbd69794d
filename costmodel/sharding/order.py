"""The order of a module's operations as XLA hands it to Shardy, which settles some ties between dimensions by it: of two operands
that are shared along one axis, the first one's in this order keeps it.

XLA reads jax's module as its own graph and writes it anew in post-order: what the result needs, operand by operand, the first one
first (``HloComputation::MakeInstructionPostOrder``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from costmodel import _jax_compat as compat
from costmodel.sharding.modules import CONTROL

_REGIONS = CONTROL | {"func.func"}


def reorder(module: Any, mlir: compat.Mlir) -> None:
    """Put the operations of every function, and of the bodies of its loops and branches, into post-order; what no result needs
    comes last."""
    for o in module.body.operations:
        if o.operation.name == "func.func":
            _regions(o.operation, mlir.ir.BlockArgument)


def _regions(op: Any, argument: type) -> None:
    for region in op.regions if op.name in _REGIONS else ():
        for block in region.blocks:
            _block(block, argument)


def _block(block: Any, argument: type) -> None:
    operations = [o.operation for o in block.operations]
    for op in operations:
        _regions(op, argument)
    places = {op: place for place, op in enumerate(operations)}
    order = _needed([[places[maker] for maker in _makers(op, argument) if maker in places] for op in operations])
    if order == list(range(len(operations))):
        return
    live = set(order)
    for place in (*order[:-1], *(place for place in range(len(operations)) if place not in live)):
        operations[place].move_before(operations[-1])


def _makers(op: Any, argument: type) -> list[Any]:
    """The operations that make what an operation takes, in the order in which it takes it."""
    owners = [v.owner for v in _operands(op) if not isinstance(v, argument)]
    return [getattr(owner, "operation", owner) for owner in owners]


def _needed(takes: Sequence[Sequence[int]]) -> list[int]:
    """The operations of a block that its last one needs, and that one, in post-order: each by its place, with the places of what it
    ``takes``."""
    order: list[int] = []
    begun, ended = set(), set()
    pending = [len(takes) - 1]
    while pending:
        op = pending.pop()
        if op in ended:
            continue
        if op in begun:
            ended.add(op)
            order.append(op)
            continue
        begun.add(op)
        pending.append(op)
        pending += [maker for maker in reversed(takes[op]) if maker not in begun]
    return order


def _operands(op: Any) -> Iterator[Any]:
    """The values that an operation takes, and after them those that its regions take from outside."""
    yield from op.operands
    for region in op.regions if op.name in _REGIONS else ():
        for block in region.blocks:
            for inner in block.operations:
                yield from _operands(inner.operation)
