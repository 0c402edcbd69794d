"""Published training steps on several devices against plans' forms, and a device's calibration from them.

`python -m costmodel.bench.steps docs/measurements/runs` writes ``costmodel/hardware/training/a100-sxm-80gb.toml`` from measured
products and collectives and every tenth of vTrain's steps. The other nine tenths and Megatron's steps judge it: docs/plans.md.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from costmodel.hardware import load
from costmodel.models import model
from costmodel.pricing.products import calibrated
from costmodel.pricing.topology import lay
from costmodel.solve import TRAINED, Composer, Plan, Rates, Stages, StepCost

DEVICE = "a100-sxm-80gb"
TENTH = 10
VOCABULARY, MULTIPLE = 50257, 128  # GPT-2's, padded for each device as Megatron does


@dataclass(frozen=True)
class Step:
    """A measured step: its plan, sizes of the model by symbol ("layers" too), whether the sequence is split, and its seconds."""

    name: str
    plan: Plan
    sizes: dict[str, int]
    sequence_parallel: bool
    seconds: float


def vtrain(folder: Path) -> list[Step]:
    """744 steps of Megatron-DeepSpeed on one node of A100s, with full recomputation and 1F1B (Bang et al., vTrain, 2023)."""
    found = []
    for row in _rows(folder / "steps-vtrain-a100.csv"):
        n = {key: int(value) for key, value in row.items() if key != "seconds"}
        each = MULTIPLE * n["tensor"]
        sizes = {"h": n["h"], "a": n["a"], "d": n["h"] // n["a"], "s": n["s"], "v": -(-VOCABULARY // each) * each,
                 "layers": n["layers"]}
        plan = Plan(n["data"], n["tensor"], n["pipeline"], 1, n["microbatch"], n["global_batch"], "full")
        name = f"h={n['h']}, {n['layers']} layers, dp {n['data']}, tp {n['tensor']}, pp {n['pipeline']}, b={n['microbatch']}"
        found.append(Step(name, plan, sizes, False, float(row["seconds"])))
    return found


def megatron(folder: Path) -> list[Step]:
    """The steps of Table 5 of Korthikanti et al., 2022."""
    return [_published(row) for row in _rows(folder / "steps-megatron.csv") if row["set"] == "table5"]


def figures(folder: Path) -> list[tuple[dict[str, str], Step]]:
    """The rows of their Figures 1 and 7, of memory, and the plans that these are of."""
    return [(row, _published(row)) for row in _rows(folder / "steps-megatron.csv") if row["set"] != "table5"]


def _published(row: dict[str, str]) -> Step:
    sizes = {key: int(row[key]) for key in ("h", "a", "d", "s", "v", "layers")}
    data, tensor, pipeline, chunks, microbatch, batch = (
        int(row[key]) for key in ("data", "tensor", "pipeline", "chunks", "microbatch", "global_batch"))
    plan = Plan(data, tensor, pipeline, chunks, microbatch, batch, row["recompute"])
    return Step(f"{row['model']}, {row['recompute']}", plan, sizes, row["sequence_parallel"] == "True", float(row["published"]))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Predictor:
    """Steps by a device's rates. ``stages`` are traced once, whatever the sizes."""

    def __init__(self, rates: Rates, stages: dict[bool, Stages]) -> None:
        self.rates, self.stages = rates, stages
        self._composers: dict[Any, Composer] = {}

    def __call__(self, step: Step) -> StepCost:
        """The step's cost as predicted."""
        sizes = {key: value for key, value in step.sizes.items() if key != "layers"}
        key = (step.sequence_parallel, *sorted(sizes.items()))
        if key not in self._composers:
            self._composers[key] = Composer(self.stages[step.sequence_parallel], self.rates, **sizes)
            self._composers[key].prepare((1, 2, 4, 8), step.plan.tensor)
        return self._composers[key].cost(step.plan, layers=step.sizes["layers"])

    def errors(self, steps: Sequence[Step]) -> np.ndarray:
        """predicted / measured - 1."""
        return np.array([self(step).seconds / step.seconds - 1 for step in steps])


