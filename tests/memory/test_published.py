"""The published rules of a transformer's training memory against the figures of the paper that states them."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import pytest

from costmodel import CostModelError
from costmodel.memory.published import layer, layers, weights

ROWS = list(csv.DictReader((Path(__file__).parents[2] / "docs/measurements/runs/steps-megatron.csv").open(encoding="utf-8")))
PIXEL = Fraction(100, 562)  # %, of the bars of figure 7 as they were read off: every published value is a multiple of it


def rule(row):
    how = row["recompute"]
    if row["sequence_parallel"] == "True":
        return "sequence" if how == "none" else f"sequence+{how}"
    return "tensor" if how == "none" else how


def sizes(row):
    return [int(row[key]) for key in ("s", "microbatch", "h", "a", "tensor")]


def named(row):
    return f"{row['model']}-{row['recompute']}-{row['sequence_parallel']}-{row['quantity'][:6]}"


@pytest.mark.parametrize("row", [r for r in ROWS if r["set"] == "fig1"], ids=named)
def test_figure_1_exactly(row):
    count, p, chunks = (int(row[key]) for key in ("layers", "pipeline", "chunks"))
    found = weights(count, int(row["h"]), int(row["tensor"]), p)
    if row["quantity"] == "activations a GPU":
        found = layers(rule(row), count, *sizes(row), p, chunks)
    assert found / 2**30 == Fraction(row["published"])


@pytest.mark.parametrize("row", [r for r in ROWS if r["set"] == "fig7"], ids=named)
def test_figure_7_to_the_pixel(row):
    found = 100 * layer(rule(row), *sizes(row)) / layer("tensor", *sizes(row))
    assert abs(found - Fraction(row["published"])) <= PIXEL / 2 + Fraction(1, 200)


def test_an_unknown_rule_is_one_line():
    with pytest.raises(CostModelError, match="sequence"):
        layer("sequenec", 1, 1, 1, 1, 1)
