"""MCUNet: Lin, Chen, Lin, Cohn, Gan, Han, "MCUNet: Tiny Deep Learning on IoT Devices", NeurIPS 2020.

``mcunet_in3`` is the ImageNet network that a search found for 320 kB of SRAM and 1 MB of flash, at 176×176: inverted
residuals as in MobileNetV2, each with its own kernel size and expansion. The authors print 81.8 M MACs and 0.74 M
parameters; the published figures here are the exact counts of their architecture.

Inputs are images ``(n, h, w, 3)``; any size works. Five convolutions stride, so ``32 | h`` would make every count a
polynomial, but 176 is a multiple of 16 only.
"""

from __future__ import annotations

import flax.linen as nn

from costmodel.models import ModelEntry

from ._published import counted
from .mobilenet import ConvBNReLU6, InvertedResidual

# Of each stage: expansions, kernel sizes, stride of the first block, output channels.
STAGES = (
    ((3, 5, 5, 4), (7, 3, 7, 5), 2, 16),
    ((5, 5, 5), (5, 5, 5), 2, 24),
    ((5, 6, 4), (3, 7, 5), 2, 40),
    ((5, 5, 5), (5, 7, 3), 1, 48),
    ((6, 5, 4), (3, 7, 3), 2, 96),
    ((5,), (7,), 1, 160),
)


class MCUNet(nn.Module):
    """Stem, one separable block, stages of inverted residuals, global mean, linear."""

    num_classes: int = 1000

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = ConvBNReLU6(16, 3, stride=2, name="stem")(x, train)
        x = InvertedResidual(8, expansion=1, stride=1, residual=False, name="separable")(x, train)
        for stage, (expansions, kernels, first_stride, features) in enumerate(STAGES, start=1):
            for i, (expansion, kernel) in enumerate(zip(expansions, kernels, strict=True)):
                stride = first_stride if i == 0 else 1
                block = InvertedResidual(features, expansion, stride, i > 0, kernel, name=f"stage{stage}_{i}")
                x = block(x, train)
        x = x.mean(axis=(1, 2))
        return nn.Dense(self.num_classes, name="classifier")(x)


MODELS = (
    ModelEntry(
        "mcunet_in3",
        MCUNet,
        inputs=("n,h,w,3:float32",),
        summary="MCUNet for ImageNet on 320 kB of SRAM",
        where="16 | h, 16 | w",
        at={"n": 1, "h": 176, "w": 176},
        published=counted("mcunet_in3"),
    ),
)
