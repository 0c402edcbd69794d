"""Language models of the zoo: the formulas and integers that the literature prints, and what their two forms must agree on."""

from __future__ import annotations

import csv
import dataclasses
import math
from fractions import Fraction
from importlib.resources import files

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ENTRIES
from sympy import expand

import costmodel as cm
from zoo import bert, gpt, llama, mamba, moe, t5

b, s, t, d, f = cm.symbols("b s t d f")

with (files("zoo") / "data" / "language.csv").open(encoding="utf-8", newline="") as file:
    PUBLISHED = list(csv.DictReader(file))


# -- published integers, read from the data file and not through the entries -------------------------------------------------


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row['model']}-{row['metric']}")
def test_published_integers(row, cost_of):
    at = dict(binding.split("=") for binding in row["at"].split())
    value = cost_of(row["model"]).metric(row["metric"])
    assert value.xreplace({cm.symbols(name): int(number) for name, number in at.items()}) == int(row["value"])


def test_the_integers_of_the_best_known_models(cost_of):
    """Typed here once more, so that a slip of the data file shows."""
    known = {"gpt2": 124_439_808, "gpt2_medium": 354_823_168, "gpt2_large": 774_030_080, "gpt2_xl": 1_557_611_200,
             "gpt3_175b": 174_604_259_328, "bert_base": 109_482_240, "bert_large": 335_141_888, "llama_7b": 6_738_415_616,
             "llama2_70b": 68_976_648_192, "llama3_8b": 8_030_261_248, "mixtral_8x7b": 46_702_792_704, "t5_small": 60_506_624}
    assert {name: cost_of(name).params for name in known} == known


def test_a_wrong_size_is_caught():
    wrong = dataclasses.replace(gpt.GPT2, layers=11)
    assert cm.analyze(gpt.GPT(wrong), cm.spec(cm.dims("b s", where="s <= 1024"), "int32")).params != 124_439_808


# -- GPT ---------------------------------------------------------------------------------------------------------------------

GPTS = {"gpt2": gpt.GPT2, "gpt2_scan": gpt.GPT2, "gpt2_nnx": gpt.GPT2, "gpt2_medium": gpt.GPT2_MEDIUM, "gpt2_large": gpt.GPT2_LARGE,
        "gpt2_xl": gpt.GPT2_XL, "gpt3_175b": gpt.GPT3_175B, "opt_13b": gpt.OPT_13B}


@pytest.mark.parametrize("name", GPTS)
def test_products_of_a_gpt_are_the_textbooks_formula(name, cost_of):
    c = GPTS[name]
    formula = 2 * b * s * (12 * c.layers * c.width**2 + 2 * c.layers * s * c.width + c.width * c.vocabulary)
    assert 2 * cost_of(name).macs == expand(formula)


def test_gpt2_at_1024_tokens(cost_of):
    assert 2 * cost_of("gpt2").at(b=1, s=1024).macs == 291_648_307_200


def test_a_transformer_block_of_any_width(cost_of):
    cost = cost_of("transformer_block")
    assert cost.params == 12 * d**2 + 13 * d
    assert cost.macs == expand(b * s * (12 * d**2 + 2 * s * d))


def test_kaplans_two_flop_a_parameter_and_token(cost_of):
    """Forward per token 2·N + 4·L·n_ctx·d, dense, with N the parameters in matrices that multiply (Kaplan et al. 2020)."""
    c = gpt.GPT3_175B
    in_matrices = 12 * c.layers * c.width**2 + c.width * c.vocabulary
    assert 2 * cost_of("gpt3_175b").macs == expand(b * s * (2 * in_matrices + 4 * c.layers * s * c.width))
    # The paper's 3.14e23 FLOP for 300 G tokens is 6 a parameter and token; parameters are nearly all in matrices.
    assert 6 * cost_of("gpt3_175b").params * 300e9 == pytest.approx(3.14e23, rel=0.005)


def test_layers_as_a_loop_cost_as_much_as_written_out(cost_of):
    loop, unrolled = cost_of("gpt2_scan"), cost_of("gpt2")
    for metric in ("params", "macs", "flops", "transcendentals"):
        assert loop.metric(metric) == unrolled.metric(metric), metric


# -- caches ------------------------------------------------------------------------------------------------------------------


def cache_bytes_a_token(entry: cm.ModelEntry):
    """Bytes of keys and values that one more position of one sequence needs, from the entry's inputs (the arrays with t)."""
    _, inputs = entry.make()
    caches = [x for x in inputs if t in {cm.expression(dim) for dim in x.shape}]
    return sum(math.prod(map(cm.expression, x.shape)) * x.dtype.itemsize for x in caches) / (b * t)


@pytest.mark.parametrize(("name", "published"), [("llama_7b_decode", 524_288), ("opt_13b_decode", 819_200),
                                                 ("llama2_70b_decode", 327_680), ("llama3_8b_decode", 131_072)])
