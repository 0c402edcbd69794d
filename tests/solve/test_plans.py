"""Plans: a stack's parts against whole networks, steps against schedules that are run, and what is asked wrongly."""

from __future__ import annotations

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from click.testing import CliRunner
from jax import lax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

import costmodel as cm
from costmodel.cli import main
from costmodel.errors import CostModelError
from costmodel.hardware import load
from costmodel.solve import Composer, Plan, Rates, Stack, Stages, plan, rates_of

P = PartitionSpec
MESH = AbstractMesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
WIDTH, HIDDEN, CLASSES = 64, 256, 128


def put(x, *axes):
    return lax.with_sharding_constraint(x, NamedSharding(MESH, P(*axes)))


def network(params, x):
    """Layers of two products, the first split by columns and the second by rows, between two ends."""
    with jax.named_scope("first"):
        x = put(jnp.tanh(x * params["first"]), "data", None)
    for name in sorted(name for name in params if name.startswith("layer")):
        with jax.named_scope(name):
            w = params[name]
            x = x + put(put(x @ w["up"], "data", "model") @ w["down"], "data", None)
    with jax.named_scope("last"):
        return x @ params["head"]


def analysed(layers, **options):
    b = cm.dims("b")
    split = {"up": P(None, "model"), "down": P("model", None)}
    weights = {"up": cm.spec((WIDTH, HIDDEN)), "down": cm.spec((HIDDEN, WIDTH))}
    params = {"first": cm.spec((WIDTH,)), "head": cm.spec((WIDTH, CLASSES)), **{f"layer_{i}": weights for i in range(layers)}}
    shards = {"first": P(), "head": P(), **{f"layer_{i}": split for i in range(layers)}}
    return cm.analyze_training(network, params, cm.spec((b, WIDTH)), params=0, loss=lambda y: (y**2).mean(), verify=False,
                               mesh={"data": 2, "model": 2}, param_shardings=shards, data_sharding=P("data"), **options)


def update():
    n = cm.dims("n")
    return cm.analyze_training(lambda w, x: w * x, cm.spec((n,)), cm.spec(()), params=0, loss=jnp.sum, optimizer=optax.adamw(1e-3),
                               verify=False)


@pytest.fixture(scope="module")
def stages():
    """Of a network of 4 layers that 8 heads would share."""
    cost = analysed(1)
    stack = Stack("toy", 4, lambda _: cost, update, at={"heads": 8}, layers_of={"none": "layer_0"}, first="first", sent=("heads",),
                  shared="heads")
    return Stages(stack, False)


def flops(part):
    return sum(2 * float((p.count * p.m * p.n * p.k)[0]) for p in part.products)


@pytest.mark.parametrize(("b", "model"), [(4, 2), (16, 4)])
def test_parts_times_layers_are_the_whole_network(stages, b, model):
    parts = stages.at(np.array([b]), model)
    for layers in (1, 3):
        whole = analysed(layers).at(b=2 * b, data=2, model=model)
        assert layers * flops(parts["none"]) + flops(parts["last"]) == 2 * whole.macs
        assert layers * parts["none"].params[0] + parts["first"].params[0] + parts["last"].params[0] == whole.params
        sent = sum(float(s.bytes[0]) for s in parts["none"].sent)
        assert layers * sent == pytest.approx(float(whole.wire_bytes("model")))
        data = sum(row.total for row in whole.collectives() if row.axes == ("data",) and row.phase == "backward")
        ours = layers * parts["none"].gradients[0] + parts["first"].gradients[0] + parts["last"].gradients[0]
        assert ours == pytest.approx(float(data), rel=0.02)


def test_a_step_is_a_schedule_that_is_run(stages):
    """Against the machine of the pipelines' tests, with no time but the parts'."""
    from sharding.test_pipelines import run

    rates = Rates(load("a100-sxm-80gb"), device=1e-6)
    composer = Composer(stages, rates)
    one = composer.cost(Plan(1, 1, 1, 1, 8, 8))
    alone = {name: sum(times.values()) for name, times in composer.times(8, 1).items()}
    assert sum(one.by[what] for what in ("products", "other kernels", "tensor", "host")) == pytest.approx(
        4 * alone["none"] + alone["first"] + alone["last"])
    for pipeline, batch in itertools.product((2, 4), (8, 64)):
        cost = composer.cost(Plan(1, 1, pipeline, 1, 8, batch))
        ends = {0: alone["first"], pipeline - 1: alone["last"]}
        end, _, _ = run("1f1b", pipeline, batch // 8, 1,
                        lambda kind, stage, p=pipeline, ends=ends: (4 / p * alone["none"] + ends.get(stage, 0)) / 2)
        busy = cost.seconds - cost.by["sends"] - cost.by["data"] - cost.by["update"] - cost.by["step"]
        assert busy == pytest.approx(float(end), rel=1e-6)


