"""Sums of floors equal the floors summed one by one, and need no walk over them."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.symbolic.array_forms import JAVASCRIPT_PRELUDE, tap_count_jax, tap_count_numpy
from costmodel.symbolic.floor_sums import aligned_pairs, floor_sum
from costmodel.symbolic.taps import count_pairs

exactly = settings(deadline=None, derandomize=True, max_examples=600)
some = st.integers(1, 9)
any_integer = st.integers(-40, 40)


@exactly
@given(st.integers(-2, 60), st.integers(1, 30), any_integer, any_integer)
def test_a_sum_of_floors_is_the_floors_summed(count, divisor, slope, start):
    assert floor_sum(count, divisor, slope, start) == sum((slope * i + start) // divisor for i in range(count))


@exactly
@given(st.integers(-1, 14), st.integers(-1, 14), some, some, some, any_integer, st.none() | st.integers(0, 40))
def test_aligned_pairs_are_the_pairs_found_one_by_one(outputs, taps, stride, dilation, hole, low, end):
    positions = [o * stride + t * dilation - low for o in range(outputs) for t in range(taps)]
    found = sum(p % hole == 0 and (end is None or 0 <= p <= end) for p in positions)
    assert aligned_pairs(outputs, taps, stride, dilation, hole, low, end) == found


@exactly
@given(st.integers(-2, 14), st.integers(-1, 9), some, some, st.integers(1, 12), any_integer, any_integer, st.integers(0, 1))
def test_a_count_of_taps_is_the_pairs_found_one_by_one(size, taps, stride, dilation, hole, low, high, valid):
    length = (size - 1) * hole + 1 if size > 0 else 0
    outputs = (length + low + high - (taps - 1) * dilation - 1) // stride + 1
    positions = [o * stride + t * dilation - low for o in range(outputs) for t in range(taps)]
    found = sum(p % hole == 0 and (not valid or 0 <= p < length) for p in positions)
    assert count_pairs(size, taps, stride, dilation, hole, low, high, valid) == found


@pytest.mark.parametrize("hole", [1, 10**9 - 1, 10**9])
def test_a_thousand_million_taps_are_not_walked(hole):
    started = time.perf_counter()
    for valid in (0, 1):
        assert count_pairs(10**12, 10**9, 3, 7, hole, 10**5, -5, valid) > 0
    assert time.perf_counter() - started < 0.1


def test_what_is_at_most_a_stride_of_zero_has_no_count():
    for place in (2, 3, 4):
        args = [9, 3, 1, 1, 1, 0, 0, 0]
        args[place] = 0
        with pytest.raises(ZeroDivisionError, match="at least 1"):
            count_pairs(*args)


@pytest.mark.parametrize("count", [tap_count_numpy, jax.jit(tap_count_jax)])
@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.tuples(st.integers(-2, 14), st.integers(-1, 9), some, some, st.integers(1, 12), any_integer, any_integer,
                          st.integers(0, 1)), min_size=8, max_size=8))
def test_arrays_count_as_integers_do(count, points):
    assert count(*np.array(points, np.int32).T).tolist() == [count_pairs(*point) for point in points]


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_a_thousand_million_taps_are_not_walked_on_arrays_either(dtype):
    sizes = np.array([10**9, 2 * 10**9], dtype)
    started = time.perf_counter()
    for hole in (1, 10, 10**6):
        counted = tap_count_numpy(sizes, 10**9, 3, 1, hole, 50, 50, 1)
        assert counted.tolist() == pytest.approx([count_pairs(int(size), 10**9, 3, 1, hole, 50, 50, 1) for size in sizes], rel=1e-9)
    assert time.perf_counter() - started < 0.5


def test_what_has_no_count_in_an_array_does_not_hang():
    for bad in (0, -1, np.nan):
        tap_count_numpy(9.0, 3.0, bad, 1.0, bad, 1.0, 1.0, 1.0)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run JavaScript")
def test_javascript_counts_as_integers_do():
    draw = random.Random(1)
    points = [(draw.randint(-2, 14), draw.randint(-1, 9), draw.randint(1, 9), draw.randint(1, 9), draw.randint(1, 12),
               draw.randint(-40, 40), draw.randint(-40, 40), draw.randint(0, 1)) for _ in range(4000)]
    points.append((10**7, 10**7, 3, 1, 2, 5, 5, 1))
    program = f"{JAVASCRIPT_PRELUDE}\nconsole.log(JSON.stringify({json.dumps(points)}.map(point => tapCount(...point))));"
    ran = subprocess.run(["node", "-"], input=program, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(ran.stdout) == [count_pairs(*point) for point in points]
