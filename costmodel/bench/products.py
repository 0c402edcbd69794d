"""Measured products of two matrices, and a fit of :mod:`~costmodel.pricing.tiles` to them.

    python -m costmodel.bench.products docs/measurements/runs/products-published.csv h100-sxm

prints the table ``[[products]]`` of a device's file. A file of products has the columns device, m, n, k and seconds.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from costmodel.hardware import TILES, Hardware, ProductCalibration, Quantity, load
from costmodel.hardware.write import product_lines
from costmodel.pricing.core import Point
from costmodel.pricing.roofline import roofline
from costmodel.pricing.tiles import Chip, Products, Shaped, shaped
from costmodel.text import si
from costmodel.trace.requests import spec

CHIPS = {"h100-sxm": Chip(132, 989.4e12, 3.35e12), "a100-sxm-80gb": Chip(108, 312e12, 2.039e12)}  # bfloat16
SOURCE, DATE = "ai-dynamo/aiconfigurator (Apache-2.0), cuBLAS", "2025-01-01"
ROUNDS = 80


@dataclass(frozen=True)
class Measured:
    """Products of a device: shapes and seconds."""

    m: np.ndarray
    n: np.ndarray
    k: np.ndarray
    seconds: np.ndarray


def load_products(path: str | Path) -> dict[str, Measured]:
    """The products of a file, by device."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    with Path(path).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["device"], []).append((int(row["m"]), int(row["n"]), int(row["k"]), float(row["seconds"])))
    return {device: Measured(*(np.array(column) for column in zip(*found, strict=True))) for device, found in rows.items()}


def fit_products(chip: Chip, measured: Measured) -> Products:
    """The numbers of :class:`~costmodel.pricing.tiles.Products`, by a search along each of them for the least mean
    of |log error|."""
    forms = shaped(chip, measured.m, measured.n, measured.k)
    logs = np.log(np.array([*[0.75] * len(TILES), 1.0, 1.0, 5e-7, 3e-6, 1e-6, 0.2]))

    def loss(x: np.ndarray) -> float:
        errors = np.abs(np.log(forms.seconds(_products(chip, x)) / measured.seconds))
        return float(errors.mean())

    best, steps = loss(logs), np.full(len(logs), 0.2)
    for _ in range(ROUNDS):
        for i in range(len(logs)):
            tries = [logs + sign * steps[i] * np.eye(len(logs))[i] for sign in (1, -1)]
            found = [loss(x) for x in tries]
            if min(found) < best:
                best, logs = min(found), tries[int(np.argmin(found))]
                steps[i] *= 1.3
            else:
                steps[i] = max(steps[i] * 0.6, 0.01)
    return _products(chip, logs)


def _products(chip: Chip, logs: np.ndarray) -> Products:
    reached, rest = np.split(np.exp(logs), [len(TILES)])
    memory, sums, start, launch, again, apart = rest.tolist()
    return Products(chip, tuple(np.minimum(reached, 1).tolist()), memory, sums, start, launch, again, min(apart, 1.0))


