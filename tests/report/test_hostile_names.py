"""Names that a model chose are text wherever they are shown: no terminal, spreadsheet, LaTeX or picture takes one for a command."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess

import flax.linen as nn
import pytest

import costmodel as cm
from costmodel.pricing.table import Row, Table
from costmodel.report.latex import table_latex
from costmodel.report.plot import draw_rooflines
from costmodel.symbolic.forms import symbol
from costmodel.symbolic.latex import latex
from costmodel.tables import printed
from costmodel.text import shown

NAMES = ("\x1b[2Jgone", "\\[bold]bold[/bold]", "[red]red[/red]", ":smile:", "two\nlines", "\u202eback", "=cmd|' /C calc'!A0",
         "$\\alpha$",
         "a\\input{x}~^{y}")
n = cm.dims("n")


class Hostile(nn.Module):
    @nn.compact
    def __call__(self, x):
        for width, name in enumerate(NAMES, start=4):
            x = nn.Dense(width, name=name)(x)
        return x


@pytest.fixture(scope="module")
def cost() -> cm.Cost:
    return cm.analyze(Hostile(), cm.spec((n, 4)))


@pytest.fixture(scope="module")
def texts(cost) -> dict[str, str]:
    point = cost.at(n=4)
    return {"table": str(cost.table()), "roofline": point.roofline("lecture").text(400),
            "modules": point.roofline("lecture").text(400, by="module"),
            "profile": str(point.live_profile()), "explanation": str(cost.explain(""))}


@pytest.mark.parametrize("what", ["table", "roofline", "modules", "profile", "explanation"])
def test_no_text_commands_a_terminal(texts, what):
    assert all(line.isprintable() for line in texts[what].split("\n"))


@pytest.mark.parametrize("what", ["table", "roofline", "modules"])
def test_names_are_shown_as_they_are(texts, what):
    for name in NAMES:
        assert shown(name) in texts[what], name


def test_markup_after_a_backslash_is_text():
    assert printed(r"\[red]x[/red] :smile: 12 \[") == r"\[red]x[/red] :smile: 12 \["


def test_what_is_shown_is_one_line_and_bounded():
    assert shown("a\tb\r\n\x00\ud800é漢") == r"a\tb\r\n\x00\ud800é漢"
    assert shown("x" * 100, 10) == "x" * 10 + "…"


def test_a_saved_name_is_shown_as_text(cost):
    text = cost.to_json().replace('"Hostile"', r'"\u001b[2J\nflops 0"', 1)
    read = cm.from_json(text)
    assert all("\x1b" not in said for said in (str(read), repr(read), str(read.at(n=4)), str(read.table())))
    assert str(read).splitlines()[0].startswith(r"\x1b[2J\nflops 0")


def table(*labels: str) -> Table:
    cells = (symbol("n") * -3, -7, 2.5)
    rows = tuple(Row(label, cells) for label in labels)
    return Table("t", (("=a", "b"), ("c", "d"), ("e", "f")), rows, cells, ("a note\nof two lines",))


def test_a_spreadsheet_runs_no_cell():
    labels = ("=1+1", "+1", "-1", "@sum", "\tx", "\r=1", "plain")
    rows = list(csv.reader(io.StringIO(table(*labels).to_csv(), newline="")))
    assert [row[0] for row in rows[1:-1]] == ["'=1+1", "'+1", "'-1", "'@sum", r"\tx", r"\r=1", "plain"]
    assert all(row[3:] == ["'-3*n", "-7", "2.5"] for row in rows[1:])  # numbers stay numbers
    assert rows[0][3] == "'=a [b]"


def test_numbers_of_a_point_stay_numbers(cost):
    rows = list(csv.DictReader(io.StringIO(cost.at(n=4).table().to_csv())))
    assert sum(int(row["MACs [MAC]"]) for row in rows[:-1]) == int(rows[-1]["MACs [MAC]"])


def test_latex_prints_names_as_they_are():
    text = table_latex(table("\\input{x}", "a~b^c", "[opt]", "*", "two\nlines"))
    body = text.split("\\midrule\n")[1].splitlines()
    assert body[0].startswith(r"\textbackslash{}input\{x\} &")
    assert body[1].startswith(r"a\textasciitilde{}b\textasciicircum{}c &")
    assert body[2].startswith("{}[opt]") and body[3].startswith("{}*")
    assert body[4].startswith(r"two\textbackslash{}nlines &") and len(body) == 5
    assert text.splitlines()[-1] == r"% a note\nof two lines"


@pytest.mark.parametrize("name", ["_", "__", "_a", "a__b_"])
def test_symbols_of_underscores_have_latex(name):
    assert latex(symbol(name))


def test_a_picture_takes_no_name_for_a_formula(cost):
    figure = draw_rooflines([cost.at(n=4).roofline("lecture")])
    cells = figure.axes[1].tables[0].get_celld().values()
    assert any("$" in drawn.get_text().get_text() for drawn in cells)
    assert not any(drawn.get_text().get_parse_math() for drawn in cells)
    assert not figure.axes[0].get_title("left") or not figure.axes[0]._left_title.get_parse_math()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex to run")
def test_latex_itself_reads_the_table(tmp_path):
    page = r"\documentclass{article}\usepackage{booktabs,amsmath}\begin{document}" + table_latex(table(*NAMES)) + r"\end{document}"
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stdout[-2000:]
