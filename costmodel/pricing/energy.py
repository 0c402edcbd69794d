"""Joules: operations times the energy of each, and bytes times the energy of the memory that they come from or go to.

Kernels read their operands from a memory and write their results to one, as the fusion policy says; padding taps are not
computed. What an operation costs beside its arithmetic (fetching and decoding an instruction, registers and caches inside a
kernel) depends on a schedule that no program states, and is not counted. Energies are linear in the counts, so there is a closed
form; joules are exact fractions of the stated figures.

A device that states only its power has no energies to add. Where the power that programs draw was measured beside their times,
energy is that power times the predicted time; else power at full load times the upper bound of the time is an upper bound. Both at
a point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from sympy import Expr, Rational

from costmodel.errors import CostModelError
from costmodel.fusion import Kernel, plan
from costmodel.hardware import Energies, Hardware, read, standing
from costmodel.pictures import Bars
from costmodel.pricing.core import Point, Priced
from costmodel.pricing.roofline import Roofline, roofline
from costmodel.pricing.sides import shared_path, with_branches
from costmodel.pricing.workload import policy_of
from costmodel.rules.branches import Branch, combined, told
from costmodel.rules.work import BITS, OpKind, Value, total
from costmodel.sheets import Column, Line, Result, Sheet
from costmodel.surface import levels, named, said
from costmodel.symbolic.forms import ZERO
from costmodel.symbolic.plain import cell
from costmodel.text import shown, si

GROUPS = ("arithmetic", "movement", "static power", "full power", "measured power")


@dataclass(frozen=True)
class EnergyRow:
    """A kernel's energy, or that of several together, over all its runs: (group, what) -> J. Under "arithmetic" stand kinds of
    operations ("float32 mac"), under "movement" memories, under the other groups the device."""

    label: str
    path: tuple[str, ...]
    phase: str
    parts: Mapping[tuple[str, str], Any] = field(hash=False)
    branch: str = ""  # where it is one of several branches, of which the row above has what counts: it is no part of the sum

    @property
    def total(self) -> Any:
        """J of all parts."""
        return _sum(self.parts.values())

    def of(self, group: str) -> Any:
        """J of one of :data:`GROUPS`."""
        return _sum(joules for (owner, _), joules in self.parts.items() if owner == group)


@dataclass(frozen=True)
class Energy(Result):
    """A program's energy in joules: exact numbers at a point, else formulas. A row per kernel of ``policy``."""

    name: str
    source: str
    policy: str
    rows: tuple[EnergyRow, ...]
    note: str

    @property
    def whole(self) -> EnergyRow:
        """All rows as one, in J."""
        return _together(self.name, self.rows)

    @property
    def total(self) -> Any:
        """J of one run of the program: an inference, or a training step."""
        return self.whole.total

    @property
    def arithmetic(self) -> Any:
        """J of operations."""
        return self.whole.of("arithmetic")

    @property
    def movement(self) -> Any:
        """J of bytes moved."""
        return self.whole.of("movement")

    @property
    def parts(self) -> Mapping[tuple[str, str], Any]:
        """(group, what) -> J of the whole program."""
        return self.whole.parts

    def by(self, what: str, depth: int | None = None) -> tuple[EnergyRow, ...]:
        """Rows that sum to the program: by ``kernel``, ``module`` (to ``depth`` levels) or ``phase`` of a training step."""
        keys: dict[str, Callable[[EnergyRow], str]] = {
            "module": lambda row: "/".join(row.path[:levels(depth)]) or "(root)", "phase": lambda row: str(row.phase) or "forward"}
        if what == "kernel":
            return self.rows
        if what not in keys:
            raise CostModelError(f"energy is by kernel, {' or '.join(keys)}; {what!r} is none of them")
        groups: dict[str, list[EnergyRow]] = {}
        for row in self.rows:
            if not row.branch:
                groups.setdefault(keys[what](row), []).append(row)
        return tuple(_together(label, rows) for label, rows in groups.items())

    def sheet(self, by: str = "what", depth: int | None = 1) -> Sheet:
        """Joules by ``what`` takes them (operations and memories), or by kernel, module or phase; the rows sum to the total."""
        whole = self.whole
        numeric = not isinstance(whole.total, Expr) or whole.total.is_number
        if by == "what":
            rows = [(f"{group}: {what}", joules) for group in GROUPS for (owner, what), joules in whole.parts.items()
                    if owner == group]
        else:
            rows = [(row.label, row.total) for row in self.by(by, depth) if not row.branch]

        def cells(joules: Any) -> tuple[Any, ...]:
            return joules, *((float(joules) / float(whole.total),) if numeric and whole.total else ())

        columns = (Column("energy"), Column("joules", "J", "si"),
                   *([Column("share", "of the energy", "share")] if numeric and whole.total else []))
        return Sheet(f"{self.name}: {self.source}", columns, tuple(Line(label, cells(joules)) for label, joules in rows),
                     cells(whole.total), (self.note,))

    def chart(self, by: str = "what", depth: int | None = 1) -> Bars:
        """Joules by ``what`` takes them; by kernel, module or phase stacked by what takes them."""
        whole = self.whole
        if isinstance(whole.total, Expr) and not whole.total.is_number:
            raise CostModelError("energy is drawn at a point: " + said("cost.at(…).energy(…).plot()", "give --at"))
        parts = {part: float(joules) for group in GROUPS for part, joules in whole.parts.items() if part[0] == group}
        if by == "what":
            bars: dict[str, float] = {}
            for (group, what), joules in parts.items():
                row = f"{group}: {what if joules >= 0.005 * float(whole.total) else 'others'}"
                bars[row] = bars.get(row, 0.0) + joules
            return Bars(f"{self.name}: {self.source}", "energy of one run", "J", tuple(bars), (("", tuple(bars.values())),),
                        whole=float(whole.total), adds=True)
        found = [row for row in self.by(by, depth) if not row.branch]
        series = tuple((what, tuple(float(row.parts.get((group, what), 0)) for row in found)) for group, what in parts)
        return Bars(f"{self.name}: {self.source}", "energy of one run", "J", tuple(row.label for row in found), series,
                    whole=float(whole.total), adds=True)

    def text(self, width: int | None = None, **how: Any) -> str:
        """The total, what takes it by group, and the modules; or one sheet as text, with its options."""
        return super().text(width, **how) if how else _text(self)

    def __str__(self) -> str:
        return self.text()


