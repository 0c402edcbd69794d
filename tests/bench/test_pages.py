"""Pages that are written from records are what the records say, and README and a page of prose repeat their figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from costmodel.bench import plans, steps, truth

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

RUNS = DOCS / "measurements" / "runs"
TRAINING = ROOT / "costmodel" / "hardware" / "training" / f"{steps.DEVICE}.toml"
# Another jax traces a program a little differently.
same_jax = pytest.mark.skipif(
    jax.__version__ not in (DOCS / "compilers.md").read_text(encoding="utf-8"), reason="the pages are of another jax")

Table = list[dict[str, str]]


def tables(page: str) -> Iterator[tuple[str, Table]]:
    """(heading of its section, rows by column; a heading given twice keeps its first) of every table."""
    heading = ""
    columns: list[str] = []
    rows: Table = []
    for line in [*page.splitlines(), ""]:
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        if line.startswith("|"):
            cells = [cell.strip().replace("**", "") for cell in line.strip("|").split("|")]
            if not columns:
                columns = cells
            elif not set(line) <= set("|-: "):
                rows.append(dict(reversed(list(zip(columns, cells, strict=True)))))
        elif columns:
            yield heading, rows
            columns, rows = [], []


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def of_section(name: str, start: str, column: str) -> dict[str, Table]:
    """Rows of the section's first table with this column, by the cell of their first column."""
    found: dict[str, Table] = {}
    for heading, rows in tables(page(name)):
        if heading.startswith(start) and rows and column in rows[0]:
            for row in rows:
                found.setdefault(next(iter(reversed(row.values()))), []).append(row)
            return found
    raise AssertionError(f"{name} has no table with {column!r} below {start!r}")


def medians() -> dict[str, list[str]]:
    """README's table of compilers, made of the page's lines of all rows."""
    def figures(column: str, *compilers: str) -> str:
        found = [row[column] for each in compilers for head, (row,) in of_section("compilers.md", f"{each}, ", column).items()
                 if head.startswith("all (")]
        assert len(found) == len(compilers)
        return ", ".join(each.replace("%", " %") for each in found)

    named = {"XLA for processors": ["xla-cpu"], "XLA for the H100, the A100": ["cuda-h100", "cuda-a100"],
             "XLA for TPU v5e, v6e (main memory)": ["tpu-v5e", "tpu-v6e"]}
    return {name: [figures(f"{what}: median error", *each) for what in ("bytes", "live peak")] for name, each in named.items()}


@pytest.mark.slow
@same_jax
def test_the_page_of_predictions_is_what_the_runs_say() -> None:
    assert page("truth.md") == "\n".join(truth.page(RUNS)), "make truth"


@pytest.mark.slow
@same_jax
def test_the_calibration_of_training_and_the_page_of_plans_are_what_the_runs_say() -> None:
    assert TRAINING.read_text(encoding="utf-8") == "\n".join(steps.calibrate(RUNS)) + "\n", "make plans"
    assert page("plans.md") == "\n".join(plans.page(RUNS)), "make plans"


def test_readme_has_the_medians_of_the_compilers_page() -> None:
    (table,) = (rows for _, rows in tables((ROOT / "README.md").read_text(encoding="utf-8")) if rows and "compiler" in rows[0])
    assert {row["compiler"]: [row["bytes: median error"], row["live peak: median error"]] for row in table} == medians()


def test_predictions_have_the_figures_of_the_page_of_truth() -> None:
    shown = (row for _, rows in tables(page("predictions.md")) for row in rows if "command" in row)
    told = {row["figure"].split(":")[0]: row["value"] for row in shown}
    published, ours, compiled = (of_section("truth.md", start, "faster than lower") for start in (
        "Transformers, eager PyTorch, published", "Transformers, eager PyTorch, one H100", "Networks that XLA compiled"))

    def transformers(vendor: str) -> str:
        (row,) = published[vendor]
        mean, within = row["predicted: mean % / within 10 %"].split(" / ")
        return f"{vendor} {mean} %, {within} %, {row['in the 90 % interval']}"

    assert told["Transformers in eager PyTorch, each model predicted from the other"] == "; ".join(
        transformers(vendor) for vendor in ("NVIDIA", "AMD"))

    products = of_section("truth.md", "Products of bfloat16 matrices, published", "products")
    chips = {"H100": products["h100-sxm"][0], "A100": products["a100-sxm-80gb"][0]}
    held_out = {name: row["held out: median % / within 10 %"].split(" / ") for name, row in chips.items()}
    assert told["bfloat16 products of shapes held out"] == "; ".join(f"{name} {a} %, {b} %" for name, (a, b) in held_out.items())
    assert told["the same on a device by another one's numbers"] == ", ".join(
        f"{name} {row['by the other device: median %']} %" for name, row in chips.items())

    ((row,),) = compiled.values()
    mean, raw = (row[f"{name}: mean % / within 10 %"].split(" / ")[0] for name in ("predicted", "upper"))
    assert told["networks compiled by XLA on an H100, one model left out"] == f"{mean} % (raw {raw} %)"

    timed = [*published["NVIDIA"], *published["AMD"], *(row for rows in ours.values() for row in rows)]
    beaten = [sum(int(row[column]) for row in rows) for rows, column in (
        (timed, "faster than lower"), (timed, "runs"), (chips.values(), "faster than the peak"), (chips.values(), "products"))]
    assert told["measured transformers faster than `lower`; products faster than with all operands near"].replace(" ", "") == (
        "{}of{};{}of{}".format(*beaten))

    micro = of_section("truth.md", "Microcontrollers", "factor")["X-CUBE-AI 9.0"]
    means = {row["device"]: row["predicted: mean %"] for row in micro}
    assert told["MLPerf Tiny by one core's costs and one factor"] == (
        f"H7A3ZI {means['nucleo-h7a3zi']} %, U575ZI {means['nucleo-u575zi']} %")
    engine = of_section("truth.md", "Microcontrollers", "network")["TinyEngine"]
    (mcunet,) = (row for row in engine if row["network"] == "mcunet_in3")
    assert told["`mcunet_in3` by TinyEngine"] == mcunet["error"]


def test_a_figure_that_changes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check above reads the page: with another figure there it fails."""
    real = page
    monkeypatch.setitem(globals(), "page", lambda name: re.sub(r"\d\.\d / 76", "99.9 / 76", real(name)))
    with pytest.raises(AssertionError):
        test_predictions_have_the_figures_of_the_page_of_truth()
    monkeypatch.setitem(globals(), "page", lambda name: re.sub(r"(\| all \(\d+\) \| )[\d.]+", r"\g<1>99.9", real(name)))
    with pytest.raises(AssertionError):
        test_readme_has_the_medians_of_the_compilers_page()
