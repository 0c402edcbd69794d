"""Mutable references: what an equation on one moves, by hand, in float32."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import costmodel as cm


def assigned(x):
    ref = jax.new_ref(x)
    ref[0] = jnp.zeros(x.shape[1])
    return ref[...]


def exchanged(x):
    ref = jax.new_ref(x)
    before = jax.ref.swap(ref, (0, slice(None)), jnp.zeros(x.shape[1]))
    return ref[...], before


def doubled_thrice(x):
    ref = jax.new_ref(x)

    def body(i, carry):
        ref[...] = ref[...] * 2.
        return carry

    jax.lax.fori_loop(0, 3, body, 0)
    return ref[...]


# A reference is made (4 + 4 bytes an element) and read at the end (4 + 4). A row of zeros is made (4 m), read and written (8 m);
# where the old one is returned, that is read and written, too (8 m). An iteration reads (8), multiplies (8) and writes (8).
@pytest.mark.parametrize(("function", "expected"), [
    (assigned, lambda n, m: 16 * n * m + 12 * m),
    (exchanged, lambda n, m: 16 * n * m + 20 * m),
    (doubled_thrice, lambda n, m: 16 * n * m + 3 * 24 * n * m),
])
def test_bytes_of_each_equation_alone(function, expected):
    cost = cm.analyze(function, cm.spec((*cm.dims("n m"),)))
    assert cost.bytes("unfused") == expected(*cm.symbols("n m")).expand()
