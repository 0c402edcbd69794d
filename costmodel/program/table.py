"""From a raw program to a table of costed equations and the domain of its symbols."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from costmodel import collector
from costmodel.program.branches import weigh
from costmodel.program.canonical import canonical
from costmodel.program.constants import as_pads, known_sides, shape_constants
from costmodel.program.costing import Costing
from costmodel.program.dead import remove_dead
from costmodel.program.domain import domain_of
from costmodel.program.masks import with_masked_parts
from costmodel.program.raw import Raw, RawProgram
from costmodel.program.same import with_same
from costmodel.rules.branches import Branches
from costmodel.rules.work import CostTable, Value
from costmodel.symbolic.domain import Domain
from costmodel.trace.words import Origin


@collector.paused()
def cost_table(program: RawProgram, *, branches: Branches = Branches.MAX, unknown: str = "error") -> tuple[CostTable, Domain]:
    """The program without what is dead or known before it runs, each equation costed by its rule.

    branches, unknown: see :func:`costmodel.program.walk.walk`.
    """
    table, domain, _ = with_equations(program, branches=branches, unknown=unknown)
    return table, domain


def with_equations(program: RawProgram, *, branches: Branches = Branches.MAX,
                   unknown: str = "error") -> tuple[CostTable, Domain, tuple[Raw, ...]]:
    """As :func:`cost_table`, and the raw equation of each equation of the table."""
    program, dead = remove_dead(weigh(with_masked_parts(as_pads(canonical(known_sides(program)))), branches))
    domain = domain_of(program)
    results = [*program.outputs, *(after for _, after in program.carried)]
    folded, constants = shape_constants(program.equations, results, program.carried)
    costing = Costing(domain, unknown)
    written = {v: Value(v.array, Origin.LITERAL) for v in constants if not v.array.shape}
    costed = [costing.equation(i, r if r in folded else _with(r, written), folded=r in folded, constants=constants)
              for i, r in enumerate(program.equations)]
    equations = with_same(program, costed, program.equations, {literal: v for v, literal in written.items()})
    removed = tuple(sorted(Counter(r.primitive for r in dead).items()))
    axes = tuple((v.name, v.default or 1) for v in program.axes)
    table = CostTable(equations, program.inputs, program.outputs, removed, program.carried, branches, axes)
    return table, domain, program.equations


def _with(r: Raw, written: Mapping[Value, Value]) -> Raw:
    """The equation with known numbers as the literals that a concrete trace writes in their place."""
    return replace(r, ins=tuple(written.get(v, v) for v in r.ins)) if any(v in written for v in r.ins) else r
