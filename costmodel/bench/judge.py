"""Our kernels and live memory beside those of a compiler, and where the difference comes from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costmodel.bench.compilers import Compiled, compile_for, target
from costmodel.bench.lines import append
from costmodel.errors import CostModelError
from costmodel.fusion.kernel import running
from costmodel.rules.work import Value

if TYPE_CHECKING:
    from costmodel.cost import Cost, CostAt
    from costmodel.memory.residency import MainMemory

FORMAT = "costmodel-judgement-1"


@dataclass(frozen=True)
class Ours:
    """Kernels of our plan of one kind and module: how many run, and their bytes, all runs."""

    kind: str
    module: str
    kernels: int
    bytes: float


@dataclass(frozen=True)
class Difference:
    """Kernels under one name: how many run and their bytes, all runs, by the compiler and by us."""

    name: str
    their_kernels: int
    our_kernels: int
    theirs: float
    ours: float

    @property
    def bytes(self) -> float:
        """Bytes that ours has more than theirs; below zero, less."""
        return self.ours - self.theirs


@dataclass(frozen=True)
class Judgement:
    """A program at a point, by a compiler and by us under a fusion policy. All sizes in bytes.

    rows:   our kernels; ``bytes`` what they move through the main memory.
    peak:   our live peak, of the main memory where some arrays stay on the chip;
            ``argument`` and ``output`` our program's arguments and results.
    donate: the roles of arguments whose memory results may take.
    """

    name: str
    point: Mapping[str, int]
    policy: str
    donate: tuple[str, ...]
    theirs: Compiled
    rows: tuple[Ours, ...]
    bytes: float
    peak: int
    argument: int
    output: int

    @property
    def borders(self) -> float:
        """Across our kernels' borders."""
        return sum(row.bytes for row in self.rows)

    @property
    def kernels(self) -> int:
        """How many kernels the compiler made."""
        return sum(row.kernels for row in self.rows)

    @property
    def bytes_error(self) -> float:
        """Ours over theirs, less one."""
        return self.bytes / self.theirs.bytes - 1

    @property
    def borders_error(self) -> float:
        """The same of the bytes across kernels' borders."""
        return self.borders / self.theirs.borders - 1

    @property
    def peak_error(self) -> float:
        """Ours over theirs, less one; negative promises a fit that does not hold."""
        return self.peak / self.theirs.peak - 1

    def by(self, attribute: str) -> list[Difference]:
        """The difference across kernels' borders by ``kind`` or by ``module``, largest first."""
        found: dict[str, list[float]] = {}
        for theirs in self.theirs.rows:
            name = getattr(theirs, attribute)
            if name == "entry copy" and not self.theirs.on_chip:
                name = "copy"  # it runs at every call
            entry = found.setdefault(name, [0, 0, 0.0, 0.0])
            entry[0] += theirs.kernels * theirs.runs
            entry[2] += self.theirs.crossing(theirs)
        for ours in self.rows:
            entry = found.setdefault(getattr(ours, attribute), [0, 0, 0.0, 0.0])
            entry[1] += ours.kernels
            entry[3] += ours.bytes
        rows = [Difference(name, int(n), int(m), a, b) for name, (n, m, a, b) in found.items() if a or b or m]
        return sorted(rows, key=lambda d: -abs(d.bytes))

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the figures, and where the compiler's own are not right."""
        return tuple(remarks(self.theirs))

    def to_record(self) -> dict[str, Any]:
        """As plain data: our totals, and what the compiler made of the program."""
        return {"format": FORMAT, "name": self.name, "point": dict(self.point), "policy": self.policy, "donate": list(self.donate),
                "bytes": self.bytes, "borders": self.borders, "peak": self.peak, "kernels": self.kernels,
                "theirs": self.theirs.to_record()}

    def save(self, path: str | Path) -> None:
        """Append the record to a file of JSON lines. Raises CostModelError where that cannot be written."""
        append(path, self.to_record())

    def __str__(self) -> str:
        return render(self)


