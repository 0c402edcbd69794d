"""The operations of an MLIR module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Operations whose regions hold a program; those of reductions and sorts hold one operation.
CONTROL = frozenset({"stablehlo.while", "stablehlo.case", "stablehlo.if", "sdy.manual_computation"})


def operations(module: Any) -> Iterator[Any]:
    """Every operation of a module's functions, those of its regions before one."""
    for o in module.body.operations:
        yield from _inside(o.operation)


def _inside(op: Any) -> Iterator[Any]:
    for region in op.regions:
        for block in region.blocks:
            for o in block.operations:
                yield from _inside(o.operation)
                yield o.operation
