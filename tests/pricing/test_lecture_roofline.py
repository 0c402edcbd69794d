"""The lecture's roofline examples: consistent within their rounding, derived from real layers, and the insights they teach."""

from __future__ import annotations

import csv
from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import pytest

import costmodel as cm
import zoo
from costmodel.hardware import load
from zoo import lecture_roofline

DATA = Path(zoo.__file__).parent / "data" / "lecture_roofline.csv"
with DATA.open(encoding="utf-8", newline="") as file:
    EXAMPLES = {row["operation"]: row for row in csv.DictReader(file)}

DEVICE = load("lecture")
GIGA = 1e9
PEAK = DEVICE.peak("matrix", "float32") / GIGA  # GFLOP/s
BANDWIDTH = DEVICE.bandwidth.value / GIGA  # GB/s

# The slide prints 50.3 µs for op6; 231 MFLOP at 4608 GFLOP/s are 50.1 µs, whatever was rounded before.
MISPRINTS = {("op6", "us")}


def rounded(text: str) -> tuple[float, float]:
    """The values that print as ``text``: half a unit of its last digit either way.

    >>> rounded("24.5")
    (24.45, 24.55)
    """
    half = 0.5 * 10.0 ** -len(text.partition(".")[2])
    return round(float(text) - half, 9), round(float(text) + half, 9)


