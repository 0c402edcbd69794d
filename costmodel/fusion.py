"""Which equations share a kernel, under a named policy, and what crosses the kernels' borders.

A policy is structure only: it looks at the equations, never at sizes or devices.

* ``unfused``: every equation is a kernel of its own and writes its results to memory, as an eager framework does.
* ``layer``: the lecture's layers, of :mod:`costmodel.layers`.
* ``xla-cpu``, ``xla-gpu``, ``xla-tpu``, ``ideal``: predicates of :mod:`costmodel.policies`, applied by :func:`_grown`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from sympy import Add, Expr, Rational

from costmodel.errors import CostModelError
from costmodel.graph import Graph, aliases
from costmodel.layers import ANCHORS, layers
from costmodel.policies import COMPILERS, Policy, arithmetic, contraction, loop, reduction, window
from costmodel.work import CostTable, Equation, Value, total

POLICIES = ("unfused", "layer", *COMPILERS)


@dataclass(frozen=True, eq=False)
class Kernel:
    """Equations that run as one: what they read from outside and write for others, in elements of each value.

    ``again`` are equations of other kernels that this one computes, too, instead of reading their results.
    """

    index: int
    kind: str
    equations: tuple[Equation, ...]
    reads: tuple[tuple[Value, Expr], ...]
    writes: tuple[tuple[Value, Expr], ...]
    again: tuple[Equation, ...] = ()

    @property
    def times(self) -> Expr:
        return self.main.times

    @cached_property
    def main(self) -> Equation:
        """The equation that gives the kernel its name: its anchor, else the last."""
        return next((e for e in self.equations if e.primitive in ANCHORS), (self.equations or self.again)[-1])

    @property
    def path(self) -> tuple[str, ...]:
        return self.main.path

    @cached_property
    def bytes(self) -> Expr:
        """Bytes across the kernel's border, one run."""
        return total(elements * Rational(v.array.bits, 8) for v, elements in (*self.reads, *self.writes))

    @cached_property
    def inputs(self) -> Expr:
        """Elements of activations read."""
        return Add(*(elements for v, elements in self.reads if v.is_activation))

    @cached_property
    def outputs(self) -> Expr:
        """Elements of activations written."""
        return Add(*(elements for v, elements in self.writes if v.is_activation))


@lru_cache(maxsize=16)
def plan(table: CostTable, policy: str) -> tuple[Kernel, ...]:
    """The table's kernels under a policy, in program order."""
    if policy in COMPILERS:
        return _grown(table, COMPILERS[policy])
    if policy == "unfused":
        groups = [[e] for e in table]
    elif policy == "layer":
        by_layer: dict[int, list[Equation]] = {}
        for e, group in zip(table, layers(table), strict=True):
            by_layer.setdefault(group, []).append(e)
        groups = [by_layer[g] for g in sorted(by_layer)]
    else:
        raise CostModelError(f"unknown fusion policy {policy!r}; choose one of {', '.join(POLICIES)}")
    return _kernels(table, groups, materialised=policy == "unfused")


# -- groups of equations, each in one kernel ----------------------------------------------------------------------------------


def _kernels(table: CostTable, groups: list[list[Equation]], *, materialised: bool) -> tuple[Kernel, ...]:
    root = aliases(table)
    home = {id(out): i for i, group in enumerate(groups) for e in group for out in e.outs}
    consumers: dict[int, set[int]] = {}
    for i, group in enumerate(groups):
        for e in group:
            for v in e.ins:
                consumers.setdefault(id(root(v)), set()).add(i)
    results = {id(root(v)) for v in (*table.outputs, *(out for _, out in table.carried))}
    kernels: list[Kernel] = []
    for i, group in enumerate(groups):
        touched: dict[int, tuple[Value, list[Expr]]] = {}
        for e in group:
            for v, elements in zip(e.ins, e.work.read, strict=True):
                source = root(v)
                if elements != 0 and (home.get(id(source)) != i or materialised):
                    touched.setdefault(id(source), (source, []))[1].append(elements)
        reads = tuple((v, read_once(v, parts)) for v, parts in touched.values())
        writes = tuple((out, written) for e in group for out, written in zip(e.outs, e.work.written, strict=True)
                       if written != 0 and (materialised or id(root(out)) in results or consumers.get(id(root(out)), set()) - {i}))
        kernels.append(Kernel(len(kernels), _kind(group), tuple(group), reads, writes))
    return tuple(k for k in kernels if k.reads or k.writes or any(e.work.ops for e in k.equations))


def read_once(value: Value, parts: list[Expr], times: list[Expr] | None = None) -> Expr:
    """Elements of ``value`` read by several readers that share one pass: all of it if one reads all; partial reads add up, each as
    often as it happens."""
    if value.array.size in parts:
        return value.array.size
    return Add(*parts) if times is None else Add(*(p * t for p, t in zip(parts, times, strict=True)))


# -- kernels grown from their results, by predicates --------------------------------------------------------------------------


