"""Linen checks parameters by running their initialisers again; a trace does that only where it cannot know the answer."""

from __future__ import annotations

from typing import Any

import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from flax.core.scope import Scope

import costmodel as cm
from costmodel import _flax_compat as flax_compat
from costmodel import _jax_compat as compat

n, d = cm.dims("n d")


class Counting:
    """An initialiser that knows how often it ran."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, key: Any, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        self.runs += 1
        return jnp.zeros(shape, dtype)


class Net(nn.Module):
    """A layer, two whose shapes come as a list, and shared weights; ``wrap`` lifts the layer."""

    initialiser: Counting
    wrap: Any = staticmethod(lambda module: module)

    @nn.compact
    def __call__(self, x):
        layer = self.wrap(nn.Dense)(x.shape[-1], kernel_init=self.initialiser, bias_init=nn.initializers.zeros)
        return nn.LayerNorm(scale_init=self.initialiser)(layer(layer(x)))


@pytest.mark.parametrize("inputs", [(n, d), (2, 3)], ids=["symbolic", "integers"])
def test_initialisers_run_once(inputs):
    initialiser = Counting()
    cm.analyze(Net(initialiser), inputs)
    assert initialiser.runs == 2  # the kernel and the scale


def test_flax_itself_runs_them_again():
    """Otherwise the stand-in is to go."""
    initialiser = Counting()
    net, x = Net(initialiser), jnp.ones((2, 3))
    net.apply(net.init(jax.random.key(0), x), x)
    assert initialiser.runs == 6  # the kernel at each call of its layer, and the scale, in each of the two


def counted_without(monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> cm.Cost:
    """The cost with every check as flax makes it."""
    with monkeypatch.context() as patch:
        patch.setattr(flax_compat, "_remembering", lambda original: original)
        return cm.analyze(model, (n, d))


def mapped(module: Any) -> Any:
    return nn.vmap(module, variable_axes={"params": None}, split_rngs={"params": False})


@pytest.mark.parametrize("wrap", [lambda module: module, nn.remat, nn.jit, mapped], ids=["plain", "remat", "jit", "vmap"])
def test_nothing_else_changes(monkeypatch, wrap):
    """Through lifted transformations, too."""
    model = Net(Counting(), wrap)
    cost, plain = cm.analyze(model, (n, d)), counted_without(monkeypatch, model)
    assert (cost.params, cost.flops, str(cost.table())) == (plain.params, plain.flops, str(plain.table()))
    assert [(e.primitive, e.path) for e in cost.program] == [(e.primitive, e.path) for e in plain.program]


class Changing(nn.Module):
    """A parameter whose initialiser, or its argument, is another once it is there."""

    fresh: bool

    @nn.compact
    def __call__(self, x):
        rows = x.shape[-1] + (not self.is_initializing())
        if self.fresh:
            return x @ self.param("w", lambda key: jnp.ones((rows, 5)))
        return x @ self.param("w", nn.initializers.ones, (rows, 5))


@pytest.mark.parametrize("fresh", [False, True])
def test_a_shape_that_changes_is_still_refused(fresh):
    with pytest.raises(cm.TraceError, match="ScopeParamShapeError"):
        cm.analyze(Changing(fresh), (n, 3))


def test_parameters_of_another_origin_are_checked():
    """The analysed function gives a module that it applies itself a kernel of the wrong shape."""
    initialiser = Counting()

    def apply(x, kernel):
        layer = nn.Dense(5, use_bias=False, kernel_init=initialiser)
        layer.init(jax.random.key(0), x)
        return layer.apply({"params": {"kernel": kernel}}, x)

    assert cm.analyze(apply, (n, 3), (3, 5)).macs == 15 * cm.symbols("n")
    with pytest.raises(cm.TraceError, match="ScopeParamShapeError"):
        cm.analyze(apply, (n, 3), (4, 5))


class OfAnArray(nn.Module):
    """A parameter as long as an array that is its initialiser's argument."""

    @nn.compact
    def __call__(self, x):
        like = jnp.ones((x.shape[-1] + (not self.is_initializing()),))
        return x * self.param("w", lambda key, like: like, like)