def overlap(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def recomputed(row: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Intervals of the outputs that follow from the intervals of a row's printed inputs."""
    flops, size = rounded(row["mflop"]), rounded(row["mb"])
    intensity = flops[0] / size[1], flops[1] / size[0]
    attainable = tuple(min(PEAK, i * BANDWIDTH) for i in intensity)
    seconds = tuple(max(f / PEAK, m / BANDWIDTH) for f, m in zip(flops, size, strict=True))
    return {"intensity": intensity, "gflops": attainable, "us": tuple(1e3 * s for s in seconds)}


def faults(row: dict[str, str]) -> set[tuple[str, str]]:
    return {(row["operation"], name) for name, interval in recomputed(row).items() if not overlap(interval, rounded(row[name]))}


def test_device():
    assert (PEAK, BANDWIDTH) == (4608, 96)
    assert DEVICE.ridge_point("matrix", "float32") == 48


def test_printed_outputs_follow_from_printed_inputs_within_rounding():
    assert set().union(*map(faults, EXAMPLES.values())) == MISPRINTS


def test_the_rounding_check_can_fail():
    assert faults({**EXAMPLES["op1"], "intensity": "2.5"}) == {("op1", "intensity")}
    assert faults({**EXAMPLES["op2"], "mb": "2.5"}) == {("op2", name) for name in ("intensity", "gflops", "us")}


# -- the identified operations, from real layers -----------------------------------------------------------------------------

LAYERS = {entry.name.removeprefix("lecture_"): entry for entry in lecture_roofline.MODELS}
BOUND = {"op1": "memory", "op2": "memory", "op3": "memory", "op4": "compute", "op6": "compute"}


def shape(name: str) -> tuple[int, ...]:
    (text,) = LAYERS[name].inputs
    return tuple(int(LAYERS[name].at.get(size, size)) for size in text.partition(":")[0].split(","))


def layer(name: str) -> cm.Cost:
    """The layer's cost; its shapes are integers, and so are all figures."""
    return cm.analyze(LAYERS[name].build(), cm.spec(shape(name)))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_the_slides_flops_and_bytes(name):
    cost = layer(name).at()
    for value, printed in ((cost.flops / 1e6, "mflop"), (cost.bytes("layer") / 2**20, "mb")):
        low, high = rounded(EXAMPLES[name][printed])
        assert low <= value <= high, printed


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_the_slides_intensity_and_performance(name):
    """In the slide's own unit of intensity, 10⁶ FLOP a MiB."""
    cost = layer(name).at()
    size = cost.bytes("layer") / 2**20
    if name == "op3":
        size -= 3 / 4 * 4 * cost.params / 2**20  # the slide counts the weights of one group of the four
    intensity = cost.flops / 1e6 / size
    attainable = min(PEAK, intensity * BANDWIDTH)
    found = {"intensity": intensity, "gflops": attainable, "us": cost.flops / 1e3 / attainable}
    for printed, value in found.items():
        low, high = rounded(EXAMPLES[name][printed])
        assert low <= value <= high or (name, printed) in MISPRINTS, printed


def test_op6_in_full():
    cost = layer("op6").at()
    assert cost.flops == 2 * 9 * 128 * 128 * 28**2 == 231_211_008
    assert cost.bytes("layer") == cost.bytes("compulsory") == 4 * (2 * 28**2 * 128 + 9 * 128 * 128) == 1_392_640
    assert round(cost.flops / 1e6 / (cost.bytes("layer") / 2**20), 1) == 174.1


@pytest.mark.parametrize("name", LAYERS)
def test_what_binds_the_layers_is_what_the_slide_says(name):
    roofline = layer(name).roofline("lecture")
    (row,) = roofline.rows
    assert row.bound == BOUND[name]
    assert (EXAMPLES[name]["gflops"] == "4608") == (BOUND[name] == "compute")


def test_latency_is_the_larger_of_computation_and_memory():
    """T_memory = (weights + input + output activations) / bandwidth, T_computation = operations / peak; here without padding,
    so that the taps computed are the taps counted."""
    module = nn.Conv(32, (3, 3), padding="VALID", use_bias=False)
    (row,) = cm.analyze(module, cm.spec((2, 30, 30, 16))).roofline("lecture").rows
    computation = 2 * 2 * 28 * 28 * 32 * 9 * 16 / (PEAK * GIGA)
    memory = 4 * (9 * 16 * 32 + 2 * 30 * 30 * 16 + 2 * 28 * 28 * 32) / (BANDWIDTH * GIGA)
    assert row.lower == pytest.approx(max(computation, memory), rel=1e-12)
    assert row.upper == pytest.approx(computation + memory, rel=1e-12)


# -- the three insights ------------------------------------------------------------------------------------------------------


def test_fewer_flops_are_no_speed_up_when_memory_bound():
    """op1 has a sixteenth of op3's FLOPs and takes the same 255 µs."""
    depthwise, grouped = layer("op1"), layer("op3")
    assert grouped.flops == 16 * depthwise.flops
    fast, slow = (cost.roofline("lecture") for cost in (depthwise, grouped))
    assert {row.bound for row in (*fast.rows, *slow.rows)} == {"memory"}
    assert fast.lower == pytest.approx(slow.lower, rel=0.002)
    assert EXAMPLES["op1"]["us"] == EXAMPLES["op3"]["us"]


def test_fewer_bytes_are_no_speed_up_when_compute_bound():
    """Two matrix products of as many FLOPs; the square one moves little more than half the bytes."""
    square, thin = (cm.analyze(jnp.matmul, (m, k), (k, n)) for m, k, n in ((1024, 1024, 1024), (4096, 256, 1024)))
    assert square.flops == thin.flops
    assert square.bytes("layer") < 0.6 * thin.bytes("layer")
    times = [cost.roofline("lecture") for cost in (square, thin)]
    assert {row.bound for roofline in times for row in roofline.rows} == {"compute"}
    assert times[0].lower == times[1].lower


@pytest.mark.parametrize(("name", "memory_bound_on", "compute_bound_on"), [
    ("op1", "lecture", "stm32f746"),  # ridge points 48 and 0.25 FLOP/B
    ("op4", "h100-sxm", "lecture"),  # 148 and 48
    ("op6", "tpu-v5e", "lecture"),  # 241 and 48
])
def test_platforms_differ(name, memory_bound_on, compute_bound_on):
    cost = layer(name)
    assert [row.bound for row in cost.roofline(memory_bound_on, policy="layer").rows] == ["memory"]
    assert [row.bound for row in cost.roofline(compute_bound_on, policy="layer").rows] == ["compute"]
    assert load(memory_bound_on).ridge_point("matrix", "float32") > load(compute_bound_on).ridge_point("matrix", "float32")


def test_latency_is_not_throughput():
    """50 ms and 20 images a second against 100 ms and 40 images a second: weights are read once a batch, images one by one."""
    n = cm.dims("n")
    weights, image = 800_000_000, 200_000_000  # elements: 33.3 ms and, in and out, 16.7 ms
    cost = cm.analyze(lambda w, x: x + w.sum(), cm.spec((weights,)), cm.spec((n, image)))
    one, four = (cost.roofline("lecture", n=batch) for batch in (1, 4))
    assert [round(1e3 * each.lower) for each in (one, four)] == [50, 100]
    assert [round(each.throughput[0]) for each in (one, four)] == [20, 40]


class Operations(nn.Module):
    """The identified operations side by side, each on an input of its own."""

    @nn.compact
    def __call__(self, inputs):
        return {name: LAYERS[name].build().copy(name=name)(x) for name, x in inputs.items()}


def test_several_platforms_in_one_picture(tmp_path):
    """The slide's picture: one operation has one intensity, and a place under the roof of every platform."""
    pytest.importorskip("matplotlib")
    from costmodel.report import plot

    point = cm.analyze(Operations(), {name: cm.spec(shape(name)) for name in LAYERS}).at()
    platforms = [point.roofline(device, policy="layer") for device in ("lecture", "stm32f746", "h100-sxm", "tpu-v5e")]
    figure = plot.draw_rooflines(platforms)
    (table,) = figure.axes[1].tables
    assert [table[line, 1].get_text().get_text() for line in range(1, 6)] == ["op1", "op2", "op3", "op4", "op6"]  # by intensity
    for roofline in platforms:
        assert {row.label for row in roofline.rows} == set(LAYERS)
        assert [row.intensity for row in roofline.rows] == [row.intensity for row in platforms[0].rows]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"ridge 48", "ridge 0.25"} <= set(texts)
    plot.plot_rooflines(platforms, str(tmp_path / "platforms.svg"))


def test_one_formula_crosses_the_ridge():
    """A batch makes a linear layer compute-bound: the intensity of c·c weights grows with n towards the ridge and past it."""
    n = cm.dims("n")
    cost = cm.analyze(nn.Dense(4096, use_bias=False), cm.spec((n, 4096)))
    bounds = [cost.roofline("lecture", n=batch).rows[0].bound for batch in (1, 16, 64, 512)]
    assert bounds == ["memory", "memory", "memory", "compute"]
    # 2·n·c² / (4·(c² + 2·n·c)) = 48 at n = 96·c/(c - 192) = 100.7
    assert cost.roofline("lecture", n=100).rows[0].bound == "memory"
    assert cost.roofline("lecture", n=101).rows[0].bound == "compute"
    assert cm.solve.crossover(cost, "n", "lecture").answer == 101
