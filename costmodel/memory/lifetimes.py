"""From which step to which a program's buffers are held, when its kernels run in a given order.

What stands in memory, and which content may take the memory of which, is read in :mod:`costmodel.memory.buffers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sympy import Expr

from costmodel.memory.buffers import KINDS, Content, Memory
from costmodel.rules.work import Array


@dataclass(frozen=True, eq=False)
class Buffer:
    """``bytes`` that are held from step ``first`` to step ``last``, both included, for a kind of :data:`KINDS`; ``array`` is what
    they hold first."""

    bytes: Expr
    kind: str
    first: int
    last: int
    array: Array


def lifetimes(held: Memory, order: Sequence[int] | None = None, early: bool = False) -> list[Buffer]:
    """The buffers when kernels run in this order (of their indices; None: as in the program). Loops must stay together. ``early``
    says that the memory of a loop's stacked results is filled as soon as anything may run: it needs no operand."""
    return Lifetimes(held, order if order is not None else range(len(held.kernels)), early).buffers()


class Lifetimes:
    """Puts contents into buffers: sets of contents, each known by one of them. ``busy`` is the last step at which what is in a
    buffer is read, as seen from inside the loop that is looked at; ``interval`` from the first to the last of one content."""

    def __init__(self, held: Memory, order: Sequence[int], early: bool) -> None:
        self.held, self.early = held, early
        self.end = max(len(order) - 1, 0)
        self.step = {kernel: step for step, kernel in enumerate(order)}
        self.span: dict[int, tuple[int, int]] = {}
        for kernel, step in self.step.items():
            for loop in held.kernels[kernel].main.loops:
                first, last = self.span.get(loop, (step, step))
                self.span[loop] = min(first, step), max(last, step)
        self.interval = {c: self._interval(c) for c in held.contents}
        self.home = {c: c for c in held.contents}
        self.members = {c: [c] for c in held.contents}
        self.busy = {key: last for key, (_, last) in self.interval.items()}

    def _loop(self, loop: int) -> tuple[int, int]:
        return self.span.get(loop, (0, self.end))

    def _interval(self, c: Content) -> tuple[int, int]:
        if not c.given_up:
            return 0, self.end
        first = self._opened(c, c.opens) if c.opens is not None else self._made(c, c.maker) if c.maker is not None else 0
        uses = [(self.step[kernel], loops) for kernel, loops in c.users]
        uses += [(self._loop(loop)[0], loops) for loop, loops in c.starts]
        uses += [(self.end, ())] if c.output else []
        last = max((self._loop(loop)[1] for loop in c.ends), default=first)
        for step, loops in uses:
            shared = 0
            while shared < min(len(c.loops), len(loops)) and c.loops[shared] == loops[shared]:
                shared += 1
            if len(loops) > shared:  # read in a loop that it is made outside of
                step = self._loop(loops[shared])[1]
            if len(c.loops) > shared:  # made in a loop and read outside
                first = min(first, self._loop(c.loops[shared])[0])
            last = max(last, step)
        return first, max(first, last)

    def _copied(self) -> None:
        """What is changed in place and may not be, as it is read afterwards or is an input that the caller keeps, is copied as soon
        as it is there."""
        for old, new in self.held.changed:
            if self.home[old] is not self.home[new]:
                first, last = self.interval[new]
                self.interval[new] = min(first, max(self._start(new), self.interval[old][0])), last

    def _made(self, c: Content, maker: int) -> int:
        """The step at which memory is first needed for what a kernel writes: its own, if it is not filled before."""
        return self._start(c) if self.early and c.filled else self.step[maker]

    def _start(self, c: Content) -> int:
        """The first step of what surrounds a content: the body of a loop, or the program."""
        return self._loop(c.loops[-1])[0] if c.loops else 0

    def _opened(self, c: Content, loop: int) -> int:
        """The step at which the memory of a loop's carried value, or stacked result (which has a maker), is first needed."""
        return self._start(c) if self.early and c.maker is not None else self._loop(loop)[0]

    def buffers(self) -> list[Buffer]:
        """Every place in memory, for as long as it is held."""
        return [buffer for members in self.places() for buffer in self.held_by(members)]

    def places(self) -> list[list[Content]]:
        """The contents of each place in memory."""
        self._share()
        if self.early:
            self._copied()
        return list(self.members.values())

    def _share(self) -> None:
        for carry in self.held.carries:
            # While its loop runs the place is as busy as what the body makes of it.
            self._join(carry.place, carry.before)
            self.busy[self.home[carry.before]] = self.interval[carry.before][1]
        depths = {len(c.loops) for c in self.held.contents}
        for depth in sorted(depths, reverse=True):  # inner loops first
            for old, new in self.held.updates:
                if len(new.loops) == depth and old.loops == new.loops and len(self.members.get(new, ())) == 1:
                    self._hand_on(old, new, self.interval[new][0])
            for part, joined in self.held.branches:
                if len(joined.loops) == depth and part.loops == joined.loops and self._apart(part, joined):
                    self._hand_on(part, joined, self.interval[joined][0])
            for carry in self.held.carries:
                place, before, after, initial = carry.place, carry.before, carry.after, carry.initial
                if initial is not None and len(place.loops) == depth and initial.loops == place.loops:
                    self._hand_on(initial, place, self._loop(carry.loop)[0])
                if len(before.loops) == depth:
                    if after is not None and after.loops == before.loops:
                        made = min(self.interval[c][0] for c in self.members[self.home[after]])
                        self._hand_on(before, after, made - 1)
                    home = self.home[place]
                    self.busy[home] = max(self.busy[home], self.interval[place][1])

    def _hand_on(self, old: Content, new: Content, step: int) -> None:
        """Let ``new`` have the memory of ``old`` if nobody reads that after ``step``."""
        home = self.home[old]
        if (home != self.home[new] and max(self.busy[home], self.interval[old][1]) <= step
                and all(c.given_up for c in self.members[home])):
            self._join(old, new)

    def _apart(self, part: Content, joined: Content) -> bool:
        """Whether nothing that shares the memory of a branch's result is held while the memory of the branches' is."""
        spans = [self.interval[c] for c in self.members[self.home[joined]] if c is not joined]
        return all(last < start or end < first for first, last in spans
                   for start, end in (self.interval[c] for c in self.members[self.home[part]]))

    def _join(self, old: Content, new: Content) -> None:
        into, gone = self.home[old], self.home[new]
        for c in self.members[gone]:
            self.home[c] = into
        self.members[into] += self.members.pop(gone)
        self.busy[into] = max(self.busy[into], self.busy.pop(gone))

    def held_by(self, members: list[Content]) -> Iterator[Buffer]:
        """When the memory of these contents is held; between two branches it is not."""
        array, kind = members[0].value.array, min((c.kind for c in members), key=KINDS.index)
        size = members[0].value.bytes
        spans = sorted(self.interval[c] for c in members)
        first, last = spans[0]
        for start, end in spans:
            if start > last + 1:
                yield Buffer(size, kind, first, last, array)
                first = start
            last = max(last, end)
        yield Buffer(size, kind, first, last, array)
