"""BERT: Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers", NAACL 2019.

An encoder: every token attends to every token, layer normalisation after each sublayer, GELU, and a pooler (a linear layer
and tanh on the first token). The language-model head is left out, as in the published parameter counts, but for
``bert_large_mlm``, which has that and no pooler. It and ``bert_large_classifier`` (two classes) are as libraries run them: a third
input masks padding (zeros, or large negative numbers where there is none), and a call with ``train`` drops out.

Inputs are tokens and segments ``(b, s)``, s at most 512. ``bert_large_layer`` is one encoder layer of BERT-large, quoted by
Ivanov et al., "Data Movement Is All You Need" (MLSys 2021), at batch 8 and 512 tokens: its products are
2·b·s·(12·d² + 2·s·d) = 111.669 Gflop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from costmodel.models import ModelEntry

from ._published_language import language
from .gpt import MLP, Attention, dropped


@dataclass(frozen=True)
class Config:
    """Sizes of a BERT. ``head``: "pooler", "classifier" (of two classes, after the pooler) or "mlm"."""

    layers: int
    width: int
    heads: int
    context: int = 512
    vocabulary: int = 30522
    segments: int = 2
    head: str = "pooler"
    dropout: float = 0.0


BERT_BASE = Config(layers=12, width=768, heads=12)
BERT_LARGE = Config(layers=24, width=1024, heads=16)


class EncoderLayer(nn.Module):
    """Attention and MLP, each added to its input and then normalised."""

    heads: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, bias=None):
        mixed, _ = Attention(self.heads, causal=False, dropout=self.dropout, name="attention")(x, bias=bias)
        x = nn.LayerNorm(name="attention_norm")(x + dropped(self.dropout)(mixed))
        # BERT's GELU is the exact one, by erf.
        return nn.LayerNorm(name="mlp_norm")(x + dropped(self.dropout)(MLP(partial(nn.gelu, approximate=False), name="mlp")(x)))


class BERT(nn.Module):
    """Tokens and segments (b, s) to the states of all tokens (b, s, width) and the pooled first one (b, width); or to the logits of
    two classes (b, 2), or of all tokens (b, s, vocabulary)."""

    config: Config

    @nn.compact
    def __call__(self, tokens, segments, mask=None, train=False):
        c, dropout = self.config, self.config.dropout if train else 0.0
        positions = self.param("positions", nn.initializers.normal(0.02), (c.context, c.width))
        words = nn.Embed(c.vocabulary, c.width, name="words")
        x = words(tokens) + positions[: tokens.shape[1]]
        x = dropped(dropout)(nn.LayerNorm(name="norm")(x + nn.Embed(c.segments, c.width, name="segments")(segments)))
        bias = None if mask is None else mask[:, None, None, :]
        for i in range(c.layers):
            x = EncoderLayer(c.heads, dropout, name=f"layer_{i}")(x, bias)
        if c.head == "mlm":
            states = nn.LayerNorm(name="head_norm")(nn.gelu(nn.Dense(c.width, name="head")(x), approximate=False))
            return words.attend(states) + self.param("head_bias", nn.initializers.zeros, (c.vocabulary,))
        pooled = jnp.tanh(nn.Dense(c.width, name="pooler")(x[:, 0]))
        return (x, pooled) if c.head == "pooler" else nn.Dense(2, name="classifier")(dropped(dropout)(pooled))


encoder = partial(ModelEntry, inputs=("b,s:int32", "b,s:int32"), where="s <= 512", at={"b": 1, "s": 512}, tokens="b s")

MODELS = (
    encoder("bert_base", partial(BERT, BERT_BASE), summary="BERT-base, 12 layers", published=language("bert_base")),
    encoder("bert_large", partial(BERT, BERT_LARGE), summary="BERT-large, 24 layers", published=language("bert_large")),
    *(encoder(f"bert_large_{head}", partial(BERT, replace(BERT_LARGE, head=head, dropout=0.1)),
              summary=f"BERT-large with {told}, masked", inputs=("b,s:int32", "b,s:int32", "b,s:float32"),
              published=language(f"bert_large_{head}"))
      for head, told in (("classifier", "two classes"), ("mlm", "its language-model head"))),
    ModelEntry(
        "bert_large_layer",
        partial(EncoderLayer, BERT_LARGE.heads),
        inputs=(f"b,s,{BERT_LARGE.width}:float32",),
        summary="one encoder layer of BERT-large",
        at={"b": 8, "s": 512},
        published=language("bert_large_layer"),
    ),
)
