"""A traced program at a point: the same jaxpr with integers for its dimensions, its calls inlined, and each operation marked with
the trail of the equation that it stems from, so that what a compiler makes of it can be traced back.

Scans become ``while`` loops with a slice read and a slice written for each array that goes by; the marks say which (see
:class:`Mark`). Explicit axes become constraints: each value keeps the sharding that jax gave it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from costmodel import _jax_compat as compat
from costmodel.program.inliner import BODIES, CALLS
from costmodel.symbolic.forms import evaluate
from costmodel.symbolic.translate import internal

# A scope of this name, =, and a mark is around the operations that the mark is of.
MARK = "costmodel"
Trail = tuple[int, ...]


def mark(trail: Trail, part: str = "", number: int = 0) -> str:
    """The mark of an equation's operations, or of a loop's ``read``, ``write`` or ``loop`` itself."""
    return ".".join(map(str, trail)) + (f":{part}{number}" if part else "")


def marked(name: str) -> Any:
    """While it lasts, what is traced has this mark. Metadata for XLA would say so, too, but jax lowers an equation once for all
    that are equal with their metadata, and names of scopes are not among that."""
    return jax.named_scope(f"{MARK}={name}")


class Concrete:
    """Evaluates a jaxpr with integers for its symbols, on tracers.

    env:  values of the internal symbols.
    mesh: jax's mesh whose axes are used, in place of those that the program names.
    """

    def __init__(self, env: Mapping[Any, int], mesh: Any) -> None:
        self.env, self.mesh = env, mesh
        self._trail: Trail = ()
        self._bodies = 0
        self._manual = 0  # shard_maps around
        self._avals: dict[int, tuple[Any, Any]] = {}

    def size(self, dim: Any) -> Any:
        """A parameter with integers for the dimensions in it."""
        if compat.is_symbolic(dim):
            return int(evaluate(internal(dim), self.env))
        if isinstance(dim, tuple):
            made = [self.size(d) for d in dim]
            return type(dim)(*made) if hasattr(dim, "_fields") else tuple(made)
        if isinstance(dim, list):
            return [self.size(d) for d in dim]
        return dim

    def body(self, body: Any, args: Sequence[Any], constants: Sequence[Any] = ()) -> list[Any]:
        """A (closed) jaxpr on these operands, the last ones if there are more: its results."""
        jaxpr = getattr(body, "jaxpr", body)
        env: dict[Any, Any] = dict(zip(jaxpr.constvars, getattr(body, "consts", constants), strict=False))
        env.update(zip(jaxpr.invars, args[len(args) - len(jaxpr.invars):], strict=True))

        def read(atom: Any) -> Any:
            return atom.val if compat.is_literal(atom) else env[atom]

        around = self._trail, self._bodies
        for k, eqn in enumerate(jaxpr.eqns):
            self._trail, self._bodies = (*around[0], around[1], k), 0
            outs = self._equation(eqn, [read(v) for v in eqn.invars])
            env.update(zip(eqn.outvars, map(self._placed, outs, eqn.outvars), strict=True))
        self._trail, self._bodies = around[0], around[1] + 1
        return [read(v) for v in jaxpr.outvars]

    def _placed(self, value: Any, var: Any) -> Any:
        """A value with the sharding that jax's type system gave it, on Explicit axes."""
        spec = explicit_spec(var.aval)
        return value if spec is None else self.constrained(value, spec)

    def constrained(self, value: Any, spec: Any) -> Any:
        """A value that is to be sharded so."""
        return lax.with_sharding_constraint(value, NamedSharding(self.mesh, spec))

    # -- equations -------------------------------------------------------------------------------------------------------------

    def _equation(self, eqn: Any, ins: list[Any]) -> list[Any]:
        name, params = eqn.primitive.name, eqn.params
        special = _SPECIAL.get(name)
        if special is not None:
            return special(self, eqn, ins)
        if name in CALLS:
            found = next((params[key] for key in BODIES if key in params), None)
            if found is not None:
                return self._call(found, params, ins)
        at_point = {k: self._parameter(k, v) for k, v in params.items()}
        with marked(mark(self._trail)):
            outs = None if self._manual else compat.staged(eqn, ins, at_point, self._aval)
            return compat.bind(eqn.primitive, ins, at_point) if outs is None else outs

    def _aval(self, aval: Any) -> Any:
        """An abstract value with integers for its dimensions; None for one that states how it is sharded."""
        # By id, beside what has it: hashes of symbolic dimensions are slow.
        found = self._avals.get(id(aval))
        if found is None:
            made = None if explicit_spec(aval) is not None else compat.array_at(aval, self.size)
            found = self._avals[id(aval)] = (aval, made)
        return found[1]

    def _parameter(self, name: str, value: Any) -> Any:
        return None if name in ("out_sharding", "sharding") and isinstance(value, NamedSharding) else self.size(value)

    def _call(self, body: Any, params: Mapping[str, Any], ins: list[Any]) -> list[Any]:
        """A call inlined, with the shardings that a jitted function states for its operands and results."""
        stated = params.get("in_shardings", ()), params.get("out_shardings", ())
        outs = self.body(body, self._stated(_apart(ins, params), stated[0]))
        return self._stated(outs, stated[1])

    def _stated(self, values: list[Any], shardings: Sequence[Any]) -> list[Any]:
        if len(shardings) != len(values):
            return values
        return [self.constrained(v, s.spec) if isinstance(s, NamedSharding) else v
                for v, s in zip(values, shardings, strict=True)]

    def _constraint(self, eqn: Any, ins: list[Any]) -> list[Any]:
        """``with_sharding_constraint``, and ``reshard`` on Explicit axes."""
        stated = eqn.params.get("sharding", eqn.params.get("dst_sharding"))
        spec = getattr(stated, "spec", None)
        if spec is None:
            return ins
        free = eqn.params.get("unconstrained_dims") or ()
        entries = (*spec, *(None,) * (ins[0].ndim - len(spec)))
        named = [PartitionSpec.UNCONSTRAINED if d in free else entry for d, entry in enumerate(entries)]
        with marked(mark(self._trail)):
            return [self.constrained(ins[0], PartitionSpec(*named))]

    def _dimension(self, eqn: Any, ins: list[Any]) -> list[Any]:
        dtype = eqn.outvars[0].aval.dtype
        # A number that the program computes with, not a size: a partitioner does not read it, and products of sizes outgrow it.
        return [jnp.asarray(min(self.size(eqn.params["dim"]), jnp.iinfo(dtype).max), dtype)]

    def _shard_map(self, eqn: Any, ins: list[Any]) -> list[Any]:
        params = eqn.params

        def body(*shards: Any) -> tuple[Any, ...]:
            self._manual += 1
            try:
                return tuple(self.body(params["jaxpr"], list(shards)))
            finally:
                self._manual -= 1

        mapped = jax.shard_map(body, mesh=self.mesh, in_specs=tuple(params["in_specs"]), out_specs=tuple(params["out_specs"]),
                               axis_names=frozenset(params["newly_manual_axes"]), check_vma=params["check_vma"])
        with marked(mark(self._trail, "shards")):
            return list(mapped(*ins))

    def _cond(self, eqn: Any, ins: list[Any]) -> list[Any]:
        branches = [self._branch(i, body) for i, body in enumerate(eqn.params["branches"])]
        with marked(mark(self._trail, "branches")):
            return list(lax.switch(ins[0], branches, *ins[1:]))

    def _branch(self, number: int, body: Any) -> Callable[..., tuple[Any, ...]]:
        trail = self._trail

        def run(*args: Any) -> tuple[Any, ...]:
            self._trail, self._bodies = trail, number
            return tuple(self.body(body, list(args)))

        return run

    def _while(self, eqn: Any, ins: list[Any]) -> list[Any]:
        params = eqn.params
        n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
        cond, body, start = ins[:n_cond], ins[n_cond:n_cond + n_body], ins[n_cond + n_body:]
        condition, step = self._branch(0, params["cond_jaxpr"]), self._branch(1, params["body_jaxpr"])
        with marked(mark(self._trail, "loop")):
            return list(lax.while_loop(lambda c: condition(*cond, *c)[0], lambda c: step(*body, *c), tuple(start)))

    def _scan(self, eqn: Any, ins: list[Any]) -> list[Any]:
        params, trail = eqn.params, self._trail
        n_consts, n_carry = compat.scan_layout(params)
        length = self.size(params["length"])
        consts, carry, stacked = ins[:n_consts], ins[n_consts:n_consts + n_carry], ins[n_consts + n_carry:]
        step = self._branch(0, params["jaxpr"])
        results = [self._placed(lax.full(self.size(v.aval.shape), 0, v.aval.dtype), v) for v in eqn.outvars[n_carry:]]

        def iteration(state: Any) -> Any:
            i, carry, results = state
            at = length - 1 - i if params["reverse"] else i
            pieces = [_slice_at(x, at, mark(trail, "read", k)) for k, x in enumerate(stacked)]
            made = step(*consts, *carry, *pieces)
            written = [_put_at(ys, y, at, mark(trail, "write", k))
                       for k, (ys, y) in enumerate(zip(results, made[n_carry:], strict=True))]
            return i + 1, tuple(made[:n_carry]), tuple(written)

        with marked(mark(trail, "loop")):
            _, carry, results = lax.while_loop(lambda s: s[0] < length, iteration, (jnp.int32(0), tuple(carry), tuple(results)))
        return [*carry, *results]


