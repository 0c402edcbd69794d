"""What XLA for processors writes to memory, array by array, beside what the policy ``xla-cpu`` writes: small programs, one for each
rule of a pass of XLA, compiled here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import costmodel as cm

LEAST = 4096  # elements: what is smaller is another question
TYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "s32": "int32", "s8": "int8", "pred": "bool", "c64": "complex64",
         "u32": "uint32"}
NOT_WRITTEN = {"parameter", "constant", "bitcast", "get-tuple-element", "tuple", "reduce-window"}


def xla(f: Callable[..., Any], *inputs: Any) -> Counter[tuple[str, int]]:
    """(type, elements) of what the instructions of the compiled program write."""
    text = jax.jit(f).lower(*inputs).compile().as_text()
    found: Counter[tuple[str, int]] = Counter()
    for line in text[text.index("\nENTRY"):].splitlines():
        made = re.match(r"\s*(?:ROOT )?%\S+ = (.*?) ([a-z-]+)\(", line)
        if made and made[2] not in NOT_WRITTEN:
            for name, shape in re.findall(r"([a-z0-9]+)\[([0-9,]*)\]", made[1]):
                size = 1
                for d in shape.split(",") if shape else ():
                    size *= int(d)
                found[TYPES[name], size] += size >= LEAST
    return +found


def ours(f: Callable[..., Any], *inputs: Any) -> Counter[tuple[str, int]]:
    """The same of the policy's kernels."""
    kernels = cm.analyze(f, *inputs, verify=False).kernels("xla-cpu")
    return +Counter((v.array.dtype, int(v.array.size)) for k in kernels for v, _ in k.writes if v.array.size >= LEAST)


def array(*shape: int, dtype: str = "float32") -> Any:
    return cm.spec(shape, dtype)


def agree(f: Callable[..., Any], *inputs: Any) -> None:
    assert ours(f, *inputs) == xla(f, *inputs)


SQUARE = array(256, 256)
PLACES = jnp.arange(0, 256, 3)


def sorted_twice(x: Any) -> Any:
    """Two kernels that may compute what they are given, and read it once each."""
    return jnp.sort(x * 2, 0), jnp.sort(x * 3, 1)


# -- InstructionFusion ------------------------------------------------------------------------------------------------------------


def test_a_sum_is_computed_in_all_its_users_if_it_can_be():
    agree(lambda x, y: sorted_twice(x + y), SQUARE, SQUARE)


def test_a_sum_is_written_for_all_its_users_if_one_reads_it():
    agree(lambda x, y: (*sorted_twice(x + y), jnp.sort(x + y, 0)), SQUARE, SQUARE)


def test_a_sum_is_written_if_a_path_to_a_user_is_interrupted():
    def program(x, y):
        total = x + y
        return jnp.sort(total * jnp.sort(total * 2, 0), 1), jnp.sort(total * 3, 1)

    agree(program, SQUARE, SQUARE)


def test_gathered_elements_are_written_once():
    agree(lambda x, places: sorted_twice(x[places]), SQUARE, array(100, dtype="int32"))


def test_a_padded_array_is_written_once():
    agree(lambda x: sorted_twice(jnp.pad(x * 2, 1)), SQUARE)


# -- YNNPACK ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "tanh", "erf", "logistic", "floor", "ceil", "sign", "abs", "neg", "square",
    "sin", "cos", "cbrt"])
def test_a_reduction_draws_in_what_the_library_computes(name):
    agree(lambda x: jnp.sum(getattr(lax, name)(x), 1), SQUARE)


def test_the_library_does_not_sum_integers():
    agree(lambda x: jnp.sum(x * 2, 1), array(256, 256, dtype="int32"))


def test_the_library_does_not_choose():
    agree(lambda x: jnp.sum(jnp.where(x > 0, x, 0), 1), SQUARE)


@pytest.mark.parametrize("shape", [(256, 256), (8, 32, 64, 32)])
def test_arithmetic_on_few_elements_is_none_of_the_library(shape):
    """A softmax over lines of a matrix is three kernels, over those of attention one."""
    agree(lambda x: jnp.sin(jax.nn.softmax(jnp.sin(x))), array(*shape))


