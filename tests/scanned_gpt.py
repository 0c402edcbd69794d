"""GPT-2 as a function of stacked parameters: its blocks are scanned over, so that depth is a symbol like any other."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

import costmodel as cm

D, HEADS, VOCABULARY, CONTEXT = 768, 12, 50257, 1024


def parameters(depth: Any) -> dict[str, Any]:
    """Abstract parameters of GPT-2 small's width and any depth."""
    return {
        "wte": cm.spec((VOCABULARY, D)), "wpe": cm.spec((CONTEXT, D)), "ln_f": cm.spec((2, D)),
        "blocks": {
            "ln_1": cm.spec((depth, 2, D)), "qkv": cm.spec((depth, D, 3 * D)), "qkv_bias": cm.spec((depth, 3 * D)),
            "out": cm.spec((depth, D, D)), "out_bias": cm.spec((depth, D)), "ln_2": cm.spec((depth, 2, D)),
            "up": cm.spec((depth, D, 4 * D)), "up_bias": cm.spec((depth, 4 * D)), "down": cm.spec((depth, 4 * D, D)),
            "down_bias": cm.spec((depth, D)),
        },
    }


def normalise(x: Any, scale_and_bias: Any) -> Any:
    x = x - x.mean(-1, keepdims=True)
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * scale_and_bias[0] + scale_and_bias[1]


def block(x: Any, p: dict[str, Any]) -> Any:
    b, s, _ = x.shape
    y = normalise(x, p["ln_1"]) @ p["qkv"] + p["qkv_bias"]
    q, k, v = (part.reshape(b, s, HEADS, D // HEADS) for part in jnp.split(y, 3, axis=-1))
    scores = jnp.einsum("bshd,bthd->bhst", q, k) / 8.0
    scores = jnp.where(jnp.tril(jnp.ones((s, s), bool)), scores, -1e9)
    y = jnp.einsum("bhst,bthd->bshd", jax.nn.softmax(scores), v).reshape(b, s, D)
    x = x + y @ p["out"] + p["out_bias"]
    y = jax.nn.gelu(normalise(x, p["ln_2"]) @ p["up"] + p["up_bias"])
    return x + y @ p["down"] + p["down_bias"]


def gpt2(p: dict[str, Any], tokens: Any) -> Any:
    """Logits of tokens [b, s] int32."""
    x = p["wte"][tokens] + p["wpe"][:tokens.shape[1]]
    x, _ = lax.scan(lambda x, layer: (block(x, layer), None), x, p["blocks"])
    return normalise(x, p["ln_f"]) @ p["wte"].T


def next_token_loss(logits: Any, labels: Any) -> Any:
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1)
    return -picked.mean()
