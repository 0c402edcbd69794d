"""Analysing in one thread changes nothing for another: its parameters, its NNX calls, and what jax and flax are afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax._src.nn import initializers

import costmodel as cm
from costmodel import _jax_compat as compat
from costmodel._jax_compat import name_stack

WIDTH = 400  # lecun_normal's standard deviation is 1/sqrt(400) = 0.05 there, of a fan of 1 it would be 1


class LinenNet(nn.Module):
    width: Any
    meet: Callable[[], Any] = lambda: None

    @nn.compact
    def __call__(self, x):
        self.meet()
        return nn.Dense(3)(nn.relu(nn.Dense(self.width)(x)))


class NnxNet(nnx.Module):
    def __init__(self, rows, width, rngs, meet=lambda: None):
        self.first, self.second, self.meet = nnx.Linear(rows, width, rngs=rngs), nnx.Linear(width, 3, rngs=rngs), meet

    def __call__(self, x):
        self.meet()
        return self.second(nnx.relu(self.first(x)))


def analysed_linen(meet: Callable[[], Any] = lambda: None) -> cm.Cost:
    n, d, a = cm.dims("n d a")
    return cm.analyze(LinenNet(a, meet), (n, d))


def analysed_nnx(meet: Callable[[], Any] = lambda: None) -> cm.Cost:
    n, d, a = cm.dims("n d a")
    return cm.analyze(cm.abstract(lambda: NnxNet(d, a, nnx.Rngs(0), meet)), (n, d))


def real_parameters(seed: int) -> list[jax.Array]:
    """Kernels that lecun_normal draws for WIDTH rows, by Linen and by NNX."""
    linen = nn.Dense(WIDTH).init(jax.random.key(seed), jnp.ones((1, WIDTH)))["params"]["kernel"]
    return [linen, nnx.Linear(WIDTH, WIDTH, rngs=nnx.Rngs(seed)).kernel[...]]


def real_scopes() -> set[tuple[Any, ...]]:
    """Name stacks of the equations of an NNX model that is traced by its user."""
    model = NnxNet(5, 7, nnx.Rngs(0))
    return {name_stack(e) for e in jax.make_jaxpr(lambda x: model(x))(jnp.ones((2, 5))).jaxpr.eqns}


def calls() -> dict[type, Any]:
    """The ``__call__`` that each NNX class defines itself."""
    found, new = set(), {nnx.Module}
    while new:
        found |= new
        new = {sub for cls in new for sub in cls.__subclasses__()} - found
    return {cls: vars(cls)["__call__"] for cls in found if "__call__" in vars(cls)}


@pytest.fixture(autouse=True)
def _nothing_stays_replaced():
    before = initializers._compute_fans, flax.core.Scope.param, calls()
    yield
    assert (initializers._compute_fans, flax.core.Scope.param, calls()) == before
    assert initializers._compute_fans((3, 5)) == (3, 5)
    assert not compat._STANDING


def untouched(seed: int = 0) -> None:
    """What another thread finds while one analyses."""
    deviations = [float(kernel.std()) for kernel in real_parameters(seed)]
    assert all(0.04 < deviation < 0.06 for deviation in deviations), deviations
    assert real_scopes() == {()}


def test_real_parameters_are_drawn_while_eight_threads_analyse():
    expected = {analyse: str(analyse().flops) for analyse in (analysed_linen, analysed_nnx)}
    done = threading.Event()

    def analyse(i: int) -> list[cm.Cost]:
        function = (analysed_linen, analysed_nnx)[i % 2]
        costs = [function()]
        while not done.is_set():
            costs.append(function())
        assert {str(cost.flops) for cost in costs} == {expected[function]}
        return costs

    with ThreadPoolExecutor(8) as pool:
        analysing = [pool.submit(analyse, i) for i in range(8)]
        try:
            for seed in range(2):
                untouched(seed)
        finally:
            done.set()
        costs = [cost for future in analysing for cost in future.result()]
    assert {row.label for cost in costs for row in cost.table().rows} >= {"Dense_0", "Dense_1", "first", "second"}


@pytest.mark.parametrize("analysed", [analysed_linen, analysed_nnx])
def test_traces_that_overlap_leave_nothing_behind(analysed):
    """The one that began first ends first, the order in which each would put back what it found."""
    inside, may_end = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

    def waiting(i: int) -> Callable[[], None]:
        def meet() -> None:
            inside[i].set()
            assert may_end[i].wait(60)
        return meet

    with ThreadPoolExecutor(2) as pool:
        running = []
        for i in range(2):
            running.append(pool.submit(analysed, waiting(i)))
            assert inside[i].wait(60)
            untouched()
        for i in range(2):
            may_end[i].set()
            running[i].result()
            untouched()


def test_a_trace_within_a_trace_has_its_own_scopes():
    inner = []

    def meet() -> None:
        if not inner:
            inner.append(None)
            inner[0] = analysed_nnx()

    outer = analysed_nnx(meet)
    for cost in (outer, inner[0]):
        assert {e.path for e in cost.program} == {("first",), ("second",), ()}


def test_what_somebody_else_puts_in_the_place_stays():
    class Owner:
        def name(self):
            return "original"

    with compat.standing_in([Owner], "name", lambda original: lambda self: "ours, not " + original(self)):
        assert Owner().name() == "ours, not original"
        Owner.name = lambda self: "theirs"
    assert Owner().name() == "theirs"


def test_a_name_that_is_not_there_is_left_alone():
    with compat.standing_in([initializers], "_no_such_function", lambda original: 1 / 0):
        assert not hasattr(initializers, "_no_such_function")


def test_only_symbolic_fans_are_one():
    """A compiled initialiser that is traced in an analysis is used again for real parameters."""
    draw = jax.jit(lambda key: jax.nn.initializers.lecun_normal()(key, (WIDTH, WIDTH)))
    cm.analyze(lambda x: x @ draw(jax.random.key(0)), (cm.dims("n"), WIDTH))
    assert 0.04 < float(draw(jax.random.key(1)).std()) < 0.06
