"""The lecture's products: linear layer, GEMM, matrix–vector ("Basics of AI and deep learning", edge AI lecture).

Its notation: n batch, c_i and c_o channels; a GEMM of (m, k) by (k, n) has m·n·k multiply-accumulates, a matrix–vector
product of (m, n) by (n,) has m·n. Bias is left out, as in the lecture's tables.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from costmodel.models import ModelEntry

from ._published import lecture_alexnet


def linear(c_o) -> nn.Module:
    """c_i·c_o parameters, n·c_i·c_o MACs."""
    return nn.Dense(c_o, use_bias=False)


def gemm():
    """m·n·k MACs."""
    return jnp.matmul


def matrix_vector():
    """m·n MACs."""
    return jnp.matmul


FC6 = {"n": 1, "c_i": 9216, "c_o": 4096}

MODELS = (
    ModelEntry(
        "linear",
        linear,
        inputs=("n,c_i:float32",),
        dims="c_o",
        summary="fully connected layer",
        at=FC6,
        published=lecture_alexnet("fc6", at=FC6),
    ),
    ModelEntry(
        "gemm",
        gemm,
        inputs=("m,k:float32", "k,n:float32"),
        summary="matrix product (m, k) × (k, n)",
        at={"m": 1024, "n": 1024, "k": 1024},
    ),
    ModelEntry(
        "matrix_vector",
        matrix_vector,
        inputs=("m,n:float32", "n:float32"),
        summary="matrix–vector product (m, n) × (n,)",
        at={"m": 1024, "n": 1024},
    ),
)
