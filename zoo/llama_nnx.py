"""LLaMA-7B in Flax NNX: the network of ``llama.py`` in the other API, with the same module paths and figures.

Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023. An NNX module holds its arrays, so the entry
builds it abstractly: 27 GB of shapes.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from costmodel.models import ModelEntry

from ._published_language import language
from .llama import LLAMA_7B, Config, grouped_attention, rotate, rotation, window_mask

Linear = partial(nnx.Linear, use_bias=False)


class Attention(nnx.Module):
    """Causal self-attention with grouped queries."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        c = config
        self.config = config
        self.query = Linear(c.width, c.heads * c.head_width, rngs=rngs)
        self.key = Linear(c.width, c.kv_heads * c.head_width, rngs=rngs)
        self.value = Linear(c.width, c.kv_heads * c.head_width, rngs=rngs)
        self.output = Linear(c.heads * c.head_width, c.width, rngs=rngs)

    def __call__(self, x, rotary):
        c = self.config
        b, s, _ = x.shape
        q = self.query(x).reshape(b, s, c.heads, c.head_width)
        k = self.key(x).reshape(b, s, c.kv_heads, c.head_width)
        v = self.value(x).reshape(b, s, c.kv_heads, c.head_width)
        return self.output(grouped_attention(rotate(q, *rotary), rotate(k, *rotary), v, window_mask(s, c.window)))


class SwiGLU(nnx.Module):
    """down(silu(gate(x)) · up(x))."""

    def __init__(self, width: int, hidden: int, *, rngs: nnx.Rngs):
        self.gate = Linear(width, hidden, rngs=rngs)
        self.up = Linear(width, hidden, rngs=rngs)
        self.down = Linear(hidden, width, rngs=rngs)

    def __call__(self, x):
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))


class Layer(nnx.Module):
    """Attention and MLP, each on the normalised input and added to it."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        self.attention_norm = nnx.RMSNorm(config.width, rngs=rngs)
        self.attention = Attention(config, rngs=rngs)
        self.mlp_norm = nnx.RMSNorm(config.width, rngs=rngs)
        self.mlp = SwiGLU(config.width, config.hidden, rngs=rngs)

    def __call__(self, x, rotary):
        x = x + self.attention(self.attention_norm(x), rotary)
        return x + self.mlp(self.mlp_norm(x))


class Llama(nnx.Module):
    """Tokens (b, s) to logits (b, s, vocabulary) of every position."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        self.config = config
        self.embed = nnx.Embed(config.vocabulary, config.width, rngs=rngs)
        # Attributes, not a list: their names are the paths in reports.
        self.layer_names = tuple(f"layer_{i}" for i in range(config.layers))
        for name in self.layer_names:
            setattr(self, name, Layer(config, rngs=rngs))
        self.norm = nnx.RMSNorm(config.width, rngs=rngs)
        self.head = Linear(config.width, config.vocabulary, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        positions = lax.iota(jnp.int32, tokens.shape[1])
        rotary = rotation(positions, self.config.head_width, self.config.rope_base)
        for name in self.layer_names:
            x = getattr(self, name)(x, rotary)
        return self.head(self.norm(x))


def llama_7b() -> Llama:
    """An abstract LLaMA-7B: its arrays are shapes and dtypes."""
    return nnx.eval_shape(lambda: Llama(LLAMA_7B, rngs=nnx.Rngs(0)))


MODELS = (
    ModelEntry(
        "llama_7b_nnx",
        llama_7b,
        inputs=("b,s:int32",),
        summary="LLaMA-7B, 32 layers, in Flax NNX",
        at={"b": 1, "s": 2048},
        tokens="b s",
        published=language("llama_7b_nnx"),
    ),
)
