"""Laws that hold of every program: substitute = concrete, jit(f) = f, dead code costs nothing, nothing unknown passes."""

from __future__ import annotations

import functools
import random

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jax.extend.core import Primitive

import costmodel as cm
from costmodel.rules.work import OpKind
from costmodel.symbolic.forms import evaluate

ALL_METRICS = [("params", {}), ("macs", {}), ("flops", {}), ("ops", {}), ("transcendentals", {}), ("bytes", {"form": "compulsory"}),
               ("bytes", {"form": "unfused"}), ("bytes", {"form": "layer"}), ("activations", {"rule": "total"}),
               ("activations", {"rule": "peak"}), ("buffers", {}), ("model_size", {}), ("macs", {"taps": "valid"})]

# Shrinking a model takes minutes of tracing, and the models are small as they are.
check = functools.partial(settings, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck),
                          phases=[Phase.generate])


def counts(cost: cm.Cost, **point: int) -> dict[OpKind, tuple[int, int]]:
    """(dense, valid) operations by kind at a point; kinds that count nothing left out."""
    env = cost.domain.bind(point)
    found: dict[OpKind, tuple[int, int]] = {}
    for e in cost.program:
        for kind, dense, valid in e.work.ops:
            so_far = found.get(kind, (0, 0))
            found[kind] = (so_far[0] + evaluate(dense * e.times, env), so_far[1] + evaluate(valid * e.times, env))
    return {kind: both for kind, both in found.items() if any(both)}


# -- random Linen models: symbolic, then substituted = traced at the point ---------------------------------------------------

ACTIVATIONS = {"relu": nn.relu, "gelu": nn.gelu, "swish": nn.swish, "tanh": jnp.tanh, "hard_swish": nn.hard_swish}
NORMS = {
    "batch": lambda: nn.BatchNorm(use_running_average=True), "layer": nn.LayerNorm, "group": lambda: nn.GroupNorm(num_groups=2),
    "instance": nn.InstanceNorm,
}
kernels = st.tuples(st.integers(1, 3), st.integers(1, 3))
convolutions = st.fixed_dictionaries({
    "kind": st.just("conv"), "features": st.sampled_from([4, 8, 12]), "kernel_size": kernels,
    "strides": st.tuples(st.integers(1, 2), st.integers(1, 2)), "kernel_dilation": st.integers(1, 2),
    "feature_group_count": st.sampled_from([1, 2, 4]), "use_bias": st.booleans(),
    "padding": st.sampled_from(["SAME", "VALID", 1, ((0, 1), (2, 0))]),
})
pools = st.fixed_dictionaries({
    "kind": st.just("pool"), "operation": st.sampled_from(["max_pool", "avg_pool"]), "window_shape": kernels,
    "strides": st.tuples(st.integers(1, 2), st.integers(1, 2)), "padding": st.sampled_from(["SAME", "VALID"]),
})
others = st.one_of(st.sampled_from(sorted(ACTIVATIONS)), st.sampled_from(sorted(NORMS))).map(lambda kind: {"kind": kind})
dense = st.fixed_dictionaries({"kind": st.just("dense"), "features": st.sampled_from([4, 8]), "use_bias": st.booleans()})
stacks = st.lists(st.one_of(convolutions, pools, others, dense), min_size=1, max_size=4)


class Stack(nn.Module):
    """Layers as drawn, then a global mean and a classifier; a shortcut around every layer that keeps its shape."""

    layers: tuple
    shortcuts: bool

    @nn.compact
    def __call__(self, x):
        for layer in self.layers:
            options = {k: v for k, v in layer.items() if k not in ("kind", "operation")}
            match layer["kind"]:
                case "conv":
                    y = nn.Conv(**options)(x)
                case "dense":
                    y = nn.Dense(**options)(x)
                case "pool":
                    y = getattr(nn, layer["operation"])(x, **options)
                case kind if kind in NORMS:
                    y = NORMS[kind]()(x)
                case kind:
                    y = ACTIVATIONS[kind](x)
            x = x + y if self.shortcuts and layer["kind"] in ACTIVATIONS else y
        return nn.Dense(3)(x.mean(axis=(1, 2)))


# Four layers that each halve and cut off 4 rows leave one row of 76.
n_, h_, w_ = cm.dims("n h w", where="h >= 76, w >= 76")


@given(stacks, st.booleans(), st.integers(1, 5), st.integers(76, 130), st.integers(76, 130))
@check(max_examples=50)
def test_symbolic_then_substituted_equals_concrete(layers, shortcuts, n, h, w):
    model = Stack(tuple(layers), shortcuts)
    symbolic = cm.analyze(model, (n_, h_, w_, 8))
    concrete = cm.analyze(model, (n, h, w, 8))
    assert counts(symbolic, n=n, h=h, w=w) == counts(concrete)
    assert symbolic.params == concrete.params
    at, there = symbolic.at(n=n, h=h, w=w), concrete.at()
    for metric, options in ALL_METRICS:
        assert at.metric(metric, **options) == there.metric(metric, **options), (metric, options)


# -- wrappers cost nothing ---------------------------------------------------------------------------------------------------

_UNARY = (jnp.tanh, jnp.exp, jax.nn.relu, jax.nn.softmax, lambda x: x * 2.0 + 1.0, lambda x: x - x.mean(axis=-1, keepdims=True))


