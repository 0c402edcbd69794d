"""Kernels grown backwards from their results, by what a compiler fuses.

An equation is computed inside the kernels that use its result where that is allowed for all of them (or, with
``rematerialisation``, for some); else it is the root of a kernel of its own, which writes the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from sympy import Add, Expr

from costmodel.fusion.conversions import as_is
from costmodel.fusion.graph import Graph
from costmodel.fusion.kernel import Kernel, kind_of, of_part, read_once
from costmodel.fusion.layers import anchor_kind
from costmodel.fusion.predicates import along_lines, arithmetic, contraction, dear, loop, reduced_dimensions, reduction, window
from costmodel.fusion.registry import Policy
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation, Value
from costmodel.symbolic.forms import ZERO


def _anything(*_: object) -> bool:
    return True


def _nothing(*_: object) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """What a compiler fuses, in XLA's words. Each is a predicate that looks at what equations are and how they are connected.

    producer:           (graph, producer, consumer, operand) -> whether the consumer's kernel may compute that operand itself.
    duplication:        (graph, producer) -> whether a producer may be computed in several kernels, instead of being written once.
    on_all_paths:       (graph, producer) -> whether it may also be if every path from it to its users can be in one kernel.
    users:              (graph, producer) -> by how many operations that a kernel may compute apart from each other it is used.
    freely:             (graph, producer) -> whether it may be in the one kernel of all of its users, even where a path to one of
                        them leads outside.
    epilogue:           (graph, contraction or window, consumer, operand) -> whether its kernel may go on with that only use.
    epilogue_chain:     (graph, equations) -> whether a contraction's kernel may go on with all of these.
    reduction_diamond:  (graph, reduction) -> whether a reduction may share a kernel with what uses its result.
    passes:             what the compiler changes in the program before it fuses.
    library_calls:      graph -> equations that a library runs in one kernel, with its number; nothing else enters it.
    emissions:          equation -> how often a kernel's code may have it, once for each way to index it; None: no limit.
    once:               equation -> whether no kernel computes it that uses its elements several times.
    rematerialisation:  whether a producer may be computed in a kernel although it must be written for another one.
    multi_output:       whether reductions of the same array, and what makes it, share a kernel that has several results.
    """

    producer: Callable[[Graph, Equation, Equation, int], bool] = _anything
    duplication: Callable[[Graph, Equation], bool] = _nothing
    on_all_paths: Callable[[Graph, Equation], bool] = _nothing
    users: Callable[[Graph, Equation], int] = lambda graph, e: len(graph.consumers(e))
    freely: Callable[[Graph, Equation], bool] = _anything
    epilogue: Callable[[Graph, Equation, Equation, int], bool] = _nothing
    epilogue_chain: Callable[[Graph, Iterable[Equation]], bool] = _anything
    reduction_diamond: Callable[[Graph, Equation], bool] = _nothing
    passes: Callable[[CostTable], CostTable] = as_is
    library_calls: Callable[[Graph], Mapping[Equation, int]] = lambda graph: {}
    emissions: Callable[[Equation], int] | None = None
    once: Callable[[Equation], bool] = _nothing
    rematerialisation: bool = False
    multi_output: bool = False


def compiler(*, name: str, summary: str, fusion: Fusion, fresh: Callable[[Equation], bool] = _nothing,
             workspace: Callable[[Equation], tuple[Expr, ...]] = lambda e: (), looped: Callable[[Equation], bool] = _nothing,
             reserves_results: bool = False) -> Policy:
    """A policy of what a compiler fuses. ``fresh`` says which results stand in memory in another shape than the program's, which no
    later kernel may have, ``workspace`` what arrays a kernel needs beside, in bytes, ``looped`` what runs as a loop over its
    results, ``reserves_results`` whether the memory of results is taken before the program runs."""
    return Policy(name=name, summary=summary, kernels=lambda table: grown(table, fusion), passes=fusion.passes,
                  buffer_sharing=lambda e: not fresh(e), workspace=workspace, looped=looped, reserves_results=reserves_results)


def grown(table: CostTable, fusion: Fusion) -> tuple[Kernel, ...]:
    """The kernels of a program after the passes, in an order in which they can run."""
    graph = Graph(table)
    kernels = _Growth(graph, fusion).kernels()
    return _borders(graph, _together(graph, fusion, kernels) if fusion.multi_output else kernels)


@dataclass(eq=False)
class _Growing:
    """A kernel on its way: the equations whose results it writes, all that it computes, and its one contraction or window.
    ``indexing`` are those that compute an index for a member's elements (a root itself), ``emitted`` is how often its code has a
    member, ``repeated`` are members whose elements it uses several times, ``spread`` those and what arithmetic repeats."""

    roots: list[Equation]
    members: dict[Equation, None]
    anchor: Equation | None = None
    indexing: dict[Equation, set[Equation]] = field(default_factory=dict)
    emitted: dict[Equation, int] = field(default_factory=dict)
    repeated: set[Equation] = field(default_factory=set)
    spread: set[Equation] = field(default_factory=set)


class _Growth:
    """Walks a program backwards; ``homes`` are the kernels that compute an equation."""

    def __init__(self, graph: Graph, fusion: Fusion) -> None:
        self.graph, self.fusion, self.library = graph, fusion, fusion.library_calls(graph)
        self.homes: dict[Equation, list[_Growing]] = {}
        self.alone: set[Equation] = set()  # what no kernel computes but its own, as others would read more by it

    def kernels(self) -> list[_Growing]:
        made: list[_Growing] = []
        for e in reversed(self.graph.equations):
            homes = self._instead_of_writing(e)
            if homes is None:
                made.append(_Growing([e], {}))
                homes = [made[-1], *(self._besides_writing(e) if self.fusion.rematerialisation else ())]
            for kernel in homes:
                if self.fusion.emissions is not None:
                    kernel.indexing[e] = {e} if e in kernel.roots else self._indexing(e, kernel)
                    results = sum(any(u in kernel.members for u, _ in self.graph.uses(out)) for out in e.outs)
                    kernel.emitted[e] = self._emitted(e, kernel) * max(1, results)
                if self._is_repeated(e, kernel):
                    kernel.repeated.add(e)
                if self._is_spread(e, kernel):
                    kernel.spread.add(e)
                kernel.members[e] = None
                if _is_anchor(e):
                    kernel.anchor = e
            self.homes[e] = homes
        return made[::-1]

    def _instead_of_writing(self, e: Equation) -> list[_Growing] | None:
        """The kernels that compute ``e`` for all of its uses, or None if it must be written."""
        uses = self.graph.users(e)
        if not uses or self.graph.is_result(e) or not all(self._allowed(e, *use) for use in uses):
            return None
        found = self._of(consumer for consumer, _ in uses)
        if e not in self.library and not all(self._fits(e, kernel) for kernel in found):
            return None
        if _is_anchor(e) and e not in self.library and not all(
                k.anchor is None and self.fusion.epilogue_chain(self.graph, k.members) for k in found):
            return None
        if e in self.library or _is_cheap(e) or (self._repeatable(e) if len(found) > 1 else self._joins(e)):
            return found
        return None

    def _besides_writing(self, e: Equation) -> list[_Growing]:
        """The kernels that compute ``e`` themselves although it is written for another one."""
        if not self._repeatable(e):
            return []
        found = self._of(consumer for consumer, operand in self.graph.users(e) if self._allowed(e, consumer, operand))
        return [kernel for kernel in found if self._fits(e, kernel)]

    def _repeatable(self, e: Equation) -> bool:
        """Whether several kernels may compute an equation."""
        if not loop(e) or (self.fusion.emissions is not None and self.fusion.emissions(e) == 1):
            return False
        return self._goes(e, self.fusion.duplication)

    def _joins(self, e: Equation) -> bool:
        """Whether the one kernel of all users of an equation may compute it."""
        return not loop(e) or self.fusion.users(self.graph, e) == 1 or self._goes(e, self.fusion.freely)

    def _goes(self, e: Equation, anyway: Callable[[Graph, Equation], bool]) -> bool:
        """Whether an equation may be computed where it is used; what may not is noted."""
        if anyway(self.graph, e) or (self.fusion.on_all_paths(self.graph, e) and self._goes_everywhere(e)):
            return True
        self.alone.add(e)
        return False

    def _goes_everywhere(self, e: Equation) -> bool:
        """Whether an equation can be computed in all of its users, and on all paths to them (XLA,
        InstructionFusion::ComputeGloballyUnfusible and CanFuseOnAllPaths)."""
        graph = self.graph
        if graph.is_result(e) or not all(self._allowed(e, *use) for use in graph.users(e)):
            return False
        users = graph.consumers(e)
        last = max((graph.index[user] for user in users), default=-1)
        after, pending = {e}, [e]  # what depends on it, up to its last user
        while pending:
            new = [user for user in graph.consumers(pending.pop()) if user not in after and graph.index[user] <= last]
            after.update(new)
            pending += new
        between, pending = {e}, users  # of these what one of its users depends on
        while pending:
            user = pending.pop()
            for operand, v in enumerate(user.ins):
                maker = graph.maker(v)
                if maker is None or maker is e or maker not in after or (user, operand) not in graph.uses(v):
                    continue
                if maker in self.alone or not self._allowed(maker, user, operand) or (
                        self.fusion.once(maker) and self.fusion.users(graph, maker) > 1):
                    return False
                if maker not in between:
                    between.add(maker)
                    pending.append(maker)
        return True

    def _fits(self, e: Equation, kernel: _Growing) -> bool:
        """Whether a kernel's code would not have the equation too often, and would not read at other places what it changes in
        place (XLA, InstructionFusion::ShouldFuseInPlaceOp)."""
        graph, limit = self.graph, self.fusion.emissions
        if not arithmetic(e) and any(graph.name(root.ins[0]) in map(graph.name, e.ins)
                                     for root in kernel.roots if graph.updates_in_place(root)):
            return False
        if self.fusion.once(e) and (self._is_repeated(e, kernel) or (dear(e) and self._is_spread(e, kernel))):
            return False
        return limit is None or self._emitted(e, kernel) <= limit(e)

    def _is_repeated(self, e: Equation, kernel: _Growing) -> bool:
        """Whether a kernel uses each element of an equation's result several times (XLA, HloInstruction::ReusesOperandElements)."""
        return any(user in kernel.repeated or Trait.BROADCAST in user.traits for user in self.graph.consumers(e)
                   if user in kernel.members)

    def _is_spread(self, e: Equation, kernel: _Growing) -> bool:
        """The same of what arithmetic repeats along axes of one element, too."""
        return any(user in kernel.spread or Trait.BROADCAST in user.traits or (
            arithmetic(user) and user.ins[operand].array.size != user.outs[0].array.size)
            for user, operand in self.graph.users(e) if user in kernel.members)

    def _emitted(self, e: Equation, kernel: _Growing) -> int:
        return sum(kernel.emitted.get(user, 1) for user in kernel.indexing.get(e) or self._indexing(e, kernel))

    def _indexing(self, e: Equation, kernel: _Growing) -> set[Equation]:
        """The members that compute an index for elements of ``e``: users of its result, or those who do for a user that goes on
        with the index that it gets (XLA, FusionNodeIndexingEvaluation)."""
        found: set[Equation] = set()
        for user, operand in self.graph.users(e):
            if user in kernel.members:
                passed_on = Trait.TRANSPOSE in user.traits or (
                    arithmetic(user) and user.ins[operand].array.shape == user.outs[0].array.shape and user.ins[operand] in e.outs)
                found |= kernel.indexing[user] if passed_on else {user}
        return found

    def _of(self, equations: Iterable[Equation]) -> list[_Growing]:
        return list({k: None for e in equations for k in self.homes[e]})

    def _allowed(self, e: Equation, consumer: Equation, operand: int) -> bool:
        """Whether the kernels of one use may compute ``e``."""
        graph, fusion = self.graph, self.fusion
        if e.has(Trait.SCAN_WRITE, Trait.BRANCH_RESULT) or graph.updates_in_place(e):
            return False  # its result is a place in memory
        if Trait.BRANCH_RESULT in consumer.traits or (operand == 0 and graph.updates_in_place(consumer)):
            return False
        if not e.runs_with(consumer):
            return Trait.CONSTANT in e.traits
        if e in self.library or consumer in self.library:
            return self.library.get(e) == self.library.get(consumer) or _is_cheap(e)
        if loop(e):
            return fusion.producer(graph, e, consumer, operand)
        if contraction(e) or window(e):
            return len(graph.consumers(e)) == 1 and fusion.epilogue(graph, e, consumer, operand)
        return reduction(e) and fusion.reduction_diamond(graph, e) and fusion.producer(graph, e, consumer, operand)


