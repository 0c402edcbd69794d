"""MobileNetV2 in Flax NNX: the network of ``mobilenet.py`` in the other API, with the same module paths and figures.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018. An NNX module holds its arrays, so
the entry builds it abstractly: shapes only, no initialisation.
"""

from __future__ import annotations

import jax
from flax import nnx

from costmodel.models import ModelEntry

from ._published import torchvision
from .mobilenet import STAGES, make_divisible


class ConvBNReLU6(nnx.Module):
    """Convolution with explicit symmetric padding, batch normalisation, ReLU6 unless ``linear``."""

    def __init__(
        self,
        features_in: int,
        features: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
        *,
        rngs: nnx.Rngs,
    ):
        self.conv = nnx.Conv(
            features_in,
            features,
            (kernel, kernel),
            strides=stride,
            padding=(kernel - 1) // 2,
            feature_group_count=groups,
            use_bias=False,
            rngs=rngs,
        )
        self.bn = nnx.BatchNorm(features, rngs=rngs)
        self.linear = linear

    def __call__(self, x, train: bool = False):
        x = self.bn(self.conv(x), use_running_average=not train)
        return x if self.linear else jax.nn.relu6(x)


class InvertedResidual(nnx.Module):
    """1×1 expansion, depthwise 3×3, linear 1×1 projection; a shortcut if shapes allow."""

    def __init__(self, features_in: int, features: int, expansion: int, stride: int, *, rngs: nnx.Rngs):
        hidden = features_in * expansion
        self.expand = ConvBNReLU6(features_in, hidden, 1, rngs=rngs) if expansion != 1 else None
        self.depthwise = ConvBNReLU6(hidden, hidden, 3, stride, groups=hidden, rngs=rngs)
        self.project = ConvBNReLU6(hidden, features, 1, linear=True, rngs=rngs)
        self.residual = stride == 1 and features_in == features

    def __call__(self, x, train: bool = False):
        y = x if self.expand is None else self.expand(x, train)
        y = self.project(self.depthwise(y, train), train)
        return x + y if self.residual else y


class MobileNetV2(nnx.Module):
    """Stem, seven stages of inverted residuals, a 1×1 convolution, global mean, dropout, linear."""

    def __init__(self, width: float = 1.0, num_classes: int = 1000, *, rngs: nnx.Rngs):
        features_in = make_divisible(32 * width)
        self.stem = ConvBNReLU6(3, features_in, 3, 2, rngs=rngs)
        block_names = []
        for stage, (expansion, channels, repetitions, first_stride) in enumerate(STAGES, start=1):
            features = make_divisible(channels * width)
            for i in range(repetitions):
                stride = first_stride if i == 0 else 1
                name = f"stage{stage}_{i}"  # attributes, not a list: their names are the paths in reports
                setattr(self, name, InvertedResidual(features_in, features, expansion, stride, rngs=rngs))
                block_names.append(name)
                features_in = features
        self.block_names = tuple(block_names)
        features = make_divisible(1280 * max(1.0, width))
        self.head = ConvBNReLU6(features_in, features, 1, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.classifier = nnx.Linear(features, num_classes, rngs=rngs)

    def __call__(self, x, train: bool = False):
        x = self.stem(x, train)
        for name in self.block_names:
            x = getattr(self, name)(x, train)
        x = self.head(x, train).mean(axis=(1, 2))
        return self.classifier(self.dropout(x, deterministic=not train))


def mobilenet_v2() -> MobileNetV2:
    """An abstract MobileNetV2: its arrays are shapes and dtypes."""
    return nnx.eval_shape(lambda: MobileNetV2(rngs=nnx.Rngs(0)))


MODELS = (
    ModelEntry(
        "mobilenet_v2_nnx",
        mobilenet_v2,
        inputs=("n,h,w,3:float32",),
        summary="MobileNetV2, width 1.0, in Flax NNX",
        where="32 | h, 32 | w",
        at={"n": 1, "h": 224, "w": 224},
        published=torchvision("mobilenet_v2"),
    ),
)
