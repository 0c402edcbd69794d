"""From a traced jaxpr to a raw program."""

from __future__ import annotations

from typing import Any

from costmodel import _jax_compat as compat
from costmodel import collector
from costmodel.program import equinox as equinox  # these handlers enter the table, too
from costmodel.program import pallas as pallas
from costmodel.program.control_flow import HANDLERS
from costmodel.program.inliner import Inliner
from costmodel.program.raw import RawProgram
from costmodel.program.roles import with_padded_sides
from costmodel.program.scopes import Place
from costmodel.rules.work import Value
from costmodel.symbolic.domain import Domain
from costmodel.trace.requests import Traced


@collector.paused()
def inline(traced: Traced) -> RawProgram:
    """The program of a jaxpr with its calls inlined, its loops, branches and gradients of convolutions marked;
    nothing is removed, chosen or costed."""
    inliner = Inliner(traced.root, HANDLERS)
    closed: Any = traced.jaxpr
    inputs = [Value(inliner.array(var), leaf.role, leaf.name) for var, leaf in zip(closed.jaxpr.invars, traced.leaves, strict=True)]
    for var in closed.jaxpr.invars:
        if (stated := compat.stated_sharding(var.aval)) is not None:
            inliner.on(stated.mesh)
    inliner.domain = Domain.of(*(d for v in inputs for d in v.array.shape))
    outputs = inliner.body(closed, inputs, Place())
    program = RawProgram(tuple(inliner.equations), tuple(inputs), tuple(outputs), tuple(inliner.carried), frozenset(inliner.zeros),
                         tuple(inliner.conds), tuple(inliner.run_time), integers=inliner.integers, literals=inliner.literals,
                         ranges=frozenset(v for v in inliner.ranges if len(v.array.shape) == 1),
                         mesh=inliner.mesh)
    return with_padded_sides(program)
