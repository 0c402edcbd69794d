"""`costmodel lecture`: the commands that make the lecture's figures, each of which works."""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from costmodel.cli import main
from costmodel.cli.lecture import LECTURE, NOTEBOOKS


def run(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


def test_it_lists_every_figure_and_those_of_a_notebook() -> None:
    rows = list(csv.reader(io.StringIO(run("lecture", "--csv").stdout)))
    assert len(rows) == 1 + len(LECTURE) >= 35
    of_memory = list(csv.reader(io.StringIO(run("lecture", "3", "--csv").stdout)))[1:]
    assert of_memory and all(row[1] == "3_memory" for row in of_memory)
    assert {each.notebook for each in LECTURE} == set(NOTEBOOKS)


def test_its_notebooks_are_those_that_there_are() -> None:
    folder = Path(__file__).parents[2] / "notebooks"
    assert sorted(NOTEBOOKS.values()) == sorted(path.stem for path in folder.glob("*.ipynb"))


def test_another_notebook_is_refused() -> None:
    found = run("lecture", "7")
    assert found.exit_code == 2 and found.stderr.strip() == "costmodel: there is no notebook 7: give a number from 1 to 6"


@pytest.mark.parametrize("command", [each.command for each in LECTURE], ids=[each.figure for each in LECTURE])
def test_its_commands_are_spelled_right(command: str) -> None:
    """Every option is one of the command's, without running it."""
    name, *arguments = shlex.split(command)
    assert name == "costmodel"
    group, context = main, None
    while hasattr(group, "commands"):
        group, arguments = group.commands[arguments[0]], arguments[1:]
    context = group.make_context("costmodel", arguments, resilient_parsing=False)
    assert context is not None


@pytest.mark.slow
@pytest.mark.parametrize("command", [each.command for each in LECTURE], ids=[each.figure for each in LECTURE])
def test_its_commands_make_what_they_promise(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, *arguments = shlex.split(command)
    found = run(*arguments)
    assert found.exit_code == 0, found.output
    for name in (word for word in arguments if word.endswith((".svg", ".html"))):
        assert (tmp_path / name).stat().st_size > 1000