def program(choices: list[int]):
    """A function of a matrix and a square matrix: products with, and activations of, what came before."""
    def f(x, w):
        for choice in choices:
            x = x @ w if choice == len(_UNARY) else _UNARY[choice](x)
        return x
    return f


def with_custom_jvp(f):
    wrapped = jax.custom_jvp(f)
    wrapped.defjvp(lambda primals, tangents: jax.jvp(f, primals, tangents))
    return wrapped


def with_custom_vjp(f):
    wrapped = jax.custom_vjp(f)
    wrapped.defvjp(lambda *args: jax.vjp(f, *args), lambda pullback, cotangent: pullback(cotangent))
    return wrapped


WRAPPERS = {"jit": jax.jit, "nested jit": lambda f: jax.jit(jax.jit(f)), "remat": jax.checkpoint, "custom_jvp": with_custom_jvp,
            "custom_vjp": with_custom_vjp, "jit of remat of custom_jvp": lambda f: jax.jit(jax.checkpoint(with_custom_jvp(f)))}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@given(st.lists(st.integers(0, len(_UNARY)), min_size=1, max_size=6))
@check(max_examples=12)
def test_a_wrapped_function_costs_what_the_function_costs(wrapper, choices):
    m, k = cm.dims("m k")
    plain, wrapped = (cm.analyze(f, (m, k), (k, k), params=1) for f in (program(choices), WRAPPERS[wrapper](program(choices))))
    for metric, options in ALL_METRICS:
        assert plain.metric(metric, **options) == wrapped.metric(metric, **options), (metric, options)
    assert [e.primitive for e in plain.program] == [e.primitive for e in wrapped.program]


def test_training_through_remat_computes_the_forward_pass_twice():
    """y = tanh(x·w)·w: two products forward, three backward (one to tanh's argument, two to w), and one of them again."""
    m, k = cm.dims("m k")

    def f(w, x):
        return (jnp.tanh(x @ w) @ w).sum()

    product = cm.symbols("m") * cm.symbols("k") ** 2
    assert cm.analyze(jax.value_and_grad(f), (k, k), (m, k)).macs == 5 * product
    assert cm.analyze(jax.value_and_grad(jax.checkpoint(f)), (k, k), (m, k)).macs == 6 * product


# -- dead code and unknown primitives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_dead_code_is_removed_and_reported(wrap):
    m = cm.dims("m")

    def f(x):
        unused = jnp.exp(x @ x)
        _ = unused + 1.0
        return jnp.tanh(x)

    cost = cm.analyze(wrap(f), (m, m))
    assert (cost.macs, cost.transcendentals) == (0, cm.symbols("m") ** 2)
    assert cost.coverage.by_status["dead"] == {"dot_general": 1, "exp": 1, "add": 1}
    assert "3 dead" in str(cost.coverage)


def unknown_primitive(name: str) -> Primitive:
    """A primitive that costmodel has never heard of; elementwise."""
    primitive = Primitive(name)
    primitive.def_abstract_eval(lambda aval: aval)
    return primitive


class Outer(nn.Module):
    primitive: Primitive

    @nn.compact
    def __call__(self, x):
        return Inner(self.primitive, name="inner")(nn.Dense(7, name="before")(x))


class Inner(nn.Module):
    primitive: Primitive

    @nn.compact
    def __call__(self, x):
        return self.primitive.bind(x)


def test_an_unknown_primitive_is_named_with_its_place_its_operands_and_the_way_to_register_it():
    n = cm.dims("n")
    with pytest.raises(cm.UnknownPrimitive) as raised:
        cm.analyze(Outer(unknown_primitive("frobnicate")), (n, 5))
    message = str(raised.value)
    assert "\n" not in message
    for part in ("'frobnicate'", " inner ", "float32[n,7]", "rule('frobnicate')"):
        assert part in message, part


def test_unknown_primitives_may_be_left_out_knowingly():
    n = cm.dims("n")
    with pytest.warns(UserWarning, match="frobnicate x1"):
        cost = cm.analyze(Outer(unknown_primitive("frobnicate")), (n, 5), unknown="warn")
    assert cost.coverage.unknown == {"frobnicate": 1}
    assert cost.macs == 35 * cm.symbols("n")
    for by in ("module", "layer", "op"):
        assert cost.table(by=by).sum() == cost.table(by=by).total


def test_a_registered_rule_is_used_and_registering_twice_raises():
    from costmodel.rules import vector

    primitive = unknown_primitive("costmodel_test_frobnicate")

    @cm.rule(primitive.name)
    def frobnicate(eqn, **_):
        return eqn.work(vector("frob", eqn.operand.dtype, 3 * eqn.operand.size))

    n = cm.dims("n")
    cost = cm.analyze(Outer(primitive), (n, 5))
    assert cost.flops == (2 * 35 + 7 + 3 * 7) * cm.symbols("n")
    assert "frobnicate" in str(cost.explain("inner"))
    with pytest.raises(cm.CostModelError, match="costmodel_test_frobnicate"):
        cm.rule(primitive.name)(frobnicate)


# -- counts grow with their symbols ------------------------------------------------------------------------------------------


def test_macs_of_a_batch_are_the_batch_times_one(cost_of):
    draw = random.Random(7)
    for name in ("resnet18", "mobilenet_v2", "vgg11_bn"):
        cost, n = cost_of(name), draw.randint(2, 99)
        assert cost.at(n=n, h=64, w=96).macs == n * cost.at(n=1, h=64, w=96).macs
