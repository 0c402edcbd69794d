"""Attention over a sequence that devices share, each of which passes its keys and values on: Liu, Zaharia and Abbeel, "Ring
Attention with Blockwise Transformers for Near-Infinite Context", 2023."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

_NEVER = -1e30


def ring_attention(mesh: Any, axis: str, batch: str | None = None, window: int | None = None) -> Callable[..., Any]:
    """Causal attention of q (b, s, head, d_head) to k, v (b, s, n_kv, d_head), of which head/n_kv query heads share one, over a
    mesh of jax's, whose axis ``axis`` shares s and ``batch`` shares b.

    Each of the p devices has its queries, and in p turns meets the keys and values of all, which go round: p - 1 times its own are
    sent, those of n_kv heads. What the softmax divides by is gathered as it goes. ``window``: how many positions back a query sees
    (None: all); the others are masked, and go round too.
    """
    size = mesh.shape[axis]
    shared = PartitionSpec(batch, axis)
    round_it = partial(lax.ppermute, axis_name=axis, perm=[(i, (i + 1) % size) for i in range(size)])

    def of_one_device(q: Any, k: Any, v: Any) -> Any:
        b, s, heads, width = q.shape
        groups = (k.shape[2], heads // k.shape[2])
        q = q.reshape(b, s, *groups, width)
        here = lax.axis_index(axis)
        rows = here * s + lax.broadcasted_iota(jnp.int32, (s, 1), 0)
        top, below = jnp.full((b, *groups, s, 1), _NEVER, q.dtype), jnp.zeros((b, *groups, s, 1), q.dtype)
        above = jnp.zeros((b, *groups, s, width), q.dtype)
        for turn in range(size):
            columns = (here - turn) % size * s + lax.broadcasted_iota(jnp.int32, (1, s), 1)
            seen = rows >= columns if window is None else (rows >= columns) & (columns > rows - window)
            scores = jnp.where(seen, jnp.einsum("bsngd,btnd->bngst", q, k) * width ** -0.5, _NEVER)
            higher = jnp.maximum(top, scores.max(-1, keepdims=True))
            weights, kept = jnp.exp(scores - higher), jnp.exp(top - higher)
            below = below * kept + weights.sum(-1, keepdims=True)
            above = above * kept + jnp.einsum("bngst,btnd->bngsd", weights, v)
            top = higher
            if turn + 1 < size:
                k, v = round_it(k), round_it(v)
        return jnp.moveaxis(above / below, 3, 1).reshape(b, s, heads, width)

    return jax.shard_map(of_one_device, mesh=mesh, in_specs=(shared,) * 3, out_specs=shared, check_vma=False)
