"""Sharded programs that the rules were developed on: what XLA made of them was read. They are only compiled, never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from costmodel.bench.mesh.programs import P, S, conv, enter, relu, stepped

On = Callable[..., Any]
Built = tuple[Any, Any, Any, Any]


@enter("developed", "dense", n=512, d=1024, f=4096)
def _tensor_parallel(on: On, n: Any, d: Any, f: Any) -> Built:
    return (lambda x, a, b: relu(x @ a) @ b, (S(n, d), S(d, f), S(f, d)), (P("data"), P(None, "model"), P("model")), P("data"))


@enter("developed", "dense", n=512, d=1024, f=4096)
def _data_parallel_step(on: On, n: Any, d: Any, f: Any) -> Built:
    loss = lambda w, x: ((relu(x @ w[0]) @ w[1]) ** 2).mean()  # noqa: E731
    return stepped(loss), ((S(d, f), S(f, d)), S(n, d)), ((P(), P()), P(("data", "model"))), (P(), (P(), P()))


@enter("developed", "scan", L=6, n=512, d=256, f=1024)
def _fully_sharded_scan(on: On, L: Any, n: Any, d: Any, f: Any) -> Built:
    def loss(w, x):
        return (lax.scan(lambda x, w: (x + relu(x @ w[0]) @ w[1], None), x, w)[0] ** 2).sum()
    split = (P(None, "data", "model"), P(None, "model", "data"))
    return jax.value_and_grad(loss), ((S(L, d, f), S(L, f, d)), S(n, d)), (split, P("data")), (P(), split)


def _transformer(on: On, L: Any, b: Any, t: Any, h: Any, k: Any, d: Any, f: Any, v: Any, constrained: bool) -> Built:
    def norm(x, s):
        return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * s

    def layer(x, w):
        wq, wk, wv, wo, w1, w2, s1, s2 = w
        y = norm(x, s1)
        q, keys, values = (jnp.einsum("btd,dhk->bthk", y, m) for m in (wq, wk, wv))
        scores = jnp.einsum("bqhk,bshk->bhqs", q, keys) * 0.1
        scores = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((t, t), bool)), scores, -1e30), -1)
        x = x + jnp.einsum("bqhk,hkd->bqd", jnp.einsum("bhqs,bshk->bqhk", scores, values), wo)
        return x + relu(norm(x, s2) @ w1) @ w2, None

    def loss(p, tokens, targets):
        x = p["emb"][tokens]
        x = on(x, "data", None, None) if constrained else x
        x, _ = lax.scan(layer, x, p["layers"])
        logits = jax.nn.log_softmax(x @ p["out"], -1)
        return -jnp.take_along_axis(logits, targets[..., None], -1).mean()

    heads, split = S(L, d, h, k), P(None, "data", "model", None)
    params = {"emb": S(v, d), "out": S(d, v), "layers": (heads,) * 3 + (S(L, h, k, d), S(L, d, f), S(L, f, d), S(L, d), S(L, d))}
    over = {"emb": P("model", "data"), "out": P("data", "model"),
                "layers": ((split,) * 3 + (P(None, "model", None, "data"), P(None, "data", "model"), P(None, "model", "data"))
                           + (P(), P()))}
    tokens = S(b, t, dtype="int32")
    return stepped(loss), (params, tokens, tokens), (over, P("data"), P("data")), (P(), over)


@enter("developed", "transformer", L=6, b=8, t=128, h=16, k=32, d=384, f=1536, v=4096)
def _transformer_step(on: On, **sizes: int) -> Built:
    return _transformer(on, **sizes, constrained=False)


@enter("developed", "transformer", L=6, b=8, t=128, h=16, k=32, d=384, f=1536, v=4096)
def _constrained_transformer_step(on: On, **sizes: int) -> Built:
    return _transformer(on, **sizes, constrained=True)


@enter("developed", "mixture of experts", g=16, s=128, e=8, c=32, d=256, f=1024)
def _experts(on: On, g: Any, s: Any, e: Any, c: Any, d: Any, f: Any) -> Built:
    def moe(x, dispatch, combine, w1, w2):
        to = on(jnp.einsum("gsec,gsd->egcd", dispatch, x), "model", "data", None, None)
        y = jnp.einsum("egcf,efd->egcd", relu(jnp.einsum("egcd,edf->egcf", to, w1)), w2)
        return jnp.einsum("gsec,egcd->gsd", combine, on(y, "model", "data", None, None))
    tokens = P(("data", "model"))
    return (moe, (S(g, s, d), S(g, s, e, c), S(g, s, e, c), S(e, d, f), S(e, f, d)), (tokens,) * 3 + (P("model"),) * 2, tokens)


def _convolutions(ws, x):
    for w in ws[:-1]:
        x = relu(conv(x, w))
    return x.mean((1, 2)) @ ws[-1]


def _weights(c):
    return S(3, 3, 3, c), S(3, 3, c, c), S(3, 3, c, c), S(c, 16)


@enter("developed", "convolution", n=16, s=32, c=64)
def _convolutions_by_batch(on: On, n: Any, s: Any, c: Any) -> Built:
    loss = lambda ws, x: (_convolutions(ws, x) ** 2).mean()  # noqa: E731
    return jax.value_and_grad(loss), (_weights(c), S(n, s, s, 3)), ((P(),) * 4, P(("data", "model"))), (P(), (P(),) * 4)


@enter("developed", "convolution", n=6, s=32, c=48)
def _convolutions_in_space(on: On, n: Any, s: Any, c: Any) -> Built:
    return _convolutions, (_weights(c), S(n, s, s, 3)), ((P(),) * 4, P("data", "model")), P("data")


@enter("developed", "convolution", n=6, s=32, c=48)
def _convolutions_in_space_gradient(on: On, n: Any, s: Any, c: Any) -> Built:
    loss = lambda ws, x: (_convolutions(ws, x) ** 2).mean()  # noqa: E731
    return jax.value_and_grad(loss), (_weights(c), S(n, s, s, 3)), ((P(),) * 4, P("data", "model")), (P(), (P(),) * 4)


@enter("developed", "dense", n=512, d=1024, f=4096)
def _sequence_parallel(on: On, n: Any, d: Any, f: Any) -> Built:
    def block(x, a, b):
        y = on(relu(x @ a) @ b, "data", "model")
        return y * jax.nn.sigmoid(y)
    return (block, (S(n, d), S(d, f), S(f, d)), (P("data", "model"), P(None, "model"), P("model")), P("data", "model"))


@enter("developed", "dense", n=1024, d=256, f=512)
def _adam_fully_sharded(on: On, n: Any, d: Any, f: Any) -> Built:
    def step(params, first, second, x):
        grads = jax.grad(lambda w: ((jnp.tanh(on(x, ("data", "model"), None) @ w[0]) @ w[1]) ** 2).mean())(params)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
        second = jax.tree.map(lambda m, g: 0.99 * m + 0.01 * g * g, second, grads)
        return jax.tree.map(lambda p, m, q: p - 0.1 * m / (jnp.sqrt(q) + 1e-8), params, first, second), first, second
    weights, split = (S(d, f), S(f, d)), (P("data"), P("data"))
    return step, (weights, weights, weights, S(n, d)), (split, split, split, P(("data", "model"))), (split, split, split)
