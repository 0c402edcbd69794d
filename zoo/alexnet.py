"""AlexNet: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012.

``alexnet`` is the two-tower network as the edge AI lecture "Basics of AI and deep learning" tabulates it, row by row in
``zoo/data/lecture_alexnet.csv``: its towers are the two groups of conv2, conv4 and conv5. The lecture's counts leave
biases out, as ``alexnet_no_bias`` does. The paper's local response normalisation, in neither, has no parameters.
``alexnet_torchvision`` is the later one-tower network (Krizhevsky, "One weird trick", 2014), with fewer channels.

Inputs are images ``(n, h, w, 3)`` of at least 63×63, which leave one row and column after the last pool. The feature
map is flattened before the first linear layer, so parameters depend on h and w.
"""

from __future__ import annotations

import math
from functools import partial

import flax.linen as nn

from costmodel.models import ModelEntry, Published

from ._published import rows, torchvision


class AlexNet(nn.Module):
    """Five convolutions, three max pools, three linear layers. ``groups``: of conv2, conv4 and conv5."""

    features: tuple[int, int, int, int, int]
    groups: int = 1
    use_bias: bool = True
    num_classes: int = 1000

    @nn.compact
    def __call__(self, x, train: bool = False):
        conv = partial(nn.Conv, use_bias=self.use_bias)
        linear = partial(nn.Dense, use_bias=self.use_bias)
        dropout = partial(nn.Dropout, 0.5, deterministic=not train)
        pool = partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2))
        c1, c2, c3, c4, c5 = self.features
        x = pool(nn.relu(conv(c1, (11, 11), strides=4, padding=2, name="conv1")(x)))
        x = pool(nn.relu(conv(c2, (5, 5), padding=2, feature_group_count=self.groups, name="conv2")(x)))
        x = nn.relu(conv(c3, (3, 3), padding=1, name="conv3")(x))
        x = nn.relu(conv(c4, (3, 3), padding=1, feature_group_count=self.groups, name="conv4")(x))
        x = pool(nn.relu(conv(c5, (3, 3), padding=1, feature_group_count=self.groups, name="conv5")(x)))
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        x = nn.relu(linear(4096, name="fc6")(dropout()(x)))
        x = nn.relu(linear(4096, name="fc7")(dropout()(x)))
        return linear(self.num_classes, name="fc8")(x)


TwoTowers = partial(AlexNet, (96, 256, 384, 384, 256), groups=2)
TwoTowersNoBias = partial(TwoTowers, use_bias=False)
OneTower = partial(AlexNet, (64, 192, 384, 256, 256))

SIZE = {"h": 224, "w": 224}
AT = {"n": 1, **SIZE}


def lecture_figures(params_row: str) -> tuple[Published, ...]:
    """The lecture's totals; ``params_row`` says whether its parameters count biases."""
    table = {row["layer"]: row for row in rows("lecture_alexnet.csv")}
    cells = (
        ("params", params_row, "params", SIZE),
        ("macs", "total", "macs", AT),
        ("activations", "total", "activations", AT),
        ("activations_peak", "peak", "activations", AT),
    )
    return tuple(
        Published(metric, int(table[layer][column]), table[layer]["source"], at) for metric, layer, column, at in cells
    )


image_entry = partial(ModelEntry, inputs=("n,h,w,3:float32",), where="h >= 63, w >= 63", at=AT)

MODELS = (
    image_entry("alexnet", TwoTowers, summary="AlexNet, two towers", published=lecture_figures("total_with_bias")),
    image_entry(
        "alexnet_no_bias",
        TwoTowersNoBias,
        summary="AlexNet, two towers, biases ignored",
        published=lecture_figures("total"),
    ),
    image_entry(
        "alexnet_torchvision",
        OneTower,
        summary="AlexNet, one tower",
        published=torchvision("alexnet", params_depend_on_size=True),
    ),
)
