"""Equinox's modules and Haiku's transformed functions: with the libraries where they are installed, with stand-ins everywhere."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import types
from collections import namedtuple
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import optax
import pytest

import costmodel as cm
from costmodel.errors import CostModelError

N = cm.symbols("n")
n = cm.dims("n")
BATCH = cm.spec((n, 8))


def squares(y: Any) -> Any:
    return (y**2).sum()


def mapped(model: Any, x: Any) -> Any:
    return jax.vmap(model)(x)


def has_parameters_and_work_in_one_row(cost: cm.Cost, first: str, second: str) -> None:
    """Of a perceptron 8 - 16 - 4: parameters and multiply-accumulates of its layers, by hand."""
    found = {r.label: r.cells[:2] for r in cost.table().rows if any(r.cells[:2])}
    assert found == {first: (8 * 16 + 16, 128 * N), second: (16 * 4 + 4, 64 * N)}


# -- stand-ins ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def equinox_stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module named equinox with a class Module whose subclasses are dataclasses and pytrees, as Equinox's are."""
    class Module:
        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            dataclasses.dataclass(eq=False)(cls)
            jax.tree_util.register_pytree_with_keys(
                cls, lambda m: ([(jax.tree_util.GetAttrKey(f.name), getattr(m, f.name)) for f in dataclasses.fields(m)], None),
                lambda _, leaves: cls(*leaves))

    made: Any = types.ModuleType("equinox")
    made.Module = Module
    monkeypatch.setitem(sys.modules, "equinox", made)
    return made


def perceptron(equinox: Any) -> Any:
    class Linear(equinox.Module):
        weight: Any
        bias: Any

        def __call__(self, x: Any) -> Any:
            with jax.named_scope("eqx.nn.Linear"):
                return self.weight @ x + self.bias

    class Perceptron(equinox.Module):
        first: Any
        rest: Any
        activation: Any
        table: Any

        def __call__(self, x: Any) -> Any:
            return self.rest[0](self.activation(self.first(x)))

    return Perceptron(Linear(jnp.ones((16, 8)), jnp.ones(16)), [Linear(jnp.ones((4, 16)), jnp.ones(4))], jax.nn.relu, jnp.arange(3))


def test_an_equinox_module_has_its_trained_arrays_as_parameters(equinox_stand_in: Any) -> None:
    cost = cm.analyze(perceptron(equinox_stand_in), BATCH, method=mapped)
    has_parameters_and_work_in_one_row(cost, "first", "rest/0")
    assert cost.params == 8 * 16 + 16 + 16 * 4 + 4
    assert cost.buffers == 3  # integers are not trained
    cost.verify(n=3)


def test_an_equinox_module_trains(equinox_stand_in: Any) -> None:
    """Forward, the gradients of both weights, and that of the hidden layer; Adam has two moments of each parameter."""
    cost = cm.analyze_training(perceptron(equinox_stand_in), BATCH, method=mapped, loss=squares, optimizer=optax.adam(1e-3))
    assert cost.macs == (2 * 128 + 3 * 64) * N
    assert cost.metric("optimizer_state") == 2 * 4 * cost.params + 4


def test_a_function_of_an_equinox_module_is_told_what_to_do(equinox_stand_in: Any) -> None:
    model = perceptron(equinox_stand_in)
    with pytest.raises(CostModelError, match=r"holds more than arrays.*equinox\.partition"):
        cm.analyze(mapped, model, BATCH, params=0)
    with pytest.raises(CostModelError, match=r"is a class; pass an instance.*filter_eval_shape"):
        cm.analyze(type(model), BATCH)
    with pytest.raises(CostModelError, match="are for Flax modules"):
        cm.analyze(model, BATCH, rngs=("dropout",))


def test_an_internal_primitive_is_what_its_implementation_does() -> None:
    watched = jax.extend.core.Primitive("nonbatchable")
    watched.def_impl(lambda x, *, msg: jnp.sin(x) * 2.0)
    watched.def_abstract_eval(lambda x, *, msg: x)
    cost = cm.analyze(lambda x: watched.bind(x, msg=""), BATCH)
    assert (cost.transcendentals, cost.flops) == (8 * N, 8 * N)


