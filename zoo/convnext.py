"""ConvNeXt: Liu et al., "A ConvNet for the 2020s", CVPR 2022.

A convolutional network with a transformer's habits: a patch stem, depthwise 7×7 convolutions as the mixing of places, two
linear layers with GELU as the mixing of channels, layer normalisation. Figures are torchvision's.

Inputs are images ``(n, h, w, 3)``, h and w multiples of 32, as four convolutions with neither overlap nor padding shrink them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import flax.linen as nn

from costmodel.models import ModelEntry

from ._published import torchvision


@dataclass(frozen=True)
class Config:
    """Blocks and channels of each of the four stages."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    num_classes: int = 1000


CONVNEXT_TINY = Config(depths=(3, 3, 9, 3), widths=(96, 192, 384, 768))


class Block(nn.Module):
    """Depthwise 7×7, two linear layers, a learned scale of each channel, added to the input."""

    @nn.compact
    def __call__(self, x):
        width = x.shape[-1]
        y = nn.Conv(width, (7, 7), padding=3, feature_group_count=width, name="depthwise")(x)
        y = nn.Dense(4 * width, name="expand")(nn.LayerNorm(name="norm")(y))
        y = nn.Dense(width, name="project")(nn.gelu(y, approximate=False))
        return x + y * self.param("scale", nn.initializers.constant(1e-6), (width,))


class ConvNeXt(nn.Module):
    """Patch stem, four stages with a halving of h and w between them, global mean, linear."""

    config: Config

    @nn.compact
    def __call__(self, x):
        c = self.config
        for stage, (depth, width) in enumerate(zip(c.depths, c.widths, strict=True), start=1):
            if stage == 1:
                x = nn.Conv(width, (4, 4), strides=4, padding="VALID", name="stem")(x)
                x = nn.LayerNorm(name="stem_norm")(x)
            else:
                x = nn.LayerNorm(name=f"downsample{stage}_norm")(x)
                x = nn.Conv(width, (2, 2), strides=2, padding="VALID", name=f"downsample{stage}")(x)
            for i in range(depth):
                x = Block(name=f"stage{stage}_{i}")(x)
        return nn.Dense(c.num_classes, name="head")(nn.LayerNorm(name="norm")(x.mean(axis=(1, 2))))


MODELS = (
    ModelEntry(
        "convnext_tiny",
        partial(ConvNeXt, CONVNEXT_TINY),
        inputs=("n,h,w,3:float32",),
        where="32 | h, 32 | w",
        summary="ConvNeXt-T",
        at={"n": 1, "h": 224, "w": 224},
        published=torchvision("convnext_tiny"),
    ),
)
