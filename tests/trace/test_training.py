"""Training steps against torchvision's counts, TinyTL's figures, jax's own residuals, and laws of differentiation."""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn
from flax import nnx

import costmodel as cm
import zoo
from costmodel.errors import CostModelError

ENTRIES = {e.name: e for e in zoo.models()}
with (Path(zoo.__file__).parent / "data" / "torchvision.csv").open(encoding="utf-8") as _file:
    TORCHVISION = {row["model"]: row for row in csv.DictReader(line for line in _file if not line.startswith("#"))}

# Our name -> torchvision's, its `train` argument (None: it has none), and a fixed size where the default domain is not divisible.
NETWORKS = {
    "alexnet_torchvision": ("alexnet", True, 224), "resnet18": ("resnet18", True, None), "resnet50": ("resnet50", True, None),
    "resnet152": ("resnet152", True, None), "mobilenet_v2": ("mobilenet_v2", True, None),
    "vgg16": ("vgg16", False, None), "vgg16_bn": ("vgg16_bn", True, None), "resnet50_nnx": ("resnet50", True, None),
    "mobilenet_v2_nnx": ("mobilenet_v2", True, None), "efficientnet_b0": ("efficientnet_b0", True, None),
    "convnext_tiny": ("convnext_tiny", None, None), "vit_b_16": ("vit_b_16", None, None),
}

SLOW = ("resnet50", "resnet50_nnx", "resnet152", "vgg16_bn", "mobilenet_v2_nnx", "efficientnet_b0", "vit_b_16")


def cross_entropy(logits: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@functools.cache
def training(name: str, optimizer: bool = False) -> cm.Cost:
    _, train, size = NETWORKS[name]
    entry = ENTRIES[name]
    if size is not None:
        entry = entry.with_inputs([f"n,{size},{size},3:float32"], where="")
    model, inputs = entry.make()
    return cm.analyze_training(model, *inputs, loss=cross_entropy, targets=(cm.spec((cm.dims("n"),), "int32"),),
                               optimizer=optax.adamw(1e-3) if optimizer else None, kwargs={} if train is None else {"train": train},
                               rngs=() if isinstance(model, nnx.Module) else ("dropout",))


def at(cost: cm.Cost, n: int) -> cm.CostAt:
    return cost.at(**{"n": n, "h": 224, "w": 224, **{}} if "h" in cost.symbols else {"n": n})


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NETWORKS])
def test_forward_and_backward_are_six_macs_less_the_first_layers_input_gradient(name: str) -> None:
    published = TORCHVISION[NETWORKS[name][0]]["train_fwd_bwd_flop_per_image"]
    assert published, "the data file has no figure for this network"
    assert 2 * at(training(name), 3).macs == 3 * int(published)


def test_grouped_and_depthwise_convolutions_cost_three_times_forward_to_train() -> None:
    n = cm.dims("n")
    h, w = cm.dims("h w", multiple_of=4)
    for groups, stride in ((1, 1), (4, 2), (16, 1), (16, 2)):
        class Net(nn.Module):
            @nn.compact
            def __call__(self, x, groups=groups, stride=stride):
                x = nn.Dense(16)(x)  # so that the convolution's input needs a gradient
                return nn.Conv(16, (3, 3), strides=stride, padding=[(1, 1), (1, 1)], feature_group_count=groups)(x)

        spec = cm.spec((n, h, w, 16))
        forward = cm.analyze(Net(), spec)
        step = cm.analyze_training(Net(), spec, loss=lambda y: (y**2).sum())
        convolution = forward.macs - 256 * cm.expression(n * h * w)
        assert (step.macs - 3 * convolution - 2 * 256 * cm.expression(n * h * w)).expand() == 0, (groups, stride)


@pytest.mark.parametrize(("name", "rule", "megabytes"), [
    ("resnet50", "tinytl", 706.5), pytest.param("resnet50", "tinytl-shared", 655.1, marks=pytest.mark.slow),
    pytest.param("mobilenet_v2_w14", "tinytl", 623.5, marks=pytest.mark.slow)])
