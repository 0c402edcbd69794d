"""EfficientNet: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019.

MobileNetV2's inverted residuals with SiLU and squeeze-and-excitation: each channel is scaled by a gate that two small
linear layers compute from the global mean of all channels. Figures are torchvision's.

Inputs are images ``(n, h, w, 3)``. Any size works; with ``32 | h, 32 | w`` every count is a polynomial.
"""

from __future__ import annotations

import flax.linen as nn

from costmodel.models import ModelEntry

from ._published import torchvision

# Expansion, kernel, stride of the first block, channels, blocks: Table 1 of the paper, EfficientNet-B0.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class ConvBNSiLU(nn.Module):
    """Convolution with explicit symmetric padding, batch normalisation, SiLU unless ``linear``."""

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
        return x if self.linear else nn.silu(x)


class SqueezeExcite(nn.Module):
    """x · sigmoid(expand(silu(reduce(mean of x)))), a gate per channel."""

    squeezed: int

    @nn.compact
    def __call__(self, x):
        gate = x.mean(axis=(1, 2), keepdims=True)
        gate = nn.silu(nn.Conv(self.squeezed, (1, 1), name="reduce")(gate))
        return x * nn.sigmoid(nn.Conv(x.shape[-1], (1, 1), name="expand")(gate))


class MBConv(nn.Module):
    """1×1 expansion, depthwise convolution, squeeze-and-excitation, linear 1×1 projection; a shortcut where shapes allow."""

    features: int
    expansion: int
    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x, train: bool = False):
        features_in = x.shape[-1]
        hidden = features_in * self.expansion
        y = x
        if self.expansion != 1:
            y = ConvBNSiLU(hidden, 1, name="expand")(y, train)
        y = ConvBNSiLU(hidden, self.kernel, self.stride, groups=hidden, name="depthwise")(y, train)
        y = SqueezeExcite(features_in // 4, name="squeeze_excite")(y)  # a quarter of the block's input, not of its hidden width
        y = ConvBNSiLU(self.features, 1, linear=True, name="project")(y, train)
        return x + y if self.stride == 1 and features_in == self.features else y


class EfficientNetB0(nn.Module):
    """Stem, seven stages of MBConv, a 1×1 convolution, global mean, dropout, linear."""

    num_classes: int = 1000

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = ConvBNSiLU(32, 3, 2, name="stem")(x, train)
        for stage, (expansion, kernel, first_stride, features, blocks) in enumerate(STAGES, start=1):
            for i in range(blocks):
                stride = first_stride if i == 0 else 1
                x = MBConv(features, expansion, kernel, stride, name=f"stage{stage}_{i}")(x, train)
        x = ConvBNSiLU(1280, 1, name="head")(x, train).mean(axis=(1, 2))
        x = nn.Dropout(0.2, deterministic=not train)(x)
        return nn.Dense(self.num_classes, name="classifier")(x)


MODELS = (
    ModelEntry(
        "efficientnet_b0",
        EfficientNetB0,
        inputs=("n,h,w,3:float32",),
        where="32 | h, 32 | w",
        summary="EfficientNet-B0",
        at={"n": 1, "h": 224, "w": 224},
        published=torchvision("efficientnet_b0"),
    ),
)
