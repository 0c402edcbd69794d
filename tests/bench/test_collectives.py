"""Calibrations of collectives against measured ones (ai-dynamo/aiconfigurator, Apache-2.0), which are left out where they judge."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from costmodel.bench.collectives import Timing, left_out, sent_of
from costmodel.hardware import load

FILE = Path(__file__).parent.parent / "data" / "nccl.csv"
NAMES = {"alltoall": "all_to_all"}
DEVICES = {"h100_sxm": "h100-sxm", "a100_sxm": "a100-sxm-80gb"}


def timings(device: str, kind: str) -> list[Timing]:
    with FILE.open(encoding="utf-8") as opened:
        rows = [r for r in csv.DictReader(opened) if (r["device"], NAMES.get(r["op_name"], r["op_name"])) == (device, kind)]
    return [Timing(kind, p := int(r["num_gpus"]), sent_of(kind, p, 2 * int(r["message_elements"])), float(r["latency_ms"]) / 1e3)
            for r in rows]


def mean(errors: list[float]) -> float:
    return sum(abs(math.expm1(e)) for e in errors) / len(errors)


def test_timings_that_a_fit_did_not_see():
    """One rate and one latency against three protocols, each fifth timing predicted from the others."""
    measured = timings("h100_sxm", "all_gather")
    assert mean(left_out(measured, 1)) > 0.12 and mean(left_out(measured, 3)) < 0.06


@pytest.mark.parametrize("device", DEVICES)
def test_shipped_calibrations_are_near_what_was_measured(device):
    errors = []
    for found in load(DEVICES[device]).collectives:
        measured = timings(device, found.kind)
        errors += [math.log(t.seconds / found.seconds(t.devices, t.sent)) for t in measured]
    assert len(errors) == {"h100_sxm": 143, "a100_sxm": 135}[device] and mean(errors) < 0.06


def test_the_floor_of_eight_devices():
    floors = {c.kind: c.seconds(8, 1) for c in load("h100-sxm").collectives}
    assert 9e-6 < floors["all_gather"] < 11e-6 and 15e-6 < floors["all_reduce"] < 17e-6 and 6e-6 < floors["all_to_all"] < 8e-6