def _apart(ins: list[Any], params: Mapping[str, Any]) -> list[Any]:
    """Operands of what is computed again in a backward pass, behind the barrier that jax lowers it with: what was sent of them in
    the forward pass is not at hand there, and is sent again."""
    prevent = params.get("prevent_cse", False) if params.get("differentiated") else False
    behind = prevent if isinstance(prevent, tuple) else (prevent,) * len(ins)
    apart = iter(lax.optimization_barrier([x for x, each in zip(ins, behind, strict=True) if each]) if any(behind) else ())
    return [next(apart) if each else x for x, each in zip(ins, behind, strict=True)]


def _slice_at(x: Any, at: Any, name: str) -> Any:
    with marked(name):
        piece = lax.dynamic_slice(x, (at, *(jnp.int32(0),) * (x.ndim - 1)), (1, *x.shape[1:]))
        return lax.reshape(piece, x.shape[1:])


def _put_at(x: Any, piece: Any, at: Any, name: str) -> Any:
    with marked(name):
        return lax.dynamic_update_slice(x, lax.reshape(piece, (1, *piece.shape)), (at, *(jnp.int32(0),) * (x.ndim - 1)))


_SPECIAL: dict[str, Callable[[Concrete, Any, list[Any]], list[Any]]] = {
    "scan": Concrete._scan, "while": Concrete._while, "cond": Concrete._cond, "shard_map": Concrete._shard_map,
    "sharding_constraint": Concrete._constraint, "reshard": Concrete._constraint, "dim_as_value": Concrete._dimension,
}


def explicit_spec(aval: Any) -> PartitionSpec | None:
    """The partition that an abstract value states on Explicit axes, or None."""
    stated = compat.stated_sharding(aval)
    return None if stated is None else PartitionSpec(*stated.spec)
