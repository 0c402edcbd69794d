"""The lecture's padding modes: zero, reflection, replication, constant ("Basics of AI and deep learning", edge AI).

p rows and columns are added on each side, so the output has h + 2p rows. Padding has no parameters and no arithmetic:
it moves data, and reflection and replication read the input's border twice.
"""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp

from costmodel.models import ModelEntry


def pad(x, p, mode: str, **options):
    return jnp.pad(x, ((0, 0), (p, p), (p, p), (0, 0)), mode=mode, **options)


def pad_zero(p):
    return partial(pad, p=p, mode="constant")


def pad_constant(p, value: float = 1.0):
    return partial(pad, p=p, mode="constant", constant_values=value)


def pad_reflect(p):
    """Mirrors about the border's centre, which is not repeated: at most h - 1 rows."""
    return partial(pad, p=p, mode="reflect")


def pad_replicate(p):
    """Repeats the border."""
    return partial(pad, p=p, mode="edge")


padding_entry = partial(
    ModelEntry, inputs=("n,h,w,c:float32",), dims="p", at={"n": 1, "h": 56, "w": 56, "c": 64, "p": 1}
)

MODELS = (
    padding_entry("pad_zero", pad_zero, summary="p zeros on each side"),
    padding_entry("pad_constant", pad_constant, summary="p times a constant on each side"),
    padding_entry("pad_reflect", pad_reflect, where="h >= p + 1, w >= p + 1", summary="p mirrored rows on each side"),
    padding_entry("pad_replicate", pad_replicate, summary="p copies of the border on each side"),
)