def test_arrays_as_arguments_are_not_taken_for_each_other():
    with pytest.raises(cm.TraceError, match="ScopeParamShapeError"):
        cm.analyze(OfAnArray(), (n, 3))
    assert flax_compat._key(("w", [3, (n, 4)])) == ("w", (3, (n, 4)))
    assert flax_compat._key(("w", (jnp.ones(3),))) is None


class Sized(nn.Module):
    """What it initialises depends on the kind of number that its size is, which no symbol tells: ``how`` says what."""

    how: str

    @nn.compact
    def __call__(self, x):
        whole = isinstance(x.shape[0], int)
        if self.how == "a parameter less" and not whole:
            x = nn.Dense(3)(x)
        if self.how == "a parameter more" and whole:
            x = nn.Dense(3)(x)
        if self.how == "a parameter's shape":
            self.param("w", nn.initializers.ones, (4 + whole,))
        if self.how == "a variable's shape":
            self.variable("state", "v", lambda: jnp.ones(4 + whole))
        if self.how == "a variable's shape, by argument":
            self.variable("state", "v", jnp.ones, (4 + whole,))
        if self.how == "a parameter while initialising" and self.is_initializing():
            self.param("w", nn.initializers.ones, (4 + whole,))
        if self.how == "a variable of a module less" and not whole:
            nn.BatchNorm(use_running_average=True)(x)
        return nn.Dense(5)(nn.BatchNorm(use_running_average=True)(x))


@pytest.mark.parametrize("how", ["nothing", "a parameter less", "a parameter more", "a parameter's shape", "a variable's shape",
                                 "a variable's shape, by argument", "a parameter while initialising",
                                 "a variable of a module less"])
def test_what_is_traced_again_has_what_it_is_initialised_with(how):
    cost, plain = cm.analyze(Sized(how), (n, 3)), cm.analyze(Sized(how), (7, 3))
    again = cost.request.again(cost.domain, cost.domain.bind({"n": 7})).run()
    assert [(leaf.role, leaf.path) for leaf in again.leaves] == [(leaf.role, leaf.path) for leaf in plain.request.run().leaves]
    assert str(again.jaxpr) == str(plain.request.run().jaxpr)


@pytest.mark.parametrize("how", ["nothing", "a parameter less"])
def test_a_point_is_not_initialised_again(how, monkeypatch):
    """Unless it must be."""
    cost = cm.analyze(Sized(how), (n, 3))
    times = []
    monkeypatch.setattr(Sized, "init", lambda self, *args, **kwargs: times.append(1) or nn.Module.init(self, *args, **kwargs))
    assert cost.at(n=7).macs == 7*15
    assert len(times) == (how != "nothing")


def test_a_step_is_not_initialised_again_at_a_point(monkeypatch):
    cost = cm.analyze_training(Sized("nothing"), (n, 3), loss=lambda y: (y**2).mean(), optimizer=optax.adamw(1e-3))
    expected = cm.analyze_training(Sized("nothing"), (7, 3), loss=lambda y: (y**2).mean(), optimizer=optax.adamw(1e-3))
    monkeypatch.delattr(nn.Module, "init")
    there = cost.at(n=7)
    assert (there.macs, there.flops, there.params) == (expected.macs, expected.flops, expected.params)


@pytest.mark.parametrize("missing", ["a module", "a class", "a method"])
def test_without_what_it_stands_in_for_it_does_nothing(monkeypatch, missing):
    with monkeypatch.context() as patch:
        if missing == "a module":
            patch.setattr(compat.importlib, "import_module", lambda name: __import__("no_such_module"))
        elif missing == "a class":
            patch.delattr("flax.core.scope.Scope")
        else:
            patch.delattr(Scope, "param")
        before = dict(vars(Scope))
        with flax_compat.initialisers_run_once(), compat.initialisers_accept_symbolic_fans():
            assert vars(Scope) == before
    assert flax.core.Scope.param
