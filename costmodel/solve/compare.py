"""Two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware
from costmodel.pictures import Bars
from costmodel.pricing.core import Point
from costmodel.pricing.roofline import roofline
from costmodel.sheets import Amount, Column, Result, Sheet
from costmodel.sheets import Line as Row
from costmodel.text import shown


@dataclass(frozen=True)
class Line:
    """A quantity of both: its name, its unit, and how many times the second's is the first's (infinite for none)."""

    name: str
    unit: str
    first: float
    second: float

    @property
    def ratio(self) -> float:
        """How many times the first's the second's is; infinite if only the first is none, 1 if both are."""
        return self.second / self.first if self.first else float("inf") if self.second else 1.0


@dataclass(frozen=True)
class Comparison(Result):
    """Names of two models, where each is evaluated, and the quantities line by line."""

    names: tuple[str, str]
    points: tuple[dict[str, int], dict[str, int]]
    lines: tuple[Line, ...]

    def sheet(self) -> Sheet:
        """A row a quantity, side by side."""
        heads = [f"{shown(name)} at {', '.join(f'{k}={v}' for k, v in at.items())}" if at else shown(name)
                 for name, at in zip(self.names, self.points, strict=True)]
        if heads[0] == heads[1]:
            heads = [f"{heads[0]} (A)", f"{heads[1]} (B)"]
        rows = tuple(Row(f"{line.name} [{line.unit}]", (*(Amount(v, line.unit) for v in (line.first, line.second)), line.ratio))
                     for line in self.lines)
        return Sheet("", (Column("quantity"), *map(Column, heads), Column("ratio", style="ratio")), rows)


    def chart(self) -> Bars:
        """How many times the first's each quantity of the second is."""
        rows = [(_short(line.name), line.ratio) for line in self.lines if line.ratio < float("inf")]
        return Bars(f"{self.names[1]} beside {self.names[0]}", f"times that of {self.names[0]}", "",
                    tuple(name for name, _ in rows), (("", tuple(ratio for _, ratio in rows)),), ((self.names[0], 1.0),))


_SIGNS = {"at least": "≥", "at most": "≤"}


def _short(name: str) -> str:
    """A quantity's name beside a bar.

    >>> _short("time on tpu-v5e, at least"), _short("time on t4, calibrated on 4 runs, ±6 %"), _short("MACs")
    ('time ≥, tpu-v5e', 'predicted, t4', 'MACs')
    """
    if not name.startswith("time on "):
        return name
    device, _, what = name.removeprefix("time on ").partition(", ")
    return f"{f'time {_SIGNS[what]}' if what in _SIGNS else 'predicted'}, {device}"


# (label, metric, its options): what the comparison opens with.
_METRICS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("parameters", "params", {}), ("model size", "model_size", {}), ("MACs", "macs", {}), ("FLOPs", "flops", {}),
    ("bytes, compulsory", "bytes", {"form": "compulsory"}), ("bytes, unfused", "bytes", {"form": "unfused"}),
    ("activations, total", "activations", {"rule": "total"}), ("activations, peak", "activations", {"rule": "peak"}),
    ("live peak, unfused", "live_peak", {}),
)


def compare(first: Point, second: Point, devices: Sequence[Hardware] = (), policy: str | None = None) -> Comparison:
    """Parameters, operations, bytes, activations and, on each device, the time of two models. Raises CostModelError for what is
    no cost at a point."""
    if not (isinstance(first, Point) and isinstance(second, Point)):
        raise CostModelError("models are compared at points: compare(cost.at(…), other.at(…)); side_by_side has formulas")
    from costmodel.pricing.workload import metrics

    lines = [Line(label, metrics.get(name).unit, first.metric(name, **options), second.metric(name, **options))
             for label, name, options in _METRICS]
    for device in devices:
        a, b = (roofline(point, device, policy=policy) for point in (first, second))
        lines += [Line(f"time on {device.name}, at least", "s", a.lower, b.lower),
                  Line(f"time on {device.name}, at most", "s", a.upper, b.upper),
                  *([Line(f"time on {device.name}, {a.basis}", "s", a.predicted, b.predicted)]
                    if a.predicted is not None and b.predicted is not None else []),
                  Line(f"intensity, {a.policy}", "OP/B", a.intensity, b.intensity)]
    return Comparison((first.name, second.name), (first.values, second.values), tuple(lines))
