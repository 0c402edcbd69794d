"""Sharded programs that were first compiled when the rules were there. They are only compiled, never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from costmodel.bench.mesh.programs import P, S, conv, enter, relu, stepped

On = Callable[..., Any]
Built = tuple[Any, Any, Any, Any]


@enter("held out", "dense", n=256, d=512, f=2048)
def _gated_unit(on: On, n: Any, d: Any, f: Any) -> Built:
    def block(x, gate, up, down):
        return (jax.nn.silu(x @ gate) * (x @ up)) @ down
    return (block, (S(n, d), S(d, f), S(d, f), S(f, d)), (P("data"), P(None, "model"), P(None, "model"), P("model")), P("data"))


@enter("held out", "attention", b=8, s=128, h=16, k=32, d=512)
def _attention_by_heads(on: On, b: Any, s: Any, h: Any, k: Any, d: Any) -> Built:
    def block(x, wq, wk, wv, wo):
        q, keys, values = (jnp.einsum("bsd,dhk->bshk", x, w) for w in (wq, wk, wv))
        scores = jax.nn.softmax(jnp.einsum("bqhk,bshk->bhqs", q, keys), -1)
        return jnp.einsum("bqhk,hkd->bqd", jnp.einsum("bhqs,bshk->bqhk", scores, values), wo)
    heads = P(None, "model", None)
    return block, (S(b, s, d), *(S(d, h, k),) * 3, S(h, k, d)), (P("data"), heads, heads, heads, P("model")), P("data")


@enter("held out", "attention", b=8, s=128, h=16, k=32, d=512)
def _attention_by_heads_gradient(on: On, b: Any, s: Any, h: Any, k: Any, d: Any) -> Built:
    block, specs, into, _out = _attention_by_heads(on, b, s, h, k, d)
    loss = lambda w, x: (block(x, *w) ** 2).sum()  # noqa: E731
    return jax.grad(loss), (specs[1:], specs[0]), (into[1:], into[0]), into[1:]


@enter("held out", "embedding", n=512, d=256, v=8192)
def _vocabulary_loss(on: On, n: Any, d: Any, v: Any) -> Built:
    def loss(w, x, y):
        logits = x @ w
        return (jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, y[:, None], -1)[:, 0]).mean()
    return (jax.value_and_grad(loss), (S(d, v), S(n, d), S(n, dtype="int32")), (P(None, "model"), P("data"), P("data")),
            (P(), P(None, "model")))


@enter("held out", "dense", n=512, d=256, f=1024)
def _rows_then_columns(on: On, n: Any, d: Any, f: Any) -> Built:
    return lambda x, a: (x @ a).sum(0), (S(n, d), S(d, f)), (P("data", "model"), P("model")), P()


@enter("held out", "normalisation", n=16, s=32, c=64)
def _normalised_over_the_batch(on: On, n: Any, s: Any, c: Any) -> Built:
    def block(x, w, scale):
        y = conv(x, w)
        mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
        return relu((y - mean) * lax.rsqrt(variance + 1e-5) * scale)
    over = P("data"), P(None, None, None, "model"), P("model")
    return block, (S(n, s, s, c), S(3, 3, c, c), S(c)), over, P("data", None, None, "model")


@enter("held out", "convolution", n=8, s=64, c=32)
def _strided_in_space(on: On, n: Any, s: Any, c: Any) -> Built:
    def block(x, w, v):
        y = relu(conv(x, w, 2))
        return conv(y, v)
    return block, (S(n, s, s, c), S(3, 3, c, c), S(3, 3, c, c)), (P("data", "model"), P(), P()), P("data", "model")


@enter("held out", "convolution", n=8, s=64, c=32)
def _pooled_in_space(on: On, n: Any, s: Any, c: Any) -> Built:
    def block(x, w):
        y = relu(conv(x, w))
        return lax.reduce_window(y, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
    return block, (S(n, s, s, c), S(3, 3, c, c)), (P("data", "model"), P()), P("data", "model")


@enter("held out", "attention", b=8, s=256, d=256)
def _moved_between_sequence_and_heads(on: On, b: Any, s: Any, d: Any) -> Built:
    def block(x, w):
        y = on(jnp.einsum("bsd,de->bse", x, w), "data", None, "model")
        return on(jnp.cumsum(y, 1), "data", "model", None)
    return block, (S(b, s, d), S(d, d)), (P("data", "model"), P()), P("data", "model")


@enter("held out", "dense", n=1024, d=512, k=64)
def _low_rank_step(on: On, n: Any, d: Any, k: Any) -> Built:
    loss = lambda w, x: ((x + (x @ w[0]) @ w[1]) ** 2).mean()  # noqa: E731
    split = (P("model"), P(None, "model"))
    return stepped(loss), ((S(d, k), S(k, d)), S(n, d)), (split, P("data", "model")), (P(), split)


@enter("held out", "scan", L=4, n=256, d=512)
def _recurrent(on: On, L: Any, n: Any, d: Any) -> Built:
    def run(x, w, u):
        def step(h, x):
            h = jnp.tanh(x @ w + h @ u)
            return h, h
        return lax.scan(step, jnp.zeros((n, d)), x)[1]
    return run, (S(L, n, d), S(d, d), S(d, d)), (P(None, "data"), P(None, "model"), P(None, "model")), P(None, "data", "model")