@dataclass(eq=False)
class _Growing:
    """A kernel on its way: the equations whose results it writes, all that it computes, and its one contraction or window."""

    roots: list[Equation]
    members: dict[int, Equation]
    anchor: Equation | None = None


def _grown(table: CostTable, policy: Policy) -> tuple[Kernel, ...]:
    """Backwards over the program: an equation is computed inside the kernels that use its result where the policy allows it for
    all of them (or, ``besides``, for some); else it starts a kernel of its own, which writes the result."""
    graph = Graph(policy.prepare(table))
    library = policy.library(graph)
    homes: dict[int, list[_Growing]] = {}
    kernels: list[_Growing] = []
    for e in reversed(graph.equations):
        inside = _kernels_of_uses(graph, policy, e, homes, library)
        everywhere = inside is not None
        chosen = inside if inside is not None else _some(graph, policy, e, homes, library) if policy.besides else []
        if not everywhere:
            own = _Growing([e], {})
            kernels.append(own)
            chosen = [own, *chosen]
        for kernel in chosen:
            kernel.members[id(e)] = e
            if _is_anchor(e):
                kernel.anchor = e
        homes[id(e)] = chosen
    kernels.reverse()
    if policy.together:
        kernels = _merged(graph, kernels)
    return _borders(graph, kernels)


def _is_anchor(e: Equation) -> bool:
    return contraction(e) or window(e) or e.primitive in ANCHORS


def _kernels_of_uses(graph: Graph, policy: Policy, e: Equation, homes: dict[int, list[_Growing]],
                     library: Mapping[int, int]) -> list[_Growing] | None:
    """The kernels that compute ``e`` for all of its uses, or None if it must be written."""
    uses = graph.users(e)
    if not uses or graph.is_result(e) or e.rule in ("scan_write", "branch_result") or graph.updates_in_place(e):
        return None
    if not all(_allowed(graph, policy, e, consumer, operand, library) for consumer, operand in uses):
        return None
    found = _distinct(kernel for consumer, _ in uses for kernel in homes[id(consumer)])
    if _is_anchor(e) and id(e) not in library and not all(k.anchor is None and policy.finish(graph, k.members.values()) for k in found):
        return None
    if len(found) > 1 and not (_cheap(e) or (policy.anew(graph, e) and loop(e))):
        return None
    return found


def _some(graph: Graph, policy: Policy, e: Equation, homes: dict[int, list[_Growing]],
          library: Mapping[int, int]) -> list[_Growing]:
    """The kernels that compute ``e`` themselves although another one writes it."""
    if not loop(e) or not policy.anew(graph, e) or graph.updates_in_place(e):
        return []
    return _distinct(kernel for consumer, operand in graph.users(e) if _allowed(graph, policy, e, consumer, operand, library)
                     for kernel in homes[id(consumer)])


def _cheap(e: Equation) -> bool:
    """Costs nothing to have again: constants, and what repeats something smaller."""
    return e.rule in ("constant", "shape constant") or e.primitive == "broadcast_in_dim"


def _allowed(graph: Graph, policy: Policy, e: Equation, consumer: Equation, operand: int, library: Mapping[int, int]) -> bool:
    if consumer.rule == "branch_result" or (operand == 0 and graph.updates_in_place(consumer)):
        return False
    if e.loops != consumer.loops or e.times != consumer.times:
        return e.rule == "constant"
    if id(e) in library or id(consumer) in library:
        return library.get(id(e)) == library.get(id(consumer)) or _cheap(e)
    if contraction(e) or window(e):
        return len(graph.users(e)) == 1 and policy.epilogue(graph, e, consumer, operand)
    if reduction(e):
        return policy.one_pass(graph, e) and policy.into(graph, e, consumer, operand)
    return loop(e) and policy.into(graph, e, consumer, operand)


def _distinct(kernels: Iterable[_Growing]) -> list[_Growing]:
    return list({id(k): k for k in kernels}.values())


def _merged(graph: Graph, kernels: list[_Growing]) -> list[_Growing]:
    """Loops and reductions over the same array share a kernel with several results, and with the loop that makes the array: one
    pass over it."""
    home = {id(root): k for k in kernels for root in k.roots}
    merged: list[_Growing] = []
    over: dict[tuple[int, object], _Growing] = {}  # (array, loops) -> the kernel that goes over it
    for kernel in kernels:
        main = kernel.roots[0]
        size = main.ins[0].array.size if reduction(main) else main.outs[0].array.size
        if kernel.anchor is not None or not (reduction(main) or arithmetic(main)) or not main.outs[0].array.shape:
            merged.append(kernel)
            continue
        arrays = _outside(graph, kernel)
        target = None
        for v in arrays:
            if v.array.size != size:
                continue
            maker = graph.maker(v)
            made_by = home.get(id(maker)) if maker is not None and maker.outs[0].array.size == size and arithmetic(maker) and not (
                reduction(main) and not _along_lines(main)) else None
            for candidate in (over.get((id(v), main.loops)), made_by):
                if candidate is not None and candidate.anchor is None and candidate.roots[0].loops == main.loops and all(
                        _made(graph, other) <= graph.index[id(candidate.roots[0])] - 1 or _element_by_element(graph, other, candidate, size)
                        for other in arrays):
                    target = candidate
        if target is None:
            target = kernel
            merged.append(kernel)
        else:
            target.roots += kernel.roots
            target.members.update(kernel.members)
            home.update((id(root), target) for root in kernel.roots)
        over.update({(id(v), main.loops): target for v in arrays if v.array.size == size and (id(v), main.loops) not in over})
    return merged


