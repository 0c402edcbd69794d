"""A ready rule for fused attention: for ``costmodel.rules.scoped`` or ``@cm.rule``, under the name of your jitted function.

A fused kernel reads q, k, v and writes its result; scores never leave the chip. It does the same multiply-accumulates as the
unfused program, or with ``causal=True`` only those of the pairs that a causal mask keeps.

>>> import jax, costmodel as cm
>>> from costmodel.rules import scoped
>>> b, s, h, d = cm.dims("b s h d")
>>> @jax.jit
... def attention(q, k, v):
...     return jax.numpy.einsum("bhst,bthd->bshd", jax.nn.softmax(jax.numpy.einsum("bshd,bthd->bhst", q, k)), v)
>>> x = cm.spec((b, s, h, d))
>>> with scoped({"attention": fused_attention()}):
...     cost = cm.analyze(lambda q, k, v: attention(q, k, v), x, x, x)
>>> cost.macs, cost.bytes("unfused")
(2*b*d*h*s**2, 16*b*d*h*s)
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, Rational

from costmodel.errors import CostModelError
from costmodel.rules import Eqn, multiply_accumulate, transcendental, vector
from costmodel.rules.work import Work
from costmodel.symbolic.forms import minimum


def attention_pairs(queries: Expr, keys: Expr, causal: bool) -> Expr:
    """(query, key) pairs: all of them, or with a causal mask aligned at the last query those with key ≤ query: the last query meets
    every key, each one before it one less, and queries that come before the first key meet none.

    >>> from costmodel.symbolic.forms import symbol
    >>> attention_pairs(symbol("s"), symbol("s"), causal=True)
    s**2/2 + s/2
    """
    if not causal:
        return queries * keys
    rows = _rows(queries, keys, causal)
    return (rows * keys - rows * (rows - 1) * Rational(1, 2)).expand()


def _rows(queries: Expr, keys: Expr, causal: bool) -> Expr:
    """Queries that meet a key."""
    return minimum(queries, keys) if causal else queries


def fused_attention(causal: bool = False) -> Callable[..., Work]:
    """A rule for a function of q [b s h d], k and v [b t h_kv d] that returns [b s h d_v]; further operands are masks or biases."""
    def rule(eqn: Eqn, **_) -> Work:
        if len(eqn.ins) < 3 or len(eqn.out.shape) != 4:
            raise CostModelError(f"fused_attention expects q, k, v of four dimensions [b s h d]; {eqn.primitive} has "
                                 + ", ".join(map(str, eqn.ins)))
        batch, queries, heads, depth = eqn.ins[0].shape
        keys, depth_v = eqn.ins[1].shape[1], eqn.out.shape[3]
        scores = (batch * heads * attention_pairs(queries, keys, causal)).expand()
        rows = batch * heads * _rows(queries, keys, causal)
        # Softmax of a row of t scores: t differences from its maximum, t exponentials, t - 1 comparisons and sums, one division
        # per result element (the kernel divides once, after the second product).
        return eqn.work(multiply_accumulate(eqn.operand.dtype, (scores * (depth + depth_v)).expand(), accumulate=eqn.out.dtype),
                        vector("softmax", eqn.out.dtype, (3 * scores - 2 * rows + rows * depth_v).expand()),
                        transcendental("exp", eqn.out.dtype, scores))
    return rule
