"""Pictures: what is drawn is what was computed, and no label touches another."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jax
import pytest
from conftest import ENTRIES
from hypothesis import given
from hypothesis import strategies as st

import costmodel as cm
from costmodel.errors import CostModelError
from costmodel.hardware import load

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg

from costmodel import pictures
from costmodel.pictures import roofs as plot
from costmodel.pictures import wall


@pytest.fixture(scope="module")
def point(cost_of):
    return cost_of("resnet18").at(n=8, h=224, w=224)


@pytest.fixture(scope="module")
def several(point):
    return [point.roofline(device, policy="layer") for device in ("h100-sxm", "tpu-v5e", "lecture")]


def overlapping(texts) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes, as drawn, touch."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return [(a, b) for (a, box), (b, other) in itertools.combinations(boxes, 2) if box.overlaps(other)]


def drawn(figure):
    FigureCanvasAgg(figure).draw()
    return figure


def numbers(figure) -> list:
    return [text for text in figure.axes[0].texts if text.get_gid() == "number"]


@pytest.mark.parametrize("by", ["kernel", "module", "kind"])
def test_labels_never_collide(several, by):
    for rooflines in (several, several[:1]):
        figure = drawn(plot.draw_rooflines(rooflines, by=by))
        (table,) = figure.axes[1].tables
        cells = [cell.get_text() for cell in table.get_celld().values()]
        assert numbers(figure) and overlapping(numbers(figure)) == [] and overlapping(cells) == []
        edge = figure.axes[0].get_window_extent().x1
        assert all(cell.get_window_extent().x0 > edge for cell in cells if cell.get_text())


def test_the_collision_check_can_fail(several, monkeypatch):
    monkeypatch.setattr(plot, "spread", lambda wanted, step: list(wanted))
    assert overlapping(numbers(drawn(plot.draw_rooflines(several))))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=24).map(sorted))
def test_spread_keeps_order_distance_and_room(wanted):
    step = 0.04
    placed = plot.spread(wanted, step)
    assert all(b - a >= step - 1e-6 for a, b in itertools.pairwise(placed))
    assert step / 2 - 1e-6 <= placed[0] and placed[-1] <= 1 - step / 2 + 1e-6
    if all(b - a >= step for a, b in itertools.pairwise(wanted)) and wanted[0] >= step / 2 and wanted[-1] <= 1 - step / 2:
        assert placed == pytest.approx(wanted, abs=1e-6)


def test_points_are_the_rows_and_the_table_names_them(several):
    figure = drawn(plot.draw_rooflines(several, by="module", most=40))
    dots = {tuple(offset) for collection in figure.axes[0].collections for offset in collection.get_offsets().tolist()}
    assert {(row.intensity, row.attainable) for each in several for row in each.by("module") if row.operations} == dots
    (table,) = figure.axes[1].tables
    rows = [[table[line, column].get_text().get_text() for column in range(6)] for line in range(1, len(numbers(figure)) + 1)]
    assert [row[0] for row in rows] == [text.get_text() for text in numbers(figure)]
    intensities = {row.label: row.intensity for row in several[0].by("module")}
    assert all(float(row[2]) == pytest.approx(intensities[row[1].split(" +")[0]], rel=0.01) for row in rows)
    for i, roofline in enumerate(several, start=3):  # every module is numbered here: the shares are of the whole time
        counted = sum(roofline.share(row) for row in roofline.by("module") if row.operations)
        assert sum(float(row[i].rstrip(" %")) for row in rows) == pytest.approx(100 * counted, abs=0.6)


def test_ridges_and_bound_regions_are_labelled(several):
    figure = plot.draw_rooflines(several)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    ridges = [f"ridge {load(d).ridge_point('matrix', 'float32'):.4g}" for d in ("h100-sxm", "tpu-v5e", "lecture")]
    assert len(legend) == 3 and all(ridge in text for ridge, text in zip(ridges, legend, strict=True))
    assert "memory-bound" not in [text.get_text() for text in figure.axes[0].texts]
    alone = [text.get_text().strip() for text in plot.draw_rooflines(several[1:2]).axes[0].texts]
    assert {"memory-bound", "compute-bound", "VMEM 18 TB/s", "vector float32: 6.14 TOP/s"} <= set(alone)


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_the_suffix_decides_the_file(several, tmp_path, suffix, start):
    path = tmp_path / f"roof{suffix}"
    plot.plot_rooflines(several, str(path), by="kind")
    assert path.read_bytes().startswith(start)
    if suffix == ".svg":
        ElementTree.parse(path)
        plot.plot_rooflines(several, str(tmp_path / "again.svg"), by="kind")
        assert path.read_bytes() == (tmp_path / "again.svg").read_bytes()


def test_what_cannot_be_drawn_is_said(several, tmp_path, cost_of):
    with pytest.raises(CostModelError, match=r"end it in \.svg, \.png, \.pdf"):
        plot.plot_rooflines(several, "roof.txt")
    with pytest.raises(CostModelError, match="cannot write"):
        plot.plot_rooflines(several, str(tmp_path / "nowhere" / "roof.svg"))
    with pytest.raises(CostModelError, match="pip install 'jax-costmodel"):
        without_matplotlib(lambda: plot.plot_rooflines(several, str(tmp_path / "roof.svg")))


def without_matplotlib(call):
    hidden = {name: sys.modules[name] for name in list(sys.modules) if name.split(".")[0] == "matplotlib"}
    sys.modules.update(dict.fromkeys(hidden))
    try:
        call()
    finally:
        sys.modules.update(hidden)


def test_nothing_is_imported_before_a_picture_is_asked_for():
    code = "import sys, costmodel.pictures; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_operations_are_marks_of_their_own_and_devices_stand_once_in_the_legend(cost_of):
    """Six programs of one kernel each, on two devices."""
    rooflines = [cost_of(name).at(**ENTRIES[name].at).roofline(device) for name in ("gemm", "linear", "conv2d", "mlp")
                 for device in ("lecture", "h100-sxm")]
    figure = drawn(plot.draw_rooflines(rooflines))
    (table,) = figure.axes[1].tables
    assert {table[line, 1].get_text().get_text() for line in range(1, 5)} == {"gemm", "linear", "conv2d", "mlp"}
    assert [text.get_text().split(":")[0] for text in figure.legends[0].get_texts()] == ["lecture", "h100-sxm"]
    assert overlapping(numbers(figure)) == []


@pytest.mark.parametrize("draw", ["bars", "blocks", "memory", "energy"])
def test_no_label_touches_another(point, draw):
    figure = drawn({"bars": lambda: point.table(by="layer").plot(), "blocks": lambda: point.blocks().plot(),
                    "memory": lambda: point.live_profile("layer").plot(),
                    "energy": lambda: point.energy("horowitz-45nm").plot(by="module")}[draw]())
    for axes in figure.axes:
        values = [text for text in axes.texts if text.get_gid()]
        ticks = [*axes.get_xticklabels(), *axes.get_yticklabels()]
        assert overlapping([text for text in (*values, *ticks) if text.get_visible() and text.get_text()]) == []


# -- the memory wall ----------------------------------------------------------------------------------------------------------


def test_the_memory_wall_is_there_in_every_line_of_devices():
    """Peaks grew faster than bandwidths from the first to the last generation, so the ridge moved up."""
    for devices in wall.GENERATIONS.values():
        first, last = load(devices[0]), load(devices[-1])
        ridges = [device.ridge_point("matrix", "bfloat16" if "tpu" in device.name else "float16") for device in (first, last)]
        assert first.year < last.year and ridges[1] > 1.5 * ridges[0]


def test_the_picture_of_the_memory_wall(tmp_path: Path):
    figure = pictures.draw_memory_wall()
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    growth = {label.split(" ×")[0]: float(label.split("×")[1].split()[0]) for label in labels}
    for name in wall.GENERATIONS:
        assert growth[f"{name}: peak"] > growth[f"{name}: bandwidth"] > 1
    pictures.plot_memory_wall(str(tmp_path / "wall.svg"))
    with pytest.raises(CostModelError, match="of one year"):
        pictures.draw_memory_wall({"one": ["h100-sxm", "h100-sxm"]})
    with pytest.raises(CostModelError, match="lecture states no year"):
        pictures.draw_memory_wall({"one": ["h100-sxm", "lecture"]})


def test_a_sweeps_picture_has_no_panel_or_line_of_what_nothing_predicts(cost_of):
    """The lecture's device is not calibrated; the H100 is."""
    from costmodel.report import sweeps

    cost = cost_of("resnet18")
    over_two = sweeps.draw(cost.sweep(n=[1, 4, 8], h=[64, 128], w="h", hardware="lecture"))
    assert not any("predicted" in ax.get_title(loc="left") + ax.get_title() for ax in over_two.axes)
    over_one = sweeps.draw(cost.sweep(n=[1, 4, 8], h=64, w=64, hardware=["h100-sxm", "lecture"]))
    (predicted,) = (ax for ax in over_one.axes if "predicted" in ax.get_title(loc="left") + ax.get_title())
    assert [text.get_text().split(":")[0] for text in predicted.get_legend().get_texts()] == ["h100-sxm"]


