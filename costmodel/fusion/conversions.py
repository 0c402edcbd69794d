"""What compilers change in a program before they fuse it: copies into another layout, and movement taken out of loops."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from sympy import Expr

from costmodel.forms import ONE
from costmodel.work import Array, CostTable, Equation, Value, Work


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
    """The program with movement that every iteration of a loop repeats done once, before it."""
    made_in: dict[int, tuple[int, ...]] = {id(v): e.loops for e in table for v in e.outs}
    carried = {id(v) for v, _ in table.carried}
    views: set[int] = set()  # names of carried values change with every iteration
    times: dict[tuple[int, ...], Expr] = {(): ONE}
    equations: list[Equation] = []
    for e in table:
        times.setdefault(e.loops, e.times)
        if e.rule == "view" and any(id(v) in carried or id(v) in views for v in e.ins):
            views.update(id(out) for out in e.outs)
        still = e.loops and e.rule == "copy" and e.ins and all(
            made_in.get(id(v), ())[:len(e.loops)] != e.loops and id(v) not in carried and id(v) not in views for v in e.ins)
        outer = e.loops[:-1]
        if still and outer in times:
            e = replace(e, loops=outer, times=times[outer])
            made_in.update((id(v), outer) for v in e.outs)
        equations.append(e)
    return replace(table, equations=tuple(equations))


def every_pair(table: CostTable) -> CostTable:
    """The program with each convolution in groups of its batch, as the gradient of a depthwise kernel is one, computed between all
    channels; then what is not on the diagonal is masked, and the rest summed (XLA, ConvolutionGroupConverter)."""
    equations: list[Equation] = []
    for e in table:
        groups = re.search(r"batch_group_count=(\S+)", e.detail)
        if groups is None:
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