def _is_anchor(e: Equation) -> bool:
    """A kernel has one of these at most."""
    return (contraction(e) or window(e) or anchor_kind(e) is not None) and not loop(e)


def _is_cheap(e: Equation) -> bool:
    """Costs nothing to have again: constants, and what repeats something smaller."""
    return e.has(Trait.CONSTANT, Trait.BROADCAST)


# -- several results ----------------------------------------------------------------------------------------------------------


def _together(graph: Graph, fusion: Fusion, kernels: list[_Growing]) -> list[_Growing]:
    """Loops and reductions over the same array share a kernel with several results, and with the loop that makes the array: one
    pass over it (XLA, MultiOutputFusion)."""
    home = {root: k for k in kernels for root in k.roots}
    over: dict[tuple[Value, tuple[int, ...]], _Growing] = {}  # (array, loops) -> the kernel that goes over it
    kept: list[_Growing] = []
    for kernel in kernels:
        main = kernel.roots[0]
        size = main.ins[0].array.size if reduction(main) else main.outs[0].array.size
        if kernel.anchor is not None or not (reduction(main) or arithmetic(main)) or not main.outs[0].array.shape:
            kept.append(kernel)
            continue
        reads = _outside(graph, kernel)
        target = kernel
        for v in (v for v in reads if v.array.size == size):
            maker = graph.maker(v)
            candidates = [over.get((v, main.loops))]
            if maker is not None and arithmetic(maker) and (arithmetic(main) or along_lines(main)):
                candidates.append(home.get(maker))
            for other in candidates:
                if other is None or not _as_often(main, other) or not all(_ready(graph, x, other, size) for x in reads):
                    continue
                if other.anchor is None or fusion.epilogue_chain(graph, kernel.members):
                    target = other
        if target is kernel:
            kept.append(kernel)
        else:
            target.roots += kernel.roots
            target.members.update(kernel.members)
            home.update((root, target) for root in kernel.roots)
        for v in reads:
            if v.array.size == size:
                over.setdefault((v, main.loops), target)
    return kept


