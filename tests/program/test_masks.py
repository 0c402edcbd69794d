"""What a mask throws away: operations at the effective length, against the pairs counted in the mask itself by numpy."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

import costmodel as cm

B, HEADS, WIDTH = 2, 4, 8
LENGTHS = (1, 5, 8, 13, 31)


def causal(s: int, window: int | None = None) -> int:
    """Pairs that a causal mask keeps, of which a window keeps the latest of each query."""
    q, k = np.arange(s)[:, None], np.arange(s)[None, :]
    return int(((k <= q) & (True if window is None else k > q - window)).sum())


def softly(scores, v):
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)


def scored(q, k):
    return jnp.einsum("bqhd,bkhd->bhqk", q, k) / WIDTH ** 0.5


def lower(q):
    return jnp.tril(jnp.ones((q.shape[1],) * 2))


def shipped(q, k, v):
    return jax.nn.dot_product_attention(q, k, v, is_causal=True)


def linen(q, k, v):
    return nn.dot_product_attention(q, k, v, mask=nn.make_causal_mask(jnp.zeros(q.shape[:2])))


def nnx_attention(q, k, v):
    return nnx.dot_product_attention(q, k, v, mask=nnx.make_causal_mask(jnp.zeros(q.shape[:2])))


def where_zero(q, k, v):
    return softly(jnp.where(lower(q) == 0, -jnp.inf, scored(q, k)), v)


def where_above(q, k, v):
    return softly(jnp.where(jnp.triu(jnp.ones((q.shape[1],) * 2, bool), k=1), -1e9, scored(q, k)), v)


def added(q, k, v):
    return softly(scored(q, k) + jnp.where(lower(q) > 0, 0., -1e9), v)


def compared(q, k, v):
    place = jnp.arange(q.shape[1])
    return softly(jnp.where(place[:, None] >= place[None, :], scored(q, k), jnp.finfo("float32").min), v)


ATTENTIONS = [shipped, linen, nnx_attention, where_zero, where_above, added, compared]


def inputs(heads=HEADS):
    s = cm.dims("s")
    return cm.spec((B, s, HEADS, WIDTH)), cm.spec((B, s, heads, WIDTH)), cm.spec((B, s, heads, WIDTH))


@pytest.mark.parametrize("attention", ATTENTIONS, ids=lambda f: f.__name__)
def test_both_products_and_exponentials_of_causal_attention(attention):
    dense = cm.analyze(attention, *inputs())
    cost = dense.skip_masked()
    for s in LENGTHS:
        assert dense.at(s=s).macs == 2 * B * HEADS * WIDTH * s * s  # as written: what the program computes
        assert cost.at(s=s).macs == 2 * B * HEADS * WIDTH * causal(s)
        assert cost.at(s=s).transcendentals - dense.at(s=s).transcendentals == B * HEADS * (causal(s) - s * s)
        assert cost.at(s=s).bytes("unfused") == dense.at(s=s).bytes("unfused")


@pytest.mark.parametrize("attention", ATTENTIONS, ids=lambda f: f.__name__)
def test_gradients_skip_the_same_pairs(attention):
    """Seven products: two forward (one of which the gradient of a sum does not need), and for each of them two backward."""
    def loss(*qkv):
        return (attention(*qkv) ** 2).sum()

    cost = cm.analyze(jax.grad(loss, argnums=(0, 1, 2)), *inputs()).skip_masked()
    for s in LENGTHS:
        assert cost.at(s=s).macs == 6 * B * HEADS * WIDTH * causal(s)


def test_grouped_heads():
    cost = cm.analyze(shipped, *inputs(heads=2)).skip_masked()
    assert cost.at(s=13).macs == 2 * B * HEADS * WIDTH * causal(13)


@pytest.mark.parametrize("window", [1, 3, 8])
def test_a_sliding_window(window):
    def sliding(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, is_causal=True, local_window_size=(window - 1, 0))

    cost = cm.analyze(sliding, *inputs()).skip_masked()
    for s in (1, 7, 8, 13, 31):
        assert cost.at(s=s).macs == 2 * B * HEADS * WIDTH * causal(s, window)


def places(q):
    return jnp.arange(q.shape[1])[:, None], jnp.arange(q.shape[1])[None, :]


def by_distance_behind(q, k, v):
    i, j = places(q)
    return softly(jnp.where((i >= j) & (i - j < 4), scored(q, k), -1e9), v)


def by_distance(q, k, v):
    i, j = places(q)
    return softly(jnp.where(jnp.abs(i - j) <= 3, scored(q, k), -1e9), v)


def by_distance_away(q, k, v):
    i, j = places(q)
    return softly(jnp.where(4 <= jnp.abs(j - i), -jnp.inf, scored(q, k)), v)


def either_is_masked(q, k, v):
    i, j = places(q)
    return softly(jnp.where((j > i) | (i - j >= 4), -1e9, scored(q, k)), v)


def not_both(q, k, v):
    i, j = places(q)
    return softly(jnp.where(~((j <= i) & (j + 4 > i)), -1e9, scored(q, k)), v)


def one_less_times_lowest(q, k, v):
    kept = jnp.tril(jnp.ones((q.shape[1],) * 2)) * jnp.triu(jnp.ones((q.shape[1],) * 2), k=-3)
    return softly(scored(q, k) + (1. - kept) * -1e9, v)


def times_lowest(q, k, v):
    return softly(scored(q, k) + (1 - lower(q)) * -1e9, v)


def band(s: int, low: int, high: int) -> int:
    away = np.arange(s)[None, :] - np.arange(s)[:, None]
    return int(((low <= away) & (away <= high)).sum())


WRITTEN = {by_distance_behind: (-3, 0), by_distance: (-3, 3), by_distance_away: (-3, 3), either_is_masked: (-3, 0),
           not_both: (-3, 0), one_less_times_lowest: (-3, 0), times_lowest: (-31, 0)}


@pytest.mark.parametrize("attention", WRITTEN, ids=lambda f: f.__name__)
def test_bands_as_people_write_them(attention):
    """As differences and distances of places, as what is masked and as what is kept, and added as (1 - kept) · -1e9."""
    cost = cm.analyze(attention, *inputs()).skip_masked()
    step = cm.analyze(jax.grad(lambda *qkv: (attention(*qkv) ** 2).sum(), argnums=(0, 1, 2)), *inputs()).skip_masked()
    for s in LENGTHS:
        pairs = B * HEADS * WIDTH * band(s, *WRITTEN[attention])
        assert (cost.at(s=s).macs, step.at(s=s).macs) == (2 * pairs, 6 * pairs)


@given(shift=st.integers(-6, 6), rows=st.integers(2, 9), columns=st.integers(2, 9),
       comparison=st.sampled_from(["greater_equal", "greater", "less_equal", "less"]), rows_first=st.booleans())
def test_any_band_is_counted_as_numpy_counts_it(shift, rows, columns, comparison, rows_first):
    def masked(q, k, v):
        i, j = jnp.arange(rows)[:, None] + shift, jnp.arange(columns)[None, :]
        compare = getattr(jnp, comparison)
        return jax.nn.softmax(jnp.where(compare(i, j) if rows_first else compare(j, i), q @ k, -1e9)) @ v

    i, j = np.arange(rows)[:, None] + shift, np.arange(columns)[None, :]
    kept = getattr(np, comparison)(i, j) if rows_first else getattr(np, comparison)(j, i)
    cost = cm.analyze(masked, cm.spec((rows, 3)), cm.spec((3, columns)), cm.spec((columns, 5))).skip_masked()
    assert cost.macs == (3 + 5) * int(kept.sum())


def no_mask(q, k, v):
    return jax.nn.dot_product_attention(q, k, v)


def by_data(q, k, v):
    return softly(jnp.where(q[:, :, 0, 0][:, None, :, None] > 0, scored(q, k), -1e9), v)


def not_low(q, k, v):
    return softly(jnp.where(lower(q) > 0, scored(q, k), 1.), v)


def returned(q, k, v):
    scores = scored(q, k)
    return softly(jnp.where(lower(q) > 0, scores, -1e9), v), scores


def bits_turned(q, k, v):
    """Of 0 and 1 as integers, ~ makes -1 and -2: neither is false."""
    kept = jnp.tril(jnp.ones((q.shape[1],) * 2, "int32"))
    return softly(jnp.where(~kept != 0, scored(q, k), -1e9), v)


def twos(q, k, v):
    """1 - 2 is no zero: what is added is 1e9 inside."""
    return softly(scored(q, k) + (1. - 2 * lower(q)) * -1e9, v)


@pytest.mark.parametrize(("attention", "products"), [(no_mask, 0), (by_data, 0), (not_low, 0), (bits_turned, 0), (twos, 0),
                                                     (returned, 1)],
                         ids=lambda x: getattr(x, "__name__", ""))
def test_what_something_else_needs_is_computed(attention, products):
    """``not_low`` weighs the pairs outside its mask, too, but its scores there are thrown away: that is its first product. Scores
    that are returned are needed everywhere."""
    products += attention is not_low
    cost = cm.analyze(attention, *inputs()).skip_masked()
    for s in LENGTHS:
        assert cost.at(s=s).macs == B * HEADS * WIDTH * ((2 - products) * s * s + products * causal(s))


def test_a_saved_cost_can_still_skip():
    cost = cm.analyze(shipped, *inputs())
    assert cm.from_json(cost.to_json()).skip_masked().macs == cost.skip_masked().macs != cost.macs
