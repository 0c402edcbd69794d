"""What XLA for processors widens once for all who read it: an array of bfloat16, of which a library's kernel is one reader.

Whatever computes on bfloat16 widens its operands first, moves included (FloatNormalization), and equal conversions are one
(HloCSE). A loop makes that of its own again, as it is cheap. The library makes it only if it alone needs it: where another kernel
reads the array, too, the library is given it in 32 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from costmodel.fusion.conversions import copied
from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import arithmetic, loop
from costmodel.fusion.ynnpack import clusters
from costmodel.rules.traits import Trait, traits_of
from costmodel.rules.work import Array, CostTable, Equation, Value, Work, is_floating
from costmodel.symbolic.forms import ZERO

_NARROW, _WIDE = "bfloat16", "float32"
_WIDENS = traits_of((Trait.ELEMENTWISE, Trait.MOVE, Trait.COPY))
_VIEW = traits_of(Trait.VIEW)

Reader = tuple[Equation, Value]  # with what it reads


def widened_once(table: CostTable) -> CostTable:
    """The program with one conversion of each such array, which all who widen it read."""
    if not any(v.array.dtype == _NARROW for e in table for v in e.ins):
        return table
    graph = Graph(table)
    kernel = clusters(graph)
    results = {*table.outputs, *(after for _, after in table.carried)}
    instead: dict[Value, dict[Equation, Value]] = {}  # of what an equation reads, what it reads instead
    before: dict[Equation, list[Equation]] = {}  # the conversions before an equation
    same: dict[Equation, Value] = {}  # conversions that are there already, with what they are
    for (source, *_), found in _readers(graph).items():
        inside = {kernel[e] for e, _ in found if e in kernel}
        if not inside or (len(inside) == 1 and all(e in kernel for e, _ in found)) or _made_wide(graph, source):
            continue
        made = before.setdefault(found[0][0], [])
        wide = {source.array: _like(source)}
        made.append(_conversion(found[0][0], source, wide[source.array]))
        for e, value in found:
            if value.array not in wide:  # a change of shape is that of what was widened (XLA, ReshapeMover)
                wide[value.array] = _like(value)
                made.append(_shown(found[0][0], wide[source.array], wide[value.array]))
            if _converts(e) and e.outs[0] not in results:
                same[e] = wide[value.array]
            else:
                instead.setdefault(value, {})[e] = wide[value.array]
    return replace(table, equations=tuple(_rewritten(table, instead, before, same))) if before else table


def _readers(graph: Graph) -> dict[tuple[Any, ...], list[Reader]]:
    """Who widens an array, by the array and where: in order. What is recomputed is given another one, behind a barrier, and so is
    what follows."""
    found: dict[tuple[Any, ...], list[Reader]] = {}
    behind = {graph.name(v) for e in graph.table if e.phase == "recompute" for v in e.ins}
    for e in graph.table:
        for value in dict.fromkeys(e.ins) if _widens(e) else ():
            source = graph.name(value)
            if value.array.dtype == _NARROW and value.array.size != 1 and value.array.size == source.array.size:
                again = source in behind and e.phase != ""
                found.setdefault((source, e.loops, e.branch, e.times, again), []).append((e, value))
    return found


def _like(value: Value) -> Value:
    return Value(Array(value.array.shape, _WIDE))


def _widens(e: Equation) -> bool:
    """Whether an equation reads bfloat16 in 32 bits: arithmetic and moves, but for what only changes the order of dimensions or
    gives integers."""
    if e.has(Trait.VIEW, Trait.TRANSPOSE, Trait.IN_PLACE) or not loop(e):
        return False
    return Trait.COPY not in e.traits or not arithmetic(e) or is_floating(e.outs[0].array.dtype)


def _converts(e: Equation) -> bool:
    return arithmetic(e) and Trait.COPY in e.traits and e.outs[0].array.dtype == _WIDE


def _made_wide(graph: Graph, value: Value) -> bool:
    """Whether the program computes it: in 32 bits, and narrows it only for who wants that."""
    maker = graph.maker(value)
    return maker is not None and arithmetic(maker)


def _conversion(near: Equation, value: Value, wide: Value) -> Equation:
    size = value.array.size
    return replace(copied(near, (value,), wide, (size,), _WIDENS), primitive="convert_element_type", rule="convert_element_type",
                   work=Work((), (size,), (size,)))


def _shown(near: Equation, value: Value, other: Value) -> Equation:
    return replace(copied(near, (value,), other, (ZERO,), _VIEW), work=Work((), (ZERO,), (ZERO,)))


def _rewritten(table: CostTable, instead: dict[Value, dict[Equation, Value]], before: dict[Equation, list[Equation]],
               same: dict[Equation, Value]) -> Iterator[Equation]:
    names = {e.outs[0]: wide for e, wide in same.items()}
    for e in table:
        yield from before.get(e, ())
        if e not in same:
            ins = tuple(instead.get(v, {}).get(e, names.get(v, v)) for v in e.ins)
            yield replace(e, ins=ins) if ins != e.ins else e