def test_tinytl_activations_at_batch_8(name: str, rule: str, megabytes: float) -> None:
    model, inputs = ENTRIES[name].make()
    cost = cm.analyze_training(model, *inputs, loss=lambda y: y.sum(), kwargs={"train": True}, rngs=("dropout",))
    saved = at(cost, 8).saved(rule) / 10**6
    assert round(float(saved), 1) == megabytes
    # "Activations, not parameters, bind training": at batch 8 already by a factor of six and more.
    assert saved * 10**6 > 6 * at(cost, 8).model_size()


class ConvBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (3, 3), use_bias=False)(x)
        return nn.relu(nn.BatchNorm(use_running_average=False)(x))


class ConvNet(nn.Module):
    remat: bool = False
    policy: Any = None

    @nn.compact
    def __call__(self, x):
        block = nn.remat(ConvBlock, policy=self.policy) if self.remat else ConvBlock
        for i in range(3):
            x = block(name=f"block{i}")(x)
        return nn.Dense(10)(x.mean((1, 2)))


class Transformer(nn.Module):
    remat: bool = False

    @nn.compact
    def __call__(self, x):
        def mlp(module, y):
            return nn.Dense(8, name="down")(nn.gelu(nn.Dense(32, name="up")(y)))

        x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x))
        return x + (nn.remat(mlp) if self.remat else mlp)(self, nn.LayerNorm()(x))


RESIDUALS = {
    "linear": (nn.Dense(5), (4, 3)),
    "mlp": (nn.Sequential([nn.Dense(16), nn.tanh, nn.Dense(16), nn.sigmoid, nn.Dense(3)]), (4, 3)),
    "convolutions": (ConvNet(), (2, 8, 8, 3)),
    "convolutions, remat": (ConvNet(remat=True), (2, 8, 8, 3)),
    "convolutions, remat but dots": (ConvNet(remat=True, policy=jax.checkpoint_policies.dots_saveable), (2, 8, 8, 3)),
    "transformer": (Transformer(), (2, 5, 8)),
    "transformer, remat": (Transformer(remat=True), (2, 5, 8)),
    "lstm": (nn.RNN(nn.LSTMCell(6)), (2, 7, 3)),
    "group norm": (nn.Sequential([nn.Dense(8), nn.GroupNorm(2), nn.silu]), (2, 6, 8)),
    "strided convolution": (nn.Conv(4, (3, 3), strides=2), (2, 8, 8, 3)),
}


