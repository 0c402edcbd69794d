"""What a sweep takes beside numpy written by hand, in one run.

    python -m pytest -s -m benchmark tests/benchmarks/test_sweep_speed.py
"""

from __future__ import annotations

import ctypes
import resource
import time
from collections.abc import Callable

import numpy as np
import pytest
from conftest import ENTRIES
from sympy import Poly

from costmodel.pricing.grid.job import prepare
from costmodel.pricing.sweep import arrays
from costmodel.symbolic.forms import symbol

METRICS = ("macs", "bytes:xla-gpu", "live_peak")
DEVICES = ("h100-sxm", "tpu-v5e", "a100-sxm-80gb")
MORE = 1.2  # times what is written by hand
SECONDS = 2e-3
SMALL_SECONDS = 1e-3
DEVICE_SECONDS = 3.0


@pytest.fixture(autouse=True)
def memory_stays():
    """The C library keeps memory that was freed: else whoever asks for it first after the other pays for its pages."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(mmap_threshold, 32 * 2**20)
        libc.mallopt(trim_threshold, 2**30)


def least(*calls: Callable[[], object], repetitions: int = 9) -> list[float]:
    """Seconds of a processor of each, the calls in turn, so that what else the machine does meets all."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repetitions):
        for each, call in zip(times, calls, strict=True):
            start = time.process_time()
            made = call()
            each.append(time.process_time() - start)
            del made
    return [min(each) for each in times]


def coefficients(cost) -> list[tuple[int, int, int]]:
    """(of n·h·w, of n, of 1) of each metric; each is such a polynomial in the user's symbols."""
    found = []
    for name, options in (("macs", {}), ("bytes", {"form": "xla-gpu"}), ("live_peak", {})):
        poly = Poly(cost.metric(name, **options), symbol("n"), symbol("h"), symbol("w"))
        found.append(tuple(int(poly.coeff_monomial(m)) for m in ((1, 1, 1), (1, 0, 0), (0, 0, 0))))
        assert len(poly.monoms()) <= 3
    return found


@pytest.mark.benchmark
def test_resnet50_beside_numpy_by_hand():
    """n and h = w. By hand: the polynomial in h once a resolution, then a product (and a sum) a point. Neither is compared with
    concrete traces, which at n = 1 are another program."""
    cost = ENTRIES["resnet50"].analyze(verify=False)
    of_metrics = coefficients(cost)
    for side in (32, 316, 1000, 3162):
        grid = {"n": range(1, side + 1), "h": range(32, 32*side + 1, 32), "w": "h"}

        def by_hand(side: int = side) -> list[np.ndarray]:
            n = np.arange(1, side + 1)[:, np.newaxis]
            area = np.arange(32, 32*side + 1, 32)**2
            return [n*(a*area + b) + c if b and c else n*(a*area + b) if b else n*(a*area) + c for a, b, c in of_metrics]

        def ours(grid: dict = grid) -> object:
            return cost.sweep(**grid, metrics=METRICS)

        data = ours()
        for name, values in zip(("macs", "bytes_xla-gpu", "live_peak"), by_hand(), strict=True):
            assert np.array_equal(data[name].values, values)
        del data
        seconds, hand = least(ours, by_hand, repetitions=7 if side > 2000 else 40)
        print(f"\n{side*side:>10,} points: {1e3*seconds:8.2f} ms, by hand {1e3*hand:8.2f} ms, {seconds/hand:.2f}×")
        if side == 32:  # what xarray takes to make a Dataset of them, 0.5 to 1.5 ms whatever their size, is not ours
            computed, = least(lambda: arrays(prepare(cost, grid, METRICS, [], [], None)), repetitions=50)  # noqa: B023
            print(f"{'':>18} {1e3*computed:8.2f} ms without the Dataset")
            assert computed <= SMALL_SECONDS
        else:
            assert seconds <= MORE*hand + SECONDS


@pytest.mark.benchmark
def test_three_devices_at_a_million_points():
    cost = ENTRIES["resnet50"].analyze(verify=False)
    grid = {"n": range(1, 1001), "h": range(32, 32001, 32), "w": "h"}
    cost.sweep(n=[1, 2], h=[32, 64], w="h", hardware=DEVICES, metrics=())  # plans the formulas
    start = time.process_time()
    data = cost.sweep(**grid, hardware=DEVICES, metrics=())
    seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\n3 devices × 1,000,000 points: {seconds:.2f} CPU s, at most {memory:.2f} GB")
    assert data.time_lower.shape == (3, 1000, 1000) and seconds <= DEVICE_SECONDS and memory <= 1.0
