"""Kernels by grouping: every equation alone, and the lecture's layers.

``unfused`` is a bound, not a framework: an eager framework runs softmax, a normalisation or GELU as one kernel each, which is
:mod:`costmodel.fusion.eager`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sympy import Expr

from costmodel.fusion.graph import aliases
from costmodel.fusion.kernel import Kernel, kind_of, read_once
from costmodel.fusion.layers import layers
from costmodel.fusion.registry import Policy, register
from costmodel.rules.work import CostTable, Equation, Value
from costmodel.symbolic.forms import ZERO


def _unfused(table: CostTable) -> tuple[Kernel, ...]:
    root = aliases(table)
    kernels: list[Kernel] = []
    for e in table:
        touched: dict[Value, list[Expr]] = {}
        for v, elements in zip(e.ins, e.work.read, strict=True):
            if elements is not ZERO:
                touched.setdefault(root(v), []).append(elements)
        writes = tuple((out, written) for out, written in zip(e.outs, e.work.written, strict=True) if written is not ZERO)
        if touched or writes or e.work.ops:
            reads = tuple((v, read_once(v.array, parts)) for v, parts in touched.items())
            kernels.append(Kernel(len(kernels), kind_of((e,)), (e,), reads, writes))
    return tuple(kernels)


def _layers(table: CostTable) -> tuple[Kernel, ...]:
    by_layer: dict[int, list[Equation]] = {}
    for e, group in zip(table, layers(table), strict=True):
        by_layer.setdefault(group, []).append(e)
    return grouped(table, [by_layer[g] for g in sorted(by_layer)])


def grouped(table: CostTable, groups: Sequence[Sequence[Equation]]) -> tuple[Kernel, ...]:
    """A kernel a group of equations, in this order, which writes what others read; groups that touch and compute nothing are
    none."""
    root = aliases(table)
    home = {out: i for i, group in enumerate(groups) for e in group for out in e.outs}
    shared = {root(v) for v in (*table.outputs, *(out for _, out in table.carried))}  # read outside the group that makes them
    for i, group in enumerate(groups):
        shared.update(source for e in group for v in e.ins if home.get(source := root(v)) not in (i, None))
    kernels: list[Kernel] = []
    for i, group in enumerate(groups):
        touched: dict[Value, list[Expr]] = {}
        for e in group:
            for v, elements in zip(e.ins, e.work.read, strict=True):
                if elements is not ZERO and home.get(source := root(v)) != i:
                    touched.setdefault(source, []).append(elements)
        reads = tuple((v, read_once(v.array, parts)) for v, parts in touched.items())
        writes = tuple((out, written) for e in group for out, written in zip(e.outs, e.work.written, strict=True)
                       if written is not ZERO and root(out) in shared)
        if reads or writes or _works(group):
            kernels.append(Kernel(len(kernels), kind_of(group), tuple(group), reads, writes))
    return tuple(kernels)


def _works(group: Iterable[Equation]) -> bool:
    return any(e.work.ops for e in group)


UNFUSED = register(Policy(name="unfused", kernels=_unfused,
                          summary="every equation is a kernel of its own and writes its results to memory"))
LAYER = register(Policy(name="layer", kernels=_layers,
                        summary="the lecture's layers: a convolution, linear or pooling layer with what follows folded in"))
