"""The kernels of a program under each policy.

* ``unfused``: every equation is a kernel of its own and writes its results to memory, as an eager framework does.
* ``layer``: the lecture's layers, of :mod:`costmodel.fusion.layers`.
* ``xla-cpu``, ``xla-gpu``, ``xla-tpu``, ``ideal``: predicates of :mod:`costmodel.fusion.policies`, applied by
  :mod:`costmodel.fusion.growth`.
"""

from __future__ import annotations

from functools import lru_cache

from sympy import Expr

from costmodel.errors import CostModelError
from costmodel.fusion.graph import aliases
from costmodel.fusion.growth import grown
from costmodel.fusion.kernel import Kernel, kind_of, read_once
from costmodel.fusion.layers import layers
from costmodel.fusion.policies import PREDICATES
from costmodel.rules.work import CostTable, Equation, Value

POLICIES = ("unfused", "layer", *PREDICATES)


@lru_cache(maxsize=16)
def plan(table: CostTable, policy: str) -> tuple[Kernel, ...]:
    """The table's kernels under a policy, in program order."""
    if policy in PREDICATES:
        return grown(table, PREDICATES[policy])
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


def _kernels(table: CostTable, groups: list[list[Equation]], *, materialised: bool) -> tuple[Kernel, ...]:
    """A kernel a group of equations. ``materialised`` says that every result is written, also what only the group itself reads."""
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
        kernels.append(Kernel(len(kernels), kind_of(group), tuple(group), reads, writes))
    return tuple(k for k in kernels if k.reads or k.writes or any(e.work.ops for e in k.equations))
