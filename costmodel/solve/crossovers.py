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
from costmodel.solve.line import Line, first_true, line_of
from costmodel.solve.region import edges, in_the_limit
from costmodel.surface import named
from costmodel.symbolic.asymptotics import ratio_at_infinity
from costmodel.symbolic.forms import ZERO, evaluate


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
    """The value of a symbol at which the program, a layer, or the kernels of a kind turn compute-bound on a device. Where the model
    is another program at the line's first value, at the answer or at large values, that program is asked.

    at:     values of all other symbols.
    layer:  a module's path, such as "layer/mlp"; kind: a kind of kernel, such as "dot".
    policy: whose kernels' bytes count (default: the device's own), or "compulsory" for the whole program.

    Raises MissingPeak, and CostModelError where no kernel is meant.
    """
    found = device if isinstance(device, Hardware) else load(device)
    for what, name, such_as in (("layer", layer, "layer/mlp"), ("kind of kernel", kind, "dot")):
        if name is not None:
            named(what, name, such_as)
    along = _Along(line_of(cost, symbol, at or {}), found, policy_of(found, policy), layer, kind)
    line, work = along.line, along.work(cost)
    if work.operations == 0 or work.bytes == 0:
        raise CostModelError(f"{cost.name} has no intensity here: it takes {work.operations} operations and {work.bytes} bytes")
    far = in_the_limit(line)
    end = _End(load_of(far.cost, along.policy, layer, kind), far, found)
    there = far.cost is not cost or line.another(line.first, line.last)
    start, rising = along.turns(end.ratio, there)
    if not there and start is not None and line.another(start - 1, start):
        there = True
        start, rising = along.turns(end.ratio, there)
    last = None if line.last is None else line.value(line.last)
    if start is None:
        here, share = (end.intensity, end.ratio) if line.last is None else (along.intensity(line.last, there),
                                                                            along.ratio(line.last, there))
        return Crossover(symbol, None, "memory", last, here, end.asymptote, end.intensity, here / share)
    line.point(start)
    intensity = along.intensity(start, there)
    return Crossover(symbol, line.value(start), "compute" if rising else "memory", last, intensity, end.asymptote, end.intensity,
                     intensity / along.ratio(start, there))


class _Along:
    """Compute over memory along a line: by the line's formulas, or by the program that the model is ``there``, verified."""

    def __init__(self, line: Line, device: Hardware, policy: str, layer: str | None, kind: str | None) -> None:
        self.line, self.device, self.policy, self.layer, self.kind = line, device, policy, layer, kind
        self._loads: dict[Symbolic, Load] = {}

    def work(self, cost: Symbolic) -> Load:
        """What a program does, with all symbols but the line's bound; nothing where only the line's own has such kernels."""
        if cost not in self._loads:
            along = self.line.along
            try:
                load = load_of(cost, self.policy, self.layer, self.kind)
            except CostModelError:
                if cost is self.line.cost:
                    raise
                load = Load({}, ZERO, ZERO)
            ops = {op: along(count) for op, count in load.ops.items()}
            self._loads[cost] = Load(ops, along(load.operations), along(load.bytes))
        return self._loads[cost]

    def _at(self, i: int, there: bool) -> tuple[Load, dict[Any, int], float]:
        """What runs at a step, the step, and the bytes there."""
        here = {self.line.unknown: i}
        work = self.work(self.line.point(i).cost if there else self.line.cost)
        return work, here, float(evaluate(work.bytes, here))

    def intensity(self, i: int, there: bool) -> float:
        """Operations a byte; 0 where all arrays are empty: nothing is computed either."""
        work, here, moved = self._at(i, there)
        return float(evaluate(work.operations, here)) / moved if moved else 0.0

    def ratio(self, i: int, there: bool) -> float:
        """Compute over memory."""
        work, here, moved = self._at(i, there)
        taken = work.compute(self.device, lambda count: float(evaluate(count, here)))
        return taken * self.device.bandwidth.value / moved if moved else 0.0

    def turns(self, end: float, there: bool) -> tuple[int | None, bool]:
        """The step from which on compute binds, where it does in the end, else the memory; None where the memory does from the
        first step on. And whether compute binds in the end: by the last step or, of a line without one, by the ratio ``end``.
        Raises CostModelError where that turns more than once."""
        line = self.line
        rising = (end if line.last is None else self.ratio(line.last, there)) > 1

        def as_in_the_end(i: int) -> bool:
            return (self.ratio(i, there) > 1) == rising

        crossed = line.first if as_in_the_end(line.first) else first_true(as_in_the_end, line.first, line.last)
        asked = {i for edge in (edges(line) if there else ()) for i in (edge - 1, edge)}
        if crossed is not None and crossed > line.first:
            asked |= {crossed - 1}
        if crossed is None or any(as_in_the_end(i) != (i >= crossed) for i in asked):
            raise CostModelError(f"{line.cost.name} does not cross the ridge once along {line.name}; bind the others to other "
                                 "values")
        return crossed if rising or crossed > line.first else None, rising


class _End:
    """Operations a byte, and compute over memory, in the limit of a line."""

    def __init__(self, work: Load, line: Line, device: Hardware) -> None:
        moved = line.along(work.bytes)

        def in_the_limit(count: Expr) -> float:
            return float(ratio_at_infinity(line.along(count), moved, line.unknown))

        self.intensity = in_the_limit(work.operations)
        self.ratio = work.compute(device, in_the_limit) * device.bandwidth.value
        self.asymptote = cancel(line.cost.domain.in_user_symbols(ratio_at_infinity(work.operations, work.bytes, line.unknown)))