def test_a_transformed_function_of_haiku_has_its_parameters_beside_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Haiku's keys have ``~`` in them, its scopes have not."""
    made: Any = types.ModuleType("haiku")
    made.Transformed = namedtuple("Transformed", ["init", "apply"])
    monkeypatch.setitem(sys.modules, "haiku", made)

    def init(rng: Any, x: Any) -> Any:
        return {f"mlp/~/linear_{i}": {"w": jnp.ones(shape), "b": jnp.ones(shape[1])} for i, shape in enumerate([(8, 16), (16, 4)])}

    def apply(params: Any, rng: Any, x: Any) -> Any:
        for i in range(2):
            with jax.named_scope(f"mlp/linear_{i}"):
                x = x @ params[f"mlp/~/linear_{i}"]["w"] + params[f"mlp/~/linear_{i}"]["b"]
        return x

    model = made.Transformed(init, apply)
    has_parameters_and_work_in_one_row(cm.analyze(model, BATCH), "mlp/linear_0", "mlp/linear_1")
    params = jax.eval_shape(init, None, cm.spec((2, 8)))
    has_parameters_and_work_in_one_row(cm.analyze(lambda p, x: apply(p, None, x), params, BATCH, params=0),
                                       "mlp/linear_0", "mlp/linear_1")
    with pytest.raises(CostModelError, match="method= is for modules"):
        cm.analyze(model, BATCH, method="forward")


def test_neither_library_is_imported_by_costmodel() -> None:
    code = ("import sys, costmodel as cm; cm.analyze(lambda x: x + 1, (cm.dims('n'),)); "
            "print([m for m in ('equinox', 'haiku') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- the libraries -----------------------------------------------------------------------------------------------------------------


def equinox_model(eqx: Any) -> Any:
    return eqx.nn.MLP(8, 4, 16, 1, key=jax.random.key(0))


def test_equinox_itself() -> None:
    eqx = pytest.importorskip("equinox", reason="Equinox is no dependency")
    model = equinox_model(eqx)
    for method in (mapped, lambda model, x: eqx.filter_vmap(eqx.filter_jit(model))(x)):
        has_parameters_and_work_in_one_row(cm.analyze(model, BATCH, method=method), "layers/0", "layers/1")
    abstract = eqx.filter_eval_shape(lambda: equinox_model(eqx))
    assert cm.analyze(abstract, cm.spec((8,))).macs == 192
    arrays, rest = eqx.partition(model, eqx.is_array)
    cost = cm.analyze(lambda arrays, x: jax.vmap(eqx.combine(arrays, rest))(x), arrays, BATCH, params=0)
    assert (cost.params, cost.macs) == (212, 192 * N)


def test_equinox_internals() -> None:
    eqx = pytest.importorskip("equinox", reason="Equinox is no dependency")
    internal = pytest.importorskip("equinox.internal", reason="Equinox is no dependency")
    x, dot = cm.spec((4, 4)), 4**3

    def loop(x: Any, kind: str) -> Any:
        return internal.while_loop(lambda s: s[0] < 9, lambda s: (s[0] + 1, s[1] @ s[1]), (0, x), kind=kind, max_steps=16)[1]

    assert cm.analyze(lambda x: internal.noinline(lambda y: y @ y)(x), x).macs == dot
    assert cm.analyze(jax.vmap(lambda x: internal.noinline(lambda y: y @ y)(x)), cm.spec((3, 4, 4))).macs == 3 * dot
    assert cm.analyze(lambda x: eqx.error_if(x, x.sum() > 3, "too large") @ x, x).macs == dot
    assert cm.analyze(lambda x: internal.nondifferentiable_backward(x) @ x, x).macs == dot
    assert cm.analyze(jax.vmap(lambda x: x @ x * internal.unvmap_any(x.sum() > 3)), cm.spec((3, 4, 4))).macs == 3 * dot
    bounded = cm.analyze(lambda x: loop(x, "bounded"), x)
    assert bounded.macs == 16 * dot and bounded.coverage.count("bounded")
    assert cm.analyze(jax.grad(lambda x: loop(x, "bounded").sum()), x).macs == 3 * 16 * dot


def test_haiku_itself() -> None:
    hk = pytest.importorskip("haiku", reason="Haiku is no dependency")
    perceptron = hk.transform(lambda x: hk.nets.MLP([16, 4])(x))
    has_parameters_and_work_in_one_row(cm.analyze(perceptron, BATCH), "mlp/linear_0", "mlp/linear_1")
    network = hk.transform_with_state(lambda x, training: hk.BatchNorm(True, True, 0.9)(hk.Linear(4)(x), training))
    cost = cm.analyze(network, BATCH, kwargs={"training": True}, mutable=True)
    assert (cost.params, cost.macs) == (8 * 4 + 4 + 2 * 4, 32 * N)
    dropout = hk.transform(lambda x: hk.dropout(hk.next_rng_key(), 0.5, x))
    assert cm.analyze(dropout, BATCH, rngs=("dropout",)).coverage.unknown == {}
    trained = cm.analyze_training(network, BATCH, kwargs={"training": True}, loss=squares, optimizer=optax.sgd(1.0))
    assert trained.macs == 2 * 32 * N
