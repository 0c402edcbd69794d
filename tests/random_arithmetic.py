"""Blocks of random programs that compute: element by element, normalisations, products, reductions, sorts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from random_base import Array, Run, axis_of, channels, floating, image, needs, ones

# -- arithmetic ----------------------------------------------------------------------------------------------------------------

UNARY: dict[str, Run] = {
    "sin": jnp.sin, "exp": jnp.exp, "tanh": jnp.tanh, "square": jnp.square, "cube": lambda x: x**3,
    "rsqrt": lambda x: lax.rsqrt(x + 2), "log": lambda x: jnp.log1p(x * x), "relu": jax.nn.relu, "gelu": jax.nn.gelu,
    "silu": jax.nn.silu, "abs": jnp.abs, "sign": jnp.sign,
    "affine": lambda x: x * 3.0 - 1.0, "twice": lambda x: x + x, "clip": lambda x: jnp.clip(x, -1, 1), "erf": lax.erf,
    "power": lambda x: jnp.abs(x) ** 0.3, "reciprocal": lambda x: 1 / (x + 3), "where": lambda x: jnp.where(x > 0.5, x, 0.0),
    "floor": jnp.floor, "nan_to_num": jnp.nan_to_num, "integer_pow": lambda x: lax.integer_pow(x, -2), "softplus": jax.nn.softplus,
}


def unary(x: Array, f: str) -> Array:
    return UNARY[f](floating(x))


def cast(x: Array, dtype: str) -> Array:
    return x.astype(dtype)


def compare(x: Array) -> Array:
    return x > x.mean()


def integers(x: Array) -> Array:
    return (x.astype("int32") * 3 + 1) % 7 ^ 2


def scale_rows(x: Array, axis: int) -> Array:
    axis = axis_of(x, axis)
    places = jnp.arange(x.shape[axis], dtype=floating(x).dtype)
    return x * places.reshape((-1,) + (1,) * (x.ndim - 1 - axis))


def causal(x: Array) -> Array:
    needs(2, x)
    i, j = (lax.broadcasted_iota("int32", x.shape, d) for d in (x.ndim - 2, x.ndim - 1))
    return jnp.where(i >= j, x, 0)


def triangle(x: Array, upper: bool, k: int) -> Array:
    needs(2, x)
    return (jnp.triu if upper else jnp.tril)(x, k)


def dropout(x: Array, rate: float) -> Array:
    kept = jax.random.bernoulli(jax.random.key(0), 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0)


def noise(x: Array) -> Array:
    return x + jax.random.normal(jax.random.key(1), x.shape)


# -- normalisations ------------------------------------------------------------------------------------------------------------


def softmax(x: Array, axis: int, log: bool) -> Array:
    return (jax.nn.log_softmax if log else jax.nn.softmax)(floating(x), axis=axis_of(x, axis))


def normalise(x: Array, axis: int, kind: str) -> Array:
    x, axis = floating(x), axis_of(x, axis)
    if kind == "centre":
        return x - x.mean(axis=axis, keepdims=True)
    if kind == "rms":
        return x * lax.rsqrt((x * x).mean(axis=axis, keepdims=True) + 1e-5)
    return jax.nn.standardize(x, axis=axis)


def l2(x: Array) -> Array:
    return x / (1 + jnp.linalg.norm(floating(x).reshape(-1)))


# -- products ------------------------------------------------------------------------------------------------------------------


def project(x: Array, width: int) -> Array:
    return channels(x, width)


def gram(x: Array, kind: str) -> Array:
    needs(2, x, 2)
    x = floating(x)
    return {"outer": lambda: x @ x.T, "inner": lambda: x.T @ x, "both": lambda: (x @ x.T) @ x}[kind]()


EINSUMS = ("ab,cb->ac", "ab,ab->a", "ab,ab,ab->b", "ab,cb,cd->ad", "ab,cb,cd,ed->ae", "abc,adc->abd", "abc,adc,ade->abe",
           "abc,dbc->ad", "a,b->ab", "a,a->", "ab,b->a", "abc,cd->abd", "ab,ac,ad->bcd")


def einsum(x: Array, pattern: str) -> Array:
    """Of the array with itself; operands of lower rank are its first rows."""
    x = floating(x)
    terms = pattern.split("->")[0].split(",")
    if x.ndim != len(terms[0]):
        raise TypeError("another rank")
    operands = []
    for term in terms:
        y = x
        while y.ndim > len(term):
            y = y.sum(0)
        operands.append(y)
    return jnp.einsum(pattern, *operands)


def batched_dot(x: Array, wide: bool) -> Array:
    needs(3, x, 3)
    x = floating(x)
    kept = jnp.float32 if wide else None
    return lax.dot_general(x, x, (((2,), (2,)), ((0,), (0,))), preferred_element_type=kept)


def tensordot(x: Array, axes: int) -> Array:
    needs(axes, x)
    return jnp.tensordot(floating(x), floating(x).transpose(), axes=axes)


def attention(x: Array, heads: int, causal: bool) -> Array:
    x = image(x, 1, 4 * heads)
    q = x.reshape(x.shape[0], x.shape[1], heads, 4)
    return jax.nn.dot_product_attention(q, q * 0.5, q + 1, is_causal=causal)


def mlp(x: Array, width: int, f: str) -> Array:
    needs(1, x)
    x = floating(x)
    return UNARY[f](channels(x, width) + ones(x, width)) @ ones(x, width, 3)


def convolution(x: Array, space: int, kernel: int, stride: int, padding: Any, dilation: int, groups: int) -> Array:
    x = image(x, space, 4)
    kernel_array = ones(x, *(kernel,) * space, 4 // groups, 4)
    spaces = "HW"[:space]
    numbers = (f"N{spaces}C", f"{spaces}IO", f"N{spaces}C")
    where = padding if isinstance(padding, str) else [padding] * space
    return lax.conv_general_dilated(x, kernel_array, (stride,) * space, where, rhs_dilation=(dilation,) * space,
                                    dimension_numbers=numbers, feature_group_count=groups)


def dilated_convolution(x: Array, holes: int, low: int, high: int) -> Array:
    """A user's own input dilation."""
    x = image(x, 1, 3)
    return lax.conv_general_dilated(x, ones(x, 3, 3, 5), (1,), [(low, high)], lhs_dilation=(holes,),
                                    dimension_numbers=("NHC", "HIO", "NHC"))


