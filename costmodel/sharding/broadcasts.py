"""Broadcasts as XLA has them when its partitioner sees a program.

HLO's ``broadcast`` takes each dimension of its operand to an equal one of its result. What StableHLO broadcasts along a dimension
of size 1 is first reshaped without it, and what gets dimensions of size 1 and nothing else is a reshape alone
(``XlaBuilder::BroadcastInDim``). It matters: Shardy propagates through reshapes with the elementwise operations, before it looks
at contractions, and through broadcasts with these.
"""

from __future__ import annotations

from math import prod
from typing import Any

from costmodel import _jax_compat as compat
from costmodel.sharding.marks import MARKS

BROADCAST = "stablehlo.broadcast_in_dim"


def write_out_broadcast(op: Any, mlir: compat.Mlir) -> None:
    """Put a reshape, or a broadcast of what is without dimensions of size 1 to repeat, in the place of another broadcast, with its
    mark."""
    ir = mlir.ir
    (operand,), (result,) = op.operands, op.results
    before, after = (list(ir.RankedTensorType(v.type).shape) for v in (operand, result))
    along = list(ir.DenseI64ArrayAttr(op.attributes["broadcast_dimensions"]))
    kept = [i for i, to in enumerate(along) if before[i] == after[to]]
    only_ones = prod(before) == prod(after)
    if before == after or (len(kept) == len(before) and not only_ones):
        return
    with op.location, ir.InsertionPoint(op):
        if only_ones:
            made = [mlir.stablehlo.ReshapeOp(result.type, operand)]
        else:
            rest = ir.RankedTensorType.get([before[i] for i in kept], ir.RankedTensorType(operand.type).element_type)
            narrow = mlir.stablehlo.ReshapeOp(rest, operand)
            made = [narrow, mlir.stablehlo.BroadcastInDimOp(result.type, narrow.result, [along[i] for i in kept])]
    for each in made if MARKS in op.attributes else ():
        each.operation.attributes[MARKS] = op.attributes[MARKS]
    result.replace_all_uses_with(made[-1].result)
    op.erase()
