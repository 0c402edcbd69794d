"""Megatron's GPT: Shoeybi et al., "Megatron-LM", 2019; Korthikanti et al., "Reducing Activation Recomputation in Large
Transformer Models", MLSys 2023 (sequence parallelism, selective recomputation).

The GPT of ``gpt.py`` as it is trained over a mesh with the axes ``data`` and ``model`` (Megatron's t). A layer's first products are
split by columns and its second ones by rows, so that each sublayer sums once over ``model``: 4 all-reduces a layer, two forward and
two backward. With sequence parallelism normalisations, dropout and residual sums are split along the sequence, and each all-reduce
becomes an all-gather before and a reduce-scatter behind the products. The embedding's rows, which are the logits' columns, are
split too.

Normalisation, GELU, softmax and dropout keep for the backward pass what Megatron's kernels keep: their input, of softmax its
result, of dropout a mask. With b sequences of s tokens, a heads and width h a layer keeps, on each device and in 16 bits,

    s·b·h·(10 + 24/t + 5·a·s/(h·t))  bytes      without recomputation, and
    s·b·h·(34/t + 5·a·s/(h·t))                  with sequence parallelism.

``selective`` recomputation keeps none of the last term (scores, their softmax and its dropout are computed again); ``full`` keeps
the layer's input, 2·s·b·h.

Inputs are tokens ``(b, s)``; the result is the logits, in float32. ``MODELS`` are forward passes of one device; ``stack`` is
how a network is trained over a mesh, of which plans are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from costmodel.models import ModelEntry, Published
from costmodel.solve import Stack

from ._megatron_kernels import causal_softmax, gelu, normalised


@dataclass(frozen=True)
class Config:
    """Sizes of a Megatron GPT and how it is trained; integers or dimensions.

    recompute:         what the backward pass computes again: ``none``, ``selective`` (attention's core) or ``full`` (each layer);
                       without a loop, one for each of the layers in turn.
    sequence_parallel: what is between the products of a layer is split along the sequence, over ``model``.
    sharded:           parameters and activations have their places on a mesh with the axes ``data`` and ``model``.
    scan:              layers as a loop, their parameters stacked.
    """

    layers: int
    width: Any
    heads: Any
    head_width: Any
    context: Any = 2048
    vocabulary: Any = 51200
    dropout: float = 0.0
    recompute: tuple[str, ...] = ("none",)
    sequence_parallel: bool = False
    sharded: bool = False
    scan: bool = True

    def placed(self, x, *axes):
        """x with its dimensions on these axes of the mesh."""
        return lax.with_sharding_constraint(x, NamedSharding(_MESH, PartitionSpec(*axes))) if self.sharded else x

    def along(self, x):
        """x (b, s, h) as it is between the products: with sequence parallelism, split along the sequence too."""
        return self.placed(x, "data", "model" if self.sequence_parallel else None, None)

    def by_head(self, scores):
        """Scores (b, a, s, s) with their heads split over ``model``."""
        return self.placed(scores, "data", "model", None, None)

    def split(self, axes, init=None):
        """An initializer of a parameter whose dimensions are on these axes of the mesh."""
        init = init or nn.initializers.normal(0.02)
        return nn.with_partitioning(init, axes) if self.sharded else init

    def columns(self, indices, x, kernel):
        """A product with a kernel that is split by columns. With sequence parallelism x is gathered for it, and once more for the
        kernel's gradient, so that what is kept is x as it was."""
        if not self.sequence_parallel:
            return jnp.einsum(indices, x, kernel)
        return jax.checkpoint(lambda x, kernel: jnp.einsum(indices, self.placed(x, "data", None, None), kernel))(x, kernel)


_MESH = AbstractMesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
MEGATRON_22B = Config(layers=48, width=6144, heads=64, head_width=96)
MEGATRON_175B = Config(layers=96, width=12288, heads=96, head_width=128)


class Norm(nn.Module):
    """Layer normalisation of the last dimension."""

    @nn.compact
    def __call__(self, x):
        gain = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return normalised(x, gain.astype(x.dtype), bias.astype(x.dtype))


class Dropout(nn.Module):
    """Dropout by a byte of random bits an element, which keeps its mask."""

    rate: float

    @nn.compact
    def __call__(self, x):
        if not self.rate:
            return x
        mask = jax.random.bits(self.make_rng("dropout"), x.shape, "uint8") >= round(256 * self.rate)
        return lax.select(mask, x * (1 / (1 - self.rate)), jnp.zeros_like(x))


class Core(nn.Module):
    """softmax(q·kᵀ/√d_head), its dropout, and the product with v: what selective recomputation computes again."""

    config: Config

    @nn.compact
    def __call__(self, q, k, v):
        c = self.config
        scale = lax.rsqrt(jnp.asarray(q.shape[-1], jnp.float32))
        weights = c.by_head(causal_softmax(c.by_head(jnp.einsum("bsad,btad->bast", q, k)), scale))
        mixed = jnp.einsum("bast,btad->bsad", c.by_head(Dropout(c.dropout, name="dropout")(weights)), v)
        return c.placed(mixed, "data", None, "model", None)


class Attention(nn.Module):
    """Self-attention whose heads are split over ``model``."""

    config: Config
    recompute: str

    @nn.compact
    def __call__(self, x):
        c = self.config
        h, a, d = c.width, c.heads, c.head_width
        qkv = self.param("qkv", c.split((None, None, "model", None)), (h, 3, a, d)).astype(x.dtype)
        bias = self.param("qkv_bias", c.split((None, "model", None), nn.initializers.zeros), (3, a, d)).astype(x.dtype)
        qkv = c.placed(c.columns("bsh,hcad->bscad", x, qkv) + bias, "data", None, None, "model", None)
        core = nn.remat(Core) if self.recompute == "selective" else Core
        mixed = core(c, name="core")(*(qkv[:, :, i] for i in range(3)))
        proj = self.param("proj", c.split(("model", None, None)), (a, d, h)).astype(x.dtype)
        return jnp.einsum("bsad,adh->bsh", mixed, proj)


class MLP(nn.Module):
    """Two linear layers, four times as wide between them, split over ``model``."""

    config: Config

    @nn.compact
    def __call__(self, x):
        c, h = self.config, self.config.width
        up = self.param("up", c.split((None, "model")), (h, 4 * h)).astype(x.dtype)
        bias = self.param("up_bias", c.split(("model",), nn.initializers.zeros), (4 * h,)).astype(x.dtype)
        down = self.param("down", c.split(("model", None)), (4 * h, h)).astype(x.dtype)
        return gelu(c.placed(c.columns("bsh,hf->bsf", x, up) + bias, "data", None, "model")) @ down


class Layer(nn.Module):
    """Attention and MLP, each on the normalised input, with a bias and dropout behind it, and added to the input. Returns
    (x, None), as a step of a scan."""

    config: Config
    recompute: str

    @nn.compact
    def __call__(self, x):
        c = self.config
        for name, part in (("attention", partial(Attention, recompute=self.recompute)), ("mlp", MLP)):
            y = part(config=c, name=name)(c.along(Norm(name=f"{name}_norm")(x)))
            bias = self.param(f"{name}_bias", nn.initializers.zeros, (c.width,)).astype(x.dtype)
            x = c.along(x + Dropout(c.dropout, name=f"{name}_dropout")(c.along(y) + bias))
        return x, None


class Megatron(nn.Module):
    """Tokens (b, s) to logits (b, s, vocabulary), in float32."""

    config: Config
    dtype: Any = jnp.bfloat16

    @nn.compact
    def __call__(self, tokens):
        c = self.config
        table = self.param("embedding", c.split(("model", None)), (c.vocabulary, c.width)).astype(self.dtype)
        positions = self.param("positions", nn.initializers.normal(0.02), (c.context, c.width)).astype(self.dtype)
        with jax.named_scope("first"):
            x = c.placed(table[tokens], "data", None, None) + positions[: tokens.shape[1]]
            x = c.along(Dropout(c.dropout, name="dropout")(c.along(x)))
        layer = {how: nn.remat(Layer) if how == "full" else Layer for how in c.recompute}
        if c.scan:
            (how,) = c.recompute
            axes = {"variable_axes": {"params": 0}, "split_rngs": {"params": True, "dropout": True}}
            x, _ = nn.scan(layer[how], length=c.layers, **axes)(c, how, name="layer")(x)
        else:
            for i in range(c.layers):
                how = c.recompute[i % len(c.recompute)]
                x, _ = layer[how](c, how, name=f"layer_{i}")(x)
        with jax.named_scope("last"):
            logits = c.columns("bsh,vh->bsv", c.along(Norm(name="norm")(x)), table)
            return c.placed(logits, "data", None, "model").astype(jnp.float32)


def cross_entropy(logits, targets):
    """Mean over tokens of -log softmax(logits)[target]."""
    with jax.named_scope("last"):
        most = lax.stop_gradient(logits.max(-1, keepdims=True))
        sums = jnp.log(jnp.exp(logits - most).sum(-1)) + most[..., 0]
        return (sums - jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]).mean()


