"""LLaMA: Touvron et al., 2023; Llama 2 (2023), Llama 3 (Grattafiori et al., 2024), Mistral 7B (Jiang et al., 2023).

Decoder-only transformers: RMS normalisation, rotary positions, a gated MLP (SwiGLU), no biases, a last linear layer of its
own. Where there are fewer heads of keys and values than of queries (grouped queries; one head: multi-query), several query
heads share one, and the cache shrinks by as much.

A forward pass (prefill) takes tokens ``(b, s)``. A decoding step takes one token ``(b, 1)`` and the keys and the values of t
positions of all layers, ``(layer, b, t, n_kv, d_head)`` each; it writes its own at the last position and attends to all t, so
that a position of the cache weighs 2·L·n_kv·d_head elements. Large networks are one layer repeated by ``lax.scan``, as
they are written to compile once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from costmodel.models import ModelEntry
from costmodel.solve import Stack

from ._published_language import language
from .gpt import cache_inputs
from .megatron import cross_entropy, update


@dataclass(frozen=True)
class Config:
    """Sizes of a LLaMA. ``window``: how many positions back a token sees (None: all); ``scan``: layers as a loop; ``attend``: how q
    meets k and v of a whole sequence, instead of :func:`grouped_attention`."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int = 32000
    rope_base: float = 10_000.0
    window: int | None = None
    dtype: Any = jnp.float32
    scan: bool = False
    attend: Callable[..., Any] | None = None

    @property
    def head_width(self) -> int:
        return self.width // self.heads


LLAMA_7B = Config(layers=32, width=4096, heads=32, kv_heads=32, hidden=11008)
LLAMA2_70B = Config(layers=80, width=8192, heads=64, kv_heads=8, hidden=28672, scan=True)
LLAMA3_8B = Config(
    layers=32, width=4096, heads=32, kv_heads=8, hidden=14336, vocabulary=128256, rope_base=500_000.0, scan=True
)
MISTRAL_7B = Config(layers=32, width=4096, heads=32, kv_heads=8, hidden=14336, window=4096, scan=True)


