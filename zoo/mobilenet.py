"""MobileNetV2: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.

The paper prints 300 M MACs and 3.4 M parameters; torchvision's network, which this file follows, has 300.8 M and 3.5 M.
A width multiplier scales every layer; channels are rounded to multiples of 8. The paper speaks of a family from 7 M to
585 M MACs and from 1.7 M to 6.9 M parameters; by count, width 0.35 at 96×96 has 11.9 M and 1.68 M, width 1.4 at 224×224
has 582 M and 6.1 M.

MCUNet (NeurIPS 2020) runs narrow ones on microcontrollers whose last convolution is narrowed too: it prints 23.5 M MACs and 0.75 M
parameters for width 0.35 at 144×144, which has 23 499 152 and 750 280.

Inputs are images ``(n, h, w, 3)``. Any size works; with ``32 | h, 32 | w`` every count is a polynomial.
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn

from costmodel.models import ModelEntry

from ._published import counted, torchvision

# Expansion t, output channels c, repetitions, stride of the first: Table 2 of the paper.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of ``divisor`` nearest to ``channels``, but never below 90 % of it.

    >>> [make_divisible(c) for c in (11.2, 33.6, 45, 4)]
    [16, 32, 48, 8]
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class ConvBNReLU6(nn.Module):
    """Convolution with explicit symmetric padding, batch normalisation, ReLU6 unless ``linear``."""

    features: int
    kernel: int
    stride: int = 1
    groups: int = 1
    linear: bool = False

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            strides=self.stride,
            padding=(self.kernel - 1) // 2,
            feature_group_count=self.groups,
            use_bias=False,
            name="conv",
        )(x)
        x = nn.BatchNorm(use_running_average=not train, name="bn")(x)
        return x if self.linear else nn.relu6(x)


class InvertedResidual(nn.Module):
    """1×1 expansion, depthwise convolution, linear 1×1 projection; a shortcut if ``residual``."""

    features: int
    expansion: int
    stride: int
    residual: bool
    kernel: int = 3

    @nn.compact
    def __call__(self, x, train: bool = False):
        hidden = make_divisible(x.shape[-1] * self.expansion)
        y = x
        if self.expansion != 1:
            y = ConvBNReLU6(hidden, 1, name="expand")(y, train)
        y = ConvBNReLU6(hidden, self.kernel, self.stride, groups=hidden, name="depthwise")(y, train)
        y = ConvBNReLU6(self.features, 1, linear=True, name="project")(y, train)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Stem, seven stages of inverted residuals, a 1×1 convolution, global mean, dropout, linear.

    ``narrow``: the last convolution is as narrow as the others, where the paper's keeps 1280 features.
    """

    width: float = 1.0
    narrow: bool = False
    num_classes: int = 1000

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = ConvBNReLU6(make_divisible(32 * self.width), 3, 2, name="stem")(x, train)
        for stage, (expansion, channels, repetitions, first_stride) in enumerate(STAGES):
            features = make_divisible(channels * self.width)
            for i in range(repetitions):
                stride = first_stride if i == 0 else 1
                residual = stride == 1 and x.shape[-1] == features
                x = InvertedResidual(features, expansion, stride, residual, name=f"stage{stage + 1}_{i}")(x, train)
        # A narrow network keeps 1280 features before its classifier; only a wide one grows them.
        x = ConvBNReLU6(make_divisible(1280 * (self.width if self.narrow else max(1.0, self.width))), 1, name="head")(x, train)
        x = x.mean(axis=(1, 2))
        x = nn.Dropout(0.2, deterministic=not train)(x)
        return nn.Dense(self.num_classes, name="classifier")(x)


image_entry = partial(ModelEntry, inputs=("n,h,w,3:float32",), where="32 | h, 32 | w", at={"n": 1, "h": 224, "w": 224})

MODELS = (
    image_entry("mobilenet_v2", MobileNetV2, summary="MobileNetV2, width 1.0", published=torchvision("mobilenet_v2")),
    image_entry(
        "mobilenet_v2_w035_r96",
        partial(MobileNetV2, width=0.35),
        summary="MobileNetV2, width 0.35, quoted at 96×96",
        at={"n": 1, "h": 96, "w": 96},
        published=counted("mobilenet_v2_w035_r96"),
    ),
    image_entry("mobilenet_v2_w075", partial(MobileNetV2, width=0.75), summary="MobileNetV2, width 0.75"),
    image_entry(
        "mobilenet_v2_w03_mcu",
        partial(MobileNetV2, width=0.3, narrow=True),
        summary="MobileNetV2, width 0.3 to the last layer, as MCUNet runs it on microcontrollers at 64×64",
        at={"n": 1, "h": 64, "w": 64},
    ),
    image_entry(
        "mobilenet_v2_w14",
        partial(MobileNetV2, width=1.4),
        summary="MobileNetV2, width 1.4",
        published=counted("mobilenet_v2_w14"),
    ),
)
