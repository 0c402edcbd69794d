"""How long collectives really take: fitted to measured ones, by link and kind.

Libraries send by several protocols, quick to start or quick to send, and choose one by size: of each kind the model has a few lines
of seconds over steps and bytes, of which the least counts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costmodel.errors import CostModelError
from costmodel.hardware import LinkCalibration, Protocol, Quantity

PROTOCOLS = 3
_ROUNDS = 20


@dataclass(frozen=True)
class Timing:
    """A measured collective of a kind among so many devices, each of which sent so many bytes."""

    kind: str
    devices: int
    sent: float
    seconds: float


def sent_of(kind: str, devices: int, whole: float) -> float:
    """Bytes that each device sends, of the ``whole`` that benchmarks of collectives count: what is gathered or reduced in all, or
    what each device has where all exchange with all."""
    return (2 if kind == "all_reduce" else 1) * (devices - 1) / devices * whole


def fitted(timings: Sequence[Timing], link: str, source: str, date: str, protocols: int = PROTOCOLS) -> LinkCalibration:
    """The calibration of one kind from its timings. ``spread`` is that of every fifth timing as the others predict it. Raises
    CostModelError for timings of several kinds, or too few."""
    kinds = {t.kind for t in timings}
    if len(kinds) != 1 or len(timings) < 5 * protocols:
        raise CostModelError(f"a calibration of a collective takes at least {5 * protocols} timings of one kind, not "
                             f"{len(timings)} of {', '.join(sorted(kinds)) or 'none'}")
    found = _lines(timings, protocols, source)
    made = LinkCalibration(link, next(iter(kinds)), found, 1.0, len(timings), date, source)
    errors = left_out(timings, protocols)
    return LinkCalibration(link, made.kind, found, round(float(np.sqrt(np.mean(np.square(errors)))), 4), len(timings), date, source)


def left_out(timings: Sequence[Timing], protocols: int = PROTOCOLS, folds: int = 5) -> list[float]:
    """log(measured / predicted) of each timing, as those of the other folds predict it."""
    errors = []
    for fold in range(folds):
        kept = [t for i, t in enumerate(timings) if i % folds != fold]
        found = LinkCalibration("", kept[0].kind, _lines(kept, protocols, "fitted"), 1.0, len(kept), "", "")
        errors += [math.log(t.seconds / found.seconds(t.devices, t.sent)) for i, t in enumerate(timings) if i % folds == fold]
    return errors


def _lines(timings: Sequence[Timing], count: int, source: str) -> tuple[Protocol, ...]:
    """The lines whose least is nearest to the timings, by relative error: from several ways to split them by size, those that a
    line is the least for are fitted again until nothing changes."""
    rows = np.array([_row(t) for t in timings])
    seconds = np.array([t.seconds for t in timings])
    sizes = np.array([t.sent for t in timings])
    best: tuple[float, np.ndarray] | None = None
    for cuts in itertools.combinations(np.quantile(sizes, np.linspace(0.2, 0.8, 5)), count - 1):
        of, lines = np.searchsorted(cuts, sizes, side="right"), np.zeros((count, 4))
        for _ in range(_ROUNDS):
            for i in range(count):
                if (of == i).sum() >= 2:
                    lines[i] = _positive(rows[of == i] / seconds[of == i, None])
            again = np.argmin(rows @ lines.T, axis=1)
            if (again == of).all():
                break
            of = again
        error = float(np.abs(np.log((rows @ lines.T).min(axis=1) / seconds)).mean())
        if best is None or error < best[0]:
            best = error, lines
    assert best is not None
    return tuple(_protocol(line, source) for line in sorted(best[1].tolist()))


def _row(t: Timing) -> list[float]:
    return [1.0, float(LinkCalibration.steps(t.kind, t.devices)), t.sent, t.sent / (t.devices - 1)]


def _positive(rows: np.ndarray) -> np.ndarray:
    """The coefficients, none negative, with which rows sum to about 1."""
    best, found = math.inf, np.zeros(rows.shape[1])
    for used in itertools.product([False, True], repeat=rows.shape[1]):
        chosen = np.flatnonzero(used)
        if not len(chosen):
            continue
        scale = np.abs(rows[:, chosen]).max(axis=0)
        values, *_ = np.linalg.lstsq(rows[:, chosen] / scale, np.ones(len(rows)), rcond=None)
        error = float(np.square(rows[:, chosen] / scale @ values - 1).sum())
        if (values >= 0).all() and error < best - 1e-12:
            best, found = error, np.zeros(rows.shape[1])
            found[chosen] = values / scale
    return found


def _protocol(line: Sequence[float], source: str) -> Protocol:
    launch, step, a_byte, own = line

    def seconds(value: float) -> Quantity:
        return Quantity(max(float(f"{value:.4g}"), 1e-10), "s", source)

    def rate(value: float) -> Quantity | None:
        return Quantity(float(f"{1 / value:.4g}"), "B/s", source) if value > 0 else None

    return Protocol(seconds(launch), seconds(step), rate(a_byte), rate(own))
