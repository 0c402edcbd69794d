"""LSTM language models: Zaremba, Sutskever, Vinyals, "Recurrent Neural Network Regularization", 2014.

An embedding, two LSTM layers, a linear layer to the vocabulary. A cell multiplies 4·(d + d)·d times a token whatever the
length of the sequence, but its steps wait for each other: one matrix–vector product a step where the batch is 1.

Inputs are tokens ``(b, s)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import flax.linen as nn

from costmodel.models import ModelEntry

from ._published_language import language


@dataclass(frozen=True)
class Config:
    """Sizes of an LSTM language model."""

    layers: int
    width: int
    vocabulary: int = 10_000


MEDIUM = Config(layers=2, width=650)
LARGE = Config(layers=2, width=1500)


class LSTMLanguageModel(nn.Module):
    """Tokens (b, s) to logits (b, s, vocabulary)."""

    config: Config

    @nn.compact
    def __call__(self, tokens, train: bool = False):
        c = self.config
        dropout = partial(nn.Dropout, 0.5, deterministic=not train)
        x = nn.Embed(c.vocabulary, c.width, name="embed")(tokens)
        for i in range(c.layers):
            x = nn.RNN(nn.OptimizedLSTMCell(c.width), name=f"lstm_{i}")(dropout()(x))
        return nn.Dense(c.vocabulary, name="head")(dropout()(x))


def lstm_layer(d) -> nn.Module:
    """One LSTM layer of any width. (Flax's orthogonal initialisation needs an integer.)"""
    return nn.RNN(nn.OptimizedLSTMCell(d, recurrent_kernel_init=nn.initializers.lecun_normal()))


entry = partial(ModelEntry, inputs=("b,s:int32",), at={"b": 20, "s": 35}, tokens="b s")

MODELS = (
    entry(
        "lstm_lm_medium",
        partial(LSTMLanguageModel, MEDIUM),
        summary="LSTM language model, 2 layers of 650",
        published=language("lstm_lm_medium"),
    ),
    entry(
        "lstm_lm_large",
        partial(LSTMLanguageModel, LARGE),
        summary="LSTM language model, 2 layers of 1500",
        published=language("lstm_lm_large"),
    ),
    entry(
        "lstm_layer",
        lstm_layer,
        inputs=("b,s,d:float32",),
        summary="one LSTM layer of any width",
        at={"b": 20, "s": 35, "d": 1500},
    ),
)
