"""The integer forms mean what Python's ``//`` means, however they are rewritten."""

from __future__ import annotations

import math
import random

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from random_forms import SYMBOLS, random_form, random_point
from sympy import Integer

from costmodel.symbolic.forms import (
    Assumptions,
    CeilDiv,
    FloorDiv,
    PeakMax,
    evaluate,
    lower_bound,
    minimum,
    surely_nonnegative,
    symbol,
)

h, s, w, c_i = SYMBOLS
n, k = symbol("n"), symbol("k")
exactly = settings(deadline=None, derandomize=True, max_examples=300)
randoms = st.randoms(use_true_random=False)


def test_a_hundred_thousand_values_equal_pythons_floor_division():
    rng, compared = random.Random(1), 0
    for _ in range(5000):
        expr, value = random_form(rng, rng.randint(1, 4))
        for _ in range(20):
            at = random_point(rng)
            assert evaluate(expr, at) == value(at), (expr, at)
            compared += 1
    assert compared >= 100_000


def disagreements(divide) -> int:
    """How often a division differs from the value of FloorDiv, over random dividends of every size."""
    rng, wrong = random.Random(2), 0
    a, b = symbol("a"), symbol("b")
    form = FloorDiv(a, b)
    for _ in range(3000):
        x, y = rng.randint(0, 10 ** rng.randint(1, 20)), rng.randint(1, 10 ** rng.randint(1, 5))
        wrong += evaluate(form, {a: x, b: y}) != divide(x, y)
    return wrong


