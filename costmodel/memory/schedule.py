"""Orders in which a program's kernels may run: a compiler takes any that the operands allow, and what is held depends on it.

* ``program``: as the program has them, which is how an eager framework runs.
* ``memory``: of program order and a greedy list schedule the one of the lower peak. Finding the best is NP-hard; compilers for
  accelerators try heuristics and keep the best result, too (XLA, HloMemoryScheduler).
* ``breadth``: each kernel as soon as its operands are there, first come, first served: many can run at once, and more is held (XLA
  for processors, its concurrency-optimised BFScheduler).

A loop runs as a whole, its body in program order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import accumulate

from costmodel.errors import CostModelError
from costmodel.memory.buffers import Buffer, Content, Memory, lifetimes
from costmodel.symbolic.forms import Expr, evaluate
from costmodel.text import did_you_mean

ORDERS = ("program", "memory", "breadth")

# Sizes can only be compared as numbers: all symbols have this value while an order is chosen.
REFERENCE = 16


def schedule(held: Memory, order: str) -> tuple[int, ...]:
    """Indices of the kernels in an order of :data:`ORDERS`; ``memory`` compares sizes where every symbol is :data:`REFERENCE`.

    Raises CostModelError for an unknown order.
    """
    if order not in ORDERS:
        raise CostModelError(f"unknown order {order!r};{did_you_mean(order, ORDERS)} choose {', '.join(ORDERS)}")
    if order not in held.orders:
        held.orders[order] = _schedule(held, order)
    return held.orders[order]


def _schedule(held: Memory, order: str) -> tuple[int, ...]:
    program = tuple(range(len(held.kernels)))
    if order == "program":
        return program
    found = _Dependencies(held)
    other = found.kernels(_breadth_first(found) if order == "breadth" else _list_schedule(found))
    if len(other) < len(program):  # a policy's kernels depend on each other in a circle
        return program
    return other if order == "breadth" else min((program, other), key=lambda order: _peak(lifetimes(held, order)))


class _Dependencies:
    """What runs after what. An item is a kernel, or a loop or ``cond`` outside all others, known by its first kernel. ``maker`` of
    a content is the item that makes it (None: the caller), ``readers`` are those that read it."""

    def __init__(self, held: Memory) -> None:
        loops = [k.main.loops for k in held.kernels]
        first = {outer[0]: k for k, outer in reversed(list(enumerate(loops))) if outer}
        conds = [[side.cond for side in k.main.branch] for k in held.kernels]
        entered = {outer[0]: k for k, outer in reversed(list(enumerate(conds))) if outer}
        # Of a loop and a branch around a kernel the outer one starts first.
        self.item = [min([k, *(first[loop] for loop in outer[:1]), *(entered[cond] for cond in sides[:1])])
                     for k, (outer, sides) in enumerate(zip(loops, conds, strict=True))]
        self.items = sorted(set(self.item))
        self.maker: dict[Content, int | None] = {}
        self.readers: dict[Content, set[int]] = {}
        for c in held.contents:
            opened = c.loops[:1] or ((c.opens,) if c.opens is not None else ())
            made = first.get(opened[0]) if opened else c.maker
            maker = None if made is None else self.item[made]
            starts = {self.item[first[(*around, loop)[0]]] for loop, around in c.starts if (*around, loop)[0] in first}
            self.maker[c] = maker
            self.readers[c] = ({self.item[k] for k, _ in c.users} | starts) - {maker}
        self.needs: dict[int, set[int]] = {i: set() for i in self.items}
        needed = [(self.maker[c], self.readers[c]) for c in held.contents]
        needed += [(self.maker[part], self.readers[joined]) for part, joined in held.branches]
        for maker, readers in needed:
            for i in readers:
                if maker is not None and maker != i:
                    self.needs[i].add(maker)
        self.feeds: dict[int, list[int]] = {i: [] for i in self.items}
        for i in self.items:
            for maker in self.needs[i]:
                self.feeds[maker].append(i)

    def kernels(self, items: Sequence[int]) -> tuple[int, ...]:
        bodies: dict[int, list[int]] = {}
        for k, i in enumerate(self.item):
            bodies.setdefault(i, []).append(k)
        return tuple(k for i in items for k in bodies[i])


def _breadth_first(d: _Dependencies) -> list[int]:
    missing = {i: len(d.needs[i]) for i in d.items}
    ready = deque(i for i in d.items if not missing[i])
    ran: list[int] = []
    while ready:
        ran.append(ready.popleft())
        for f in d.feeds[ran[-1]]:
            missing[f] -= 1
            if not missing[f]:
                ready.append(f)
    return ran


def _list_schedule(d: _Dependencies) -> list[int]:
    """Of all items whose operands are there, that which allocates least beyond what it frees; ties in program order."""
    allocates = dict.fromkeys(d.items, 0)
    reads: dict[int, list[Content]] = {i: [] for i in d.items}
    left: dict[Content, set[int]] = {}  # who still has to read it; -1 is the caller
    for c, readers in d.readers.items():
        left[c] = readers | (set() if c.given_up and not c.output else {-1})
        maker = d.maker[c]
        if maker is not None:
            allocates[maker] += _size(c.value.bytes)
        for i in readers:
            reads[i].append(c)

    def entry(i: int) -> tuple[int, int]:
        return allocates[i] - sum(_size(c.value.bytes) for c in reads[i] if left[c] == {i}), i

    missing = {i: len(d.needs[i]) for i in d.items}
    ready = [entry(i) for i in d.items if not missing[i]]
    heapify(ready)
    ran: dict[int, None] = {}
    while ready:
        _, i = heappop(ready)
        if i in ran:
            continue
        ran[i] = None
        changed = set(d.feeds[i])
        for f in changed:
            missing[f] -= 1
        for c in reads[i]:
            left[c].discard(i)
            if len(left[c]) == 1:
                changed |= left[c]  # who is left now frees it
        for f in changed - ran.keys() - {-1}:
            if not missing[f]:
                heappush(ready, entry(f))
    return list(ran)


def _peak(buffers: Sequence[Buffer]) -> int:
    change: dict[int, int] = {}
    for b in buffers:
        change[b.first] = change.get(b.first, 0) + _size(b.bytes)
        change[b.last + 1] = change.get(b.last + 1, 0) - _size(b.bytes)
    return max(accumulate(change[step] for step in sorted(change)), default=0)


@lru_cache(maxsize=65536)
def _size(expr: Expr) -> int:
    return int(evaluate(expr, dict.fromkeys(expr.free_symbols, REFERENCE)))
