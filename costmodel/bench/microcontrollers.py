"""Microcontrollers: what each kind of layer costs, from whole networks, and whether it carries over from one core to another.

One processor computes one layer after another, so a network's time is Σ over kinds (compute + memory) / reached. Few networks are
published for a device, so a prior holds every kind near to the mean of all; what a network's time is beside this form is taken to
scatter by :data:`DEVIATION`.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from costmodel.bench.fitting import Fit
from costmodel.bench.runs import Busy, Run, busy, load_runs
from costmodel.errors import CostModelError
from costmodel.hardware import load
from costmodel.text import si, table

KINDS = ("dot", "conv", "depthwise conv")  # that are fitted apart; others reach the mean
DEVIATION = 0.15  # of a network's relative error, and with a kind's from the mean as 1
FIRST = "nucleo-l4r5zi"  # the device whose costs are tried on the others


def of_kinds(measured: Sequence[tuple[float, Busy]]) -> Fit:
    """What each kind reaches, from (seconds, what is busy) of networks: least squares of relative errors."""
    from scipy.optimize import nnls  # jax brings it

    if not measured:
        raise CostModelError("there is no run to calibrate with")
    mean = 1 / statistics.fmean(sum(b.seconds.values()) / seconds for seconds, b in measured)  # seconds a busy second
    found = [kind for kind in KINDS if any(b.seconds.get(kind) for _, b in measured)]
    rest = np.array([1 - mean * sum(s for kind, s in b.seconds.items() if kind not in found) / seconds for seconds, b in measured])
    rows = np.array([[b.seconds.get(kind, 0.0) / seconds for kind in found] for seconds, b in measured])
    prior = DEVIATION * np.eye(len(found)) / mean
    cost, _ = nnls(np.vstack([rows, prior]), np.concatenate([rest, np.full(len(found), DEVIATION)]))
    return Fit(1 / mean, 0.0, 0.0, {kind: float(1 / each) for kind, each in zip(found, cost, strict=True)})


def scaled(found: Fit, measured: Sequence[tuple[float, Busy]]) -> tuple[Fit, float]:
    """The same costs relative to each other on another core: one factor, the geometric mean over networks, and that factor."""
    factor = math.exp(statistics.fmean(math.log(seconds / found.predicted(b)) for seconds, b in measured))
    return replace(found, reached=found.reached / factor, kinds={k: e / factor for k, e in found.kinds.items()}), factor


def power(runs: Sequence[Run]) -> float | None:
    """Watts drawn while networks run: the mean over runs of which joules are known."""
    watts = [run.joules / run.seconds for run in runs if run.joules]
    return statistics.fmean(watts) if watts else None


def page(file: Path) -> Iterator[str]:
    """The part of a page about microcontrollers, from a file of runs."""
    groups: dict[tuple[str, str, str], list[tuple[Run, Busy]]] = {}
    for run in load_runs([file]):
        groups.setdefault((run.software, run.device, run.dtype), []).append((run, busy(run, load(run.device))))
    yield ("## Microcontrollers, published\n\nKernels of policy `layer`, int8. What the kinds of layers cost is fitted to the\n"
           f"four networks of MLPerf Tiny on one core ({FIRST}); on every other core, these costs times one factor: fitted to all\n"
           "networks where these are the same four, and to the *other* networks where they are not.\n")
    yield table(("software", "device", "runs", "factor", "predicted: mean %", "worst %", "faster than lower"),
                [row for row, _ in _transfers(groups)]) + "\n"
    yield "The rows:\n"
    yield table(("software", "device", "network", "measured", "lower", "predicted", "error"),
                [line for _, lines in _transfers(groups) for line in lines]) + "\n"
    yield from _energies(groups)


def _transfers(groups: Mapping[tuple[str, str, str], Sequence[tuple[Run, Busy]]]) -> Iterator[tuple[tuple[str, ...], list]]:
    for (software, device, dtype), rows in groups.items():
        if dtype != "int8":
            continue
        guesses, told = transferred(groups, software, device)
        errors = [guess / run.seconds - 1 for (run, _), guess in zip(rows, guesses, strict=True)]
        mean, worst = (100 * f(map(abs, errors)) for f in (statistics.fmean, max))
        beaten = sum(run.seconds < b.lower for run, b in rows)
        yield (software, device, str(len(rows)), told, f"{mean:.1f}", f"{worst:.0f}", str(beaten)), [
            (software, device, run.model, si(run.seconds, "s"), si(b.lower, "s"), si(guess, "s"), f"{100 * error:+.0f} %")
            for (run, b), guess, error in zip(rows, guesses, errors, strict=True)]


def transferred(groups: Mapping[tuple[str, str, str], Sequence[tuple[Run, Busy]]], software: str,
                device: str) -> tuple[list[float], str]:
    """Seconds of a device's networks as the costs of the first device say, and the factor in words.

    Costs are those of the same software where it ran on the first device, else of the first software that did.
    """
    rows = groups[software, device, "int8"]
    own = groups.get((software, FIRST, "int8")) or next(g for (_, d, dtype), g in groups.items() if d == FIRST and dtype == "int8")
    costs = of_kinds([(run.seconds, b) for run, b in own])
    if {run.model for run, _ in rows} == {run.model for run, _ in own}:
        found, factor = (costs, 1.0) if device == FIRST else scaled(costs, [(run.seconds, b) for run, b in rows])
        return [found.predicted(b) for _, b in rows], "fitted here" if device == FIRST else f"{factor:.2f}"
    guesses, factors = [], []
    for run, b in rows:
        found, factor = scaled(costs, [(r.seconds, o) for r, o in rows if r.family != run.family])
        guesses.append(found.predicted(b))
        factors.append(f"{factor:.2f}")
    return guesses, ", ".join(factors)


def _energies(groups: Mapping[tuple[str, str, str], Sequence[tuple[Run, Busy]]]) -> Iterator[str]:
    yield ("Energy: the mean power of the *other* networks on the same device times the predicted time (and, to tell the two\n"
           "errors apart, times the measured time).\n")
    lines = []
    for (software, device, dtype), rows in groups.items():
        if dtype != "int8" or not any(run.joules for run, _ in rows):
            continue
        guesses, _ = transferred(groups, software, device)
        for (run, _), guess in zip(rows, guesses, strict=True):
            watts = power([r for r, _ in rows if r.family != run.family])
            assert watts is not None and run.joules is not None
            errors = [f"{100 * (watts * seconds / run.joules - 1):+.0f} %" for seconds in (guess, run.seconds)]
            lines.append((device, run.model, si(run.joules, "J"), si(watts, "W"), si(watts * guess, "J"), *errors))
    yield table(("device", "network", "measured", "power", "predicted", "error", "error by the measured time"), lines) + "\n"


def convolution(file: Path) -> Iterator[str]:
    """What a published design moves for one convolution, from a file of its figures."""
    import jax

    from costmodel.cost import analyze
    from costmodel.trace.requests import spec

    with file.open(encoding="utf-8", newline="") as opened:
        stated = {row["quantity"]: row for row in csv.DictReader(opened)}
    places = ("NHWC", "HWIO", "NHWC")
    cost = analyze(lambda x, w: jax.lax.conv_general_dilated(x, w, (2, 2), "VALID", dimension_numbers=places),
                   spec((1, 225, 225, 3), "int16"), spec((3, 3, 3, 32), "int16"), params=1)
    ours = {"multiply-accumulates": cost.macs, "words that must be moved": cost.bytes("compulsory") / 2}
    yield "## What a convolution must move\n\n" + next(iter(stated.values()))["source"] + ".\n"
    yield table(("quantity", "published", "ours"),
                [(name, f"{float(row['value']):,g} {row['unit']}" if name not in ours else f"{int(row['value']):,} {row['unit']}",
                  f"{int(ours[name]):,}" if name in ours else "") for name, row in stated.items()]) + "\n"
