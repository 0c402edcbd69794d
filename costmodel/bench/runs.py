"""Measured runs, ours and other people's, and what this model says of each: how long the ceilings are busy, by kind of kernel.

A run stands in a file of JSON lines that :mod:`~costmodel.bench.timing` or ``costmodel check --save`` wrote, or in a CSV file with
the columns

    device     its name, or empty for the device that is calibrated
    model      a zoo model's name, or package.module:attribute
    mode       inference, or train: forward and backward, gradients added to what is there, no optimizer (the loss is a sum)
    at         the point, as b=8 s=512
    seconds    a median
    policy     which operations share a kernel, e.g. eager; empty for the device's own
    precision  what float32 contractions run at: highest, high or default (also if empty)
    family     models that are left out together where one is judged by the others (the model's name if empty)
    software   what ran it, where several programs run the same network on the same device
    dtype      the type that all floating-point arithmetic and arrays are priced in, as int8; empty for what was traced
    joules     measured energy of a run, where there is one
    source     who measured it, with what
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from costmodel.arguments import point
from costmodel.bench.checked import FORMAT as CHECK
from costmodel.bench.timing import FORMAT as TIME
from costmodel.bench.timing import entry_of
from costmodel.errors import CostModelError
from costmodel.hardware import Hardware
from costmodel.pricing.times import price
from costmodel.pricing.workload import policy_of, workload

if TYPE_CHECKING:
    from costmodel.cost import Cost

COLUMNS = ("device", "model", "mode", "at", "seconds", "policy", "precision", "family", "software", "dtype", "joules", "source")
MODES = ("inference", "train")


@dataclass(frozen=True)
class Run:
    """A program at a point and its measured seconds; the fields are the columns of a file of runs. ``versions`` is empty where the
    source has them."""

    device: str
    model: str
    mode: str
    at: tuple[tuple[str, int], ...]
    seconds: float
    policy: str
    precision: str
    family: str
    source: str
    versions: str = ""
    software: str = ""
    dtype: str = ""
    joules: float | None = None

    @property
    def told(self) -> str:
        """Which program at which point."""
        return f"{self.model} ({self.mode}) at {', '.join(f'{name}={value}' for name, value in self.at)}"


@dataclass(frozen=True)
class Busy:
    """What a device does in a run, by kind of kernel: ``seconds`` that its units and its memory are busy at their ceilings, and
    ``kernels``; with the bounds of the whole."""

    seconds: Mapping[str, float]
    kernels: float
    lower: float
    upper: float
    warm: float


def load_runs(paths: Iterable[str | Path]) -> list[Run]:
    """The runs of files. Raises CostModelError naming file and line of what is none."""
    return [run for path in paths for run in (_csv(Path(path)) if str(path).endswith(".csv") else _lines(Path(path)))]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CostModelError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}; give a file of runs") from None


def _csv(path: Path) -> Iterator[Run]:
    reader = csv.DictReader(_text(path).splitlines())
    missing = [name for name in ("model", "at", "seconds") if name not in (reader.fieldnames or ())]
    if missing:
        raise CostModelError(f"{path}: no column {', '.join(missing)}; the columns of a file of runs are {', '.join(COLUMNS)}")
    for number, row in enumerate(reader, 2):
        cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
        seconds, joules = (_number(cells[name], name, f"{path}:{number}") for name in ("seconds", "joules"))
        mode = cells["mode"] or MODES[0]
        if mode not in MODES or seconds is None:
            raise CostModelError(f"{path}:{number}: expected a mode of {' or '.join(MODES)}, and seconds above 0")
        at = tuple(point((cells["at"].replace(" ", ","),)).items()) if cells["at"] else ()
        yield Run(cells["device"], cells["model"], mode, at, seconds, cells["policy"], cells["precision"] or "default",
                  cells["family"] or cells["model"], cells["source"], software=cells["software"], dtype=cells["dtype"],
                  joules=joules)


def _number(text: str, name: str, where: str) -> float | None:
    """A positive number; None for an empty cell."""
    try:
        value = float(text) if text else None
    except ValueError:
        raise CostModelError(f"{where}: {name} {text!r} is no number") from None
    if value is not None and not 0 < value < float("inf"):
        raise CostModelError(f"{where}: {name} {text} is not above 0")
    return value


def _lines(path: Path) -> Iterator[Run]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        try:
            record = json.loads(line)
            known = record["format"] in (TIME, CHECK)
        except (json.JSONDecodeError, KeyError, TypeError):
            known = False
        if not known:
            raise CostModelError(f"{path}:{number}: not a record of a run: expected format {TIME!r} or {CHECK!r}")
        where = record["environment"]
        source = f"measured {where['date'][:10]} on {where['device']}"
        yield Run("", record["name"], MODES[0], tuple(record["point"].items()), statistics.median(record["samples"]), "", "default",
                  record["name"], source, f"jax {where['jax']} on {where['device']}, {where['date'][:10]}")


@cache
def analysed(model: str, mode: str) -> Cost:
    """The program of a run, in symbols."""
    entry = entry_of(model)
    if mode == "inference":
        return entry.analyze(verify=False)
    import jax
    import optax

    from costmodel.cost import analyze_training

    program, inputs = entry.make()
    # optax.identity adds the gradient to the parameter, which costs what adding it to the gradients so far does.
    return analyze_training(program, *inputs, loss=lambda y: jax.tree.leaves(y)[0].sum(), optimizer=optax.identity(), verify=False,
                            kwargs={**entry.kwargs, "train": True}, rngs=("dropout",), params=entry.params)


@cache
def priced(model: str, mode: str, dtype: str) -> Cost:
    """The program of a run in the type that it ran in."""
    cost = analysed(model, mode)
    return cost.reprice(dtype) if dtype else cost


def busy(run: Run, device: Hardware) -> Busy:
    """What a device is busy with in a run."""
    here = device.at_precision(run.precision)
    at = priced(run.model, run.mode, run.dtype).at(**dict(run.at))
    times = price(workload(at.program, run.policy or policy_of(device, None)).at(at.env), here)
    each: np.ndarray = (sum(times.units.values(), times.memory) * times.runs("upper"))[:, 0]
    seconds: dict[str, float] = {}
    for kind, part in zip(times.kinds, each.tolist(), strict=True):
        seconds[kind] = seconds.get(kind, 0.0) + part
    lower, upper, warm = (float(times.whole(bound)[0]) for bound in ("lower", "upper", "warm"))
    return Busy(seconds, float(times.runs("upper").sum()), lower, upper, warm)


def environment(runs: Iterable[Run]) -> Any:
    """The versions that stand in the records, each once."""
    return "; ".join(dict.fromkeys(run.versions or run.source for run in runs))
