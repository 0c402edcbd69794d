"""Sharded programs and points, of a mesh data=2 x model=4: those that the rules were developed on, and those that were first
compared when the rules were there.

A program is a function of its sizes and of what constrains an array: it gives the function, its inputs, their partitions, and those
of its results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

P = PartitionSpec
SIZES = {"data": 2, "model": 4}


@dataclass(frozen=True)
class Program:
    name: str
    point: dict[str, int]
    build: Callable[..., tuple[Any, Any, Any, Any]]
    developed: bool


PROGRAMS: dict[str, Program] = {}


def program(developed: bool, **point: int) -> Any:
    def enter(build: Any) -> Any:
        PROGRAMS[build.__name__] = Program(build.__name__, point, build, developed)
        return build
    return enter


def S(*shape: Any, dtype: str = "float32") -> Any:
    return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))


def stepped(loss: Any) -> Any:
    """A step of gradient descent."""
    def step(params: Any, *batch: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, *batch)
        return value, jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
    return step


relu = jax.nn.relu


# -- developed on -------------------------------------------------------------------------------------------------------------


@program(True, n=512, d=1024, f=4096)
def tensor_parallel(on, n, d, f):
    return (lambda x, a, b: relu(x @ a) @ b, (S(n, d), S(d, f), S(f, d)), (P("data"), P(None, "model"), P("model")), P("data"))


@program(True, n=512, d=1024, f=4096)
def data_parallel_step(on, n, d, f):
    loss = lambda w, x: ((relu(x @ w[0]) @ w[1]) ** 2).mean()  # noqa: E731
    return stepped(loss), ((S(d, f), S(f, d)), S(n, d)), ((P(), P()), P(("data", "model"))), (P(), (P(), P()))


@program(True, L=6, n=512, d=256, f=1024)
def fully_sharded_scan(on, L, n, d, f):
    def loss(w, x):
        return (lax.scan(lambda x, w: (x + relu(x @ w[0]) @ w[1], None), x, w)[0] ** 2).sum()
    split = (P(None, "data", "model"), P(None, "model", "data"))
    return jax.value_and_grad(loss), ((S(L, d, f), S(L, f, d)), S(n, d)), (split, P("data")), (P(), split)


def _transformer(on, L, b, t, h, k, d, f, v, constrained):
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


@program(True, L=6, b=8, t=128, h=16, k=32, d=384, f=1536, v=4096)
def transformer_step(on, **sizes):
    return _transformer(on, **sizes, constrained=False)


@program(True, L=6, b=8, t=128, h=16, k=32, d=384, f=1536, v=4096)
def constrained_transformer_step(on, **sizes):
    return _transformer(on, **sizes, constrained=True)


@program(True, g=16, s=128, e=8, c=32, d=256, f=1024)
def experts(on, g, s, e, c, d, f):
    def moe(x, dispatch, combine, w1, w2):
        to = on(jnp.einsum("gsec,gsd->egcd", dispatch, x), "model", "data", None, None)
        y = jnp.einsum("egcf,efd->egcd", relu(jnp.einsum("egcd,edf->egcf", to, w1)), w2)
        return jnp.einsum("gsec,egcd->gsd", combine, on(y, "model", "data", None, None))
    tokens = P(("data", "model"))
    return (moe, (S(g, s, d), S(g, s, e, c), S(g, s, e, c), S(e, d, f), S(e, f, d)), (tokens,) * 3 + (P("model"),) * 2, tokens)


def _conv(x, w, stride=1):
    return lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _convolutions(ws, x):
    for w in ws[:-1]:
        x = relu(_conv(x, w))
    return x.mean((1, 2)) @ ws[-1]


def _weights(c):
    return S(3, 3, 3, c), S(3, 3, c, c), S(3, 3, c, c), S(c, 16)


@program(True, n=16, s=32, c=64)
def convolutions_by_batch(on, n, s, c):
    loss = lambda ws, x: (_convolutions(ws, x) ** 2).mean()  # noqa: E731
    return jax.value_and_grad(loss), (_weights(c), S(n, s, s, 3)), ((P(),) * 4, P(("data", "model"))), (P(), (P(),) * 4)


@program(True, n=6, s=32, c=48)
def convolutions_in_space(on, n, s, c):
    return _convolutions, (_weights(c), S(n, s, s, 3)), ((P(),) * 4, P("data", "model")), P("data")


@program(True, n=6, s=32, c=48)
def convolutions_in_space_gradient(on, n, s, c):
    loss = lambda ws, x: (_convolutions(ws, x) ** 2).mean()  # noqa: E731
    return jax.value_and_grad(loss), (_weights(c), S(n, s, s, 3)), ((P(),) * 4, P("data", "model")), (P(), (P(),) * 4)


@program(True, n=512, d=1024, f=4096)
def sequence_parallel(on, n, d, f):
    def block(x, a, b):
        y = on(relu(x @ a) @ b, "data", "model")
        return y * jax.nn.sigmoid(y)
    return (block, (S(n, d), S(d, f), S(f, d)), (P("data", "model"), P(None, "model"), P("model")), P("data", "model"))


# -- held out: first compared when the rules above were there -------------------------------------------------------------------


@program(False, n=256, d=512, f=2048)
def gated_unit(on, n, d, f):
    def block(x, gate, up, down):
        return (jax.nn.silu(x @ gate) * (x @ up)) @ down
    return (block, (S(n, d), S(d, f), S(d, f), S(f, d)), (P("data"), P(None, "model"), P(None, "model"), P("model")), P("data"))


@program(False, b=8, s=128, h=16, k=32, d=512)
def attention_by_heads(on, b, s, h, k, d):
    def block(x, wq, wk, wv, wo):
        q, keys, values = (jnp.einsum("bsd,dhk->bshk", x, w) for w in (wq, wk, wv))
        scores = jax.nn.softmax(jnp.einsum("bqhk,bshk->bhqs", q, keys), -1)
        return jnp.einsum("bqhk,hkd->bqd", jnp.einsum("bhqs,bshk->bqhk", scores, values), wo)
    heads = P(None, "model", None)
    return block, (S(b, s, d), *(S(d, h, k),) * 3, S(h, k, d)), (P("data"), heads, heads, heads, P("model")), P("data")


@program(False, b=8, s=128, h=16, k=32, d=512)
def attention_by_heads_gradient(on, b, s, h, k, d):
    block, specs, into, _out = attention_by_heads(on, b, s, h, k, d)
    loss = lambda w, x: (block(x, *w) ** 2).sum()  # noqa: E731
    return jax.grad(loss), (specs[1:], specs[0]), (into[1:], into[0]), into[1:]


@program(False, n=512, d=256, v=8192)
def vocabulary_loss(on, n, d, v):
    def loss(w, x, y):
        logits = x @ w
        return (jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, y[:, None], -1)[:, 0]).mean()
    return (jax.value_and_grad(loss), (S(d, v), S(n, d), S(n, dtype="int32")), (P(None, "model"), P("data"), P("data")),
            (P(), P(None, "model")))


@program(True, n=1024, d=256, f=512)
def adam_fully_sharded(on, n, d, f):
    def step(params, first, second, x):
        grads = jax.grad(lambda w: ((jnp.tanh(on(x, ("data", "model"), None) @ w[0]) @ w[1]) ** 2).mean())(params)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
        second = jax.tree.map(lambda m, g: 0.99 * m + 0.01 * g * g, second, grads)
        return jax.tree.map(lambda p, m, q: p - 0.1 * m / (jnp.sqrt(q) + 1e-8), params, first, second), first, second
    weights, split = (S(d, f), S(f, d)), (P("data"), P("data"))
    return step, (weights, weights, weights, S(n, d)), (split, split, split, P(("data", "model"))), (split, split, split)


@program(False, n=512, d=256, f=1024)
def rows_then_columns(on, n, d, f):
    return lambda x, a: (x @ a).sum(0), (S(n, d), S(d, f)), (P("data", "model"), P("model")), P()


@program(False, n=16, s=32, c=64)
def normalised_over_the_batch(on, n, s, c):
    def block(x, w, scale):
        y = _conv(x, w)
        mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
        return relu((y - mean) * lax.rsqrt(variance + 1e-5) * scale)
    over = P("data"), P(None, None, None, "model"), P("model")
    return block, (S(n, s, s, c), S(3, 3, c, c), S(c)), over, P("data", None, None, "model")


@program(False, n=8, s=64, c=32)
def strided_in_space(on, n, s, c):
    def block(x, w, v):
        y = relu(_conv(x, w, 2))
        return _conv(y, v)
    return block, (S(n, s, s, c), S(3, 3, c, c), S(3, 3, c, c)), (P("data", "model"), P(), P()), P("data", "model")


@program(False, n=8, s=64, c=32)
def pooled_in_space(on, n, s, c):
    def block(x, w):
        y = relu(_conv(x, w))
        return lax.reduce_window(y, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
    return block, (S(n, s, s, c), S(3, 3, c, c)), (P("data", "model"), P()), P("data", "model")


@program(False, b=8, s=256, d=256)
def moved_between_sequence_and_heads(on, b, s, d):
    def block(x, w):
        y = on(jnp.einsum("bsd,de->bse", x, w), "data", None, "model")
        return on(jnp.cumsum(y, 1), "data", "model", None)
    return block, (S(b, s, d), S(d, d)), (P("data", "model"), P()), P("data", "model")


@program(False, n=1024, d=512, k=64)
def low_rank_step(on, n, d, k):
    loss = lambda w, x: ((x + (x @ w[0]) @ w[1]) ** 2).mean()  # noqa: E731
    split = (P("model"), P(None, "model"))
    return stepped(loss), ((S(d, k), S(k, d)), S(n, d)), (split, P("data", "model")), (P(), split)


@program(False, L=4, n=256, d=512)
def recurrent(on, L, n, d):
    def run(x, w, u):
        def step(h, x):
            h = jnp.tanh(x @ w + h @ u)
            return h, h
        return lax.scan(step, jnp.zeros((n, d)), x)[1]
    return run, (S(L, n, d), S(d, d), S(d, d)), (P(None, "data"), P(None, "model"), P(None, "model")), P(None, "data", "model")
