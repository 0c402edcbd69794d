"""How long a roofline takes once a network is derived and its formulas are compiled.

    python -m pytest -s -m benchmark tests/benchmarks/test_roofline_speed.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest

from costmodel.errors import CostModelError
from costmodel.hardware import available, load
from costmodel.pricing.sweep import curves

REPETITIONS = 20
MAX_POINT_SECONDS = 5e-3
MAX_DEVICES_SECONDS = 1.0
POINTS = 100
MAX_PRINTED = 3


def median(call: Callable[[], object]) -> float:
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@pytest.mark.benchmark
@pytest.mark.parametrize("policy", ["layer", "xla-gpu", "unfused"])
def test_a_point_of_resnet50(cost_of, policy):
    """Every kernel's row, and their sum, at one point; a new point each time."""
    cost, device, batches = cost_of("resnet50"), load("h100-sxm"), iter(range(2, 1000))
    start = time.perf_counter()
    rows = len(cost.roofline(device, n=2, h=224, w=224, policy=policy).rows)
    first = time.perf_counter() - start
    seconds = median(lambda: cost.roofline(device, n=next(batches), h=224, w=224, policy=policy).lower)
    print(f"\nResNet-50, {policy}: {rows} kernels at a point in {1e3 * seconds:.2f} ms; the first time {1e3 * first:.0f} ms")
    assert seconds <= MAX_POINT_SECONDS


@pytest.mark.benchmark
def test_all_devices_over_many_points(cost_of):
    """Time bounds, throughput and bound of ResNet-50 on every device that has the peaks it needs, at 100 batches."""
    cost = cost_of("resnet50")
    devices = []
    for device in map(load, available()):
        try:
            cost.roofline(device, n=2, h=224, w=224)
        except CostModelError:
            continue
        devices.append(device)
    grid = {"n": range(1, POINTS + 1), "h": 224, "w": 224}
    seconds = median(lambda: curves(cost, grid, devices))
    print(f"\nResNet-50 on {len(devices)} of {len(available())} devices at {POINTS} points in {1e3 * seconds:.0f} ms")
    assert len(devices) > 5 and seconds <= MAX_DEVICES_SECONDS


@pytest.mark.benchmark
def test_printing_a_roofline(cost_of):
    """Beside computing it, at a new point each time."""
    cost, device, batches = cost_of("resnet50"), load("h100-sxm"), iter(range(2, 1000))
    computed, printed = [], []
    for _ in range(3*REPETITIONS):
        start = time.process_time()
        roofline = cost.roofline(device, n=next(batches), h=224, w=224)
        middle = time.process_time()
        roofline.text(200)
        computed.append(middle - start)
        printed.append(time.process_time() - middle)
    print(f"\nResNet-50, {len(roofline.rows)} kernels: computed in {1e3*min(computed):.2f} ms, printed in "
          f"{1e3*min(printed):.2f} ms, {min(printed)/min(computed):.1f}×")
    assert min(printed) <= MAX_PRINTED*min(computed)