def test_cache_bytes_a_token(name, published):
    assert cache_bytes_a_token(ENTRIES[name]) == published


@pytest.mark.parametrize(("name", "config"), [("llama_7b_decode", llama.LLAMA_7B), ("llama2_70b_decode", llama.LLAMA2_70B),
                                              ("llama3_8b_decode", llama.LLAMA3_8B)])
def test_a_decoding_step_multiplies_each_weight_once(name, config, cost_of):
    """All parameters but the embedding's and the norms', and 2·d a layer and position of the cache."""
    weights = cost_of(name).params - config.vocabulary * config.width - (2 * config.layers + 1) * config.width
    assert cost_of(name).macs == expand(b * (weights + 2 * config.layers * config.width * t))


@pytest.mark.parametrize(("name", "decode"), [("llama_7b", "llama_7b_decode"), ("llama3_8b", "llama3_8b_decode"),
                                              ("gpt2", "gpt2_decode"), ("mixtral_8x7b", "mixtral_8x7b_decode")])
def test_a_decoding_step_is_the_last_row_of_a_forward_pass(name, decode, cost_of):
    """Attention to t positions is one of s rows of attention to s = t positions; everything else is s tokens' work."""
    assert (cost_of(name).macs / s).expand().xreplace({s: t}) == cost_of(decode).macs


def tiny(kind: str):
    sizes = {"layers": 2, "width": 16, "heads": 4, "vocabulary": 11, "scan": True}
    if kind == "gpt":
        return gpt.GPT(gpt.Config(**sizes, context=8)), 4
    if kind == "multi_query":
        return llama.Llama(llama.Config(**sizes, kv_heads=1, hidden=24)), 1
    return llama.Llama(moe.Config(**sizes, kv_heads=2, hidden=24, experts=4), moe.Layer), 2


def random_variables(model, *inputs):
    """Arrays of the model's parameters, drawn by numpy: compiling an initialisation takes longer than what is tested."""
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    return jax.tree.map(lambda x: jnp.asarray(draw.normal(0, 0.3, x.shape), x.dtype), shapes)


# Compiling and running takes seconds a model; the rest of this file only traces.
@pytest.mark.parametrize("kind", ["gpt", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("multi_query", "moe"))])
def test_decoding_token_by_token_computes_what_a_forward_pass_does(kind):
    model, kv_heads = tiny(kind)
    tokens = jnp.array([[3, 1, 4], [10, 0, 7]])
    variables = random_variables(model, tokens)
    step = jax.jit(model.apply)
    expected = step(variables, tokens)
    cache = (jnp.zeros((2, 2, 0, kv_heads, 4)),) * 2
    for i in range(3):
        cache = tuple(jnp.pad(part, ((0, 0), (0, 0), (0, 1), (0, 0), (0, 0))) for part in cache)
        logits, cache = step(variables, tokens[:, i : i + 1], *cache)
        np.testing.assert_allclose(logits[:, 0], expected[:, i], rtol=1e-4, atol=1e-5)


def test_a_window_bounds_what_a_token_sees():
    mask = np.asarray(llama.window_mask(6, 3))
    assert mask.sum(axis=1).tolist() == [1, 2, 3, 3, 3, 3]
    assert np.array_equal(llama.window_mask(6, None), np.tril(np.ones((6, 6), bool)))


def test_half_precision_halves_the_weights():
    config = dataclasses.replace(llama.LLAMA3_8B, dtype=jnp.bfloat16)
    cost = cm.analyze(llama.Llama(config), cm.spec(cm.dims("b s"), "int32"))
    assert cost.model_size() == 2 * cost.params == 16_060_522_496


# -- mixture of experts ------------------------------------------------------------------------------------------------------


def test_mixtral_multiplies_its_active_parameters_only(cost_of):
    c, cost = moe.MIXTRAL_8X7B, cost_of("mixtral_8x7b")
    active = moe.active_params(c, int(cost.params))
    assert round(active / 1e9, 1) == 12.9  # the paper's figure
    weights = active - c.vocabulary * c.width - (2 * c.layers + 1) * c.width
    combine = c.layers * c.active * c.width  # the weighted sum of the experts' results
    assert cost.macs == expand(b * s * (weights + combine + 2 * c.layers * s * c.width))


def test_capacity_computes_its_factor_more_than_dropless(cost_of):
    """Experts' products at capacity factor 5/4 are 5/4 of the dropless ones; the rest is routing and does not grow with f."""
    capacity, dropless = cost_of("moe_layer").macs.coeff(f), cost_of("moe_layer_dropless").macs.coeff(f)
    assert dropless == 2 * 3 * b * s * d
    assert capacity == expand(dropless * 5 / 4)
    assert cost_of("moe_layer").params == cost_of("moe_layer_dropless").params == 8 * 3 * d * f + 8 * d


