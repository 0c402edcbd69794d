"""What is partitioned is the traced program, put together without tracing it again, and each operation says whose it is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import PartitionSpec as P

import costmodel as cm
from costmodel import _jax_compat as compat
from costmodel.sharding.rules import rules
from zoo.gpt import GPT, Config

MESH = {"data": 2, "model": 4}
SMALL = Config(layers=1, width=64, heads=4, context=64, vocabulary=96)


def gpt():
    b, s = cm.dims("b s", where="8 | b, 8 | s, s <= 64")
    tokens = cm.spec((b, s), "int32")
    return cm.analyze_training(GPT(SMALL), tokens, loss=lambda y, t: optax.softmax_cross_entropy_with_integer_labels(y, t).mean(),
                               targets=[tokens], optimizer=optax.adamw(1e-3), mesh=MESH, data_sharding=P("data"), verify=False,
                               param_shardings=rules(["*/qkv/kernel=-,model; */fc/kernel=-,model; */proj/kernel=model,-"]))


def scanned():
    n, d, k = cm.dims("n d k", where="8 | n, 8 | d")

    def many(x, w):
        return jax.lax.scan(lambda c, m: (jax.nn.relu(c @ m), c.sum()), x, w)
    return cm.analyze(many, (n, d), (k, d, d), mesh=MESH, in_shardings=(P("data"), P(None, None, "model")), verify=False)


def said(cost):
    """What every operation but on scalars and constants is, and how its operands and results are shared."""
    return [(op.name, op.mark, [(t.shape, t.sharding) for t in (*op.operands, *op.results)])
            for op in cost.request.device.found.operations if any(t.shape for t in op.operands)]


@pytest.mark.parametrize("make", [gpt, scanned])
def test_operations_are_those_of_a_second_trace(make, monkeypatch):
    quick = said(make())
    assert len({mark for _, mark, _ in quick}) > 5
    monkeypatch.setattr(compat, "staged", lambda *_: None)
    assert said(make()) == quick


def test_what_is_sent_between_the_operations_of_one_equation_is_its():
    """Largest values of two arrays along a shared dimension, stacked: jax writes that as three operations, each is sent."""
    n, d = cm.dims("n d", where="8 | n, 8 | d")

    def largest(x, y):
        return jnp.stack([x.max(-1), y.max(-1)], -1)

    cost = cm.analyze(largest, (n, d), (n, d), mesh=MESH, in_shardings=P("data", "model"), out_shardings=P("data"), verify=False)
    N, data, model = cm.symbols("n data model")
    assert cost.wire_bytes() == (2 * 2 * 4 * N / data * (1 - 1 / model)).expand()


def test_what_is_sent_is_made_by_an_equation():
    """The sum of a gather's parts reads what the gather makes, and hands on its result."""
    from costmodel.bench.mesh.programs import program

    cost = program("vocabulary_loss").analyze(MESH)
    made = set(cost.program.inputs)
    sums = []
    for e in cost.program.equations:
        if e.primitive == "psum":
            assert made.issuperset(e.ins)
            sums.append(e.outs[0])
        made.update(e.outs)
    read = {v for e in cost.program.equations for v in e.ins} | set(cost.program.outputs)
    assert len(sums) == 5 and read.issuperset(sums)
