"""What reaches the main memory of a device that keeps arrays on the chip: a processor with a scratchpad, as TPUs have.

Which arrays stay on the chip depends on their sizes, so this is computed at a point, not in closed form. Every array is either
there from the kernel that makes it (or first reads it) to the last that uses it, or not at all; those that save most traffic per
byte held and step come first, as in XLA's memory space assignment. No bandwidth is assumed: moving ahead of use is hidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sympy import Expr

from costmodel.fusion import Kernel, plan
from costmodel.fusion.kernel import running
from costmodel.rules.work import CostTable, Value

Evaluate = Callable[[Expr], Any]


@dataclass(eq=False)
class _Array:
    """An array's traffic in bytes, and the steps between which it is in use."""

    value: Value
    first: int
    last: int
    made: bool = False
    moved: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class MainMemory:
    """What a device's main memory sees of a program, in bytes.

    traffic:     between it and the chip, at least: kernels' borders without what stays on the chip.
    temporaries: the most that it holds at once of what is neither an input nor a result.
    """

    traffic: float
    temporaries: float


def main_memory(program: CostTable, at: Evaluate, policy: str, capacity: float, tile: Sequence[int] = (1, 1)) -> MainMemory:
    """The main memory's part in a program under a fusion policy, at a point.

    at:       evaluates an expression there: ``cost.at(...).evaluate``.
    capacity: of the memory on the chip, in bytes.
    tile:     the multiples to which the two innermost dimensions of an array are padded there; (8, 128) on TPUs for 32-bit types.
    """
    kernels = running(plan(program, policy), program.branches, lambda k: float(at(k.bytes * k.times)))
    arrays = _arrays(at, kernels)
    results = set(program.outputs)
    total = 0.0
    outside = np.zeros(len(kernels))
    savings: list[tuple[float, float, _Array]] = []
    for array in arrays.values():
        traffic = sum(array.moved)
        total += traffic
        # What comes from outside is read once, what goes outside is written once.
        due = array.moved[0] / max(1.0, _repeats(at, kernels[array.first])) if not array.made else 0.0
        due += float(at(array.value.bytes)) if array.made and array.value in results else 0.0
        if array.made and array.value not in results:
            outside[array.first:array.last + 1] += float(at(array.value.bytes))
        if traffic > due:
            savings.append((traffic - due, _padded(at, array.value, tile), array))
    held = np.zeros(len(kernels))
    for saved, size, array in sorted(savings, key=lambda s: -s[0] / (s[1] * (s[2].last - s[2].first + 1))):
        steps = slice(array.first, array.last + 1)
        if held[steps].max(initial=0.0) + size <= capacity:
            held[steps] += size
            total -= saved
            if array.made and array.value not in results:
                outside[steps] -= float(at(array.value.bytes))
    return MainMemory(total, float(outside.max(initial=0.0)))


def _arrays(at: Evaluate, kernels: Sequence[Kernel]) -> dict[Value, _Array]:
    ends = _ends_of_loops(kernels)
    found: dict[Value, _Array] = {}
    for step, kernel in enumerate(kernels):
        times = _repeats(at, kernel)
        for made, moved in ((False, kernel.reads), (True, kernel.writes)):
            for value, elements in moved:
                array = found.setdefault(value, _Array(value, step, step, made))
                array.moved.append(float(at(elements)) * value.array.bits / 8 * times)
                # What is used in a loop that it was not made in is used until the loop ends.
                outer = [loop for loop in kernel.main.loops if loop not in kernels[array.first].main.loops or not array.made]
                array.last = max(array.last, step, *(ends[loop] for loop in outer))
    return found


def _ends_of_loops(kernels: Sequence[Kernel]) -> dict[int, int]:
    return {loop: step for step, kernel in enumerate(kernels) for loop in kernel.main.loops}


def _repeats(at: Evaluate, kernel: Kernel) -> float:
    return float(at(kernel.times))


def _padded(at: Evaluate, value: Value, tile: Sequence[int]) -> float:
    shape = [int(at(d)) for d in value.array.shape]
    for i, multiple in zip((-2, -1), tile, strict=True):
        if len(shape) >= -i:
            shape[i] = -(-shape[i] // multiple) * multiple
    return math.prod(shape) * value.array.bits / 8
