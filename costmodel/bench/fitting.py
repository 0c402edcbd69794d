"""A calibration from measured runs: t = Σ over kernels (compute + memory) / e + N · t0 (+ call): least squares of relative errors.

Both unknowns enter linearly as 1 / e and t0, so a fit is exact and needs no start. A weak prior holds t0 where only long runs were
measured. The spread is that of runs of models which the fit did not see; with one model, that between models is taken from others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from costmodel.bench.runs import Busy, Run, environment
from costmodel.errors import CostModelError
from costmodel.hardware import Calibration, Quantity

LAUNCH, LAUNCH_DEVIATION = 6e-6, 12e-6  # s a kernel on most devices: what is believed before any run is seen
DEVIATION = 0.03  # of a run's relative error
# What kernels of a kind reach with respect to products where only whole networks are known: what is read and written streams
# nearer to its ceiling than float32 products do to theirs. The value with which 13 eager networks on an H100
# (docs/measurements/runs/transformers-h100.csv) predict each other best; published latencies of other devices judge it.
STREAMS = 1.35
RELATIVE: Mapping[str, Mapping[str, float]] = {
    "eager": {"dot": 1.0, **dict.fromkeys(("elementwise", "reduce", "copy", "gather", "scatter"), STREAMS)},
}
BETWEEN = 0.1  # standard deviation of log(measured / predicted) between models, of published latencies; worth two models


@dataclass(frozen=True)
class Fit:
    """Seconds of a run: Σ busy / (reached[kind] or ``reached``) + launch · kernels + call."""

    reached: float
    launch: float
    call: float
    kinds: Mapping[str, float]

    def predicted(self, busy: Busy) -> float:
        """Seconds of a run, its launches and its call included."""
        return self.reached_seconds(busy) + self.launch * busy.kernels + self.call

    def reached_seconds(self, busy: Busy) -> float:
        """Seconds of a run at what its kinds of kernels reach."""
        return sum(seconds / self.kinds.get(kind, self.reached) for kind, seconds in busy.seconds.items())


def fit(measured: Sequence[tuple[float, Busy]], *, call: bool = False, kinds: Mapping[str, float] | None = None,
        launch: tuple[float, float] = (LAUNCH, LAUNCH_DEVIATION)) -> Fit:
    """The two numbers, and where asked for the seconds of a call, from (seconds, what is busy) of runs.

    kinds: what kernels of a kind reach with respect to each other, which is kept: the networks scale all of them together.
    launch: s a kernel that are believed before, and their standard deviation.
    """
    from scipy.optimize import nnls  # jax brings it

    if not measured:
        raise CostModelError("there is no run to calibrate with")
    relative = Fit(1.0, 0.0, 0.0, kinds or {})
    rows = [[relative.reached_seconds(b) / t, b.kernels / t, *([1 / t] if call else [])] for t, b in measured]
    weight = DEVIATION / launch[1]
    prior = [0.0, weight, *([0.0] if call else [])]
    found, _ = nnls(np.array([*rows, prior]), np.array([*np.ones(len(rows)), weight * launch[0]]))
    if not found[0] > 0:
        raise CostModelError("the runs are explained by their number of kernels alone; calibrate with longer ones")
    scale = 1 / found[0]
    return Fit(scale, float(found[1]), float(found[2]) if call else 0.0, {k: e * scale for k, e in (kinds or {}).items()})


def of_one_factor(measured: Sequence[tuple[float, Busy]], *, kinds: Mapping[str, float], launch: float, call: float) -> Fit:
    """Where what kinds reach, a kernel and a call take was measured by itself: the networks give one factor of all kinds, the
    median, so that no overhead is read out of what else a machine does."""
    alone = Fit(1.0, 0.0, 0.0, kinds)
    factors = [max(t - launch * b.kernels - call, t / 10) / alone.reached_seconds(b) for t, b in measured]
    factor = float(np.median(factors))
    return Fit(1 / factor, launch, call, {kind: e / factor for kind, e in kinds.items()})


def by_kind(measured: Sequence[tuple[float, Busy]], floor: float) -> dict[str, float]:
    """What kernels of a kind reach, from runs that are of one kind almost alone: the median, of those that take longer than
    ``floor`` seconds, below which a call's own time is measured."""
    found: dict[str, list[float]] = {}
    for seconds, busy in measured:
        kind, most = max(busy.seconds.items(), key=lambda part: part[1])
        if seconds > floor and most > 0.8 * sum(busy.seconds.values()):
            found.setdefault(kind, []).append(most / seconds)
    return {kind: float(np.exp(np.median(np.log(parts)))) for kind, parts in sorted(found.items())}


def left_out(runs: Sequence[Run], busys: Sequence[Busy], solve: Callable[..., Fit] = fit,
             **options: object) -> list[float | None]:
    """Seconds of each run as predicted by those of other families, fitted by ``solve``; None where there are none."""
    found: list[float | None] = []
    fits: dict[str, Fit | None] = {}
    for run, busy in zip(runs, busys, strict=True):
        if run.family not in fits:
            others = [(r.seconds, b) for r, b in zip(runs, busys, strict=True) if r.family != run.family]
            fits[run.family] = solve(others, **options) if others else None
        fitted = fits[run.family]
        found.append(fitted.predicted(busy) if fitted else None)
    return found


def spread(logs: Sequence[float], models: int) -> float:
    """Standard deviation of log(measured / predicted) of a model not seen, from those of ``models``."""
    own = sum(x * x for x in logs) / len(logs) if logs else 0.0
    return max(0.01, math.sqrt((models * own + 2 * BETWEEN**2) / (models + 2)))


def calibration(runs: Sequence[Run], busys: Sequence[Busy], policy: str, date: str, *, call: bool = False,
                kinds: Mapping[str, float] | None = None) -> Calibration:
    """The calibration of a device from its runs under a policy."""
    return fitted(runs, busys, policy, date, fit, call=call, kinds=kinds)


def fitted(runs: Sequence[Run], busys: Sequence[Busy], policy: str, date: str, solve: Callable[..., Fit],
           **options: object) -> Calibration:
    """As :func:`calibration`, by another way to solve."""
    found = solve([(r.seconds, b) for r, b in zip(runs, busys, strict=True)], **options)
    models = len({run.family for run in runs})
    predicted = left_out(runs, busys, solve, **options) if models > 1 else [found.predicted(b) for b in busys]
    logs = [math.log(run.seconds / p) for run, p in zip(runs, predicted, strict=True) if p]
    source = f"fitted to {len(runs)} runs of {models} {'models' if models > 1 else 'model'}"

    def part(value: float) -> Quantity:
        return Quantity(float(f"{value:.4g}"), "1", source, measured=True)

    return Calibration(policy, part(found.reached), Quantity(float(f"{found.launch:.4g}") or 1e-9, "s", source, measured=True),
                       float(f"{spread(logs, models):.4g}"), len(runs), models, date, environment(runs),
                       Quantity(float(f"{found.call:.4g}"), "s", source, measured=True) if found.call else None,
                       {kind: part(value) for kind, value in found.kinds.items()})
