"""The multilayer perceptron of the lecture "Basics of AI and deep learning" (edge AI): linear layers with ReLU between.

``mlp`` keeps its widths as symbols. With d inputs, widths (a, b) and c outputs it has d·a + a·b + b·c weights, as many
MACs an example, and a + b + c biases.
"""

from __future__ import annotations

import flax.linen as nn

from costmodel.models import ModelEntry


class MLP(nn.Module):
    """Linear layers of these widths; ReLU after each but the last."""

    widths: tuple

    @nn.compact
    def __call__(self, x):
        for i, width in enumerate(self.widths):
            x = nn.Dense(width, name=f"linear{i + 1}")(x)
            if i + 1 < len(self.widths):
                x = nn.relu(x)
        return x


def mlp(a=300, b=100, c=10) -> MLP:
    return MLP((a, b, c))


MODELS = (
    ModelEntry(
        "mlp",
        mlp,
        inputs=("n,d:float32",),
        dims="a b c",
        summary="multilayer perceptron d → a → b → c",
        at={"n": 1, "d": 784, "a": 300, "b": 100, "c": 10},
    ),
)
