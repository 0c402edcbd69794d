"""ResNet-50 v1.5 in Flax NNX: the network of ``resnet.py`` in the other API, with the same module paths and figures.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. An NNX module holds its arrays, so the
entry builds it abstractly: shapes only, no initialisation.
"""

from __future__ import annotations

from functools import partial

import jax
from flax import nnx

from costmodel.models import ModelEntry

from ._published import torchvision

Conv = partial(nnx.Conv, use_bias=False)  # a batch normalisation follows every convolution and has the bias


class Bottleneck(nnx.Module):
    """1×1 to fewer channels, 3×3 with the stride, 1×1 to four times as many, and a shortcut."""

    expansion = 4

    def __init__(self, features_in: int, features: int, stride: int, *, rngs: nnx.Rngs):
        features_out = self.expansion * features
        self.conv1 = Conv(features_in, features, (1, 1), padding=0, rngs=rngs)
        self.bn1 = nnx.BatchNorm(features, rngs=rngs)
        self.conv2 = Conv(features, features, (3, 3), strides=stride, padding=1, rngs=rngs)
        self.bn2 = nnx.BatchNorm(features, rngs=rngs)
        self.conv3 = Conv(features, features_out, (1, 1), padding=0, rngs=rngs)
        self.bn3 = nnx.BatchNorm(features_out, rngs=rngs)
        self.downsample = stride != 1 or features_in != features_out
        if self.downsample:
            self.downsample_conv = Conv(features_in, features_out, (1, 1), strides=stride, padding=0, rngs=rngs)
            self.downsample_bn = nnx.BatchNorm(features_out, rngs=rngs)

    def __call__(self, x, train: bool = False):
        stored = not train
        y = jax.nn.relu(self.bn1(self.conv1(x), use_running_average=stored))
        y = jax.nn.relu(self.bn2(self.conv2(y), use_running_average=stored))
        y = self.bn3(self.conv3(y), use_running_average=stored)
        if self.downsample:
            x = self.downsample_bn(self.downsample_conv(x), use_running_average=stored)
        return jax.nn.relu(x + y)


class ResNet(nnx.Module):
    """Stem, four stages of bottlenecks, global mean, linear."""

    def __init__(self, stage_sizes: tuple[int, ...], num_classes: int = 1000, width: int = 64, *, rngs: nnx.Rngs):
        self.conv1 = Conv(3, width, (7, 7), strides=2, padding=3, rngs=rngs)
        self.bn1 = nnx.BatchNorm(width, rngs=rngs)
        block_names = []
        features_in = width
        for stage, blocks in enumerate(stage_sizes):
            features = width * 2**stage
            for i in range(blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                name = f"layer{stage + 1}_{i}"  # attributes, not a list: their names are the paths in reports
                setattr(self, name, Bottleneck(features_in, features, stride, rngs=rngs))
                block_names.append(name)
                features_in = Bottleneck.expansion * features
        self.block_names = tuple(block_names)
        self.fc = nnx.Linear(features_in, num_classes, rngs=rngs)

    def __call__(self, x, train: bool = False):
        x = jax.nn.relu(self.bn1(self.conv1(x), use_running_average=not train))
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for name in self.block_names:
            x = getattr(self, name)(x, train)
        return self.fc(x.mean(axis=(1, 2)))


def resnet50() -> ResNet:
    """An abstract ResNet-50: its arrays are shapes and dtypes."""
    return nnx.eval_shape(lambda: ResNet((3, 4, 6, 3), rngs=nnx.Rngs(0)))


MODELS = (
    ModelEntry(
        "resnet50_nnx",
        resnet50,
        inputs=("n,h,w,3:float32",),
        summary="ResNet-50 v1.5 in Flax NNX",
        where="32 | h, 32 | w",
        at={"n": 1, "h": 224, "w": 224},
        published=torchvision("resnet50"),
    ),
)
