"""`costmodel page`: a file that says where it starts and what it offers, and mistakes that end in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from costmodel.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["page", *arguments])


def data(path: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.S)
    assert found
    return json.loads(found[1])


def test_a_page_is_written(tmp_path: Path) -> None:
    path = tmp_path / "mlp.html"
    result = run("mlp", "--hw", "tpu-v5e,lecture", "--at", "n=3,d=5,a=7,b=11,c=2", "-o", str(path))
    assert result.exit_code == 0, result.output
    kB = round(path.stat().st_size / 1000)
    assert result.stdout.startswith(f"written to {path}: {kB} kB") and "verified against a concrete trace at n=3" in result.stdout
    found = data(path)
    assert [d["name"] for d in found["devices"]] == ["tpu-v5e", "lecture"] and found["device"] == 0
    assert found["start"] == {"n": 3, "d": 5, "a": 7, "b": 11, "c": 2} and found["name"] == "mlp"
    assert any("verified against a concrete trace" in note for note in found["notes"])


def test_a_training_step(tmp_path: Path) -> None:
    path = tmp_path / "step.html"
    result = run("mlp", "--hw", "lecture", "--train", "adamw", "-o", str(path))
    assert result.exit_code == 0, result.output
    assert data(path)["name"] == "mlp, adamw step" and "optimizer" in data(path)["held"]


@pytest.mark.parametrize(("arguments", "message"), [
    (("mlp", "-o", "page.pdf"), "give -o FILE.html"),
    (("mlp", "--hw", " , "), "--hw names no device"),
    (("mlp", "--hw", "h100"), "did you mean"),
    (("mlp", "--at", "n=0,d=5,a=7,b=11,c=2"), "n=0 is outside its domain n >= 1"),
    (("mlpp",), "did you mean mlp"),
])
def test_a_mistake_is_one_line(arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.stderr and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