def judge(cost: Cost, values: Mapping[str, int], compiler: str, *, policy: str | None = None,
          donate: Sequence[str] = ()) -> Judgement:
    """Compile the counted program at a point and set the compiler's figures beside those of a fusion policy, by default the one
    that stands for this compiler.

    Raises CostModelError for a cost without a model, a point outside the domain, a compiler that is unknown, not installed or not
    prepared (:func:`costmodel.bench.compilers.prepare`), or a program that it refuses.
    """
    target(compiler)
    if cost.request is None:
        raise CostModelError(f"{cost.name} has no model to compile, it was loaded from a file or repriced; judge a fresh analysis")
    traced = cost.request.at(cost.domain, cost.domain.bind(values)).run()
    return compare(cost, values, compile_for(traced, compiler, donate), policy=policy, donate=donate)


def compare(cost: Cost, values: Mapping[str, int], theirs: Compiled, *, policy: str | None = None,
            donate: Sequence[str] = ()) -> Judgement:
    """The judgement by a program that is compiled already."""
    point = cost.at(**values)
    policy = policy or theirs.policy
    program = cost.program
    rows = tuple(_ours(point, policy))
    argument, output = (int(sum(point.evaluate(v.bytes) for v in side)) for side in (program.inputs, program.outputs))
    if theirs.on_chip:
        outside = _main_memory(point, policy, theirs.compiler)
        moved, peak = outside.traffic, int(argument + output - _in_place(point, donate) + outside.temporaries)
    else:
        moved = sum(row.bytes for row in rows)
        peak = int(point.live_peak(policy=policy, order=theirs.order, donate=tuple(donate)))
    return Judgement(cost.name, dict(values), policy, tuple(donate), theirs, rows, moved, peak, argument, output)


def _main_memory(point: CostAt, policy: str, device: str) -> MainMemory:
    """What a TPU's main memory sees: the chip's own, and its tiles of 8 x 128, are those of the device file of that name."""
    from costmodel.hardware import load
    from costmodel.memory.residency import main_memory

    (vmem,) = (level for level in load(device).levels if level.name == "VMEM")
    return main_memory(point.program, point.evaluate, policy, vmem.capacity.value, (8, 128))


def _in_place(point: CostAt, donate: Sequence[str]) -> int:
    """Bytes of results that take the place of donated arguments of their shape and type."""
    given = Counter(v.array for v in point.program.inputs if v.origin in donate)
    taken = given & Counter(v.array for v in point.program.outputs)
    return int(sum(count * point.evaluate(Value(array).bytes) for array, count in taken.items()))


def _ours(point: CostAt, policy: str) -> Iterable[Ours]:
    groups: dict[tuple[str, str], list[tuple[int, float]]] = {}
    kernels = running(point.kernels(policy), point.program.branches, lambda k: float(point.evaluate(k.bytes * k.times)))
    for k in kernels:  # of a branch XLA's own figure takes the side that moves most, too
        module = "(update)" if k.main.phase == "update" else "/".join(k.path)
        runs = point.evaluate(k.times)  # a part of one for a branch that is not always taken
        groups.setdefault((k.kind, module), []).append((math.ceil(runs), float(runs * point.evaluate(k.bytes))))
    for (kind, module), found in groups.items():
        yield Ours(kind, module, sum(runs for runs, _ in found), sum(moved for _, moved in found))


# -- what the compiler's own figure leaves out --------------------------------------------------------------------------------

_NOTICED = 0.001  # of the bytes; what is less is not worth a line


def gaps(theirs: Compiled) -> dict[str, float]:
    """XLA's own ``bytes accessed`` less the logical bytes in all memories, by cause; the rule by which it counts is known
    (:mod:`costmodel.bench.hlo_kernels`). On a TPU it also counts the padding of tiles, which is not here."""
    found = dict.fromkeys(("loops", "calls", "parts", "updates"), 0.0)
    for row in theirs.rows:
        found["loops"] -= row.bytes * (row.runs - 1)
        more = row.stated - row.bytes
        found["calls" if row.stated < 0 else "parts" if more > 0 else "updates"] += more
    return found


