"""The four networks of MLPerf Tiny: Banbury et al., "MLPerf Tiny Benchmark", NeurIPS Datasets and Benchmarks 2021.

Keyword spotting (``tiny_ds_cnn``, spectrograms of 49 × 10), visual wake words (``tiny_mobilenet_v1``, MobileNetV1 at a quarter of
its width on 96 × 96), image classification (``tiny_resnet8``, CIFAR-10) and anomaly detection (``tiny_autoencoder``, five frames
of 128 bands). They follow the reference code of mlcommons/tiny: every convolution has a bias, and a batch normalisation after it,
which the int8 networks that are deployed have folded into weights and bias. Padding is TensorFlow's SAME, on one side where a
stride needs it.
"""

from __future__ import annotations

import flax.linen as nn

from costmodel.models import ModelEntry

from ._published import counted

# Stride and output channels of each separable block at full width: Table 1 of Howard et al., "MobileNets", arXiv:1704.04861.
BLOCKS = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *((1, 512),) * 5, (2, 1024), (1, 1024))


class ConvBNReLU(nn.Module):
    """Convolution with a bias, batch normalisation, ReLU unless ``linear``; with ``depthwise`` a filter a channel."""

    features: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1
    depthwise: bool = False
    linear: bool = False

    @nn.compact
    def __call__(self, x, train: bool = False):
        groups = x.shape[-1] if self.depthwise else 1
        x = nn.Conv(self.features, self.kernel, strides=self.stride, feature_group_count=groups, name="conv")(x)
        x = nn.BatchNorm(use_running_average=not train, name="bn")(x)
        return x if self.linear else nn.relu(x)


class Separable(nn.Module):
    """A depthwise 3×3 and a 1×1 convolution, each normalised."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = ConvBNReLU(x.shape[-1], stride=self.stride, depthwise=True, name="depthwise")(x, train)
        return ConvBNReLU(self.features, (1, 1), name="pointwise")(x, train)


class DSCNN(nn.Module):
    """A 10×4 convolution that halves both axes, four separable blocks, global mean, linear."""

    num_classes: int = 12
    features: int = 64

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = ConvBNReLU(self.features, (10, 4), stride=2, name="stem")(x, train)
        x = nn.Dropout(0.2, deterministic=not train)(x)
        for i in range(4):
            x = Separable(self.features, name=f"block{i + 1}")(x, train)
        x = nn.Dropout(0.4, deterministic=not train)(x)
        return nn.softmax(nn.Dense(self.num_classes, name="classifier")(x.mean(axis=(1, 2))))


class MobileNetV1(nn.Module):
    """Stem, thirteen separable blocks, global mean, linear; every width is ``width`` of that of the paper."""

    width: float = 0.25
    num_classes: int = 2

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = ConvBNReLU(int(32 * self.width), stride=2, name="stem")(x, train)
        for i, (stride, features) in enumerate(BLOCKS):
            x = Separable(int(features * self.width), stride, name=f"block{i + 1}")(x, train)
        return nn.softmax(nn.Dense(self.num_classes, name="classifier")(x.mean(axis=(1, 2))))


class ResNet8(nn.Module):
    """Stem, three stacks of one basic block each, whose shortcut is a 1×1 convolution where it strides, global mean, linear."""

    num_classes: int = 10
    features: int = 16

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = ConvBNReLU(self.features, name="stem")(x, train)
        for i in range(3):
            features, stride = self.features * 2**i, 1 if i == 0 else 2
            y = ConvBNReLU(features, stride=stride, name=f"stack{i + 1}_conv1")(x, train)
            y = ConvBNReLU(features, linear=True, name=f"stack{i + 1}_conv2")(y, train)
            if i > 0:
                x = nn.Conv(features, (1, 1), strides=stride, name=f"stack{i + 1}_shortcut")(x)
            x = nn.relu(x + y)
        return nn.softmax(nn.Dense(self.num_classes, name="classifier")(x.mean(axis=(1, 2))))


class AutoEncoder(nn.Module):
    """Four layers of 128, a bottleneck of 8, four layers of 128, each normalised, and one to the size of the input."""

    width: int = 128
    bottleneck: int = 8

    @nn.compact
    def __call__(self, x, train: bool = False):
        size = x.shape[-1]
        for i, features in enumerate((*(self.width,) * 4, self.bottleneck, *(self.width,) * 4)):
            x = nn.Dense(features, name=f"dense{i + 1}")(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, name=f"bn{i + 1}")(x))
        return nn.Dense(size, name="reconstruction")(x)


MODELS = (
    ModelEntry("tiny_ds_cnn", DSCNN, inputs=("n,h,w,1:float32",), summary="MLPerf Tiny, keyword spotting: DS-CNN",
               at={"n": 1, "h": 49, "w": 10}, published=counted("tiny_ds_cnn", "mlperf_tiny.csv")),
    ModelEntry("tiny_mobilenet_v1", MobileNetV1, inputs=("n,h,w,3:float32",),
               summary="MLPerf Tiny, visual wake words: MobileNetV1, width 0.25, quoted at 96×96", where="32 | h, 32 | w",
               at={"n": 1, "h": 96, "w": 96}, published=counted("tiny_mobilenet_v1", "mlperf_tiny.csv")),
    ModelEntry("tiny_resnet8", ResNet8, inputs=("n,h,w,3:float32",), summary="MLPerf Tiny, image classification: ResNet-8",
               where="4 | h, 4 | w", at={"n": 1, "h": 32, "w": 32}, published=counted("tiny_resnet8", "mlperf_tiny.csv")),
    ModelEntry("tiny_autoencoder", AutoEncoder, inputs=("n,640:float32",), summary="MLPerf Tiny, anomaly detection: autoencoder",
               at={"n": 1}, published=counted("tiny_autoencoder", "mlperf_tiny.csv")),
)
