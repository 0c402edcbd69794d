"""The notebooks as files: public names only, short cells, no outputs, questions with answers. `make notebooks` runs them."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import costmodel as cm

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
LINES = 12  # of a code cell at most
ROOMS = ("hardware", "pictures", "report", "solve")  # what notebooks import from beside the top


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code(cell: dict) -> str:
    """A code cell's Python, without the lines that are IPython's."""
    return "".join(line for line in cell["source"] if not line.startswith("%"))


def problems(cells: list[dict]) -> list[str]:
    """What is wrong with a notebook's cells."""
    found = []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        text = code(cell)
        found += ["it is stored with outputs"] if cell["outputs"] or cell["execution_count"] else []
        found += [f"a cell has more than {LINES} lines: {text}"] if len(text.splitlines()) > LINES else []
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("costmodel", "zoo"):
                public = node.module.split(".")[:2] in [["costmodel", room] for room in ROOMS]
                found += [] if public else [f"{node.module} is no room for users"]
            if isinstance(node, ast.Attribute):
                found += [f"{node.attr} is private"] if node.attr.startswith("_") else []
                unknown = ast.unparse(node.value) == "cm" and node.attr not in cm.__all__
                found += [f"cm.{node.attr} does not exist"] if unknown else []
    answers = ["hide-cell" in cell["metadata"].get("tags", ()) for cell in cells]
    for cell, answered in zip(cells, [*answers[1:], False], strict=True):
        found += ["a question without an answer"] if "**Question.**" in "".join(cell["source"]) and not answered else []
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_fit_to_be_read(path: Path) -> None:
    assert problems(cells(path)) == []
    assert sum("**Question.**" in "".join(cell["source"]) for cell in cells(path)) >= 2


def test_there_are_six() -> None:
    assert [path.name[0] for path in NOTEBOOKS] == list("123456")


def test_the_check_can_fail() -> None:
    asked = {"cell_type": "markdown", "metadata": {}, "source": ["**Question.** Why?"]}
    bad = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": 1,
           "source": ["from costmodel.rules.work import BITS\n", "cm.nothing\n", *["x._y\n"] * LINES]}
    assert len(set(problems([asked, bad]))) == 6
