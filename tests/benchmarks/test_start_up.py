"""What the command line takes in whole processes: a model for the first time, the same again, and the devices.

    python -m pytest -s -m benchmark tests/benchmarks/test_start_up.py

``COSTMODEL_BASE`` names the folder of another version of costmodel with which the first call is compared, in turn.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPETITIONS = 5
SECOND_SECONDS = 1.5
DEVICES_SECONDS = 0.4
FIRST_RATIO = 0.7
ROOT = str(Path(__file__).parents[2])
AT = ("--at", "n=1,h=224,w=224")
SECOND = {
    "show": ("show", "resnet50", *AT),
    "roofline": ("roofline", "resnet50", "--hw", "h100-sxm", *AT),
    "solve": ("solve", "resnet50", "--over", "n", "--fit", "80GB", "--saturation", "--hw", "h100-sxm"),
    "sweep": ("sweep", "resnet50", "--over", "n=2..64*2", "--hw", "h100-sxm"),
}


def seconds(*arguments: str, root: str = ROOT, bytecode: str = "") -> tuple[float, float]:
    """(of a processor, by the clock) in a fresh process whose modules are compiled already. It starts in ``root``: -m looks in the
    working directory before PYTHONPATH."""
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "costmodel", *arguments], capture_output=True, check=True, env=environment,
                   cwd=root)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, time.perf_counter() - start


@pytest.mark.benchmark
def test_a_first_call_and_second_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("COSTMODEL_CACHE", str(tmp_path / "cache"))
    base = os.environ.get("COSTMODEL_BASE")
    first, of_base = [], []
    for _ in range(REPETITIONS + 1):
        subprocess.run([sys.executable, "-m", "costmodel", "cache", "clear"], capture_output=True, check=True)
        first.append(seconds(*SECOND["show"], bytecode=str(tmp_path / "ours"))[0])
        if base:
            of_base.append(seconds(*SECOND["show"], root=base, bytecode=str(tmp_path / "base"))[0])
    print(f"\nfirst show: {statistics.median(first[1:]):.2f} CPU s", end="")
    if base:
        ratio = statistics.median(a/b for a, b in zip(first[1:], of_base[1:], strict=True))
        print(f", {ratio:.2f} of the {statistics.median(of_base[1:]):.2f} of {base}", end="")
        assert ratio <= FIRST_RATIO
    for name, command in SECOND.items():
        seconds(*command, bytecode=str(tmp_path / "ours"))
        again = [seconds(*command, bytecode=str(tmp_path / "ours"))[0] for _ in range(REPETITIONS)]
        print(f"\nsecond {name}: {statistics.median(again):.2f} CPU s, at least {min(again):.2f}", end="")
        assert min(again) <= SECOND_SECONDS


@pytest.mark.benchmark
def test_devices_are_listed_at_once(tmp_path):
    best = min(seconds("hw", "list", bytecode=str(tmp_path))[1] for _ in range(REPETITIONS + 1))
    print(f"\nhw list: {best:.2f} s")
    assert best <= DEVICES_SECONDS


@pytest.mark.benchmark
@pytest.mark.parametrize("model", ["resnet50", "mobilenet_v2", "gpt2"])
def test_a_page_takes_at_most_twice_what_show_takes(model, tmp_path):
    shown, written = (statistics.median(seconds(*command, "--no-cache", bytecode=str(tmp_path))[0] for _ in range(REPETITIONS))
                      for command in (("show", model), ("page", model, "-o", str(tmp_path / "page.html"))))
    print(f"\n{model}: show {shown:.2f} CPU s, page {written:.2f}, {written/shown:.2f}×")
    assert written <= 2*shown
