"""Sharded programs of further families, held out from the rules that the others had led to. They are only compiled, never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from costmodel.bench.mesh.programs import P, S, conv, enter, relu, stepped

On = Callable[..., Any]
Built = tuple[Any, Any, Any, Any]


@enter("second", "attention", b=8, s=128, g=4, r=4, k=32, d=512)
def _grouped_query_attention(on: On, b: Any, s: Any, g: Any, r: Any, k: Any, d: Any) -> Built:
    def block(x, wq, wk, wv, wo):
        q = jnp.einsum("bsd,dgrk->bsgrk", x, wq)
        keys, values = jnp.einsum("bsd,dgk->bsgk", x, wk), jnp.einsum("bsd,dgk->bsgk", x, wv)
        scores = jnp.einsum("bqgrk,bsgk->bgrqs", q, keys)
        scores = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((s, s), bool)), scores, -1e9), -1)
        return jnp.einsum("bqgrk,grkd->bqd", jnp.einsum("bgrqs,bsgk->bqgrk", scores, values), wo)
    shared = P(None, "model")
    return (block, (S(b, s, d), S(d, g, r, k), S(d, g, k), S(d, g, k), S(g, r, k, d)),
            (P("data"), shared, shared, shared, P("model")), P("data"))


@enter("second", "attention", b=4, s=256, h=8, k=64, d=256)
def _attention_by_sequence(on: On, b: Any, s: Any, h: Any, k: Any, d: Any) -> Built:
    def block(x, wq, wk, wv, wo):
        q, keys, values = (jnp.einsum("bsd,dhk->bshk", x, w) for w in (wq, wk, wv))
        q = on(q, "data", "model", None, None)
        scores = jax.nn.softmax(jnp.einsum("bqhk,bshk->bhqs", q, keys) * 0.125, -1)
        return jnp.einsum("bqhk,hkd->bqd", jnp.einsum("bhqs,bshk->bqhk", scores, values), wo)
    return block, (S(b, s, d), *(S(d, h, k),) * 3, S(h, k, d)), (P("data", "model"), *(P(),) * 4), P("data", "model")


@enter("second", "convolution", n=16, s=32, c=64)
def _residual_block_step(on: On, n: Any, s: Any, c: Any) -> Built:
    def normalised(y, scale):
        mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
        return (y - mean) * lax.rsqrt(variance + 1e-5) * scale

    def loss(p, x):
        y = relu(normalised(conv(x, p[0]), p[2]))
        return (relu(x + normalised(conv(y, p[1]), p[3])) ** 2).mean()
    params = S(3, 3, c, c), S(3, 3, c, c), S(c), S(c)
    return stepped(loss), (params, S(n, s, s, c)), ((P(),) * 4, P(("data", "model"))), (P(), (P(),) * 4)


@enter("second", "convolution", n=8, s=32, c=32)
def _depthwise_separable(on: On, n: Any, s: Any, c: Any) -> Built:
    def block(x, w, v):
        y = lax.conv_general_dilated(x, w, (1, 1), "SAME", feature_group_count=c, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return conv(relu(y), v)
    return (block, (S(n, s, s, c), S(3, 3, 1, c), S(1, 1, c, 2 * c)),
            (P("data", None, None, "model"), P(None, None, None, "model"), P(None, None, "model")), P("data"))


@enter("second", "mixture of experts", n=512, e=8, d=128, f=256)
def _gated_experts_gradient(on: On, n: Any, e: Any, d: Any, f: Any) -> Built:
    def loss(p, x):
        gates = jax.nn.softmax(x @ p[0], -1)
        y = jnp.einsum("nef,efd->ned", relu(jnp.einsum("nd,edf->nef", x, p[1])), p[2])
        return (jnp.einsum("ned,ne->nd", y, gates) ** 2).mean()
    split = (P(), P("model"), P("model"))
    return jax.value_and_grad(loss), ((S(d, e), S(e, d, f), S(e, f, d)), S(n, d)), (split, P("data")), (P(), split)


@enter("second", "normalisation", b=8, s=128, d=512, f=1024)
def _layer_norm_feed_forward_gradient(on: On, b: Any, s: Any, d: Any, f: Any) -> Built:
    def loss(p, x):
        mean = x.mean(-1, keepdims=True)
        y = (x - mean) * lax.rsqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * p[0] + p[1]
        return ((x + jax.nn.gelu(y @ p[2]) @ p[3]) ** 2).mean()
    split = (P(), P(), P(None, "model"), P("model"))
    return jax.value_and_grad(loss), ((S(d), S(d), S(d, f), S(f, d)), S(b, s, d)), (split, P("data")), (P(), split)


@enter("second", "normalisation", b=8, s=64, g=8, c=32)
def _group_norm_by_features(on: On, b: Any, s: Any, g: Any, c: Any) -> Built:
    def block(x, scale):
        y = x.reshape(b, s, g, c)
        mean, variance = y.mean((1, 3), keepdims=True), y.var((1, 3), keepdims=True)
        return ((y - mean) * lax.rsqrt(variance + 1e-5)).reshape(b, s, g * c) * scale
    return block, (S(b, s, g * c), S(g * c)), (P("data", None, "model"), P("model")), P("data", None, "model")


@enter("second", "embedding", b=16, s=64, v=4096, d=256)
def _embedding_gradient(on: On, b: Any, s: Any, v: Any, d: Any) -> Built:
    loss = lambda p, tokens: (jnp.tanh(p[0][tokens] @ p[1]) ** 2).mean()  # noqa: E731
    split = (P("model"), P(None, "model"))
    tokens = S(b, s, dtype="int32")
    return jax.value_and_grad(loss), ((S(v, d), S(d, d)), tokens), (split, P("data")), (P(), split)


@enter("second", "scan", L=8, n=64, d=128)
def _gated_recurrence_gradient(on: On, L: Any, n: Any, d: Any) -> Built:
    def loss(p, x):
        def step(h, x):
            z, r = jax.nn.sigmoid(x @ p[0] + h @ p[1]), jnp.tanh(x @ p[2] + h @ p[3])
            h = (1 - z) * h + z * r
            return h, None
        return (lax.scan(step, jnp.zeros((n, d), x.dtype), x)[0] ** 2).mean()
    split = (P(None, "model"),) * 4
    return jax.value_and_grad(loss), ((S(d, d),) * 4, S(L, n, d)), (split, P(None, "data")), (P(), split)


@enter("second", "scan", b=8, s=64, d=256)
def _linear_recurrence(on: On, b: Any, s: Any, d: Any) -> Built:
    def block(x, w, a):
        u = x @ w
        return lax.scan(lambda h, u: (a * h + u,) * 2, jnp.zeros((b, d), x.dtype), jnp.swapaxes(u, 0, 1))[1]
    return block, (S(b, s, d), S(d, d), S(d)), (P("data"), P(None, "model"), P("model")), P(None, "data", "model")
