"""Where the bound flips: the value of a symbol at which a model, a layer or a kind of kernel turns compute-bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sympy import Expr, cancel

from costmodel.errors import CostModelError
from costmodel.fusion import Kernel
from costmodel.hardware import Hardware, load
from costmodel.pricing.communication import LINK
from costmodel.pricing.core import Symbolic
from costmodel.pricing.times import RUNS_ON, seconds_an_operation, unit_of
from costmodel.pricing.workload import computed, metrics, policy_of
from costmodel.rules.branches import Branch
from costmodel.rules.work import OpKind, total
from costmodel.sheets import Column, Drawn, Facts, heads
from costmodel.solve.line import first_true, line_of
from costmodel.symbolic.asymptotics import ratio_at_infinity
from costmodel.symbolic.forms import evaluate


@dataclass(frozen=True)
class Load:
    """What a part of a program does, all runs together, in internal symbols: operations by kind, their sum (two a
    multiply-accumulate), and bytes."""

    ops: Mapping[OpKind, Expr]
    operations: Expr
    bytes: Expr

    def compute(self, device: Hardware, evaluated: Callable[[Expr], float]) -> float:
        """Seconds of the busiest unit."""
        units: dict[str, float] = {}
        for kind, count in self.ops.items():
            unit = unit_of(device, RUNS_ON[kind.engine])
            units[unit] = units.get(unit, 0.0) + seconds_an_operation(device, kind) * evaluated(count)
        return max(units.values(), default=0.0)


def load_of(cost: Symbolic, policy: str, layer: str | None = None, kind: str | None = None) -> Load:
    """The whole program, or its kernels in a layer or of a kind, under a policy; ``compulsory`` is the bytes of the whole program's
    inputs, parameters and outputs. Raises CostModelError where no kernel is meant, naming those that there are."""
    if policy == "compulsory":
        if layer is not None or kind is not None:
            raise CostModelError("compulsory bytes are the whole program's; name a fusion policy for the bytes of a layer or kind")
        runs: list[tuple[Any, Expr, Branch]] = [(e, e.times, e.branch) for e in cost.program]
        crossing = cost.price("bytes", form="compulsory")
    else:
        kernels = [k for k in cost.kernels(policy) if _meant(k, layer, kind)]
        if not kernels:
            known = dict.fromkeys(k.kind if kind is not None else "/".join(k.path) for k in cost.kernels(policy))
            raise CostModelError(f"no kernel of {cost.name} is {kind or layer!r} under {policy!r}; there are "
                                 f"{', '.join(filter(None, known))}")
        runs = [(e, k.times, k.branch) for k in kernels for e in computed(k)]
        crossing = cost.program.combined(((k.branch, k.bytes * k.times) for k in kernels), total)
    counts: dict[OpKind, list[tuple[Branch, Expr]]] = {}
    for e, times, branch in runs:
        for op, _, valid in e.work.ops:
            if op.engine != LINK:  # which neither computes nor goes through the memory
                counts.setdefault(op, []).append((branch, valid * times))
    operations = cost.program.combined(((branch, (metrics.work_flops(e.work, "valid") + metrics.work_ops(e.work, "valid")) * times)
                                        for e, times, branch in runs), total)
    return Load({op: cost.program.combined(parts, total) for op, parts in counts.items()}, operations, crossing)


def _meant(kernel: Kernel, layer: str | None, kind: str | None) -> bool:
    inside = layer is None or kernel.path[:len(parts := tuple(layer.split("/")))] == parts
    return inside and kind in (None, kernel.kind)


@dataclass(frozen=True)
class Crossover(Facts):
    """Where a program, or a part of it, turns compute-bound (or, along a symbol that only adds traffic, memory-bound).

    answer:    the value of the symbol from which on another resource binds than before; the least one where ``becomes`` binds from
               the beginning; None where the memory binds all along.
    becomes:   "compute" or "memory": what binds from the answer on. Compute does where its busiest unit takes longer than the
               memory.
    last:      where the domain ends, if it does.
    intensity: operations a byte at the answer; without one, in the limit or at the end of the domain.
    asymptote: operations a byte in the limit of a large symbol: an expression in the other symbols, or oo.
    limit:     its value where the others are bound.
    ridge:     operations a byte at which compute and memory take as long, for the mix of operations where ``intensity`` is.
    """

    ASKED = "where the bound flips"
    HEADS = heads(answer=Column("from"), becomes=Column("then bound by", style="text"), last=Column("last of the domain"),
                  intensity=Column("intensity there", "OP/B", "rate"), asymptote=Column("intensity in the limit"),
                  limit=Column("limit", "OP/B", "rate"), ridge=Column("ridge", "OP/B", "rate"))

    symbol: str
    answer: int | None
    becomes: str
    last: int | None
    intensity: float
    asymptote: Expr
    limit: float
    ridge: float

    def drawn(self) -> Drawn:
        """The intensity at the answer or in the limit, and the ridge."""
        where = "in the limit" if self.answer is None else f"{self.symbol} = {self.answer}"
        return Drawn("Where the bound flips", "operational intensity", "OP/B", ((where, self.intensity), ("the ridge", self.ridge)))

    def __str__(self) -> str:
        ridge = f"the ridge is at {self.ridge:.4g} OP/B"
        if self.answer is not None:
            return f"{self.symbol} = {self.answer}: {self.becomes}-bound from there on, at {self.intensity:.4g} OP/B; {ridge}"
        if self.last is not None:
            return f"{self.symbol}: memory-bound up to {self.last}, where the domain ends, at {self.intensity:.4g} OP/B; {ridge}"
        return f"{self.symbol}: never compute-bound; the intensity tends to {self.limit:.3g} OP/B and {ridge}"


def crossover(cost: Symbolic, symbol: str, device: str | Hardware, *, at: Mapping[str, int] | None = None, layer: str | None = None,
              kind: str | None = None, policy: str | None = None) -> Crossover:
    """The value of a symbol at which the program, a layer, or the kernels of a kind turn compute-bound on a device.

    at:     values of all other symbols.
    layer:  a module's path, such as "layer/mlp"; kind: a kind of kernel, such as "dot".
    policy: whose kernels' bytes count (default: the device's own), or "compulsory" for the whole program.

    Raises MissingPeak, and CostModelError where no kernel is meant.
    """
    found = device if isinstance(device, Hardware) else load(device)
    line = line_of(cost, symbol, at or {})
    work = load_of(cost, policy_of(found, policy), layer, kind)
    bound = Load({op: line.along(count) for op, count in work.ops.items()}, line.along(work.operations), line.along(work.bytes))
    bandwidth = found.bandwidth.value

    def over_bytes(amount: float, here: dict[Any, int]) -> float:
        moved = float(evaluate(bound.bytes, here))
        return amount / moved if moved else 0.0  # where all arrays are empty, nothing is computed either

    def intensity(i: int) -> float:
        here = {line.unknown: i}
        return over_bytes(float(evaluate(bound.operations, here)), here)

    def ratio(i: int) -> float:
        """Compute over memory."""
        here = {line.unknown: i}
        return over_bytes(bound.compute(found, lambda count: float(evaluate(count, here))) * bandwidth, here)

    def in_the_limit(count: Expr) -> float:
        return float(ratio_at_infinity(count, bound.bytes, line.unknown))

    if bound.operations == 0 or bound.bytes == 0:
        raise CostModelError(f"{cost.name} has no intensity here: it takes {bound.operations} operations and {bound.bytes} bytes")
    asymptote = cancel(cost.domain.in_user_symbols(ratio_at_infinity(work.operations, work.bytes, line.unknown)))
    limit, in_the_end = in_the_limit(bound.operations), bound.compute(found, in_the_limit) * bandwidth
    last = None if line.last is None else line.value(line.last)
    end = in_the_end if line.last is None else ratio(line.last)
    rising = end > 1
    start = line.first
    if (ratio(start) > 1) != rising:
        crossed = first_true(lambda i: (ratio(i) > 1) == rising, line.first, line.last)
        if crossed is None or (ratio(crossed - 1) > 1) == rising:
            raise CostModelError(f"{cost.name} does not cross the ridge once along {symbol}; bind the others to other values")
        start = crossed
    elif not rising:
        here = limit if line.last is None else intensity(line.last)
        return Crossover(symbol, None, "memory", last, here, asymptote, limit, here / end)
    line.point(start)
    return Crossover(symbol, line.value(start), "compute" if rising else "memory", last, intensity(start), asymptote, limit,
                     intensity(start) / ratio(start))
