"""Laws of the roofline: bounds, monotonicity, the ridge, and what a device must state."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import pytest

import costmodel as cm
from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, MissingPeak, Quantity, load


def faster(device: Hardware, **factors: float) -> Hardware:
    def times(q: Quantity, factor: float) -> Quantity:
        return dataclasses.replace(q, value=q.value * factor)

    peaks = {key: times(q, factors.get(key[0], 1.0)) for key, q in device.peaks.items()}
    return dataclasses.replace(device, peaks=peaks, bandwidth=times(device.bandwidth, factors.get("bandwidth", 1.0)))


@pytest.fixture(scope="module")
def at(cost_of):
    return cost_of("resnet18").at(n=4, h=224, w=224)


@pytest.mark.parametrize("policy", ["layer", "unfused"])
@pytest.mark.parametrize("device", ["lecture", "h100-sxm", "tpu-v5e", "a100-sxm-80gb"])
def test_bounds(at, device, policy):
    roofline = at.roofline(device, policy=policy)
    assert 0 < roofline.lower <= roofline.upper <= 3 * roofline.lower  # three resources: two engines and memory
    for row in roofline.rows:
        assert row.lower <= row.upper and row.attainable <= max(q.value for q in load(device).peaks.values())
        assert row.attainable <= row.intensity * load(device).bandwidth.value * (1 + 1e-12)
    assert abs(sum(roofline.share(row) for row in roofline.rows) - 1) < 1e-9
    assert roofline.flops == at.metric("flops", taps="valid") and roofline.bytes == at.bytes(policy)


def test_time_falls_with_every_resource_and_stays_without(at):
    device = load("h100-sxm")
    base = at.roofline(device)
    for name in ("bandwidth", "matrix", "vector"):
        better = at.roofline(faster(device, **{name: 2.0}))
        assert better.lower <= base.lower and better.upper < base.upper
    memory_bound = [row for row in base.rows if row.bound == "memory"]
    same = at.roofline(faster(device, matrix=2.0, vector=2.0))
    assert [row.lower for row in same.rows if row.label in {r.label for r in memory_bound}] == [row.lower for row in memory_bound]


def test_at_the_ridge_compute_and_memory_take_the_same_time():
    device = load("lecture")
    m = 144  # a square product in float32 moves 12·m² bytes for 2·m³ FLOP: intensity m/6, the ridge is 48 at m = 288
    dims = cm.dims("m")
    cost = cm.analyze(lambda a, b: a @ b, cm.spec((dims, dims)), cm.spec((dims, dims)))
    for factor, bound in ((1, "memory"), (2, "memory"), (3, "compute")):
        (row,) = cost.roofline(device, m=factor * m).rows
        assert row.intensity == factor * m / 6 and row.bound == bound  # one roof
    (row,) = cost.roofline(device, m=288).rows
    assert row.intensity == device.ridge_point("matrix", "float32") and row.upper == pytest.approx(2 * row.lower)


def test_a_missing_peak_is_named_and_reprice_is_the_way_out(cost_of):
    cost = cost_of("mlp")
    point = dict.fromkeys(cost.symbols, 8)
    with pytest.raises(MissingPeak, match=r"lecture has no matrix peak for bfloat16.*reprice\(dtype=…\)"):
        cost.reprice("bf16").roofline("lecture", **point)
    assert cost.reprice("bf16").roofline("tpu-v5e", **point).lower > 0
    with pytest.raises(CostModelError, match="not a dtype to price in"):
        cost.reprice("float31")
    half = cost.reprice("bf16")
    assert 2 * half.model_size() == cost.model_size() and half.macs == cost.macs


def test_another_type_or_a_part_of_the_program_is_verified_through_its_source():
    n = cm.dims("n")

    def squeezes_single_items(x):
        return (x[0] if x.shape[0] == 1 else x) @ jnp.ones((3, 3))  # the undecided == takes the wrong branch at n = 1

    half = cm.analyze(squeezes_single_items, cm.spec((n, 3))).reprice("bf16")
    assert half.at(n=2).macs == 18
    with pytest.raises(CostModelError, match="does not hold at n=1"):
        half.at(n=1)
