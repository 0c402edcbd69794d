"""Masks of positions of every sort, counted as numpy counts their true elements."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sympy import Integer

import costmodel as cm
from costmodel.program.bands import Piece

SIZES = (1, 2, 5, 6, 7, 8, 12, 13, 31)
# What is kept, of a query's place i and a key's place j, under jnp and under numpy.
MASKS = {
    "prefix": lambda i, j: (i >= j) | (j < 6),
    "prefix of both": lambda i, j: (i >= j) | ((j < 6) & (i < 6)),
    "sinks": lambda i, j: (i >= j) & ((i - j < 4) | (j < 2)),
    "sinks of two windows": lambda i, j: ((i >= j) & (i - j < 4)) | ((j < 2) & (j <= i)),
    "by blocks": lambda i, j: i // 4 >= j // 4,
    "chunks": lambda i, j: i // 4 == j // 4,
    "causal chunks": lambda i, j: (i // 4 == j // 4) & (i >= j),
    "chunks and what is before": lambda i, j: (i // 4 == j // 4) | (i >= j),
    "nearby blocks": lambda i, j: (abs(i // 4 - j // 4) <= 1) | (j // 4 == 0) | (i // 4 == 0),
    "strided": lambda i, j: (i >= j) & ((i - j < 4) | ((i - j) % 4 == 0)),
    "window of blocks": lambda i, j: (i // 4 - j // 4 < 2) & (i // 4 - j // 4 >= 0),
    "dilated": lambda i, j: (i >= j) & ((i - j) % 3 == 0),
    "dilated window": lambda i, j: (i >= j) & (i - j < 7) & ((i - j) % 2 == 0),
    "dilated by another rest": lambda i, j: (i - j) % 3 == 1,
    "distance of one": lambda i, j: abs(i - j) == 1,
    "not oneself": lambda i, j: i != j,
    "oneself": lambda i, j: i == j,
    "global and local": lambda i, j: (abs(i - j) <= 2) | (j < 1) | (i < 1),
    "two bands": lambda i, j: (i - j == 0) | (i - j == 5),
    "one row of keys": lambda i, j: j < 3 * (j * 0 + 1) if isinstance(j, np.ndarray) else (j < 3) & (i >= 0),
    "not the prefix": lambda i, j: ~((j < 3) | (i < j)),
}


def written(mask, how):
    def attention(q, k, v):
        i, j = jnp.arange(q.shape[0])[:, None], jnp.arange(k.shape[0])[None, :]
        kept, scores = mask(i, j), q @ k.T
        if how == "where":
            scores = jnp.where(kept, scores, -1e9)
        elif how == "less one":
            scores = scores + (kept.astype(scores.dtype) - 1.0) * 1e9
        else:
            scores = scores + jnp.where(kept, 0.0, -jnp.inf)
        return jax.nn.softmax(scores) @ v
    return attention


def true_of(mask, rows: int, columns: int) -> int:
    kept = mask(np.arange(rows)[:, None], np.arange(columns)[None, :])
    return int(np.broadcast_to(kept, (rows, columns)).sum())


@pytest.mark.parametrize(("name", "how"), [*((name, "where") for name in MASKS), *itertools.product(
    ("prefix", "sinks", "by blocks", "dilated window", "not the prefix"), ("less one", "added"))])
def test_a_mask_keeps_what_numpy_counts(name, how, capsys):
    s = cm.dims("s")
    cost = cm.analyze(written(MASKS[name], how), (s, 3), (s, 3), (s, 5)).skip_masked()
    for size in SIZES:
        kept = true_of(MASKS[name], size, size)
        assert not kept or cost.at(s=size).macs == 8 * kept, size
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", MASKS)
def test_of_other_lengths_and_of_one(name):
    """Queries and keys of two lengths, where one may be 1; what has no form of two lengths is said."""
    n, t = cm.dims("n t")
    cost = cm.analyze(written(MASKS[name], "where"), (n, 3), (t, 3), (t, 5)).skip_masked()
    for rows, columns in ((1, 7), (7, 1), (5, 13), (13, 5), (1, 1), (8, 12)):
        kept = true_of(MASKS[name], rows, columns)
        if not kept:
            continue
        fixed = cm.analyze(written(MASKS[name], "where"), (rows, 3), (columns, 3), (columns, 5)).skip_masked()
        if name in ("causal chunks", "chunks and what is before"):
            assert cost.at(n=rows, t=columns).macs >= 8 * kept
        else:
            assert (cost.at(n=rows, t=columns).macs, fixed.macs) == (8 * kept, 8 * kept), (rows, columns)


def test_a_last_query_against_a_cache():
    t = cm.dims("t")

    def decode(q, k, v):
        i, j = jnp.arange(1)[:, None] + k.shape[0] - 1, jnp.arange(k.shape[0])[None, :]
        return jax.nn.softmax(jnp.where((j <= i) & (i - j < 4), q @ k.T, -1e9)) @ v

    cost = cm.analyze(decode, (1, 3), (t, 3), (t, 5)).skip_masked()
    assert [cost.at(t=size).macs for size in (1, 3, 4, 9)] == [8 * min(size, 4) for size in (1, 3, 4, 9)]


UNTOLD = {
    "every third key": lambda i, j: (j % 3 == 0) & (i >= j),
    "a triangle": lambda i, j: i + j < 9,
    "twice as far": lambda i, j: 2 * i >= j,
    "strided chunks": lambda i, j: (i >= j) & ((i // 4 == j // 4) | ((i - j) % 4 == 0)),
    "by powers": lambda i, j: (i & (i - j)) == 0,
}


@pytest.mark.parametrize("how", ["where", "less one", "added"])
@pytest.mark.parametrize("name", UNTOLD)
def test_what_is_not_counted_is_said(name, how, capsys):
    s = cm.dims("s")
    cost = cm.analyze(written(UNTOLD[name], how), (s, 3), (s, 3), (s, 5))
    assert not capsys.readouterr().err
    skipped = cost.skip_masked()
    assert "1 mask of positions" in capsys.readouterr().err
    assert cm.from_json(cost.to_json()).skip_masked().macs == skipped.macs
    assert skipped.at(s=12).macs >= 8 * true_of(UNTOLD[name], 12, 12)


def test_what_is_no_mask_of_positions_is_not_said(capsys):
    """Padding that the data tells, biases of positions, and dropout."""
    s = cm.dims("s")

    def attention(q, k, v, lengths):
        i, j = jnp.arange(q.shape[0])[:, None], jnp.arange(k.shape[0])[None, :]
        scores = q @ k.T - 0.5 * jnp.abs(i - j)
        return jax.nn.softmax(jnp.where((j < lengths[:, None]) & (i >= j), scores, -1e9)) @ v

    cost = cm.analyze(attention, (s, 3), (s, 3), (s, 5), cm.spec((s,), "int32")).skip_masked()
    assert not capsys.readouterr().err and cost.at(s=12).macs == 8 * 78


def test_any_piece_is_counted_as_numpy_counts_it():
    bounds = (None, -2, 0, 3)
    ranges = ((None, None), (1, None), (None, 4), (2, 5), (9, 3))
    for (low, high), rows, columns, (block, modulus) in itertools.product(
            itertools.product(bounds, repeat=2), ranges, ranges, ((1, 1), (3, 1), (1, 3))):
        piece = Piece(*(None if b is None else Integer(b) for b in (low, high)),
                      *(tuple(None if b is None else Integer(b) for b in each) for each in (rows, columns)),
                      Integer(block), Integer(modulus), Integer(2 if modulus > 1 else 0))
        for height, width in ((7, 7), (4, 9), (9, 4), (1, 6)):
            i, j = np.arange(height)[:, None] // block, np.arange(width)[None, :] // block
            inside = (j - i) % modulus == (2 if modulus > 1 else 0)
            for value, (first, last) in ((j - i, (low, high)), (i, rows), (j, columns)):
                inside = inside & (True if first is None else value >= first) & (True if last is None else value <= last)
            assert piece.count(Integer(height), Integer(width)) == int(np.broadcast_to(inside, (height, width)).sum()), piece
