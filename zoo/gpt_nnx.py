"""GPT-2 in Flax NNX: the network of ``gpt.py`` in the other API, with the same module paths and figures.

Radford et al., "Language Models are Unsupervised Multitask Learners", 2019. An NNX module holds its arrays, so the entry
builds it abstractly: shapes only, no initialisation.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from costmodel.models import ModelEntry

from ._published_language import language
from .gpt import GPT2, Config, attention, causal_mask


class Attention(nnx.Module):
    """Causal self-attention."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.qkv = nnx.Linear(width, 3 * width, rngs=rngs)
        self.proj = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, x):
        b, s, width = x.shape
        parts = jnp.split(self.qkv(x), 3, axis=-1)
        q, k, v = (part.reshape(b, s, self.heads, width // self.heads) for part in parts)
        return self.proj(attention(q, k, v, causal_mask(s)).reshape(b, s, width))


class MLP(nnx.Module):
    """Two linear layers, four times as wide between them."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.fc = nnx.Linear(width, 4 * width, rngs=rngs)
        self.proj = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x):
        return self.proj(jax.nn.gelu(self.fc(x)))


class Block(nnx.Module):
    """Attention and MLP, each on the normalised input and added to it."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.ln_1 = nnx.LayerNorm(width, rngs=rngs)
        self.attn = Attention(width, heads, rngs=rngs)
        self.ln_2 = nnx.LayerNorm(width, rngs=rngs)
        self.mlp = MLP(width, rngs=rngs)

    def __call__(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nnx.Module):
    """Tokens (b, s) to logits (b, s, vocabulary) of every position."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        c = config
        self.wte = nnx.Embed(c.vocabulary, c.width, rngs=rngs)
        self.wpe = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (c.context, c.width)))
        # Attributes, not a list: their names are the paths in reports.
        self.block_names = tuple(f"block_{i}" for i in range(c.layers))
        for name in self.block_names:
            setattr(self, name, Block(c.width, c.heads, rngs=rngs))
        self.ln_f = nnx.LayerNorm(c.width, rngs=rngs)

    def __call__(self, tokens):
        x = self.wte(tokens) + self.wpe[: tokens.shape[1]]
        for name in self.block_names:
            x = getattr(self, name)(x)
        x = self.ln_f(x)
        with jax.named_scope("wte"):  # only calls of modules, not their other methods, get a scope of their own
            return self.wte.attend(x)


def gpt2() -> GPT:
    """An abstract GPT-2: its arrays are shapes and dtypes."""
    return nnx.eval_shape(lambda: GPT(GPT2, rngs=nnx.Rngs(0)))


MODELS = (
    ModelEntry(
        "gpt2_nnx",
        gpt2,
        inputs=("b,s:int32",),
        where=f"s <= {GPT2.context}",
        summary="GPT-2, 12 layers, in Flax NNX",
        at={"b": 1, "s": GPT2.context},
        tokens="b s",
        published=language("gpt2_nnx"),
    ),
)
