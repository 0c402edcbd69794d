"""Predictions judged on this machine: `python -m costmodel.bench.here [--save FILE]` after `costmodel calibrate`.

`--judge RECORDS --device FILE` times nothing: it judges stored records by a stored device file.

Networks of the zoo, most of which the calibration has not seen, are timed one after another and set beside what the user's device
``local`` predicts for them: a line each, then the median of the errors, of all and of those that are new. The records are those of
:mod:`costmodel.bench.timing`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from costmodel.bench.calibrate import NETWORKS, networks
from costmodel.bench.runs import Run, analysed, load_runs
from costmodel.bench.timing import suite
from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, load
from costmodel.pricing.roofline import roofline
from costmodel.text import si, table

_IMAGE = {"n": 1, "h": 224, "w": 224}
CHECKED: tuple[tuple[str, Mapping[str, int]], ...] = (
    *NETWORKS, ("alexnet_torchvision", _IMAGE), ("vgg16", _IMAGE), ("resnet34", _IMAGE), ("resnet50", _IMAGE),
    ("efficientnet_b0", _IMAGE), ("mcunet_in3", {"n": 1, "h": 176, "w": 176}), ("convnext_tiny", _IMAGE), ("vit_b_16", _IMAGE),
    ("unet", {"n": 1, "h": 128, "w": 128}), ("gpt2", {"b": 1, "s": 128}), ("bert_large", {"b": 1, "s": 128}),
    ("t5_small", {"b": 1, "s": 128, "t": 32}), ("tiny_mobilenet_v1", {"n": 8, "h": 96, "w": 96}),
    ("tiny_resnet8", {"n": 16, "h": 32, "w": 32}))
_TEXT = {"b": 8, "s": 512}
LARGE: tuple[tuple[str, Mapping[str, int]], ...] = (  # of accelerators
    ("resnet34", {**_IMAGE, "n": 64}), ("resnet50", {**_IMAGE, "n": 32}), ("resnet101", {**_IMAGE, "n": 8}),
    ("vgg16", {**_IMAGE, "n": 8}), ("vit_b_16", {**_IMAGE, "n": 32}), ("vit_l_16", {**_IMAGE, "n": 8}),
    ("bert_large", _TEXT), ("gpt2", {"b": 4, "s": 1024}), ("gpt2_medium", {"b": 1, "s": 1024}),
    ("alexnet_torchvision", {**_IMAGE, "n": 32}), ("convnext_tiny", {**_IMAGE, "n": 16}), ("unet", {"n": 4, "h": 256, "w": 256}),
    ("t5_small", {"b": 4, "s": 512, "t": 128}), ("efficientnet_b0", {**_IMAGE, "n": 32}), ("resnet50", _IMAGE),
    ("vit_b_16", _IMAGE), ("gpt2_decode", {"b": 8, "t": 1024}), ("lstm_lm_medium", {"b": 20, "s": 35}),
    ("mcunet_in3", {"n": 16, "h": 176, "w": 176}), ("convnext_tiny", _IMAGE))
SECONDS = 600.0


def judged(device: Hardware, runs: Sequence[Run]) -> list[tuple[Run, float, tuple[float, float]]]:
    """Each run, the seconds predicted for it, and the interval."""
    found = []
    for run in runs:
        bounds = roofline(analysed(run.model, run.mode).at(**dict(run.at)), device)
        if bounds.predicted is None or bounds.interval is None:
            raise CostModelError(f"{device.name} is not calibrated: run `costmodel calibrate` first")
        found.append((run, bounds.predicted, bounds.interval))
    return found


def page(device: Hardware, runs: Sequence[Run]) -> str:
    """A table of the runs, worst first, and what their errors are in the median."""
    rows = sorted(judged(device, runs), key=lambda row: -abs(math.log(row[1] / row[0].seconds)))
    seen = {name for name, _ in networks(device)}
    lines = [(run.told, si(run.seconds, "s"), si(guess, "s"), f"{100 * (guess / run.seconds - 1):+.0f} %",
              "yes" if low <= run.seconds <= high else "no", "yes" if run.model in seen else "")
             for run, guess, (low, high) in rows]
    told = []
    for name, some in (("all", rows), ("new", [row for row in rows if row[0].model not in seen])):
        errors = [abs(guess / run.seconds - 1) for run, guess, _ in some]
        told.append(f"median error of {len(errors)} networks ({name}): {100 * statistics.median(errors):.1f} %" if errors else "")
    head = ("run", "measured", "predicted", "error", "in the 90 % interval", "calibrated on")
    return table(head, lines) + "\n\n" + "\n".join(filter(None, told))


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """What `python -m costmodel.bench.here` does."""
    parser = argparse.ArgumentParser(description="Time networks of the zoo here and judge what the device `local` predicts.")
    parser.add_argument("--save", help="append the records to this file of JSON lines")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--judge", help="judge these records instead of timing anything", metavar="RECORDS")
    parser.add_argument("--device", default="local", help="the calibrated device, by name or file")
    asked = parser.parse_args(arguments)
    if asked.judge and asked.save:
        parser.error("--judge reads records and --save writes them: give one")
    device = load(asked.device)
    judged(device, [])
    if asked.judge:
        say(page(device, load_runs([Path(asked.judge)])))
        return
    with tempfile.TemporaryDirectory() as folder:
        save = Path(asked.save or Path(folder) / "runs.jsonl")
        earlier = len(load_runs([save])) if save.exists() else 0
        suite(CHECKED if device.kind == "cpu" else LARGE, str(save), asked.seconds, say)
        say(page(device, load_runs([save])[earlier:]))


if __name__ == "__main__":
    main()
