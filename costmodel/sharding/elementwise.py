"""Elementwise operations of the dialect CHLO (squares, error functions, inverse sines …), before propagation.

XLA writes them in StableHLO before its partitioner sees them, some as many operations; Shardy knows none of CHLO's, and would lose
every sharding at them. An elementwise operation is to a partitioner like any other of as many operands: one of StableHLO's takes
its place, with its mark.
"""

from __future__ import annotations

from typing import Any

from costmodel import _jax_compat as compat


def of_chlo(op: Any, mlir: compat.Mlir) -> bool:
    """Whether an operation is an elementwise one of CHLO's."""
    return op.name.startswith("chlo.") and len(op.results) == 1 and 1 <= len(op.operands) <= 2 and all(
        _shape(v, mlir) == _shape(op.results[0], mlir) for v in op.operands)


def _shape(value: Any, mlir: compat.Mlir) -> list[int]:
    return list(mlir.ir.RankedTensorType(value.type).shape)


def write_out(op: Any, mlir: compat.Mlir) -> None:
    """Put an operation of StableHLO's in the place of an elementwise one of CHLO's."""
    of = op.results[0].type
    with op.location, mlir.ir.InsertionPoint(op):
        operands = [v if v.type == of else mlir.stablehlo.ConvertOp(of, v).result for v in op.operands]
        made = mlir.stablehlo.ConvertOp(of, operands[0]) if len(operands) == 1 else mlir.stablehlo.AddOp(*operands)
    for name in list(op.attributes):
        made.operation.attributes[name] = op.attributes[name]
    op.results[0].replace_all_uses_with(made.result)
    op.erase()