def conv_transpose(x: Array, space: int, kernel: int, stride: int, padding: str, flip: bool) -> Array:
    x = image(x, space, 3)
    spaces = "HW"[:space]
    numbers = (f"N{spaces}C", f"{spaces}IO", f"N{spaces}C")
    kernel_array = ones(x, *(kernel,) * space, 3, 3 if flip else 5)
    return lax.conv_transpose(x, kernel_array, (stride,) * space, padding, dimension_numbers=numbers, transpose_kernel=flip)


def pool(x: Array, kind: str, window: int, stride: int, padding: str) -> Array:
    needs(2, x)
    x = floating(x)
    dims, strides = (1,) * (x.ndim - 2) + (window, 1), (1,) * (x.ndim - 2) + (stride, 1)
    start, of = (-jnp.inf, lax.max) if kind == "max" else (0.0, lax.add)
    return lax.reduce_window(x, start, of, dims, strides, padding)


# -- reductions ----------------------------------------------------------------------------------------------------------------

REDUCTIONS: dict[str, Callable[..., Array]] = {
    "sum": jnp.sum, "mean": jnp.mean, "max": jnp.max, "min": jnp.min, "prod": jnp.prod, "var": jnp.var, "std": jnp.std,
    "logsumexp": jax.nn.logsumexp, "any": lambda x, **kw: (x > 0).any(**kw), "all": lambda x, **kw: (x > 0).all(**kw),
}


def reduce(x: Array, f: str, axis: int, keepdims: bool) -> Array:
    return REDUCTIONS[f](floating(x), axis=axis_of(x, axis), keepdims=keepdims)


def reduce_two(x: Array, f: str) -> Array:
    needs(3, x)
    return REDUCTIONS[f](floating(x), axis=(0, x.ndim - 1))


def best(x: Array, least: bool, axis: int) -> Array:
    return (jnp.argmin if least else jnp.argmax)(x, axis=axis_of(x, axis))


def cumulate(x: Array, f: str, axis: int, reverse: bool) -> Array:
    return getattr(lax, f)(floating(x), axis_of(x, axis), reverse)


def sort(x: Array, axis: int, descending: bool) -> Array:
    return jnp.sort(x, axis=axis_of(x, axis), descending=descending)


def argsort(x: Array, axis: int) -> Array:
    return jnp.argsort(x, axis=axis_of(x, axis))


def sort_by(x: Array) -> Array:
    """Two operands sorted by the first."""
    needs(1, x)
    return lax.sort((x, -x if x.dtype != bool else x), num_keys=1)[1]


def top_k(x: Array, k: int, places: bool) -> Array:
    needs(1, x)
    return lax.top_k(x, k)[places]


def search(x: Array) -> Array:
    needs(1, x, 1)
    return jnp.searchsorted(jnp.sort(x), jnp.arange(3).astype(x.dtype))
