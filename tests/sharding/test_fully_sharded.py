"""Fully sharded parameters (FSDP): weights are gathered where they are used, and once more where the forward pass is computed
again; their gradients are scattered. Beside what XLA compiles for eight processors."""

from __future__ import annotations

from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import PartitionSpec as P

import costmodel as cm
from costmodel.bench.mesh.judge import judge_over_mesh, sent
from costmodel.sharding.rules import rules
from zoo.llama import LLAMA_7B, Llama

MESH = {"data": 2, "model": 4}
BOTH = P(("data", "model"))
SMALL = replace(LLAMA_7B, layers=1, width=64, heads=8, kv_heads=8, hidden=192, vocabulary=256)


def step(remat, config=SMALL, verify=False):
    b, s = cm.dims("b s", where="8 | b, 8 | s")
    tokens = cm.spec((b, s), "int32")
    loss = lambda y, t: optax.softmax_cross_entropy_with_integer_labels(y, t).mean()  # noqa: E731
    return cm.analyze_training(Llama(config), tokens, loss=loss, targets=(tokens,), optimizer=optax.adamw(1e-3), mesh=MESH,
                               data_sharding=BOTH, param_shardings=rules(["*kernel=data+model; *embedding=data+model"]),
                               remat=remat, verify=verify)


@pytest.mark.parametrize(("remat", "times"), [("none", 2), ("full", 3)])
def test_a_training_step_sends_its_weights_and_gradients_and_no_activations(remat, times):
    cost = step(remat)
    data, model = cm.symbols("data model")
    params = jax.eval_shape(Llama(SMALL).init, jax.random.key(0), jax.ShapeDtypeStruct((8, 8), jnp.int32))
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    scales = [size for size in sizes if size == SMALL.width]  # of normalisations, which are whole on every device
    shared = sum(sizes) - sum(scales)
    # An all-reduce sends twice: of the scales' gradients, and of the loss and what its mean is divided by.
    assert cost.wire_bytes() == ((4 * times * shared + 8 * sum(scales) + 8) * (1 - 1 / (data * model))).expand()
    judged = judge_over_mesh(cost, {"b": 8, "s": 64})
    assert judged.wire_ratio == pytest.approx(1, abs=1e-3) and judged.argument == judged.theirs.argument
    assert not judged.doubtful


# What XLA sends where parameters outweigh the tokens' features, where these outweigh some of them, and where all but the logits.
WIDE = replace(SMALL, vocabulary=4096)
SENT = {(8, 8): 3357991, (16, 8): 3489031, (16, 16): 3485895, (64, 64): 6065479}


@pytest.fixture(scope="module")
def wide():
    return step("none", WIDE)


@pytest.mark.parametrize("sizes", SENT)
def test_the_partitioner_weighs_parameters_against_features(wide, sizes):
    """Without verification, too, and in a sweep: it shares other dimensions where they outweigh the other ones."""
    found = wide.at(b=sizes[0], s=sizes[1])
    assert sum(total for _, total in sent(found, "xla-cpu").values()) == SENT[sizes]
    assert set(found.cost.symbols) == set(wide.symbols)  # in closed form
    assert wide.sweep(metrics=("wire_bytes",), b=[sizes[0]], s=[sizes[1]]).wire_bytes.item() == found.wire_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("sizes", SENT)
def test_xla_does(wide, sizes):
    assert judge_over_mesh(wide, {"b": sizes[0], "s": sizes[1]}).theirs.wire == SENT[sizes]


@pytest.mark.slow
def test_verified_points_send_the_same(wide):
    verified = step("none", WIDE, verify=True)
    for b, s in SENT:
        assert verified.at(b=b, s=s).wire_bytes() == wide.at(b=b, s=s).wire_bytes()


def test_a_lookup_keeps_the_batch_before_a_kernel_that_is_shared_along_features():
    """jnp.take adds a dimension of size 1 to its indices, which HLO has as a reshape: Shardy looks at it before it looks at the
    contraction, which would have the table's features shared."""
    b, s, v, d, f = cm.dims("b s v d f")
    cost = cm.analyze(lambda t, table, w: jnp.take(table, t, axis=0) @ w, cm.spec((b, s), "int32"), (v, d), (d, f), mesh=MESH,
                      in_shardings=(BOTH, P(), BOTH), verify=False)
    data, model, features, hidden = cm.symbols("data model d f")
    assert cost.wire_bytes() == 4 * features * hidden - 4 * features * hidden / (data * model)


def test_a_module_is_initialised_once_whether_or_not_there_is_a_mesh():
    ran = []

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x):
            def init(key, shape):
                ran.append(shape)
                return jnp.zeros(shape)
            return x @ self.param("w", init, (x.shape[-1], 8))

    n, d = cm.dims("n d")
    cm.analyze(Layer(), (n, d), verify=False)
    alone = len(ran)
    ran.clear()
    cm.analyze(Layer(), (n, d), mesh=MESH, in_shardings=P("data"), verify=False)
    assert len(ran) == alone


def test_heads_that_do_not_divide_use_a_part_of_an_axis():
    """The partitioner splits 4 heads over a part of the 8 devices; how much of an axis it uses is read from its attribute."""
    n, d = cm.dims("n d")
    cost = cm.analyze(lambda x, w: jax.nn.softmax((x @ w).reshape(n, 4, 16)), (n, d), (d, 64), mesh=MESH,
                      in_shardings=(P(), P(None, ("data", "model"))), verify=False)
    assert cost.at(n=64, d=64).macs == 64 * 64 * 64 // 8
