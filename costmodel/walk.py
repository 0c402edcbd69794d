"""From a traced jaxpr to a table of costed equations: the only file that knows jax's calls and control flow.

Calls (jit, remat, custom derivatives) are inlined, so that a value has one identity from where it is made to where it is used;
then equations whose results nobody uses are removed, and what is left is costed by the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from costmodel import _jax_compat as compat
from costmodel.dims import Domain, internal
from costmodel.errors import CostModelError, UnknownPrimitive
from costmodel.forms import ONE, ZERO, Expr
from costmodel.rules import Eqn, lookup
from costmodel.trace import Traced
from costmodel.work import BITS, Array, CostTable, Equation, Value, Work

# Calls that run their body once, and the parameter that holds it.
CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "call": "call_jaxpr",
    "remat2": "jaxpr", "remat": "jaxpr", "checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr", "custom_lin": "call_jaxpr", "eval_jaxpr": "jaxpr",
}

# Scopes that jax itself opens; they name no module.
_JAX_SCOPES = frozenset({"checkpoint", "rematted_computation", "remat", "closed_call", "core_call", "jit", "pjit"})


@dataclass(eq=False)
class _Raw:
    """An inlined equation before it is costed; ``eqn`` keeps jax's parameters."""

    eqn: Any
    ins: tuple[Value, ...]
    outs: tuple[Value, ...]
    path: tuple[str, ...]
    phase: str
    times: Expr


def walk(traced: Traced, *, unknown: str = "error") -> tuple[CostTable, Domain]:
    """The cost table of a traced program and the domain of its symbols.

    unknown: "error" raises UnknownPrimitive at the first equation without a rule; "warn" leaves it in the table with the status
    ``unknown`` and no work, for ``coverage`` to report.
    """
    arrays = _Arrays()
    jaxpr = traced.jaxpr.jaxpr
    env: dict[Any, Value] = {}
    for var, const in zip(jaxpr.constvars, traced.jaxpr.consts, strict=True):
        env[var] = Value(arrays(np.shape(const), const.dtype), "literal")
    for var, leaf in zip(jaxpr.invars, traced.leaves, strict=True):
        env[var] = Value(arrays.of(var), leaf.role, leaf.name)
    inputs = tuple(env[v] for v in jaxpr.invars)
    raw: list[_Raw] = []
    _inline(jaxpr, env, (), "", ONE, raw, arrays, traced.root)
    outputs = tuple(_read(v, env, arrays) for v in jaxpr.outvars)
    alive, dead = _remove_dead(raw, outputs)
    # A symbol may first show in a result's shape: a stride, a padding.
    domain = Domain.of(*{d for v in (*inputs, *(o for r in alive for o in r.outs)) for d in v.array.shape})
    constants = _shape_constants(alive)
    equations = tuple(_cost(i, r, domain, unknown, constants) for i, r in enumerate(alive))
    return CostTable(equations, inputs, outputs, tuple(sorted(Counter(r.eqn.primitive.name for r in dead).items()))), domain


class _Arrays:
    """jax avals to :class:`Array`, each once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Array]] = {}

    def of(self, var: Any) -> Array:
        aval = var.aval
        found = self._known.get(id(aval))
        if found is None:
            if not hasattr(aval, "shape"):
                raise CostModelError(f"a value of type {aval} has no shape that could be costed")
            found = (aval, self(aval.shape, aval.dtype))
            self._known[id(aval)] = found
        return found[1]

    def __call__(self, shape: Iterable[Any], dtype: Any) -> Array:
        name = str(dtype)
        if name not in BITS:
            raise CostModelError(f"dtype {name} is unknown; its width in bits belongs into costmodel.work.BITS")
        return Array(tuple(map(internal, shape)), name)


def _read(atom: Any, env: Mapping[Any, Value], arrays: _Arrays) -> Value:
    return Value(arrays.of(atom), "literal") if compat.is_literal(atom) else env[atom]


def _inline(jaxpr: Any, env: dict[Any, Value], path: tuple[str, ...], phase: str, times: Expr, raw: list[_Raw],
            arrays: _Arrays, root: str) -> None:
    for eqn in jaxpr.eqns:
        inner_path, inner_phase = _place(eqn, path, phase, root)
        ins = tuple(_read(v, env, arrays) for v in eqn.invars)
        body_name = CALLS.get(eqn.primitive.name)
        if body_name is not None and body_name in eqn.params:
            body = eqn.params[body_name]
            consts = getattr(body, "consts", ())
            body = getattr(body, "jaxpr", body)
            inner: dict[Any, Value] = {v: Value(arrays.of(v), "literal") for v, _ in zip(body.constvars, consts, strict=False)}
            inner.update(zip(body.invars, ins[len(ins) - len(body.invars):], strict=True))
            _inline(body, inner, inner_path, inner_phase, times, raw, arrays, root)
            env.update((o, _read(v, inner, arrays)) for o, v in zip(eqn.outvars, body.outvars, strict=True))
            continue
        outs = tuple(Value(arrays.of(v)) for v in eqn.outvars)
        env.update(zip(eqn.outvars, outs, strict=True))
        raw.append(_Raw(eqn, ins, outs, inner_path, inner_phase, times))


def _place(eqn: Any, path: tuple[str, ...], phase: str, root: str) -> tuple[tuple[str, ...], str]:
    """Module path and phase of an equation: name-stack scopes below the root module; a transposition is the backward pass."""
    scopes: list[str] = []
    for name, is_transform in compat.name_stack(eqn):
        if is_transform:
            phase = "backward" if name == "transpose" else phase
            continue
        scopes += [part for part in name.split("/") if part and part not in _JAX_SCOPES]
    if root and scopes and scopes[0].split(".")[0] == root:
        scopes = scopes[1:]
    # Linen names the method after the module when it is not __call__: "encoder.attend".
    return (*path, *(s.split(".")[0] for s in scopes)), phase


def _remove_dead(raw: list[_Raw], outputs: tuple[Value, ...]) -> tuple[list[_Raw], list[_Raw]]:
    """(alive, dead): an equation is alive if it has an effect or some alive one, or the program's result, uses what it makes."""
    needed = {id(v) for v in outputs}
    alive, dead = [], []
    for r in reversed(raw):
        if r.eqn.effects or any(id(v) in needed for v in r.outs):
            needed.update(id(v) for v in r.ins)
            alive.append(r)
        else:
            dead.append(r)
    return alive[::-1], dead[::-1]