def traced() -> dict[bool, Stages]:
    """The stages of Megatron's GPT, without and with sequence parallelism, in a framework that is not compiled."""
    stack = model("megatron_22b").stack
    assert stack is not None
    return {parallel: Stages(stack(), parallel, compiled=False) for parallel in (False, True)}


# -- calibration -------------------------------------------------------------------------------------------------------------------

def fit_protocols(folder: Path) -> tuple[tuple[tuple[float, float], ...], float, float]:
    """(protocols, hop, mean of |log error|) of measured collectives within a node."""
    device = load(DEVICE)
    rows = [(row["kind"], int(row["devices"]), int(row["bytes"]), float(row["seconds"]))
            for row in _rows(folder / "collectives-a100.csv")]
    legs = {n: lay(device, {"model": n}).over(("model",)) for _, n, _, _ in rows}

    def errors(logs: np.ndarray) -> list[float]:
        soon, soon_reached, late, late_reached, hop = np.exp(logs)
        rates = Rates(device, protocols=((soon, soon_reached), (late, late_reached)), hop=hop)
        sent = {"all_reduce": 2}
        return [float(np.log(rates.sending(kind, sent.get(kind, 1) * size * (1 - 1 / n), legs[n]) / seconds))
                for kind, n, size, seconds in rows]

    found = _least(errors, [12e-6, 0.2, 40e-6, 0.7, 0.5e-6])
    soon, soon_reached, late, late_reached, hop = np.exp(found)
    return ((soon, soon_reached), (late, late_reached)), hop, float(np.abs(errors(found)).mean())


def fit_kernels(rates: Rates, stages: dict[bool, Stages], steps: Sequence[Step]) -> Rates:
    """The rates with seconds a kernel, on the device and the host, and a step, from measured steps. Kernels that are no products
    move their bytes as fast as products stream their operands, which is measured."""
    assert rates.products is not None
    streamed = replace(rates, moved=rates.products.memory)

    def made(logs: np.ndarray) -> Rates:
        device, host, step = np.exp(logs)
        return replace(streamed, device=device, host=host, step=step)

    return made(_least(lambda logs: np.log1p(Predictor(made(logs), stages).errors(steps)), [1e-5, 5e-5, 4e-3]))


def _least(errors: Callable[[np.ndarray], Any], start: Sequence[float]) -> np.ndarray:
    from scipy.optimize import least_squares  # jax brings it

    return least_squares(errors, np.log(start), loss="soft_l1", f_scale=0.1, diff_step=1e-3).x


def calibrate(folder: Path) -> Iterator[str]:
    """The text of the device's file."""
    device = load(DEVICE)
    protocols, hop, _ = fit_protocols(folder)
    tenth = vtrain(folder)[::TENTH]
    rates = fit_kernels(Rates(device, calibrated(device, TRAINED), protocols=protocols, hop=hop), traced(), tenth)

    def told(value: Any) -> str:
        return f"[{', '.join(map(told, value))}]" if isinstance(value, tuple) else f"{value:.4g}"

    yield ("# What an A100 SXM 80GB reaches in training steps. Written by `make plans` from\n"
           "# docs/measurements/runs, nothing by hand; how long products take stands in the device's own file.\n"
           f'words = "calibrated on measured products, collectives and {len(tenth)} training steps of other models"\n')
    yield "[links]  # collectives-a100.csv: ai-dynamo/aiconfigurator, Apache-2.0, within a node"
    yield f"protocols = {told(protocols)}\nhop = {told(hop)}\n"
    yield "[kernels]  # moved: as products stream; seconds from every tenth row of steps-vtrain-a100.csv"
    yield f"moved = {told(rates.moved)}\ndevice = {told(rates.device)}\nhost = {told(rates.host)}\n"
    yield f"[step]\nseconds = {told(rates.step)}"


if __name__ == "__main__":
    print("\n".join(calibrate(Path(sys.argv[1]))))
