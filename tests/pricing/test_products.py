"""Products are predicted by their shape where the device file says how: at a point, in closed form and on a grid alike."""

from __future__ import annotations

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import costmodel as cm
from costmodel.bench.products import load_products
from costmodel.hardware import TILES, load
from costmodel.pricing.tiles import Chip, Products, products_of

PUBLISHED = Path(__file__).parents[2] / "docs" / "measurements" / "runs" / "products-published.csv"
DEVICES = ("h100-sxm", "a100-sxm-80gb")
m, n, k, b = cm.dims("m_prod n_prod k_prod b_prod")
BF16 = "bfloat16"


@pytest.fixture(scope="module")
def gemm() -> cm.Cost:
    return cm.analyze(lambda x, y: x @ y, cm.spec((m, k), BF16), cm.spec((k, n), BF16))


@pytest.mark.parametrize("name", DEVICES)
def test_measured_products_are_what_a_roofline_predicts(gemm, name):
    """Of the published ones, every tenth; a kernel of a program takes its launch, or at least that of a product alone."""
    device, measured = load(name), load_products(PUBLISHED)[name]
    every = slice(None, None, 10)
    rows = list(zip(measured.m[every], measured.n[every], measured.k[every], measured.seconds[every], strict=True))
    how = products_of(device, device.products[0])
    errors, flat = [], []
    for rows_, columns, depth, seconds in rows:
        found = gemm.at(m_prod=int(rows_), n_prod=int(columns), k_prod=int(depth)).roofline(device)
        launch = found.stands.calibration.launch.value
        call = found.stands.calibration.call.value if found.stands.calibration.call else 0.0
        alone = found.predicted - call - max(launch, how.launch) + how.launch
        errors.append(abs(alone / seconds - 1))
        flat.append(abs(found.upper / found.stands.calibration.of("dot") + how.launch - seconds) / seconds)
    assert np.median(errors) <= 0.08 and np.mean(np.array(errors) <= 0.1) >= 0.65
    assert np.median(errors) < np.median(flat) / 2  # what one efficiency for all shapes gives


@pytest.mark.parametrize("sizes", [(1, 1, 1), (4096, 4096, 4096), (100, 7, 30001), (16, 5120, 640)])
def test_points_forms_and_grids_agree(gemm, sizes):
    at = dict(zip(("m_prod", "n_prod", "k_prod"), sizes, strict=True))
    for name in DEVICES:
        point = gemm.at(**at).roofline(name).predicted
        form = gemm.predicted(name).subs({s: at[s.name] for s in gemm.predicted(name).free_symbols})
        assert float(form) == pytest.approx(point, rel=1e-9)
        grid = gemm.sweep(m_prod=[at["m_prod"], 64], n_prod=[at["n_prod"]], k_prod=[at["k_prod"]], metrics=("macs",), hardware=name)
        assert float(grid["time_predicted"].sel(m_prod=at["m_prod"]).squeeze()) == pytest.approx(point, rel=1e-9)


def test_what_is_fused_behind_a_product_counts_beside_it(gemm):
    device = load("h100-sxm")
    fused = cm.analyze(lambda x, y: jnp.tanh(x @ y), cm.spec((m, k), BF16), cm.spec((k, n), BF16))
    at = {"m_prod": 8192, "n_prod": 8192, "k_prod": 4096}
    alone, both = (cost.at(**at).roofline(device, policy="ideal") for cost in (gemm, fused))
    assert both.predicted > alone.predicted
    form = fused.predicted(device, policy="ideal")
    assert float(form.subs({s: at[s.name] for s in form.free_symbols})) == pytest.approx(both.predicted, rel=1e-9)


def test_equal_counts_of_other_shapes_are_other_kernels():
    """2 x 32 and 64 x 1 tiles have the same operations, and here the same bytes, but not the same time."""
    def two(x, y, u, v):
        return x @ y, u @ v

    shapes = ((300, 64), (64, 200)), ((200, 64), (64, 300))
    for pair in itertools.permutations(shapes):
        cost = cm.analyze(two, *(cm.spec(shape, BF16) for each in pair for shape in each))
        parts = [cm.analyze(lambda x, y: x @ y, *(cm.spec(shape, BF16) for shape in each)) for each in pair]
        call = load("h100-sxm").calibration["xla-gpu"].call.value
        apart = sum(part.at().roofline("h100-sxm").predicted - call for part in parts) + call
        assert cost.at().roofline("h100-sxm").predicted == pytest.approx(apart, rel=1e-12)
        assert float(cost.predicted("h100-sxm")) == pytest.approx(apart, rel=1e-9)


def test_other_formats_and_devices_go_by_their_efficiency():
    wide = cm.analyze(lambda x, y: x @ y, cm.spec((m, k), "float32"), cm.spec((k, n), "float32"))
    found = wide.at(m_prod=512, n_prod=512, k_prod=512).roofline("h100-sxm")
    calibration = found.stands.calibration
    assert found.predicted == pytest.approx(found.upper / calibration.of("dot") + calibration.launch.value + calibration.call.value)


def test_a_batch_fills_waves_together():
    cost = cm.analyze(lambda x, y: jax.lax.dot_general(x, y, (((2,), (1,)), ((0,), (0,)))), cm.spec((b, m, k), BF16),
                      cm.spec((b, k, n), BF16))
    at = {"m_prod": 128, "n_prod": 128, "k_prod": 128}
    times = [cost.at(b_prod=count, **at).roofline("h100-sxm").predicted for count in (1, 100, 2000)]
    assert times[1] < 1.2 * times[0] and times[2] > 1.2 * times[1]


def test_waves_are_those_of_a_queue():
    """Tiles given out one by one to the multiprocessor that is free first: the last one is done after as many waves."""
    chip = Chip(multiprocessors=5, peak=1e12, bandwidth=1e30)
    how = Products(chip, (1.0,) * len(TILES), 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    for rows, columns, depth in itertools.product((1, 300, 1000), (64, 500), (33, 256)):
        forms = how.by_tile(*map(sympy.Integer, (rows, columns, depth)))
        for (height, width, parts), form in zip(TILES, forms, strict=True):
            free = [0.0] * chip.multiprocessors
            step = 2 * height * width / (chip.peak / chip.multiprocessors)
            for _ in range(parts * len(range(0, rows, height)) * len(range(0, columns, width))):
                i = free.index(min(free))
                free[i] += step * len(range(0, depth, parts))
            assert float(form) == pytest.approx(max(free), rel=1e-9)
