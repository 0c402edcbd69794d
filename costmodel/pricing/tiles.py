"""Products on processors that compute them tile by tile: the time of m × n × k as a closed form of its shape.

A multiprocessor computes a tile of the result at a time, so ⌈m / rows⌉ · ⌈n / columns⌉ · parts tiles take ⌈tiles / multiprocessors⌉
waves, each of ⌈k / parts⌉ steps and a ``start``. Where parts of k are computed apart, their sums are written and read once more, by
a kernel of its own.
Libraries choose the best of few tiles. Of compute and memory the longer counts, and a part of the shorter that does not overlap:

    t = max(tile, bytes / bandwidth) + apart · min(tile, bytes / bandwidth) + launch
    tile = min over tiles (waves · (steps · seconds of a step + start) + sums)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sympy import Expr, Integer, Max, Min

from costmodel.hardware import TILES, Hardware, ProductCalibration
from costmodel.symbolic.forms import CeilDiv

SUM = 8  # bytes of a partial sum, in float32, written and read


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
    apart:   part of the shorter of compute and memory that does not overlap the longer.
    """

    chip: Chip
    reached: tuple[float, ...]
    memory: float
    sums: float
    start: float
    launch: float
    again: float
    apart: float

    def seconds(self, m: np.ndarray, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Seconds of many products."""
        return shaped(self.chip, m, n, k).seconds(self)

    def formula(self, m: Any, n: Any, k: Any) -> Expr:
        """Seconds as a closed form of sympy dimensions."""
        m, n, k = (Integer(d) if isinstance(d, int) else d for d in (m, n, k))
        memory = (m * k + k * n + m * n) * self.chip.width / (self.memory * self.chip.bandwidth)
        return self.overlapped(Min(*self.by_tile(m, n, k), evaluate=False), memory) + self.launch

    def overlapped(self, computing: Expr, moving: Expr) -> Expr:
        """Seconds of both together, as sympy shows them."""
        return (1 - self.apart) * Max(computing, moving, evaluate=False) + self.apart * (computing + moving)

    def by_tile(self, m: Expr, n: Expr, k: Expr, batch: Expr | int = 1, *, mac: Any = None, byte: Any = None,
                number: Any = float) -> tuple[Expr, ...]:
        """Seconds that ``batch`` products in one kernel compute, for each tile. ``mac``: seconds of one multiply-accumulate at the
        peak, and ``byte`` of one at the bandwidth, where these are symbols; ``number`` makes what the form has of a float."""
        mac = number(2 / self.chip.peak) if mac is None else mac
        byte = number(1 / self.chip.bandwidth) if byte is None else byte
        found = []
        for (rows, columns, parts), reached in zip(TILES, self.reached, strict=True):
            waves = CeilDiv(batch * CeilDiv(m, rows) * CeilDiv(n, columns) * parts, self.chip.multiprocessors)
            step = rows * columns * self.chip.multiprocessors * mac / number(reached)
            sums = batch * m * n * parts * SUM * byte / number(self.sums) + number(self.again) if parts > 1 else 0
            found.append(waves * (CeilDiv(k, parts) * step + number(self.start)) + sums)
        return tuple(found)


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
        best, memory = self.computing(how), self.memory / how.memory
        return np.maximum(best, memory) + how.apart * np.minimum(best, memory) + how.launch

    def computing(self, how: Products) -> np.ndarray:
        """Seconds of each product by its quickest tile, without its operands' way from memory."""
        compute = self.steps / np.array(how.reached)[:, None] + self.waves * how.start
        return (compute + self.sums / how.sums + (self.sums > 0) * how.again).min(axis=0)

    def part(self, which: np.ndarray) -> Shaped:
        """Some of the products."""
        return Shaped(self.steps[:, which], self.waves[:, which], self.sums[:, which], self.memory[which])


def products_of(device: Hardware, found: ProductCalibration) -> Products:
    """How a device computes products of a type, as its file states."""
    chip = Chip(found.multiprocessors, device.peaks["matrix", found.dtype].value, device.bandwidth.value)
    numbers = (found.memory, found.sums, found.start, found.launch, found.again, found.apart)
    return Products(chip, found.reached, *(number.value for number in numbers))


def shaped(chip: Chip, m: np.ndarray, n: np.ndarray, k: np.ndarray, batch: np.ndarray | int = 1) -> Shaped:
    """What products of these sizes, ``batch`` in one kernel, are made of on a chip, for each shape of tile."""
    steps, waves, sums = [], [], []
    for rows, columns, parts in TILES:
        count = -(-(batch * -(-m // rows) * -(-n // columns) * parts) // chip.multiprocessors)
        waves.append(count)
        steps.append(count * -(-k // parts) * (2 * rows * columns * chip.multiprocessors / chip.peak))
        sums.append(batch * m * n * parts * SUM / chip.bandwidth if parts > 1 else np.zeros(len(m)))
    memory = batch * (m * k + k * n + m * n) * chip.width / chip.bandwidth
    return Shaped(np.array(steps), np.array(waves, dtype=float), np.array(sums), memory)
