"""GPT-2: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019. GPT-3: Brown et al., NeurIPS 2020.

Decoder-only transformers: learned positions, layer normalisation before each sublayer, GELU, an embedding that is also the
last linear layer (its parameters count once). With L layers of width d, vocabulary v and s tokens, a forward pass multiplies

    b·s·(12·L·d² + 2·L·s·d + d·v)

times: 12·d² in the six matrices of a layer, 2·s·d in attention, which is dense here: masked scores are computed too.

Inputs are tokens ``(b, s)``, s at most the context. ``gpt2_scan`` is one layer repeated by ``lax.scan``, as large models are
written to compile once; its counts are the same. ``opt_13b`` (Zhang et al., "OPT", 2022) is this network with ReLU and two
unused positions. A decoding step takes one token and the keys and values of t positions, the new one's included, for all
layers in one array ``(layer, b, t, head, d_head)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from costmodel.models import ModelEntry

from ._published_language import language


@dataclass(frozen=True)
class Config:
    """Sizes of a GPT. ``context``: rows of the position table; ``scan``: layers as a loop, their parameters stacked; ``dropout``:
    of the embeddings, the attention's weights and each sublayer's result, in a call with ``train``; ``attend``: how q, k and v
    become causal attention, such as ``zoo._ring.ring_attention`` (None: :func:`attention`)."""

    layers: int
    width: int
    heads: int
    context: int = 1024
    vocabulary: int = 50257
    activation: Callable[[Any], Any] = nn.gelu
    scan: bool = False
    dropout: float = 0.0
    attend: Callable[..., Any] | None = None

    @property
    def head_width(self) -> int:
        return self.width // self.heads


GPT2 = Config(layers=12, width=768, heads=12, dropout=0.1)
GPT2_MEDIUM = Config(layers=24, width=1024, heads=16)
GPT2_LARGE = Config(layers=36, width=1280, heads=20, scan=True)
GPT2_XL = Config(layers=48, width=1600, heads=25, scan=True)
GPT3_175B = Config(layers=96, width=12288, heads=96, context=2048, scan=True)
GPT3_XL = Config(layers=24, width=2048, heads=32, context=2048, dropout=0.1)
OPT_1_3B = Config(layers=24, width=2048, heads=32, context=2050, vocabulary=50272, activation=nn.relu, dropout=0.1)
OPT_13B = Config(layers=40, width=5120, heads=40, context=2050, vocabulary=50272, activation=nn.relu, scan=True)


def attention(q, k, v, mask=None, bias=None, drop=lambda weights: weights):
    """softmax(q·kᵀ/√d_head)·v for q (b, s, head, d_head) and k, v (b, t, head, d_head); ``mask`` (s, t) is true where allowed,
    ``bias`` is added to the scores, ``drop`` applied to the weights."""
    scores = jnp.einsum("bshd,bthd->bhst", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    if bias is not None:
        scores = scores + bias
    return jnp.einsum("bhst,bthd->bshd", drop(jax.nn.softmax(scores)), v)


def causal_mask(s):
    """(s, s), true where the key is not after the query."""
    return lax.broadcasted_iota(jnp.int32, (s, s), 0) >= lax.broadcasted_iota(jnp.int32, (s, s), 1)


class Attention(nn.Module):
    """Self-attention. With a cache (keys, values) the input is the last of its t positions, written into it."""

    heads: int
    causal: bool = True
    dropout: float = 0.0  # of the weights, in training; 0 otherwise
    attend: Callable[..., Any] | None = None

    @nn.compact
    def __call__(self, x, cache=None, bias=None):
        b, s, width = x.shape
        qkv = nn.Dense(3 * width, name="qkv")(x)
        q, k, v = (part.reshape(b, s, self.heads, width // self.heads) for part in jnp.split(qkv, 3, axis=-1))
        if cache is None and self.attend is not None:
            mixed = self.attend(q, k, v)
        elif cache is None:
            mixed = attention(q, k, v, causal_mask(s) if self.causal else None, bias, dropped(self.dropout))
        else:
            cache = tuple(
                lax.dynamic_update_slice(old, new.astype(old.dtype), (0, old.shape[1] - 1, 0, 0))
                for old, new in zip(cache, (k, v), strict=True)
            )
            mixed = attention(q, *(c.astype(q.dtype) for c in cache))
        return nn.Dense(width, name="proj")(mixed.reshape(b, s, width)), cache


def dropped(rate):
    """Dropout of a call in training, or nothing where the rate is 0."""
    return nn.Dropout(rate, deterministic=False) if rate else lambda x: x


class MLP(nn.Module):
    """Two linear layers, four times as wide between them."""

    activation: Callable[[Any], Any] = nn.gelu

    @nn.compact
    def __call__(self, x):
        hidden = self.activation(nn.Dense(4 * x.shape[-1], name="fc")(x))
        return nn.Dense(x.shape[-1], name="proj")(hidden)


class Block(nn.Module):
    """Attention and MLP, each on the normalised input and added to it. Returns (x, cache)."""

    heads: int
    activation: Callable[[Any], Any] = nn.gelu
    causal: bool = True
    dropout: float = 0.0
    attend: Callable[..., Any] | None = None

    @nn.compact
    def __call__(self, x, cache=None):
        attn = Attention(self.heads, self.causal, self.dropout, self.attend, name="attn")
        mixed, cache = attn(nn.LayerNorm(name="ln_1")(x), cache)
        x = x + dropped(self.dropout)(mixed)
        return x + dropped(self.dropout)(MLP(self.activation, name="mlp")(nn.LayerNorm(name="ln_2")(x))), cache


class GPT(nn.Module):
    """Tokens (b, s) to logits (b, s, vocabulary) of every position; with a cache, of one token, and the new cache."""

    config: Config

    @nn.compact
    def __call__(self, tokens, keys=None, values=None, train=False):
        c, dropout = self.config, self.config.dropout if train else 0.0
        embed = nn.Embed(c.vocabulary, c.width, name="wte")
        positions = self.param("wpe", nn.initializers.normal(0.02), (c.context, c.width))
        end = tokens.shape[1] if keys is None else keys.shape[2]
        x = dropped(dropout)(embed(tokens) + positions[end - tokens.shape[1] : end])
        cache = None if keys is None else (keys, values)
        if c.scan:
            stack = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True, "dropout": True}, length=c.layers)
            x, cache = stack(c.heads, c.activation, dropout=dropout, attend=c.attend, name="block")(x, cache)
        else:
            for i in range(c.layers):
                x, _ = Block(c.heads, c.activation, dropout=dropout, attend=c.attend, name=f"block_{i}")(x)
        logits = embed.attend(nn.LayerNorm(name="ln_f")(x))
        return logits if cache is None else (logits, cache)


def cache_inputs(layers: int, heads: int, head_width: int) -> tuple[str, str]:
    """Specs of the keys and the values of t positions, in bfloat16."""
    return (f"{layers},b,t,{heads},{head_width}:bfloat16",) * 2


def language_model(name: str, config: Config, summary: str) -> ModelEntry:
    """The entry of a forward pass over s tokens, quoted at the longest context."""
    return ModelEntry(
        name,
        partial(GPT, config),
        inputs=("b,s:int32",),
        where=f"s <= {config.context}",
        summary=summary,
        at={"b": 1, "s": config.context},
        tokens="b s",
        published=language(name),
    )


def decoding_step(name: str, config: Config, summary: str) -> ModelEntry:
    """The entry of one decoding step at position t."""
    return ModelEntry(
        name,
        partial(GPT, replace(config, scan=True)),
        inputs=("b,1:int32", *cache_inputs(config.layers, config.heads, config.head_width)),
        where=f"t >= 2, t <= {config.context}",  # the first token comes by a forward pass
        summary=summary,
        at={"b": 1, "t": config.context},
        tokens="b",
        published=language(name),
    )


def transformer_block(d) -> Block:
    """One layer with heads of 64."""
    return Block(d // 64)


MODELS = (
    language_model("gpt2", GPT2, "GPT-2, 12 layers"),
    language_model("gpt2_scan", replace(GPT2, scan=True), "GPT-2, 12 layers as a loop"),
    language_model("gpt2_medium", GPT2_MEDIUM, "GPT-2 medium, 24 layers"),
    language_model("gpt2_large", GPT2_LARGE, "GPT-2 large, 36 layers as a loop"),
    language_model("gpt2_large_unrolled", replace(GPT2_LARGE, scan=False, dropout=0.1),
                   "GPT-2 large, layers not as a loop, dropout in training"),
    language_model("gpt2_xl", GPT2_XL, "GPT-2 XL, 48 layers as a loop"),
    language_model("gpt3_175b", GPT3_175B, "GPT-3, 96 layers as a loop"),
    language_model("gpt3_xl", GPT3_XL, "GPT-3 XL, 24 layers, heads of 64"),
    language_model("opt_1_3b", OPT_1_3B, "OPT-1.3B, 24 layers, dropout in training"),
    language_model("opt_13b", OPT_13B, "OPT-13B, 40 layers as a loop"),
    decoding_step("gpt2_decode", GPT2, "GPT-2, one token with a cache of t positions"),
    decoding_step("opt_13b_decode", OPT_13B, "OPT-13B, one token with a cache of t positions"),
    ModelEntry(
        "transformer_block",
        transformer_block,
        inputs=("b,s,d:float32",),
        where="64 | d",
        summary="one GPT layer of any width, heads of 64",
        at={"b": 1, "s": 1024, "d": 768},
    ),
)