def _text(energy: Energy) -> str:
    whole = energy.whole
    lines = [(shown(f"{energy.name}: {energy.source}"), *_cells(whole.total, whole.total))]
    for group in GROUPS:
        parts = {what: joules for (owner, what), joules in whole.parts.items() if owner == group}
        if parts:
            lines.append((f"  {group}", *_cells(whole.of(group), whole.total)))
            lines += [(f"    {shown(what)}", *_cells(joules, whole.total)) for what, joules in parts.items()]
    modules = energy.by("module", depth=1)
    if len(modules) > 1:
        lines.append(("by module", "", ""))
        lines += [(f"  {shown(row.label)}", *_cells(row.total, whole.total)) for row in modules]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in lines)
    return f"{text}\n{energy.note}"


def energy(cost: Priced, hardware: str | Hardware | Energies, *, policy: str | None = None, weights: str | None = None,
           activations: str | None = None) -> Energy:
    """Energy of one run of ``cost``'s program.

    hardware:    a device or a table of energies: its name, a path to its TOML file, or the record.
    policy:      which equations share a kernel; by default the device's policy, and ``layer`` for a table of energies.
    weights:     the memory that parameters are in, and ``activations`` that of everything else; by default the main one.

    Raises MissingEnergy, naming it, where an energy is not stated that the program needs.
    """
    found = hardware if isinstance(hardware, Hardware | Energies) else read(hardware)
    for memory in (weights, activations):
        if memory is not None:
            named("memory", memory, "DRAM")
    device = found if isinstance(found, Hardware) else None
    energies = found if isinstance(found, Energies) else found.energies
    if energies is None:
        assert device is not None
        return _by_power(cost, device, policy)
    policy = policy or (device.fusion if device else "layer")
    joules = _Joules(energies, weights or energies.main, activations or energies.main)
    rows = _kernels(cost, policy, joules)
    if energies.static_power is not None:
        rows += (_static(cost, device, energies, policy),)
    return Energy(cost.name, energies.title, policy, rows, f"bytes across the borders of policy {policy!r}; padding taps are not "
                  "computed; instructions, registers and caches inside a kernel are not counted")


def _kernels(cost: Priced, policy: str, joules: _Joules) -> tuple[EnergyRow, ...]:
    """A row a kernel; of several branches the one that takes most energy (or least) counts. A formula has the most of each part."""
    branches = cost.program.branches
    rows = [(kernel.branch, EnergyRow("/".join(kernel.path) or kernel.main.primitive, kernel.path, kernel.main.phase,
                                      {part: cost.evaluate(expr) for part, expr in joules.of(kernel).items()}))
            for kernel in plan(cost.program, policy)]

    def choose(sides: Sequence[EnergyRow]) -> EnergyRow:
        if not isinstance(cost, Point):
            names = dict.fromkeys(part for side in sides for part in side.parts)
            return replace(sides[0], parts={part: branches.extreme(side.parts.get(part, ZERO) for side in sides) for part in names})
        return branches.pick(sides, lambda side: side.total)

    def together(found: list[tuple[Branch, EnergyRow]]) -> EnergyRow:
        path = shared_path(row.path for _, row in found)
        label = f"{'/'.join(path) or 'cond'} [{branches.told(found[0][0][0])}]"
        whole = combined(found, branches, add=lambda parts: _together(label, parts), join=lambda parts: _together(label, parts),
                         choose=choose)
        return replace(whole, path=path, phase=found[0][1].phase)

    return tuple(with_branches(rows, branches, together, lambda on, row: replace(row, branch=told(on))))


