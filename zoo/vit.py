"""ViT: Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021.

An image becomes h·w/p² patches of p×p, each a token; a learned token before them gathers what the last linear layer
classifies. The layers are GPT's without the causal mask. Figures are torchvision's.

Inputs are images ``(n, h, w, 3)``, h and w multiples of the patch. The table of positions has one row a patch, so
parameters depend on h and w; published ones hold at 224×224.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from costmodel.models import ModelEntry

from ._published import torchvision
from .gpt import Block


@dataclass(frozen=True)
class Config:
    """Sizes of a ViT; ``patch`` is its side in pixels."""

    layers: int
    width: int
    heads: int
    patch: int = 16
    num_classes: int = 1000


VIT_B16 = Config(layers=12, width=768, heads=12)
VIT_L16 = Config(layers=24, width=1024, heads=16)


class ViT(nn.Module):
    """Patches, layers of attention and MLP, a linear layer on the class token."""

    config: Config

    @nn.compact
    def __call__(self, x):
        c = self.config
        x = nn.Conv(c.width, (c.patch, c.patch), strides=c.patch, padding="VALID", name="patches")(x)
        n, rows, columns, width = x.shape
        token = self.param("class_token", nn.initializers.zeros, (1, 1, width))
        x = jnp.concatenate([jnp.broadcast_to(token, (n, 1, width)), x.reshape(n, rows * columns, width)], axis=1)
        x = x + self.param("positions", nn.initializers.normal(0.02), (1, rows * columns + 1, width))
        for i in range(c.layers):
            x, _ = Block(c.heads, partial(nn.gelu, approximate=False), causal=False, name=f"block_{i}")(x)
        # Normalising every token and not the first alone is torchvision's order.
        return nn.Dense(c.num_classes, name="head")(nn.LayerNorm(name="norm")(x)[:, 0])


image_entry = partial(ModelEntry, inputs=("n,h,w,3:float32",), where="16 | h, 16 | w", at={"n": 1, "h": 224, "w": 224})

MODELS = (
    image_entry(
        "vit_b_16",
        partial(ViT, VIT_B16),
        summary="ViT-B/16, 12 layers",
        published=torchvision("vit_b_16", params_depend_on_size=True),
    ),
    image_entry(
        "vit_l_16",
        partial(ViT, VIT_L16),
        summary="ViT-L/16, 24 layers",
        published=torchvision("vit_l_16", params_depend_on_size=True),
    ),
)
