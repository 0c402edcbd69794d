"""Laws of random programs: substituting into closed forms equals a concrete trace, jit changes nothing, and composition adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jax import lax

import costmodel as cm

METRICS = ("macs", "flops", "ops", "transcendentals")
FORMS = ("unfused", "compulsory")

# A program is a tuple of steps; a step is a name, or a name with the programs inside it. Every step uses all of its input's rank
# or passes the array on, so that each sequence of names is a program.
KEEPS_SHAPE: dict[str, Callable[[Any], Any]] = {
    "sin": jnp.sin,
    "negate": lambda x: -x,
    "twice": lambda x: x + x,
    "scale": lambda x: x * 3.0 - 1.0,
    "cube": lambda x: x**3,
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "softmax": lambda x: jax.nn.softmax(x, axis=-1) if x.ndim else x,
    "normalise": lambda x: x - x.mean(axis=0, keepdims=True) if x.ndim else x,
    "cumulate": lambda x: jnp.cumsum(x, axis=0) if x.ndim else x,
    "sort": lambda x: jnp.sort(x, axis=-1) if x.ndim else x,
    "reverse": lambda x: lax.rev(x, (0,)) if x.ndim else x,
    "mask": lambda x: jnp.where(x > 0.5, x, 0.0),
    "gram": lambda x: (x @ x.T) @ x if x.ndim == 2 else x,
    "scale rows": lambda x: x * jnp.arange(x.shape[0], dtype=x.dtype).reshape((-1,) + (1,) * (x.ndim - 1)) if x.ndim else x,
}
CHANGES_SHAPE: dict[str, Callable[[Any], Any]] = {
    "transpose": jnp.transpose,
    "outer dot": lambda x: x @ x.T if x.ndim == 2 else x,
    "inner dot": lambda x: x.T @ x if x.ndim == 2 else x,
    "project": lambda x: x @ jnp.ones((x.shape[-1], 5)) if x.ndim else x,
    "batched dot": lambda x: jnp.einsum("abc,adc->abd", x, x) if x.ndim == 3 else x,
    "sum": lambda x: x.sum(axis=0) if x.ndim else x,
    "largest": lambda x: x.max(axis=-1, keepdims=True) if x.ndim else x,
    "mean": lambda x: x.mean(axis=-1) if x.ndim else x,
    "merge": lambda x: x.reshape(-1),
    "expand": lambda x: x[None] if x.ndim < 3 else x,
    "double": lambda x: jnp.concatenate([x, x], axis=0) if x.ndim else x,
    "stack": lambda x: jnp.stack([x, x], axis=-1) if x.ndim < 3 else x,
    "pad": lambda x: jnp.pad(x, [(1, 2)] + [(0, 0)] * (x.ndim - 1)) if x.ndim else x,
    "all but first": lambda x: jnp.concatenate([x, x], axis=0)[1:] if x.ndim else x,
    "first": lambda x: x[0] if x.ndim and str(x.shape[0]) != "1" else x,  # jax takes the only row by a view, or not
    "every second": lambda x: x[::2] if x.ndim else x,
}
SAME: dict[str, Callable[[Any, Any], Any]] = {
    # Around a program that keeps its input's shape.
    "scan": lambda run, x: lax.scan(lambda c, _: (run(c), None), x, length=3)[0],
    "scan over rows": lambda run, x: lax.scan(lambda c, row: (c + row.sum(), run(row)), 0.0, x)[1] if x.ndim else x,
    "repeat": lambda run, x: lax.fori_loop(0, 4, lambda i, c: run(c), x),
    "branch": lambda run, x: lax.cond(x.sum() > 0, run, lambda x: x, x),
}
ANY: dict[str, Callable[[Any, Any], Any]] = {
    "jit": lambda run, x: jax.jit(run)(x),
    "checkpoint": lambda run, x: jax.checkpoint(run)(x),
    "map": lambda run, x: jax.vmap(run)(x) if x.ndim else run(x),
    "gradient": lambda run, x: jax.grad(lambda x: (run(x) ** 2).sum())(x),
}


def run(program: Sequence[Any]) -> Callable[[Any], Any]:
    """The function of one array that a program stands for."""
    def function(x: Any) -> Any:
        for step in program:
            if isinstance(step, str):
                x = (KEEPS_SHAPE | CHANGES_SHAPE)[step](x)
            else:
                name, inside = step
                x = (SAME | ANY)[name](run(inside), x)
        return x
    return function


def _programs(steps: st.SearchStrategy[Any], length: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(steps, min_size=1, max_size=length).map(tuple)


def _nested(leaves: dict[str, Any], wrappers: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Steps, some with programs of such steps inside."""
    return st.recursive(st.sampled_from(sorted(leaves)),
                        lambda inner: st.tuples(st.sampled_from(sorted(wrappers)), _programs(inner, 3)), max_leaves=4)


