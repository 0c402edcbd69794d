"""From a traced jaxpr to a table of costed equations: the only file that knows jax's calls and control flow.

Calls (jit, remat, custom derivatives) are inlined, so that a value has one identity from where it is made to where it is used.
A loop's body is inlined once, with how often it runs; a branch likewise, with its weight. Then equations whose results nobody
uses are removed, and what is left is costed by the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from sympy import Add, Expr, Integer, Rational

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError
from costmodel.program.branches import branch_operations, extreme_weights
from costmodel.program.costing import Costing
from costmodel.program.raw import Raw, dimensions, is_immediate, pads, remove_dead, reshapes_hold, shape_constants
from costmodel.program.trips import integer_result, is_integer, trip_count
from costmodel.rules import lookup_function
from costmodel.rules.work import BITS, Array, CostTable, Value
from costmodel.symbolic.dimensions import Domain, Relation, Variable, internal
from costmodel.symbolic.forms import ONE, symbol
from costmodel.trace.requests import Traced
from costmodel.trace.training import UPDATE_SCOPE

# Calls that run their body once, and the parameters that may hold it: the name differs between versions.
CALLS = frozenset({
    "jit", "pjit", "closed_call", "core_call", "call", "remat2", "remat", "checkpoint", "custom_jvp_call", "custom_vjp_call",
    "custom_vjp_call_jaxpr", "custom_lin", "eval_jaxpr", "custom_partitioning", "composite",
    "custom_vmap_call", "custom_jvp_call_jaxpr", "compute_on", "linear_call", "remat_opt", "xla_metadata_call", "program_order",
})
_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call", "callee", "fwd_jaxpr")
CONTROL_FLOW = ("scan", "while", "cond", "shard_map", "custom_linear_solve", "call_hi_primitive")

# The scope that jax.checkpoint opens around what the backward pass computes again.
_RECOMPUTE_SCOPE = "rematted_computation"
# Scopes that jax itself opens; they name no module.
JAX_SCOPES = frozenset({"checkpoint", "remat", "closed_call", "core_call", "jit", "pjit", "while", "scan",
                         "cond", "body", "cond_fun", "shard_map"})

# What an operation's other operand may be without changing anything.
_NEUTRAL = {"mul": 1, "add": 0}

BRANCHES = ("max", "min", "mean", "symbol")


def walk(traced: Traced, *, unknown: str = "error", branches: str = "max") -> tuple[CostTable, Domain]:
    """The cost table of a traced program and the domain of its symbols.

    unknown:  "error" raises UnknownPrimitive at the first equation without a rule; "warn" leaves it in the table with the status
              ``unknown`` and no work, for ``coverage`` to report.
    branches: which branch of a ``cond`` or ``switch`` counts: "max" or "min" (by operations), "mean" of all, or "symbol": every
              branch times a weight symbol ``taken_k`` that is bound at evaluation.
    """
    inliner = _Inliner(traced.root, unknown, branches)
    jaxpr = traced.jaxpr.jaxpr
    env: dict[Any, Value] = {}
    for var, const in zip(jaxpr.constvars, traced.jaxpr.consts, strict=True):
        env[var] = inliner.constant(var, const)
    for var, leaf in zip(jaxpr.invars, traced.leaves, strict=True):
        env[var] = Value(inliner.array(var), leaf.role, leaf.name)
    inputs = tuple(env[v] for v in jaxpr.invars)
    inliner.domain = Domain.of(*(d for v in inputs for d in v.array.shape))
    inliner.inline(jaxpr, env, _Place())
    outputs = tuple(inliner.read(v, env) for v in jaxpr.outvars)
    alive, dead = remove_dead(pads(inliner.raw, inliner.zeros), outputs, inliner.carried)
    domain = inliner.complete_domain(dimensions(alive, inputs))
    domain = replace(domain, relations=(*domain.relations, *reshapes_hold(alive, domain)))
    constant, constants = shape_constants(alive, [*outputs, *(after for _, after in inliner.carried)])
    costing = Costing(domain, unknown)
    equations = tuple(costing.equation(i, r, folded=id(r) in constant, constants=constants) for i, r in enumerate(alive))
    made = {id(v) for r in alive for v in r.outs}
    carried = tuple((a, b) for a, b in inliner.carried if id(a) in made)
    table = CostTable(equations, inputs, outputs, tuple(sorted(Counter(r.primitive for r in dead).items())), carried)
    return table, domain


class _Place:
    """Where inlined equations stand: their module path, phase, how often they run, and in which loops."""

    def __init__(self, path: tuple[str, ...] = (), phase: str = "", times: Expr = ONE, bounded: bool = False,
                 loops: tuple[int, ...] = ()) -> None:
        self.path, self.phase, self.times, self.bounded, self.loops = path, phase, times, bounded, loops

    def repeated(self, count: Expr, loop: int | None = None) -> _Place:
        """``count`` times here, in a loop of that number."""
        return _Place(self.path, self.phase, (self.times * count).expand(), self.bounded,
                      self.loops if loop is None else (*self.loops, loop))


class _Inliner:
    """Inlines a jaxpr into a flat list of equations. Holds what grows on the way: the equations, loops' carried values, the
    values of integer scalars that are known at trace time (trip counts), sizes of mesh axes, and symbols for what is not known."""

    def __init__(self, root: str, unknown: str, branches: str) -> None:
        self.root, self.unknown, self.branches = root, unknown, branches
        self.domain = Domain()
        self.raw: list[Raw] = []
        self.carried: list[tuple[Value, Value]] = []
        self.run_time: list[Variable] = []
        self.relations: list[Relation] = []
        self._arrays: dict[int, tuple[Any, Array]] = {}
        self._known: dict[int, Expr] = {}
        self._kept: list[Value] = []  # literals whose ids are keys of _known or in zeros must stay alive
        self.zeros: set[int] = set()
        self._axes: dict[str, int] = {}
        self._ranges: set[int] = set()
        self._counters: Counter[str] = Counter()

    # -- values ----------------------------------------------------------------------------------------------------------------

    def array(self, var: Any) -> Array:
        aval = var.aval
        found = self._arrays.get(id(aval))
        if found is None:
            shaped = getattr(aval, "inner_aval", aval)  # a mutable reference has the shape of what it holds
            shape, kind = getattr(shaped, "shape", ()), getattr(shaped, "dtype", jax.dtypes.float0)
            dtype = "float0" if kind == jax.dtypes.float0 else str(kind)
            if dtype not in BITS:
                raise CostModelError(f"dtype {dtype} is unknown; its width in bits belongs into costmodel.rules.work.BITS")
            found = (aval, Array(tuple(map(internal, shape)), dtype))
            self._arrays[id(aval)] = found
        return found[1]

    def constant(self, var: Any, value: Any = None) -> Value:
        """A literal or a constant of a closed jaxpr."""
        made = Value(self.array(var), "literal")
        if value is None or np.ndim(value) != 0 or made.array.dtype == "float0" or not made.array.dtype.startswith(
                ("int", "uint", "float", "bfloat")):
            return made
        if value == 0:
            self.zeros.add(id(made))
        if made.array.dtype.startswith(("int", "uint")):
            self._known[id(made)] = Integer(int(value))
        self._kept.append(made)
        return made

    def read(self, atom: Any, env: Mapping[Any, Value]) -> Value:
        return self.constant(atom, atom.val) if compat.is_literal(atom) else env[atom]

    def complete_domain(self, dims: Iterable[Expr]) -> Domain:
        """The domain over all dimensions met, with the run-time symbols (trip counts, branch weights) added."""
        own = {v.name for v in self.run_time}
        domain = Domain.of(*(symbol(s.name) for d in dims for s in d.free_symbols if s.name not in own))
        clash = own & {v.symbol for v in domain.variables}
        if clash:
            raise CostModelError(f"{', '.join(sorted(clash))} names a run-time quantity; call your dimension otherwise")
        return replace(domain, variables=(*domain.variables, *self.run_time), relations=(*domain.relations, *self.relations))

    def _run_time_symbol(self, kind: str, lower: int, upper: int | None = None) -> Expr:
        name = f"{kind}_{self._counters[kind]}"
        self._counters[kind] += 1
        self.run_time.append(Variable(name, name, ONE, lower, upper))
        return symbol(name)

    def _emit(self, primitive: str, params: Mapping[str, Any], ins: Sequence[Value], outs: Sequence[Value], at: _Place,
              effects: bool = False) -> None:
        self.raw.append(Raw(primitive, params, tuple(ins), tuple(outs), at.path, at.phase, at.times, effects, at.bounded,
                            loops=at.loops))

    # -- equations -------------------------------------------------------------------------------------------------------------

    def inline(self, jaxpr: Any, env: dict[Any, Value], at: _Place) -> None:
        for eqn in jaxpr.eqns:
            name = eqn.primitive.name
            place = self._place(eqn, at)
            ins = [self.read(v, env) for v in eqn.invars]
            own = lookup_function(str(eqn.params["name"])) if "name" in eqn.params and name in CALLS else None
            if own is not None:
                outs = [Value(self.array(v)) for v in eqn.outvars]
                self._emit(str(eqn.params["name"]), eqn.params, ins, outs, place, bool(eqn.effects))
            elif name in CONTROL_FLOW:
                outs = getattr(self, f"_{name}")(eqn, ins, place)
            elif name in CALLS and (body := next((eqn.params[key] for key in _BODIES if key in eqn.params), None)) is not None:
                outs = self._body(body, ins, place)
            elif name in _NEUTRAL and (same := self._unchanged_range(eqn, ins)) is not None:
                outs = [same]
            else:
                outs = [Value(self.array(v)) for v in eqn.outvars]
                self._follow_integers(eqn, ins, outs)
                params = eqn.params
                if "axes" in params or "axis_name" in params:
                    params = {**params, "axis_sizes": self._axes}
                self._emit(name, params, ins, outs, place, bool(eqn.effects))
                if name == "iota":
                    self._ranges.add(id(outs[0]))
            env.update(zip(eqn.outvars, outs, strict=True))

    def _place(self, eqn: Any, at: _Place) -> _Place:
        """Module path and phase of an equation: name-stack scopes below the root module; a transposition is the backward pass."""
        scopes: list[str] = []
        since_transform: list[str] = []
        phase = at.phase
        for name, is_transform in compat.name_stack(eqn):
            if is_transform:
                phase = "backward" if name == "transpose" else phase
                scopes, since_transform = _joined(scopes, since_transform), []
            elif name == UPDATE_SCOPE:
                phase = "update"
            elif name == _RECOMPUTE_SCOPE:
                phase = "recompute"
            else:
                # Linen names the method after the module when it is not __call__: "encoder.attend".
                # jnp.einsum opens a scope of its specification, "bshd,bthd->bhst": no module either.
                since_transform += [part.split(".")[0] for part in name.split("/")
                                    if part and part not in JAX_SCOPES and "," not in part and "->" not in part]
        scopes = _joined(scopes, since_transform)
        if self.root and scopes[:1] == [self.root]:
            scopes = scopes[1:]
        return _Place((*at.path, *scopes), phase, at.times, at.bounded, at.loops)

    def _body(self, body: Any, ins: Sequence[Value], at: _Place) -> list[Value]:
        """Inline a (closed) jaxpr on these operands; returns its results."""
        jaxpr = getattr(body, "jaxpr", body)
        consts = getattr(body, "consts", ())
        env: dict[Any, Value] = {}
        for var, const in zip(jaxpr.constvars, consts, strict=False):
            env[var] = self.constant(var, const)
        env.update(zip(jaxpr.invars, ins[len(ins) - len(jaxpr.invars):], strict=True))
        self.inline(jaxpr, env, at)
        return [self.read(v, env) for v in jaxpr.outvars]

    def _follow_integers(self, eqn: Any, ins: Sequence[Value], outs: Sequence[Value]) -> None:
        """Remember integer scalars that are functions of shapes: they may turn out to be a loop's bounds."""
        if not is_integer(eqn.outvars):
            return
        value = integer_result(eqn, [self._known.get(id(v)) for v in ins])
        if value is not None:
            self._known[id(outs[0])] = value

    def _unchanged_range(self, eqn: Any, ins: Sequence[Value]) -> Value | None:
        """The iota that this equation leaves as it is: jax's ``arange`` is 0 + 1·iota where its length is symbolic, and iota alone
        where it is not."""
        neutral = _NEUTRAL[eqn.primitive.name]
        if not any(compat.is_literal(v) and np.ndim(v.val) == 0 and v.val == neutral for v in eqn.invars):
            return None
        return next((v for v in ins if id(v) in self._ranges), None)

    # -- control flow ----------------------------------------------------------------------------------------------------------

    def _scan(self, eqn: Any, ins: list[Value], at: _Place) -> list[Value]:
        """``length`` times its body. Each iteration reads its slice of what is scanned over and writes its slice of the results."""
        params = eqn.params
        body = getattr(params["jaxpr"], "jaxpr", params["jaxpr"])
        n_consts, n_carry = compat.scan_layout(params)
        inside = at.repeated(internal(params["length"]), self._next_loop())
        carry_in = self._carry(body.invars[n_consts:n_consts + n_carry], ins[n_consts:n_consts + n_carry], at)
        slices = []
        for var, stacked in zip(body.invars[n_consts + n_carry:], ins[n_consts + n_carry:], strict=True):
            slices.append(Value(self.array(var)))
            self._emit("scan_read", {}, [stacked], slices[-1:], inside)
        mark = len(self.raw)
        results = self._body(params["jaxpr"], [*ins[:n_consts], *carry_in, *slices], inside)
        self.carried += zip(carry_in, results[:n_carry], strict=True)
        self._mark_counters(self.raw[mark:], carry_in, results[:n_carry])
        outs = list(results[:n_carry])
        for var, piece in zip(eqn.outvars[n_carry:], results[n_carry:], strict=True):
            stacked = Value(self.array(var))
            self._emit("scan_write", {}, [piece], [stacked], inside)
            outs.append(stacked)
        return outs

    def _next_loop(self) -> int:
        self._counters["loop"] += 1
        return self._counters["loop"]

    def _carry(self, variables: Sequence[Any], initial: Sequence[Value], at: _Place) -> list[Value]:
        """A loop's carried values as its body sees them; each starts as another name of its initial value."""
        made = [Value(self.array(var)) for var in variables]
        for value, start in zip(made, initial, strict=True):
            self._emit("loop_carry", {}, [start], [value], at)
        return made

    def _while(self, eqn: Any, ins: list[Value], at: _Place) -> list[Value]:
        """Its trip count times the body, once more the condition. The count is derived where the loop counts to a bound that
        shapes decide (``fori_loop``); otherwise it is a symbol ``trips_k``."""
        params = eqn.params
        n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
        cond_consts, body_consts, init = ins[:n_cond], ins[n_cond:n_cond + n_body], ins[n_cond + n_body:]
        body = getattr(params["body_jaxpr"], "jaxpr", params["body_jaxpr"])
        trips = trip_count(params, [self._known.get(id(v)) for v in cond_consts], [self._known.get(id(v)) for v in init],
                           self.domain.assumptions)
        known = trips is not None
        if trips is None:
            trips = self._run_time_symbol("trips", 0)
        carry = self._carry(body.invars[n_body:], init, at)
        loop = self._next_loop()
        mark = len(self.raw)
        self._body(params["cond_jaxpr"], [*cond_consts, *carry], at.repeated(trips + 1, loop))
        for r in self.raw[mark:]:
            r.effects = True  # the condition decides how often the loop runs: it is never dead
            r.counter = known
        mark = len(self.raw)
        results = self._body(params["body_jaxpr"], [*body_consts, *carry], at.repeated(trips, loop))
        self._mark_counters(self.raw[mark:], carry, results)
        self.carried += zip(carry, results, strict=True)
        return results

    @staticmethod
    def _mark_counters(body: Iterable[Raw], before: Sequence[Value], after: Sequence[Value]) -> None:
        """A loop over a known range counts its iterations where a concrete trace may not: mark the increments."""
        carried = {id(made): start for start, made in zip(before, after, strict=True)}
        for r in body:
            start = carried.get(id(r.outs[0])) if r.primitive in ("add", "sub") else None
            if start is not None and not start.array.shape and start.array.dtype.startswith(("int", "uint")):
                other = [v for v in r.ins if v is not start]
                r.counter = len(other) == 1 and is_immediate(other[0])

    def _cond(self, eqn: Any, ins: list[Value], at: _Place) -> list[Value]:
        """Every branch inlined with its weight, as ``branches`` says."""
        index, operands = ins[0], ins[1:]
        bodies = eqn.params["branches"]
        results, parts = [], []
        for body in bodies:
            mark = len(self.raw)
            results.append(self._body(body, operands, at))
            parts.append(self.raw[mark:])
            del self.raw[mark:]
        weights = self._weights(parts, results)
        for part, weight in zip(parts, weights, strict=True):
            if weight == 0:
                continue
            for r in part:
                r.times = (r.times * weight).expand() if weight != 1 else r.times
                r.bounded = r.bounded or self.branches in ("max", "min")
            self.raw += part
        outs = [Value(self.array(v)) for v in eqn.outvars]
        for i, out in enumerate(outs):
            taken = [r[i] for r, weight in zip(results, weights, strict=True) if weight != 0]
            self._emit("branch_result", {}, [index, *taken], [out], at)
        return outs

    def _weights(self, parts: Sequence[list[Raw]], results: Sequence[list[Value]]) -> list[Expr]:
        """How often each branch counts; they sum to one."""
        count = len(parts)
        if self.branches == "mean":
            return [Rational(1, count)] * count
        if self.branches == "symbol":
            taken = [self._run_time_symbol("taken", 0, 1) for _ in range(count - 1)]
            first = (ONE - Add(*taken)).expand()
            if len(taken) > 1:
                self.relations.append(Relation(f"{' + '.join(map(str, taken))} <= 1", first))
            return [first, *taken]
        domain = self.complete_domain(dimensions([r for p in parts for r in p], ()))
        costs = [branch_operations(part, result, self.carried, domain, self.unknown)
                 for part, result in zip(parts, results, strict=True)]
        return extreme_weights(costs, domain, dearest=self.branches == "max")

    def _shard_map(self, eqn: Any, ins: list[Value], at: _Place) -> list[Value]:
        """The per-device body, once for every device of the mesh: costs are totals over the devices."""
        mesh, body = eqn.params["mesh"], eqn.params["jaxpr"]
        jaxpr = getattr(body, "jaxpr", body)
        outer, self._axes = self._axes, {**self._axes, **{str(k): int(v) for k, v in dict(mesh.shape).items()}}
        inside = at.repeated(Integer(int(mesh.size)))
        local = [Value(self.array(v)) for v in jaxpr.invars]
        for whole, shard in zip(ins, local, strict=True):
            self._emit("shard_view", {}, [whole], [shard], inside)
        results = self._body(body, local, inside)
        self._axes = outer
        outs = [Value(self.array(v)) for v in eqn.outvars]
        for shard, whole in zip(results, outs, strict=True):
            self._emit("shard_view", {}, [shard], [whole], inside)
        return outs

    def _call_hi_primitive(self, eqn: Any, ins: list[Value], at: _Place) -> list[Value]:
        """What a high-level primitive (``nonzero``, ``searchsorted``) lowers to."""
        return self._body(compat.expand_high_level(eqn), ins, at)

    def _custom_linear_solve(self, eqn: Any, ins: list[Value], at: _Place) -> list[Value]:
        """The user's ``solve`` on its constants and the right-hand side; the other functions serve derivatives only."""
        lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
        before = lengths.matvec + lengths.vecmat
        total = before + lengths.solve + lengths.transpose_solve
        return self._body(jaxprs.solve, [*ins[before:before + lengths.solve], *ins[total:]], at)


def _joined(scopes: list[str], more: list[str]) -> list[str]:
    """Scopes on both sides of a transformation; one that starts again at the same module replaces what was before it."""
    return more if scopes and more[:1] == scopes[:1] else scopes + more
