"""What of a program's communication can be hidden: which kernels neither wait for a collective nor are waited for by it.

While a collective goes on, a device can do nothing but what is independent of it; where that takes less time, it waits. Collectives
on the same connections go on one after another, so that their waits add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from costmodel.fusion import Kernel
from costmodel.rules.work import CostTable, Equation, Value


@dataclass(frozen=True, eq=False)
class Beside:
    """Of each kernel that sends (``senders``, by number) the kernels that can run while it does, as arrays (sender, kernel):
    ``runs`` all of their runs, ``once`` those of the same iteration of its loops."""

    senders: np.ndarray
    runs: np.ndarray
    once: np.ndarray


def beside(table: CostTable, kernels: Sequence[Kernel]) -> Beside:
    """What can run beside each kernel that sends, found once. A kernel that sends is beside none."""
    kernels = tuple(kernels)
    return table.remember(("beside", kernels), lambda: _beside(table, kernels))


def _beside(table: CostTable, kernels: Sequence[Kernel]) -> Beside:
    senders = [i for i, k in enumerate(kernels) if k.kind == "collective"]
    works = np.array([k.kind != "collective" for k in kernels])
    found = _Order(table, kernels)
    runs = np.zeros((len(senders), len(kernels)), dtype=bool)
    once = np.zeros_like(runs)
    for row, c in enumerate(senders):
        ordered, again = found.ordered(c), found.again(c)
        for i, k in enumerate(kernels):
            if works[i]:
                looped = bool(set(kernels[c].main.loops) & set(k.main.loops))
                runs[row, i] = not again >> i & 1 if looped else not ordered >> i & 1
                once[row, i] = looped and not runs[row, i] and not ordered >> i & 1
    return Beside(np.array(senders, dtype=np.intp), runs, once)


class _Order:
    """Which kernels come before which, as sets of bits."""

    def __init__(self, table: CostTable, kernels: Sequence[Kernel]) -> None:
        self.kernel_of = {id(e): i for i, k in enumerate(kernels) for e in k.equations}
        numbers = {e.index: i for i, k in enumerate(kernels) for e in k.equations}
        self.makers: dict[Value, Equation] = {v: e for e in table for v in e.outs}
        for k in kernels:  # what a policy has rewritten makes the same values
            self.makers.update((v, e) for e in k.equations for v in e.outs)
        self.numbers: Mapping[int, int] = numbers
        self.carried = {before: i for i, (before, _) in enumerate(table.carried)}
        self.direct: dict[Value, tuple[int, int]] = {}
        count = len(kernels)
        before, starts = [0] * count, [0] * count
        for i, k in enumerate(kernels):
            own = {v for e in k.equations for v in e.outs}
            for v in dict.fromkeys(v for e in (*k.equations, *k.again) for v in e.ins if v not in own):
                made, carry = self._from(v)
                before[i] |= made & ~(1 << i)
                starts[i] |= carry
        self.above, self.starts = _closed(before, starts)
        self.below = _turned(self.above)
        self.ends = [self._from(after) for _, after in table.carried]

    def _from(self, value: Value) -> tuple[int, int]:
        """The kernels that a value comes from, and the loops' carried values, by way of equations that are in no kernel."""
        pending = [value]
        while pending:
            v = pending[-1]
            if v in self.direct:
                pending.pop()
                continue
            e = self.makers.get(v)
            i = None if e is None else self.kernel_of.get(id(e), self.numbers.get(e.index))
            carry = 1 << self.carried[v] if v in self.carried else 0
            if i is not None:
                self.direct[v] = (1 << i, carry)
            elif e is None:
                self.direct[v] = (0, carry)
            else:
                left = [x for x in e.ins if x not in self.direct]
                if left:
                    pending += left
                    continue
                made, carries = 0, carry
                for x in e.ins:
                    made, carries = made | self.direct[x][0], carries | self.direct[x][1]
                self.direct[v] = (made, carries)
            pending.pop()
        return self.direct[value]

    def ordered(self, c: int) -> int:
        """The kernels before and after one, in the same iteration."""
        return self.above[c] | self.below[c]

    def again(self, c: int) -> int:
        """Those of them that are so in every iteration: of which the next one's come after, and the last one's before it."""
        after = before = 0
        for i, (made, _) in enumerate(self.ends):
            reached = made
            for k in _bits(made):
                reached |= self.above[k]
            if reached >> c & 1:
                after |= sum(1 << k for k, starts in enumerate(self.starts) if starts >> i & 1)
            if self.starts[c] >> i & 1:
                before |= reached
        return self.ordered(c) & after & before


def _bits(bits: int) -> list[int]:
    return [i for i, bit in enumerate(reversed(bin(bits)[2:])) if bit == "1"]


def _closed(before: Sequence[int], starts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Everything before each kernel, and the carried values that it starts from."""
    above: list[int | None] = [None] * len(before)
    carries = list(starts)
    for root in range(len(before)):
        pending = [root]
        while pending:
            i = pending[-1]
            left = [k for k in _bits(before[i]) if above[k] is None and k not in pending]
            if above[i] is None and left:
                pending += left
                continue
            found = before[i]
            for k in _bits(before[i]):
                found |= above[k] or 0
                carries[i] |= carries[k]
            above[i] = found
            pending.pop()
    return [a or 0 for a in above], carries


def _turned(above: Sequence[int]) -> list[int]:
    below = [0] * len(above)
    for i, bits in enumerate(above):
        for k in _bits(bits):
            below[k] |= 1 << i
    return below