def _as_often(e: Equation, kernel: _Growing) -> bool:
    """Whether a kernel runs when and as often as ``e``, and reduces over the same dimensions if it reduces."""
    return all(root.runs_with(e) and not (
        reduction(e) and reduction(root) and reduced_dimensions(e) != reduced_dimensions(root)) for root in kernel.roots)


def _ready(graph: Graph, value: Value, kernel: _Growing, size: Expr) -> bool:
    """Whether a loop that ``kernel`` runs has this value: it was made before, or the kernel makes it element by element."""
    maker = graph.maker(value)
    if maker is None:
        return True
    if maker in kernel.members:
        return arithmetic(maker) and value.array.size == size
    return graph.index[maker] < graph.index[kernel.roots[0]]


def _outside(graph: Graph, kernel: _Growing) -> list[Value]:
    """Values that a kernel reads."""
    found: dict[Value, None] = {}
    for e in kernel.members:
        for v, elements in zip(e.ins, e.work.read, strict=True):
            maker = graph.maker(v)
            if elements is not ZERO and (maker is None or maker not in kernel.members):
                found[graph.name(v)] = None
    return list(found)


# -- borders ------------------------------------------------------------------------------------------------------------------


def written(graph: Graph, groups: Iterable[tuple[Iterable[Equation], Iterable[Equation]]]) -> tuple[Kernel, ...]:
    """Kernels of (equations whose results are written, all that is computed), in this order. An equation that several compute
    belongs to the one that writes it, else to the first."""
    return _borders(graph, [_Growing(list(roots), dict.fromkeys(members)) for roots, members in groups])


