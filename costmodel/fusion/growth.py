"""Kernels grown backwards from their results, by a policy's predicates.

An equation is computed inside the kernels that use its result where the policy allows it for all of them (or, ``besides``, for
some); else it is the root of a kernel of its own, which writes the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sympy import Add, Expr

from costmodel.fusion.graph import Graph
from costmodel.fusion.kernel import Kernel, kind_of, read_once
from costmodel.fusion.layers import anchor_kind
from costmodel.fusion.policies import Policy, along_lines, arithmetic, contraction, loop, reduced_dimensions, reduction, window
from costmodel.rules.work import CostTable, Equation, Value


def grown(table: CostTable, policy: Policy) -> tuple[Kernel, ...]:
    """The kernels of a program under a policy, in an order in which they can run."""
    graph = Graph(policy.prepare(table))
    kernels = _Growth(graph, policy).kernels()
    return _borders(graph, _together(graph, policy, kernels) if policy.together else kernels)


@dataclass(eq=False)
class _Growing:
    """A kernel on its way: the equations whose results it writes, all that it computes, and its one contraction or window."""

    roots: list[Equation]
    members: dict[int, Equation]
    anchor: Equation | None = None


class _Growth:
    """Walks a program backwards; ``homes`` are the kernels that compute an equation."""

    def __init__(self, graph: Graph, policy: Policy) -> None:
        self.graph, self.policy, self.library = graph, policy, policy.library(graph)
        self.homes: dict[int, list[_Growing]] = {}

    def kernels(self) -> list[_Growing]:
        made: list[_Growing] = []
        for e in reversed(self.graph.equations):
            homes = self._instead_of_writing(e)
            if homes is None:
                made.append(_Growing([e], {}))
                homes = [made[-1], *(self._besides_writing(e) if self.policy.besides else ())]
            for kernel in homes:
                kernel.members[id(e)] = e
                if _is_anchor(e):
                    kernel.anchor = e
            self.homes[id(e)] = homes
        return made[::-1]

    def _instead_of_writing(self, e: Equation) -> list[_Growing] | None:
        """The kernels that compute ``e`` for all of its uses, or None if it must be written."""
        uses = self.graph.users(e)
        if not uses or self.graph.is_result(e) or not all(self._allowed(e, *use) for use in uses):
            return None
        found = self._of(consumer for consumer, _ in uses)
        if _is_anchor(e) and id(e) not in self.library and not all(
                k.anchor is None and self.policy.finish(self.graph, k.members.values()) for k in found):
            return None
        if len(found) > 1 and not _is_cheap(e) and not (loop(e) and self.policy.anew(self.graph, e)):
            return None
        return found

    def _besides_writing(self, e: Equation) -> list[_Growing]:
        """The kernels that compute ``e`` themselves although it is written for another one."""
        if not loop(e) or not self.policy.anew(self.graph, e):
            return []
        return self._of(consumer for consumer, operand in self.graph.users(e) if self._allowed(e, consumer, operand))

    def _of(self, equations: Iterable[Equation]) -> list[_Growing]:
        return list({id(k): k for e in equations for k in self.homes[id(e)]}.values())

    def _allowed(self, e: Equation, consumer: Equation, operand: int) -> bool:
        """Whether the kernels of one use may compute ``e``."""
        graph, policy = self.graph, self.policy
        if e.rule in ("scan_write", "branch_result") or graph.updates_in_place(e):
            return False  # its result is a place in memory
        if consumer.rule == "branch_result" or (operand == 0 and graph.updates_in_place(consumer)):
            return False
        if not e.runs_with(consumer):
            return e.rule == "constant"
        if id(e) in self.library or id(consumer) in self.library:
            return self.library.get(id(e)) == self.library.get(id(consumer)) or _is_cheap(e)
        if loop(e):
            return policy.into(graph, e, consumer, operand)
        if contraction(e) or window(e):
            return len(graph.consumers(e)) == 1 and policy.epilogue(graph, e, consumer, operand)
        return reduction(e) and policy.one_pass(graph, e) and policy.into(graph, e, consumer, operand)


def _is_anchor(e: Equation) -> bool:
    """A kernel has one of these at most."""
    return (contraction(e) or window(e) or anchor_kind(e) is not None) and not loop(e)


def _is_cheap(e: Equation) -> bool:
    """Costs nothing to have again: constants, and what repeats something smaller."""
    return e.rule in ("constant", "shape constant") or e.primitive == "broadcast_in_dim"


# -- several results ----------------------------------------------------------------------------------------------------------


def _together(graph: Graph, policy: Policy, kernels: list[_Growing]) -> list[_Growing]:
    """Loops and reductions over the same array share a kernel with several results, and with the loop that makes the array: one
    pass over it (XLA, MultiOutputFusion)."""
    home = {id(root): k for k in kernels for root in k.roots}
    over: dict[tuple[int, tuple[int, ...]], _Growing] = {}  # (array, loops) -> the kernel that goes over it
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
            candidates = [over.get((id(v), main.loops))]
            if maker is not None and arithmetic(maker) and (arithmetic(main) or along_lines(main)):
                candidates.append(home.get(id(maker)))
            for other in candidates:
                if other is None or not _as_often(main, other) or not all(_ready(graph, x, other, size) for x in reads):
                    continue
                if other.anchor is None or policy.finish(graph, kernel.members.values()):
                    target = other
        if target is kernel:
            kept.append(kernel)
        else:
            target.roots += kernel.roots
            target.members.update(kernel.members)
            home.update((id(root), target) for root in kernel.roots)
        for v in reads:
            if v.array.size == size:
                over.setdefault((id(v), main.loops), target)
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
    if id(maker) in kernel.members:
        return arithmetic(maker) and value.array.size == size
    return graph.index[id(maker)] < graph.index[id(kernel.roots[0])]


def _outside(graph: Graph, kernel: _Growing) -> list[Value]:
    """Values that a kernel reads."""
    found: dict[int, Value] = {}
    for e in kernel.members.values():
        for v, elements in zip(e.ins, e.work.read, strict=True):
            maker = graph.maker(v)
            if elements != 0 and (maker is None or id(maker) not in kernel.members):
                found[id(graph.name(v))] = graph.name(v)
    return list(found.values())


# -- borders ------------------------------------------------------------------------------------------------------------------


def _borders(graph: Graph, kernels: list[_Growing]) -> tuple[Kernel, ...]:
    memory = graph.memory
    taken = {id(root) for k in kernels for root in k.roots}  # equations that belong to a kernel
    made: list[Kernel] = []
    for k in kernels:
        members = sorted(k.members.values(), key=lambda e: graph.index[id(e)])
        roots = {id(root) for root in k.roots}
        own = tuple(e for e in members if id(e) in roots or id(e) not in taken)
        taken.update(id(e) for e in own)
        again = tuple(e for e in members if not any(e is mine for mine in own))
        reads = tuple((memory(v), elements) for v, elements in _reads(graph, members, roots))
        writes = tuple((out, out.array.size if graph.copies_to_update(root) else written)
                       for root in k.roots for out, written in zip(root.outs, root.work.written, strict=True)
                       if written != 0 and (graph.uses(out) or id(out) in graph.results))
        if reads or writes or any(e.work.ops for e in own):
            made.append(Kernel(len(made), kind_of(members), own, reads, writes, again))
    return tuple(made)


def _reads(graph: Graph, members: list[Equation], roots: set[int]) -> list[tuple[Value, Expr]]:
    """What a kernel touches of each value from outside. Where only a part of a member's result is needed, as by a slice, only that
    part of equally large operands is."""
    inside = {id(e) for e in members}
    needed: dict[int, tuple[Value, list[Expr]]] = {}
    for e in reversed(members):
        parts = [needed.get(id(out), (out, []))[1] for out in e.outs]
        partial = id(e) not in roots and all(out.array.size not in p for p, out in zip(parts, e.outs, strict=True))
        wanted = Add(*(read_once(out, p) for p, out in zip(parts, e.outs, strict=True))) if partial else None
        for v, elements in zip(e.ins, e.work.read, strict=True):
            if v is e.ins[0] and graph.copies_to_update(e):
                elements = v.array.size  # what is not updated goes on as it is
            if elements != 0:
                whole = e.outs[0].array.size if len(e.outs) == 1 else v.array.size
                touched = wanted if wanted is not None and loop(e) and elements == whole else elements
                source = graph.name(v)
                needed.setdefault(id(source), (source, []))[1].append(touched)
    makers = {key: graph.maker(value) for key, (value, _) in needed.items()}
    return [(value, read_once(value, parts)) for key, (value, parts) in needed.items()
            if (maker := makers[key]) is None or id(maker) not in inside]