def vjp_residual_bytes(model: nn.Module, shape: tuple[int, ...]) -> int:
    """What ``jax.vjp`` holds, each array once, without constants that no input reaches (zeros of a ReLU, say)."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = dict(jax.eval_shape(model.init, jax.random.key(0), x))
    params = variables.pop("params")

    def residuals(params, others, x):
        def loss(params):
            if not others:
                return model.apply({"params": params}, x).sum()
            return model.apply({"params": params, **others}, x, mutable=list(others))[0].sum()

        return [leaf for leaf in jax.tree.leaves(jax.vjp(loss, params)[1]) if hasattr(leaf, "dtype")]

    jaxpr = jax.make_jaxpr(residuals)(params, variables, x).jaxpr
    reached = {id(v) for v in jaxpr.invars}
    for eqn in jaxpr.eqns:
        if any(id(v) in reached for v in eqn.invars):
            reached.update(id(v) for v in eqn.outvars)
    held = {id(v): v.aval for v in jaxpr.outvars if id(v) in reached}
    return sum(aval.size * aval.dtype.itemsize for aval in held.values())


@pytest.mark.parametrize("name", RESIDUALS)
def test_saved_is_what_vjp_holds(name: str) -> None:
    model, shape = RESIDUALS[name]
    cost = cm.analyze_training(model, cm.spec(shape), loss=lambda y: y.sum())
    assert cost.saved("residuals+parameters") == vjp_residual_bytes(model, shape)
    table = cost.table(by="saved")
    assert table.sum() == table.total


def test_saved_is_a_formula_that_remat_shrinks() -> None:
    n, h, w = cm.dims("n h w")
    plain, remat = (cm.analyze_training(ConvNet(remat=r), cm.spec((n, h, w, 3)), loss=lambda y: y.sum()) for r in (False, True))
    for point in ({"n": 2, "h": 8, "w": 8}, {"n": 3, "h": 17, "w": 9}):
        assert plain.at(**point).saved("residuals+parameters") == vjp_residual_bytes(ConvNet(), (*point.values(), 3))
        assert remat.at(**point).saved("residuals+parameters") == vjp_residual_bytes(ConvNet(remat=True), (*point.values(), 3))
        assert remat.at(**point).saved() < plain.at(**point).saved() / 2
    recomputed = sum(1 for e in remat.program if e.phase == "recompute" and e.primitive == "conv_general_dilated")
    # The last block's convolution feeds a normalisation whose gradient needs it; the first one's input gradient nobody needs,
    # but its result the normalisation does: all three run again.
    assert recomputed == 3
    assert remat.macs - plain.macs == plain.filter_phase("").macs - 80 * cm.symbols("n")


def test_phases_rows_sum_to_the_total_and_adamw_updates_every_parameter() -> None:
    cost = training("resnet18", optimizer=True)
    table = cost.table(by="phase")
    assert table.sum() == table.total and {r.label for r in table.rows} == {"forward", "backward", "update"}
    assert cost.metric("optimizer_state") == 2 * 4 * cost.params + 4  # two moments in float32 and a step counter
    update = cost.filter_phase("update")
    assert update.macs == 0 and update.flops >= 10 * cost.params
    assert cost.filter_phase("").macs == ENTRIES["resnet18"].analyze().macs


def test_microbatches_do_the_same_work_and_hold_less() -> None:
    n = cm.dims("n", multiple_of=4)
    whole, parts = (cm.analyze_training(ConvNet(), cm.spec((n, 8, 8, 3)), loss=lambda y: y.sum(), microbatches=m) for m in (1, 4))
    assert whole.macs == parts.macs
    point = {"n": 32}
    assert parts.at(**point).saved() < whole.at(**point).saved() / 3


def test_mixed_precision_runs_contractions_in_the_narrow_type() -> None:
    n = cm.dims("n")
    model = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(3)])
    cost = cm.analyze_training(model, cm.spec((n, 8)), loss=lambda y: y.sum(), optimizer=optax.sgd(0.1), compute_dtype="bfloat16")
    kinds = {kind.dtype for e in cost.program for kind, *_ in e.work.ops if kind.name == "mac"}
    assert kinds == {"bfloat16"}
    assert {v.array.dtype for v in cost.program.parameters} == {"float32"}


def test_a_step_is_verified_against_a_concrete_step() -> None:
    training("resnet18").verify(n=2, h=64, w=96)


def test_a_function_needs_to_say_which_argument_it_trains() -> None:
    n = cm.dims("n")
    with pytest.raises(CostModelError, match="which argument of the function holds the parameters"):
        cm.analyze_training(lambda w, x: x @ w, cm.spec((3, 4)), cm.spec((n, 3)), loss=lambda y: y.sum())
    cost = cm.analyze_training(lambda w, x: x @ w, cm.spec((3, 4)), cm.spec((n, 3)), loss=lambda y: y.sum(), params=0)
    assert cost.params == 12 and cost.macs == 24 * cm.symbols("n")
    with pytest.raises(CostModelError, match="no backward pass"):
        cm.analyze(lambda x: x + 1, cm.spec((n,))).saved()


def test_leading_order_of_a_transformer_is_six_flops_a_parameter_and_token() -> None:
    b, s, d = cm.dims("b s d")

    class Block(nn.Module):
        width: Any

        @nn.compact
        def __call__(self, x):
            q, k, v = (nn.Dense(self.width, name=name)(x) for name in "qkv")
            x = x + nn.Dense(self.width, name="o")(nn.softmax(q @ k.swapaxes(1, 2)) @ v)
            return x + nn.Dense(self.width, name="down")(nn.gelu(nn.Dense(4 * self.width, name="up")(x)))

    forward = cm.analyze(Block(d), cm.spec((b, s, d)))
    step = cm.analyze_training(Block(d), cm.spec((b, s, d)), loss=lambda y: y.sum())
    big_n, b_, s_, d_ = cm.symbols("N b s d")
    assert forward.leading_order("d", metric="params") == 12 * d_**2
    assert forward.leading_order("params") == 2 * b_ * s_ * big_n
    # The gradient with respect to the block's input is nobody's, so the three projections of it miss one third of theirs.
    assert step.leading_order("params") == (6 * 12 - 2 * 3) * b_ * s_ * big_n / 12
    assert forward.leading_order("s", metric="macs") == 2 * b_ * d_ * s_**2
    with pytest.raises(CostModelError, match="make a width or depth symbolic"):
        cm.analyze(nn.Dense(3), cm.spec((b, 4))).leading_order("params")


def test_a_training_cost_reads_back_from_json() -> None:
    cost = training("resnet18", optimizer=True)
    again = cm.from_json(cost.to_json())
    assert again.to_json() == cost.to_json()
    assert again.saved() == cost.saved() and again.metric("optimizer_state") == cost.metric("optimizer_state")


# -- optimizers that ask for more than gradients ---------------------------------------------------------------------------------

LINE_SEARCH = optax.scale_by_backtracking_linesearch(max_backtracking_steps=5)
ASKING = {
    "polyak_sgd": optax.polyak_sgd(), "lbfgs": optax.lbfgs(), "lbfgs, backtracking": optax.lbfgs(linesearch=LINE_SEARCH),
    "reduce_on_plateau": optax.chain(optax.adam(1e-3), optax.contrib.reduce_on_plateau()),
    "backtracking": optax.chain(optax.sgd(1.0), LINE_SEARCH),
}


def squares(x: Any) -> Any:
    return (x**2).sum()


@pytest.mark.parametrize("name", ASKING)
def test_an_optimizer_gets_the_value_and_function_that_it_asks_for(name: str) -> None:
    """The step costs what the same one costs that is written by hand."""
    optimizer, (n, d) = ASKING[name], cm.dims("n d")
    weights, x = cm.spec((d, 10)), cm.spec((n, d))

    def by_hand(weights: Any, state: Any, x: Any) -> Any:
        def loss(weights: Any) -> Any:
            return squares(x @ weights)

        value, gradient = jax.value_and_grad(loss)(weights)
        updates, state = optimizer.update(gradient, state, weights, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(weights, updates), state, value, gradient

    step = cm.analyze_training(lambda w, x: x @ w, weights, x, params=0, loss=squares, optimizer=optimizer)
    hand = cm.analyze(by_hand, weights, jax.eval_shape(optimizer.init, weights), x)
    assert step.symbols == hand.symbols
    for metric in ("macs", "flops", "ops", "transcendentals"):
        assert (step.metric(metric) - hand.metric(metric)).expand() == 0
    update = step.filter_phase("update")
    assert (step.macs - update.macs - 20 * cm.symbols("n") * cm.symbols("d")).expand() == 0  # forward, and the weights' gradient


def test_an_optimizer_gets_nothing_that_it_does_not_take() -> None:
    def update(updates: Any, state: Any, params: Any = None, *, value: Any) -> Any:
        return jax.tree.map(lambda u: -u * value, updates), state

    weights = cm.spec((cm.dims("d"),))
    for optimizer in (optax.GradientTransformation(lambda params: (), update), optax.sgd(1.0)):
        cost = cm.analyze_training(lambda w: w, weights, params=0, loss=squares, optimizer=optimizer)
        assert cost.filter_phase("update").flops.has(cm.symbols("d"))


def test_a_line_search_goes_with_microbatches() -> None:
    n, d = cm.dims("n", multiple_of=4), cm.dims("d")
    cost = cm.analyze_training(lambda w, x: x @ w, cm.spec((d, 10)), cm.spec((n, d)), params=0, loss=squares,
                               optimizer=ASKING["backtracking"], microbatches=4)
    assert "trips_0" in cost.symbols