def _along_lines(e: Equation) -> bool:
    """Reduces the innermost dimension, so that a line is one thread block's."""
    axes = re.search(r"axes=\(([\d,]*)\)", e.detail)
    return axes is not None and str(len(e.ins[0].array.shape) - 1) in axes[1].split(",")


def _element_by_element(graph: Graph, value: Value, kernel: _Growing, size: Expr) -> bool:
    """A loop that the kernel runs makes this value, so that the next operation can follow on each element."""
    maker = graph.maker(value)
    return maker is not None and id(maker) in kernel.members and arithmetic(maker) and value.array.size == size


def _made(graph: Graph, value: Value) -> int:
    maker = graph.maker(value)
    return -1 if maker is None else graph.index[id(maker)]


def _outside(graph: Graph, kernel: _Growing) -> list[Value]:
    """Values that a kernel reads."""
    found: dict[int, Value] = {}
    for e in kernel.members.values():
        for v, elements in zip(e.ins, e.work.read, strict=True):
            maker = graph.maker(v)
            if elements != 0 and (maker is None or id(maker) not in kernel.members):
                found[id(graph.name(v))] = graph.name(v)
    return list(found.values())


def _borders(graph: Graph, kernels: list[_Growing]) -> tuple[Kernel, ...]:
    root = aliases(graph.table)
    owned: set[int] = {id(r) for k in kernels for r in k.roots}
    made: list[Kernel] = []
    for k in kernels:
        members = sorted(k.members.values(), key=lambda e: graph.index[id(e)])
        roots = {id(r) for r in k.roots}
        own = tuple(e for e in members if id(e) in roots or id(e) not in owned)
        owned.update(id(e) for e in own)
        reads = _reads(graph, members, roots)
        writes = [(out, written) for e in members if id(e) in roots
                  for out, written in zip(e.outs, e.work.written, strict=True)
                  if written != 0 and (graph.uses(out) or id(out) in graph.results)]
        if reads or writes or any(e.work.ops for e in own):
            again = tuple(e for e in members if not any(e is o for o in own))
            made.append(Kernel(len(made), _kind(members), own, tuple((root(v), n) for v, n in reads), tuple(writes), again))
    return tuple(made)


def _reads(graph: Graph, members: list[Equation], roots: set[int]) -> list[tuple[Value, Expr]]:
    """What a kernel touches of each value from outside. Where only a part of a member's result is needed, as by a slice, only that
    part of equally large operands is."""
    inside = {id(e) for e in members}
    needed: dict[int, list[Expr]] = {}
    values: dict[int, Value] = {}
    for e in reversed(members):
        parts = [needed.get(id(out)) for out in e.outs]
        partial = id(e) not in roots and all(p is None or out.array.size not in p for p, out in zip(parts, e.outs, strict=True))
        wanted = Add(*(x for p in parts if p is not None for x in p)) if partial else None
        for v, elements in zip(e.ins, e.work.read, strict=True):
            source = graph.name(v)
            if v is e.ins[0] and e.rule == "dynamic_update_slice" and not graph.updates_in_place(e):
                elements = v.array.size  # what is not updated goes on as it is
            if elements == 0:
                continue
            whole = e.outs[0].array.size if len(e.outs) == 1 else v.array.size
            touched = wanted if wanted is not None and elements == whole else elements
            needed.setdefault(id(source), []).append(touched)
            values[id(source)] = source
    outside = []
    for key, parts in needed.items():
        maker = graph.maker(values[key])
        if maker is None or id(maker) not in inside:
            outside.append((values[key], read_once(values[key], parts)))
    return outside


def _kind(group: list[Equation]) -> str:
    for e in group:
        kind = ANCHORS.get(e.primitive)
        if kind == "conv":
            return "depthwise conv" if e.ins[1].array.shape and _is_depthwise(e) else "conv"
        if kind is not None:
            return kind
    if any(e.rule == "reduce" for e in group):
        return "reduce"
    return "elementwise" if any(e.work.ops for e in group) else "copy"


def _is_depthwise(e: Equation) -> bool:
    """One input channel per group: every output channel sees one, so a multiply-accumulate count of outputs × taps."""
    return "feature_group_count" in e.detail and any(d == 1 for d in e.ins[1].array.shape[:-1][-1:])