def remarks(theirs: Compiled) -> Iterable[str]:
    """Lines about the compiler's own figure, where that differs from the logical bytes."""
    if theirs.unknown_loops:
        yield f"{theirs.unknown_loops} loops run as often as their data say, and count as one run here"
    found = gaps(theirs)
    if theirs.on_chip:
        copies = sum(r.main * r.runs for r in theirs.rows) - theirs.bytes
        if copies > _NOTICED * theirs.bytes:
            yield f"{_mb(copies)} of copies into another layout or for the next call not counted"
        return
    calls = sum(r.kernels for r in theirs.rows if r.stated < 0)
    lines = {
        "loops": "XLA's own figure has loops once: {} missing",
        "calls": f"XLA's own figure has none of {calls} library calls: {{}} missing",
        "parts": "XLA's own figure has operands whole that are read in part: {} too much",
        "updates": "XLA's own figure has every update in place: {} missing",
    }
    least = _NOTICED * sum(r.bytes * r.runs for r in theirs.rows)
    yield from (line.format(_mb(abs(found[cause]))) for cause, line in lines.items() if abs(found[cause]) > least)


# -- text ---------------------------------------------------------------------------------------------------------------------

_ROWS = 8  # modules shown


def render(j: Judgement) -> str:
    """Totals first, then the bytes by kind and the modules that differ most, then what to know of the compiler's own figure."""
    from costmodel.text import si

    theirs = j.theirs
    at = ", ".join(f"{k}={v}" for k, v in j.point.items())
    versions = ", ".join(f"{name} {version}" for name, version in theirs.versions.items())
    donated = f" with {' and '.join(j.donate)} donated" if j.donate else ""
    totals: list[tuple[str, float, float]] = [("bytes of the main memory", theirs.bytes, j.bytes)]
    if theirs.on_chip:
        totals.append(("bytes across kernels' borders", theirs.borders, j.borders))
    totals += [("live peak", theirs.peak, j.peak), ("  arguments", theirs.memory["argument"], j.argument),
               ("  results", theirs.memory["output"], j.output)]
    if not j.donate:
        totals.append(("  temporaries", theirs.memory["temporary"], j.peak - j.argument - j.output))
    lines = [f"{j.name} at {at or 'its fixed shapes'}{donated}",
             f"compiled by {theirs.compiler} ({versions}), and by costmodel under the policy {j.policy}",
             f"  {'':<34}{'compiler':>12}{'costmodel':>12}{'difference':>12}"]
    lines += [_line(label, a, b) for label, a, b in totals]
    lines.append(f"  {'kernels run':<34}{theirs.kernels:>12}{j.kernels:>12}{_change(theirs.kernels, j.kernels):>12}")
    if j.donate:
        lines.append(f"  {si(theirs.memory['alias'], 'B')} of the compiler's results take the place of arguments, and "
                     f"{si(theirs.memory['temporary'], 'B')} are temporaries")
    for title, rows in (("bytes by kind of kernel", j.by("kind")), ("modules that differ most", j.by("module")[:_ROWS])):
        lines.append(title)
        lines += [_line((d.name or "top level")[-33:], d.theirs, d.ours) + f"   {d.their_kernels} against {d.our_kernels} kernels"
                  for d in rows]
    if own := theirs.stated.get("bytes accessed"):
        lines.append(f"XLA's own figure: {si(own, 'B')} accessed, {theirs.stated.get('flops', 0):.4g} flops")
    return "\n".join([*lines, *(f"note: {note}" for note in j.notes)])


def _line(label: str, theirs: float, ours: float) -> str:
    from costmodel.text import si

    return f"  {label:<34}{si(theirs, 'B'):>12}{si(ours, 'B'):>12}{_change(theirs, ours):>12}"


def _change(theirs: float, ours: float) -> str:
    if not theirs:
        return "-"
    return f"{ours / theirs - 1:+.1%}" if ours < 10 * theirs else f"x {ours / theirs:.3g}"


def _mb(x: float) -> str:
    return f"{x / 1e6:,.1f} MB"
