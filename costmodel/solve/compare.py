"""Two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costmodel.hardware import Hardware
from costmodel.pricing.core import Point
from costmodel.pricing.roofline import roofline
from costmodel.tables import grid, printed
from costmodel.text import cell, shown, si


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
class Comparison:
    """Names of two models, where each is evaluated, and the quantities line by line."""

    names: tuple[str, str]
    points: tuple[dict[str, int], dict[str, int]]
    lines: tuple[Line, ...]

    def text(self, width: int | None = None) -> str:
        """Side by side, as text."""
        return _text(self, width)

    def __str__(self) -> str:
        return self.text()


# (label, metric, its options): what the comparison opens with.
_METRICS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("parameters", "params", {}), ("model size", "model_size", {}), ("MACs", "macs", {}), ("FLOPs", "flops", {}),
    ("bytes, compulsory", "bytes", {"form": "compulsory"}), ("bytes, unfused", "bytes", {"form": "unfused"}),
    ("activations, total", "activations", {"rule": "total"}), ("activations, peak", "activations", {"rule": "peak"}),
    ("live peak, unfused", "live_peak", {}),
)


def compare(first: Point, second: Point, devices: Sequence[Hardware] = (), policy: str | None = None) -> Comparison:
    """Parameters, operations, bytes, activations and, on each device, the time of two models."""
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


def _text(comparison: Comparison, width: int | None = None) -> str:
    heads = [f"{shown(name)}\n{', '.join(f'{k}={v}' for k, v in at.items())}"
             for name, at in zip(comparison.names, comparison.points, strict=True)]
    out = grid("quantity", *heads, "ratio", left=("quantity",))
    for line in comparison.lines:
        exact = line.unit in ("elements", "MAC", "FLOP", "B")
        cells = (cell(v) if exact else si(v, line.unit) for v in (line.first, line.second))
        out.add_row(f"{line.name} [{line.unit}]", *cells, f"{line.ratio:.3g}")
    return printed(out, width)
