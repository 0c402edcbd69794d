"""Counts + a device -> time bounds, the resource that binds, and what is attainable.

Per kernel, with padding taps not computed (``valid``): each engine's time is its operations over its peak; the kernel takes at
least the longest of these and of the memory's time (perfect overlap) and at most their sum (none), plus the device's launch
overhead where it states one. A kernel's operands come from the main memory and its results go there; beside this stands
``warm``, in which a kernel whose whole traffic fits into a nearer memory finds it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from costmodel.errors import CostModelError
from costmodel.pictures import Roof, Roofs, Spot
from costmodel.pricing.blocking import near_bytes, nearer
from costmodel.pricing.core import Point
from costmodel.pricing.elasticity import elasticities
from costmodel.pricing.rate import batch, item_of, rate
from costmodel.pricing.rows import RooflineRow, compulsory, rows_of, together
from costmodel.pricing.times import Times, price
from costmodel.pricing.topology import on_links
from costmodel.pricing.workload import policy_of, workload
from costmodel.sheets import Column, Line, Result, Sheet
from costmodel.surface import levels, option
from costmodel.text import did_you_mean, shown, si

if TYPE_CHECKING:
    from costmodel.hardware import Hardware, Standing

COMPULSORY = "compulsory"  # in place of a policy: the whole program is one kernel, which moves what it must


@dataclass(frozen=True)
class Communication:
    """What a device sends, in seconds of the whole program.

    laid:    the links that the mesh's axes are on, in words.
    lanes:   seconds by connection, each of which goes on by itself.
    compute: seconds at least of what does not send; ``exposed`` of them wait for what is sent, whatever is beside it.
    lower, warm: with both beside each other as far as the program lets them be.
    """

    laid: str
    lanes: tuple[tuple[str, float], ...]
    compute: float
    exposed: float
    lower: float
    warm: float

    @property
    def seconds(self) -> float:
        """Seconds for which the busiest connection sends."""
        return max((s for _, s in self.lanes), default=0.0)

    @property
    def binds(self) -> bool:
        """Whether sending takes longer than computing."""
        return self.seconds > self.compute


@dataclass(frozen=True)
class Roofline(Result):
    """A program on a device at a point: a row per kernel, and their sums. ``batch`` is what throughput counts: the tokens of a
    language model that says what its tokens are, else the value of the symbol n, b or batch, else 1; ``item`` is their name.
    ``near``: bytes of nearer memory, where tiles have to fit into it."""

    name: str
    hardware: Hardware
    point: dict[str, int]
    policy: str
    rows: tuple[RooflineRow, ...]
    batch: int
    coverage: str = ""
    cost: Point | None = field(default=None, repr=False, compare=False)
    stands: Standing | None = field(default=None, repr=False, compare=False)
    item: str = "items"
    communication: Communication | None = None
    near: float | None = None

    @cached_property
    def total(self) -> RooflineRow:
        """The whole program; what is sent goes on beside what is computed, in the bounds of perfect overlap."""
        rows = together(self.name, self.rows)
        sent = self.communication
        return rows if sent is None else rows._replace(lower=sent.lower, warm=sent.warm)

    @property
    def lower(self) -> float:
        """Seconds, at least."""
        return self.total.lower

    @property
    def upper(self) -> float:
        """Seconds, at most, by this model: nothing overlaps."""
        return self.total.upper

    @property
    def predicted(self) -> float | None:
        """Seconds that a call is likely to take, by the calibration that :attr:`basis` names; None where there is none."""
        if self.stands is None or self.total.predicted is None:
            return None
        call = self.stands.calibration.call
        return self.total.predicted + (call.value if call else 0.0)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Seconds between which nine of ten measurements are to be expected."""
        if self.stands is None or self.predicted is None:
            return None
        low, high = self.stands.calibration.interval
        return self.predicted * low, self.predicted * high

    @property
    def basis(self) -> str:
        """What ``predicted`` stands on."""
        return self.stands.words if self.stands else "not calibrated"

    @property
    def latency(self) -> tuple[float, float]:
        """Seconds: (at least, at most)."""
        return self.lower, self.upper

    @property
    def throughput(self) -> tuple[float, float]:
        """Items (or tokens, see ``item``) a second: (at most, at least)."""
        fast, slow = (rate(self.batch, seconds) for seconds in (self.lower, self.upper))
        return fast, slow

    @property
    def flops(self) -> int:
        """Floating-point operations of the whole program."""
        return self.total.flops

    @property
    def bytes(self) -> float:
        """Bytes across all kernels' borders."""
        return self.total.bytes

    @property
    def intensity(self) -> float:
        """Operations a byte of the whole program."""
        return self.total.intensity

    @property
    def bound(self) -> str:
        """The resource that is busy longest in total."""
        return self.total.bound

    @property
    def attainable(self) -> float:
        """Operations a second over the lower time bound, launches included."""
        return self.total.operations / self.lower

    def share(self, row: RooflineRow) -> float:
        """Part of the lower time bound that a row takes."""
        return row.lower * row.times / self.lower

    def by(self, what: str, depth: int | None = None) -> tuple[RooflineRow, ...]:
        """Rows that sum to the program: by ``kernel``, ``module`` (to ``depth`` levels) or ``kind``, in order of first appearance;
        by ``model`` all of it.

        ``equation``: each equation as a kernel of its own, which is the program under the policy ``unfused``: other rows, of
        another sum.
        """
        if depth is not None and what != "module":
            raise CostModelError(f"{option('depth', depth)} is of rows by module: give {option('by', 'module')}, or leave it out")
        levels(depth)
        if what == "equation":
            if self.cost is None:
                raise CostModelError("these rows have no program to take equations from; use cost.roofline(...)")
            return roofline(self.cost, self.hardware, policy="unfused").rows
        if what == "kernel":
            return self.rows
        if what == "model":
            return (self.total,)
        keys: dict[str, Callable[[RooflineRow], str]] = {
            "module": lambda row: "/".join(row.path[:depth]) or "(root)", "kind": lambda row: row.kind}
        if what not in keys:
            near = did_you_mean(what, ("kernel", *keys, "equation"))
            raise CostModelError(f"a roofline is by kernel, {', '.join(keys)} or equation; {what!r} is none of them"
                                 f"{near and ':' + near}")
        groups: dict[str, list[RooflineRow]] = {}
        for row in self.rows:
            if not row.branch:
                groups.setdefault(keys[what](row), []).append(row)
        return tuple(together(label, rows) for label, rows in groups.items())

    def sheet(self, by: str = "kernel", depth: int | None = None) -> Sheet:
        """A row per kernel, module, kind or equation; see :meth:`by`."""
        return _sheet(self, by, depth)


    def chart(self, by: str = "kernel", depth: int | None = None) -> Roofs:
        """The device's roof with the rows of :meth:`by` under it; by ``model``: the whole program as one point."""
        rows = [row for row in self.by(by, depth) if not row.branch]
        whole = sum(row.lower * row.times for row in rows)
        spots = tuple(Spot(row.label, row.intensity, row.attainable, None if by == "model" else row.lower * row.times / whole)
                      for row in rows if row.operations and row.bytes)
        units = tuple(sorted({pair for row in self.rows for pair in row.dtypes}))
        point = ", ".join(f"{k}={v}" for k, v in self.point.items())
        return Roofs(f"{self.name}{f' at {point}' if point else ''}", by, (Roof(self.hardware, self.policy, units, spots),))


