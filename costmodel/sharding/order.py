"""The order of a module's operations as XLA hands it to Shardy, which settles some ties between dimensions by it: of two operands
that are shared along one axis, the first one's in this order keeps it.

XLA reads jax's module as its own graph and writes it anew in post-order: what the result needs, operand by operand, the first one
first (``HloComputation::MakeInstructionPostOrder``).
"""

from __future__ import annotations

from collections.abc import Iterator
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
    last = operations[-1]
    for op in operations:
        _regions(op, argument)
    needed = _needed(last, set(operations), argument)
    if needed == operations:
        return
    live = set(needed)
    for op in (*needed[:-1], *(op for op in operations if op not in live)):
        op.move_before(last)


def _needed(last: Any, inside: set[Any], argument: type) -> list[Any]:
    """The operations of a block that its last one needs, and that one, in post-order."""
    order: list[Any] = []
    begun, ended = set(), set()
    pending = [last]
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
        makers = (v.owner.operation if hasattr(v.owner, "operation") else v.owner for v in _operands(op)
                  if not isinstance(v, argument))
        pending += [maker for maker in reversed(list(makers)) if maker in inside and maker not in begun]
    return order


def _operands(op: Any) -> Iterator[Any]:
    """The values that an operation takes, and after them those that its regions take from outside."""
    yield from op.operands
    for region in op.regions if op.name in _REGIONS else ():
        for block in region.blocks:
            for inner in block.operations:
                yield from _operands(inner.operation)