@pytest.mark.parametrize("shape", [(3, 4, 4, 8), (64, 16, 16, 64)])
def test_a_program_that_ends_with_a_mean_is_one_kernel(shape):
    """One of the library where there is much, one loop where there is little."""
    def program(x):
        return jnp.mean(x, (1, 2), keepdims=True)[:, 0, 0] * 2

    text = jax.jit(program).lower(array(*shape)).compile().as_text()
    assert text[text.index("\nENTRY"):].count(" fusion(") == 1
    assert len(cm.analyze(program, array(*shape), verify=False).kernels("xla-cpu")) == 1


# -- FloatNormalization -----------------------------------------------------------------------------------------------------------

NARROW: dict[str, Callable[[Any], Any]] = {
    "arithmetic": lambda x: x + 1,
    "join": lambda x: jnp.concatenate([x, x * 2]),
    "join of lines": lambda x: jnp.concatenate([x, x * 2], 1),
    "slice": lambda x: x[1:],
    "pad": lambda x: jnp.pad(x, 1),
    "sort": lambda x: jnp.sort(x, 1),
    "scatter": lambda x: x.at[PLACES].add(x[:86]),
    "sum": lambda x: jnp.sum(x, 1),
    "pooling": lambda x: lax.reduce_window(x, x.dtype.type(0), lax.add, (2, 2), (2, 2), "VALID"),
    "overlapping pooling": lambda x: lax.reduce_window(x, x.dtype.type(-jnp.inf), lax.max, (2, 2), (1, 1), "VALID"),
    "product": lambda x: x @ x,
    "softmax": lambda x: jax.nn.softmax(x),
}


@pytest.mark.parametrize(("name", "dtype"), [
    *((name, "bfloat16") for name in NARROW), *((name, "float16") for name in NARROW if name != "softmax")])
def test_what_is_no_loop_is_given_32_bits(name, dtype):
    def program(x):
        return jnp.sin(NARROW[name](jnp.sort(jnp.sin(x) * 2, 0) * 3) + 1)

    agree(program, array(256, 256, dtype=dtype))


def test_the_library_compares_16_bits_as_they_are():
    def program(x):
        return lax.reduce_window(x, x.dtype.type(-jnp.inf), lax.max, (2, 2), (2, 2), "VALID")

    agree(program, array(256, 256, dtype="bfloat16"))


def test_a_narrowing_is_not_computed_twice():
    agree(lambda x: sorted_twice(x.astype(jnp.bfloat16)), SQUARE)


# -- HloCSE and AlgebraicSimplifier -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [
    lambda x: (jnp.sort(jnp.sin(x), 0), jnp.sort(jnp.sin(x), 1)),
    lambda x: (jnp.sort(jnp.sin(x + 2.0), 0), jnp.sort(jnp.sin(2.0 + x), 1)),
    lambda x: (jnp.sort(jnp.sin(x + 2.0), 0), jnp.sort(jnp.sin(x + 3.0), 1)),
    lambda x: (jnp.sort(jnp.exp(x * 1.0 + 0.0), 0), jnp.sort(jnp.exp(x), 1)),
    lambda x: (jnp.sin(x), jnp.sin(x)),
], ids=["the same", "the same but for an order", "other numbers", "nothing but the same", "results"])
def test_what_is_computed_twice_is_written_once(f):
    agree(f, SQUARE)


def test_what_is_recomputed_is_not_on_a_processor():
    """jax's barriers are taken away before equal expressions are merged."""
    def layer(x):
        return jnp.sin(jnp.sin(x @ x) @ x)

    plain, recomputing = (jax.value_and_grad(lambda x, f=f: jnp.sum(f(x))) for f in (layer, jax.checkpoint(layer)))
    assert ours(plain, SQUARE) == ours(recomputing, SQUARE) == xla(plain, SQUARE) == xla(recomputing, SQUARE)


# -- how a kernel reads ------------------------------------------------------------------------------------------------------------


def test_a_quotient_that_is_conjugated_is_written():
    """Both its parts are used: a conjugate is no single operation."""
    agree(lambda x, y: jnp.conj(x / y), array(256, 256, dtype="complex64"), array(256, 256, dtype="complex64"))


