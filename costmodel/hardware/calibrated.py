"""How long things really take on a device: the numbers of its calibrations. They are part of no bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from costmodel.hardware.quantity import Quantity

# (rows, columns, parts of k that are computed at the same time)
TILES = ((256, 128, 1), (128, 256, 1), (128, 128, 1), (128, 64, 1), (64, 128, 1), (64, 64, 1), (64, 32, 1), (32, 32, 1),
         (128, 64, 4), (64, 64, 4), (64, 32, 4), (64, 64, 16), (64, 32, 16), (64, 32, 64))


@dataclass(frozen=True)
class Protocol:
    """One way in which a library does a collective: ``launch`` s, ``step`` s for each of its steps one after another, the bytes
    that a device sends at ``rate``, and its own part of them at ``own`` B/s. Without a rate, its bytes take no time."""

    launch: Quantity
    step: Quantity
    rate: Quantity | None = None
    own: Quantity | None = None

    def seconds(self, steps: float, devices: float, sent: float) -> float:
        """Of so many steps and bytes."""
        found = self.launch.value + steps * self.step.value
        found += sent / self.rate.value if self.rate else 0.0
        return found + (sent / (devices - 1) / self.own.value if self.own else 0.0)


@dataclass(frozen=True)
class LinkCalibration:
    """How long collectives of a kind really take over a link: by the quickest of their protocols.

    spread:         standard deviation of log(measured / predicted) of those that it was not fitted on.
    runs:           measurements that it was fitted on.
    date, versions: of the measurements.
    """

    link: str
    kind: str
    protocols: tuple[Protocol, ...]
    spread: float
    runs: int
    date: str
    versions: str

    @staticmethod
    def steps(kind: str, devices: float) -> float:
        """How many steps come one after another: round a ring, twice where all have the result of a sum; one in an exchange of
        all with all."""
        return {"all_to_all": 1, "all_reduce": 2 * (devices - 1)}.get(kind, devices - 1)

    def seconds(self, devices: float, sent: float) -> float:
        """Of a collective among so many devices, each of which sends so many bytes."""
        return min(p.seconds(self.steps(self.kind, devices), devices, sent) for p in self.protocols)


@dataclass(frozen=True)
class Calibration:
    """How long the kernels of a fusion policy really take: their compute and memory time over ``efficiency``, and ``launch`` each.

    efficiency: part of the ceilings that is reached where nothing overlaps; ``kinds``: of kernels of a kind, where it was found.
                Above 1 where kernels overlap both, or find data in caches.
    launch:     s a kernel.
    call:       s a call of the whole program.
    spread:     standard deviation of log(measured / predicted) of programs that it was not fitted on.
    runs:       measurements that it was fitted on, of so many ``models``.
    date, versions: of the measurements.
    power:      W drawn while a program runs, where joules were measured too.
    """

    policy: str
    efficiency: Quantity
    launch: Quantity
    spread: float
    runs: int
    models: int
    date: str
    versions: str
    call: Quantity | None = None
    kinds: Mapping[str, Quantity] = field(default_factory=dict, hash=False)
    power: Quantity | None = None

    def of(self, kind: str) -> float:
        """What kernels of a kind reach."""
        return self.kinds.get(kind, self.efficiency).value

    @property
    def error(self) -> float:
        """The mean of |measured / predicted - 1|, of errors whose logarithm is normal."""
        return _mean_error(self.spread)

    @property
    def interval(self) -> tuple[float, float]:
        """The factors between which 90 % of measured / predicted lie."""
        return math.exp(-_NINETY * self.spread), math.exp(_NINETY * self.spread)


def _mean_error(spread: float) -> float:
    return spread * math.sqrt(2 / math.pi)


_NINETY = 1.6449  # 90 % of a normal distribution are within so many standard deviations


@dataclass(frozen=True)
class Standing:
    """A calibration, and in words what a prediction by it stands on."""

    calibration: Calibration
    words: str


@dataclass(frozen=True)
class ProductCalibration:
    """How long products of operands of a type take, by their shape.

    multiprocessors: that compute a tile each at a time; ``source`` says who states so, and what the rest was fitted to.
    reached:         part of the peak inside a wave of tiles, by tile of :data:`TILES`.
    memory, sums:    part of the bandwidth that operands and results, and sums of parts of k, stream at.
    start, launch:   s a wave, and a product.
    again:           s of the kernel that adds the parts.
    apart:           part of the shorter of compute and memory that does not overlap the longer.
    spread:          standard deviation of log(measured / predicted) of shapes that it was not fitted on.
    runs:            measurements that it was fitted on.
    date, versions:  of the measurements.
    """

    dtype: str
    multiprocessors: int
    source: str
    reached: tuple[float, ...]
    memory: Quantity
    sums: Quantity
    start: Quantity
    launch: Quantity
    again: Quantity
    apart: Quantity
    spread: float
    runs: int
    date: str
    versions: str

    @property
    def error(self) -> float:
        """The mean of |measured / predicted - 1|, of errors whose logarithm is normal."""
        return _mean_error(self.spread)
