"""What compilers change in a program before they fuse it: copies into another layout, and movement taken out of loops."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from sympy import Expr

from costmodel.rules.work import Array, CostTable, Equation, Value, Work
from costmodel.symbolic.forms import ONE


def relaid(table: CostTable, operands: Callable[[Equation], Iterable[int]]) -> CostTable:
    """The program with a copy before each equation's ``operands`` (by position) that the backend wants in another layout."""
    equations: list[Equation] = []
    for e in table:
        for position in operands(e):
            value = e.ins[position]
            copied = Value(value.array)
            work = Work((), (value.array.size,), (value.array.size,))
            equations.append(replace(e, primitive="copy", ins=(value,), outs=(copied,), work=work, rule="copy", status="free"))
            e = replace(e, ins=(*e.ins[:position], copied, *e.ins[position + 1:]))
        equations.append(e)
    return replace(table, equations=tuple(equations))


def hoisted(table: CostTable) -> CostTable:
    """The program with movement that every iteration of a loop repeats done once, before it (XLA, WhileLoopInvariantCodeMotion)."""
    times: dict[tuple[int, ...], Expr] = {(): ONE}
    for e in table:
        times.setdefault(e.loops, e.times)
    made_in: dict[int, tuple[int, ...]] = {}
    varies = {id(v) for v, _ in table.carried}  # with every iteration
    before: dict[int, list[Equation]] = {}
    stay: list[Equation] = []
    for e in table:
        if e.rule == "view" and any(id(v) in varies for v in e.ins):
            varies.update(id(out) for out in e.outs)
        needed = max((made_in.get(id(v), ()) for v in e.ins), key=len, default=())
        still = e.loops and e.ins and e.rule in ("copy", "view") and not any(id(v) in varies for v in e.ins)
        if still and e.rule == "view":
            made_in.update((id(out), needed) for out in e.outs)  # another name of what is there
        elif still and len(needed) < len(e.loops) and needed in times:
            before.setdefault(e.loops[len(needed)], []).append(replace(e, loops=needed, times=times[needed]))
            made_in.update((id(out), needed) for out in e.outs)
            continue
        else:
            made_in.update((id(out), e.loops) for out in e.outs)
        stay.append(e)
    equations: list[Equation] = []
    for e in stay:
        for loop in e.loops:
            equations += before.pop(loop, ())
        equations.append(e)
    return replace(table, equations=tuple(equations))


def every_pair(table: CostTable) -> CostTable:
    """The program with each convolution that has a group of its batch for every channel, as the gradient of a depthwise kernel is
    one, computed between all channels; then what is not on the diagonal is masked, and the rest summed (XLA,
    ConvolutionGroupConverter)."""
    equations: list[Equation] = []
    for e in table:
        groups = re.search(r"batch_group_count=(\S+)", e.detail)
        if groups is None or groups[1] != str(e.outs[0].array.shape[-1]):
            equations.append(e)
            continue
        pairs = Array((*e.outs[0].array.shape, e.outs[0].array.shape[-1]), e.outs[0].array.dtype)
        computed, masked = Value(pairs), Value(pairs)
        equations += [
            replace(e, outs=(computed,), work=replace(e.work, written=(pairs.size,))),
            replace(e, primitive="select_n", ins=(computed,), outs=(masked,), rule="select_n", detail="",
                    work=Work((), (pairs.size,), (pairs.size,))),
            replace(e, primitive="reduce_window_sum", ins=(masked,), rule="reduce_window", detail="",
                    work=Work((), (pairs.size,), (e.outs[0].array.size,)))]
    return replace(table, equations=tuple(equations))


def as_is(table: CostTable) -> CostTable:
    """The program unchanged."""
    return table


