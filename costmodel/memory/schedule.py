"""Orders in which a program's kernels may run: a compiler takes any that the operands allow, and what is held depends on it.

* ``program``: as the program has them, which is how an eager framework runs.
* ``memory``: of program order and a greedy list schedule the one of the lower peak. Finding the best is NP-hard; compilers for
  accelerators try heuristics and keep the best result, too (XLA, HloMemoryScheduler).
* ``breadth``: each kernel as soon as its operands are there, first come, first served: many can run at once, and more is held (XLA
  for processors, its concurrency-optimised BFScheduler).

A loop runs as a whole, its body in program order, or breadth first, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import accumulate

from costmodel.errors import CostModelError
from costmodel.memory.buffers import Content, Memory
from costmodel.memory.lifetimes import Buffer, lifetimes
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
    if order == "breadth":
        return _breadth(held, program, ())
    found = _Dependencies(held, program, ())
    other = found.kernels(_list_schedule(found))
    if len(other) < len(program):  # a policy's kernels depend on each other in a circle
        return program
    return min((program, other), key=lambda order: _peak(lifetimes(held, order)))


def _breadth(held: Memory, kernels: Sequence[int], around: tuple[int, ...]) -> tuple[int, ...]:
    """The kernels of a loop's body (of the whole program without a loop around), those of each loop in it together."""
    found = _Dependencies(held, kernels, around)
    items = _breadth_first(found)
    if len(items) < len(found.items):  # a policy's kernels depend on each other in a circle
        return tuple(kernels)
    bodies, order = found.bodies(), list[int]()
    for i in items:
        loop = found.loop_of(bodies[i])
        order += bodies[i] if loop is None else _breadth(held, bodies[i], (*around, loop))
    return tuple(order)


class _Dependencies:
    """What runs after what among ``kernels``, which are those inside the loops ``around``. An item is a kernel, or a loop or
    ``cond`` outside all others there, known by its first kernel. ``maker`` of a content is the item that makes it (None: the
    caller, or what runs before), ``readers`` are those that read it."""

    def __init__(self, held: Memory, kernels: Sequence[int], around: tuple[int, ...]) -> None:
        self.around, self.looped = around, held.looped
        self.results = {k: len(held.kernels[k].writes) for k in kernels}
        depth = len(around)
        self.loops = {k: held.kernels[k].main.loops[depth:] for k in kernels}
        first = {self.loops[k][0]: k for k in reversed(kernels) if self.loops[k]}
        conds = {k: [side.cond for side in held.kernels[k].main.branch] for k in kernels}
        entered = {conds[k][0]: k for k in reversed(kernels) if conds[k]}
        # Of a loop and a branch around a kernel the outer one starts first.
        self.item = {k: min([k, *(first[loop] for loop in self.loops[k][:1]), *(entered[cond] for cond in conds[k][:1])])
                     for k in kernels}
        self.items = sorted(set(self.item.values()))
        self.maker: dict[Content, int | None] = {}
        self.readers: dict[Content, set[int]] = {}
        for c in held.contents:
            opened = c.loops[depth:depth + 1] or ((c.opens,) if c.opens is not None else ())
            made = first.get(opened[0]) if opened else c.maker
            maker = None if made is None else self.item.get(made)
            started = [(*loops, loop)[depth:depth + 1] for loop, loops in c.starts]
            starts = {self.item[first[outer[0]]] for outer in started if outer and outer[0] in first}
            self.maker[c] = maker
            self.readers[c] = ({self.item[k] for k, _ in c.users if k in self.item} | starts) - {maker}
        self.needs: dict[int, set[int]] = {i: set() for i in self.items}
        chosen = [(self.maker[index], self.item.get(joined.maker)) for index, joined in held.choices if joined.maker is not None]
        needed = [(self.maker[c], self.readers[c]) for c in held.contents]
        needed += [(self.maker[part], self.readers[joined]) for part, joined in held.branches]
        needed += [(index, {i}) for index, i in chosen if i is not None]
        for maker, readers in needed:
            for i in readers:
                if maker is not None and maker != i:
                    self.needs[i].add(maker)
        self.feeds: dict[int, list[int]] = {i: [] for i in self.items}
        for i in self.items:
            for maker in self.needs[i]:
                self.feeds[maker].append(i)

    def kernels(self, items: Sequence[int]) -> tuple[int, ...]:
        bodies = self.bodies()
        return tuple(k for i in items for k in bodies[i])

    def bodies(self) -> dict[int, list[int]]:
        """The kernels of each item."""
        found: dict[int, list[int]] = {}
        for k, i in self.item.items():
            found.setdefault(i, []).append(k)
        return found

    def repeated(self) -> set[int]:
        """The items that run as a loop."""
        return {i for i, body in self.bodies().items() if self.loop_of(body) is not None or i in self.looped}

    def several(self) -> set[int]:
        """The items that are one kernel with several results."""
        return {i for i, body in self.bodies().items() if len(body) == 1 and self.results[body[0]] > 1}

    def loop_of(self, body: Sequence[int]) -> int | None:
        """The loop that an item is."""
        loops = {self.loops[k][:1] for k in body}
        return next(iter(loops))[0] if len(loops) == 1 and () not in loops else None


def _breadth_first(d: _Dependencies) -> list[int]:
    """First come, first served. A loop comes again with the tuple of its operands, and before that, if it is there from the start,
    with the copy of its counter; what has several results comes again to be taken apart (XLA, BFScheduler, to which these are
    instructions)."""
    missing = {i: len(d.needs[i]) for i in d.items}
    loops, several = d.repeated(), d.several()
    ready = deque((i, 2 if i in loops else 0) for i in d.items if not missing[i])
    ran: list[int] = []
    while ready:
        i, before = ready.popleft()
        if before > 0:
            ready.append((i, before - 1))
            continue
        if before == 0:
            ran.append(i)
            if i in several or i in loops:
                ready.append((i, -1))
                continue
        for f in d.feeds[i]:
            missing[f] -= 1
            if not missing[f]:
                ready.append((f, 1 if f in loops else 0))
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
            allocates[maker] += size_at_reference(c.value.bytes)
        for i in readers:
            reads[i].append(c)

    def entry(i: int) -> tuple[int, int]:
        return allocates[i] - sum(size_at_reference(c.value.bytes) for c in reads[i] if left[c] == {i}), i

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
        change[b.first] = change.get(b.first, 0) + size_at_reference(b.bytes)
        change[b.last + 1] = change.get(b.last + 1, 0) - size_at_reference(b.bytes)
    return max(accumulate(change[step] for step in sorted(change)), default=0)


@lru_cache(maxsize=65536)
def size_at_reference(expr: Expr) -> int:
    """A size where every symbol is :data:`REFERENCE`."""
    return int(evaluate(expr, dict.fromkeys(expr.free_symbols, REFERENCE)))
