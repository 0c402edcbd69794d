"""Sizes that follow the logarithm of a symbol: a search that halves a table, the bits of a number; judged by concrete analyses."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import pytest

import costmodel as cm
from costmodel.program.fit.box import Axis, Box
from costmodel.program.fit.fitter import fit_columns
from costmodel.symbolic.forms import evaluate, symbol

SIZES = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 1009, 1023, 1024, 1025, 10**6, 2**20 - 1, 2**20)


def searched(table, values):
    return jnp.searchsorted(table, values)


def interpolated(table, values):
    return jnp.interp(values, table, table)


def halved(table, values):
    """A loop of its own, as often as the length has bits."""
    step = lambda _, x: jnp.sin(x) + table[0]  # noqa: E731
    return jax.lax.fori_loop(0, int(table.shape[0]).bit_length(), step, values)


@pytest.mark.parametrize("function", [searched, interpolated, halved])
def test_a_search_over_a_table_of_any_length(function, capsys):
    n, m = cm.dims("n m")
    cost = cm.analyze(function, (n,), (m,))
    for size, values in zip(SIZES, itertools.cycle((1, 3, 7)), strict=False):
        there, judge = cost.at(n=size, m=values), cm.analyze(function, (size,), (values,))
        for ask in (lambda c: c.ops, lambda c: c.flops, lambda c: c.transcendentals, lambda c: c.bytes("unfused"),
                    lambda c: c.bytes("xla-gpu"), lambda c: c.bytes("xla-cpu"), lambda c: c.live_peak()):
            assert ask(there) == ask(judge), size


def test_a_binary_search_takes_as_many_steps_as_a_number_has_bits(capsys):
    n = cm.dims("n")
    cost = cm.analyze(searched, (n,), (1,))
    steps = {size: cost.at(n=size).flops for size in SIZES}
    assert all(steps[size] == steps[1] * size.bit_length() for size in SIZES)


LOGARITHMS = {"bits": lambda n, m: n.bit_length(), "down": lambda n, m: n.bit_length() - 1, "up": lambda n, m: (n - 1).bit_length(),
              "of a product": lambda n, m: 3 * (n * m).bit_length() + 1, "less one": lambda n, m: m * max(n - 2, 0).bit_length()}


@pytest.mark.parametrize("name", LOGARITHMS)
def test_which_logarithm_it_is(name):
    """Those of n - 1, n and n + 1 differ at powers of two only."""
    form = LOGARITHMS[name]
    box = Box(tuple(Axis(s, 2 if name != "less one" else 3, 42, None) for s in "nm"), ())
    found = fit_columns(lambda at: (at["n"], at["m"], form(at["n"], at["m"])), box)
    for n in (3, 4, 5, 7, 8, 9, 63, 64, 65, 66, 511, 512, 513, 10**7):
        assert evaluate(found.forms[2], {symbol("n"): n, symbol("m"): 5}) == form(n, 5)
