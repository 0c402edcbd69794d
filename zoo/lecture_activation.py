"""The lecture's activation functions ("Basics of AI and deep learning", edge AI lecture).

No parameters and no MACs: a few elementwise operations and, in all but the ReLU family and hard swish, a transcendental
an element.
"""

from __future__ import annotations

import jax

from costmodel.models import ModelEntry

ACTIVATIONS = {
    "sigmoid": (jax.nn.sigmoid, "1 / (1 + exp(-x))"),
    "relu": (jax.nn.relu, "max(x, 0)"),
    "relu6": (jax.nn.relu6, "min(max(x, 0), 6)"),
    "leaky_relu": (jax.nn.leaky_relu, "x if x > 0 else 0.01·x"),
    "swish": (jax.nn.swish, "x · sigmoid(x)"),
    "hard_swish": (jax.nn.hard_swish, "x · relu6(x + 3) / 6"),
    "tanh": (jax.nn.tanh, "tanh(x)"),
    "gelu": (jax.nn.gelu, "x · Φ(x), Φ by its tanh approximation"),
    "elu": (jax.nn.elu, "x if x > 0 else exp(x) - 1"),
    "mish": (jax.nn.mish, "x · tanh(softplus(x))"),
}

MODELS = tuple(
    ModelEntry(
        name,
        lambda function=function: function,
        inputs=("n,h,w,c:float32",),
        summary=formula,
        at={"n": 1, "h": 56, "w": 56, "c": 64},
    )
    for name, (function, formula) in ACTIVATIONS.items()
)
