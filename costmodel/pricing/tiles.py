"""Products on processors that compute them tile by tile: the time of m × n × k as a closed form of its shape.

A multiprocessor computes a tile of the result at a time, so ⌈m / rows⌉ · ⌈n / columns⌉ · parts tiles take ⌈tiles / multiprocessors⌉
waves, each of ⌈k / parts⌉ steps and a ``start``. Where parts of k are computed apart, their sums are written and read once more, by
a kernel of its own.
Libraries choose the best of few tiles. Compute and memory overlap in part, as a norm of order q says (1: not at all):

    t = min over tiles ((waves · (steps · seconds of a step + start) + sums)^q + (bytes / bandwidth)^q)^(1/q) + launch
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sympy import Expr, Integer, Min

from costmodel.symbolic.forms import CeilDiv

# (rows, columns, parts of k that are computed at the same time)
TILES = ((256, 128, 1), (128, 256, 1), (128, 128, 1), (128, 64, 1), (64, 128, 1), (64, 64, 1), (64, 32, 1), (32, 32, 1),
         (128, 64, 4), (64, 64, 4), (64, 32, 4), (64, 64, 16), (64, 32, 16), (64, 32, 64))
_SUM = 8  # bytes of a partial sum, in float32, written and read


@dataclass(frozen=True)
class Chip:
    """What a product meets: multiprocessors, the peak of all of them (FLOP/s) and the bandwidth (B/s), and bytes an element."""

    multiprocessors: int
    peak: float
    bandwidth: float
    width: int = 2


@dataclass(frozen=True)
class Products:
    """How a chip computes products.

    reached: part of the peak inside a wave, by tile of :data:`TILES`.
    memory:  part of the bandwidth that the operands and the result stream at, ``sums`` that of partial sums.
    start:   seconds a wave, ``launch`` a product, ``again`` the kernel that adds partial sums.
    order:   of the norm by which compute and memory overlap.
    """

    chip: Chip
    reached: tuple[float, ...]
    memory: float
    sums: float
    start: float
    launch: float
    again: float
    order: float

    def seconds(self, m: np.ndarray, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Seconds of many products."""
        return shaped(self.chip, m, n, k).seconds(self)

    def formula(self, m: Any, n: Any, k: Any) -> Expr:
        """Seconds as a closed form of sympy dimensions."""
        m, n, k = (Integer(d) if isinstance(d, int) else d for d in (m, n, k))
        memory, q = (m * k + k * n + m * n) * self.chip.width / (self.memory * self.chip.bandwidth), self.order
        times = []
        for (rows, columns, parts), reached in zip(TILES, self.reached, strict=True):
            waves = CeilDiv(CeilDiv(m, rows) * CeilDiv(n, columns) * parts, self.chip.multiprocessors)
            step = 2 * rows * columns * self.chip.multiprocessors / (self.chip.peak * reached)
            sums = m * n * parts * _SUM / (self.sums * self.chip.bandwidth) + self.again if parts > 1 else 0
            times.append((waves * (CeilDiv(k, parts) * step + self.start) + sums) ** q)
        return (Min(*times) + memory**q) ** (1 / q) + self.launch


@dataclass(frozen=True)
class Shaped:
    """Products of given shapes on a chip, as arrays (tile, product): seconds of the steps at the peak, waves, seconds of
    the partial sums and (product) of the operands and the result at full bandwidth."""

    steps: np.ndarray
    waves: np.ndarray
    sums: np.ndarray
    memory: np.ndarray

    def seconds(self, how: Products) -> np.ndarray:
        """Seconds of each product."""
        compute = self.steps / np.array(how.reached)[:, None] + self.waves * how.start
        compute = compute + self.sums / how.sums + (self.sums > 0) * how.again
        best, memory = compute.min(axis=0), self.memory / how.memory
        return (best**how.order + memory**how.order) ** (1 / how.order) + how.launch

    def part(self, which: np.ndarray) -> Shaped:
        """Some of the products."""
        return Shaped(self.steps[:, which], self.waves[:, which], self.sums[:, which], self.memory[which])


def shaped(chip: Chip, m: np.ndarray, n: np.ndarray, k: np.ndarray, batch: np.ndarray | int = 1) -> Shaped:
    """What products of these sizes, ``batch`` in one kernel, are made of on a chip, for each shape of tile."""
    steps, waves, sums = [], [], []
    for rows, columns, parts in TILES:
        count = -(-(batch * -(-m // rows) * -(-n // columns) * parts) // chip.multiprocessors)
        waves.append(count)
        steps.append(count * -(-k // parts) * (2 * rows * columns * chip.multiprocessors / chip.peak))
        sums.append(batch * m * n * parts * _SUM / chip.bandwidth if parts > 1 else np.zeros(len(m)))
    memory = batch * (m * k + k * n + m * n) * chip.width / chip.bandwidth
    return Shaped(np.array(steps), np.array(waves, dtype=float), np.array(sums), memory)
