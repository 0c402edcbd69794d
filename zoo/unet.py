"""U-Net: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015.

Four halvings of h and w and four doublings back, each of which gets the features that its level had on the way down: so
activations, held until then, weigh more than parameters. Padded convolutions with batch normalisation, as it is built today.

Inputs are images ``(n, h, w, c)``, h and w multiples of 32 (16 would do): levels meet only where every halving is exact.
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from costmodel.models import ModelEntry

from ._published import counted


class DoubleConv(nn.Module):
    """Twice 3×3 convolution, batch normalisation, ReLU."""

    features: int

    @nn.compact
    def __call__(self, x, train: bool = False):
        for i in (1, 2):
            x = nn.Conv(self.features, (3, 3), padding=1, use_bias=False, name=f"conv{i}")(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, name=f"bn{i}")(x))
        return x


class UNet(nn.Module):
    """Images (n, h, w, c) to a map of classes (n, h, w, num_classes). ``widths``: features of each level, finest first."""

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    num_classes: int = 2

    @nn.compact
    def __call__(self, x, train: bool = False):
        skips = []
        for level, width in enumerate(self.widths, start=1):
            if level > 1:
                x = nn.max_pool(x, (2, 2), strides=(2, 2))
            x = DoubleConv(width, name=f"down{level}")(x, train)
            skips.append(x)
        for level in range(len(self.widths) - 1, 0, -1):
            width = self.widths[level - 1]
            x = nn.ConvTranspose(width, (2, 2), strides=(2, 2), padding="VALID", name=f"upsample{level}")(x)
            x = jnp.concatenate([skips[level - 1], x], axis=-1)
            x = DoubleConv(width, name=f"up{level}")(x, train)
        return nn.Conv(self.num_classes, (1, 1), name="classes")(x)


image_entry = partial(ModelEntry, where="32 | h, 32 | w", at={"n": 1, "h": 512, "w": 512})

MODELS = (
    image_entry("unet", UNet, inputs=("n,h,w,3:float32",), summary="U-Net, five levels", published=counted("unet")),
    image_entry(
        "unet_small",
        partial(UNet, widths=(16, 32, 64)),
        inputs=("n,h,w,c:float32",),
        summary="U-Net, three narrow levels, any number of channels",
        at={"n": 1, "h": 512, "w": 512, "c": 1},
    ),
)
