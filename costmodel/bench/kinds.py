"""The kernels of a program, each compiled and timed alone, together by kind: which kinds a prediction is right or wrong about.

A kernel is a plan's: its equations are bound to fresh arguments in the shapes of what it reads. Equal ones are timed once. What a
call from Python takes is measured on an empty program and subtracted.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from costmodel import _jax_compat as compat
from costmodel.bench.calls import drawn, time_calls
from costmodel.fusion import Kernel, plan
from costmodel.program.inline import inline
from costmodel.program.raw import Raw
from costmodel.program.table import with_equations
from costmodel.rules.work import Value

if TYPE_CHECKING:
    from costmodel.cost import Cost

REPEAT, WARMUP = 7, 2


@dataclass(frozen=True)
class KindTime:
    """Kernels of one kind: how many the program runs, and seconds of all their runs, measured one by one. ``failed``: runs of
    kernels that cannot run alone (their loop or their random key is missing), of which nothing is known."""

    kind: str
    kernels: int
    seconds: float
    failed: int


def alone(cost: Cost, values: Mapping[str, int], policy: str, repeat: int = REPEAT) -> tuple[KindTime, ...]:
    """Time each kernel of a policy at a point, longest kind first."""
    assert cost.request is not None
    traced = cost.request.at(cost.domain, cost.domain.bind(values)).run()
    program = inline(traced)
    table, _, raws = with_equations(program)
    known, primitives = {**program.literals, **dict.fromkeys(program.zeros, 0.0)}, dict(_primitives(traced.jaxpr.jaxpr))
    call = _least(lambda x: (x + 1,), [jax.numpy.ones(8)], repeat)
    seconds: dict[tuple[Any, ...], float | None] = {}
    found: dict[str, list[tuple[int, float | None]]] = {}
    for kernel in plan(table, policy):
        own = [raws[e.index] for e in sorted((*kernel.equations, *kernel.again), key=lambda e: e.index)]
        key = _signature(own)
        if key not in seconds:
            seconds[key] = _timed(kernel, own, known, primitives, call, repeat)
        found.setdefault(kernel.kind, []).append((int(kernel.times), seconds[key]))
    rows = [KindTime(kind, sum(times for times, _ in each), sum(times * s for times, s in each if s is not None),
                     sum(times for times, s in each if s is None)) for kind, each in found.items()]
    return tuple(sorted(rows, key=lambda row: -row.seconds))


def _signature(equations: Sequence[Raw]) -> tuple[Any, ...]:
    """The same for kernels that do the same on arrays of the same shapes."""
    places: dict[Value, int] = {}
    return tuple((r.primitive, tuple((places.setdefault(v, len(places)), v.array.shape, v.array.dtype) for v in (*r.ins, *r.outs)),
                  str({key: value for key, value in r.params.items() if key != "jaxpr"})) for r in equations)


def _primitives(jaxpr: Any) -> Iterator[tuple[str, Any]]:
    """Every primitive of a program by name, those inside its calls and loops too."""
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name, eqn.primitive
        for value in eqn.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    yield from _primitives(getattr(inner, "jaxpr", inner))


def _timed(kernel: Kernel, equations: Sequence[Raw], known: Mapping[Value, float | complex], primitives: Mapping[str, Any],
           call: float, repeat: int) -> float | None:
    """Seconds of one run; None where it cannot run alone."""
    made = {v for r in equations for v in r.outs}
    free = list(dict.fromkeys(v for r in equations for v in r.ins if v not in made))
    if any(r.primitive not in primitives or r.function or r.effects for r in equations):
        return None
    if any("key<" in v.array.dtype for v in free):
        return None
    scalars = {v: np.asarray(known[v], v.array.dtype) for v in free if v in known and not v.array.shape}
    arguments = [v for v in free if v not in scalars]
    results = [v for v, _ in kernel.writes if v in made] or list(equations[-1].outs)

    def run(*given: Any) -> tuple[Any, ...]:
        env: dict[Value, Any] = {**scalars, **dict(zip(arguments, given, strict=True))}
        for r in equations:
            params = {name: value for name, value in r.params.items() if name != "axis_sizes"}  # which the walk added
            outs = compat.bind(primitives[r.primitive], [env[v] for v in r.ins], params)
            env.update(zip(r.outs, outs, strict=True))
        return tuple(env[v] for v in results)

    draw = np.random.default_rng(0)
    given = [drawn(v.origin, jax.ShapeDtypeStruct(tuple(map(int, v.array.shape)), v.array.dtype), draw) for v in arguments]
    return max(0.0, _least(run, given, repeat) - call)


def _least(run: Any, arguments: Sequence[Any], repeat: int) -> float:
    compiled = jax.jit(run).lower(*arguments).compile()
    return statistics.median(time_calls(compiled, arguments, repeat, WARMUP))
