"""Renderers show what tables hold, and names from a model reach no markup."""

from __future__ import annotations

import csv
import io

import flax.linen as nn
import pytest

import costmodel as cm
from costmodel.errors import CostModelError
from costmodel.text import si


class Hostile(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4, name="<b>[red]&_%")(x)


@pytest.fixture(scope="module")
def hostile() -> cm.Cost:
    return cm.analyze(Hostile(), cm.spec((cm.dims("n"), 3)))


def test_markup_in_a_name_is_text(hostile):
    table = hostile.table()
    assert "&lt;b&gt;[red]&amp;_%" in table._repr_html_() and "<b>[red]" not in table._repr_html_()
    assert "<b>[red]&_%" in str(table)
    assert r"<b>[red]\&\_\%" in table.to_latex()
    assert "&lt;b&gt;" in hostile._repr_html_()


def test_csv_reads_back(cost_of):
    table = cost_of("resnet18").at(n=2, h=64, w=64).table(depth=1)
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert rows[-1]["name"] == "total" and int(rows[-1]["params [elements]"]) == 11_689_512
    assert any(int(r["repeats"]) > 1 for r in rows)
    assert sum(int(r["MACs [MAC]"]) for r in rows[:-1]) == int(rows[-1]["MACs [MAC]"])


def test_repeated_blocks_are_collapsed_and_counted(cost_of):
    table = cost_of("resnet50").table(depth=1)
    repeats = {row.label: row.repeats for row in table.rows}
    assert repeats["layer3_1 … layer3_5"] == 5 and table.sum() == table.total
    assert all(row.repeats == 1 for row in cost_of("resnet50").table(depth=1, collapse=False).rows)


def test_explain_names_near_paths_and_sums_to_the_layer(cost_of):
    cost = cost_of("resnet50")
    explanation = cost.at(n=1, h=224, w=224).explain("layer1_0/conv2")
    assert "2304*h*n*w = 115,605,504" in str(explanation)
    with pytest.raises(CostModelError, match="did you mean layer1_0/conv"):
        cost.explain("layer1_0/convv2")


@pytest.mark.parametrize(("value", "text"), [
    (4.09e9, "4.09 GB"), (51.2e-6, "51.2 µB"), (0, "0 B"), (1.98e15, "1.98 PB"), (12.0, "12 B")])
def test_si_prefixes(value, text):
    assert si(value, "B") == text


def test_a_table_by_something_else_is_refused(cost_of):
    with pytest.raises(CostModelError, match="a table is by module, layer, kernel, op"):
        cost_of("resnet50").table(by="colour")