@pytest.mark.parametrize("f", [lambda x: jnp.sin(x).T @ x, lambda x: jnp.sin(x).T @ jnp.sin(x)])
def test_what_a_product_reads_transposed_is_written_as_it_is(f):
    agree(f, SQUARE)


def test_what_is_changed_in_place_is_not_read_elsewhere_by_the_same_kernel():
    def program(x):
        return lax.dynamic_update_slice(x, x[1:200] * 2, (3, 0))

    part = "float32", 199 * 256
    assert ours(program, SQUARE)[part] == xla(program, SQUARE)[part] == 1


@pytest.mark.parametrize("f", [
    lambda x: x.sum(1),
    lambda x: (x * x).sum(1),
    lambda x: (x.sum(1), x + 1),
    lambda x: ((x * x).sum(1), x + 1),
    lambda x: ((x.reshape(-1) * x.reshape(-1)).sum(), x + 1),
    lambda x: (x.sum(1), x[:, ::-1]),
    lambda x: (x.sum(1), x[3:]),
    lambda x: (x.sum(1), jnp.pad(x, 1)),
    lambda x: (x.sum(1), jnp.concatenate([x, x])),
    lambda x: (x.sum(1), x[PLACES]),
    lambda x: (x.sum(1), x > 0),
    lambda x: (x.sum(1), x.sum(0)),
    lambda x: (x.sum(1), x.T),
    lambda x: (x.sum(1), x.astype(jnp.int32)),
    lambda x: (x.max(1), x + 1),
    lambda x: (x.sum(1), jnp.sort(x, 1)),
    lambda x: (x.sum(1), x @ x),
    lambda x: x / x.sum(1, keepdims=True),
    jax.nn.softmax,
], ids=["alone", "squares", "and arithmetic", "squares and arithmetic", "reshaped and arithmetic", "reversed", "sliced", "padded",
        "concatenated", "gathered", "compared", "twice", "transposed", "to integers", "greatest", "sorted", "product", "divided",
        "softmax"])
def test_bfloat16_is_widened_once_for_all_its_readers(f):
    """The library is given an array in 32 bits that others widen, too."""
    agree(f, array(256, 256, dtype="bfloat16"))


def biggest(x: Any, axis: int) -> Any:
    return jax.grad(lambda x: x.max(axis).sum())(x)


@pytest.mark.parametrize("f", [
    lambda x: biggest(x, 0),
    lambda x: biggest(x, 1),
    lambda x: (x > 0).astype(jnp.float32) * jnp.sin(x),
    lambda x: ((x > 0).astype(jnp.float32) * jnp.sin(x)).sum(1),
], ids=["greatest of columns", "greatest of rows", "masked", "sum of masked"])
def test_a_product_with_a_mask_is_a_choice(f):
    """Which the library does not make."""
    agree(f, array(8192, 8192))


@pytest.mark.parametrize("f", [
    lambda x: (x**2).sum(),
    lambda x: (x**2).sum(1),
    lambda x: (x * x).mean(),
    lambda x: ((x + 1)**2).sum(1),
], ids=["all", "rows", "mean", "of a sum"])
def test_a_square_is_summed_by_the_library(f):
    agree(f, array(8192, 8192))


@pytest.mark.parametrize(("shape", "other"), [
    ((128, 64), (64, 96)), ((8192, 64), (64, 1)), ((8192, 64), (64,)), ((1, 64), (64, 8192)), ((128, 1), (1, 96)),
    ((8, 128, 64), (8, 64, 96)), ((8, 1280, 64), (8, 64, 1))])
def test_a_product_with_a_vector_is_none_of_the_library(shape, other):
    """Which multiplies matrices, and then what follows is of the same kernel."""
    agree(lambda a, b: ((a @ b)**2).sum(), array(*shape), array(*other))


@pytest.mark.parametrize("f", [
    lambda x: x > x.max(),
    lambda x: x > x.max(1, keepdims=True),
    lambda x: jnp.where(x > 0, x.sum(1, keepdims=True), 0.0),
    lambda x: jnp.sin(x - x.max(1, keepdims=True)),
    lambda x: x % x.max(1, keepdims=True),
    lambda x: (x > x.max(), x.max()),
], ids=["number", "column", "chosen", "computed", "used often", "result"])
def test_what_the_library_repeats_for_a_loop_is_written(f):
    agree(f, array(8192, 8192))
