"""Every model of the zoo: published figures met exactly, tables that add up, nothing unknown, symbolic equal to concrete.

The check functions take what they check as arguments, and each is shown to fail on a wrong model or figure.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from math import prod

import pytest
from conftest import ENTRIES, marks

import costmodel as cm
from costmodel.pricing.table import Row, Table

# A published figure's metric -> the metric of the registry and its options.
METRICS = {"activations_peak": ("activations", {"rule": "peak"})}


def published_faults(entry: cm.ModelEntry, cost: cm.Cost) -> list[str]:
    """One line for each published figure that the cost does not meet exactly."""
    found = []
    for figure in entry.published:
        name, options = METRICS.get(figure.metric, (figure.metric, {}))
        ours = cost.at(**{**entry.at, **figure.at}).metric(name, **options)
        if ours != figure.value:
            found.append(f"{entry.name}: {figure.metric} is {ours:,}, {figure.source} says {figure.value:,}")
    return found


def test_every_equation_has_a_rule(entry, cost_of):
    coverage = cost_of(entry.name).coverage
    assert coverage.unknown == {}
    assert coverage.count("exact") + coverage.count("free") == coverage.total  # in these models nothing is a mere bound


def test_published_figures_are_met_exactly(entry, cost_of):
    assert published_faults(entry, cost_of(entry.name)) == []


def test_an_eager_framework_moves_what_must_be_moved_and_no_more_than_equation_by_equation(entry, cost_of):
    at = cost_of(entry.name).at(**entry.at)
    assert at.bytes("compulsory") <= at.bytes("eager") <= at.bytes("unfused")


def test_every_published_figure_has_a_source(entry):
    assert all(figure.source.strip() and isinstance(figure.value, int) for figure in entry.published)


@pytest.mark.parametrize("name", ["linear", "alexnet", "mobilenet_v2"])
def test_the_published_check_can_fail(name, cost_of):
    entry = ENTRIES[name]
    right = entry.published[0]
    wrong = replace(entry, published=(replace(right, value=right.value + 1), *entry.published[1:]))
    (fault,) = published_faults(wrong, cost_of(name))
    assert f"{right.value:,}" in fault and f"{right.value + 1:,}" in fault


def test_a_wrong_model_is_caught():
    """AlexNet in one group everywhere has the published MACs of no two-tower AlexNet."""
    from zoo.alexnet import AlexNet

    entry = replace(ENTRIES["alexnet"], build=lambda: AlexNet((96, 256, 384, 384, 256), groups=1))
    faults = published_faults(entry, entry.analyze())
    assert [fault.split(" ")[1] for fault in faults] == ["params", "macs"]


# -- torchvision, read from its data file and not through the entries --------------------------------------------------------

with (files("zoo") / "data" / "torchvision.csv").open(encoding="utf-8", newline="") as file:
    TORCHVISION = {row["model"]: row for row in csv.DictReader(file)}
TWINS = {"alexnet": "alexnet_torchvision"}  # the zoo's alexnet is the lecture's
NNX = {"resnet50_nnx": "resnet50", "mobilenet_v2_nnx": "mobilenet_v2"}
IN_ZOO = [name for name in TORCHVISION if TWINS.get(name, name) in ENTRIES]


def test_most_of_torchvisions_table_is_in_the_zoo():
    assert len(IN_ZOO) >= 11


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in IN_ZOO])
def test_torchvisions_integers(name, cost_of):
    row = TORCHVISION[name]
    cost = cost_of(TWINS.get(name, name)).at(n=1, h=int(row["resolution"]), w=int(row["resolution"]))
    assert cost.params == int(row["num_params"])
    if row["mac_exact_batch1"]:
        assert cost.macs == int(row["mac_exact_batch1"])
    assert f"{cost.macs / 1e9:.3f}".rstrip("0") == row["gmac_published"].rstrip("0")


def test_mcunet(cost_of):
    cost = cost_of("mcunet_in3").at(n=1, h=176, w=176)
    assert (cost.params, cost.macs) == (737_408, 81_785_520)


def test_a_mobilenet_that_is_narrow_to_its_last_layer():
    """MCUNet, NeurIPS 2020: mbv2-w0.35 at 144 has 23.5 M MACs and 0.75 M parameters."""
    from zoo.mobilenet import MobileNetV2

    cost = cm.analyze(MobileNetV2(0.35, narrow=True), cm.spec((1, 144, 144, 3)))
    assert (f"{cost.macs / 1e6:.1f}", f"{cost.params / 1e6:.2f}") == ("23.5", "0.75")


# mlcommons/tiny: bytes of the constants in kws_ref_model, vww_96_int8 and ad01_int8.tflite, without the 8 of a reshape's shape.
@pytest.mark.parametrize("name, constants", [("tiny_ds_cnn", 24_376 - 8), ("tiny_mobilenet_v1", 219_072 - 8),
                                             ("tiny_autoencoder", 270_880)])
def test_constants_of_the_deployed_networks(name, constants, cost_of):
    """Weights in int8 and biases in int32, normalisations folded into both."""
    shapes = [v.array.shape for v in cost_of(name).program.inputs if v.origin == "parameter" and len(v.array.shape) > 1]
    assert sum(prod(shape) + 4 * shape[-1] for shape in shapes) == constants


# -- Linen and NNX -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NNX)
def test_nnx_twins_have_the_same_closed_forms(name, cost_of):
    nnx, linen = cost_of(name), cost_of(NNX[name])
    assert nnx.domain.texts == linen.domain.texts
    for metric in ("params", "buffers", "macs", "flops", "transcendentals", "model_size"):
        assert nnx.metric(metric) == linen.metric(metric), metric
    assert nnx.activations("peak") == linen.activations("peak")


@pytest.mark.parametrize("name", NNX)
def test_nnx_twins_have_the_same_module_paths_and_rows(name, cost_of):
    nnx, linen = cost_of(name), cost_of(NNX[name])
    for depth in (1, 2, None):
        # Unfused bytes, the last column, may differ: flax broadcasts a normalisation's statistics otherwise in its two APIs.
        ours, theirs = ({row.label: row.cells[:-1] for row in cost.table(depth=depth, collapse=False).rows}
                        for cost in (nnx, linen))
        assert ours == theirs
    assert {e.path for e in nnx.program} == {e.path for e in linen.program}


# -- tables ------------------------------------------------------------------------------------------------------------------


def tables(cost: cm.Cost | cm.CostAt) -> Iterator[Table]:
    """Every table there is of a cost."""
    for collapse in (True, False):
        for depth in (1, 2, None):
            yield cost.table(depth=depth, by="module", collapse=collapse)
        yield cost.table(by="layer", collapse=collapse)
        yield cost.table(by="op", collapse=collapse)


def test_rows_sum_exactly_to_the_total_symbolically(entry, cost_of):
    for table in tables(cost_of(entry.name)):
        assert table.sum() == table.total, table.title
        assert len(table.total) == len(table.columns) == len(table.rows[0].cells)


def test_rows_sum_exactly_to_the_total_at_the_quoted_point(entry, cost_of):
    """``at`` a point with n = 1 also verifies the model there by a concrete trace."""
    cost = cost_of(entry.name).at(**entry.at)
    for by in ("module", "layer", "op"):
        table = cost.table(by=by)
        assert table.sum() == table.total, table.title


def test_totals_are_the_metrics(entry, cost_of):
    cost = cost_of(entry.name)
    table = cost.table(by="layer")
    expected = {"params": cost.params, "MACs": cost.macs, "FLOPs": cost.flops, "transc.": cost.transcendentals,
                "activations": cost.activations(), "bytes, layer": cost.bytes("layer")}
    assert dict(zip((name for name, _ in table.columns), table.total, strict=True)) == expected


def test_the_sum_check_can_fail(cost_of):
    table = cost_of("linear").table()
    more = replace(table, rows=(*table.rows, Row("one more", table.rows[0].cells)))
    assert more.sum() != more.total
    twice = replace(table, rows=tuple(replace(row, repeats=2) for row in table.rows))
    assert twice.sum() == more.sum() != table.total


# -- symbolic equals concrete ------------------------------------------------------------------------------------------------

# Bounds of the sampled integers by symbol: large enough to vary, small enough that a fixed architecture accepts them.
RANGES = {"n": (2, 9), "h": (32, 300), "w": (32, 300), "l": (8, 64), "p": (1, 4), "s": (1, 4), "d": (1, 4),
          "k": (1, 7), "k_h": (1, 7), "k_w": (1, 7)}


def points(entry: cm.ModelEntry, cost: cm.Cost, count: int) -> list[dict[str, int]]:
    """``count`` random points of the cost's domain; the seed is the entry's name."""
    draw = random.Random(entry.name)
    found: list[dict[str, int]] = []
    for _ in range(10_000):
        point = {}
        for variable in sorted(cost.domain.variables, key=lambda v: (len(v.divisor.free_symbols), v.symbol)):
            low, high = RANGES.get(variable.symbol, (2, 40))
            divisor = int(variable.divisor.xreplace({cm.symbols(s): v for s, v in point.items()}))
            point[variable.symbol] = divisor * draw.randint(-(-low // divisor), max(high // divisor, -(-low // divisor)))
        try:
            cost.domain.bind(point)
        except cm.DomainError:
            continue
        found.append(point)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} points found in the domain {cost.domain}")


def test_symbolic_equals_a_concrete_trace(entry, cost_of):
    cost = cost_of(entry.name)
    for point in points(entry, cost, 2):
        cost.verify(**point)


def test_verification_can_fail():
    """A model that branches on its shape as jax cannot decide symbolically."""
    import jax.numpy as jnp

    n = cm.dims("n")
    cost = cm.analyze(lambda x: x * 2.0 if x.shape[0] == 7 else jnp.exp(x), (n, 3))
    cost.verify(n=6)
    with pytest.raises(cm.CostModelError, match="n=7"):
        cost.verify(n=7)