def halves(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A random half of so many products, and the other."""
    first = np.random.default_rng(seed).random(count) < 0.5
    return np.flatnonzero(first), np.flatnonzero(~first)


def held_out(chip: Chip, measured: Measured, seed: int = 0) -> np.ndarray:
    """predicted / measured - 1 of a random half, by a fit to the other."""
    mine, other = halves(len(measured.seconds), seed)
    how = fit_products(chip, Measured(*(getattr(measured, name)[mine] for name in ("m", "n", "k", "seconds"))))
    return how.seconds(measured.m[other], measured.n[other], measured.k[other]) / measured.seconds[other] - 1


def calibration(device: str, measured: Measured) -> ProductCalibration:
    """What a device's file states of them: a fit to all, with the spread of a half by a fit to the other."""
    chip = CHIPS[device]
    how, errors = fit_products(chip, measured), held_out(chip, measured)
    source = f"fitted to {len(measured.seconds)} products"

    def figure(value: float, unit: str) -> Quantity:
        return Quantity(float(f"{value:.4g}"), unit, source, measured=True)

    spread = float(f"{np.sqrt(np.mean(np.log1p(errors) ** 2)):.4g}")
    reached = tuple(float(f"{part:.4g}") for part in how.reached)
    return ProductCalibration("bfloat16", chip.multiprocessors, f"NVIDIA's architecture whitepaper; {source}", reached,
                              figure(how.memory, "1"), figure(how.sums, "1"), figure(how.start, "s"), figure(how.launch, "s"),
                              figure(how.again, "s"), figure(how.apart, "1"), spread, len(measured.seconds), DATE, SOURCE)


def beaten(chip: Chip, measured: Measured) -> int:
    """How many ran faster than the peak lets them, with all operands in nearer memory."""
    return int((measured.seconds < 2.0 * measured.m * measured.n * measured.k / chip.peak).sum())


@dataclass(frozen=True)
class Program:
    """``count`` independent products of bfloat16 matrices in one program, as XLA runs it: seconds where calls follow each other
    without a wait, as predicted by their shape and by the efficiency that all products have."""

    m: int
    n: int
    k: int
    count: int
    seconds: float
    shaped: float
    flat: float

    @property
    def told(self) -> str:
        """As a table names it: 16 x (128 x 4096 x 14336)."""
        return f"{self.count} x ({self.m} x {self.n} x {self.k})"


def load_programs(path: str | Path, device: str) -> list[Program]:
    """The measured programs of a file of JSON lines, least of their samples, and what the device's file predicts without the time
    of a call, which a queue hides."""
    from costmodel.cost import analyze

    stated, found = load(device), []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        m, n, k, count = (row[key] for key in ("m", "n", "k", "count"))
        cost = analyze(lambda xs, ws: [x @ w for x, w in zip(xs, ws, strict=True)],
                       [spec((m, k), "bfloat16")] * count, [spec((k, n), "bfloat16")] * count).at()
        by_shape, flat = (_kernels(cost, on) for on in (stated, replace(stated, products=())))
        found.append(Program(m, n, k, count, min(row["stream"]), by_shape, flat))
    return found


def _kernels(cost: Point, device: Hardware) -> float:
    """Seconds of the kernels of a program as predicted."""
    bounds = roofline(cost, device)
    assert bounds.predicted is not None and bounds.stands is not None
    call = bounds.stands.calibration.call
    return bounds.predicted - (call.value if call else 0.0)


def launched(programs: list[Program]) -> list[Program]:
    """Those that are expected to take longer than the shortest program takes, which is what the host needs to launch one."""
    least = min(program.seconds for program in programs)
    return [program for program in programs if program.shaped > least]


def programs_page(path: Path, device: str) -> Iterator[str]:
    """Programs of products, measured here after the device's file was written."""
    every = load_programs(path, device)
    some = launched(every)
    out = len(every) - len(some)
    yield (f"## Products of bfloat16 matrices, one {device} of ours\n\n"
           "The device's file was fitted to the published products, by cuBLAS. These are programs of independent products that\n"
           f"XLA compiled, on another such device, with no number fitted to them. {out} of {len(every)} are left out:\n"
           "their kernels take less than the host needs to launch any program.\n")
    yield "| predicted by | programs | median % | within 10 % |\n|---|---|---|---|"
    for how in ("shaped", "flat"):
        errors = np.abs([getattr(each, how) / each.seconds - 1 for each in some])
        name = {"shaped": "shape", "flat": "the efficiency of all products"}[how]
        yield f"| {name} | {len(some)} | {100 * np.median(errors):.1f} | {100 * np.mean(errors <= 0.1):.0f} |"
    yield "\nThe rows, worst first:\n\n| program | measured | by shape | error |\n|---|---|---|---|"
    for each in sorted(some, key=lambda each: -abs(np.log(each.shaped / each.seconds))):
        yield (f"| {each.told} | {si(each.seconds, 's')} | {si(each.shaped, 's')} | "
               f"{100 * (each.shaped / each.seconds - 1):+.0f} % |")
    yield ""


def page(path: Path) -> Iterator[str]:
    """Products of bfloat16 matrices: a random half by a fit to the other; and a device by the other's fit."""
    yield ("## Products of bfloat16 matrices, published\n\nSource: ai-dynamo/aiconfigurator (Apache-2.0), cuBLAS on H100 SXM and\n"
           "an A100 SXM 80GB. A random half of the shapes by tiles and waves fitted to the other half; and all by the numbers of\n"
           "the other device (what an uncalibrated device of the class would get).\n")
    found = load_products(path)
    lines = ["| device | products | held out: median % / within 10 % | by the other device: median % | faster than the peak |",
             "|---|---|---|---|---|"]
    whole = {device: fit_products(CHIPS[device], each) for device, each in found.items()}
    for device, each in found.items():
        errors = np.abs(held_out(CHIPS[device], each))
        other = next(how for name, how in whole.items() if name != device)
        foreign = Products(CHIPS[device], other.reached, other.memory, other.sums, other.start, other.launch,
                           other.again, other.apart)
        away = np.abs(foreign.seconds(each.m, each.n, each.k) / each.seconds - 1)
        lines.append(f"| {device} | {len(each.seconds)} | {100 * np.median(errors):.1f} / {100 * np.mean(errors <= 0.1):.0f} | "
                     f"{100 * np.median(away):.1f} | {beaten(CHIPS[device], each)} |")
    yield "\n".join(lines) + "\n"


__all__ = ["CHIPS", "Shaped", "beaten", "fit_products", "halves", "held_out", "launched", "load_products", "load_programs", "page",
           "programs_page"]

if __name__ == "__main__":
    print("\n".join(product_lines(calibration(sys.argv[2], load_products(sys.argv[1])[sys.argv[2]]))))
