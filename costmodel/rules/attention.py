"""A ready rule for fused attention: for ``costmodel.rules.scoped`` or ``@cm.rule``, under the name of your jitted function.

A fused kernel reads q, k, v and writes its result; scores never leave the chip. It does the same multiply-accumulates as the
unfused program, or with ``causal=True`` only those of the pairs that a causal mask keeps, with ``window=`` those of a sliding one.
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, Integer, Rational  # noqa: F401 (Integer: for the doctests)

from costmodel.errors import CostModelError
from costmodel.rules import Eqn, golden, multiply_accumulate, transcendental, vector  # noqa: F401 (golden: for the doctests)
from costmodel.rules.work import Work
from costmodel.symbolic.forms import at_least_zero, minimum


def attention_pairs(queries: Expr, keys: Expr, causal: bool, window: int | None = None) -> Expr:
    """(query, key) pairs: all of them, or with a causal mask aligned at the last query those with key ≤ query: the last query meets
    every key, each one before it one less, and queries that come before the first key meet none. Of those a ``window`` keeps the
    latest so many of each query.

    >>> from costmodel.symbolic.forms import symbol
    >>> attention_pairs(symbol("s"), symbol("s"), causal=True)
    s**2/2 + s/2
    >>> attention_pairs(Integer(8), Integer(8), causal=True, window=3)
    21
    """
    if not causal:
        return queries * keys
    rows = _rows(queries, keys, causal)
    pairs = rows * keys - _triangle(rows - 1)
    if window is None:
        return pairs.expand()
    # Counted from the last one, query r meets keys - r keys: of the first so many queries the window takes some away.
    cut = at_least_zero(minimum(rows, keys - window))
    return (pairs - cut * (keys - window) + _triangle(cut - 1)).expand()


def _triangle(n: Expr) -> Expr:
    """1 + 2 + … + n."""
    return n * (n + 1) * Rational(1, 2)


def _rows(queries: Expr, keys: Expr, causal: bool) -> Expr:
    """Queries that meet a key."""
    return minimum(queries, keys) if causal else queries


def fused_attention(causal: bool = False, window: int | None = None) -> Callable[..., Work]:
    """A rule for a function of q [b s h d], k and v [b t h_kv d] that returns [b s h d_v]; further operands are masks or biases.
    ``window`` is how many keys a query meets at most, its own included (jax's ``local_window_size=(window - 1, 0)``); only with
    ``causal``.

    >>> from costmodel.rules import scoped
    >>> with scoped({"attention": fused_attention()}):
    ...     golden("attention", "s h d", "t h d", "t h d")
    Traceback (most recent call last):
    costmodel.errors.CostModelError: fused_attention expects q, k, v of four dimensions [b s h d]; attention has ...
    >>> with scoped({"attention": fused_attention()}):
    ...     golden("attention", "1 s h d", "1 t h d", "1 t h d")
    '2*d*h*s*t mac, d*h*s + 3*h*s*t - 2*h*s softmax, h*s*t exp'
    """
    if window is not None and not (causal and window > 0):
        raise CostModelError(f"window={window} of fused_attention must be at least 1, and needs causal=True")

    def rule(eqn: Eqn, **_) -> Work:
        if len(eqn.ins) < 3 or len(eqn.out.shape) != 4:
            raise CostModelError(f"fused_attention expects q, k, v of four dimensions [b s h d]; {eqn.primitive} has "
                                 + ", ".join(map(str, eqn.ins)))
        batch, queries, heads, depth = eqn.ins[0].shape
        keys, depth_v = eqn.ins[1].shape[1], eqn.out.shape[3]
        scores = (batch * heads * attention_pairs(queries, keys, causal, window)).expand()
        rows = batch * heads * _rows(queries, keys, causal)
        # Softmax of a row of t scores: t differences from its maximum, t exponentials, t - 1 comparisons and sums, one division
        # per result element (the kernel divides once, after the second product).
        return eqn.work(multiply_accumulate(eqn.operand.dtype, (scores * (depth + depth_v)).expand(), accumulate=eqn.out.dtype),
                        vector("softmax", eqn.out.dtype, (3 * scores - 2 * rows + rows * depth_v).expand()),
                        transcendental("exp", eqn.out.dtype, scores))
    return rule
