"""Every notebook's code runs from top to bottom, in one namespace, as a reader would run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    namespace: dict[str, object] = {}
    for cell in cells:
        assert not cell.get("outputs"), "notebooks are stored without outputs: run them to see"
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)
    printed = capsys.readouterr().out
    assert "440928" in printed and "36*h*n*w" in printed


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
