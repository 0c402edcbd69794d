"""Inlines a jaxpr: every call's body stands where it is called, so that a value has one identity from where it is made to where it
is used. Control flow is left to handlers, one a primitive: see :mod:`costmodel.program.control_flow`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from sympy import Expr, Integer

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError
from costmodel.program.integers import integer_result
from costmodel.program.raw import Cond, Raw
from costmodel.program.scopes import Place
from costmodel.rules import lookup_function
from costmodel.rules.work import BITS, Array, Value
from costmodel.symbolic.domain import Domain, Variable
from costmodel.symbolic.forms import ONE, symbol
from costmodel.symbolic.translate import internal
from costmodel.trace.words import Origin

# Calls that run their body once, and the parameters that may hold it: the name differs between versions.
CALLS = frozenset({
    "jit", "pjit", "closed_call", "core_call", "call", "remat2", "remat", "checkpoint", "custom_jvp_call", "custom_vjp_call",
    "custom_vjp_call_jaxpr", "custom_lin", "eval_jaxpr", "custom_partitioning", "composite",
    "custom_vmap_call", "custom_jvp_call_jaxpr", "compute_on", "linear_call", "remat_opt", "xla_metadata_call", "program_order",
})
BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call", "callee", "fwd_jaxpr")

_NUMBERS = ("bool", "int", "uint", "float", "bfloat", "complex")

# What an operation's other operand may be without changing anything.
_NEUTRAL = {"mul": 1, "add": 0}


class Inliner:
    """Holds what grows while a jaxpr is inlined.

    root:      the name that the root module has in name stacks.
    handlers:  what inlines a control-flow primitive: ``handler(inliner, equation, operands, place)`` -> results.
    domain:    of the program's inputs; it may decide how often a loop runs.
    integers:  integer scalars that are known before the program runs; they may turn out to be a loop's bounds. In a loop, a formula
               in its iterations' symbol, too.
    ranges:    values that are an iota.
    iterations: for each loop around whose iterations have a symbol, how many are left after this one.
    mesh:      sizes of the axes of the meshes that its ``shard_map``s and shardings name.
    numbers:   how many loops, conds and run-time symbols there are; a program inside this one goes on from there.
    """

    def __init__(self, root: str, handlers: Mapping[str, Handler], numbers: Counter[str] | None = None) -> None:
        self.root, self.handlers = root, handlers
        self.domain = Domain()
        self.equations: list[Raw] = []
        self.carried: list[tuple[Value, Value]] = []
        self.conds: list[Cond] = []
        self.zeros: set[Value] = set()
        self.literals: dict[Value, float | complex] = {}
        self.integers: dict[Value, Expr] = {}
        self.iterations: list[Expr] = []
        self.run_time: list[Variable] = []
        self.numbers: Counter[str] = Counter() if numbers is None else numbers
        self.ranges: set[Value] = set()
        self.mesh: dict[str, int] = {}
        self._trail: tuple[int, ...] = ()
        self._bodies = 0  # of the equation at the end of the trail, so far
        self._arrays: dict[int, tuple[Any, Array]] = {}
        self._alike: dict[Array, Array] = {}  # a deep network has few different arrays: each is one object
        self._places: dict[tuple[Place, tuple[tuple[str, bool], ...]], Place] = {}

    # -- values ----------------------------------------------------------------------------------------------------------------

    def array(self, var: Any) -> Array:
        """The array that a jax variable or literal holds."""
        aval = var.aval
        # By id, beside what has it: comparing abstract values compares dimensions, for which jax may have to prove something.
        found = self._arrays.get(id(aval))
        if found is None:
            made = _array(aval)
            found = self._arrays[id(aval)] = (aval, self._alike.setdefault(made, made))
        return found[1]

    def constant(self, var: Any, value: Any = None) -> Value:
        """A literal, or a constant of a closed jaxpr."""
        made = Value(self.array(var), Origin.LITERAL)
        dtype = made.array.dtype
        if value is not None and np.ndim(value) == 0 and dtype != "float0" and dtype.startswith(_NUMBERS):
            self.literals[made] = complex(value) if dtype.startswith("complex") else float(value)
            if value == 0:
                self.zeros.add(made)
            if dtype.startswith(("int", "uint")):
                self.integers[made] = Integer(int(value))
        elif isinstance(value, np.ndarray | jax.Array) and value.ndim == 1 and dtype.startswith(("int", "uint")):
            if np.array_equal(value, np.arange(len(value))):
                self.ranges.add(made)
        return made

    def read(self, atom: Any, env: Mapping[Any, Value]) -> Value:
        """The value that an atom of the jaxpr stands for."""
        return self.constant(atom, atom.val) if compat.is_literal(atom) else env[atom]

    # -- what handlers ask for -------------------------------------------------------------------------------------------------

    def number(self, kind: str) -> int:
        """The next number, from 0, of loops, conds or run-time symbols."""
        self.numbers[kind] += 1
        return self.numbers[kind] - 1

    def run_time_symbol(self, kind: str) -> Expr:
        """A fresh symbol ``kind_k`` for a number of at least 0 that the data decides."""
        name = f"{kind}_{self.number(kind)}"
        self.run_time.append(Variable(name, name, ONE, 0))
        return symbol(name)

    def on(self, mesh: Any) -> dict[str, int]:
        """The axes of a mesh, which becomes the program's. Raises CostModelError for a second one."""
        axes = {str(name): int(size) for name, size in dict(mesh.shape).items()}
        clash = sorted(name for name, size in axes.items() if self.mesh.setdefault(name, size) != size)
        if clash:
            raise CostModelError(f"the axis {clash[0]} has {self.mesh[clash[0]]} devices in one place of the program and "
                                 f"{axes[clash[0]]} in another: use one mesh")
        return axes

    def emit(self, primitive: str, params: Mapping[str, Any], ins: Sequence[Value], outs: Sequence[Value], at: Place,
             effects: bool = False, source: Any = None) -> None:
        """Append an equation at a place of the program."""
        self.equations.append(Raw(primitive, params, tuple(ins), tuple(outs), at.path, at.phase, at.times, effects or at.decides,
                                  bounded=at.bounded, counter=at.counter, loops=at.loops, branch=at.branch, source=source,
                                  transposes=at.transposes, trail=self._trail))

    def derive(self, primitive: str, ins: Sequence[Value], var: Any, at: Place, **params: Any) -> Value:
        """The result of an equation of our own, which has the array of ``var``."""
        out = Value(self.array(var))
        self.emit(primitive, params, ins, [out], at)
        return out

    def body(self, body: Any, ins: Sequence[Value], at: Place, constants: Sequence[Value] = ()) -> list[Value]:
        """Inline a (closed) jaxpr on these operands, the last ones if there are more; returns its results. ``constants`` are those
        of one that is not closed."""
        jaxpr = getattr(body, "jaxpr", body)
        env: dict[Any, Value] = dict(zip(jaxpr.constvars, constants, strict=False))
        for var, const in zip(jaxpr.constvars, getattr(body, "consts", ()), strict=False):
            env[var] = self.constant(var, const)
        env.update(zip(jaxpr.invars, ins[len(ins) - len(jaxpr.invars):], strict=True))
        around = self._trail, self._bodies
        for k, eqn in enumerate(jaxpr.eqns):
            self._trail, self._bodies = (*around[0], around[1], k), 0
            outs = self._equation(eqn, [self.read(v, env) for v in eqn.invars], self._place(eqn, at))
            env.update(zip(eqn.outvars, outs, strict=True))
        self._trail, self._bodies = around[0], around[1] + 1
        return [self.read(v, env) for v in jaxpr.outvars]

    # -- equations -------------------------------------------------------------------------------------------------------------

    def _place(self, eqn: Any, at: Place) -> Place:
        stack = compat.name_stack(eqn)
        if not stack:
            return at
        found = self._places.get((at, stack))
        if found is None:
            found = self._places[at, stack] = at.within(stack, self.root)
        return found

    def _equation(self, eqn: Any, ins: list[Value], at: Place) -> list[Value]:
        """Inline one equation; returns its results."""
        name, params = eqn.primitive.name, eqn.params
        for sharding in compat.shardings_in(params):
            self.on(sharding.mesh)
        if name in self.handlers:
            return self.handlers[name](self, eqn, ins, at)
        if name in CALLS:
            if "name" in params and lookup_function(str(params["name"])) is not None:
                outs = self.plain(str(params["name"]), params, eqn, ins, at)
                self.equations[-1] = replace(self.equations[-1], function=True)
                return outs
            body = next((params[key] for key in BODIES if key in params), None)
            if body is not None:
                return self.body(body, ins, at)
        if name in _NEUTRAL and (same := self._unchanged_range(eqn, ins)) is not None:
            return [same]
        outs = self.plain(name, {**params, "axis_sizes": at.axes} if "axes" in params or "axis_name" in params else params,
                           eqn, ins, at)
        value = integer_result(eqn, [self.integers.get(v) for v in ins])
        if value is not None:
            self.integers[outs[0]] = value
        if name == "iota":
            self.ranges.add(outs[0])
        return outs

    def plain(self, name: str, params: Mapping[str, Any], eqn: Any, ins: list[Value], at: Place) -> list[Value]:
        """An equation that a rule will cost as a whole."""
        outs = [Value(self.array(v)) for v in eqn.outvars]
        self.emit(name, params, ins, outs, at, bool(eqn.effects), compat.source(eqn))
        return outs

    def _unchanged_range(self, eqn: Any, ins: Sequence[Value]) -> Value | None:
        """The iota that this equation leaves as it is: jax's ``arange`` is 0 + 1·iota where its length is symbolic, and iota alone
        where it is not."""
        neutral = _NEUTRAL[eqn.primitive.name]
        if not any(compat.is_literal(v) and np.ndim(v.val) == 0 and v.val == neutral for v in eqn.invars):
            return None
        return next((v for v in ins if v in self.ranges), None)


Handler = Callable[[Inliner, Any, list[Value], Place], list[Value]]


def _array(aval: Any) -> Array:
    """Shape and dtype of an abstract value. Raises CostModelError for a dtype of unknown width."""
    shaped = getattr(aval, "inner_aval", aval)  # a mutable reference has the shape of what it holds
    shape, kind = getattr(shaped, "shape", ()), getattr(shaped, "dtype", jax.dtypes.float0)
    dtype = "float0" if kind == jax.dtypes.float0 else str(kind)
    if dtype not in BITS:
        raise CostModelError(f"dtype {dtype} is unknown; its width in bits belongs into costmodel.rules.work.BITS")
    return Array(tuple(map(internal, shape)), dtype)
