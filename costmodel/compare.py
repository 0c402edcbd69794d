"""Two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costmodel.cost import CostAt
from costmodel.hardware import Hardware


@dataclass(frozen=True)
class Line:
    """A quantity of both: its name, its unit, and how many times the second's is the first's (infinite for none)."""

    name: str
    unit: str
    first: float
    second: float

    @property
    def ratio(self) -> float:
        return self.second / self.first if self.first else float("inf") if self.second else 1.0


@dataclass(frozen=True)
class Comparison:
    """Names of two models, where each is evaluated, and the quantities line by line."""

    names: tuple[str, str]
    points: tuple[dict[str, int], dict[str, int]]
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        from costmodel.report.terminal import render_comparison

        return render_comparison(self)


# (label, metric, its options): what the comparison opens with.
_METRICS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("parameters", "params", {}), ("model size", "model_size", {}), ("MACs", "macs", {}), ("FLOPs", "flops", {}),
    ("bytes, compulsory", "bytes", {"form": "compulsory"}), ("bytes, unfused", "bytes", {"form": "unfused"}),
    ("activations, total", "activations", {"rule": "total"}), ("activations, peak", "activations", {"rule": "peak"}),
    ("live peak, unfused", "live_peak", {}),
)


def compare(first: CostAt, second: CostAt, devices: Sequence[Hardware] = (), policy: str | None = None) -> Comparison:
    """Parameters, operations, bytes, activations and, on each device, the time of two models."""
    from costmodel import metrics

    lines = [Line(label, metrics.get(name).unit, first.metric(name, **options), second.metric(name, **options))
             for label, name, options in _METRICS]
    for device in devices:
        a, b = (point.roofline(device, policy=policy) for point in (first, second))
        lines += [Line(f"time on {device.name}, at least", "s", a.lower, b.lower),
                  Line(f"time on {device.name}, at most", "s", a.upper, b.upper),
                  Line(f"intensity, {a.policy}", "OP/B", a.intensity, b.intensity)]
    return Comparison((first.name, second.name), (first.values, second.values), tuple(lines))