def rotation(positions, head_width: int, base: float):
    """(cos, sin) of the rotary angles, (s, 1, d_head/2) each: position · base^(-2i/d_head)."""
    frequencies = (base ** -(np.arange(0, head_width, 2) / head_width)).astype(np.float32)
    angles = positions.astype(jnp.float32)[:, None, None] * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x, cos, sin):
    """Rotary position embedding of x (b, s, head, d_head), whose two halves are the coordinates of the rotated pairs."""
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def grouped_attention(q, k, v, mask=None):
    """Attention of q (b, s, head, d_head) to k, v (b, t, n_kv, d_head): head/n_kv query heads share one of keys and values."""
    b, s, heads, head_width = q.shape
    q = q.reshape(b, s, k.shape[2], heads // k.shape[2], head_width)
    scores = jnp.einsum("bsngd,btnd->bngst", q, k) * head_width**-0.5
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    return jnp.einsum("bngst,btnd->bsngd", jax.nn.softmax(scores), v).reshape(b, s, heads * head_width)


def window_mask(s, window: int | None):
    """(s, s), true where the key is not after the query and, given a ``window``, less than it before."""
    query, key = (lax.broadcasted_iota(jnp.int32, (s, s), axis) for axis in (0, 1))
    return key <= query if window is None else (key <= query) & (key > query - window)


class Attention(nn.Module):
    """Causal self-attention with grouped queries. With a cache the input is the last of its t positions, written into it."""

    config: Config

    @nn.compact
    def __call__(self, x, rotary, cache=None):
        c = self.config
        b, s, _ = x.shape
        linear = partial(nn.Dense, use_bias=False, dtype=c.dtype, param_dtype=c.dtype)
        q = linear(c.heads * c.head_width, name="query")(x).reshape(b, s, c.heads, c.head_width)
        k = linear(c.kv_heads * c.head_width, name="key")(x).reshape(b, s, c.kv_heads, c.head_width)
        v = linear(c.kv_heads * c.head_width, name="value")(x).reshape(b, s, c.kv_heads, c.head_width)
        q, k = rotate(q, *rotary), rotate(k, *rotary)
        if cache is None and c.attend is not None:
            mixed = c.attend(q, k, v).reshape(b, s, c.heads * c.head_width)
        elif cache is None:
            mixed = grouped_attention(q, k, v, window_mask(s, c.window))
        else:  # under a window the cache holds the window only, so nothing is masked
            cache = tuple(
                lax.dynamic_update_slice(old, new.astype(old.dtype), (0, old.shape[1] - s, 0, 0))
                for old, new in zip(cache, (k, v), strict=True)
            )
            mixed = grouped_attention(q, *(part.astype(q.dtype) for part in cache))
        return linear(c.width, name="output")(mixed), cache


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x)); Shazeer, "GLU Variants Improve Transformer", 2020."""

    hidden: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        linear = partial(nn.Dense, use_bias=False, dtype=self.dtype, param_dtype=self.dtype)
        gated = nn.silu(linear(self.hidden, name="gate")(x)) * linear(self.hidden, name="up")(x)
        return linear(x.shape[-1], name="down")(gated)


class Layer(nn.Module):
    """Attention and MLP, each on the normalised input and added to it. Returns (x, cache)."""

    config: Config

    @nn.compact
    def __call__(self, x, rotary, cache=None):
        c = self.config
        norm = partial(nn.RMSNorm, dtype=c.dtype, param_dtype=c.dtype)
        mixed, cache = Attention(c, name="attention")(norm(name="attention_norm")(x), rotary, cache)
        x = x + mixed
        return x + SwiGLU(c.hidden, c.dtype, name="mlp")(norm(name="mlp_norm")(x)), cache


class Llama(nn.Module):
    """Tokens (b, s) to logits (b, s, vocabulary) of every position; with a cache, of one token, and the new cache."""

    config: Config
    layer: type[nn.Module] = Layer

    @nn.compact
    def __call__(self, tokens, keys=None, values=None):
        c = self.config
        x = nn.Embed(c.vocabulary, c.width, dtype=c.dtype, param_dtype=c.dtype, name="embed")(tokens)
        positions = lax.iota(jnp.int32, tokens.shape[1])
        if keys is not None:
            positions = positions + (keys.shape[2] - tokens.shape[1])
        rotary = rotation(positions, c.head_width, c.rope_base)
        cache = None if keys is None else (keys, values)
        if c.scan:
            options = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "in_axes": (nn.broadcast, 0)}
            x, cache = nn.scan(self.layer, length=c.layers, **options)(c, name="layer")(x, rotary, cache)
        else:
            for i in range(c.layers):
                x, _ = self.layer(c, name=f"layer_{i}")(x, rotary)
        x = nn.RMSNorm(dtype=c.dtype, param_dtype=c.dtype, name="norm")(x)
        logits = nn.Dense(c.vocabulary, use_bias=False, dtype=c.dtype, param_dtype=c.dtype, name="head")(x)
        return logits if cache is None else (logits, cache)


# Kernels by columns and by rows over the axis ``model`` (Megatron's split); all else is on every device.
COLUMNS, ROWS = ("query", "key", "value", "gate", "up", "head"), ("output", "down", "embed")


def partition(path, array) -> PartitionSpec:
    """Where a parameter is on a mesh: of three dimensions, that of experts goes over ``model``."""
    names = {part.key for part in path}
    if len(array.shape) == 3:
        return PartitionSpec("model")
    if names & {*COLUMNS}:
        return PartitionSpec(None, "model")
    return PartitionSpec("model") if names & {*ROWS} else PartitionSpec()


def training(config: Config, layer: type[nn.Module]):
    """The cost of gradients of two layers, of which the second is computed again in the backward pass, and the ends, on one device
    of a mesh: in 16 bits with parameters in float32."""
    from costmodel import analyze_training, dims, spec

    def one(c, name):
        return (nn.remat(layer) if name == "layer_1" else layer)(c, name=name)

    b, s = dims("b s", where="16 | s")
    network = Llama(replace(config, layers=2, scan=False, dtype=None), one)
    params = jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 16), jnp.int32))["params"]
    tokens = spec((b, s), "int32")
    return analyze_training(network, tokens, loss=lambda y, t: cross_entropy(y.astype(jnp.float32), t), targets=(tokens,),
                            compute_dtype="bfloat16", mesh={"data": 2, "model": 2}, data_sharding=PartitionSpec("data"),
                            param_shardings=jax.tree_util.tree_map_with_path(partition, params), verify=False)


def stack(name: str, config: Config, s: int, layer: type[nn.Module] = Layer) -> Stack:
    """How a network of this size is trained over a mesh, on sequences of s tokens."""
    sizes = {"s": s, "width": config.width, "heads": config.kv_heads}
    return Stack(name, config.layers, lambda _: training(config, layer), update, at=sizes,
                 layers_of={"none": "layer_0", "full": "layer_1"}, first="embed", sent=("s", "width"), shared="heads",
                 sequence_parallel=False)


def prefill(name: str, config: Config, s: int, summary: str) -> ModelEntry:
    """The entry of a forward pass over s tokens, quoted at ``s``."""
    return ModelEntry(
        name,
        partial(Llama, config),
        inputs=("b,s:int32",),
        summary=summary,
        at={"b": 1, "s": s},
        tokens="b s",
        published=language(name),
        stack=partial(stack, name, config, s),
    )


def decode(name: str, config: Config, t: int, summary: str) -> ModelEntry:
    """The entry of one decoding step over a cache of t positions, quoted at ``t``."""
    return ModelEntry(
        name,
        partial(Llama, replace(config, scan=True)),
        inputs=("b,1:int32", *cache_inputs(config.layers, config.kv_heads, config.head_width)),
        where="t >= 2" if config.window is None else f"t >= 2, t <= {config.window}",  # the first token comes by a forward pass
        summary=summary,
        at={"b": 1, "t": t},
        tokens="b",
        published=language(name),
    )


MODELS = (
    prefill("llama_7b", LLAMA_7B, 2048, "LLaMA-7B, 32 layers"),
    decode("llama_7b_decode", LLAMA_7B, 2048, "LLaMA-7B, one token with a cache of t positions"),
    prefill("llama2_70b", LLAMA2_70B, 4096, "Llama-2-70B, 80 layers as a loop, grouped queries"),
    decode("llama2_70b_decode", LLAMA2_70B, 4096, "Llama-2-70B, one token with a cache of t positions"),
    prefill("llama3_8b", LLAMA3_8B, 8192, "Llama-3-8B, 32 layers as a loop, grouped queries"),
    decode("llama3_8b_decode", LLAMA3_8B, 8192, "Llama-3-8B, one token with a cache of t positions"),
    prefill("mistral_7b", MISTRAL_7B, 8192, "Mistral 7B, 32 layers as a loop, sliding window (computed densely, masked)"),
    decode("mistral_7b_decode", MISTRAL_7B, 4096, "Mistral 7B, one token with a cache of at most the window"),
)
