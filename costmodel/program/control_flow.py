"""How each control-flow primitive of jax is inlined: a handler a primitive, in :data:`HANDLERS`.

A loop's body is inlined once, with how often it runs; every branch is inlined once, marked as that branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from costmodel import _jax_compat as compat
from costmodel.program.inliner import Handler, Inliner
from costmodel.program.iterations import assumptions, counters, over, summable
from costmodel.program.raw import SHARD_VIEW, Cond, Spec
from costmodel.program.scopes import Place
from costmodel.program.trips import trip_count
from costmodel.rules.branches import Side
from costmodel.rules.work import Value
from costmodel.symbolic.forms import ZERO, Expr
from costmodel.symbolic.translate import internal

HANDLERS: dict[str, Handler] = {}


def handles(primitive: str) -> Callable[[Handler], Handler]:
    """Enter the decorated handler into the table."""
    def decorate(handler: Handler) -> Handler:
        HANDLERS[primitive] = handler
        return handler
    return decorate


@handles("scan")
def scan(to: Inliner, eqn: Any, ins: list[Value], at: Place) -> list[Value]:
    """``length`` times its body. Each iteration reads its slice of what is scanned over and writes its slice of the results."""
    params = eqn.params
    variables = getattr(params["jaxpr"], "jaxpr", params["jaxpr"]).invars
    n_consts, n_carry = compat.scan_layout(params)
    first, length, loop = n_consts + n_carry, internal(params["length"]), to.number("loop")
    inside = at.repeated(length, loop)
    carried = variables[n_consts:first]
    before = _receive(to, carried, ins[n_consts:first], at)
    slices = [to.derive("scan_read", [stacked], var, inside) for var, stacked in zip(variables[first:], ins[first:], strict=True)]
    known = counters(to, params["jaxpr"], carried, before, ins[n_consts:first])
    ends = (length - 1, -1) if params.get("reverse") else (ZERO, 1)
    known += [(piece, *ends) for piece, stacked in zip(slices, ins[first:], strict=True) if stacked in to.ranges]
    results = over(to, length, loop, at, known, lambda place: to.body(params["jaxpr"], [*ins[:n_consts], *before, *slices], place))
    after, pieces = results[:n_carry], results[n_carry:]
    to.carried += zip(before, after, strict=True)
    stacked = [to.derive("scan_write", [piece], var, inside) for var, piece in zip(eqn.outvars[n_carry:], pieces, strict=True)]
    return [*after, *stacked]


@handles("while")
def while_loop(to: Inliner, eqn: Any, ins: list[Value], at: Place) -> list[Value]:
    """Its trip count times the body, once more the condition. The count is derived where the loop counts to a bound that shapes
    decide (``fori_loop``), or to one and may stop before it; otherwise it is a symbol ``trips_k``. A mapped loop runs until all of
    its lanes have stopped: as often as the one of most iterations."""
    params = eqn.params
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts, start = ins[:n_cond], ins[n_cond:n_cond + n_body], ins[n_cond + n_body:]
    variables = getattr(params["body_jaxpr"], "jaxpr", params["body_jaxpr"]).invars[n_body:]
    known = trip_count(params, [to.integers.get(v) for v in cond_consts], [_everywhere(to, v) for v in start], assumptions(to))
    if known is not None and not summable(to, known.count):
        known = None
    trips, exact = known or (to.run_time_symbol("trips"), True)
    before = _receive(to, variables, start, at)
    loop = to.number("loop")
    condition = at.repeated(trips + 1, loop, exact=exact).deciding(counter=known is not None and exact)
    to.body(params["cond_jaxpr"], [*cond_consts, *before], condition)
    counted = [] if known is None else counters(to, params["body_jaxpr"], variables, before, start)
    after = over(to, trips, loop, at, counted, lambda place: to.body(params["body_jaxpr"], [*body_consts, *before], place),
                 exact=exact)
    to.carried += zip(before, after, strict=True)
    return after


def _everywhere(to: Inliner, value: Value) -> Expr | None:
    """The integer that a scalar is, or every element of an array, as of the counters of a mapped loop."""
    known = to.integers.get(value)
    if known is None and value.array.shape and value.array.dtype.startswith(("int", "uint")):
        made = next((r for r in reversed(to.equations) if value in r.outs), None)
        if made is not None and made.jax in ("broadcast_in_dim", "convert_element_type", "reshape"):
            return _everywhere(to, made.ins[0])
    return known


def _receive(to: Inliner, variables: Sequence[Any], start: Sequence[Value], at: Place) -> list[Value]:
    """A loop's carried values as its body sees them; each starts as another name of its initial value."""
    return [to.derive("loop_carry", [value], var, at) for var, value in zip(variables, start, strict=True)]