def _borders(graph: Graph, kernels: list[_Growing]) -> tuple[Kernel, ...]:
    memory = graph.memory
    taken = {root for k in kernels for root in k.roots}  # equations that belong to a kernel
    made: list[Kernel] = []
    for k in kernels:
        members = sorted(k.members, key=graph.index.__getitem__)
        roots = set(k.roots)
        own = dict.fromkeys(e for e in members if e in roots or e not in taken)
        taken.update(own)
        again = tuple(e for e in members if e not in own)
        reads = tuple((memory(v), elements) for v, elements in _reads(graph, members, roots))
        writes = tuple((out, out.array.size if graph.copies_to_update(root) else written)
                       for root in k.roots for out, written in zip(root.outs, root.work.written, strict=True)
                       if written is not ZERO and (len(root.outs) > 1 or graph.uses(out) or out in graph.results))
        if reads or writes or any(e.work.ops for e in own):
            made.append(Kernel(len(made), kind_of(members), tuple(own), reads, writes, again))
    return tuple(made)


def _reads(graph: Graph, members: list[Equation], roots: set[Equation]) -> list[tuple[Value, Expr]]:
    """What a kernel touches of each value from outside. Where only a part of a member's result is needed, as by a slice, only that
    part of equally large operands is."""
    inside = set(members)
    needed: dict[Value, list[Expr]] = {}
    for e in reversed(members):
        parts = [needed.get(out, []) for out in e.outs]
        partial = e not in roots and all(out.array.size not in p for p, out in zip(parts, e.outs, strict=True))
        wanted = Add(*(read_once(out.array, p) for p, out in zip(parts, e.outs, strict=True))) if partial else None
        for v, elements in zip(e.ins, e.work.read, strict=True):
            if v is e.ins[0] and graph.copies_to_update(e):
                elements = v.array.size  # what is not updated goes on as it is
            if elements is not ZERO:
                whole = e.outs[0].array.size if len(e.outs) == 1 else v.array.size
                touched = elements
                if wanted is not None and loop(e):
                    touched = wanted if elements == whole else of_part(e, v, elements, wanted)
                needed.setdefault(graph.name(v), []).append(touched)
    return [(value, read_once(value.array, parts)) for value, parts in needed.items()
            if (maker := graph.maker(value)) is None or maker not in inside]