def _shape_constants(raw: list[_Raw]) -> set[int]:
    """Equations (by id) that only compute with scalars known when the program is compiled: the number of elements in a mean,
    say, which a concrete trace folds into a literal. Counting them would make symbolic and concrete results differ."""
    constant: set[int] = set()
    known: set[int] = set()
    for r in raw:
        scalars = all(v.origin == "literal" and not v.array.shape or id(v) in known for v in r.ins)
        if scalars and not r.eqn.effects and all(not v.array.shape for v in r.outs):
            constant.add(id(r))
            known.update(id(v) for v in r.outs)
    return constant


def _cost(index: int, r: _Raw, domain: Domain, unknown: str, constants: set[int]) -> Equation:
    name = r.eqn.primitive.name
    if id(r) in constants:
        nothing = Work((), (ZERO,) * len(r.ins), (ZERO,) * len(r.outs))
        return Equation(index, name, r.path, r.phase, r.times, r.ins, r.outs, nothing, _detail(r.eqn), "shape constant", "free")
    view = Eqn(name, tuple(v.array for v in r.ins), tuple(v.array for v in r.outs), domain.assumptions)
    found = lookup(name)
    if found is None:
        if unknown != "warn":
            raise UnknownPrimitive(_unknown_message(r, view))
        work, rule_name, status = Work((), (), ()), "", "unknown"
    else:
        work, rule_name, status = found.function(view, **r.eqn.params), found.name, found.status
        if len(work.read) != len(r.ins) or len(work.written) != len(r.outs):
            raise CostModelError(f"rule {found.name} of primitive {name!r} states {len(work.read)} reads and {len(work.written)} "
                                 f"writes for {len(r.ins)} operands and {len(r.outs)} results")
        # A literal is part of the program text: it is not read from memory.
        if any(v.origin == "literal" and not v.array.shape for v in r.ins):
            reads = tuple(ZERO if v.origin == "literal" and not v.array.shape else e
                          for v, e in zip(r.ins, work.read, strict=True))
            work = Work(work.ops, reads, work.written)
    return Equation(index, name, r.path, r.phase, r.times, r.ins, r.outs, work, _detail(r.eqn), rule_name, status)


def _unknown_message(r: _Raw, view: Eqn) -> str:
    where = "/".join(r.path) or "the top level"
    shapes = ", ".join(map(str, view.ins))
    name = r.eqn.primitive.name
    return (f"primitive {name!r} at {where} on ({shapes}) has no cost rule; register one with "
            f"@costmodel.rules.rule({name!r}), or pass unknown=\"warn\" to leave it out and be told")


# Parameters worth showing when an equation is explained; the rest is plumbing.
_SHOWN = ("dimension_numbers", "window_strides", "padding", "lhs_dilation", "rhs_dilation", "feature_group_count",
          "batch_group_count", "window_dimensions", "axes", "dimension", "y", "precision", "permutation", "new_sizes")


def _detail(eqn: Any) -> str:
    shown = []
    for key in _SHOWN:
        value = eqn.params.get(key)
        if value is None or (key in ("feature_group_count", "batch_group_count") and str(value) == "1"):
            continue
        if key.endswith("dilation") and all(str(v) == "1" for v in value):
            continue
        if key == "dimension_numbers" and hasattr(value, "lhs_spec"):
            continue
        shown.append(f"{key}={value}".replace(" ", ""))
    return " ".join(shown)
