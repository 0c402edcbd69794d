"""Loops with a cap, and loops that count to the counter of a loop around: compared with loops in Python and with real runs."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import costmodel as cm

D = 4
DOT = D**3
X = cm.spec((D, D))
N, M = cm.symbols("n m")
POINTS = [(1, 1), (2, 3), (5, 2), (8, 13)]


def square(_, c):
    return c @ c


# -- a cap ---------------------------------------------------------------------------------------------------------------------


def solver(condition, x, cap):
    """Counts its own iterations."""
    return lax.while_loop(lambda s: condition(s[0], s[2], cap), lambda s: (s[0] + 1, s[1] @ s[1] / 2.0, jnp.abs(s[1]).max()),
                          (0, x, jnp.float32(1e9)))


CAPPED = {
    # name: (condition of counter, error and cap, iterations at most)
    "both": (lambda i, error, cap: (i < cap) & (error > 1e-3), lambda cap: cap),
    "logical_and": (lambda i, error, cap: jnp.logical_and(error > 1e-3, i < cap), lambda cap: cap),
    "included": (lambda i, error, cap: (i <= cap) & (error > 1e-3), lambda cap: cap + 1),
    "three": (lambda i, error, cap: (error > 1e-3) & (i < cap) & ~jnp.isnan(error), lambda cap: cap),
    "two caps": (lambda i, error, cap: (i < cap) & (error > 1e-3) & (i < 7), lambda cap: min(cap, 7)),
}


@pytest.mark.parametrize("name", CAPPED)
def test_a_cap_bounds_a_loop_that_the_data_may_end_sooner(name):
    condition, most = CAPPED[name]
    cost = cm.analyze(lambda x, y: solver(condition, x, y.shape[0])[1], X, cm.spec((cm.dims("n"),)))
    assert {e.status for e in cost.program if e.primitive == "dot_general"} == {"bounded"}
    for n in (1, 2, 7, 20):
        assert cost.at(n=n).macs == DOT * most(n)
        ran = int(solver(condition, jnp.eye(D), n)[0])  # the error halves: ten iterations at most
        assert cost.at(n=n).macs >= ran * DOT
    assert cost.at(n=3).macs == cm.analyze(lambda x: solver(condition, x, 3)[1], X).macs


def test_caps_alone_are_exact():
    cost = cm.analyze(lambda x, y: lax.while_loop(lambda s: (s[0] < 9) & (s[0] < y.shape[0]), lambda s: (s[0] + 1, s[1] @ s[1]),
                                                  (0, x))[1], X, cm.spec((cm.dims("n"),)))
    assert [cost.at(n=n).macs for n in (2, 9, 30)] == [2 * DOT, 9 * DOT, 9 * DOT]
    assert {e.status for e in cost.program if e.primitive == "dot_general"} == {"exact"}


def test_what_the_condition_computes_is_counted_once_more():
    """An error that the condition itself computes is work."""
    cost = cm.analyze(lambda x: lax.while_loop(lambda s: (s[0] < 20) & ((s[1] @ s[1]).sum() > 1.0),
                                               lambda s: (s[0] + 1, s[1] * 0.5), (0, x))[1], X)
    assert cost.macs == 21 * DOT


# -- triangles -----------------------------------------------------------------------------------------------------------------

# name: (program over x with sizes n and m, products of it)
TRIANGLES = {
    "to the counter": (lambda x, n, m: lax.fori_loop(0, n, lambda i, c: lax.fori_loop(0, i, square, c), x),
                       lambda n, m: sum(i for i in range(n))),
    "to the counter and one more": (lambda x, n, m: lax.fori_loop(0, n, lambda i, c: lax.fori_loop(0, i + 1, square, c), x),
                                    lambda n, m: sum(i + 1 for i in range(n))),
    "from the counter": (lambda x, n, m: lax.fori_loop(0, n, lambda i, c: lax.fori_loop(i, n, square, c), x),
                         lambda n, m: sum(n - i for i in range(n))),
    "after the counter": (lambda x, n, m: lax.fori_loop(0, n, lambda i, c: lax.fori_loop(i + 1, n, square, c), x),
                          lambda n, m: sum(n - i - 1 for i in range(n))),
    "shifted": (lambda x, n, m: lax.fori_loop(2, n + 3, lambda i, c: lax.fori_loop(1, i, square, c), x),
                lambda n, m: sum(i - 1 for i in range(2, n + 3))),
    "three deep": (lambda x, n, m: lax.fori_loop(0, n, lambda i, c: lax.fori_loop(
        0, i, lambda j, c: lax.fori_loop(0, j, square, c), c), x), lambda n, m: sum(j for i in range(n) for j in range(i))),
    "beside other work": (lambda x, n, m: lax.fori_loop(0, n, lambda i, c: lax.fori_loop(0, i, square, c) @ c, x),
                          lambda n, m: sum(i + 1 for i in range(n))),
    "a square inside": (lambda x, n, m: lax.fori_loop(0, n, lambda i, c: lax.fori_loop(0, i * i, square, c), x),
                        lambda n, m: sum(i * i for i in range(n))),
    "in a rectangle": (lambda x, n, m: lax.fori_loop(0, m, lambda _, c: lax.fori_loop(
        0, n, lambda i, c: lax.fori_loop(0, i, square, c), c), x), lambda n, m: m * sum(range(n))),
    "a rectangle inside": (lambda x, n, m: lax.fori_loop(0, n, lambda i, c: lax.fori_loop(
        0, i, lambda _, c: lax.fori_loop(0, m, square, c), c), x), lambda n, m: m * sum(range(n))),
    "counting down": (lambda x, n, m: lax.while_loop(lambda s: s[0] > 0, lambda s: (
        s[0] - 1, lax.fori_loop(0, s[0], square, s[1])), (jnp.int32(n), x))[1], lambda n, m: sum(range(1, n + 1))),
    "over a range": (lambda x, n, m: lax.scan(lambda c, i: (lax.fori_loop(0, i, square, c), None), x, jnp.arange(n))[0],
                     lambda n, m: sum(range(n))),
    "over a range, backwards": (lambda x, n, m: lax.scan(lambda c, i: (lax.fori_loop(0, i, square, c), None), x, jnp.arange(n),
                                                         reverse=True)[0], lambda n, m: sum(range(n))),
    "two triangles": (lambda x, n, m: lax.fori_loop(0, m, lambda i, c: lax.fori_loop(0, i, square, c), lax.fori_loop(
        0, n, lambda i, c: lax.fori_loop(0, i, square, c), x)), lambda n, m: sum(range(n)) + sum(range(m))),
}


@pytest.mark.parametrize("name", TRIANGLES)
def test_a_triangular_loop_is_summed_exactly(name):
    program, products = TRIANGLES[name]
    n, m = cm.dims("n m")
    cost = cm.analyze(lambda x, y: (program(x, *y.shape), y + 1.0)[0], X, cm.spec((n, m)))
    assert set(cost.symbols) <= {"n", "m"}
    assert {e.status for e in cost.program if e.primitive == "dot_general"} == {"exact"}
    for point in POINTS:
        assert cost.at(**{s: dict(zip("nm", point, strict=True))[s] for s in cost.symbols}).macs == DOT * products(*point)
        assert cm.analyze(lambda x, point=point: program(x, *point), X).macs == DOT * products(*point)


def test_a_triangle_runs_as_counted():
    """Ones are added by the innermost body: what comes out is how often it ran."""
    program, _ = TRIANGLES["to the counter"]
    for n in (1, 4, 9):
        ran = lax.fori_loop(0, n, lambda i, c: lax.fori_loop(0, i, lambda _, c: c + 1.0, c), 0.0)
        assert np.asarray(ran) == sum(range(n))
        assert cm.analyze(lambda x, n=n: program(x, n, 1), X).macs == DOT * int(ran)


def test_the_closed_form_of_a_triangle():
    n = cm.dims("n")
    cost = cm.analyze(lambda x, y: (TRIANGLES["to the counter"][0](x, y.shape[0], 1), y + 1.0)[0], X, cm.spec((n,)))
    assert cost.macs.expand() == DOT * (N**2 - N) / 2


def test_a_counter_means_nothing_after_its_loop():
    """How often the second loop runs is n, not a formula in the first one's iterations."""
    def program(x, y):
        i, c = lax.while_loop(lambda s: s[0] < y.shape[0], lambda s: (s[0] + 1, s[1] @ s[1]), (0, x))
        return lax.fori_loop(0, i, square, c)

    cost = cm.analyze(program, X, cm.spec((cm.dims("n"),)))
    assert cost.symbols == ("n", "trips_0")
    assert (cost.macs - DOT * (N + cm.symbols("trips_0"))).expand() == 0


def test_a_count_that_is_no_polynomial_of_the_counter_stays_a_symbol():
    cost = cm.analyze(lambda x, y: lax.fori_loop(0, y.shape[0], lambda i, c: lax.fori_loop(i, 5, square, c), x), X,
                      cm.spec((cm.dims("n"),)))
    assert (cost.macs - DOT * N * cm.symbols("trips_0")).expand() == 0
