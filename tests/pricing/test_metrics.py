"""Metrics by hand: what a program must move, and what its layers hand on, loops included."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

import costmodel as cm

FLOAT, INDEX = 4, 4  # bytes


def table_rows_updates():
    rows, width, count = cm.dims("v d n")
    return cm.spec((rows, width)), cm.spec((count,), "int32"), cm.spec((count, width))


def test_an_update_must_move_what_it_updates():
    """A row and where it goes are read, the row is written: however long the cache is."""
    cost = cm.analyze(lambda cache, row, i: lax.dynamic_update_slice(cache, row, (i, 0)), (5000, 64), (1, 64), cm.spec((), "int32"))
    assert cost.bytes("compulsory") == FLOAT * 64 + INDEX + FLOAT * 64


def test_a_loop_of_updates_must_move_each_of_them():
    """A thousand tokens into a cache: the rows are read, and written; a counter says where."""
    def fill(cache, rows):
        def body(carry, row):
            cache, i = carry
            return (lax.dynamic_update_slice(cache, row[None], (i, 0)), i + 1), None
        return lax.scan(body, (cache, 0), rows)[0][0]

    assert cm.analyze(fill, (5000, 64), (1000, 64)).bytes("compulsory") == 2 * FLOAT * 1000 * 64


def test_a_loop_must_move_its_weights_once():
    """However many steps it makes with them: weights and the first state are read, the last state is written."""
    cost = cm.analyze(lambda x, w: lax.scan(lambda c, _: (c @ w, None), x, None, length=6)[0], (8, 32), (32, 32))
    assert cost.bytes("compulsory") == FLOAT * (32 * 32 + 2 * 8 * 32)


def test_a_loop_of_lookups_needs_no_row_twice():
    """A thousand times ten rows of a table of fifty: the table, the places, and the first and last state."""
    def look_up(state, table, places):
        return lax.scan(lambda c, rows: (c + table[rows].sum(0), None), state, places)[0]

    cost = cm.analyze(look_up, (8,), (50, 8), cm.spec((1000, 10), "int32"))
    assert cost.bytes("compulsory") == FLOAT * 50 * 8 + INDEX * 1000 * 10 + 2 * FLOAT * 8


def add_rows(table, rows, updates):
    return table.at[rows].add(updates, mode="promise_in_bounds", wrap_negative_indices=False)


def set_rows(table, rows, updates):
    return table.at[rows].set(updates, mode="promise_in_bounds", wrap_negative_indices=False)


def test_adding_into_rows_reads_them_and_setting_them_does_not():
    """An addition reads the row that it changes, the update and its place, and writes the row."""
    added, placed = (cm.analyze(f, *table_rows_updates()).at(v=5000, d=64, n=10).bytes("compulsory") for f in (add_rows, set_rows))
    assert added == 3 * FLOAT * 10 * 64 + INDEX * 10
    assert placed == 2 * FLOAT * 10 * 64 + INDEX * 10


def test_the_activations_of_a_loop_are_those_of_the_layers_written_out():
    def layer(x, w):
        return jnp.tanh(x @ w)

    def looped(x, w):
        return lax.scan(lambda c, _: (layer(c, w), None), x, None, length=6)[0]

    def written_out(x, w):
        for _ in range(6):
            x = layer(x, w)
        return x

    for function in (looped, written_out):
        cost = cm.analyze(function, (8, 32), (32, 32), params=1)
        assert cost.activations() == 8 * 32 + 6 * 8 * 32  # the input, and each layer's output
