"""Types by role: a repriced program counts what the quantised program itself counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import lax

import costmodel as cm

N, D, F = cm.dims("n d f")


def multiplies(cost: cm.Cost) -> Counter:
    """Multiply-accumulates by the type of their operands and of their sums."""
    found: Counter = Counter()
    for e in cost.program:
        for kind, count, _ in e.work.ops:
            if kind.name == "mac":
                found[kind.dtype, kind.accumulate] += count * e.times
    return found


def plain(w: Any, x: Any) -> Any:
    return x @ w


def quantised(w: Any, x: Any) -> Any:
    """As TFLite has a fully connected layer: int8 by int8, added up in int32, rescaled and stored in int8."""
    sums = lax.dot_general(x, w, (((1,), (0,)), ((), ())), preferred_element_type=jnp.int32)
    return lax.shift_right_arithmetic(sums, 7).astype("int8")


def weights_only(w: Any, x: Any) -> Any:
    return x @ w.astype(x.dtype)


@pytest.mark.parametrize("text, program, weights, data", [
    ("weights=int8,activations=int8", quantised, "int8", "int8"), ("int8", quantised, "int8", "int8"),
    ("weights=int8,activations=bf16", weights_only, "int8", "bfloat16"),
    ("weights=float8_e4m3fn,activations=bf16", weights_only, "float8_e4m3fn", "bfloat16"), ("bf16", plain, "bfloat16", "bfloat16"),
])
def test_a_repriced_product_is_the_one_of_the_quantised_program(text: str, program: Any, weights: str, data: str) -> None:
    repriced = cm.analyze(plain, cm.spec((D, F)), cm.spec((N, D)), params=0).reprice(text)
    real = cm.analyze(program, cm.spec((D, F), weights), cm.spec((N, D), data), params=0)
    assert multiplies(repriced) == multiplies(real)
    for form in ("compulsory", "ideal"):
        assert repriced.bytes(form) == real.bytes(form), form


def test_weights_alone_leave_everything_else(cost_of: Any) -> None:
    cost = cost_of("mlp")
    narrow = cost.reprice("weights=int4")
    assert narrow.bytes("compulsory") == cost.bytes("compulsory") - cost.params * 7 / 2  # 28 bits of 32
    assert narrow.activations() == cost.activations() and narrow.name == "mlp, weights in int4"
    point = {"n": 3, "a": 30, "b": 20, "c": 10, "d": 40}
    there, before = narrow.at(**point), cost.at(**point)
    assert there.live_peak("ideal") == before.live_peak("ideal") - before.params * 7 // 2


def test_the_scanned_layers_of_a_model_read_slices_of_weights() -> None:
    """What a loop reads of stacked weights are weights: 12 layers of d·d at a byte each."""
    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x: Any, _: Any) -> Any:
            return nn.Dense(64, use_bias=False)(x), None

    stack = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=12)()
    cost = cm.analyze(lambda p, x: stack.apply(p, x, None)[0],
                      jax.eval_shape(lambda: stack.init(jax.random.key(0), jnp.zeros((1, 64)), None)), cm.spec((N, 64)), params=0)
    assert multiplies(cost.reprice("weights=int8,activations=int8")) == {("int8", "int32"): 12 * 64 * 64 * cm.symbols("n")}


def test_an_embedding_is_looked_up_in_weights_and_gives_activations() -> None:
    cost = cm.analyze(lambda table, i: table.at[i].get(mode="clip"), cm.spec((1000, 64)), cm.spec((N,), "int32"), params=0)
    (out,) = cost.reprice("weights=int8,activations=bf16").program.outputs
    assert out.array.dtype == "bfloat16"


@pytest.mark.parametrize("text, words", [
    ("weigths=int8", "did you mean weights"), ("weights=int9", "did you mean"), ("weights=int8,weights=int4", "two types"),
    ("activations=", "is not a dtype"), ("int8,bf16", "is not a dtype"),
])
def test_what_is_no_type_is_told(text: str, words: str) -> None:
    with pytest.raises(cm.CostModelError, match=words):
        cm.analyze(plain, (D, F), (N, D), params=0).reprice(text)
