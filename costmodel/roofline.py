"""Counts + a device -> time bounds, the resource that binds, and what is attainable.

Per kernel, with padding taps not computed (``valid``): each engine's time is its operations over its peak; the kernel takes at
least the longest of these and of the memory's time (perfect overlap) and at most their sum (none), plus the device's launch
overhead where it states one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from costmodel import metrics
from costmodel.fusion import Kernel
from costmodel.work import OpKind

if TYPE_CHECKING:
    from costmodel.cost import CostAt
    from costmodel.hardware import Hardware

# Transcendentals run on the vector engine, at its peak divided by the device's stated weight: their times add up.
_RUNS_ON = {"matrix": "matrix", "vector": "vector", "transcendental": "vector"}


def unit_of(device: Hardware, kind: OpKind) -> str:
    """The unit of the device that is busy with such an operation; work on different units can overlap, on one it cannot."""
    return "compute" if device.one_unit else _RUNS_ON[kind.engine]


@dataclass(frozen=True)
class RooflineRow:
    """One kernel on a device. Times in seconds, ``attainable`` in FLOP/s, ``intensity`` in FLOP/B; ``bound`` names what binds:
    ``memory``, an engine, or ``compute`` where the device has one unit for both."""

    label: str
    kind: str
    flops: int
    bytes: float
    compute: tuple[tuple[str, float], ...]
    memory: float
    launch: float
    times: int = 1

    @property
    def intensity(self) -> float:
        return self.flops / self.bytes if self.bytes else float("inf")

    @property
    def bound(self) -> str:
        engine, seconds = max(self.compute, key=lambda c: c[1], default=("", 0.0))
        return "memory" if self.memory >= seconds else engine

    @property
    def lower(self) -> float:
        return max(self.memory, *(s for _, s in self.compute), 0.0) + self.launch

    @property
    def upper(self) -> float:
        return self.memory + sum(s for _, s in self.compute) + self.launch

    @property
    def attainable(self) -> float:
        """FLOP/s if compute and memory overlap perfectly: min(peak, intensity · bandwidth) where one engine works."""
        busy = self.lower - self.launch
        return self.flops / busy if busy else 0.0


@dataclass(frozen=True)
class Roofline:
    """A program on a device at a point: a row per kernel, and their sums. ``batch`` is what throughput counts."""

    name: str
    hardware: Hardware
    point: dict[str, int]
    policy: str
    rows: tuple[RooflineRow, ...]
    batch: int
    coverage: str = ""

    @property
    def lower(self) -> float:
        """Seconds, at least."""
        return sum(r.lower * r.times for r in self.rows)

    @property
    def upper(self) -> float:
        """Seconds, at most, by this model: nothing overlaps."""
        return sum(r.upper * r.times for r in self.rows)

    @property
    def latency(self) -> tuple[float, float]:
        return self.lower, self.upper

    @property
    def throughput(self) -> tuple[float, float]:
        """Items a second: (at most, at least)."""
        return self.batch / self.lower, self.batch / self.upper

    @property
    def flops(self) -> int:
        return sum(r.flops * r.times for r in self.rows)

    @property
    def bytes(self) -> float:
        return sum(r.bytes * r.times for r in self.rows)

    @property
    def intensity(self) -> float:
        return self.flops / self.bytes

    @property
    def attainable(self) -> float:
        return self.flops / self.lower

    def share(self, row: RooflineRow) -> float:
        """Part of the lower time bound that a row takes."""
        return row.lower * row.times / self.lower

    def __str__(self) -> str:
        from costmodel.report.terminal import render_roofline

        return render_roofline(self)


def roofline(cost: CostAt, hardware: str | Hardware, *, policy: str = "layer") -> Roofline:
    """Price the kernels of ``policy`` on a device (a name, a path to a TOML file, or a Hardware).

    Raises MissingPeak where the device has no peak for a type the program computes in: give a device that has, or
    ``reprice(dtype=…)`` the cost first.
    """
    from costmodel.hardware import Hardware, load

    device = hardware if isinstance(hardware, Hardware) else load(hardware)
    rows = tuple(_row(cost, device, kernel) for kernel in cost.kernels(policy))
    return Roofline(cost.name, device, dict(cost.values), policy, rows, cost.values.get("n", 1), str(cost.coverage))


def _row(cost: CostAt, device: Hardware, kernel: Kernel) -> RooflineRow:
    seconds: dict[str, float] = {}
    flops = 0
    for e in kernel.equations:
        flops += cost._value(metrics.work_flops(e.work, taps="valid"))
        for kind, _, valid in e.work.ops:
            engine = unit_of(device, kind)
            seconds[engine] = seconds.get(engine, 0.0) + operation_seconds(device, kind, cost._value(valid))
    crossing = float(cost._value(kernel.bytes))
    launch = device.launch_overhead.value if device.launch_overhead else 0.0
    label = "/".join(kernel.path) or kernel.main.primitive
    return RooflineRow(label, kernel.kind, flops, crossing, tuple(sorted(seconds.items())),
                       crossing / device.bandwidth.value, launch, int(cost._value(kernel.times)))


def operation_seconds(device: Hardware, kind: OpKind, count: float) -> float:
    """Seconds of ``count`` operations at the device's peak; a multiply-accumulate is two operations."""
    if not count:
        return 0.0
    precision = kind.precision.split("/")[-1] if kind.precision else None
    return (2 if kind.name == "mac" else 1) * float(count) / device.peak(kind.engine, kind.dtype, precision)
