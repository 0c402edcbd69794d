"""What the kernels of a policy do, counted at a point or on whole grids.

The counts of every kernel are compiled once. A point evaluates them in exact integers, a grid in arrays; from there on both are
arrays (kernel, point), and a point is a grid of one.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from sympy import Expr, Symbol

from costmodel.errors import CostModelError
from costmodel.fusion import Kernel, plan
from costmodel.pricing import communication, metrics
from costmodel.pricing.overlap import Beside, beside
from costmodel.pricing.products import matmul_of
from costmodel.pricing.sides import Sides
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation, OpKind, total
from costmodel.surface import named
from costmodel.symbolic import printers
from costmodel.symbolic.quotients import over_common_denominator

if TYPE_CHECKING:
    from costmodel.hardware import Hardware

class Formulas:
    """Several whole-valued expressions, compiled once for integers of any size and once for arrays, each when first needed."""

    def __init__(self, exprs: Sequence[Expr]) -> None:
        self.exprs = tuple(exprs)

    @cached_property
    def names(self) -> list[Symbol]:
        """The symbols that the expressions take, in the order of the compiled arguments."""
        return sorted(set().union(*(e.free_symbols for e in self.exprs)), key=str)

    @cached_property
    def _exact(self) -> Any:
        return printers.compile(self.exprs, self.names, backend="python")

    @cached_property
    def _on_arrays(self) -> Any:
        return printers.compile(self.exprs, self.names, backend="numpy")

    def at(self, env: Mapping[Symbol, int]) -> list[int]:
        """The exact values at a point."""
        return self._exact(*(env[s] for s in self.names))

    def on(self, env: Mapping[Symbol, np.ndarray]) -> list[np.ndarray]:
        """Values on a grid of broadcastable arrays: int64 where no intermediate can overflow, else float64."""
        dtype = printers.grid_dtype(self.exprs, {s: int(np.max(env[s])) for s in self.names})
        return [np.asarray(v) for v in self._on_arrays(*(env[s].astype(dtype) for s in self.names))]


@dataclass(frozen=True)
class Counts:
    """What each kernel does in one run, as arrays (kernel, point): floating-point and integer operations, bytes across its
    border, and runs; ``ops`` are operations by kind, as (kind, the kernels that have it, operations of these). Operations and
    runs are exact at a point. ``sides`` says which kernels exclude each other; ``kinds`` are theirs, under ``policy``; ``needless``
    (kernel, 1) those that only copy an iteration's slice; ``sent`` are the bytes of each exchange of ``work``, and
    ``sizes`` those of its products, at ``env``."""

    flops: np.ndarray
    int_ops: np.ndarray
    bytes: np.ndarray
    times: np.ndarray
    ops: tuple[tuple[OpKind, np.ndarray, np.ndarray], ...]
    sides: Sides
    kinds: tuple[str, ...] = ()
    policy: str = ""
    needless: np.ndarray | bool = False
    sent: tuple[float, ...] = ()
    sizes: tuple[tuple[float, ...], ...] = ()
    work: Workload | None = None
    env: Mapping[Symbol, int] = field(default_factory=dict)


class Workload:
    """The kernels of a policy, and what each does as functions of the internal symbols. Padding taps are not computed."""

    def __init__(self, table: CostTable, kernels: Sequence[Kernel], policy: str = "") -> None:
        self.table, self.kernels, self.policy, branches = table, tuple(kernels), policy, table.branches
        self.sent = communication.sent(kernels)
        products = ((i, matmul_of(computed(k))) for i, k in enumerate(kernels) if k.kind == "dot")
        self.products = tuple((i, product) for i, product in products if product is not None)
        self.sides = Sides(kernels, branches)
        self.kinds = tuple(k.kind for k in self.kernels)
        # As rows show them: label, kind, module and phase.
        self.names = [("/".join(k.path) or k.main.primitive, k.kind, k.path, k.main.phase) for k in self.kernels]
        self.needless = np.array([[needless(k)] for k in self.kernels])
        by_kind: dict[OpKind, list[tuple[int, Expr]]] = {}
        for i, kernel in enumerate(self.kernels):
            counts: dict[OpKind, list[Expr]] = {}
            for e in computed(kernel):
                for kind, _, valid in e.work.ops:
                    counts.setdefault(kind, []).append(valid)
            for kind, parts in counts.items():
                by_kind.setdefault(kind, []).append((i, total(parts)))
        self._kinds = {kind: np.array([i for i, _ in entries]) for kind, entries in by_kind.items()}
        wanted: list[Expr] = []
        for kernel in self.kernels:
            wanted += (total(metrics.work_flops(e.work, taps="valid") for e in computed(kernel)),
                       total(metrics.work_ops(e.work, taps="valid") for e in computed(kernel)), kernel.bytes, kernel.times)
        wanted += [count for entries in by_kind.values() for _, count in entries]
        wanted += [each.bytes for each in self.sent]
        wanted += [size for _, product in self.products for size in product.sizes]
        # A share of a ring, a mean over branches, an odd number of 4-bit elements: a count need not be whole, its fraction's two
        # parts are.
        distinct = dict.fromkeys(wanted)
        place = {e: i for i, e in enumerate(distinct)}
        self._rows = np.array([place[e] for e in wanted], dtype=np.intp)
        self._formulas = Formulas([part for e in distinct for part in over_common_denominator(e)])

    def at(self, env: Mapping[Symbol, int]) -> Counts:
        """The counts at a point; operations and runs are exact integers, or fractions, of any size."""
        values = self._formulas.at(env)
        found = [[above if below == 1 else Fraction(above, below)] for above, below in zip(values[::2], values[1::2], strict=True)]
        exact = np.array(found, dtype=object)[self._rows]
        floats = exact.astype(np.float64)
        head = 4 * len(self.kernels)
        ends = itertools.accumulate((len(kernels) for kernels in self._kinds.values()), initial=head)
        ops = tuple((kind, kernels, floats[start:start + len(kernels)])
                    for (kind, kernels), start in zip(self._kinds.items(), ends, strict=False))
        sizes = len(floats) - 4 * len(self.products)
        return Counts(exact[0:head:4], exact[1:head:4], floats[2:head:4], exact[3:head:4], ops, self.sides,
                      self.kinds, self.policy, self.needless,
                      tuple(floats[sizes - len(self.sent):sizes, 0].tolist()),
                      tuple(map(tuple, floats[sizes:, 0].reshape(-1, 4).tolist())), self, dict(env))

    @cached_property
    def beside(self) -> Beside:
        """Which kernels can run while one sends."""
        return beside(self.table, self.kernels)


def needless(kernel: Kernel) -> bool:
    """Only copies an iteration's slice of what a loop goes over: compilers do, and what reads the copy could read the slice. So no
    lower bound has it."""
    return any(Trait.SCAN_READ in e.traits for e in kernel.equations) and all(
        e.has(Trait.SCAN_READ, Trait.VIEW) for e in kernel.equations)


def computed(kernel: Kernel) -> tuple[Equation, ...]:
    """What a kernel computes: its equations, and those of other kernels that it computes anew instead of reading their results."""
    return (*kernel.equations, *kernel.again)


def workload(table: CostTable, policy: str) -> Workload:
    """The kernels of a policy, compiled once a table. Raises CostModelError for a program that neither computes nor moves
    anything."""
    kernels = working(table, policy)
    return table.remember(("workload", kernels), lambda: Workload(table, kernels, policy))


def working(table: CostTable, policy: str) -> tuple[Kernel, ...]:
    """The kernels of a policy. Raises CostModelError for a program that neither computes nor moves anything."""
    kernels = plan(table, policy)
    if not kernels:
        empty = any(v.array.size == 0 for v in table.outputs)
        raise CostModelError("the program does nothing that takes time: " + (
            "what it computes has no elements; give larger sizes" if empty else "it hands its inputs on"))
    return kernels


def policy_of(device: Hardware, policy: str | None) -> str:
    """The policy asked for, else the device's own."""
    return device.fusion if policy is None or policy == "" else named("fusion policy", policy, "xla-gpu")