RECOMPUTE = ("none", "selective", "full")


def training(sequence_parallel: bool):
    """The cost of gradients of one layer of each kind of recomputation between the ends, on one device of a mesh: in 16 bits with
    parameters in float32, dropout 0.1, and every size a symbol."""
    from costmodel import analyze_training, dims, spec

    b, s, h, a, d, v = dims("b s h a d v")
    config = Config(len(RECOMPUTE), h, a, d, context=s, vocabulary=v, dropout=0.1, recompute=RECOMPUTE,
                    sequence_parallel=sequence_parallel, sharded=True, scan=False)
    tokens = spec((b, s), "int32")
    return analyze_training(Megatron(config), tokens, loss=cross_entropy, targets=(tokens,),
                            compute_dtype="bfloat16", rngs=("dropout",), mesh={"data": 2, "model": 2},
                            data_sharding=PartitionSpec("data"), verify=False)


def update():
    """The cost of a step of AdamW in which the gradients are next to nothing, over n parameters."""
    import optax

    from costmodel import analyze_training, dims, spec

    n = dims("n")
    return analyze_training(lambda w, x: w * x, spec((n,)), spec(()), params=0, loss=jnp.sum, optimizer=optax.adamw(1e-3),
                            compute_dtype="bfloat16", verify=False)