def roofline(cost: Point, hardware: str | Hardware, *, policy: str | None = None, precision: str | None = None,
             topology: Mapping[str, str] | None = None, near: str | float | None = None) -> Roofline:
    """Price the kernels of ``policy`` (default: the device's own) on a device (a name, a path to a TOML file, or a Hardware);
    ``compulsory``: the whole program as one kernel.

    precision: "highest", "high" or "default": what float32 contractions that ask for none run at (default: the device's policy).
    topology:  which links the axes of a mesh are laid on, as :func:`costmodel.pricing.topology.lay` has it.

    near:      nearer memory by name ("SRAM") or in bytes, into which the tiles of products and convolutions have to fit: they move
               no less than :mod:`costmodel.pricing.blocking` says (default: whatever is used again is near).

    Raises MissingPeak where the device has no peak for a type the program computes in: give a device that has, or
    ``reprice(dtype=…)`` the cost first.
    """
    from costmodel.hardware import Hardware, load

    device = hardware if isinstance(hardware, Hardware) else load(hardware)
    device = device.at_precision(precision) if precision else device
    device = on_links(device, cost.name, dict(cost.program.axes), topology or {})
    policy = policy_of(device, policy)
    if policy == COMPULSORY and near is not None:
        raise CostModelError(f"{option('near')} is of the tiles of kernels, and compulsory has none: give another policy")
    if policy == COMPULSORY:
        return _compulsory(cost, device)
    work = workload(cost.program, policy)
    counts, room = work.at(cost.env), None if near is None else near_bytes(device, near)
    if room is not None:
        counts = nearer(counts, work.kernels, room)
    times = price(counts, device)
    rows = rows_of(work, counts, times)
    tokens = cost.cost.tokens
    return Roofline(cost.name, device, dict(cost.values), policy, rows, batch(cost.values, tokens), str(cost.coverage), cost,
                    times.stands, item_of(tokens), _communication(times), room)


