"""Marks of operations: which equation each stems from. Scopes of the trace say it, and jax keeps them as locations, which passes
join where operations are equal; as attributes, they keep equal operations of two equations apart.
"""

from __future__ import annotations

from typing import Any

from costmodel import _jax_compat as compat
from costmodel.sharding.concrete import MARK
from costmodel.sharding.modules import CONTROL

MARKS = "mhlo.frontend_attributes"  # the attribute that has them


def write(module: Any, mlir: compat.Mlir) -> None:
    """Give each operation the mark of its scopes as an attribute. A function that jax lowered once for equal equations becomes one
    of each of them, and its operations have that equation's mark."""
    _Writer(module, mlir).write()


def read(attributes: Any, mlir: compat.Mlir) -> str:
    """The mark among an operation's attributes, "" for none."""
    if MARKS not in attributes:
        return ""
    marks = mlir.ir.DictAttr(attributes[MARKS])
    return str(mlir.ir.StringAttr(marks[MARK]).value) if MARK in marks else ""


class _Writer:
    def __init__(self, module: Any, mlir: compat.Mlir) -> None:
        self.module, self.mlir = module, mlir
        self.attributes: dict[str, Any] = {}
        self.functions = {mlir.ir.StringAttr(o.attributes["sym_name"]).value: o.operation for o in module.body.operations
                          if o.operation.name == "func.func"}
        self.called: set[str] = set()

    def write(self) -> None:
        for block in self.functions["main"].regions[0].blocks:
            self._block(block, "")

    def _block(self, block: Any, around: str) -> None:
        for o in block.operations:
            op = o.operation
            mark = _of_location(op.location) or around
            if mark:
                if mark not in self.attributes:
                    self.attributes[mark] = self.mlir.ir.DictAttr.get({MARK: self.mlir.ir.StringAttr.get(mark)})
                op.attributes[MARKS] = self.attributes[mark]
            if op.name == "func.call":
                for inner in self._own_function(op).regions[0].blocks:
                    self._block(inner, mark)
            elif op.name in CONTROL:
                for region in op.regions:
                    for inner in region.blocks:
                        self._block(inner, around)

    def _own_function(self, call: Any) -> Any:
        """The function that is called, which no other operation calls."""
        ir = self.mlir.ir
        name = ir.FlatSymbolRefAttr(call.attributes["callee"]).value
        if name not in self.called:
            self.called.add(name)
            return self.functions[name]
        made = self.functions[name].clone(ip=ir.InsertionPoint.at_block_begin(self.module.body))
        own = f"{name}_{len(self.called)}_{len(self.functions)}"
        made.attributes["sym_name"] = ir.StringAttr.get(own)
        call.attributes["callee"] = ir.FlatSymbolRefAttr.get(own)
        self.functions[own] = made
        self.called.add(own)
        return made


def _of_location(location: Any) -> str:
    """The innermost mark among the scopes of an operation. A name is read as such, where a location is one: its text is printed
    at five times the cost."""
    name = getattr(location, "name_str", None)
    _, scope, mark = (str(location).partition('"(')[0] if name is None else name).rpartition(f"{MARK}=")
    return mark.partition("/")[0].rstrip('")') if scope else ""
