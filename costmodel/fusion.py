"""Which equations share a kernel, under a named policy, and what crosses the kernels' borders.

A policy is structure only: it looks at the equations, never at sizes or devices. Two are here:

* ``unfused``: every equation is a kernel of its own and writes its results to memory, as an eager framework does.
* ``layer``: the lecture's layers. A convolution, linear or pooling layer with the activation, normalisation, bias and reshape
  that follow folded in; data movement that only feeds a layer (padding) belongs to the layer that it feeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from sympy import Add, Expr, Rational

from costmodel.errors import CostModelError
from costmodel.work import CostTable, Equation, Value, total

# Equations that make a kernel of their own under ``layer``; everything else is folded into one of these.
ANCHORS = {
    "dot_general": "dot", "conv_general_dilated": "conv", "reduce_window_sum": "window", "reduce_window_max": "window",
    "reduce_window_min": "window", "select_and_scatter_add": "window", "gather": "gather", "scatter": "scatter",
    "scatter-add": "scatter", "scatter_add": "scatter", "sort": "sort", "cumsum": "cumulative", "cumprod": "cumulative",
    "cummax": "cumulative", "cummin": "cumulative", "cumlogsumexp": "cumulative", "fft": "fft", "ragged_dot": "dot",
}


@dataclass(frozen=True, eq=False)
class Kernel:
    """Equations that run as one: what they read from outside and write for others, in elements of each value."""

    index: int
    kind: str
    equations: tuple[Equation, ...]
    reads: tuple[tuple[Value, Expr], ...]
    writes: tuple[tuple[Value, Expr], ...]

    @property
    def times(self) -> Expr:
        return self.equations[0].times

    @cached_property
    def main(self) -> Equation:
        """The equation that gives the kernel its name: its anchor, else the last."""
        return next((e for e in self.equations if e.primitive in ANCHORS), self.equations[-1])

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


# Rules of equations that write into the memory of their first operand (a donated buffer, a key-value cache) and leave the rest
# of it as it is: their result is that memory.
IN_PLACE = ("dynamic_update_slice", "scatter", "scatter_combine")


def aliases(table: CostTable) -> Callable[[Value], Value]:
    """A function from a value to the one whose memory it shows: views are other names of what they view, and an update in
    place is another name of what it updates."""
    source: dict[int, Value] = {}

    def root(value: Value) -> Value:
        return source.get(id(value), value)

    for e in table:
        if e.rule == "view":
            source.update((id(out), root(into)) for into, out in zip(e.ins, e.outs, strict=False))
        elif e.rule in IN_PLACE:
            source[id(e.outs[0])] = root(e.ins[0])
    return root


@lru_cache(maxsize=16)
def plan(table: CostTable, policy: str) -> tuple[Kernel, ...]:
    """The table's kernels under a policy, in program order."""
    try:
        grouping = POLICIES[policy]
    except KeyError:
        raise CostModelError(f"unknown fusion policy {policy!r}; choose one of {', '.join(POLICIES)}") from None
    groups: dict[int, list[Equation]] = {}
    for e, group in zip(table, grouping(table), strict=True):
        groups.setdefault(group, []).append(e)
    return _kernels(table, [groups[g] for g in sorted(groups)], materialised=policy == "unfused")


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


# -- policies -----------------------------------------------------------------------------------------------------------------


def _unfused(table: CostTable) -> list[int]:
    return list(range(len(table.equations)))


def _layers(table: CostTable) -> list[int]:
    """Group by layer: an equation joins the latest layer that made one of its operands."""
    equations = table.equations
    users: dict[int, list[int]] = {}
    for i, e in enumerate(equations):
        for v in e.ins:
            users.setdefault(id(v), []).append(i)
    pools = _pooling_reductions(table, users)
    anchors = [e.primitive in ANCHORS or i in pools for i, e in enumerate(equations)]
    feeds = _fed_anchors(equations, users, anchors)
    on_data = _data_dependent(table)
    group: list[int | None] = [None] * len(equations)
    made: dict[int, int] = {}  # value -> its layer
    for i, e in enumerate(equations):
        if anchors[i]:
            group[i] = i
        elif feeds[i] is None:
            layers = [made[id(v)] for v in e.ins if id(v) in made and e.times == equations[made[id(v)]].times]
            if layers:
                group[i] = max(layers)
            elif any(id(v) in on_data and id(v) not in made for v in e.ins):
                group[i] = i  # work on the input before any layer stands alone
        home = group[i]
        if home is not None:
            made.update((id(out), home) for out in e.outs)
    # What depends on parameters only (a normalisation's scale), and movement that feeds one layer, goes where it is used.
    for i in reversed(range(len(equations))):
        if group[i] is None:
            homes = (group[u] for out in equations[i].outs for u in users.get(id(out), ()))
            group[i] = min((g for g in homes if g is not None and equations[i].times == equations[g].times), default=i)
    return [g for g in group if g is not None]


def _data_dependent(table: CostTable) -> set[int]:
    """Values (by id) that depend on the program's data, not on parameters and constants only."""
    found = {id(v) for v in table.inputs if v.origin == "input"}
    for e in table:
        if any(id(v) in found for v in e.ins):
            found.update(id(out) for out in e.outs)
    return found


def _fed_anchors(equations: tuple[Equation, ...], users: dict[int, list[int]], anchors: list[bool]) -> list[int | None]:
    """For data movement all of whose uses, through further movement, end in one and the same anchor: that anchor."""
    fed: list[int | None] = [i if anchor else None for i, anchor in enumerate(anchors)]
    for i in reversed(range(len(equations))):
        e = equations[i]
        if anchors[i] or e.work.ops or e.status != "free":
            continue
        targets = {fed[u] if equations[u].times == e.times else None for out in e.outs for u in users.get(id(out), ())}
        if len(targets) == 1:
            fed[i] = targets.pop()
    return fed


def _pooling_reductions(table: CostTable, users: dict[int, list[int]]) -> set[int]:
    """Reductions that are pooling layers of their own, not part of a normalisation or softmax: those whose result is not
    combined again with the values that were reduced before the next layer."""
    equations = table.equations
    pools = set()
    for i, e in enumerate(equations):
        if e.rule == "reduce" and e.primitive in ("reduce_sum", "reduce_max", "reduce_min") and len(e.ins[0].array.shape) > 2:
            if not _rejoins(i, equations, users):
                pools.add(i)
    return pools


def _rejoins(i: int, equations: tuple[Equation, ...], users: dict[int, list[int]]) -> bool:
    """Does the reduction's result meet, in an elementwise equation, a value as large as what was reduced?"""
    reduced_size = equations[i].ins[0].array.size
    pending, seen = [i], set()
    while pending:
        j = pending.pop()
        for out in equations[j].outs:
            for u in users.get(id(out), ()):
                e = equations[u]
                if u in seen or e.primitive in ANCHORS:
                    continue
                seen.add(u)
                if e.work.ops and any(v.is_activation and v.array.size == reduced_size and v is not out for v in e.ins):
                    return True
                pending.append(u)
    return False


POLICIES: dict[str, Callable[[CostTable], list[int]]] = {"unfused": _unfused, "layer": _layers}
