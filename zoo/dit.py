"""DiT: Peebles and Xie, "Scalable Diffusion Models with Transformers", ICCV 2023.

A transformer that removes noise from a latent image, given how much there is (the timestep) and what is shown (a class).
Both become one vector c that shifts, scales and gates every sublayer; the gates start at zero (adaLN-zero), so that each
layer starts as the identity.

Inputs are latents ``(n, h, w, 4)``, timesteps ``(n,)`` and labels ``(n,)``; h and w are an eighth of the image's and
multiples of the patch. The table of positions is fixed (a buffer of h·w/p² rows). The released weights count it: 675 129 632
for 256×256 images. The paper's 118.6 "Gflops" are multiply-accumulates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax

from costmodel.models import ModelEntry

from ._published_language import language
from .gpt import MLP, Attention


@dataclass(frozen=True)
class Config:
    """Sizes of a DiT; ``patch`` is its side in latents, ``frequencies`` what a timestep is expanded to."""

    layers: int
    width: int
    heads: int
    patch: int = 2
    num_classes: int = 1000
    frequencies: int = 256


DIT_XL2 = Config(layers=28, width=1152, heads=16)


def waves(position, size: int):
    """Cosines and sines (…, size) of positions (…), of wavelengths from 2π to 10 000·2π."""
    rates = np.exp(-np.log(10_000) * np.arange(size // 2) / (size // 2)).astype(np.float32)
    angles = position.astype(jnp.float32)[..., None] * rates
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def grid_positions(rows, columns, width: int):
    """(rows·columns, width): half of the width tells the row, half the column."""
    halves = [waves(lax.broadcasted_iota(jnp.int32, (rows, columns), axis), width // 2) for axis in (0, 1)]
    return jnp.concatenate(halves, axis=-1).reshape(rows * columns, width)


def modulation(x, condition, parts: int, name: str):
    """``parts`` vectors (n, 1, width) from the condition (n, width); they start at zero. ``x`` gives the width."""
    linear = nn.Dense(parts * x.shape[-1], kernel_init=nn.initializers.zeros, name=name)
    return jnp.split(linear(nn.silu(condition))[:, None, :], parts, axis=-1)


class Block(nn.Module):
    """Attention and MLP on a normalised input that the condition shifts and scales; it also gates what they add."""

    heads: int

    @nn.compact
    def __call__(self, x, condition):
        norm = partial(nn.LayerNorm, use_bias=False, use_scale=False)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = modulation(x, condition, 6, "modulation")
        mixed, _ = Attention(self.heads, causal=False, name="attn")(norm(name="norm_1")(x) * (1 + scale) + shift)
        x = x + gate * mixed
        return x + mlp_gate * MLP(name="mlp")(norm(name="norm_2")(x) * (1 + mlp_scale) + mlp_shift)


class DiT(nn.Module):
    """Latents (n, h, w, c), timesteps (n,), labels (n,) to noise and its variance, (n, h, w, 2·c)."""

    config: Config

    @nn.compact
    def __call__(self, latents, timesteps, labels):
        c = self.config
        n, h, w, channels = latents.shape
        rows, columns = h // c.patch, w // c.patch
        x = nn.Conv(c.width, (c.patch, c.patch), strides=c.patch, padding="VALID", name="patches")(latents)
        table = self.variable("constants", "positions", grid_positions, rows, columns, c.width)
        x = x.reshape(n, rows * columns, c.width) + table.value
        time = nn.silu(nn.Dense(c.width, name="time_1")(waves(timesteps, c.frequencies)))
        # One class more than there are: "none", for guidance.
        condition = nn.Dense(c.width, name="time_2")(time) + nn.Embed(c.num_classes + 1, c.width, name="label")(labels)
        for i in range(c.layers):
            x = Block(c.heads, name=f"block_{i}")(x, condition)
        shift, scale = modulation(x, condition, 2, "modulation")
        x = nn.LayerNorm(use_bias=False, use_scale=False, name="norm")(x) * (1 + scale) + shift
        x = nn.Dense(c.patch**2 * 2 * channels, name="head")(x)
        x = x.reshape(n, rows, columns, c.patch, c.patch, 2 * channels)
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h, w, 2 * channels)


def dit_block(d) -> Block:
    """One layer of any width with heads of 64."""
    return Block(d // 64)


MODELS = (
    ModelEntry(
        "dit_xl_2",
        partial(DiT, DIT_XL2),
        inputs=("n,h,w,4:float32", "n:float32", "n:int32"),
        where="2 | h, 2 | w",
        summary="DiT-XL/2, 28 layers",
        at={"n": 1, "h": 32, "w": 32},
        published=language("dit_xl_2"),
    ),
    ModelEntry(
        "dit_block",
        dit_block,
        inputs=("n,s,d:float32", "n,d:float32"),
        where="64 | d",
        summary="one adaLN-zero layer of any width, heads of 64",
        at={"n": 1, "s": 256, "d": 1152},
    ),
)
