"""What is left out of a peak's maximum over a mesh's axes is never the greatest."""

from __future__ import annotations

import random

import optax
from jax.sharding import PartitionSpec as P

import costmodel as cm
from costmodel.memory import liveness
from costmodel.sharding.rules import rules
from zoo.gpt import GPT, Config

MESH = {"data": 2, "model": 4}


def tensor_parallel():
    b, s = cm.dims("b s", where="8 | b, 8 | s, s <= 1024")
    tokens = cm.spec((b, s), "int32")
    return cm.analyze_training(GPT(Config(layers=2, width=64, heads=4, context=1024, vocabulary=96)), tokens, targets=[tokens],
                               loss=lambda y, t: optax.softmax_cross_entropy_with_integer_labels(y, t).mean(), mesh=MESH,
                               optimizer=optax.adamw(1e-3), data_sharding=P("data"), verify=False,
                               param_shardings=rules(["*/qkv/kernel=-,model; */fc/kernel=-,model; */proj/kernel=model,-"]))


def test_pruned_and_whole_peaks_are_equal_everywhere(monkeypatch):
    program = tensor_parallel().program
    pruned = liveness.live_peak(program)
    monkeypatch.setattr(liveness, "_hull", lambda kept: kept)
    whole = liveness.live_peak(program)
    assert len(pruned.args) < len(whole.args)
    rng = random.Random(0)
    symbols = sorted(whole.free_symbols, key=str)
    for _ in range(200):
        point = {s: rng.choice([1, 2, 3, 4, 8, 64]) if s.name in MESH else rng.randint(1, 2**rng.randint(0, 7)) for s in symbols}
        assert whole.xreplace(point) == pruned.xreplace(point), point


def test_a_part_is_covered_by_what_it_is_a_part_of():
    """x/(data·model) + x/data is less than 2·x/data, x any size."""
    x, data, model = cm.symbols("x data model")
    greater, smaller = liveness._terms(2 * x / data), liveness._terms(x / data + x / (data * model))
    assert liveness._hull([smaller, greater]) == [greater]
