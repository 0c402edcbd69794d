"""The lecture's pooling layers: maximum, average, global average ("Basics of AI and deep learning", edge AI lecture).

A window of k×k moves by s; the output has h_o = (h - k)/s + 1 rows, rounded down. No parameters and no MACs: an output
element takes k² - 1 comparisons or additions.
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from costmodel.models import ModelEntry


def max_pool(k, s):
    return partial(nn.max_pool, window_shape=(k, k), strides=(s, s))


def avg_pool(k, s):
    return partial(nn.avg_pool, window_shape=(k, k), strides=(s, s))


def global_avg_pool():
    return partial(jnp.mean, axis=(1, 2))


pool_entry = partial(ModelEntry, inputs=("n,h,w,c:float32",))
window_entry = partial(pool_entry, dims="k s", where="h >= k, w >= k")

ALEXNET_POOL1 = {"n": 1, "h": 55, "w": 55, "c": 96, "k": 3, "s": 2}

MODELS = (
    window_entry("max_pool", max_pool, summary="maximum over k×k windows", at=ALEXNET_POOL1),
    window_entry("avg_pool", avg_pool, summary="mean over k×k windows", at=ALEXNET_POOL1),
    pool_entry(
        "global_avg_pool",
        global_avg_pool,
        summary="mean over the whole feature map",
        at={"n": 1, "h": 7, "w": 7, "c": 2048},
    ),
)
