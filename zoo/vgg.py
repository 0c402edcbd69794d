"""VGG: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.

``vgg11`` … ``vgg19`` are the paper's configurations A, B, D and E; ``vgg11_bn`` … put a batch normalisation behind each
convolution. The figures are torchvision's.

Inputs are images ``(n, h, w, 3)``. Five poolings halve h and w, hence ``32 | h, 32 | w``. The feature map is flattened
before the first linear layer, so parameters depend on h and w. torchvision pools adaptively to 7×7 first, which changes
nothing at 224×224, the size that all figures are quoted at.
"""

from __future__ import annotations

import math
from functools import partial

import flax.linen as nn

from costmodel.models import ModelEntry

from ._published import torchvision

# Convolutions a stage; stage i has min(64·2^i, 512) channels.
DEPTHS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """Five stages of 3×3 convolutions, each ended by a max pool; three linear layers."""

    stage_sizes: tuple[int, ...]
    batch_norm: bool = False
    num_classes: int = 1000

    @nn.compact
    def __call__(self, x, train: bool = False):
        for stage, convolutions in enumerate(self.stage_sizes, start=1):
            features = min(64 * 2 ** (stage - 1), 512)
            for i in range(1, convolutions + 1):
                x = nn.Conv(features, (3, 3), padding=1, name=f"conv{stage}_{i}")(x)
                if self.batch_norm:
                    x = nn.BatchNorm(use_running_average=not train, name=f"bn{stage}_{i}")(x)
                x = nn.relu(x)
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        dropout = partial(nn.Dropout, 0.5, deterministic=not train)
        x = dropout()(nn.relu(nn.Dense(4096, name="fc6")(x)))
        x = dropout()(nn.relu(nn.Dense(4096, name="fc7")(x)))
        return nn.Dense(self.num_classes, name="fc8")(x)


VGG11, VGG13, VGG16, VGG19 = (partial(VGG, sizes) for sizes in DEPTHS.values())
VGG11BN, VGG13BN, VGG16BN, VGG19BN = (partial(VGG, sizes, batch_norm=True) for sizes in DEPTHS.values())

image_entry = partial(ModelEntry, inputs=("n,h,w,3:float32",), where="32 | h, 32 | w", at={"n": 1, "h": 224, "w": 224})
vgg_figures = partial(torchvision, params_depend_on_size=True)

MODELS = (
    image_entry("vgg11", VGG11, summary="VGG-11", published=vgg_figures("vgg11")),
    image_entry("vgg13", VGG13, summary="VGG-13", published=vgg_figures("vgg13")),
    image_entry("vgg16", VGG16, summary="VGG-16", published=vgg_figures("vgg16")),
    image_entry("vgg19", VGG19, summary="VGG-19", published=vgg_figures("vgg19")),
    image_entry("vgg11_bn", VGG11BN, summary="VGG-11, batch normalisation"),
    image_entry("vgg13_bn", VGG13BN, summary="VGG-13, batch normalisation"),
    image_entry("vgg16_bn", VGG16BN, summary="VGG-16, batch normalisation", published=vgg_figures("vgg16_bn")),
    image_entry("vgg19_bn", VGG19BN, summary="VGG-19, batch normalisation"),
)
