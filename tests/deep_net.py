"""A model whose depth is a symbol, and one whose live peak has no form in it, for the command line."""

from __future__ import annotations

import functools

import flax.linen as nn

import costmodel as cm


class Net(nn.Module):
    layers: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.layers):
            x = nn.relu(nn.Dense(8)(x))
        return nn.Dense(3)(x)


def _every_fifth(x, k, wide, *, depth):
    for i in range(int(depth)):
        x = x @ k
        if i % 5 == 4:
            x = x @ wide @ wide.T
    return x


net = Net(cm.dims("L"))
stepped = functools.partial(_every_fifth, depth=cm.dims("L"))
