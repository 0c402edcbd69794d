"""The lecture's layers: a convolution, linear or pooling layer with the activation, normalisation, bias and reshape that follow
folded in; data movement that only feeds a layer (padding) belongs to the layer that it feeds.
"""

from __future__ import annotations

from functools import cache

from costmodel.rules.params import Reduction
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation, Value
from costmodel.symbolic.forms import ZERO

# What makes a layer of its own, and the kind of kernel that it is; everything else is folded into one of these.
ANCHORS = {
    Trait.DOT: "dot", Trait.CONVOLUTION: "conv", Trait.WINDOW: "window", Trait.WINDOW_GRADIENT: "window", Trait.GATHER: "gather",
    Trait.SCATTER: "scatter", Trait.SORT: "sort", Trait.CUMULATIVE: "cumulative", Trait.FFT: "fft",
}


def anchor_kind(e: Equation) -> str | None:
    """The kind of layer that an equation makes, if it makes one. A gather at known places is a slice of an array with symbolic
    dimensions, so none."""
    if Trait.GATHER in e.traits and not any(elements is not ZERO for elements in e.work.read[1:]):
        return None
    return _kind(e.traits)


@cache
def _kind(traits: frozenset[Trait]) -> str | None:
    return next((kind for trait, kind in ANCHORS.items() if trait in traits), None)


def layers(table: CostTable) -> list[int]:
    """A group number for each equation: it joins the latest layer that made one of its operands."""
    equations = table.equations
    users: dict[Value, list[int]] = {}
    for i, e in enumerate(equations):
        for v in e.ins:
            users.setdefault(v, []).append(i)
    pools = _pooling_reductions(table, users)
    anchors = [anchor_kind(e) is not None or i in pools for i, e in enumerate(equations)]
    feeds = _fed_anchors(equations, users, anchors)
    on_data = _data_dependent(table)
    group: list[int | None] = [None] * len(equations)
    made: dict[Value, int] = {}  # value -> its layer
    for i, e in enumerate(equations):
        if anchors[i]:
            group[i] = i
        elif feeds[i] is None:
            layers = [made[v] for v in e.ins if v in made and e.runs_with(equations[made[v]])]
            if layers:
                group[i] = max(layers)
            elif any(v in on_data and v not in made for v in e.ins):
                group[i] = i  # work on the input before any layer stands alone
        home = group[i]
        if home is not None:
            made.update((out, home) for out in e.outs)
    # What depends on parameters only (a normalisation's scale), and movement that feeds one layer, goes where it is used.
    for i in reversed(range(len(equations))):
        if group[i] is None:
            homes = (group[u] for out in equations[i].outs for u in users.get(out, ()))
            group[i] = min((g for g in homes if g is not None and equations[i].runs_with(equations[g])), default=i)
    return [g for g in group if g is not None]


def _data_dependent(table: CostTable) -> set[Value]:
    """Values that depend on the program's data, not on parameters and constants only."""
    found = {v for v in table.inputs if v.origin == "input"}
    for e in table:
        if any(v in found for v in e.ins):
            found.update(e.outs)
    return found


def _fed_anchors(equations: tuple[Equation, ...], users: dict[Value, list[int]], anchors: list[bool]) -> list[int | None]:
    """For data movement all of whose uses, through further movement, end in one and the same anchor: that anchor."""
    fed: list[int | None] = [i if anchor else None for i, anchor in enumerate(anchors)]
    for i in reversed(range(len(equations))):
        e = equations[i]
        if anchors[i] or e.work.ops or e.status != "free":
            continue
        targets = {fed[u] if equations[u].runs_with(e) else None for out in e.outs for u in users.get(out, ())}
        if len(targets) == 1:
            fed[i] = targets.pop()
    return fed


def _pooling_reductions(table: CostTable, users: dict[Value, list[int]]) -> set[int]:
    """Reductions that are pooling layers of their own, not part of a normalisation or softmax: those whose result is not
    combined again with the values that were reduced before the next layer."""
    equations = table.equations
    pools = set()
    for i, e in enumerate(equations):
        if _sums_or_chooses(e) and len(e.ins[0].array.shape) > 2:
            if not _rejoins(i, equations, users):
                pools.add(i)
    return pools


_POOLS = frozenset({"add", "max", "min"})


def _sums_or_chooses(e: Equation) -> bool:
    """A reduction to a sum, a mean, a maximum or a minimum, not to its place."""
    return isinstance(e.params, Reduction) and e.params.operation in _POOLS


def _rejoins(i: int, equations: tuple[Equation, ...], users: dict[Value, list[int]]) -> bool:
    """Does the reduction's result meet, in an elementwise equation, a value as large as what was reduced?"""
    reduced_size = equations[i].ins[0].array.size
    pending, seen = [i], set()
    while pending:
        j = pending.pop()
        for out in equations[j].outs:
            for u in users.get(out, ()):
                e = equations[u]
                if u in seen or anchor_kind(e) is not None:
                    continue
                seen.add(u)
                if e.work.ops and any(v.is_activation and v.array.size == reduced_size and v is not out for v in e.ins):
                    return True
                pending.append(u)
    return False
