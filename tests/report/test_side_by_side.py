"""Costs side by side: textbook formulas as the lecture prints them, and numbers that are the metrics'."""

from __future__ import annotations

import pytest
from sympy import Expr

import costmodel as cm
from costmodel.report.page.mathml import mathml
from costmodel.symbolic.naming import in_factors


@pytest.fixture(scope="module")
def layers():
    return [cm.model(name).analyze() for name in ("linear", "conv2d_strided", "conv2d_grouped", "conv2d_depthwise")]


def test_the_lecture_s_table(layers) -> None:
    """The table of the lecture, to the letter: parameters and MACs, and what h_o stands for."""
    rows = {line.label: line.cells for line in cm.side_by_side(*layers).sheet().rows}
    n, c_i, c_o, c, k_h, k_w, h_o, w_o, g = cm.symbols("n c_i c_o c k_h k_w h_o w_o g")
    assert rows["linear"][:2] == (c_o * c_i, n * c_o * c_i)
    assert rows["conv2d_strided"][:2] == (c_o * c_i * k_h * k_w, n * c_i * k_h * k_w * h_o * w_o * c_o)
    assert rows["conv2d_grouped"][:2] == (c_o * c_i * k_h * k_w / g, n * c_i * k_h * k_w * h_o * w_o * c_o / g)
    assert rows["conv2d_depthwise"][:2] == (c * k_h * k_w, n * k_h * k_w * h_o * w_o * c)
    assert rows["conv2d_strided"][2] == "h_o = ⌊(h - k_h + 2·p)/s⌋ + 1, w_o = ⌊(2·p + w - k_w)/s⌋ + 1"


def test_factoring_changes_no_value(layers) -> None:
    for cost in layers:
        for metric in ("macs", "flops", "activations"):
            form = cost.metric(metric)
            assert (in_factors(form) - form).expand() == 0 if isinstance(form, Expr) else True


def test_points_of_one_cost_are_told_apart_and_drawn(layers) -> None:
    points = [layers[0].at(n=n, c_i=8, c_o=4) for n in (1, 2)]
    both = cm.side_by_side(*points)
    assert [line.label for line in both.sheet().rows] == ["linear, n=1", "linear, n=2"]
    assert [line.cells[:2] for line in both.sheet().rows] == [(32, 32), (32, 64)]
    assert both.chart("macs").series[0][1] == (32, 64)
    with pytest.raises(cm.CostModelError, match="points"):
        cm.side_by_side(*layers).chart()


def test_names_are_escaped_and_formulas_are_mathml(layers) -> None:
    layers[0].name, kept = "<b>", layers[0].name
    assert "&lt;b&gt;" in (page := cm.side_by_side(layers[0])._repr_html_()) and "<math>" in page and "<b>" not in page
    layers[0].name = kept


def test_words_side_by_side_have_a_dot_between_them() -> None:
    """A product of the axes data and model is not a word of nine letters, and what is subtracted stands second."""
    n, data, model = cm.symbols("n data model")
    assert "<mi>data</mi><mo>·</mo><mi>model</mi>" in mathml(n / (data * model)) and "·" not in mathml(n * cm.symbols("h_o"))
    assert str(in_factors(8 * n / data - 8 * n / (data * model))) == "8*n*(1 - 1/model)/data"
