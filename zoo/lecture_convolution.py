"""The lecture's convolutions, every size a symbol ("Basics of AI and deep learning", edge AI lecture).

Its notation: n batch, c_i and c_o channels, h and w the input's size, k_h and k_w the kernel's, g groups, p padding,
s stride, d dilation; the output has h_o = (h + 2p - k_h)/s + 1 rows, rounded down. Bias is left out, as in its tables:

=============  ==================  ==============================
layer          parameters          MACs
=============  ==================  ==============================
convolution    c_o·c_i·k_h·k_w     n·c_i·k_h·k_w·h_o·w_o·c_o
grouped        c_o·c_i·k_h·k_w/g   n·c_i·k_h·k_w·h_o·w_o·c_o/g
depthwise      c_o·k_h·k_w         n·k_h·k_w·h_o·w_o·c_o
=============  ==================  ==============================

The published figures are layers of the lecture's AlexNet; where a layer here has no padding, they are met on its padded
input (13 + 2·1 = 15 rows for conv3).
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn
from jax import lax

from costmodel.models import ModelEntry

from ._published import lecture_alexnet

Conv = partial(nn.Conv, padding="VALID", use_bias=False)


def pad_zero(x, p):
    """``p`` zeros on each side of h and w. Apart from the convolution, whose own padding cannot be a symbol in JAX."""
    return lax.pad(x, 0.0, ((0, 0, 0), (p, p, 0), (p, p, 0), (0, 0, 0)))


def conv1d(c_o, k) -> nn.Module:
    return Conv(c_o, (k,))


def conv2d(c_o, k_h, k_w) -> nn.Module:
    return Conv(c_o, (k_h, k_w))


def conv2d_padded(c_o, k_h, k_w, p) -> nn.Module:
    return nn.Sequential([partial(pad_zero, p=p), Conv(c_o, (k_h, k_w))])


def conv2d_strided(c_o, k_h, k_w, s, p) -> nn.Module:
    return nn.Sequential([partial(pad_zero, p=p), Conv(c_o, (k_h, k_w), strides=(s, s))])


def conv2d_dilated(c_o, k_h, k_w, d) -> nn.Module:
    return Conv(c_o, (k_h, k_w), kernel_dilation=(d, d))


def conv2d_grouped(c_o, k_h, k_w, g) -> nn.Module:
    return Conv(c_o, (k_h, k_w), feature_group_count=g)


def conv2d_depthwise(c, k_h, k_w) -> nn.Module:
    return Conv(c, (k_h, k_w), feature_group_count=c)


def alexnet_layer(layer: str, **at: int) -> dict:
    """The fields of an entry that is quoted at a layer of the lecture's AlexNet."""
    return {"at": at, "published": lecture_alexnet(layer, at=at)}


image_entry = partial(ModelEntry, inputs=("n,h,w,c_i:float32",))

MODELS = (
    ModelEntry(
        "conv1d",
        conv1d,
        inputs=("n,l,c_i:float32",),
        dims="c_o k",
        where="l >= k",
        summary="convolution over one axis of length l",
        at={"n": 1, "l": 128, "c_i": 64, "c_o": 64, "k": 3},
    ),
    image_entry(
        "conv2d",
        conv2d,
        dims="c_o k_h k_w",
        where="h >= k_h, w >= k_w",
        summary="convolution, stride 1, no padding",
        **alexnet_layer("conv3", n=1, h=15, w=15, c_i=256, c_o=384, k_h=3, k_w=3),
    ),
    image_entry(
        "conv2d_padded",
        conv2d_padded,
        dims="c_o k_h k_w p",
        where="h + 2*p >= k_h, w + 2*p >= k_w",
        summary="convolution, stride 1, p zeros on each side",
        **alexnet_layer("conv3", n=1, h=13, w=13, c_i=256, c_o=384, k_h=3, k_w=3, p=1),
    ),
    image_entry(
        "conv2d_strided",
        conv2d_strided,
        dims="c_o k_h k_w s p",
        where="h + 2*p >= k_h, w + 2*p >= k_w",
        summary="convolution, stride s, p zeros on each side",
        **alexnet_layer("conv1", n=1, h=224, w=224, c_i=3, c_o=96, k_h=11, k_w=11, s=4, p=2),
    ),
    image_entry(
        "conv2d_dilated",
        conv2d_dilated,
        dims="c_o k_h k_w d",
        # The kernel spans d·(k - 1) + 1 rows. JAX cannot see by itself that d·(k - 1) is never negative.
        where="h + d >= d*k_h + 1, w + d >= d*k_w + 1, d*k_h >= d, d*k_w >= d",
        summary="convolution whose taps lie d apart",
        at={"n": 1, "h": 56, "w": 56, "c_i": 64, "c_o": 64, "k_h": 3, "k_w": 3, "d": 2},
    ),
    image_entry(
        "conv2d_grouped",
        conv2d_grouped,
        dims="c_o k_h k_w g",
        where="g | c_i, g | c_o, h >= k_h, w >= k_w",
        summary="convolution in g groups of channels",
        **alexnet_layer("conv2", n=1, h=31, w=31, c_i=96, c_o=256, k_h=5, k_w=5, g=2),
    ),
    ModelEntry(
        "conv2d_depthwise",
        conv2d_depthwise,
        inputs=("n,h,w,c:float32",),
        dims="k_h k_w",
        where="h >= k_h, w >= k_w",
        summary="convolution of each channel by itself",
        at={"n": 1, "h": 226, "w": 226, "c": 64, "k_h": 3, "k_w": 3},
    ),
)