def test_the_comparison_catches_a_floor_in_floating_point():
    assert disagreements(lambda x, y: x // y) == 0
    assert disagreements(lambda x, y: math.floor(x / y)) > 100
    assert disagreements(lambda x, y: math.floor(x * (1 / y))) > 100


def test_sympys_own_floor_is_wrong_once_lambdified():
    """The reason why these forms exist: should this ever fail, sympy has become exact."""
    x = sympy.Symbol("x", integer=True)
    lambdified = sympy.lambdify(x, sympy.floor((x - 1) / 3) + 1, "numpy")
    ours = FloorDiv(h - 1, 3) + 1
    assert any(int(lambdified(i)) != evaluate(ours, {h: i}) for i in range(1, 1000))


@pytest.mark.parametrize("expr, canonical", [
    (FloorDiv(FloorDiv(h, 2), 3), "FloorDiv(h, 6)"),
    (FloorDiv(FloorDiv(h - 1, 2), 2) + 1, "CeilDiv(h, 4)"),
    (FloorDiv(FloorDiv(FloorDiv(h + 3, 2) + 1, 2) + 1, 2), "FloorDiv(h + 1, 8) + 1"),
    (FloorDiv(FloorDiv(h, s), 3), "FloorDiv(h, 3*s)"),
    (FloorDiv(h + 31, 32), "CeilDiv(h, 32)"),
    (FloorDiv(h - 1, 32) + 1, "CeilDiv(h, 32)"),
    (CeilDiv(h, 32), "CeilDiv(h, 32)"),
    (CeilDiv(CeilDiv(h, 4), 8), "CeilDiv(h, 32)"),
    (FloorDiv(h - 1, s) + 1, "CeilDiv(h, s)"),
    (FloorDiv(32 * h, 32), "h"),
    (CeilDiv(32 * h, 16), "2*h"),
    (FloorDiv(6 * h + 5, 2), "3*h + 2"),
    (FloorDiv(6 * h + 5, 4), "h + FloorDiv(h, 2) + 1"),
    (FloorDiv(4 * h * s + w, 2 * s), "2*h + FloorDiv(w, 2*s)"),
    (FloorDiv(h * s, s), "h"),
    (FloorDiv(h, 1), "h"),
    (FloorDiv(7, 2), "3"),
    (FloorDiv(-7, 2), "-4"),
    (CeilDiv(7, 2), "4"),
    (FloorDiv(-1, s), "-1"),
    (FloorDiv(h + 2, -2), "-CeilDiv(h, 2) - 1"),
    (FloorDiv(2 * (h + w), h + w), "2"),
], ids=str)
def test_canonical_forms(expr, canonical):
    assert str(expr) == canonical


def test_the_halvings_of_an_image_are_one_division():
    size = h
    for _ in range(5):
        size = FloorDiv(size - 1, 2) + 1  # a 3x3 convolution of stride 2, padded by 1
    assert size == CeilDiv(h, 32)


@exactly
@given(st.integers(-10**30, 10**30), st.integers(1, 10**20))
def test_numbers_of_any_size_are_exact(a, b):
    assert FloorDiv(a, b) == a // b
    assert CeilDiv(a, b) == -(-a // b)


@exactly
@given(randoms)
def test_a_form_is_a_fixed_point_of_its_constructor(rng):
    expr, _ = random_form(rng, 3)
    for form in expr.atoms(FloorDiv, CeilDiv):
        assert form.func(*form.args) == form


def test_division_by_zero_raises():
    with pytest.raises(ZeroDivisionError):
        FloorDiv(h, 0)


@exactly
@given(randoms)
def test_dropping_dominated_arguments_never_changes_a_maximum(rng):
    pairs = [random_form(rng, 2) for _ in range(rng.randint(2, 5))]
    at = random_point(rng)
    values = [value(at) for _, value in pairs]
    assert evaluate(PeakMax(*(expr for expr, _ in pairs)), at) == max(values)
    assert evaluate(minimum(*(expr for expr, _ in pairs)), at) == min(values)


@exactly
@given(randoms)
def test_multiples_of_what_is_below_zero_are_compared_as_such(rng):
    """-2·m·f + 2·f - 1 is above 0 where f, as ⌊max(-3, -n) / 2⌋, is below: taking f out of m·f leaves less, not more."""
    bound, divisor = rng.randint(1, 9), rng.choice((1, 2, 3))
    below = FloorDiv(PeakMax(-bound, -SYMBOLS[1]), divisor)
    factors = [rng.choice((-2, -1, 1, 2)) for _ in range(3)]
    wide = factors[0] * SYMBOLS[0] * below + factors[1] * below + factors[2]
    at = random_point(rng)
    f = max(-bound, -at[SYMBOLS[1]]) // divisor
    exact = factors[0] * at[SYMBOLS[0]] * f + factors[1] * f + factors[2]
    assert evaluate(PeakMax(0, wide), at) == max(0, exact)
    assert evaluate(PeakMax(below, wide), at) == max(f, exact)


def test_dominated_arguments_are_dropped_and_others_are_not():
    assert PeakMax(3 * n * h, 2 * n * h, n, 3) == 3 * n * h
    assert PeakMax(n * h, 2 * n) == PeakMax(2 * n, n * h) and len(PeakMax(n * h, 2 * n).args) == 2
    assert PeakMax(PeakMax(n**2, h), h, n) == PeakMax(n**2, h)
    assert PeakMax(CeilDiv(h, 2), -1) == CeilDiv(h, 2)
    assert PeakMax(h - 3, 0) != h - 3  # negative at h = 1
    assert set(PeakMax(n**2, h).args) == {n**2, h} and evaluate(PeakMax(n**2, h), {n: 2, h: 5}) == max(2**2, 5)


@exactly
@given(randoms)
def test_a_lower_bound_is_one(rng):
    expr, value = random_form(rng, 3)
    least = {v.name: rng.randint(1, 9) for v in SYMBOLS}
    bound = lower_bound(expr, Assumptions(tuple(sorted(least.items()))))
    for _ in range(10):
        at = {v: least[v.name] + rng.choice((0, 0, 1, rng.randint(0, 99))) for v in SYMBOLS}
        assert value(at) >= bound, (expr, at)


def test_lower_bounds_are_found_and_are_tight_where_a_polynomial_grows():
    rng, found, tight = random.Random(3), 0, 0
    for _ in range(500):
        expr, value = random_form(rng, 2)
        bound = lower_bound(expr)
        found += bound > float("-inf")
        tight += bound == value(dict.fromkeys(SYMBOLS, 1))
    assert found > 150 and tight > 100  # so raising bounds by one would fail the test above


@exactly
@given(randoms)
def test_a_lower_bound_of_quotients_is_one(rng):
    """Shares of a device: sums of terms over products of axes."""
    expr = Integer(0)
    for _ in range(4):
        expr += rng.randint(-4, 6) * n**rng.randint(0, 2) * h**rng.randint(-1, 1) * k**rng.randint(-2, 1)
    least = {v.name: rng.randint(1, 4) for v in (n, h, k)}
    bound = lower_bound(expr, Assumptions(tuple(sorted(least.items()))))
    for _ in range(10):
        at = {v: least[v.name] + rng.choice((0, 0, 1, 5, rng.randint(0, 99))) for v in (n, h, k)}
        assert expr.xreplace(at) >= bound, (expr, at)


def test_what_is_divided_is_least_taken_away_where_the_divisor_is_least():
    assert lower_bound(1 - 1 / k) == 0 and lower_bound(n * h - n * h / k) == 0
    assert lower_bound(3 - 4 / k, Assumptions(lower=(("k", 2),))) == 1
    assert lower_bound(n / k - n * h / k) == float("-inf")  # n·(1 - h)/k
    assert lower_bound(h / k - 2 / k - h) == float("-inf")  # what is added is not most there
    assert lower_bound(2 * n * h / k - n / k + 5) == 5  # over the same divisor nothing is below zero


def test_assumptions_decide_what_positivity_does_not():
    assert not surely_nonnegative(h - 3)
    assert surely_nonnegative(h - 3, Assumptions(lower=(("h", 3),)))
    assert lower_bound(h - k + 1, Assumptions(nonnegative=(h - k,))) == 1
    assert lower_bound(FloorDiv(h - 7, 2), Assumptions(lower=(("h", 7),))) == 0


def test_evaluation_names_what_it_lacks():
    with pytest.raises(KeyError) as caught:
        evaluate(n * h, {n: 2})
    assert caught.value.args == (h,)
    with pytest.raises(TypeError, match="sin"):
        evaluate(sympy.sin(h), {h: 1})


def test_evaluation_is_exact_where_floats_are_not():
    assert evaluate(h * w + 1, {h: 2**60, w: 2**60}) == 2**120 + 1
    assert evaluate(h / 3, {h: 2}) * 3 == 2
    assert evaluate(Integer(7) / h, {h: 2}) * 2 == 7


def test_a_symbol_of_one_name_is_one_symbol():
    assert symbol("h") is symbol("h") and symbol("h").is_positive and symbol("h").is_integer


def test_a_quotient_of_what_devices_share_is_whole_only_where_it_must_be():
    """n/data is whole, since data divides n; n/data//n is 0 on two devices, not 1/data."""
    n, d, data = (symbol(name) for name in ("n", "d", "data"))
    for a, b, known in ((4 * n * d / data, 4 * n * d, None), (n / data, n, None), (2 * n * d / data + 3 * n, n, None),
                        (8 * n / data, 8, n / data), (n / data, n / data, 1), (n, n / data, data), (3 * n * d, n, 3 * d)):
        form = FloorDiv(a, b)
        assert known is None or form == known
        for point in ({n: 12, d: 5, data: 1}, {n: 12, d: 5, data: 3}):
            assert evaluate(form, point) == sympy.sympify(a).subs(point) // sympy.sympify(b).subs(point)
