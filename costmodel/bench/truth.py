"""Every published or own measurement against every predictor, as a page: `python -m costmodel.bench.truth docs/measurements/runs`.

Each family of models is predicted by a fit to the others on the same device, so no row judges what it was fitted to.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from costmodel.bench.fitting import RELATIVE, fit, left_out, spread
from costmodel.bench.microcontrollers import convolution
from costmodel.bench.microcontrollers import page as microcontrollers
from costmodel.bench.products import page as products
from costmodel.bench.products import programs_page
from costmodel.bench.runs import Busy, Run, busy, load_runs
from costmodel.hardware import Hardware, load
from costmodel.text import si, table

_HEAD = """# Predictions against measurements

Written by `make truth` from the records in `docs/measurements/runs`, nothing by hand. `predicted` is
Σ over kernels (compute + memory) / e + N · t0 (+ a call), with e and t0 fitted to *other* models on the same device
(leave one family of models out); its interval is the one that such a calibration states, meant for nine of ten. `one factor` is the
upper bound times a factor fitted likewise. Errors are |predicted / measured - 1|. Files of runs have the columns that
`costmodel/bench/runs.py` names; `costmodel calibrate DEVICE --from FILE` reads them.
"""


@dataclass(frozen=True)
class Row:
    """A run, what is said of it, and whether the interval held. ``guesses``: predictor -> seconds."""

    run: Run
    busy: Busy
    guesses: Mapping[str, float]
    inside: bool

    def error(self, predictor: str) -> float:
        """The part by which a prediction is above the measured seconds; below zero, under them."""
        return self.guesses[predictor] / self.run.seconds - 1


def rows(runs: Sequence[Run], device: Hardware, call: bool = False) -> list[Row]:
    """The rows of one device under one policy; runs of the only family there is give none."""
    busys = [busy(run, device) for run in runs]
    kinds = RELATIVE.get(runs[0].policy or device.fusion, {})
    predicted = left_out(runs, busys, call=call, kinds=kinds)
    found = []
    for run, b, p in zip(runs, busys, predicted, strict=True):
        if p is None:
            continue
        others = [(r, o) for r, o in zip(runs, busys, strict=True) if r.family != run.family]
        factor = statistics.fmean(o.upper / r.seconds for r, o in others)
        low, high = _interval(others, call, kinds)
        found.append(Row(run, b, {"lower": b.lower, "upper": b.upper, "one factor": b.upper / factor, "predicted": p},
                         low <= run.seconds / p <= high))
    return found


def _interval(others: Sequence[tuple[Run, Busy]], call: bool, kinds: Mapping[str, float]) -> tuple[float, float]:
    """The interval that a calibration on these states: by each other, or, of one family, as they are fitted."""
    runs, busys = [r for r, _ in others], [b for _, b in others]
    families = len({r.family for r in runs})
    if families > 1:
        guesses = left_out(runs, busys, call=call, kinds=kinds)
    else:
        found = fit([(r.seconds, b) for r, b in others], call=call, kinds=kinds)
        guesses = [found.predicted(b) for b in busys]
    width = 1.6449 * spread([math.log(r.seconds / g) for r, g in zip(runs, guesses, strict=True) if g], families)
    return math.exp(-width), math.exp(width)


PREDICTORS = ("lower", "upper", "one factor", "predicted")


def summary(found: Sequence[Row]) -> tuple[str, ...]:
    """Rows, and of each predictor the mean error and the share within 10 %; then how many intervals held, and rows below lower."""
    def told(predictor: str) -> str:
        errors = [abs(row.error(predictor)) for row in found]
        return f"{100 * statistics.fmean(errors):.1f} / {100 * statistics.fmean(e <= 0.1 for e in errors):.0f}"

    beaten = sum(row.run.seconds < row.busy.lower for row in found)
    inside = f"{100 * statistics.fmean(row.inside for row in found):.0f} %"
    return (str(len(found)), *(told(p) for p in PREDICTORS), inside, str(beaten))


def _section(title: str, text: str, groups: Mapping[str, Sequence[Row]],
             sums: Mapping[str, Callable[[str], bool]]) -> Iterator[str]:
    yield f"## {title}\n\n{text}\n"
    head = ("device", "runs", *(f"{p}: mean % / within 10 %" for p in PREDICTORS), "in the 90 % interval", "faster than lower")
    body = [(name, *summary(found)) for name, found in groups.items() if found]
    for name, chosen in sums.items():
        together = [row for device, found in groups.items() if chosen(device) for row in found]
        if together:
            body.append((f"**{name}**", *summary(together)))
    yield table(head, body) + "\n"
    yield "The rows, worst first:\n"
    every = [(device, row) for device, found in groups.items() for row in found]
    every.sort(key=lambda pair: -abs(pair[1].error("predicted")))
    yield table(("device", "run", "measured", "lower", "upper", "predicted", "error"),
                 [(device, row.run.told, si(row.run.seconds, "s"), si(row.busy.lower, "s"), si(row.busy.upper, "s"),
                   si(row.guesses["predicted"], "s"), f"{100 * row.error('predicted'):+.0f} %") for device, row in every]) + "\n"


def by_device(runs: Sequence[Run], default: str = "", call: bool = False) -> dict[str, list[Row]]:
    """The rows of each device, by name."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.device or default, []).append(run)
    return {name: rows(own, load(name), call) for name, own in groups.items()}


def is_amd(device: str) -> bool:
    """Whether a device's name is one of AMD's."""
    return device.startswith("mi")


def page(folder: Path) -> Iterator[str]:
    """The page, part by part."""
    yield _HEAD
    published = by_device(load_runs([folder / "transformers-published.csv"]))
    yield from _section("Transformers, eager PyTorch, published", "Kernels of policy `eager`; float32 without TF32. Training is "
                        "forward and backward, with gradients accumulated.", published,
                        {"NVIDIA": lambda d: not is_amd(d), "AMD": is_amd})
    own = by_device(load_runs([folder / "transformers-h100.csv"]))
    yield from _section("Transformers, eager PyTorch, one H100 of ours", "Five models.", own, {})
    networks = by_device(load_runs([folder / "h100-times-2026-11-26.jsonl"]), "h100-sxm", call=True)
    yield from _section("Networks that XLA compiled, one H100 of ours", "Kernels of policy `xla-gpu`; medians of calls with "
                        "the wait for their result.", networks, {})
    yield from products(folder / "products-published.csv")
    yield from programs_page(folder / "h100-products-2026-11-26.jsonl", "h100-sxm")
    yield ""
    yield from microcontrollers(folder / "mcu-published.csv")
    yield from convolution(folder.parent / "published" / "eyeriss-like.csv")


if __name__ == "__main__":
    print("\n".join(page(Path(sys.argv[1]))), end="")
