"""Calibrating this machine, end to end and short: measured, fitted, written whole, and believed from then on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from costmodel.bench import calibrate, here, micro
from costmodel.bench.runs import Run
from costmodel.cli import main
from costmodel.errors import CostModelError
from costmodel.hardware import Quantity, load, write

SMALL = (("micro_dot_float32", {"m": 256, "n": 256, "k": 256}), ("micro_axpy", {"m": 2**20}),
         ("micro_depthwise", {"n": 1, "h": 56, "w": 56, "c": 64, "k": 3}),
         ("micro_grouped", {"n": 1, "h": 56, "w": 56, "c": 64, "k": 3}))
NETWORKS = (("tiny_resnet8", {"n": 4, "h": 32, "w": 32}), ("tiny_autoencoder", {"n": 1024}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's devices: this machine, whose figures are a toy's; and few programs to measure."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(calibrate, "NETWORKS", NETWORKS)
    monkeypatch.setattr(calibrate, "PROBE", SMALL[0])
    monkeypatch.setattr(micro, "SMALL", SMALL)
    device = dataclasses.replace(load("raspberry-pi-5"), name="local", kind="cpu", fusion="xla-cpu",
                                 launch_overhead=Quantity(1e-6, "s", "s"), call_overhead=Quantity(2e-5, "s", "s"))
    write(device, tmp_path / "costmodel" / "hardware" / "local.toml")
    return tmp_path / "costmodel" / "hardware"


def succeed(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_this_machine_is_calibrated_end_to_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = succeed("calibrate", "--apart", "0", "--seconds", "60")
    assert "runs of 2 models" in out and "written to" in out
    found = load("local").calibration["xla-cpu"]
    assert (found.runs, found.models) == (4, 2)  # each network twice
    assert {"grouped conv", "depthwise conv"} <= set(found.kinds)
    records = (folder / "local.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(records) == 2 * len(NETWORKS) + len(SMALL) and all(len(json.loads(r)["samples"]) == 20 for r in records)
    assert not list(folder.glob("*.tmp*"))
    monkeypatch.setattr(here, "CHECKED", NETWORKS[:1])
    told: list[str] = []
    here.main([], told.append)
    assert "median error of 1 networks (all)" in told[-1] and "| tiny_resnet8 (inference)" in told[-1]
    out = succeed("check", "tiny_autoencoder", "--at", "n=8", "--repeat", "3", "--no-verify", "--baselines")
    assert "calibrated on 4 runs" in out and "e + t0" in out


def test_it_waits_for_the_second_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(calibrate.time, "sleep", waited.append)
    monkeypatch.setattr(calibrate, "suite", lambda *_: None)
    monkeypatch.setattr(calibrate, "measure", lambda *_: {"samples": [1.0, 1.0, 1.0, 1.0]})
    (folder / "runs.jsonl").touch()
    assert calibrate.measure_here(load("local"), folder / "runs.jsonl", 1.0, apart=80.0) == ([], "")
    assert 79 < waited[0] <= 80


def test_a_busy_machine_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "suite", lambda *_: None)
    (folder / "runs.jsonl").touch()
    for probes, words in (([[1.0, 1.0, 2.0, 2.0]] * 2, "quartiles of a product's time are 67 % apart"),
                          ([[1.0] * 4, [2.0] * 4], "the same product took 69 % more or less at the end")):
        each = iter(probes)
        monkeypatch.setattr(calibrate, "measure", lambda *_, each=each: {"samples": next(each)})
        assert words in calibrate.measure_here(load("local"), folder / "runs.jsonl", 1.0, apart=0.0)[1]


def test_runs_that_do_not_agree_are_named() -> None:
    def run(model: str, seconds: float) -> Run:
        return Run("", model, "inference", (("n", 1),), seconds, "", "default", model, "s")

    assert calibrate.disagreement([run("a", 1.0), run("b", 2.0), run("a", 1.1), run("b", 2.0)]) == ""
    told = calibrate.disagreement([run("a", 1.0), run("b", 2.0), run("a", 1.1), run("b", 3.0)])
    assert told == "b (inference) at n=1 took 50 % longer in one of two runs"


def test_a_device_without_a_calibration_is_not_judged(folder: Path) -> None:
    with pytest.raises(CostModelError, match="run `costmodel calibrate` first"):
        here.judged(load("local"), [Run("", "tiny_autoencoder", "inference", (("n", 1),), 1.0, "", "default", "a", "s")])
