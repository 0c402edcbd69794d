"""Elementwise operations of the dialect CHLO (squares, error functions, inverse sines …), before propagation.

XLA writes them in StableHLO before its partitioner sees them, some as many operations; Shardy knows none of CHLO's, and would lose
every sharding at them. An elementwise operation is to a partitioner like any other of as many operands: one of StableHLO's takes
its place, with its mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from costmodel import _jax_compat as compat


def write_out(module: Any, mlir: compat.Mlir) -> None:
    """Put StableHLO's operations in the place of CHLO's elementwise ones."""
    for o in list(module.body.operations):
        for region in o.operation.regions:
            for block in region.blocks:
                for op in list(_elementwise(block, mlir)):
                    _replace(op, mlir)


def _elementwise(block: Any, mlir: compat.Mlir) -> Iterator[Any]:
    for o in block.operations:
        op = o.operation
        for region in op.regions:
            for inner in region.blocks:
                yield from _elementwise(inner, mlir)
        if op.name.startswith("chlo.") and len(op.results) == 1 and 1 <= len(op.operands) <= 2 and all(
                _shape(v, mlir) == _shape(op.results[0], mlir) for v in op.operands):
            yield op


def _shape(value: Any, mlir: compat.Mlir) -> list[int]:
    return list(mlir.ir.RankedTensorType(value.type).shape)


def _replace(op: Any, mlir: compat.Mlir) -> None:
    of = op.results[0].type
    with op.location, mlir.ir.InsertionPoint(op):
        operands = [v if v.type == of else mlir.stablehlo.ConvertOp(of, v).result for v in op.operands]
        made = mlir.stablehlo.ConvertOp(of, operands[0]) if len(operands) == 1 else mlir.stablehlo.AddOp(*operands)
    for name in list(op.attributes):
        made.operation.attributes[name] = op.attributes[name]
    op.results[0].replace_all_uses_with(made.result)
    op.erase()
