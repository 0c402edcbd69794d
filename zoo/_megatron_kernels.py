"""What Megatron computes in kernels of its own, and what those keep for the backward pass: their input, of softmax its result."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from .gpt import causal_mask


@jax.custom_vjp
def normalised(x, gain, bias):
    """Layer normalisation in float32 of the last dimension, which keeps its input, mean and deviation."""
    return _normalised(x, gain, bias)[0]


def _normalised(x, gain, bias):
    wide = x.astype(jnp.float32)
    mean = wide.mean(-1, keepdims=True)
    inverse = lax.rsqrt(((wide - mean) ** 2).mean(-1, keepdims=True) + 1e-5)
    y = (wide - mean) * inverse * gain.astype(jnp.float32) + bias.astype(jnp.float32)
    return y.astype(x.dtype), (x, mean, inverse, gain, bias)


def _normalised_back(kept, dy):
    x, mean, inverse, gain, bias = kept
    hat = (x.astype(jnp.float32) - mean) * inverse
    dy = dy.astype(jnp.float32)
    inner = dy * gain.astype(jnp.float32)
    dx = inverse * (inner - inner.mean(-1, keepdims=True) - hat * (inner * hat).mean(-1, keepdims=True))
    along = tuple(range(x.ndim - 1))
    return dx.astype(x.dtype), (dy * hat).sum(along).astype(gain.dtype), dy.sum(along).astype(bias.dtype)


normalised.defvjp(_normalised, _normalised_back)


@jax.custom_vjp
def gelu(x):
    """GELU by tanh, which keeps its input."""
    return jax.nn.gelu(x)


gelu.defvjp(lambda x: (jax.nn.gelu(x), x), lambda x, dy: (jax.vjp(jax.nn.gelu, x)[1](dy)[0],))


@jax.custom_vjp
def causal_softmax(scores, scale):
    """Softmax in float32 of scaled scores (…, s, s) of keys that are not after the query, which keeps its result."""
    allowed = causal_mask(scores.shape[-1])
    return jax.nn.softmax(jnp.where(allowed, scores.astype(jnp.float32) * scale, -1e4)).astype(scores.dtype)


def _causal_softmax(scores, scale):
    weights = causal_softmax(scores, scale)
    return weights, (weights, scale)


def _causal_softmax_back(kept, dy):
    weights, scale = kept
    wide, dy = weights.astype(jnp.float32), dy.astype(jnp.float32)
    inner = wide * dy
    return ((inner - wide * inner.sum(-1, keepdims=True)) * scale).astype(weights.dtype), jnp.zeros_like(scale)


causal_softmax.defvjp(_causal_softmax, _causal_softmax_back)