def _compulsory(cost: Point, device: Hardware) -> Roofline:
    """The whole program as one kernel that moves no more than it must: what no fusion can better."""
    if cost.program.axes:
        raise CostModelError(f"{cost.name} is of one device of a mesh, and compulsory bytes say nothing of what it sends: name a "
                             "fusion policy")
    apart = roofline(cost, device, policy="unfused")
    launch = device.launch_overhead.value if device.launch_overhead else 0.0
    row = compulsory(cost.name, apart.rows, float(cost.metric("bytes", form=COMPULSORY)), device.bandwidth.value, launch)
    return replace(apart, policy=COMPULSORY, rows=(row,), cost=None, stands=None)


def _communication(times: Times) -> Communication | None:
    if times.layout is None or not times.lanes:
        return None
    runs = times.runs("lower")
    lanes = tuple((lane, float((seconds * runs).sum())) for lane, seconds in times.lanes.items())
    compute, exposed, lower, warm = (float(each[0]) for each in (times.computed(), times.exposed(), times.whole("lower"),
                                                                 times.whole("warm")))
    return Communication(str(times.layout), lanes, compute, exposed, lower, warm)


# -- as text ------------------------------------------------------------------------------------------------------------------


def _sheet(roofline: Roofline, by: str, depth: int | None) -> Sheet:
    point = ", ".join(f"{k}={v}" for k, v in roofline.point.items())
    nearer = any(level.bandwidth for level in roofline.hardware.levels)
    rows = roofline.by(by, depth)
    whole = sum(r.lower * r.times for r in rows if not r.branch)
    columns = (Column("layer" if by == "kernel" else by), Column("kind", style="text"), Column("operations", "OP", "si", True),
               Column("bytes", "B", "si", True), Column("OP/B", style="ratio"), Column("attainable", "OP/s", "si"),
               Column("bound", style="text"), Column("time ≥", "s", "si", True), Column("time ≤", "s", "si", True),
               *([Column("warm ≥", "s", "si", True)] if nearer else []),
               *([Column("predicted", "s", "si", True)] if roofline.stands else []), Column("share", "of the time", "share"))

    def cells(row: RooflineRow, share: float | None) -> tuple[Any, ...]:
        return (row.kind, row.operations, row.bytes, row.intensity, row.attainable, row.resource, row.lower, row.upper,
                *([row.warm] if nearer else []), *([row.predicted or 0.0] if roofline.stands else []), share)

    lines = tuple(Line(f"{r.branch}: {r.label}" if r.branch else r.label,
                       cells(r, None if r.branch else r.lower * r.times / whole if whole else None), r.times, not r.branch)
                  for r in rows)
    total = () if by in ("equation", "model") else cells(roofline.total, 1.0)  # equations sum to another program, one kernel each
    return Sheet(f"{roofline.name} at {point or 'its fixed shapes'} on {roofline.hardware.title}", columns, lines, total,
                 tuple(_notes(roofline, by)), grouped=True)