def stack(name: str, config: Config) -> Stack:
    """How a network of this size is trained over a mesh."""
    sizes = {"s": config.context, "h": config.width, "a": config.heads, "d": config.head_width, "v": config.vocabulary}
    return Stack(name, config.layers, training, update, at=sizes, layers_of={how: f"layer_{i}" for i, how in enumerate(RECOMPUTE)},
                 first="first", sent=("s", "h"), shared="a", shared_table="embedding")


def megatron(name: str, config: Config, summary: str) -> ModelEntry:
    """The entry of a forward pass, whose products are a third of the model's FLOPs as Korthikanti et al. count them."""
    b, s, h, v = 1, config.context, config.width, config.vocabulary
    flops = 72 * b * config.layers * s * h**2 * (1 + s / (6 * h) + v / (12 * h * config.layers))
    source = "Korthikanti et al., arXiv 2205.05198, appendix A: 72·B·L·s·h²·(1 + s/(6h) + v/(12hL)) model FLOPs an iteration"
    return ModelEntry(
        name,
        partial(Megatron, config),
        inputs=("b,s:int32",),
        where=f"s <= {config.context}",
        summary=summary,
        at={"b": b, "s": s},
        tokens="b s",
        published=(Published("macs", round(flops / 6), source, {"b": b, "s": s}),),
        stack=partial(stack, name, config),
    )


MODELS = (
    megatron("megatron_22b", MEGATRON_22B, "Megatron's GPT of 22 billion parameters, 48 layers as a loop"),
    megatron("megatron_175b", MEGATRON_175B, "Megatron's GPT-3, 96 layers as a loop"),
)
