"""What stands in a program's memory under a fusion policy, and what may take the memory of what.

A *content* is a value that stands in memory: an input, a constant array, or what a kernel writes; a view of it is the same
content. A *buffer* is memory that holds one content after another: an update in place, a loop's carried value, a branch's
result. When each is held is worked out in :mod:`costmodel.memory.lifetimes`. The rules are XLA's, without its accidents:

* An input is held to the end unless it is donated, then until its last use; an output from when it is made to the end.
* Anything else is held from the kernel that writes it to the last that reads it. What is made outside a loop and read inside is
  held to the loop's end: the next iteration reads it. A stacked result is held from the loop's start, as a whole.
* A loop's carried value has a place of its own for the whole loop, which is that of its initial value if nothing else reads
  that. The value for the next iteration is made in that place if the old one is no longer needed then, otherwise beside it.
* An update in place needs memory for itself where the old content is still read, or is an input that was not donated. Under a
  compiler's policy an elementwise kernel, too, writes over an operand that nobody reads any more, and a sort over its operands.
* A kernel's workspace, if its policy states one, is held while it runs.
* Branches exclude each other: their results share one buffer, and what one needs is released before another starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from costmodel.errors import CostModelError
from costmodel.fusion import Kernel, Policy, plan, rewritten
from costmodel.fusion import policy as policy_named
from costmodel.fusion.predicates import arithmetic, one_operation
from costmodel.rules.traits import Trait
from costmodel.rules.work import ORIGINS, Array, CostTable, Equation, Value
from costmodel.text import did_you_mean

# What memory is held for, the first that applies to anything in a buffer: see `_kind`.
KINDS = ("parameters", "optimizer", "inputs", "outputs", "activations", "temporaries")
_OF_ORIGIN = {"parameter": "parameters", "buffer": "parameters", "optimizer": "optimizer", "input": "inputs", "rng": "inputs",
              "literal": "inputs"}


@dataclass(eq=False)
class Content:
    """A value in memory. ``loops`` are those it is made in, ``maker`` its kernel (None: it is there from the start, or from the
    start of the loop ``opens``), which goes on with what is there from the start of those where it is ``filled``; ``users`` are
    kernels with the loops they read it in, ``starts`` and ``ends`` loops before and at the end of which it is read. ``shown`` says
    that it is read by another module, or kept for the backward pass."""

    value: Value
    loops: tuple[int, ...] = ()
    maker: int | None = None
    opens: int | None = None
    filled: bool = False
    given_up: bool = True  # its memory may be used again: not an input that the caller keeps
    output: bool = False
    shown: bool = False
    users: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    starts: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """What it is held for: parameters, inputs, outputs, activations, temporaries …"""
        if self.value.origin != "equation":
            return _OF_ORIGIN[self.value.origin]
        return "outputs" if self.output else "activations" if self.shown else "temporaries"


@dataclass(frozen=True, eq=False)
class Carry:
    """A loop's carried value: ``place`` holds it for the whole loop and after it, ``before`` is what an iteration receives,
    ``after`` what it hands on, ``initial`` what it starts from (None for a constant)."""

    loop: int
    place: Content
    before: Content
    after: Content | None
    initial: Content | None


@dataclass(frozen=True, eq=False)
class Memory:
    """A program's contents under a policy, and which may take the memory of which."""

    kernels: tuple[Kernel, ...]
    contents: tuple[Content, ...]
    carries: tuple[Carry, ...]
    updates: tuple[tuple[Content, Content], ...]  # (old, new), where old dies in the kernel that makes new
    possible: frozenset[tuple[Content, Content]]  # those outside of loops that a compiler is free to make or not
    parts: frozenset[Content]  # made with others by one kernel, or by a loop or ``cond``
    branches: tuple[tuple[Content, Content], ...]  # (a branch's result, the result)
    choices: tuple[tuple[Content, Content], ...]  # (what a branch is chosen by, the result)
    changed: tuple[tuple[Content, Content], ...]  # those of ``updates`` that leave the rest of old as it is
    looped: frozenset[int]  # kernels that run as a loop over what they make
    operands: tuple[tuple[Content, ...], ...]  # of each kernel, as a fusion has them: the last equation's first
    orders: dict[str, tuple[int, ...]] = field(default_factory=dict)  # schedules that were worked out


