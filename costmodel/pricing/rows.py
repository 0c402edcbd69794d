"""A kernel's time on a device as a row of a roofline, and several rows as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from operator import mul
from typing import Any, NamedTuple

import numpy as np

from costmodel import collector
from costmodel.pricing.sides import shared_path, with_branches
from costmodel.pricing.times import RUNS_ON, Times, runs_as, unit_of
from costmodel.pricing.workload import Counts, Workload
from costmodel.rules.branches import Branch, Branches, combined, told


class RooflineRow(NamedTuple):
    """A kernel, or several together, on a device. Times in seconds, of one of ``times`` runs.

    label:        its module, or what the rows were grouped by.
    kind:         the kernel's kind; how many kernels a group holds.
    path:         its module, level by level.
    flops:        floating-point operations; ``int_ops`` those on integers; two a multiply-accumulate.
    bytes:        across the kernel's border.
    busy:         (resource, seconds): the units that compute ("matrix" and "vector", or "compute" where the device has one for
                  both), "link", "memory" and "launch".
    dtypes:       (unit, the format that keeps it busy longest): what the device computes in, as tf32 for a float32 product.
    lower, upper: if the resources overlap perfectly, and if nothing overlaps.
    warm:         ``lower`` if what fits into a nearer memory is found there.
    levels:       (memory, seconds at its bandwidth) of the further memories that the traffic fits into.
    phase:        the pass of a training step that the kernel is in.
    predicted:    seconds that it is likely to take, by the device's calibration; None where there is none.
    branch:       where it is one of several branches ("branch 1 of 2"): it is no part of the sum then, but of the row above, which
                  has the branch that takes longest (or, where the least counts, shortest).
    """

    label: str
    kind: str
    path: tuple[str, ...]
    flops: int
    int_ops: int
    bytes: float
    busy: tuple[tuple[str, float], ...]
    dtypes: tuple[tuple[str, str], ...]
    lower: float
    upper: float
    warm: float
    levels: tuple[tuple[str, float], ...] = ()
    times: int = 1
    phase: str = ""
    branch: str = ""
    predicted: float | None = None

    @property
    def operations(self) -> int:
        """Floating-point and integer operations of one run; two a multiply-accumulate."""
        return self.flops + self.int_ops

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.operations / self.bytes if self.bytes else float("inf")

    @property
    def bound(self) -> str:
        """The resource that is busy longest; at the ridge the memory."""
        return max(self.busy, key=lambda part: (part[1], part[0] == "memory"))[0]

    @property
    def resource(self) -> str:
        """``bound`` and, of a unit that computes, the type."""
        return " ".join((self.bound, *(dtype for unit, dtype in self.dtypes if unit == self.bound)))

    @property
    def attainable(self) -> float:
        """Operations a second if compute and memory overlap perfectly: min(peak, intensity · bandwidth) where one engine works."""
        seconds = self.lower - dict(self.busy).get("launch", 0.0)
        return self.operations / seconds if seconds else 0.0


def together(label: str, rows: Iterable[RooflineRow]) -> RooflineRow:
    """All runs of all rows as one row, run once."""
    rows = [row for row in rows if not row.branch]
    times = [row.times for row in rows]

    def whole(of_a_run: Iterable[Any]) -> Any:
        return sum(map(mul, of_a_run, times))

    busy: dict[str, float] = {}
    longest: dict[str, tuple[float, str]] = {}
    for row, runs in zip(rows, times, strict=True):
        for resource, seconds in row.busy:
            busy[resource] = busy.get(resource, 0.0) + seconds * runs
        for unit, dtype in row.dtypes:
            longest[unit] = max(longest.get(unit, (0.0, "")), (dict(row.busy).get(unit, 0.0) * runs, dtype))
    predicted = [row.predicted for row in rows]
    return RooflineRow(label, f"{len(rows)} kernels" if len(rows) != 1 else rows[0].kind, (), whole([r.flops for r in rows]),
                       whole([r.int_ops for r in rows]), whole([r.bytes for r in rows]), tuple(busy.items()),
                       tuple((unit, dtype) for unit, (_, dtype) in longest.items()), whole([r.lower for r in rows]),
                       whole([r.upper for r in rows]), whole([r.warm for r in rows]),
                       predicted=None if None in predicted else whole(predicted))


def compulsory(label: str, rows: Iterable[RooflineRow], moved: float, bandwidth: float, launch: float) -> RooflineRow:
    """A whole program as one kernel: it computes what its ``rows`` do, each unit beside the others, and moves ``moved`` bytes.
    ``launch``: seconds to start it. No real program need reach its lower bound; none is below it on this device."""
    whole = together(label, rows)
    units = {resource: seconds for resource, seconds in whole.busy if resource not in ("memory", "launch")}
    memory = moved / bandwidth
    busy = {"memory": memory, **units, **({"launch": launch} if launch else {})}
    lower = max(memory, *units.values(), 0.0) + launch
    return whole._replace(kind="program", bytes=moved, busy=tuple(busy.items()), lower=lower, upper=sum(busy.values()), warm=lower,
                          predicted=None)


@collector.paused()
def rows_of(work: Workload, counts: Counts, times: Times) -> tuple[RooflineRow, ...]:
    """A row a kernel, at a point, those of branches below the row that counts."""
    longest: list[dict[str, tuple[float, str]]] = [{} for _ in work.kernels]
    for kind, kernels, each in times.by_kind:
        unit, dtype = unit_of(times.device, RUNS_ON[kind.engine]), runs_as(times.device, kind)
        for i, seconds in zip(kernels.tolist(), each[:, 0].tolist(), strict=True):
            longest[i][unit] = max(longest[i].get(unit, (0.0, "")), (seconds, dtype))
    resources = {"memory": times.memory, "launch": np.full_like(times.memory, times.launch), **times.units}
    columns = [a[:, 0].tolist() for a in (counts.flops, counts.int_ops, counts.bytes, times.lower, times.upper, times.warm,
                                          counts.times, times.predicted)]
    busy, levels = (list(zip(*(a[:, 0].tolist() for a in each.values()), strict=True)) for each in (resources, times.levels))
    rows = []
    for i, ((label, kind_of, path, phase), cells) in enumerate(zip(work.names, zip(*columns, strict=True), strict=True)):
        flops, int_ops, crossing, lower, upper, warm, runs, predicted = cells
        rows.append(RooflineRow(
            label, kind_of, path, flops, int_ops, crossing,
            tuple([(name, s) for name, s in zip(resources, busy[i], strict=True) if s or name == "memory"]),
            tuple([(unit, dtype) for unit, (_, dtype) in longest[i].items()]), lower, upper, warm,
            tuple([(name, s) for name, s in zip(times.levels, levels[i], strict=True) if s != inf]) if levels else (), runs, phase,
            "", predicted if times.stands else None))
    sides, branches = list(zip(work.sides.of, rows, strict=True)), work.sides.branches
    return tuple(with_branches(sides, branches, lambda found: _branching(found, branches),
                               lambda on, row: row._replace(branch=told(on))))


def _branching(found: Sequence[tuple[Branch, RooflineRow]], branches: Branches) -> RooflineRow:
    """What counts of a branching's sides as one row: the side with the greatest (or least) lower bound, and of the other
    bounds the greatest (or least) by themselves."""
    first, row = found[0]
    path = shared_path(each.path for _, each in found)
    label = "/".join(path) or "cond"

    def choose(sides: Sequence[RooflineRow]) -> RooflineRow:
        chosen = branches.pick(sides, lambda side: side.lower)
        expected = [side.predicted for side in sides if side.predicted is not None]
        return chosen._replace(upper=branches.pick([side.upper for side in sides], float),
                               warm=branches.pick([side.warm for side in sides], float),
                               predicted=branches.pick(expected, float) if expected else None)

    whole = combined(found, branches, add=lambda parts: together(label, parts), join=lambda parts: together(label, parts),
                     choose=choose)
    return whole._replace(kind=branches.told(first[0]), path=path, phase=row.phase, busy=whole.busy or (("memory", 0.0),))
