"""What XLA for processors makes of exchanges between devices before it fuses: sums of whole arrays, several in one operation, and
images that are put together with their neighbours' rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from costmodel.fusion.conversions import copied
from costmodel.fusion.graph import views
from costmodel.rules.params import Collective
from costmodel.rules.traits import NO_TRAITS, Trait, traits_of
from costmodel.rules.work import Array, CostTable, Equation, Value, Work

_MOVE, _LINK = traits_of(Trait.MOVE), "link"
Key = tuple[Any, ...]
Name = Callable[[Value], Value]  # from a view to what it is a view of


def exchanged(table: CostTable) -> CostTable:
    """The program of one device of a mesh as XLA for processors has it; of a program that sends nothing itself."""
    if not any(_sends(e) for e in table):
        return table
    return summed_together(with_neighbours(whole_sums(table)))


def whole_sums(table: CostTable) -> CostTable:
    """The program with each reduce-scatter as the sum of whole arrays, of which a device then takes its part: there is no other way
    for processors (XLA, ReduceScatterDecomposer)."""
    equations: list[Equation] = []
    for e in table:
        if "reduce_scatter" not in _sends(e) or len(e.ins) != 1:
            equations.append(e)
            continue
        whole, part = Value(e.ins[0].array), e.outs[0].array.size
        equations += [replace(e, outs=(whole,), work=replace(e.work, written=(whole.array.size,))),
                      replace(e, primitive="slice", ins=(whole,), rule="slice", status="free", detail="", traits=_MOVE, params=None,
                              work=Work((), (part,), (part,)))]
    return replace(table, equations=tuple(equations))


def with_neighbours(table: CostTable) -> CostTable:
    """The program in which the rows that go to a neighbour are cut out first, and a window goes over an image that was written with
    the rows that came (XLA, SpmdPartitioner's halo exchange: slices, collective-permutes, a concatenation). Which of its elements
    are beyond the border depends on the device; it is written once where several images have such a border."""
    equations: list[Equation] = []
    came: dict[Value, list[Value]] = {}  # image -> rows of its neighbours, until a window has gone over it
    borders: dict[Key, list[int]] = {}  # where images are put together, by shape and where they are cut
    for e in table:
        if "halo" in _sends(e):
            image, rows = e.ins[0], e.outs[0].array
            cut = Value(rows)
            equations += [_moved(e, (image,), cut), replace(e, ins=(cut, *e.ins[1:]))]
            came.setdefault(image, []).append(e.outs[0])
        elif e.ins and e.ins[0] in came and e.has(Trait.CONVOLUTION, Trait.WINDOW):
            image, arrived = e.ins[0], came.pop(e.ins[0])
            whole = Value(_with(image.array, [v.array for v in arrived]))
            borders.setdefault((whole.array.shape, image.array.shape, e.loops, e.branch), []).append(len(equations))
            equations.append(_moved(e, (image, *arrived), whole))
            equations.append(replace(e, ins=(whole, *e.ins[1:]), work=replace(e.work, read=(whole.array.size, *e.work.read[1:]))))
        else:
            equations.append(e)
    known: dict[int, Equation] = {}
    for (shape, *_), places in borders.items():
        if len(places) > 1:
            border = Value(Array(shape, "bool"))
            known[places[0]] = replace(_moved(equations[places[0]], (), border), traits=NO_TRAITS)
            for i in places:
                joined = equations[i]
                equations[i] = replace(joined, ins=(*joined.ins, border), work=replace(joined.work, read=(
                    *joined.work.read, border.array.size)))
    in_order = [each for i, e in enumerate(equations) for each in ((known[i], e) if i in known else (e,))]
    return replace(table, equations=tuple(in_order))


def summed_together(table: CostTable) -> CostTable:
    """The program in which sums of one type over the same devices that do not need each other are one operation: it starts when all
    its operands are there, and all of them are held until it ends (XLA, AllReduceCombiner)."""
    equations = list(table.equations)
    places = dict.fromkeys((e.loops, e.branch) for e in equations if "all_reduce" in _sends(e))
    name = views(table)
    for loops, branch in places:
        done: set[Equation] = set()
        while group := _independent(equations, loops, branch, name, done):
            equations = _joined(equations, group, loops, name)
            done |= {e for e in equations if group[0].outs[0] in e.outs}
    return replace(table, equations=tuple(equations))


# -- which sums are one -------------------------------------------------------------------------------------------------------


def _independent(equations: Sequence[Equation], loops: tuple[int, ...], branch: Any, name: Name,
                 done: set[Equation]) -> list[Equation]:
    """The next sums in one loop's body of which none needs another one; nothing where all are ``done`` or alone. What is joined
    needs all that its parts need, so that the next ones are looked for when it is."""
    before = _sums_before(equations, loops, name)
    left = [e for e in equations if (e.loops, e.branch) == (loops, branch) and _key(e) is not None and e not in done]
    while left:
        first, group = left[0], list[Equation]()
        for e in left:
            if (_key(e), e.times) == (_key(first), first.times) and before[e].isdisjoint(group):
                group.append(e)
        if len(group) > 1:
            return group
        left = left[1:]
    return []


def _sums_before(equations: Sequence[Equation], loops: tuple[int, ...], name: Name) -> dict[Equation, set[Equation]]:
    """For each sum in a loop's body those that it needs."""
    needs: dict[Value, frozenset[Equation]] = {}
    found: dict[Equation, set[Equation]] = {}
    for unit in _units(equations, loops):
        before = frozenset().union(*(needs.get(name(v), frozenset()) for e in unit for v in e.ins))
        if len(unit) == 1 and _key(unit[0]) is not None:
            found[unit[0]] = set(before)
            before |= {unit[0]}
        needs.update((name(out), before) for e in unit for out in e.outs)
    return found


def _joined(equations: Sequence[Equation], group: list[Equation], loops: tuple[int, ...],
            name: Name) -> list[Equation]:
    """The equations with a group as one, which is where its last member was; what needs an earlier one comes after it."""
    last = group[-1]
    one = replace(last, ins=tuple(v for e in group for v in e.ins), outs=tuple(v for e in group for v in e.outs),
                  work=Work(*(tuple(part for e in group for part in getattr(e.work, what)) for what in ("ops", "read", "written"))))
    members, waiting = set(group), set[Value]()
    found: list[Equation] = []
    later: list[Equation] = []
    for unit in _units(equations, loops):
        if unit[0] is last:
            found += [one, *later]
            waiting.clear()
        elif unit[0] in members:
            waiting |= {name(out) for out in unit[0].outs}
        elif waiting and any(name(v) in waiting for each in unit for v in each.ins):
            waiting |= {name(out) for each in unit for out in each.outs}
            later += unit
        else:
            found += unit
    return found


def _units(equations: Iterable[Equation], loops: tuple[int, ...]) -> Iterable[list[Equation]]:
    """What runs one after the other: an equation of a loop's body, or all that stands in one loop within it, or outside of it."""
    depth = len(loops)

    def place(pair: tuple[int, Equation]) -> tuple[Any, ...]:
        i, e = pair
        if e.loops[:depth] != loops:
            return ("around", i)
        return ("in", e.loops[depth]) if len(e.loops) > depth else ("here", i)

    for _, each in groupby(enumerate(equations), place):
        yield [e for _, e in each]


# -- equations ----------------------------------------------------------------------------------------------------------------


def _sends(e: Equation) -> tuple[str, ...]:
    """The kinds of what an equation sends to other devices."""
    return tuple(kind.name for kind, _, _ in e.work.ops if kind.engine == _LINK)


def _key(e: Equation) -> Key | None:
    """What sums have in common that are one operation; None for what is no sum over devices. XLA for processors sums whole arrays
    for a reduce-scatter, too."""
    kinds = {*_sends(e)}
    if not kinds or not kinds <= {"all_reduce", "reduce_scatter"} or not isinstance(e.params, Collective) or any(
            v.array.size != out.array.size for v, out in zip(e.ins, e.outs, strict=False)):
        return None
    how = {(kind.name, kind.dtype) for kind, _, _ in e.work.ops if kind.engine != _LINK}
    return (e.params.axes, e.params.devices, frozenset(how))


def _moved(user: Equation, ins: tuple[Value, ...], made: Value) -> Equation:
    """A copy into an array of its own, for one user."""
    read = (made.array.size,) if len(ins) == 1 else tuple(v.array.size for v in ins)  # of one operand what is taken
    return copied(user, ins, made, read, _MOVE)


def _with(image: Array, rows: Iterable[Array]) -> Array:
    """An image with its neighbours' rows, each along the dimension in which it is not as the image."""
    shape = list(image.shape)
    for part in rows:
        for i, (mine, theirs) in enumerate(zip(image.shape, part.shape, strict=True)):
            if mine != theirs:
                shape[i] = (shape[i] + theirs).expand()
    return Array(tuple(shape), image.dtype)