def test_what_is_sent_of_every_sequence_is_no_gradient():
    b = cm.dims("b")

    def mixing(w, x):
        with jax.named_scope("layer_0"):
            return put(x @ w, None, None)  # every device has the whole batch

    cost = cm.analyze_training(mixing, cm.spec((WIDTH, WIDTH)), cm.spec((b, WIDTH)), params=0, loss=lambda y: (y**2).mean(),
                               verify=False, mesh={"data": 2, "model": 2}, data_sharding=P("data"))
    stack = Stack("mixing", 4, lambda _: cost, update, at={}, layers_of={"none": "layer_0"}, first="first", sent=(), shared="")
    with pytest.raises(CostModelError, match="mixing sends of every sequence over data in its part 'none'"):
        Stages(stack, False)


def test_zero_splits_memory_over_data(stages):
    composer = Composer(stages, Rates(load("a100-sxm-80gb")))
    held = [composer.cost(Plan(4, 1, 1, 1, 8, 32, zero=level)).held for level in range(4)]
    params = WIDTH + WIDTH * CLASSES + 4 * 2 * WIDTH * HIDDEN
    assert held[0]["optimizer"] == pytest.approx(8 * params, rel=1e-6)  # two moments
    assert [h["optimizer"] / held[0]["optimizer"] for h in held] == [1, 1 / 4, 1 / 4, 1 / 4]
    assert [h["gradients"] / held[0]["gradients"] for h in held] == [1, 1, 1 / 4, 1 / 4]
    assert held[3]["weights"] == held[0]["weights"] / 4 and held[1]["activations"] == held[0]["activations"]


def test_every_plan_is_tried(stages, monkeypatch):
    """All factorizations of 8 devices, 4 layers, 8 heads and 16 sequences, by brute force."""
    monkeypatch.setattr("costmodel.solve.plans.Stages", lambda stack, sequence_parallel: stages)
    found = plan(stages.stack, devices=8, hw="a100-sxm-80gb", global_batch=16, count=10**6)
    expected = 0
    for tp, pp, dp, b, v in itertools.product(range(1, 9), range(1, 9), range(1, 9), range(1, 17), range(1, 5)):
        if tp * pp * dp == 8 and 4 % (pp * v) == 0 and 16 % (dp * b) == 0 and (v == 1 or (pp > 1 and (16 // dp // b) % pp == 0)):
            expected += 4 if dp > 1 else 1
    assert found.tried == expected == found.fitting
    assert len(found) == len({(c.plan.data, c.plan.tensor, c.plan.pipeline, c.plan.microbatch) for c in found})
    assert [c.seconds for c in found] == sorted(c.seconds for c in found)
    assert all(c.plan.data * c.plan.tensor * c.plan.pipeline == 8 for c in found)
    least = min(found, key=lambda c: c.bytes).bytes
    some = plan(stages.stack, devices=8, hw="a100-sxm-80gb", global_batch=16, memory=int(least * 1.5), count=10**6)
    assert 0 < some.fitting < found.fitting and all(c.bytes <= least * 1.5 for c in some)
    with pytest.raises(CostModelError, match="does not fit 8 x a100-sxm-80gb"):
        plan(stages.stack, devices=8, hw="a100-sxm-80gb", global_batch=16, memory=1000)
    assert "what binds" in str(some) and json.loads(json.dumps(some.as_dict()))["tried"] == expected


def test_a_device_without_training_data_says_so(stages):
    assert rates_of(load("a100-sxm-80gb")).products is not None
    assert "typical" in rates_of(load("h100-pcie")).words
    assert "not calibrated" in rates_of(load("tpu-v5e")).words


def test_a_name_is_no_model():
    with pytest.raises(CostModelError, match=r"give cm.model\('megatron_175b'\)"):
        plan("megatron_175b", devices=64, hw="a100-sxm-80gb", global_batch=64)


WRONG = [
    ({"devices": 0}, "--devices 0"), ({"global_batch": 0}, "--global-batch 0"), ({"count": 0}, "--count 0"),
    ({"hw": "a100"}, "a100"), ({"global_batch": 10**20}, "is more than 1,048,576"),
    ({"model": "gpt2"}, "'gpt2' does not say how it is trained"), ({"model": "megatron_175c"}, "did you mean megatron_175b"),
    ({"devices": 7, "global_batch": 4}, "no factorization of 7 devices"), ({"memory": "80 G"}, "has no unit of memory"),
]


@pytest.mark.parametrize(("changed", "what"), WRONG)
def test_wrong_questions_are_one_line(changed, what):
    asked = {"model": "megatron_175b", "devices": 64, "hw": "a100-sxm-80gb", "global_batch": 64, "count": 10, **changed}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items() if name != "model"]
    result = CliRunner().invoke(main, ["plan", asked["model"], *options])
    assert result.exit_code == 2 and what in result.stderr and result.stderr.count("\n") == 1
