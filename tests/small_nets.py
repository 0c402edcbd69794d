"""A convolutional network that is traced in a moment: strides, a normalisation, a pool and a dense layer."""

from __future__ import annotations

import flax.linen as nn

import costmodel as cm


class Small(nn.Module):
    @nn.compact
    def __call__(self, x):
        for width in (8, 16):
            x = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Conv(width, (3, 3), (2, 2), use_bias=False)(x)))
        return nn.Dense(10)(nn.max_pool(x, (2, 2), (2, 2)).mean((1, 2)))


def small() -> cm.Cost:
    n, (h, w) = cm.dims("n"), cm.dims("h w", min=8)
    return cm.analyze(Small(), cm.spec((n, h, w, 3)))