def test_plans_and_what_is_sent_are_drawn() -> None:
    """A plan's bar is the time of its step, of the parts that take it; a collective's are its bytes in all."""
    plans = cm.solve.plan(cm.model("megatron_22b"), devices=8, hw="a100-sxm-80gb", global_batch=4, count=3)
    bars = plans.chart()
    assert [sum(parts) for parts in zip(*(values for _, values in bars.series), strict=True)] == pytest.approx(
        [cost.seconds for cost in plans])
    n, d = cm.dims("n d", where="2 | n")
    summed = cm.analyze(lambda x: x.sum(0), (n, d), mesh={"data": 2}, in_shardings=jax.sharding.PartitionSpec("data"))
    with pytest.raises(CostModelError, match="at a point"):
        summed.collectives().chart()
    at = summed.at(n=4, d=6)
    assert at.collectives().chart().series == (("", (float(at.wire_bytes()),)),) and at.wire_bytes() > 0


def test_ticks_of_memory_over_time_are_whole_names(cost_of) -> None:
    figure = cost_of("mobilenet_v2").at(n=1, h=224, w=224).live_profile("layer").plot()
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert {"stage2_0", "stage7_0", "classifier"} <= set(ticks) and not any(tick.startswith("…") for tick in ticks)


def test_bars_that_differ_are_told_apart(cost_of) -> None:
    """The largest value that fits and the next one are within a part in a thousand of the memory."""
    fit = cm.solve.max_fit(cost_of("resnet18"), "n", "80GB", at={"h": 224, "w": 224})
    figure = fit.plot()
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(set(texts)) == len(texts) == 5  # a quarter, half, the answer, the next, the capacity
    assert float(texts[2].split()[0]) < 80 < float(texts[3].split()[0])
    assert [value for value, _ in fit.smaller] == [fit.answer // 4, fit.answer // 2]
    assert "memory there" in fit.to_markdown() and "next_used" not in fit.to_markdown() and '"next_used"' in fit.to_json()


def test_what_a_faster_part_brings_is_a_result(cost_of) -> None:
    found = cm.solve.elasticities(cost_of("resnet18").at(n=1, h=224, w=224), "h100-sxm")
    assert sum(found.values()) == pytest.approx(1) and dict(found) == found
    assert not re.search(r"\d\.\d{7}", str(found))  # no figure of sixteen digits
    assert found.chart().rows == tuple(found)
