"""Closed tap counts equal the pairs counted one by one."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sympy import Integer

from costmodel.symbolic.array_forms import tap_count_jax, tap_count_numpy
from costmodel.symbolic.forms import Assumptions, CeilDiv, evaluate, symbol
from costmodel.symbolic.taps import TapCount, count_pairs, output_size, pairs_beyond, tap_pairs

h, k, p = symbol("h"), symbol("k"), symbol("p")


def brute_force(size, taps, stride, dilation, hole, low, high, valid) -> int:
    length = (size - 1) * hole + 1
    outputs = (length + low + high - (taps - 1) * dilation - 1) // stride + 1
    pairs = 0
    for output in range(outputs):
        for tap in range(taps):
            position = output * stride + tap * dilation - low
            pairs += position % hole == 0 and (not valid or 0 <= position < length)
    return pairs


def random_window(rng: random.Random) -> dict[str, int]:
    return {"stride": rng.randint(1, 4), "dilation": rng.randint(1, 3), "hole": rng.choice((1, 1, 2, 3)),
            "low": rng.randint(-2, 5), "high": rng.randint(-2, 5)}


def test_the_count_itself():
    rng = random.Random(1)
    for _ in range(3000):
        window, size, taps = random_window(rng), rng.randint(1, 20), rng.randint(1, 7)
        for valid in (0, 1):
            args = (size, taps, *window.values(), valid)
            assert count_pairs(*args) == brute_force(*args), args


def test_a_symbolic_size():
    rng, closed = random.Random(2), 0
    for _ in range(700):
        window, taps, least = random_window(rng), rng.randint(1, 7), rng.choice((1, 8, 32))
        pairs = tap_pairs(h, taps, **window, assumptions=Assumptions((("h", least),)))
        closed += not any(form.has(TapCount) for form in pairs)
        for size in (least, least + 1, least + rng.randint(2, 9)):
            for valid, form in enumerate(pairs):
                assert evaluate(form, {h: size}) == brute_force(size, taps, *window.values(), valid), (form, size, taps, window)
    assert closed > 300  # most windows do have a closed form


def test_a_symbolic_kernel():
    rng = random.Random(3)
    for _ in range(400):
        window, size = random_window(rng), rng.randint(8, 20)
        pairs = tap_pairs(size, k, **window, assumptions=Assumptions((("k", 2),)))
        for taps in (2, 3, rng.randint(4, 8)):
            for valid, form in enumerate(pairs):
                assert evaluate(form, {k: taps}) == brute_force(size, taps, *window.values(), valid), (form, size, taps, window)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_both_symbolic(stride):
    rng = random.Random(4)
    for _ in range(150):
        window = random_window(rng) | {"stride": stride}
        pairs = tap_pairs(h, k, **window, assumptions=Assumptions((("h", 12), ("k", 5)), (h - k,)))
        for size, taps in ((12, 5), (14, 6), (20, 7), (12, 12)):
            for valid, form in enumerate(pairs):
                counted = brute_force(size, taps, *window.values(), valid)
                assert evaluate(form, {h: size, k: taps}) == counted, (form, size, taps, window)


def test_symbolic_padding():
    """A padding p < k, by the textbook's formula and by every pair."""
    dense, valid = tap_pairs(h, k, low=p, high=p, assumptions=Assumptions(nonnegative=(h - k, k - p)))
    for size in range(3, 9):
        for taps in range(1, size + 1):
            for padding in range(1, taps + 1):
                at = {h: size, k: taps, p: padding}
                expected = [brute_force(size, taps, 1, 1, 1, padding, padding, v) for v in (0, 1)]
                assert [evaluate(dense, at), evaluate(valid, at)] == expected


def test_many_taps_and_few_outputs():
    """The gradient of a kernel: as many taps as the image is wide."""
    rng = random.Random(5)
    for _ in range(200):
        stride, low, high = rng.randint(1, 3), rng.randint(0, 2), rng.randint(0, 2)
        # the image slides over its output's gradient, `stride` apart, and gives a 3x3 kernel's
        window = {"stride": 1, "dilation": stride, "hole": 1, "low": low, "high": high}
        size = stride * (h - 1) + 3 - low - high
        pairs = tap_pairs(size, h, **window, assumptions=Assumptions((("h", 8),)))
        assert not any(form.has(TapCount) for form in pairs)
        for taps in (8, 9, 13):
            for valid, form in enumerate(pairs):
                counted = brute_force(evaluate(size, {h: taps}), taps, *window.values(), valid)
                assert evaluate(form, {h: taps}) == counted, (form, taps, window)


def test_closed_forms_read_as_in_a_textbook():
    assert tap_pairs(h, 3, low=1, high=1) == (3 * h, 3 * h - 2)
    assert tap_pairs(h, 1) == (h, h)
    assert tap_pairs(h, k, assumptions=Assumptions(nonnegative=(h - k,)))[0] == k * (h - k + 1)
    assert tap_pairs(h, 3, stride=2, low=1, high=1)[0] == 3 * CeilDiv(h, 2)
    assert output_size(h, 7, 2, low=3, high=3) == CeilDiv(h, 2)


def test_a_count_off_by_one_tap_is_caught():
    """The comparison above tells dense and valid apart, and holes from none."""
    window = {"stride": 2, "dilation": 1, "hole": 1, "low": 1, "high": 1}
    dense, valid = (brute_force(9, 3, *window.values(), v) for v in (0, 1))
    assert dense == 15 and valid == 13
    assert brute_force(9, 3, 1, 1, 2, 1, 1, 0) != brute_force(9, 3, 1, 1, 1, 1, 1, 0)


def test_a_window_larger_than_its_input_has_no_outputs():
    assert count_pairs(3, 5, 1, 1, 1, 0, 0, 0) == 0
    dense, valid = tap_pairs(h, 5)
    assert evaluate(dense, {h: 3}) == evaluate(valid, {h: 3}) == 0


@pytest.mark.parametrize("count", [tap_count_numpy, tap_count_jax])
def test_counts_on_arrays_equal_the_count_at_each_point(count):
    rng = random.Random(6)
    for _ in range(12):
        windows = [random_window(rng) for _ in range(40)]
        points = [(rng.randint(-1, 20), rng.randint(1, 7), *window.values(), rng.randint(0, 1)) for window in windows]
        counted = count(*np.array(points, dtype=np.int32).T)
        assert counted.tolist() == [count_pairs(*point) for point in points]


def test_counts_broadcast():
    sizes, taps = np.arange(1, 9)[:, None], np.arange(1, 4)
    counted = tap_count_numpy(sizes, taps, 2, 1, 1, 1, 1, 1)
    assert counted.shape == (8, 3)
    assert counted[6, 2] == count_pairs(7, 3, 2, 1, 1, 1, 1, 1)


def test_pairs_beyond_are_those_at_multiples():
    """One by one: an element and a tap meet where the distance of their positions is a multiple of that of what is padded."""
    rng = random.Random(7)
    n = symbol("n")
    for _ in range(60):
        hole, dilation, unit, taps = rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 4), rng.randint(1, 5)
        low = rng.randint(-3, 6)
        form = pairs_beyond(n, *map(Integer, (hole, taps, dilation, unit, low)))
        for size in (1, 2, 5, 12):
            meetings = sum((i * hole - t * dilation + low) % unit == 0 for i in range(size) for t in range(taps))
            assert evaluate(form, {n: size}) == meetings, (hole, dilation, unit, low, taps, size)
            assert pairs_beyond(*map(Integer, (size, hole, taps, dilation, unit, low))) == meetings
