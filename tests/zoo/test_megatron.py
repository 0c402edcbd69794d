"""Megatron's GPT over a mesh: what it keeps and sends is what its authors count, and its steps and plans take what was measured."""

from __future__ import annotations

import copy
import csv
from pathlib import Path

import numpy as np
import pytest
import sympy

import costmodel as cm
from costmodel.bench.plans import by_program, by_rule
from costmodel.bench.steps import DEVICE, TENTH, Predictor, figures, fit_protocols, megatron, traced, vtrain
from costmodel.hardware import load
from costmodel.memory import published
from costmodel.solve import Stages, plan, rates_of

RUNS = Path(__file__).parents[2] / "docs/measurements/runs"
pytestmark = pytest.mark.slow  # two traces of its three layers


@pytest.fixture(scope="module")
def stages():
    return traced()


@pytest.fixture(scope="module")
def predict(stages):
    return Predictor(rates_of(load(DEVICE)), stages)


@pytest.mark.parametrize("rule", published.RULES)
def test_a_layer_keeps_what_korthikanti_counts(stages, rule):
    """And the mean and the deviation of its two normalisations, in float32, which they leave out."""
    parallel, how = rule.startswith("sequence"), rule.split("+")[-1]
    kept = stages[parallel].forms[how if how in ("selective", "full") else "none"].kept
    s, b, h, a, t = cm.symbols("s b h a model")
    user = stages[parallel].cost.domain.in_user_symbols(kept).subs({cm.symbols("data"): 1, h: a * cm.symbols("d")})
    counted = published.layer(rule, s, b, h, a, t).subs(h, a * cm.symbols("d"))
    shared = t if parallel else 1
    left_out = 0 if rule == "full" else 16 * s * b / shared
    assert sympy.expand(user - counted - left_out) == 0


def test_a_layer_sends_what_megatron_does(stages):
    """4 all-reduces of b·s·h, or with sequence parallelism as many gathers and scatters, and the input gathered once more."""
    s, b, h, t, data = cm.symbols("s b h model data")
    once = 2 * b * s * h / data * (1 - 1 / t)  # bytes of a ring's gather or scatter
    for parallel, scatters, gathers in ((False, 0, 0), (True, 4, 6)):
        part, domain = stages[parallel].forms["none"], stages[parallel].cost.domain
        found = {}
        for each in part.sent:
            found[each.kind] = found.get(each.kind, 0) + domain.in_user_symbols(each.bytes)
        expected = {"reduce_scatter": scatters * once, "all_gather": gathers * once} if parallel else {"all_reduce": 8 * once}
        assert {kind: sympy.expand(sent) for kind, sent in found.items()} == {k: sympy.expand(v) for k, v in expected.items()}


def test_table_5(predict):
    errors = predict.errors(megatron(RUNS))
    assert len(errors) == 4 and np.abs(errors).mean() <= 0.05


def test_steps_that_nothing_was_fitted_to(predict):
    held = [step for i, step in enumerate(vtrain(RUNS)) if i % TENTH]
    assert len(held) == 669 and np.abs(predict.errors(held)).mean() <= 0.10


def test_memory_beside_the_published_rules(stages, predict):
    for row, step in figures(RUNS):
        assert by_program(stages, predict, row, step) == pytest.approx(by_rule(row, step), rel=0.1)


@pytest.mark.parametrize("compiled", [True, False])
def test_table_5_is_among_the_ten(stages, monkeypatch, compiled):
    def of(stack, sequence_parallel):
        """The same forms: they have all sizes as symbols."""
        found = copy.copy(stages[sequence_parallel])
        found.stack = stack
        return found

    if not compiled:
        monkeypatch.setattr("costmodel.solve.plans.Stages", of)
    found = plan(cm.model("megatron_175b"), devices=64, hw=DEVICE, global_batch=64)
    assert len(found) == 10 and len({(c.plan.data, c.plan.tensor, c.plan.pipeline, c.plan.microbatch, c.plan.recompute)
                                     for c in found}) == 10
    (own,) = [c for c in found if (c.plan.data, c.plan.tensor, c.plan.pipeline, c.plan.microbatch) == (1, 8, 8, 1)]
    assert own.plan.recompute == "selective" and 3 in own.chunks


@pytest.mark.parametrize("name", ["llama_7b", "mixtral_8x7b"])
def test_other_stacks(name):
    """Products of one layer and of the ends, as the parameters of the whole network have them: 3 · 2 a token and parameter."""
    stack = cm.model(name).stack()
    stages = Stages(stack, stack.sequence_parallel)
    parts = stages.at(np.array([1]), 1)
    matrices = stack.layers * parts["none"].params[0] + parts["last"].params[0]
    if name == "llama_7b":  # all of them multiply every token, and scores are products too: 3 · 4 · s · width · s a layer
        flops = sum(2 * float((p.count * p.m * p.n * p.k)[0]) for p in parts["none"].products) * stack.layers
        flops += sum(2 * float((p.count * p.m * p.n * p.k)[0]) for p in parts["last"].products)
        s, width = stack.at["s"], stack.at["width"]
        assert flops == pytest.approx(6 * s * matrices + 12 * s * s * width * stack.layers, rel=1e-3)
    whole = matrices + parts["first"].params[0]
    assert whole == {"llama_7b": 6_738_415_616, "mixtral_8x7b": 46_702_792_704}[name]
    assert len(plan(cm.model(name), devices=64, hw=DEVICE, global_batch=64)) == 10


def test_what_was_calibrated_is_in_the_device_file():
    protocols, hop, error = fit_protocols(RUNS)
    rates = rates_of(load(DEVICE))
    assert np.allclose(np.array(rates.protocols), np.array(protocols), rtol=0.02) and rates.hop == pytest.approx(hop, rel=0.02)
    assert error <= 0.12
    rows = list(csv.DictReader((RUNS / "steps-vtrain-a100.csv").open(encoding="utf-8")))
    assert f"{len(rows[::TENTH])} training steps" in rates.words
