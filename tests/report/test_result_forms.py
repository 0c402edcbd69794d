"""Every result in every form: the forms say the same, columns sum, no digit is cut, and names are no markup."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import costmodel as cm
from costmodel import solve
from costmodel.cli import main
from costmodel.pricing.table import Row, Table
from costmodel.sheets import Column
from costmodel.sheets import Result as Shown
from costmodel.solve.compare import compare
from costmodel.symbolic.forms import symbol
from costmodel.symbolic.plain import cell, plain

AT = {"h": 224, "w": 224}


@pytest.fixture(scope="module")
def results(cost_of) -> dict[str, Shown]:
    cost = cost_of("resnet18")
    point = cost.at(n=2, **AT)
    return {
        "table": point.table(depth=1), "formulas": cost.table(depth=1), "roofline": point.roofline("lecture"),
        "profile": point.live_profile("layer"), "blocks": point.blocks(), "energy": point.energy("horowitz-45nm"),
        "comparison": compare(point, cost_of("mlp").at(**cm.model("mlp").at)), "fit": solve.max_fit(cost, "n", "8GB", at=AT),
        "within": solve.max_batch(cost, "n", "lecture", "10ms", at=AT), "crossover": solve.crossover(cost, "n", "lecture", at=AT),
        "saturation": solve.saturation(cost, "n", "lecture", at=AT), "need": solve.fits(point, "8GB")[0],
        "candidate": solve.devices_for(point, "1s", among=["lecture"])[0],
        "figure": solve.figure_crossover(cost, "bandwidth", "lecture", at={"n": 2, **AT}),
    }


NAMES = ("table", "formulas", "roofline", "profile", "blocks", "energy", "comparison", "fit", "within", "crossover", "saturation",
         "need", "candidate", "figure")


@pytest.mark.parametrize("name", NAMES)
def test_all_forms_have_the_same_rows(results, name):
    result = results[name]
    sheet = result.sheet()
    rows = list(csv.reader(io.StringIO(result.to_csv())))
    told = json.loads(result.to_json())
    frame = result.to_pandas()
    count = len(sheet.rows)
    assert count and len(told["rows"]) == len(frame) == count and len(rows) == 1 + len(sheet.lines)
    assert {len(row) for row in rows} == {len(frame.columns)} and list(frame.columns) == rows[0]
    table = [line for line in result.to_markdown().splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(sheet.lines)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert result.to_latex().count(r"\\") >= 1 + len(sheet.lines)
    assert result._repr_html_().count("<tr>") + result._repr_html_().count("<tr style") == 1 + len(sheet.lines)
    assert result.text(100)


@pytest.mark.parametrize("name", ["table", "roofline", "energy"])
def test_columns_of_programs_sum_to_the_total(results, name):
    result = results[name]
    sheet = result.sheet()
    frame = result.to_pandas()
    total = dict(zip(sheet.columns[1:], sheet.total, strict=True))
    added = [column for column in sheet.columns if column.adds or column.style == "share"] or [sheet.columns[1]]
    assert added
    for column in added:
        assert sum(map(float, frame[column.head])) == pytest.approx(float(total[column]), rel=1e-9)
    assert name != "table" or int(frame["repeats"].max()) > 1


def test_no_digit_is_cut_in_a_narrow_terminal(results):
    for name in ("table", "blocks", "comparison"):
        result = results[name]
        narrow = result.text(40)
        for line in result.sheet().lines:
            for column, value in zip(result.sheet().columns[1:], line.cells, strict=True):
                assert column.style == "text" or column.shown(value) in narrow
    assert all(len(line) <= 40 for line in results["table"].text(40).splitlines())


def test_the_check_of_digits_can_fail():
    table = Table("t", (("a", "b"),), (Row("x", (123_456_789,)),), (123_456_789,), ())
    assert "123,456,789" in table.text(12) and "123,456,78\n" not in table.text(12)


def test_markdown_takes_no_name_for_markup():
    table = Table("t", (("a", "b"),), (Row("a|b*c_d`<i>", (1,)),), (1,), ())
    assert r"a\|b\*c\_d\`\<i\>" in table.to_markdown()


def test_every_result_draws_itself(results, tmp_path):
    pytest.importorskip("matplotlib")
    for name in NAMES:
        if name == "formulas":
            with pytest.raises(cm.CostModelError, match="at a point"):
                results[name].plot()
        else:
            assert results[name].plot().axes
    results["table"].plot(str(tmp_path / "bars.svg"), metric="params")
    assert (tmp_path / "bars.svg").read_text(encoding="utf-8").count("layer4") >= 1


# -- formulas for people ------------------------------------------------------------------------------------------------------


def test_a_convolution_reads_as_a_product(cost_of):
    cost = cost_of("conv2d")
    assert plain(cost.macs) == "c_i·c_o·k_h·k_w·n·(h - k_h + 1)·(w - k_w + 1)"
    lines = cost.latex().splitlines()
    assert r"\text{MACs (dense taps)} &= n h_{o} w_{o} k_{h} k_{w} c_{i} c_{o}\ \text{MAC} \\" in lines
    assert r"h_{o} &= h - k_{h} + 1 \\" in lines and r"w_{o} &= w - k_{w} + 1" in lines


@pytest.mark.parametrize("name", ["conv2d", "conv2d_strided", "conv2d_padded", "mlp", "lstm_layer", "max_pool"])
def test_what_is_factored_is_equal(cost_of, name):
    from costmodel.symbolic.plain import shortest

    for formula in (cost_of(name).macs, cost_of(name).flops, cost_of(name).bytes("unfused")):
        assert (shortest(formula) - formula).expand() == 0


def test_ceilings_are_signs():
    n, h = map(symbol, "nh")
    assert cell(cm.CeilDiv(h, 32) * n) == "n·⌈h/32⌉" and cell(cm.FloorDiv(2*h + 1, 5)) == "⌊(2·h + 1)/5⌋"


# -- the command line ---------------------------------------------------------------------------------------------------------


def run(*arguments: str, columns: int = 120) -> Result:
    return CliRunner().invoke(main, arguments, env={"COLUMNS": str(columns)})


COMMANDS = {
    "show": ("show", "mlp"), "blocks": ("show", "mlp", "--by", "block"), "steps": ("show", "mlp", "--by", "step"),
    "roofline": ("roofline", "mlp", "--hw", "lecture,tpu-v5e"),
    "beside": ("roofline", "mlp", "--hw", "lecture", "--beside", "gemm"),
    "range": ("roofline", "mlp", "--hw", "lecture", "--at", "n=1..4"),
    "compare": ("compare", "mlp", "linear"), "energy": ("energy", "mlp", "--hw", "horowitz-45nm"),
    "solve": ("solve", "mlp", "--over", "n", "--fit", "1GB"), "hw list": ("hw", "list"),
    "sweep": ("sweep", "mlp", "--over", "n=1..4"),
    "check": ("check", "linear", "--at", "n=2,c_i=8,c_o=8", "--hw", "h100-sxm", "--repeat", "2"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_every_form(command):
    if command == "sweep":
        pytest.importorskip("xarray")
    rows = {}
    for form in ("csv", "json", "latex", "markdown"):
        done = run(*COMMANDS[command], f"--{form}")
        assert done.exit_code == 0, done.output
        rows[form] = done.stdout
    records = list(csv.reader(io.StringIO(rows["csv"])))
    assert len(records) > 1 and len({len(record) for record in records}) == 1
    assert isinstance(json.loads(rows["json"]), dict)
    assert r"\begin{tabular}" in rows["latex"] and "|:--|" in rows["markdown"]


@pytest.mark.parametrize("command", ["show", "compare", "hw list", "solve"])
def test_two_forms_at_once_are_refused(command):
    done = run(*COMMANDS[command], "--csv", "--json")
    assert done.exit_code == 2 and done.stdout == "" and "--csv and --json are different forms" in done.stderr


def test_what_a_model_prints_goes_to_stderr(tmp_path, monkeypatch):
    loud = "def twice(x):\n    print('hello from the model')\n    return x * 2\n"
    (tmp_path / "loud_model.py").write_text(loud, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    done = run("show", "loud_model:twice", "--input", "n", "--csv")
    assert done.exit_code == 0 and "hello" in done.stderr and done.stdout.startswith("name,repeats,")


def test_a_wall_of_formulas_is_behind_an_option():
    short = run("show", "conv2d_strided", "--no-verify", columns=100)
    whole = run("show", "conv2d_strided", "--formulas", "--no-verify")
    assert "--formulas shows" in short.stdout
    assert all(len(line) <= 100 for line in short.stdout.splitlines() if line.startswith("  "))
    assert "⌊" in whole.stdout and "--formulas shows" not in whole.stdout


def test_the_picture_of_a_command(tmp_path):
    pytest.importorskip("matplotlib")
    for command in ("show", "blocks", "steps", "beside", "compare", "energy", "solve", "hw list"):
        path = tmp_path / f"{command.replace(' ', '_')}.svg"
        done = run(*COMMANDS[command], "-o", str(path))
        assert done.exit_code == 0 and "<svg" in path.read_text(encoding="utf-8"), done.output
    done = run(*COMMANDS["show"], "-o", "x.jpg")
    assert done.exit_code == 2 and "end it in .svg, .png, .pdf" in done.stderr


def test_first_screens_are_screens():
    """What `make demo` prints goes into one screen."""
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    demo = re.findall(r"costmodel (.*)", makefile[makefile.index("\ndemo:"):makefile.index("\ntest:")])
    shown = [run(*line.split(), "--no-verify").stdout for line in demo]
    assert len(demo) > 1 and all(shown) and len("".join(shown).splitlines()) + len(demo) <= 48


def test_small_figures_keep_their_digits_for_people():
    """Seconds of an answer were 0.0 in tables."""
    column = Column("seconds")
    assert column.shown(0.00012345678) == "0.000123457" and column.shown(12431.04) == "12,431.0" and column.shown(3.0) == "3"
    assert column.shown(True) == "yes"