def _notes(roofline: Roofline, by: str) -> Iterator[str]:
    device = roofline.hardware
    if by != "equation":
        fast, slow = roofline.throughput
        follows = f"; time follows {_follows(roofline)}" if roofline.cost and roofline.near is None and roofline.lower else ""
        yield f"throughput {slow:.4g} to {fast:.4g} {roofline.item}/s{follows}"
        yield _told(roofline)
    launch = (f"launch overhead {si(device.launch_overhead.value, 's')} a kernel in both" if device.launch_overhead
              else "launches are in what is predicted only" if roofline.stands else "no launch overhead is known: none is added")
    policy = "unfused" if by == "equation" else roofline.policy
    yield (f"time: lower = max(compute, memory) per kernel, upper = their sum; bytes across the borders of policy {policy!r}; "
           f"2 operations a multiply-accumulate; padding taps are not computed; {launch}")
    if roofline.near is not None:
        yield (f"tiles of products and convolutions fit into {si(roofline.near, 'B')}: each moves at least "
               "2 · MACs / √(R · S) - 2 · S elements, S of which have room there")
    if roofline.communication is not None and by != "equation":
        yield from _sent(roofline.communication)
    nearer = [f"{level.name} ({si(level.capacity.value, 'B')}, {si(level.bandwidth.value, 'B/s')})"
              for level in device.levels if level.bandwidth]
    if nearer:
        yield f"warm: lower, if a kernel whose whole traffic fits in {' or '.join(nearer)} finds it there"
    yield shown(roofline.coverage)


def _sent(sent: Communication) -> Iterator[str]:
    lanes = ", ".join(f"{lane} {si(seconds, 's')}" for lane, seconds in sent.lanes)
    yield (f"one device's; mesh laid with {sent.laid}; {'communication' if sent.binds else 'compute'}-bound: computing takes "
           f"{si(sent.compute, 's')}, sending {lanes}")
    yield (f"the lower bound hides all that is sent but {si(sent.exposed, 's')}, beside which nothing is left to compute; the "
           "upper bound and what is predicted hide nothing")


def _told(roofline: Roofline) -> str:
    """What is predicted for the whole program, and what that stands on."""
    if roofline.policy == COMPULSORY:
        return "predicted: nothing, since no compiler makes one kernel of a program; it is a bound"
    if roofline.stands is None or roofline.predicted is None or roofline.interval is None:
        return "predicted: not calibrated; `costmodel calibrate` measures here, or fits --from measurements"
    found, (low, high) = roofline.stands.calibration, roofline.interval
    call = f" + {si(found.call.value, 's')} a call" if found.call else ""
    reached = f"{100 * found.efficiency.value:.0f} % of the ceilings" + (" or what its kind reaches" if found.kinds else "")
    shaped = "".join(f"; products of {each.dtype} by their shape, ±{100 * each.error:.0f} %" for each in roofline.hardware.products)
    return (f"predicted {si(roofline.predicted, 's')}, 90 % between {si(low, 's')} and {si(high, 's')}: {roofline.basis} "
            f"((compute + memory) at {reached} + {si(found.launch.value, 's')} a kernel{call}{shaped})")


def _follows(roofline: Roofline) -> str:
    """What a faster part of the device would bring."""
    assert roofline.cost is not None
    parts = elasticities(roofline.cost, roofline.hardware, policy=roofline.policy)
    return ", ".join(f"{name} {100 * part:.1f}%" for name, part in parts.items() if part)