KEEPING = _nested(KEEPS_SHAPE, SAME | {"jit": ANY["jit"], "checkpoint": ANY["checkpoint"]})
STEPS = st.one_of(KEEPING, st.sampled_from(sorted(CHANGES_SHAPE)), _nested(KEEPS_SHAPE | CHANGES_SHAPE, ANY))
PROGRAMS = _programs(STEPS, 5)

N, M = cm.dims("n m", min=4)
SIZES = st.tuples(st.integers(4, 9), st.integers(4, 9))
BRIEF = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def analyzed(function: Any) -> Any:
    """Its cost on [n, m]; a program whose shapes jax cannot decide (a slice of a slice, merged) is no example."""
    try:
        return cm.analyze(function, cm.spec((N, M)), fit="never")
    except cm.TraceError as error:
        assume("nconclusive" not in str(error))
        raise


def prices(cost: Any) -> dict[str, Any]:
    return {name: cost.metric(name) for name in METRICS}


@BRIEF
@given(PROGRAMS, SIZES)
def test_substituting_into_the_closed_form_equals_a_concrete_trace(program, sizes):
    n, m = sizes
    symbolic = analyzed(run(program))
    point = {name: value for name, value in (("n", n), ("m", m)) if name in symbolic.symbols}
    concrete = cm.analyze(run(program), cm.spec((n, m)))
    assert prices(symbolic.at(**point)) == prices(concrete.at())
    for form in FORMS:
        assert symbolic.at(**point).bytes(form) == concrete.at().bytes(form)
    symbolic.verify(**point)


@pytest.mark.parametrize("step", [*KEEPS_SHAPE, *CHANGES_SHAPE])
def test_a_gradient_moves_the_bytes_that_its_concrete_trace_moves(step):
    program = (("gradient", (step,)),)
    symbolic, concrete = analyzed(run(program)), cm.analyze(run(program), cm.spec((5, 7)))
    at = symbolic.at(**{name: value for name, value in (("n", 5), ("m", 7)) if name in symbolic.symbols})
    assert at.bytes("compulsory") == concrete.at().bytes("compulsory")
    assert at.bytes("unfused") == concrete.at().bytes("unfused")


@BRIEF
@given(PROGRAMS)
def test_jit_changes_nothing(program):
    plain, jitted = (analyzed(f) for f in (run(program), jax.jit(run(program))))
    assert prices(plain) == prices(jitted)
    assert [plain.bytes(f) for f in FORMS] == [jitted.bytes(f) for f in FORMS]


@BRIEF
@given(PROGRAMS, PROGRAMS)
def test_composition_adds(first, second):
    both = analyzed(run((*first, *second)))
    one = analyzed(run(first))
    (result,) = jax.tree.leaves(jax.eval_shape(run(first), cm.spec((N, M))))
    two = cm.analyze(run(second), result)
    for name in METRICS:
        assert (both.metric(name) - one.metric(name) - two.metric(name)).expand() == 0


@BRIEF
@given(_programs(KEEPING, 3), st.integers(1, 6))
def test_a_scan_is_its_length_times_its_body(program, length):
    body = analyzed(run(program))
    scanned = analyzed(lambda x: lax.scan(lambda c, _: (run(program)(c), None), x, length=length)[0])
    assert prices(scanned) == {name: (length * value).expand() for name, value in prices(body).items()}


@BRIEF
@given(PROGRAMS)
def test_rows_of_every_table_add_up(program):
    cost = analyzed(run(program))
    total = cost.program.sum(lambda e: e.work.count(lambda _: True))
    by_primitive = cost.program.group_by(lambda e: e.primitive)
    assert (sum(t.sum(lambda e: e.work.count(lambda _: True)) for t in by_primitive.values()) - total).expand() == 0
    assert all(e.status != "unknown" for e in cost.program)
