"""Residual networks: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.

``resnet18`` … ``resnet152`` are torchvision's, known as v1.5: a bottleneck strides in its 3×3 convolution. The paper
strides in the first 1×1 instead (``resnet50_v1``), with the same parameters and fewer MACs: the paper prints 3.8 G for
ResNet-50, whose exact count is 3.858 G (v1.5: 4.089 G). That figure is rounded, so ``resnet50_v1`` publishes none.

Inputs are images ``(n, h, w, 3)``. The network is fully convolutional up to a global mean: any size works, and with
``32 | h, 32 | w`` every count is a polynomial.
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn

from costmodel.models import ModelEntry

from ._published import torchvision

Conv = partial(nn.Conv, use_bias=False)  # a batch normalisation follows every convolution and has the bias


def conv3x3(features: int, stride: int, name: str) -> nn.Conv:
    # Padding is explicit: "SAME" with stride 2 would pad on one side only.
    return Conv(features, (3, 3), strides=stride, padding=1, name=name)


def conv1x1(features: int, stride: int, name: str) -> nn.Conv:
    return Conv(features, (1, 1), strides=stride, padding=0, name=name)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    features: int
    stride: int = 1

    expansion = 1

    @nn.compact
    def __call__(self, x, train: bool = False):
        norm = partial(nn.BatchNorm, use_running_average=not train)
        features_out = self.expansion * self.features
        y = nn.relu(norm(name="bn1")(conv3x3(self.features, self.stride, "conv1")(x)))
        y = norm(name="bn2")(conv3x3(features_out, 1, "conv2")(y))
        if self.stride != 1 or x.shape[-1] != features_out:
            x = norm(name="downsample_bn")(conv1x1(features_out, self.stride, "downsample_conv")(x))
        return nn.relu(x + y)


class Bottleneck(nn.Module):
    """1×1 to fewer channels, 3×3, 1×1 to four times as many, and a shortcut.

    ``stride_in_3x3``: v1.5 if true, the paper's v1 if false.
    """

    features: int
    stride: int = 1
    stride_in_3x3: bool = True

    expansion = 4

    @nn.compact
    def __call__(self, x, train: bool = False):
        norm = partial(nn.BatchNorm, use_running_average=not train)
        features_out = self.expansion * self.features
        stride_1x1, stride_3x3 = (1, self.stride) if self.stride_in_3x3 else (self.stride, 1)
        y = nn.relu(norm(name="bn1")(conv1x1(self.features, stride_1x1, "conv1")(x)))
        y = nn.relu(norm(name="bn2")(conv3x3(self.features, stride_3x3, "conv2")(y)))
        y = norm(name="bn3")(conv1x1(features_out, 1, "conv3")(y))
        if self.stride != 1 or x.shape[-1] != features_out:
            x = norm(name="downsample_bn")(conv1x1(features_out, self.stride, "downsample_conv")(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Stem, four stages of residual blocks, global mean, linear. Stage i has ``width``·2^i features."""

    block: type[nn.Module] | partial
    stage_sizes: tuple[int, ...]
    num_classes: int = 1000
    width: int = 64

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = Conv(self.width, (7, 7), strides=2, padding=3, name="conv1")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, name="bn1")(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for stage, blocks in enumerate(self.stage_sizes):
            for i in range(blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                x = self.block(self.width * 2**stage, stride, name=f"layer{stage + 1}_{i}")(x, train)
        x = x.mean(axis=(1, 2))
        return nn.Dense(self.num_classes, name="fc")(x)


ResNet18 = partial(ResNet, BasicBlock, (2, 2, 2, 2))
ResNet34 = partial(ResNet, BasicBlock, (3, 4, 6, 3))
ResNet50 = partial(ResNet, Bottleneck, (3, 4, 6, 3))
ResNet50v1 = partial(ResNet, partial(Bottleneck, stride_in_3x3=False), (3, 4, 6, 3))
ResNet101 = partial(ResNet, Bottleneck, (3, 4, 23, 3))
ResNet152 = partial(ResNet, Bottleneck, (3, 8, 36, 3))

image_entry = partial(ModelEntry, inputs=("n,h,w,3:float32",), where="32 | h, 32 | w", at={"n": 1, "h": 224, "w": 224})

MODELS = (
    image_entry("resnet18", ResNet18, summary="ResNet-18", published=torchvision("resnet18")),
    image_entry("resnet34", ResNet34, summary="ResNet-34", published=torchvision("resnet34")),
    image_entry("resnet50", ResNet50, summary="ResNet-50 v1.5, stride in the 3×3", published=torchvision("resnet50")),
    image_entry("resnet50_v1", ResNet50v1, summary="ResNet-50 of the paper, stride in the first 1×1"),
    image_entry("resnet101", ResNet101, summary="ResNet-101 v1.5", published=torchvision("resnet101")),
    image_entry("resnet152", ResNet152, summary="ResNet-152 v1.5", published=torchvision("resnet152")),
)
