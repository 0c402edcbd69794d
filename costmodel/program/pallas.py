"""Pallas kernels: the body of a ``pallas_call``, counted as a program of its own, as often as the grid has places.

The kernel stays one equation. What its body does with references to blocks happens inside the chip; from memory the kernel reads
its operands and writes its results.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sympy import Expr, Mul

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError
from costmodel.program.control_flow import HANDLERS, handles
from costmodel.program.inliner import Inliner
from costmodel.program.iterations import depends
from costmodel.program.raw import RawProgram
from costmodel.program.scopes import Place
from costmodel.program.table import cost_table
from costmodel.rules import lookup
from costmodel.rules.branches import Branch
from costmodel.rules.work import CostTable, OpKind, Value, total
from costmodel.symbolic.forms import ONE, Assumptions, at_most
from costmodel.symbolic.translate import internal
from costmodel.trace.words import Origin


@handles("pallas_call")
def pallas_call(to: Inliner, eqn: Any, ins: list[Value], at: Place) -> list[Value]:
    """One equation, with what its rule needs beside jax's parameters where the kernel has no estimate of its own: ``ops``, the work
    of the body times the grid, and ``read``, the elements of each operand that blocks of it show; or ``refusal``, why not."""
    return to.plain("pallas_call", {**eqn.params, **_counted(to, eqn, ins)}, eqn, ins, at)


def _counted(to: Inliner, eqn: Any, ins: list[Value]) -> dict[str, Any]:
    found = lookup("pallas_call")
    if eqn.params.get("cost_estimate") is not None or found is None or not found.builtin:
        return {}
    try:
        steps = _grid(to, eqn.params["grid_mapping"], ins)
        table = _body(to, eqn.params["jaxpr"])
    except CostModelError as error:
        return {"refusal": str(error)}
    read = _read(eqn.params["grid_mapping"], table, ins, steps, to.domain.assumptions)
    return {"ops": tuple(_work(table, steps)), "read": tuple(read)}


def _grid(to: Inliner, grid_mapping: Any, ins: list[Value]) -> Expr:
    """How often the body runs. Sizes that are operands come first among these, in order; one that the data decides is a symbol."""
    dynamic = iter(ins[:grid_mapping.num_dynamic_grid_bounds])

    def size(dim: Any) -> Expr:
        if isinstance(dim, int) or compat.is_symbolic(dim):
            return internal(dim)
        known = to.integers.get(next(dynamic))
        return to.run_time_symbol("trips") if known is None or depends(to, known) else known

    return Mul(*map(size, grid_mapping.grid))


def _body(to: Inliner, jaxpr: Any) -> CostTable:
    """The table of the body, over references to blocks. Raises CostModelError for what has no rule."""
    inside = Inliner("", HANDLERS, numbers=to.numbers)
    inputs = [Value(inside.array(var), Origin.INPUT) for var in jaxpr.invars]
    inside.domain = to.domain
    outputs = inside.body(jaxpr, inputs, Place())
    to.run_time += inside.run_time
    return cost_table(RawProgram(tuple(inside.equations), tuple(inputs), tuple(outputs), tuple(inside.carried),
                                 frozenset(inside.zeros), tuple(inside.conds), tuple(inside.run_time), integers=inside.integers))[0]


def _work(table: CostTable, steps: Expr) -> Iterator[tuple[OpKind, Expr, Expr]]:
    """Operations by kind; of the sides of a branch (``pl.when``) that which has most of the kind."""
    counts: dict[OpKind, list[tuple[Branch, Expr, Expr]]] = {}
    for e in table:
        for kind, dense, valid in e.work.ops:
            counts.setdefault(kind, []).append((e.branch, dense * e.times * steps, valid * e.times * steps))
    for kind, found in counts.items():
        yield kind, *(table.combined(((part[0], part[column]) for part in found), total) for column in (1, 2))


def _read(grid_mapping: Any, table: CostTable, ins: list[Value], steps: Expr, assumptions: Assumptions) -> Iterator[Expr]:
    """Elements of each operand that blocks of it show: all of it, or fewer where the grid has few places. Sizes of the grid and
    operands that say where blocks are come before them and are read whole."""
    first = grid_mapping.num_dynamic_grid_bounds
    blocks = [ONE] * first + [v.array.size for v in table.inputs]
    for i, (v, block) in enumerate(zip(ins, blocks, strict=False)):
        whole = i < first + grid_mapping.num_index_operands
        yield v.array.size if whole else at_most((block * steps).expand(), v.array.size, assumptions)


@handles("run_scoped")
def run_scoped(to: Inliner, eqn: Any, ins: list[Value], at: Place) -> list[Value]:
    """Its body on fresh references, which are on the chip."""
    body = eqn.params["jaxpr"]
    fresh = [Value(to.array(var), Origin.INPUT) for var in body.invars]
    return to.body(body, fresh, at, constants=ins)