@pytest.mark.slow
def test_ample_capacity_gives_the_dropless_result():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 12, 8)), jnp.float32)
    dropless = moe.MoE(moe.DroplessExperts(16), number=4)
    ample = moe.MoE(moe.CapacityExperts(16, capacity_factor=Fraction(2)), number=4)  # 12 places: all tokens of a sequence
    variables = random_variables(dropless, x)
    expected = jax.jit(dropless.apply)(variables, x)
    np.testing.assert_allclose(jax.jit(ample.apply)(variables, x), expected, rtol=1e-4, atol=1e-6)
    scarce = moe.MoE(moe.CapacityExperts(16, capacity_factor=Fraction(1, 4)), number=4)
    assert not np.allclose(jax.jit(scarce.apply)(variables, x), expected, atol=1e-3)


# -- encoders, T5, recurrent models ------------------------------------------------------------------------------------------


def test_a_layer_of_bert_large(cost_of):
    """Ivanov et al. 2021, Table 1: 111.669 Gflop of forward contractions at batch 8, 512 tokens."""
    assert f"{2 * cost_of('bert_large_layer').at(b=8, s=512).macs / 1e9:.3f}" == "111.669"


@pytest.mark.parametrize(("name", "config"), [("bert_base", bert.BERT_BASE), ("bert_large", bert.BERT_LARGE)])
def test_products_of_bert(name, config, cost_of):
    layers = b * s * config.layers * (12 * config.width**2 + 2 * s * config.width)
    assert cost_of(name).macs == expand(layers + b * config.width**2)  # and the pooler, on one token


def test_products_of_t5(cost_of):
    c = t5.T5_SMALL
    inner = c.heads * c.head_width
    project, mlp = 4 * c.width * inner, 2 * c.width * c.hidden
    encoder = s * (project + mlp) + 2 * s**2 * inner
    cross = c.width * inner * (2 * s + 2 * t) + 2 * s * t * inner
    decoder = t * (project + mlp) + 2 * t**2 * inner + cross
    assert cost_of("t5_small").macs == expand(b * (c.layers * (encoder + decoder) + t * c.width * c.vocabulary))


def test_products_of_recurrent_models_are_linear_in_the_sequence(cost_of):
    assert cost_of("lstm_layer").macs == 8 * b * s * d**2
    assert cost_of("lstm_layer").params == 8 * d**2 + 4 * d
    large = cost_of("lstm_lm_large")
    assert large.macs == b * s * (2 * 8 * 1500**2 + 1500 * 10_000)
    assert cost_of("mamba_130m").macs.coeff(s, 2) == 0


def test_a_mamba_block(cost_of):
    """in 4·d², out 2·d², convolution 4 taps and C·h 16 products for 2·d channels; Δ, B and C through d/16 + 32 numbers."""
    products = 6 * d**2 + 2 * d * (4 + 16) + 2 * d * (d / 16 + 32) + d / 16 * 2 * d
    assert cost_of("mamba_block").macs == expand(b * s * products)


def test_a_selective_scan_is_its_recurrence():
    draw = np.random.default_rng(0)
    x, delta = draw.normal(size=(2, 2, 6, 3)).astype(np.float32)
    select_b, select_c = draw.normal(size=(2, 2, 6, 4)).astype(np.float32)
    a = -np.exp(draw.normal(size=(3, 4))).astype(np.float32)
    state, expected = np.zeros((2, 3, 4)), []
    for i in range(6):
        decay = np.exp(delta[:, i, :, None] * a)
        state = decay * state + (delta[:, i] * x[:, i])[..., None] * select_b[:, i, None, :]
        expected.append((state * select_c[:, i, None, :]).sum(axis=-1))
    result = mamba.selective_scan(x, delta, a, select_b, select_c)
    np.testing.assert_allclose(result, np.stack(expected, axis=1), rtol=1e-4, atol=1e-5)


# -- Linen and NNX -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "twin"), [("gpt2", "gpt2_nnx"), ("llama_7b", "llama_7b_nnx")])
def test_nnx_twins_have_the_same_closed_forms_paths_and_rows(name, twin, cost_of):
    linen, nnx = cost_of(name), cost_of(twin)
    for metric in ("params", "buffers", "macs", "flops", "transcendentals", "model_size"):
        assert linen.metric(metric) == nnx.metric(metric), metric
    assert {e.path for e in linen.program} == {e.path for e in nnx.program}
    assert {v.name: v.array for v in linen.program.parameters} == {v.name: v.array for v in nnx.program.parameters}
    for depth in (1, 2, None):
        # Unfused bytes, the last column, may differ: flax casts and broadcasts otherwise in its two APIs.
        ours, theirs = ({row.label: row.cells[:-1] for row in cost.table(depth=depth, collapse=False).rows}
                        for cost in (linen, nnx))
        assert ours == theirs
