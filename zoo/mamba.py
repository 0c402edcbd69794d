"""Mamba: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023.

Instead of attending to all tokens, each of e channels keeps a state of N numbers, which a token decays and adds to by amounts
that depend on the token (it *selects*):

    h ← exp(Δ·A)·h + Δ·B·x,    y = C·h + D·x

so time is linear in s, and a decoding step needs e·N numbers a layer in place of a cache. The recurrence is elementwise but
for C·h: little arithmetic, which is why Mamba is bound by memory.

Inputs are tokens ``(b, s)``. The recurrence is a ``lax.scan`` over s; the released kernel computes the same in parallel.
"""

from __future__ import annotations

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
    """Sizes of a Mamba."""

    layers: int
    width: int
    vocabulary: int = 50280


MAMBA_130M = Config(layers=24, width=768)


def selective_scan(x, delta, a, b, c):
    """The recurrence above without D. x and delta (n, s, e), a (e, N), b and c (n, s, N) to (n, s, e)."""

    def step(state, token):
        x, delta, b, c = token
        state = jnp.exp(delta[..., None] * a) * state + (delta * x)[..., None] * b[:, None, :]
        return state, jnp.einsum("nek,nk->ne", state, c)

    first = jnp.zeros((x.shape[0], *a.shape), x.dtype)
    _, y = lax.scan(step, first, tuple(jnp.swapaxes(part, 0, 1) for part in (x, delta, b, c)))
    return jnp.swapaxes(y, 0, 1)


def log_range(key, shape):
    """Each row log 1 … log N: the states of a channel forget at different rates."""
    return jnp.broadcast_to(jnp.log(jnp.arange(1.0, shape[-1] + 1)), shape)


class MambaBlock(nn.Module):
    """Widen, a causal convolution of each channel, the selective scan, a gate, narrow. ``rank``: of the map to Δ."""

    rank: int
    state: int = 16
    expansion: int = 2
    kernel: int = 4

    @nn.compact
    def __call__(self, x):
        width = x.shape[-1]
        channels = self.expansion * width
        x, gate = jnp.split(nn.Dense(2 * channels, use_bias=False, name="in")(x), 2, axis=-1)
        x = jax.nn.silu(nn.Conv(channels, (self.kernel,), padding="CAUSAL", feature_group_count=channels, name="conv")(x))
        low, b, c = jnp.split(
            nn.Dense(self.rank + 2 * self.state, use_bias=False, name="select")(x),
            (self.rank, self.rank + self.state),
            axis=-1,
        )
        delta = jax.nn.softplus(nn.Dense(channels, name="delta")(low))
        log_a = self.param("log_a", log_range, (channels, self.state))
        y = selective_scan(x, delta, -jnp.exp(log_a), b, c) + x * self.param("d", nn.initializers.ones, (channels,))
        return nn.Dense(width, use_bias=False, name="out")(y * jax.nn.silu(gate))


class Mamba(nn.Module):
    """Tokens (b, s) to logits (b, s, vocabulary), with a tied embedding."""

    config: Config

    @nn.compact
    def __call__(self, tokens):
        c = self.config
        embed = nn.Embed(c.vocabulary, c.width, name="embed")
        x = embed(tokens)
        for i in range(c.layers):
            x = x + MambaBlock(rank=c.width // 16, name=f"block_{i}")(nn.RMSNorm(name=f"norm_{i}")(x))
        return embed.attend(nn.RMSNorm(name="norm")(x))


def mamba_block(d) -> MambaBlock:
    """One block of any width."""
    return MambaBlock(rank=d // 16)


MODELS = (
    ModelEntry(
        "mamba_130m",
        partial(Mamba, MAMBA_130M),
        inputs=("b,s:int32",),
        summary="Mamba, 24 layers",
        at={"b": 1, "s": 2048},
        tokens="b s",
        published=language("mamba_130m"),
    ),
    ModelEntry(
        "mamba_block",
        mamba_block,
        inputs=("b,s,d:float32",),
        where="16 | d",
        summary="one selective state-space block of any width",
        at={"b": 1, "s": 2048, "d": 768},
    ),
)
