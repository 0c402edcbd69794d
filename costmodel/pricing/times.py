"""Kernels priced on a device: the one place where counts become seconds, at a point or on whole grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.hardware import Standing, standing
from costmodel.pricing import communication
from costmodel.pricing.overlap import Beside
from costmodel.pricing.products import calibrated
from costmodel.pricing.sides import Sides, added
from costmodel.pricing.tiles import shaped
from costmodel.pricing.topology import Layout
from costmodel.pricing.workload import Counts
from costmodel.rules.params import Precision
from costmodel.rules.work import BITS, OpKind

if TYPE_CHECKING:
    from costmodel.hardware import Hardware

# Transcendentals run on the vector engine, at its peak divided by the device's stated weight: their times add up.
RUNS_ON = {"matrix": "matrix", "vector": "vector", "transcendental": "vector", "link": "link"}


@dataclass(frozen=True)
class Times:
    """Seconds that one run of each kernel keeps each resource busy, as arrays (kernel, point).

    by_kind: (kind of operation, the kernels that have it, seconds of these).
    engines: by engine: "matrix", "vector" (transcendentals too) and "link".
    memory:  of the main memory, if all that crosses the kernel's border comes from there and goes there.
    levels:  of each further memory whose bandwidth is known, where a kernel's traffic fits into it; infinite elsewhere.
    launch:  seconds a run.
    times:   runs.
    sides:   which kernels exclude each other.
    kinds:   of the kernels.
    stands:  the calibration that predictions go by, and in words what they stand on; None where there is none.
    needed:  (kernel, 1) those without which the program could do, for which no lower bound counts, are false.
    lanes:   by connection to other devices; each goes on by itself, beside the others and the units.
    layout:  the links that the mesh's axes are laid on, where anything is sent.
    beside:  what can run while a kernel sends.
    likely:  (kernel, 1) seconds of kernels that send, as their links are calibrated, and of products, as these are by their
             shape; not a number elsewhere.
    """

    device: Hardware
    by_kind: tuple[tuple[OpKind, np.ndarray, np.ndarray], ...]
    engines: Mapping[str, np.ndarray]
    memory: np.ndarray
    levels: Mapping[str, np.ndarray]
    launch: float
    times: np.ndarray
    sides: Sides
    kinds: tuple[str, ...] = ()
    stands: Standing | None = None
    needed: np.ndarray | bool = True
    lanes: Mapping[str, np.ndarray] = field(default_factory=dict)
    layout: Layout | None = None
    beside: Beside | None = None
    likely: np.ndarray | None = None

    @cached_property
    def units(self) -> Mapping[str, np.ndarray]:
        """By unit: work on different units can overlap, on one it cannot."""
        found: dict[str, np.ndarray] = {}
        for engine, seconds in self.engines.items():
            unit = unit_of(self.device, engine)
            found[unit] = found[unit] + seconds if unit in found else seconds
        return found

    @cached_property
    def lower(self) -> np.ndarray:
        """Seconds of a run, at least: the units and the memory overlap perfectly."""
        return (np.maximum.reduce([self.memory, *self.units.values()]) + self.launch) * self.needed

    @cached_property
    def upper(self) -> np.ndarray:
        """Seconds of a run, at most by this model: nothing overlaps."""
        return sum(self.units.values(), self.memory) + self.launch

    @cached_property
    def warm(self) -> np.ndarray:
        """``lower`` if what fits into a nearer memory is found there."""
        nearest = np.minimum.reduce([self.memory, *self.levels.values()])
        return (np.maximum.reduce([nearest, *self.units.values()]) + self.launch) * self.needed

    @cached_property
    def predicted(self) -> np.ndarray:
        """Seconds that a run is likely to take; not a number where nothing is calibrated. More than ``upper`` where ceilings are
        not reached."""
        if self.stands is None:
            return np.full_like(self.memory, np.nan)
        found = self.stands.calibration
        of_kind = {kind: found.of(kind) for kind in set(self.kinds)}
        reached = np.array([of_kind[kind] for kind in self.kinds])[:, None]
        busy = sum(self.units.values(), self.memory) / reached + found.launch.value
        return busy if self.likely is None else np.where(np.isnan(self.likely), busy, self.likely)

    def resources(self) -> dict[str, np.ndarray]:
        """Seconds by resource over the whole program, an array over the points: units, memory and launch. Of a branch that side
        runs which takes longest at least (or, where the least counts, shortest)."""
        busy = {**self.units, "memory": self.memory, "launch": np.full_like(self.memory, self.launch)}
        return {name: added(seconds * self.runs("lower")) for name, seconds in busy.items()}

    def runs(self, bound: str) -> np.ndarray:
        """How often each kernel runs where of every branch the side runs whose time by this bound ("lower", "upper", "warm") is the
        greatest (or least): 0 for kernels on other sides, and for those that the bound does not need."""
        runs = self.times * self.sides.taken(getattr(self, bound) * self.times)
        return runs * self.needed if bound in ("lower", "warm") else runs

    def whole(self, bound: str) -> np.ndarray:
        """Seconds of the whole program by a bound, or as predicted, with its call; an array over the points. The bounds of perfect
        overlap hide what is sent behind what is computed beside it (see :mod:`.overlap`)."""
        if bound in ("lower", "warm") and self.lanes:
            return np.maximum(self.computed(bound) + self.exposed(bound), self.sending)
        call = self.stands.calibration.call if bound == "predicted" and self.stands is not None else None
        return added(getattr(self, bound) * self.runs(bound)) + (call.value if call else 0.0)

    @cached_property
    def sending(self) -> np.ndarray:
        """Seconds that the busiest connection is busy."""
        runs = self.runs("lower")
        return np.maximum.reduce([added(seconds * runs) for seconds in self.lanes.values()])

    def computed(self, bound: str = "lower") -> np.ndarray:
        """Seconds of what does not send."""
        works = np.array([[kind != "collective"] for kind in self.kinds])
        return added(getattr(self, bound) * self.runs(bound) * works)

    def exposed(self, bound: str = "lower") -> np.ndarray:
        """Seconds at least that the units wait for what is sent, because nothing else is left to compute meanwhile."""
        waits = [np.zeros(self.memory.shape[1])]
        if self.beside is None:
            return waits[0]
        each, runs = getattr(self, bound), self.runs(bound)
        hidden = self.beside.runs @ (each * runs)
        for row, c in enumerate(self.beside.senders.tolist()):
            often = np.maximum(self.times / np.maximum(self.times[c], 1), 1)
            hidden[row] += self.beside.once[row] @ (each * (runs > 0) * often)
        for lane in self.lanes.values():
            left = np.maximum(lane[self.beside.senders] - hidden, 0)
            waits.append(added(left * runs[self.beside.senders]))
        return np.maximum.reduce(waits)


def unit_of(device: Hardware, engine: str) -> str:
    """The unit of the device that is busy when this engine works."""
    return "compute" if device.one_unit and engine != "link" else engine


def price(counts: Counts, device: Hardware) -> Times:
    """The kernels' times on a device. Raises MissingPeak where it has none for a type that the program computes in."""
    engines: dict[str, np.ndarray] = {}
    by_kind = []
    for kind, kernels, ops in counts.ops:
        if ops.any() and kind.engine != communication.LINK:
            seconds = ops * seconds_an_operation(device, kind)
            engine = engines.setdefault(RUNS_ON[kind.engine], np.zeros_like(counts.bytes))
            engine[kernels] += seconds  # a kernel stands once in `kernels`
            by_kind.append((kind, kernels, seconds))
    levels = {level.name: np.where(counts.bytes <= level.capacity.value, counts.bytes / level.bandwidth.value, np.inf)
              for level in device.levels if level.bandwidth}
    launch = device.launch_overhead.value if device.launch_overhead else 0.0
    times = counts.times.astype(np.float64)
    stands = standing(device, counts.policy)
    products = _products(counts, device, engines, stands)
    found: dict[str, Any] = _sent(counts, device, engines, by_kind) if any(counts.sent) else {}
    if products is not None:
        found["likely"] = np.where(np.isnan(products), found.get("likely", products), products)
    return Times(device, tuple(by_kind), engines, counts.bytes / device.bandwidth.value, levels, launch, times, counts.sides,
                 counts.kinds, stands, ~np.asarray(counts.needless), **found)


