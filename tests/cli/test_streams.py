"""What else comes through a terminal: a model that prints, output that finds no room or no reader, Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import own_models
import pytest
from click.testing import CliRunner
from test_bad_inputs import one_line

from costmodel.cli import main

among_own_models = own_models.among_own_models  # a fixture
pytestmark = pytest.mark.usefixtures("among_own_models")

NOISY = """
import flax.linen as nn
print("NOISE")

class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        print("NOISE")
        return nn.Dense(10)(x)
"""
OF_NOISY = ("show", "explain", "roofline --hw lecture", "energy --hw horowitz-45nm", "train", "solve --fit 1GB", "page -o net.html",
            "mfu --hw lecture --time 3ms", "show --json")


@pytest.mark.parametrize("command", OF_NOISY)
def test_what_a_model_prints_is_not_in_the_result(command: str, among_own_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (among_own_models / "noisy.py").write_text(NOISY, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "noisy", raising=False)
    name, *options = command.split()
    result = CliRunner().invoke(main, [name, "noisy:Net", "--input", "n,4", "--at", "n=2", "--no-cache", *options])
    assert result.exit_code == 0 and result.stdout and "NOISE" not in result.stdout and "NOISE" in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's device that is always full")
def test_output_that_finds_no_room_is_one_line() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([sys.executable, "-m", "costmodel", "lecture", "4"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "no space is left" in one_line(done.stderr)


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------------------


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["costmodel.arguments.model", "costmodel.program.fit.result.raw_program",
                                   "costmodel.program.table.cost_table", "costmodel.arguments._verify",
                                   "costmodel.pricing.table.build", "costmodel.sheets.terminal.text",
                                   "costmodel.pricing.roofline.price", "costmodel.cli.price.end", "click.echo"])
def test_ctrl_c_ends_with_130_wherever_it_comes(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import costmodel.pricing.roofline
    import costmodel.pricing.table  # noqa: F401

    if where == "click.echo":
        monkeypatch.setattr("costmodel.cli.forms.click.echo", _once(interrupted))
    elif where == "costmodel.pricing.table.build":
        monkeypatch.setattr(where, interrupted)
        assert CliRunner().invoke(main, ["show", "mlp", "--no-verify"]).exit_code == 130
        return
    else:
        monkeypatch.setattr(where, interrupted)
    result = CliRunner().invoke(main, ["roofline", "mlp", "--hw", "lecture", "--no-cache"])
    assert result.exit_code == 130 and "Traceback" not in result.output


def _once(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function the first time, and nothing after that."""
    calls = iter([function])
    return lambda *args, **kwargs: next(calls, lambda *a, **k: None)(*args, **kwargs)


def test_ctrl_c_inside_the_users_model_ends_with_130() -> None:
    for by_fit in ("auto", "never", "always"):
        result = CliRunner().invoke(main, ["show", "own:stops", "--input", "n", "--by-fit", by_fit])
        assert result.exit_code == 130 and "Traceback" not in result.output


# -- a reader that goes away -------------------------------------------------------------------------------------------------------


def test_a_picture_is_written_though_nobody_reads_the_text(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        arguments = ["roofline", "mlp", "--hw", "lecture", "--no-verify", "-o", "roof.svg"]
        done = subprocess.run([sys.executable, "-m", "costmodel", *arguments], stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert done.stderr == "" and "<svg" in (tmp_path / "roof.svg").read_text(encoding="utf-8")
