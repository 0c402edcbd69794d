"""T5: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", JMLR 2020.

An encoder and a decoder that also attends to the encoder's result. RMS normalisation before each sublayer, ReLU, no biases;
instead of positions, a learned number for each head and *bucket* of distances is added to the scores, which grow
logarithmically: near distances have a bucket each. The embedding is also the last linear layer.

Inputs are the encoder's tokens ``(b, s)`` and the decoder's ``(b, t)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from costmodel.models import ModelEntry

from ._published_language import language


@dataclass(frozen=True)
class Config:
    """Sizes of a T5; ``layers`` of the encoder, and as many of the decoder."""

    layers: int
    width: int
    heads: int
    hidden: int
    head_width: int = 64
    vocabulary: int = 32128
    buckets: int = 32
    max_distance: int = 128


T5_SMALL = Config(layers=6, width=512, heads=8, hidden=2048)
T5_BASE = Config(layers=12, width=768, heads=12, hidden=3072)

Linear = partial(nn.Dense, use_bias=False)


def positions(s):
    """Of each query and each key, (s, s) both."""
    return lax.broadcasted_iota(jnp.int32, (s, s), 0), lax.broadcasted_iota(jnp.int32, (s, s), 1)


def bucket(distance, buckets: int, max_distance: int):
    """The bucket of a distance ≥ 0: one each below ``buckets``/2, then logarithmic up to ``max_distance``.

    >>> [int(bucket(jnp.int32(d), 16, 128)) for d in (0, 7, 8, 20, 127, 10_000)]
    [0, 7, 8, 10, 15, 15]
    """
    exact = buckets // 2
    scale = (buckets - exact) / math.log(max_distance / exact)
    far = exact + (jnp.log(jnp.maximum(distance, 1) / exact) * scale).astype(jnp.int32)
    return jnp.where(distance < exact, distance, jnp.minimum(far, buckets - 1))


class RelativeBias(nn.Module):
    """Numbers (head, s, s) to be added to the scores of self-attention, and where a decoder may not look, a very small one."""

    config: Config
    causal: bool

    @nn.compact
    def __call__(self, s):
        c = self.config
        query, key = positions(s)
        if self.causal:
            buckets = bucket(jnp.maximum(query - key, 0), c.buckets, c.max_distance)
        else:  # half of the buckets for keys before the query, half for those after
            half = c.buckets // 2
            buckets = bucket(jnp.abs(query - key), half, c.max_distance) + jnp.where(key > query, half, 0)
        bias = nn.Embed(c.buckets, c.heads, name="table")(buckets).transpose(2, 0, 1)
        return jnp.where(key <= query, bias, jnp.finfo(bias.dtype).min) if self.causal else bias


class Attention(nn.Module):
    """Attention of x (b, s, width) to memory (b, t, width). T5 does not divide by √d_head: its initialisation does."""

    config: Config

    @nn.compact
    def __call__(self, x, memory, bias=None):
        c = self.config

        def heads(name, of):
            return Linear(c.heads * c.head_width, name=name)(of).reshape(*of.shape[:2], c.heads, c.head_width)

        scores = jnp.einsum("bshd,bthd->bhst", heads("query", x), heads("key", memory))
        weights = jax.nn.softmax(scores if bias is None else scores + bias)
        mixed = jnp.einsum("bhst,bthd->bshd", weights, heads("value", memory))
        return Linear(c.width, name="output")(mixed.reshape(*x.shape[:2], c.heads * c.head_width))


class Layer(nn.Module):
    """Self-attention, in a decoder attention to the encoder's result, MLP; each on the normalised input and added to it."""

    config: Config

    @nn.compact
    def __call__(self, x, bias, memory=None):
        c = self.config
        y = nn.RMSNorm(name="attention_norm")(x)
        x = x + Attention(c, name="attention")(y, y, bias)
        if memory is not None:
            x = x + Attention(c, name="cross")(nn.RMSNorm(name="cross_norm")(x), memory)
        hidden = nn.relu(Linear(c.hidden, name="fc")(nn.RMSNorm(name="mlp_norm")(x)))
        return x + Linear(c.width, name="proj")(hidden)


class Stack(nn.Module):
    """Layers that share one relative bias, and a normalisation. With ``memory`` a decoder."""

    config: Config

    @nn.compact
    def __call__(self, x, memory=None):
        bias = RelativeBias(self.config, causal=memory is not None, name="relative_bias")(x.shape[1])
        for i in range(self.config.layers):
            x = Layer(self.config, name=f"layer_{i}")(x, bias, memory)
        return nn.RMSNorm(name="norm")(x)


class T5(nn.Module):
    """Tokens (b, s) and the answer so far (b, t) to logits (b, t, vocabulary)."""

    config: Config

    @nn.compact
    def __call__(self, tokens, answer):
        c = self.config
        embed = nn.Embed(c.vocabulary, c.width, name="embed")
        memory = Stack(c, name="encoder")(embed(tokens))
        x = Stack(c, name="decoder")(embed(answer), memory)
        return embed.attend(x * c.width**-0.5)


entry = partial(ModelEntry, inputs=("b,s:int32", "b,t:int32"), at={"b": 1, "s": 512, "t": 512})

MODELS = (
    entry("t5_small", partial(T5, T5_SMALL), summary="T5-small, 6 + 6 layers", published=language("t5_small")),
    entry("t5_base", partial(T5, T5_BASE), summary="T5-base, 12 + 12 layers", published=language("t5_base")),
)
