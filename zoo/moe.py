"""Mixture of experts: Mixtral 8x7B, Jiang et al., "Mixtral of Experts", 2024; GShard, Lepikhin et al., ICLR 2021.

A router sends each token to k of E experts (gated MLPs), so that a token is computed by *active* parameters only, while all
have to be stored. Two ways to bring tokens to experts:

* ``DroplessExperts``: tokens are sorted by expert and ``lax.ragged_dot`` multiplies each run by its expert's matrices, exactly
  k·b·s·3·d·f multiply-accumulates, as Mixtral is defined;
* ``CapacityExperts``: each expert has ⌈capacity factor·k·s/E⌉ places a sequence, filled by products with one-hot matrices
  (GShard), which is static and easy to distribute. Tokens beyond are dropped, empty places are computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from costmodel.models import ModelEntry

from . import llama
from ._published_language import language


@dataclass(frozen=True)
class Config(llama.Config):
    """A LLaMA of whose ``experts`` MLPs each token uses ``active``."""

    experts: int = 8
    active: int = 2


MIXTRAL_8X7B = Config(
    layers=32, width=4096, heads=32, kv_heads=8, hidden=14336, rope_base=1_000_000.0, experts=8, active=2, scan=True
)


def active_params(config: Config, total: int) -> int:
    """Parameters that one token meets, of ``total``: all but those of the experts it is not sent to.

    >>> active_params(MIXTRAL_8X7B, 46_702_792_704)
    12879925248
    """
    expert = 3 * config.width * config.hidden
    return total - config.layers * (config.experts - config.active) * expert


def top_k(logits, k: int):
    """The k largest of the last axis: one-hot choices (..., k, E) and a softmax over their logits (..., k).

    k rounds of argmax, which for the few experts that a token has is what compilers make of ``lax.top_k``.
    """
    choices, chosen = [], []
    for _ in range(k):
        choice = jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=logits.dtype)
        choices.append(choice)
        chosen.append(jnp.max(logits, axis=-1))
        logits = jnp.where(choice > 0, -jnp.inf, logits)
    return jnp.stack(choices, axis=-2), jax.nn.softmax(jnp.stack(chosen, axis=-1))


class DroplessExperts(nn.Module):
    """Each token through its k experts. x (b, s, d), choices (b, s, k, E), weights (b, s, k) to (b, s, d)."""

    hidden: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, choices, weights):
        b, s, d = x.shape
        k, experts = choices.shape[2:]
        gate, up, down = expert_matrices(self, experts, d, self.hidden, self.dtype)
        # Counting sort: a token's row is its rank among its expert's tokens, after the rows of all experts before.
        assigned = choices.reshape(b * s * k, experts).astype(jnp.int32)
        sizes = assigned.sum(axis=0)
        rows = ((jnp.cumsum(assigned, axis=0) + (jnp.cumsum(sizes) - sizes) - 1) * assigned).sum(axis=1)
        copies = jnp.broadcast_to(x[:, :, None], (b, s, k, d)).reshape(b * s * k, d)
        tokens = jnp.zeros_like(copies).at[rows].set(copies)
        hidden = nn.silu(lax.ragged_dot(tokens, gate, sizes)) * lax.ragged_dot(tokens, up, sizes)
        results = lax.ragged_dot(hidden, down, sizes)[rows].reshape(b, s, k, d)
        return jnp.einsum("bskd,bsk->bsd", results, weights)


class CapacityExperts(nn.Module):
    """As DroplessExperts, with ``capacity_factor``·k·s/E places an expert and sequence; who comes late is dropped."""

    hidden: int
    capacity_factor: Fraction = Fraction(5, 4)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, choices, weights):
        b, s, d = x.shape
        k, experts = choices.shape[2:]
        gate, up, down = expert_matrices(self, experts, d, self.hidden, self.dtype)
        factor = self.capacity_factor
        capacity = -((-s * k * factor.numerator) // (experts * factor.denominator))
        rank = jnp.cumsum(choices.reshape(b, s * k, experts), axis=1).reshape(choices.shape) * choices - 1
        place = jax.nn.one_hot(rank.astype(jnp.int32), capacity, dtype=x.dtype)  # of rank -1 or beyond capacity: zeros
        dispatch = place.sum(axis=2)
        combine = jnp.einsum("bskec,bsk->bsec", place, weights)
        tokens = jnp.einsum("bsec,bsd->ebcd", dispatch, x)
        hidden = nn.silu(jnp.einsum("ebcd,edf->ebcf", tokens, gate)) * jnp.einsum("ebcd,edf->ebcf", tokens, up)
        return jnp.einsum("bsec,ebcd->bsd", combine, jnp.einsum("ebcf,efd->ebcd", hidden, down))


def expert_matrices(module: nn.Module, experts, d, hidden, dtype):
    """Parameters gate and up (E, d, f), and down (E, f, d)."""
    init = nn.initializers.lecun_normal(batch_axis=0)
    shapes = {"gate": (experts, d, hidden), "up": (experts, d, hidden), "down": (experts, hidden, d)}
    return tuple(module.param(name, init, shape, dtype) for name, shape in shapes.items())


class MoE(nn.Module):
    """A router and experts in place of an MLP."""

    experts: nn.Module
    number: int
    active: int = 2

    @nn.compact
    def __call__(self, x):
        logits = nn.Dense(self.number, use_bias=False, name="router")(x).astype(jnp.float32)
        choices, weights = top_k(logits, self.active)
        return self.experts(x, choices.astype(x.dtype), weights.astype(x.dtype))


class Layer(nn.Module):
    """LLaMA's layer with a mixture of experts, whose places are as many as its tokens need or, if ``static``, are given to an
    expert in advance. Returns (x, cache)."""

    config: Config
    static: bool = False

    @nn.compact
    def __call__(self, x, rotary, cache=None):
        c = self.config
        norm = partial(nn.RMSNorm, dtype=c.dtype, param_dtype=c.dtype)
        mixed, cache = llama.Attention(c, name="attention")(norm(name="attention_norm")(x), rotary, cache)
        x = x + mixed
        experts = CapacityExperts(c.hidden, dtype=c.dtype) if self.static else DroplessExperts(c.hidden, c.dtype)
        return x + MoE(experts, c.experts, c.active, name="moe")(norm(name="moe_norm")(x)), cache


def moe_layer(f) -> MoE:
    return MoE(CapacityExperts(f), number=8)


def moe_layer_dropless(f) -> MoE:
    return MoE(DroplessExperts(f), number=8)


layer_entry = partial(
    ModelEntry,
    inputs=("b,s,d:float32",),
    dims="f",
    where="16 | s",  # then the 5/16·s places of an expert are a whole number
    at={"b": 1, "s": 2048, "d": 4096, "f": 14336},
)

MODELS = (
    ModelEntry(
        "mixtral_8x7b",
        partial(llama.Llama, MIXTRAL_8X7B, Layer),
        inputs=("b,s:int32",),
        summary="Mixtral 8x7B, 32 layers as a loop, 2 of 8 experts a token",
        at={"b": 1, "s": 4096},
        tokens="b s",
        published=language("mixtral_8x7b"),
        stack=partial(llama.stack, "mixtral_8x7b", MIXTRAL_8X7B, 4096, partial(Layer, static=True)),
    ),
    ModelEntry(
        "mixtral_8x7b_decode",
        partial(llama.Llama, MIXTRAL_8X7B, Layer),
        inputs=("b,1:int32", *llama.cache_inputs(MIXTRAL_8X7B.layers, MIXTRAL_8X7B.kv_heads, MIXTRAL_8X7B.head_width)),
        where="t >= 2",
        summary="Mixtral 8x7B, one token with a cache of t positions",
        at={"b": 1, "t": 4096},
        tokens="b",
        published=language("mixtral_8x7b_decode"),
    ),
    layer_entry("moe_layer", moe_layer, summary="2 of 8 experts a token, capacity factor 5/4"),
    layer_entry("moe_layer_dropless", moe_layer_dropless, summary="2 of 8 experts a token, none dropped"),
)
