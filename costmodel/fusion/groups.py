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


def _unfused(table: CostTable) -> tuple[Kernel, ...]:
    return grouped(table, [[e] for e in table], materialised=True)


def _layers(table: CostTable) -> tuple[Kernel, ...]:
    by_layer: dict[int, list[Equation]] = {}
    for e, group in zip(table, layers(table), strict=True):
        by_layer.setdefault(group, []).append(e)
    return grouped(table, [by_layer[g] for g in sorted(by_layer)])


def grouped(table: CostTable, groups: Sequence[Sequence[Equation]], *, materialised: bool = False) -> tuple[Kernel, ...]:
    """A kernel a group of equations, in this order; groups that touch and compute nothing are none. ``materialised`` says that
    every result is written, also what only the group itself reads."""
    root = aliases(table)
    home = {out: i for i, group in enumerate(groups) for e in group for out in e.outs}
    consumers: dict[Value, set[int]] = {}
    for i, group in enumerate(groups):
        for e in group:
            for v in e.ins:
                consumers.setdefault(root(v), set()).add(i)
    results = {root(v) for v in (*table.outputs, *(out for _, out in table.carried))}
    kernels: list[Kernel] = []
    for i, group in enumerate(groups):
        touched: dict[Value, list[Expr]] = {}
        for e in group:
            for v, elements in zip(e.ins, e.work.read, strict=True):
                source = root(v)
                if elements != 0 and (home.get(source) != i or materialised):
                    touched.setdefault(source, []).append(elements)
        reads = tuple((v, read_once(v, parts)) for v, parts in touched.items())
        writes = tuple((out, written) for e in group for out, written in zip(e.outs, e.work.written, strict=True)
                       if written != 0 and (materialised or root(out) in results or consumers.get(root(out), set()) - {i}))
        if reads or writes or _works(group):
            kernels.append(Kernel(len(kernels), kind_of(group), tuple(group), reads, writes))
    return tuple(kernels)


def _works(group: Iterable[Equation]) -> bool:
    return any(e.work.ops for e in group)


UNFUSED = register(Policy(name="unfused", kernels=_unfused,
                          summary="every equation is a kernel of its own and writes its results to memory"))
LAYER = register(Policy(name="layer", kernels=_layers,
                        summary="the lecture's layers: a convolution, linear or pooling layer with what follows folded in"))