def _products(counts: Counts, device: Hardware, engines: Mapping[str, np.ndarray], stands: Standing | None) -> np.ndarray | None:
    """Seconds of the kernels whose product the device is calibrated for by its shape, and what else they compute; not a number
    elsewhere."""
    if counts.work is None or stands is None or not device.products:
        return None
    found, likely = stands.calibration, np.full_like(counts.bytes, np.nan)
    beside = sum((seconds for engine, seconds in engines.items() if engine != "matrix"), np.zeros_like(counts.bytes))
    for (i, product), sizes in zip(counts.work.products, counts.sizes, strict=True):
        how = calibrated(device, runs_as(device, product.kind))
        if how is not None:
            m, n, k, batch = (np.array([size]) for size in sizes)
            computing = shaped(how.chip, m, n, k, batch).computing(how)
            moving = counts.bytes[i] / (how.memory * device.bandwidth.value)
            both = np.maximum(computing, moving) + how.apart * np.minimum(computing, moving)
            likely[i] = both + beside[i] / found.of("dot") + max(how.launch, found.launch.value)
    return likely


def _sent(counts: Counts, device: Hardware, engines: dict[str, np.ndarray],
          by_kind: list[tuple[OpKind, np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """What exchanges take of the links, put among the engines; and of each connection."""
    work = counts.work
    assert work is not None
    found = communication.times_at(work.sent, counts.sent, device, communication.axes_at(work.table, counts.env), counts.env)
    link = engines.setdefault(communication.LINK, np.zeros_like(counts.bytes))
    lanes: dict[str, np.ndarray] = {}
    likely = np.full_like(counts.bytes, np.nan)
    likely[[each.kernel for each, *_ in found.rows]] = 0.0
    for each, legs, fitted in found.rows:
        i = each.kernel
        likely[i] += np.nan if fitted is None else fitted  # of a kernel of which a part is not calibrated, nothing is known
        seconds = sum(s for _, s in legs)
        link[i] += seconds
        by_kind.append((each.kind, np.array([i]), np.array([[seconds]])))
        for leg, part in legs:
            for lane in communication.lanes(leg):
                lanes.setdefault(lane, np.zeros_like(counts.bytes))[i] += part
    return {"lanes": lanes, "layout": found.layout, "beside": work.beside if lanes else None, "likely": likely}


def seconds_an_operation(device: Hardware, kind: OpKind) -> float:
    """Seconds of one operation at the device's peak, a multiply-accumulate being two; of an element sent, over its first link.

    Raises MissingPeak, and CostModelError for a device without a link.
    """
    if kind.engine == "link":
        if not device.links:
            raise CostModelError(f"{device.name} states no link, and the program sends data to other devices: add one to its file")
        return BITS[kind.dtype] / 8 / device.links[0].one_way
    return (2 if kind.name == "mac" else 1) / device.peak(kind.engine, kind.dtype, strictest(kind.precision))


def runs_as(device: Hardware, kind: OpKind) -> str:
    """The format in which a device computes operations of a kind.

    >>> from costmodel.hardware import load
    >>> product = OpKind("mac", "matrix", "float32")
    >>> runs_as(load("h100-sxm"), product), runs_as(load("t4"), product), runs_as(load("tpu-v5e").at_precision("high"), product)
    ('tf32', 'float32', '3 x bfloat16')
    >>> runs_as(load("h100-sxm"), OpKind("add", "vector", "int8"))
    'int32'
    """
    if kind.engine != "matrix":
        return device.vector_runs_as.get(kind.dtype, kind.dtype)
    how = device.passes(kind.dtype, strictest(kind.precision))
    return f"{how.passes} x {how.dtype}" if how.passes > 1 else how.dtype


# jax's precisions from the loosest to the strictest; an algorithm's name is none of them, and stands for itself.
_STRICTNESS = ("DEFAULT", "HIGH", "HIGHEST")


def strictest(precision: Precision) -> str | None:
    """What a product runs at whose operands ask for different precisions (XLA takes the greater of the two); None: the default.

    >>> strictest(("HIGHEST", None)), strictest(("DEFAULT", "HIGH")), strictest((None, None))
    ('HIGHEST', 'HIGH', None)
    """
    stated = [p for p in precision if p is not None]
    return max(stated, key=lambda p: _STRICTNESS.index(p) if p in _STRICTNESS else len(_STRICTNESS), default=None)