class _Joules:
    """Prices kernels, looking each energy up once."""

    def __init__(self, energies: Energies, weights: str, activations: str) -> None:
        self.energies, self.weights, self.activations = energies, weights, activations
        self._operations: dict[OpKind, Rational] = {}
        self._bytes: dict[str, Rational] = {}

    def of(self, kernel: Kernel) -> dict[tuple[str, str], Expr]:
        """(group, what) -> J of all runs of the kernel, in internal symbols."""
        found: dict[tuple[str, str], list[Expr]] = {}
        for e in kernel.equations:
            for kind, _, valid in e.work.ops:
                if valid == 0:
                    continue
                part, joules = ("arithmetic", f"{kind.dtype} {kind.name}"), self._operation(kind)
                if kind.engine == "link":
                    part = ("movement", "link")
                found.setdefault(part, []).append(joules * valid * e.times)
        for value, elements in (*kernel.reads, *kernel.writes):
            memory = self._memory(value)
            joules = self._byte(memory) * Rational(value.array.bits, 8)
            found.setdefault(("movement", memory), []).append(joules * elements * kernel.times)
        return {part: total(terms) for part, terms in found.items()}

    def _memory(self, value: Value) -> str:
        return self.weights if value.origin == "parameter" else self.activations

    def _operation(self, kind: OpKind) -> Rational:
        """J of one operation; of an element on a link, its bytes'."""
        if kind.engine == "link":
            return self._byte("link") * Rational(BITS[kind.dtype], 8)
        if kind not in self._operations:
            self._operations[kind] = _rational(self.energies.operation(
                kind.name, kind.dtype, accumulate=kind.accumulate, special=kind.engine == "transcendental"))
        return self._operations[kind]

    def _byte(self, memory: str) -> Rational:
        if memory not in self._bytes:
            self._bytes[memory] = _rational(self.energies.byte(memory))
        return self._bytes[memory]


def _static(cost: Priced, device: Hardware | None, energies: Energies, policy: str) -> EnergyRow:
    assert energies.static_power is not None
    if device is None or not isinstance(cost, Point):
        raise CostModelError(f"{energies.name} states static power, whose energy is that times the time: give a device with peaks"
                             + said(", and a point: cost.at(…).energy(…)", ""))
    joules = energies.static_power.value * roofline(cost, device, policy=policy).upper
    return EnergyRow("(static power)", (), "", {("static power", device.name): joules})


def _by_power(cost: Priced, device: Hardware, policy: str | None) -> Energy:
    stands = standing(device, policy_of(device, policy))
    drawn = stands.calibration.power if stands else None
    if device.power is None and drawn is None:
        raise CostModelError(f"{device.name} states neither energies nor power: give a table of energies, such as horowitz-45nm, "
                             "or add its power to the device's file")
    if not isinstance(cost, Point):
        raise CostModelError(f"{device.name} states its power and no energies: its energy is power times time, which needs a "
                             "point: " + said("cost.at(…).energy(…)", "give --at"))
    times = roofline(cost, device, policy=policy)
    if drawn is not None:
        return _by_measured_power(device, times, drawn.value)
    assert device.power is not None
    rows = tuple(EnergyRow(row.label, row.path, row.phase,
                           {("full power", device.name): device.power.value * row.upper * row.times}, row.branch)
                 for row in times.rows)
    expected = ("" if times.predicted is None else
                f"; {si(device.power.value * times.predicted, 'J')} for the predicted time ({times.basis})")
    return Energy(cost.name, device.title, times.policy, rows, f"at most: {device.power.value:g} W of full load for the upper "
                  f"bound of the time{expected}; the device states no energies")


def _by_measured_power(device: Hardware, times: Roofline, watts: float) -> Energy:
    rows = [EnergyRow(row.label, row.path, row.phase, {("measured power", device.name): watts * (row.predicted or 0.0) * row.times},
                      row.branch) for row in times.rows]
    found = times.stands.calibration if times.stands else None
    if found and found.call:
        rows.append(EnergyRow("(call)", (), "", {("measured power", device.name): watts * found.call.value}))
    low, high = times.interval or (0.0, 0.0)
    return Energy(times.name, device.title, times.policy, tuple(rows),
                  f"{si(watts, 'W')}, as drawn while programs ran, for the predicted time ({times.basis}); 90 % between "
                  f"{si(watts * low, 'J')} and {si(watts * high, 'J')}; the device states no energies")


def _rational(value: Fraction) -> Rational:
    return Rational(value.numerator, value.denominator)


def _sum(values: Iterable[Any]) -> Any:
    terms = list(values)
    return total(terms) if any(isinstance(t, Expr) for t in terms) else sum(terms)


def _together(label: str, rows: Iterable[EnergyRow]) -> EnergyRow:
    parts: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        for part, joules in row.parts.items() if not row.branch else ():
            parts.setdefault(part, []).append(joules)
    return EnergyRow(label, (), "", {part: _sum(terms) for part, terms in parts.items()})


def _cells(joules: Any, whole: Any) -> Iterator[str]:
    """An energy and its share; a formula in pJ, and no share."""
    if isinstance(joules, Expr) and not joules.is_number:
        yield from (f"{cell(joules * 10**12)} pJ", "")
    else:
        known = not isinstance(whole, Expr) or whole.is_number
        yield from (si(float(joules), "J"), f"{100 * float(joules) / float(whole):.1f}%" if known and whole else "")
