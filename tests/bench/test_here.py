"""Predictions of calibrated machines against their stored measurements: networks that the calibrations have not seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from costmodel.bench import here

STORED = Path(__file__).parents[2] / "docs/measurements/here"


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["epyc-2026-11-26", "h200-2026-11-26"])
def test_a_calibrated_machine_predicts_new_networks_within_a_fifth_in_the_median(machine: str):
    said: list[str] = []
    here.main(["--judge", str(STORED / f"{machine}.jsonl"), "--device", str(STORED / f"{machine}.toml")], said.append)
    told = re.search(r"median error of (\d+) networks \(new\): ([\d.]+) %", said[0])
    assert told and int(told[1]) >= 12 and float(told[2]) <= 20


def test_records_are_judged_or_saved():
    with pytest.raises(SystemExit):
        here.main(["--judge", "a.jsonl", "--save", "b.jsonl"])