def memory(table: CostTable, policy: str, donate: tuple[str, ...] = ()) -> Memory:
    """The contents of a program's memory. ``donate`` are origins (:data:`~costmodel.rules.work.ORIGINS`) of inputs that the caller
    gives up.

    Raises CostModelError for an unknown policy or origin.
    """
    if isinstance(donate, str):  # whose letters are no origins
        raise CostModelError(f"donate={donate!r} is text: give the origins as a tuple, donate=({donate!r},)")
    unknown = [name for name in donate if name not in ORIGINS or name in ("literal", "equation")]
    if unknown:
        raise CostModelError(f"nothing called {', '.join(map(repr, unknown))} can be donated;"
                             f"{did_you_mean(unknown[0], ORIGINS)} choose from "
                             f"{', '.join(o for o in ORIGINS if o not in ('literal', 'equation'))}")
    chosen = policy_named(policy)
    return table.remember(("memory", chosen, donate),
                          lambda: _Reader(rewritten(table, policy), plan(table, policy), donate, chosen).memory())


class _Reader:
    """Reads a table's contents off its kernels."""

    def __init__(self, table: CostTable, kernels: tuple[Kernel, ...], donate: tuple[str, ...], policy: Policy) -> None:
        self.table, self.kernels, self.policy = table, kernels, policy
        # A framework's kernels may copy an operand: what makes that is no equation of the table.
        computed = [e for k in kernels for e in (*k.again, *k.equations)]
        self.maker: dict[Value, Equation] = {out: e for e in (*table, *computed) for out in e.outs}
        self.shows: dict[Value, Value] = {out: into for e in table if Trait.VIEW in e.traits and Trait.LOOP_CARRY not in e.traits
                                        for into, out in zip(e.ins, e.outs, strict=False)}
        self.contents: dict[Value, Content] = {}
        self.next: dict[Value, list[tuple[int, Content]]] = {}  # what a loop hands on -> (loop, its place), innermost first
        self.updates: list[tuple[Content, Content]] = []
        self.possible: list[tuple[Content, Content]] = []
        self.changed: list[tuple[Content, Content]] = []
        self.branches: list[tuple[Content, Content]] = []
        self.choices: list[tuple[Content, Content]] = []
        self.copies: list[Content] = []  # outputs that show an input which stays
        # Of each kernel (the equation's place, backwards; the operand's; what it is).
        self.operands: list[list[tuple[int, int, Content]]] = [[] for _ in kernels]
        for v in table.inputs:
            self.contents[v] = Content(v, given_up=v.origin in donate)

    def memory(self) -> Memory:
        loops_of = self._loops_of_carried()
        for number, k in enumerate(self.kernels):
            for v, _ in k.writes:
                self._made(v, number)
        carries = self._carried(loops_of)
        for e in self.table:
            if Trait.BRANCH_RESULT in e.traits:
                self._branch_result(e)
        for number, k in enumerate(self.kernels):
            self._reads(number, k)
        self._outputs()
        contents = (*self.contents.values(), *(c.place for c in carries), *self.copies, *self._workspaces())
        joined = {c for _, c in self.branches}
        parts = (c for c in contents if c.opens is not None or c in joined or (
            c.maker is not None and len(self.kernels[c.maker].writes) > 1))
        return Memory(self.kernels, contents, tuple(carries), tuple(self.updates), frozenset(self.possible), frozenset(parts),
                      tuple(self.branches), tuple(self.choices), tuple(self.changed),
                      frozenset(i for i, k in enumerate(self.kernels) if any(map(self.policy.looped, k.equations))),
                      tuple(tuple(dict.fromkeys(c for *_, c in sorted(each, key=lambda o: o[:2]))) for each in self.operands))

    def _workspaces(self) -> Iterator[Content]:
        """What kernels need beside what they read and write."""
        for number, k in enumerate(self.kernels):
            for e, size in ((each, size) for each in k.equations for size in self.policy.workspace(each)):
                array = Value(Array((size,), "uint8"))
                if Trait.SCAN_READ in e.traits and e.loops:  # of what a loop goes over it is needed for the whole loop
                    yield Content(array, e.loops[:-1], opens=e.loops[-1], ends=[e.loops[-1]])
                else:
                    yield Content(array, k.main.loops, number)

    # -- contents ----------------------------------------------------------------------------------------------------------------

    def root(self, value: Value) -> Value:
        while value in self.shows:
            value = self.shows[value]
        return value

    def content(self, value: Value, loops: tuple[int, ...]) -> Content | None:
        """What an equation in these loops sees of ``value`` in memory: None for a scalar constant, and for what a kernel keeps to
        itself."""
        source = self.root(value)
        for loop, place in reversed(self.next.get(source, ())):
            if loop not in loops:
                return place
        found = self.contents.get(source)
        if found is None and source not in self.maker and source.array.shape:
            # A constant array, or, where a part of a program was chosen, what the rest of it had made.
            found = self.contents[source] = Content(source, given_up=False, shown=True)
        return found

    def _made(self, value: Value, kernel: int) -> None:
        e = self.maker[value]
        # A stacked result belongs to where its loop stands.
        stacked = Trait.SCAN_WRITE in e.traits and e.loops
        self.contents[value] = Content(value, e.loops[:-1] if stacked else e.loops, kernel, e.loops[-1] if stacked else None,
                                       filled=not e.branch and self.policy.looped(e))

    def _loops_of_carried(self) -> dict[Value, int]:
        """The loop of each carried value: the one in which it is read."""
        outside = {e.outs[0]: e.loops for e in self.table if Trait.LOOP_CARRY in e.traits}
        found: dict[Value, int] = {}
        for e in self.table:
            for v in e.ins:
                if v in outside and len(e.loops) > len(outside[v]):
                    found.setdefault(v, e.loops[len(outside[v])])
        return found

    def _carried(self, loops_of: dict[Value, int]) -> list[Carry]:
        after = dict(self.table.carried)
        changing = []
        for e in reversed([e for e in self.table if Trait.LOOP_CARRY in e.traits]):  # inner loops first
            a = e.outs[0]
            if a in loops_of and a in after and self.root(after[a]) is not a and not self._counts(after[a]):
                changing.append((e, a, self.root(after[a]), loops_of[a]))
            else:
                self.shows[a] = e.ins[0]  # it stays what it was
        places: dict[Value, Content] = {}
        for e, a, _, loop in changing:
            places[a] = Content(a, e.loops, opens=loop, shown=e.phase == "", ends=[loop])
            self.contents[a] = Content(a, (*e.loops, loop), opens=loop, shown=e.phase == "")
        # What is handed on by an inner loop is known before what an outer one makes of it.
        for _, a, b, loop in sorted(changing, key=lambda c: -len(c[0].loops)):
            if b in self.maker and loop in self.maker[b].loops:
                self.next.setdefault(b, []).append((loop, places[a]))
        carries = []
        for e, a, b, loop in changing:
            handed_on, initial = self.content(b, (*e.loops, loop)), self.content(e.ins[0], e.loops)
            if handed_on is not None:
                handed_on.ends.append(loop)
            if initial is not None:
                initial.starts.append((loop, e.loops))
            carries.append(Carry(loop, places[a], self.contents[a], handed_on, initial))
        return carries

    def _counts(self, value: Value) -> bool:
        """A loop's counter needs no memory: a loop over a known range may have none."""
        made = self.maker.get(value)
        return made is not None and Trait.CONSTANT in made.traits and not value.array.shape

    def _branch_result(self, e: Equation) -> None:
        """The result is made where the last branch's is; a branch's result that is a constant or from outside is copied there."""
        results = [c for c in (self.content(v, e.loops) for v in e.ins[1:]) if c is not None]
        made = [c.maker for c in results if c.maker is not None and self.kernels[c.maker].main.branch != e.branch]
        # Without a kernel in any branch: before the first kernel that follows.
        follows = next((i for i, k in enumerate(self.kernels) if k.main.index > e.index), len(self.kernels) - 1)
        joined = self.contents[e.outs[0]] = Content(e.outs[0], e.loops, last := max(made, default=follows))
        self.branches += [(c, joined) for c in results]
        for c in results:  # what a branch hands through is there until one was taken
            if c.maker is not None and self.kernels[c.maker].main.branch == e.branch:
                c.users.append((last, e.loops))
        index = self.content(e.ins[0], e.loops)
        self.choices += [(index, joined)] if index is not None else []

    # -- uses --------------------------------------------------------------------------------------------------------------------

    def _reads(self, number: int, k: Kernel) -> None:
        computed = (*k.equations, *k.again)
        own = {out for e in computed for out in e.outs}
        dying: dict[Content, None] = {}
        for e in computed:
            if e.has(Trait.LOOP_CARRY, Trait.BRANCH_RESULT):
                continue
            for position, v in enumerate(e.ins):
                source = self.root(v)
                read = None if source in own else self.content(v, e.loops)
                if read is None:
                    continue
                read.users.append((number, e.loops))
                self.operands[number].append((-e.index, position, read))
                maker = self.maker.get(source)
                if maker is not None and maker.phase in ("", "recompute") and (maker.path, maker.phase) != (e.path, e.phase):
                    read.shown = True
                if position == 0 and Trait.IN_PLACE in e.traits and e.outs[0] in self.contents:
                    self.changed.append((read, self.contents[e.outs[0]]))
                    if not self._reshaped(e, source):
                        self.updates.append(self.changed[-1])
                if Trait.SORT in e.traits and position < len(e.outs):
                    self._sorts(read, v.array, e.outs[position], number)
                dying[read] = None
        for v, _ in k.writes:
            for old in dying:
                donated = old.value.origin != "equation" and old.value.array == v.array and v in self.results
                if donated or ((self._may_be_overwritten(old) or self._alone(computed, old))
                               and _same_places(old.value.array, v.array) and self._pointwise(computed, old)):
                    self._may_take(old, self.contents[v], donated)

    def _reshaped(self, e: Equation, source: Value) -> bool:
        """Whether an update is of something in another shape, which XLA for processors copies first: repetition within a dimension
        is one into a further dimension to it."""
        maker = self.maker.get(source)
        if not self.policy.reserves_results or Trait.UPDATE not in e.traits or maker is None:
            return False
        made, of = source.array.shape, maker.ins[0].array.shape if Trait.BROADCAST in maker.traits else ()
        within = len(of) == len(made) and any(a not in (1, b) for a, b in zip(of, made, strict=True))
        return within or made != e.ins[0].array.shape

    def _sorts(self, old: Content, array: Array, new: Value, kernel: int) -> None:
        """Compilers sort in place what nothing else reads (XLA, HloDataflowAnalysis::CanShareOperandBufferWithUser), and what is no
        loop's carried value."""
        alone = {user for user, _ in old.users} == {kernel} and (old.opens is None or old.maker is not None)
        if alone and self._may_be_overwritten(old) and new in self.contents and _same_places(array, new.array):
            self._may_take(old, self.contents[new])

    def _may_take(self, old: Content, new: Content, surely: bool = False) -> None:
        self.updates.append((old, new))
        if not surely and not new.loops:
            self.possible.append((old, new))

    def _may_be_overwritten(self, old: Content) -> bool:
        """Compilers let elementwise kernels write over an operand that nobody reads any more; eager frameworks do not."""
        sharing = self.policy.buffer_sharing
        return sharing is not None and (old.maker is None or sharing(self.kernels[old.maker].main))

    def _alone(self, computed: Sequence[Equation], old: Content) -> bool:
        """Whether a kernel goes over ``old`` and numbers only, such that a compiler takes the shape of that. A change of shape
        moves past operations on what has it, at once, if all that they work on has it (XLA, ReshapeMover): not past x · f(x)."""
        left = [e for e in computed if not self.numbers.issuperset(e.outs)]
        shaped = {old.value}
        while users := {e: None for v in shaped for e in self.users.get(v, ())}:
            known = shaped | self.numbers
            if any(v.array.shape and self.root(v) not in known for e in users for v in e.ins) or not all(
                    arithmetic(e) and (Trait.COMPOSED not in e.traits or one_operation(e)) for e in users):
                break
            left = [e for e in left if e not in users]
            shaped = {out for e in users if e in computed for out in e.outs}
        return self.policy.buffer_sharing is not None and not left

    @cached_property
    def users(self) -> dict[Value, list[Equation]]:
        """The equations that use a value, or what shows it."""
        found: dict[Value, list[Equation]] = {}
        for k in self.kernels:
            for e in k.equations:
                for v in dict.fromkeys(self.root(v) for v in e.ins):
                    found.setdefault(v, []).append(e)
        return found

    @cached_property
    def numbers(self) -> set[Value]:
        """Arrays of one number, and what is computed of these."""
        found: set[Value] = set()
        for e in sorted((e for k in self.kernels for e in k.equations), key=lambda e: e.index):
            if e.ins and (arithmetic(e) or e.has(Trait.BROADCAST, Trait.CONSTANT)) and all(
                    not v.array.shape or self.root(v) in found for v in e.ins):
                found.update(e.outs)
        return found

    def _pointwise(self, computed: Sequence[Equation], old: Content) -> bool:
        """Whether a kernel uses each element of ``old`` for the same element of its results only."""
        derived = {old.value}
        for e in sorted(computed, key=lambda e: e.index):
            if any(self.root(v) in derived for v in e.ins):
                if not arithmetic(e) and Trait.VIEW not in e.traits:
                    return False
                derived.update(e.outs)
        return True

    @cached_property
    def results(self) -> frozenset[Value]:
        return frozenset(self.root(v) for v in self.table.outputs)

    def _outputs(self) -> None:
        inputs = set(self.table.inputs)
        for v in self.table.outputs:
            made = self.content(v, ())
            if made is None or (v in inputs and (made.given_up or self.policy.buffer_sharing is None)):
                continue  # a framework hands an input through; a compiler's caller gets an array of its own
            if made.given_up:
                made.output = True
            else:
                self.copies.append(Content(v, maker=len(self.kernels) - 1 if self.kernels else None, output=True))


def _same_places(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.bits == b.bits
