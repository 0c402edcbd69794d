"""What one period decides of a function of one dimension is true of every integer, by counting them out."""

from __future__ import annotations

import random
from collections.abc import Callable

import jax
import pytest
from sympy import Add, Expr, Function, Integer, expand

from costmodel.symbolic.dimensions import dims
from costmodel.symbolic.forms import CeilDiv, FloorDiv, PeakMax, ceil_div, evaluate, floor_div, lower_bound, symbol
from costmodel.symbolic.periods import MAX_PERIOD, divide, least_value, line_and_division, merge_divisions, slope_and_period
from costmodel.symbolic.translate import internal

h, p, q, n = (symbol(name) for name in "hpqn")
POINTS = (*range(1, 40), 97, 224, 225, 1000, 12345, 10**9 + 7)
DIVISORS = tuple(range(1, 17))


def random_line(rng: random.Random, depth: int) -> tuple[Expr, Callable[[int], int]]:
    """A random sum of nested divisions of h, put together by no rule of ours but the divisions', and the function it stands for."""
    factor, constant = rng.choice((-3, -1, 1, 1, 2, 3)), rng.randint(-9, 9)
    if depth == 0:
        return factor * h + constant, lambda x: factor * x + constant
    (a, value_a), (b, value_b) = random_line(rng, depth - 1), random_line(rng, depth - 1)
    kind, divisor = rng.random(), rng.choice(DIVISORS)
    if kind < 0.25:
        return a + factor * b, lambda x: value_a(x) + factor * value_b(x)
    if kind < 0.5:
        return FloorDiv(a, divisor), lambda x: value_a(x) // divisor
    if kind < 0.75:
        return CeilDiv(a, divisor), lambda x: -(-value_a(x) // divisor)
    return PeakMax(a, a + constant + 1), lambda x: max(value_a(x), value_a(x) + constant + 1)


def test_a_slope_and_a_period_are_what_they_say():
    rng, found = random.Random(1), 0
    for _ in range(1000):
        expr, value = random_line(rng, rng.randint(1, 3))
        steady = slope_and_period(expand(expr))
        if steady is None:
            continue
        found += 1
        slope, period = steady
        for x in POINTS:
            assert value(x + period) - value(x) == slope * period, (expr, x)
    assert found > 750


def hermite(rng: random.Random) -> tuple[Expr, Callable[[int], int]]:
    """Some of the divisions ⌊(h + i) / d⌋ of which all d sum to h."""
    divisor = rng.choice(DIVISORS)
    shifts = rng.sample(range(divisor), rng.randint(1, divisor))
    return Add(*(FloorDiv(h + i, divisor) for i in shifts)), lambda x: sum((x + i) // divisor for i in shifts)


def test_all_the_divisions_of_a_number_sum_to_it():
    for divisor in DIVISORS:
        assert merge_divisions(Add(*(FloorDiv(h + i, divisor) for i in range(divisor)))) == h


def test_merging_and_dividing_never_change_a_value():
    rng, merged = random.Random(2), 0
    for i in range(1200):
        expr, value = hermite(rng) if i % 3 else random_line(rng, rng.randint(1, 3))
        expr, divisor = expand(expr), rng.choice(DIVISORS)
        shorter, divided = merge_divisions(expr), divide(expr, Integer(divisor))
        merged += shorter != expr
        for x in (*range(1, 20), rng.randint(20, 10**6)):
            assert evaluate(shorter, {h: x}) == value(x), (expr, shorter, x)
            assert evaluate(divided, {h: x}) == value(x) // divisor, (expr, divided, x)
    assert merged > 100


def test_merging_factors_never_changes_a_product():
    rng, merged = random.Random(3), 0
    for _ in range(400):
        (a, value_a), (b, value_b) = hermite(rng), random_line(rng, 1)
        product = expand(n * a.xreplace({h: p}) * b.xreplace({h: q}))
        shorter = merge_divisions(product)
        merged += shorter != product
        for _ in range(10):
            at = {n: rng.randint(1, 4), p: rng.randint(1, 60), q: rng.randint(1, 60)}
            assert evaluate(shorter, at) == at[n] * value_a(at[p]) * value_b(at[q]), (product, shorter, at)
    assert merged > 20
    halves = (p - FloorDiv(p, 2)) * (q - FloorDiv(q, 2))
    assert merge_divisions(expand(n * halves)) == n * CeilDiv(p, 2) * CeilDiv(q, 2)


@pytest.mark.parametrize("divisor", DIVISORS)
def test_a_ceiling_reads_the_same_however_it_is_written(divisor):
    """And means Python's: -(-h // d)."""
    b = Integer(divisor)
    spellings = [FloorDiv(h + b - 1, b), FloorDiv(h - 1, b) + 1, -FloorDiv(-h, b), h - FloorDiv((b - 1) * h, b), ceil_div(h, b),
                 divide(h + b - 1, b), PeakMax(0, -FloorDiv(-h, b)), PeakMax(1, h - FloorDiv((b - 1) * h, b)),
                 FloorDiv(2 * h + 2 * b - 1, 2 * b), divide(h + PeakMax(0, b * CeilDiv(h, b) - h - 1), b)]
    spellings = [merge_divisions(spelling) for spelling in spellings]
    *first, last = spellings
    assert set(first) == {CeilDiv(h, b)}
    for x in POINTS:
        assert evaluate(first[0], {h: x}) == -(-x // divisor)
        assert evaluate(last, {h: x}) == (x + max(0, -(-x // divisor) * divisor - x - 1)) // divisor


@pytest.mark.parametrize("divisor", DIVISORS)
def test_every_division_of_a_line_is_one_expression(divisor):
    """⌊(m·x + c) / d⌋ taken apart at random and put together again."""
    rng = random.Random(divisor)
    for _ in range(60):
        m, c, k = rng.randint(-2 * divisor, 2 * divisor), rng.randint(-30, 30), rng.randint(-3, 3)
        plain = floor_div(m * h + c, Integer(divisor))
        apart = floor_div((m + k * divisor) * h + c - k * divisor, Integer(divisor)) - k * h + k
        ceiling = -CeilDiv(-m * h - c, divisor)
        assert len({merge_divisions(spelling) for spelling in (plain, apart, ceiling)}) == 1
        assert all(evaluate(plain, {h: x}) == (m * x + c) // divisor for x in POINTS)


def test_what_is_a_line_and_one_division_is_found_whatever_it_is_made_of():
    rng, found = random.Random(4), 0
    for _ in range(1500):
        expr, value = random_line(rng, rng.randint(1, 2))
        written = line_and_division(expand(expr))
        if written is None:
            continue
        found += 1
        assert len(written.atoms(Function)) <= 1 and len(Add.make_args(written)) <= 3
        assert all(evaluate(written, {h: x}) == value(x) for x in POINTS), (expr, written)
        assert merge_divisions(written) == written
    assert found > 700


def test_a_least_value_is_attained_and_never_passed():
    rng, compared = random.Random(5), 0
    for _ in range(600):
        expr, value = random_line(rng, rng.randint(1, 3))
        first = rng.randint(1, 9)
        least = least_value(expand(expr), h, first)
        if least is None:
            continue
        assert least == min(value(x) for x in range(first, first + 2 * MAX_PERIOD)), (expr, first)
        compared += 1
    assert compared > 200


def test_bounds_add_up_over_dimensions():
    assert lower_bound(p - 2 * FloorDiv(p, 2) + q - FloorDiv(2 * q, 3)) == 1  # 0 at an even p, 1 at q = 1 and 2
    assert lower_bound(p - FloorDiv(p, 2) - q) < 0


def halved(x):
    return -(-x // 2)


@pytest.mark.parametrize("write, read", [
    (lambda x: 3 * x // 4, "FloorDiv(3*h, 4)"),
    (lambda x: -(-x // 4), "CeilDiv(h, 4)"),
    (lambda x: (x - 1) // 4 + 1, "CeilDiv(h, 4)"),
    (lambda x: (x + 3) // 4, "CeilDiv(h, 4)"),
    (lambda x: x - 3 * x // 4, "CeilDiv(h, 4)"),
    (lambda x: x - x // 2, "CeilDiv(h, 2)"),
    (lambda x: jax.core.max_dim(0, -(-x // 4)), "CeilDiv(h, 4)"),
    (lambda x: jax.core.max_dim(x - 3 * x // 4, 0), "CeilDiv(h, 4)"),
    (lambda x: jax.core.min_dim(x // 2, x), "FloorDiv(h, 2)"),
    (lambda x: jax.core.max_dim(0, x - 2), "PeakMax(0, h - 2)"),
    (lambda x: halved(halved(halved(x))), "CeilDiv(h, 8)"),
    (lambda x: (x + jax.core.max_dim(4 * (-(-x // 4)) - x - 1, 0) - 3) // 4 + 1, "CeilDiv(h, 4)"),  # a 3x3 kernel, stride 4, SAME
    (lambda x: x % 4, "h - 4*FloorDiv(h, 4)"),
    (lambda x: -(-x // 4) * 4 - x, "-h + 4*CeilDiv(h, 4)"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_dimension_of_jax_reads_as_one_division(write, read):
    assert str(internal(write(dims("h")))) == read


def test_a_bound_of_the_domain_decides_a_maximum():
    free, bounded = dims("h"), dims("h", min=7)
    windows = [jax.core.max_dim(0, (x - 7) // 2 + 1) for x in (free, bounded)]
    assert internal(windows[0]) == PeakMax(0, CeilDiv(h, 2) - 3)
    assert not internal(windows[1]).has(PeakMax)
    assert evaluate(internal(windows[1]), {symbol(next(iter(internal(bounded).free_symbols)).name): 10}) == 2
    k = dims("h k", where="h >= k")
    assert not internal(jax.core.max_dim(0, k[0] - k[1])).has(PeakMax)


def test_what_needs_a_long_period_stays_as_it_is_written():
    long = FloorDiv(h, MAX_PERIOD + 1)
    assert slope_and_period(long) is None and merge_divisions(h - long) == h - long
    assert least_value(h - long, h, 1) is None
