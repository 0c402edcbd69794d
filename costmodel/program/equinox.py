"""Equinox's internal primitives, inlined as what their implementations do. Equinox is not imported: whoever made such an equation
has it, and the primitive brings its implementation.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from costmodel.program.control_flow import handles
from costmodel.program.inliner import Inliner
from costmodel.program.scopes import Place
from costmodel.rules import lookup
from costmodel.rules.work import Value

# Identities that watch over transformations, reductions over what is not mapped, a selection that is one only where it is mapped,
# an update of a buffer, any of these mapped, and a function that is to stay a function.
PRIMITIVES = ("nontraceable", "nondifferentiable_backward", "nonbatchable", "announce_jaxpr", "unvmap_all", "unvmap_any",
              "unvmap_max", "select_if_vmap", "maybe_set", "vprim", "noinline")


def implementation(to: Inliner, eqn: Any, ins: list[Value], at: Place) -> list[Value]:
    """What the primitive's implementation traces to. The integer that says which function ``noinline`` calls stays one."""
    name = eqn.primitive.name
    if lookup(name) is not None:
        return to.plain(name, eqn.params, eqn, ins, at)
    known = [to.integers.get(v) for v in ins]
    fixed = {i: np.int32(int(n)) for i, n in enumerate(known) if n is not None and n.is_Integer and name == "noinline"}
    traced = [i for i in range(len(ins)) if i not in fixed]

    def run(*operands: Any) -> Any:
        given = {**fixed, **dict(zip(traced, operands, strict=True))}
        return eqn.primitive.impl(*(given[i] for i in range(len(ins))), **eqn.params)

    shapes = [jax.ShapeDtypeStruct(eqn.invars[i].aval.shape, eqn.invars[i].aval.dtype) for i in traced]
    return to.body(jax.make_jaxpr(run)(*shapes), [ins[i] for i in traced], at)


for _name in PRIMITIVES:
    handles(_name)(implementation)