@handles("cond")
def cond(to: Inliner, eqn: Any, ins: list[Value], at: Place) -> list[Value]:
    """Every branch, marked as such; each result may be that of any branch. Of branches by platform those of none that a program
    runs on are left out: "mosaic" is the language that Pallas writes kernels in."""
    index, operands = ins[0], ins[1:]
    platforms = eqn.params.get("branches_platforms") or (None,) * len(eqn.params["branches"])
    bodies = [body for body, names in zip(eqn.params["branches"], platforms, strict=True) if names != ("mosaic",)]
    if len(bodies) == 1:
        return to.body(bodies[0], operands, at)
    number = to.number("cond")
    results = [to.body(body, operands, at.on_side(Side(number, i, len(bodies)))) for i, body in enumerate(bodies)]
    outs = [to.derive("branch_result", [index, *either], var, at)
            for var, either in zip(eqn.outvars, zip(*results, strict=True), strict=True)]
    to.conds.append(Cond(number, tuple(map(tuple, results)), tuple(outs)))
    return outs


@handles("shard_map")
def shard_map(to: Inliner, eqn: Any, ins: list[Value], at: Place) -> list[Value]:
    """The body, once: what one device does. Each operand is seen as this device's shard of it, each result is one of a whole."""
    body, axes = eqn.params["jaxpr"], to.on(eqn.params["mesh"])
    inside, manual = at.on_a_device(axes), frozenset(map(str, eqn.params["newly_manual_axes"]))
    shards = [to.derive(SHARD_VIEW, [whole], var, inside, spec=_spec(spec, var), manual=manual)
              for var, whole, spec in zip(getattr(body, "jaxpr", body).invars, ins, eqn.params["in_specs"], strict=True)]
    results = to.body(body, shards, inside)
    return [to.derive(SHARD_VIEW, [shard], var, at, spec=_spec(spec, var), manual=manual, whole=True)
            for var, shard, spec in zip(eqn.outvars, results, eqn.params["out_specs"], strict=True)]


def _spec(spec: Any, var: Any) -> Spec:
    """The axes along which each dimension of an array is shared."""
    entries = () if spec is None else tuple(spec)
    named = [() if e is None else tuple(map(str, e)) if isinstance(e, tuple | list) else (str(e),) for e in entries]
    rank = len(getattr(var.aval, "shape", ()))
    return tuple(named[:rank]) + ((),) * (rank - len(named))


@handles("call_hi_primitive")
def call_hi_primitive(to: Inliner, eqn: Any, ins: list[Value], at: Place) -> list[Value]:
    """What a high-level primitive (``nonzero``, ``searchsorted``) lowers to."""
    return to.body(compat.expand_high_level(eqn), ins, at)


@handles("custom_linear_solve")
def custom_linear_solve(to: Inliner, eqn: Any, ins: list[Value], at: Place) -> list[Value]:
    """The user's ``solve`` on its constants and the right-hand side; the other functions serve derivatives only."""
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    before = lengths.matvec + lengths.vecmat
    total = before + lengths.solve + lengths.transpose_solve
    return to.body(jaxprs.solve, [*ins[before:before + lengths.solve], *ins[total:]], at)
