"""Time on a device in closed form: the figures of the device may be symbols, as the dimensions are.

A kernel takes at least the longest of its resources' times; a program the sum over its kernels. Kernels that do the same are one,
run more often; where one resource is busiest whatever the symbols are, nothing is left to choose. Numbers are exact fractions of
the figures that the device states.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from sympy import Add, Expr, Max, Min, Rational, Symbol

from costmodel.fusion import plan
from costmodel.hardware import Hardware, Standing, standing
from costmodel.hardware import Quantity as Figure
from costmodel.pricing import communication
from costmodel.pricing.communication import Sent
from costmodel.pricing.figures import figure_of
from costmodel.pricing.links import Leg
from costmodel.pricing.overlap import beside
from costmodel.pricing.products import Matmul, calibrated, matmul_of
from costmodel.pricing.times import RUNS_ON, runs_as, seconds_an_operation, unit_of
from costmodel.pricing.topology import Layout
from costmodel.pricing.workload import computed, needless
from costmodel.rules.branches import Branch, Branches, combined
from costmodel.rules.params import Collective
from costmodel.rules.work import CostTable, OpKind, total
from costmodel.symbolic.forms import ONE, ZERO, PeakMax


@dataclass(frozen=True)
class Work:
    """What equal kernels do in one run: bytes across their border and operations by kind; ``times``: their runs, all together;
    ``kind``: theirs; ``needed``: no program could do without them (see :func:`~costmodel.pricing.workload.needless`); ``sent``:
    what they send to other devices, and ``alone``: nothing is left to compute meanwhile; ``product``: the one that they make."""

    bytes: Expr
    ops: tuple[tuple[OpKind, Expr], ...]
    times: Expr
    kind: str
    needed: bool
    branch: Branch = ()
    sent: tuple[tuple[OpKind, Collective, Expr], ...] = ()
    alone: bool = False
    product: Matmul | None = None


def merged(table: CostTable, policy: str) -> tuple[Work, ...]:
    """The kernels of a policy, equal ones as one, once a table; none of a program that does nothing."""
    kernels = plan(table, policy)
    return table.remember(("merged kernels", kernels), lambda: _merged(table, kernels))


def _merged(table: CostTable, kernels: Sequence[Any]) -> tuple[Work, ...]:
    runs: dict[tuple[Any, ...], list[Expr]] = defaultdict(list)
    alone = _alone(table, kernels)
    for i, kernel in enumerate(kernels):
        counts: dict[OpKind, list[Expr]] = defaultdict(list)
        for e in computed(kernel):
            for kind, _, valid in e.work.ops:
                if kind.engine != communication.LINK:
                    counts[kind].append(valid)
        exchanged = tuple((each.kind, each.params, each.bytes) for e in computed(kernel) for each in communication.sent_by(e))
        ops = tuple((kind, count) for kind, parts in counts.items() if (count := total(parts)) != 0)
        product = matmul_of(computed(kernel)) if kernel.kind == "dot" else None
        key = (kernel.bytes, frozenset(ops), kernel.kind, not needless(kernel), kernel.branch, exchanged, i in alone, product)
        runs[key].append(kernel.times)
    return tuple(Work(crossing, tuple(sorted(ops, key=str)), total(times), kind, needed, branch, exchanged, by_itself, product)
                 for (crossing, ops, kind, needed, branch, exchanged, by_itself, product), times in runs.items())


def _alone(table: CostTable, kernels: Sequence[Any]) -> set[int]:
    """The kernels that send while nothing is left to compute."""
    if not any(kernel.kind == "collective" for kernel in kernels):
        return set()
    found, counts = beside(table, kernels), [not needless(kernel) for kernel in kernels]
    free = ((found.runs | found.once) & counts).any(axis=1)
    return {int(i) for i, some in zip(found.senders, free, strict=True) if not some}


@dataclass(frozen=True)
class Rates:
    """A device as prices: seconds a byte, a launch and an operation, each exact or, of a figure that is ``free``, in its symbol."""

    device: Hardware
    free: Mapping[str, Symbol] = field(default_factory=dict)

    @property
    def byte(self) -> Expr:
        """Seconds to move one byte of the main memory."""
        return ONE / self._figure("bandwidth", self.device.bandwidth.value)

    @property
    def launch(self) -> Expr:
        """Seconds that a kernel takes to start."""
        stated = self.device.launch_overhead
        return self._figure("launch_overhead", stated.value if stated else 0.0)

    def _figure(self, name: str, value: float) -> Expr:
        return self.free[name] if name in self.free else exact(value)

    def operation(self, kind: OpKind) -> Expr:
        """Seconds of one. Raises MissingPeak where the device states no peak for it."""
        seconds = seconds_an_operation(self.device, kind)
        for name, figure in self.free.items():
            faster = self._faster(name)
            if faster is not None and seconds_an_operation(faster, kind) != seconds:
                # Seconds are inverse to the one figure that they depend on.
                return exact(seconds, of=figure_of(self.device, name)) / figure
        return _inverse(seconds)

    def _faster(self, name: str) -> Hardware | None:
        """The device with a figure that prices operations doubled; None for one that does not price them."""
        engine, _, dtype = name.partition(".")
        peak = self.device.peaks.get((engine, dtype))
        return None if peak is None else replace(self.device, peaks={**self.device.peaks, (engine, dtype): _doubled(peak)})

    def exchange(self, each: Sent, layout: Layout) -> dict[Leg, Expr]:
        """Seconds of what is sent, by leg; the bandwidth of the first link may be a symbol."""
        found = communication.in_closed_form(each, layout)
        if "link" not in self.free:
            return found
        first = self.device.links[0]
        own, kind = exact(first.bandwidth.value), each.kind.name
        return {leg: leg.seconds(kind, ZERO) + (seconds - leg.seconds(kind, ZERO)) * own / self.free["link"]
                if leg.link == first else seconds for leg, seconds in found.items()}


def _doubled(figure: Figure) -> Figure:
    return replace(figure, value=2 * figure.value)


def exact(value: float, of: float | None = None) -> Rational:
    """A figure as a fraction: a decimal as it is written. ``of``: the product with another figure, whose floating-point value is
    within rounding of a simple fraction (2 operations a multiply-accumulate, a weight of 8)."""
    if of is None:
        return Rational(str(value)) if value != int(value) else Rational(int(value))
    product = Fraction(value * of).limit_denominator(10**6)
    return Rational(product.numerator, product.denominator)


def _inverse(seconds: float) -> Rational:
    """Seconds an operation as the inverse of a rate that a person wrote."""
    inverse = Fraction(1 / seconds)
    simple = (inverse.limit_denominator(most) for most in range(1, _DENOMINATOR))
    rate = next((r for r in simple if abs(r - inverse) <= inverse * _ROUNDING), inverse.limit_denominator(_DENOMINATOR))
    return Rational(rate.denominator, rate.numerator)


_DENOMINATOR = 1000  # of a rate, in operations a second
_ROUNDING = Fraction(4, 10**16)  # of the floating-point number that it went through


# A product of powers and its number, as sympy keeps a sum.
Sum = Mapping[Expr, Rational]


@dataclass(frozen=True)
class Kernel:
    """Seconds of one of equal kernels by resource, of which the longest counts at least; ``times``: their runs; ``reached``: how
    much of the ceilings they reach as calibrated; no lower bound has one that is not ``needed``. Of what they send ``lanes`` are
    seconds by connection, ``alone`` as in :class:`Work`; ``calibrated``: the sum over its exchanges of the least of several
    forms; ``product``: seconds of its tiles, of which the quickest counts, of what it moves, the part of
    the shorter of both that does not overlap, and seconds of all else."""

    times: Expr
    resources: Mapping[str, Expr]
    branch: Branch = ()
    needed: bool = True
    reached: Expr | None = None
    lanes: Mapping[str, Expr] = field(default_factory=dict)
    alone: bool = False
    calibrated: tuple[tuple[Expr, ...], ...] = ()
    product: tuple[tuple[Expr, ...], Expr, Expr, Expr] | None = None

    @property
    def longest(self) -> tuple[Expr, ...]:
        """The resources' seconds without those that another one is never below."""
        found: list[tuple[Expr, Sum]] = []
        for seconds in self.resources.values():
            if seconds == 0:
                continue
            terms = seconds.expand().as_coefficients_dict()
            if any(_covers(other, terms) for _, other in found):
                continue
            found = [(e, other) for e, other in found if not _covers(terms, other)] + [(seconds, terms)]
        return tuple(e for e, _ in found) or (ZERO,)


def _covers(greater: Sum, smaller: Sum) -> bool:
    """Term by term, where every term is a product of what is never negative."""
    terms = {*greater, *smaller}
    return all(greater.get(t, 0) >= smaller.get(t, 0) for t in terms) and all(t.is_nonnegative for t in terms)


@dataclass(frozen=True)
class Clock:
    """A program's time on a device, its launches in seconds a run, how branches are chosen, and the calibration that predictions
    go by."""

    kernels: tuple[Kernel, ...]
    launch: Expr
    branches: Branches
    stands: Standing | None = None

    @property
    def needed(self) -> tuple[Kernel, ...]:
        """The kernels that a lower bound has."""
        return tuple(k for k in self.kernels if k.needed)

    @property
    def works(self) -> tuple[Kernel, ...]:
        """Those of them that do not send: what they take adds up."""
        return tuple(k for k in self.needed if not k.lanes)

    def sending(self, *, alone: bool = False) -> dict[str, Expr]:
        """Seconds of the whole program by connection to other devices; ``alone``: of what nothing is computed beside."""
        found: dict[str, list[tuple[Branch, Expr]]] = defaultdict(list)
        for k in self.needed:
            for lane, seconds in k.lanes.items():
                if k.alone or not alone:
                    found[lane].append((k.branch, k.times * seconds))
        return {lane: combined(parts, self.branches, add=_add, join=_add, choose=self._extreme) for lane, parts in found.items()}

    def _extreme(self, sides: Sequence[Expr]) -> Expr:
        return (Max if self.branches is Branches.MAX else Min)(*sides, evaluate=False)

    @property
    def units(self) -> tuple[str, ...]:
        """The resources, memory first: of equals it binds."""
        return tuple(dict.fromkeys(["memory", *(unit for k in self.kernels for unit in k.resources), "launch"]))

    @property
    def chosen(self) -> bool:
        """Whether there are branches of which one side counts."""
        return self.branches.choose and any(k.branch for k in self.kernels)

    def seconds(self, unit: str, kernel: Kernel) -> Expr:
        """Of one run of a kernel."""
        return self.launch if unit == "launch" else kernel.resources.get(unit, ZERO)

    def grouped(self) -> tuple[Expr, Mapping[tuple[Expr, ...], Expr]]:
        """The lower bound of what does not send, where no branch is chosen: what is settled, a polynomial, and of each choice of
        the longest the runs of the kernels that have it."""
        settled: list[Expr] = []
        left: dict[tuple[Expr, ...], list[Expr]] = defaultdict(list)
        for kernel in self.works:
            longest = kernel.longest
            settled.append(kernel.times * self.launch)
            if len(longest) == 1:
                settled.append(kernel.times * longest[0])
            else:
                left[longest].append(kernel.times)
        return Add(*settled).expand(), {longest: Add(*times) for longest, times in left.items()}

    def upper(self) -> Expr:
        """Seconds at most, where nothing overlaps."""
        return self._whole(lambda k: k.times * Add(*k.resources.values(), self.launch))

    def likely(self, kernel: Kernel) -> Expr:
        """Seconds of all runs of a kernel as predicted. Only with a calibration."""
        assert self.stands is not None
        if kernel.product is not None:
            tiles, moving, apart, rest = kernel.product
            quickest = -PeakMax.opaque(*(-tile for tile in tiles))
            return kernel.times * ((1 - apart) * PeakMax.opaque(quickest, moving) + apart * (quickest + moving) + rest)
        return kernel.times * (Add(*kernel.resources.values()) / kernel.reached + exact(self.stands.calibration.launch.value))

    def _whole(self, seconds: Callable[[Kernel], Expr]) -> Expr:
        return combined([(k.branch, seconds(k)) for k in self.kernels], self.branches, add=_add, join=_add)

    def busy(self, unit: str) -> Expr:
        """Seconds of a resource over the whole program, where no branch is chosen."""
        return Add(*(k.times * self.seconds(unit, k) for k in self.needed)).expand()


def _add(parts: Sequence[Expr]) -> Expr:
    return Add(*parts)


def clock(table: CostTable, device: Hardware, policy: str, free: Mapping[str, Symbol] | None = None,
          sizes: Mapping[str, int] | None = None) -> Clock:
    """A program's time on a device under a policy; figures in ``free`` are those symbols. A mesh is laid on links as it is where
    its axes have these ``sizes``, by default their own.

    Raises MissingPeak where the device has none for a type that the program computes in.
    """
    rates, stands = Rates(device, free or {}), standing(device, policy)
    seconds: dict[OpKind, Expr] = {}
    works = merged(table, policy)
    layout = communication.laid(device, sizes or dict(table.axes), symbols=True) if any(work.sent for work in works) else None
    kernels = []
    for work in works:
        resources: dict[str, list[Expr]] = {"memory": [work.bytes * rates.byte]}
        for kind, count in work.ops:
            if kind not in seconds:
                seconds[kind] = rates.operation(kind)
            resources.setdefault(unit_of(device, RUNS_ON[kind.engine]), []).append(count * seconds[kind])
        lanes: dict[str, list[Expr]] = defaultdict(list)
        calibrated: list[tuple[tuple[Expr, ...], ...]] = []
        for kind, params, count in work.sent:
            assert layout is not None
            calibrated.append(communication.likely_in_closed_form(Sent(0, kind, params, count), layout))
            for leg, part in rates.exchange(Sent(0, kind, params, count), layout).items():
                resources.setdefault(communication.LINK, []).append(part)
                for lane in communication.lanes(leg):
                    lanes[lane].append(part)
        reached = None if stands is None else exact(stands.calibration.of(work.kind))
        kernels.append(Kernel(work.times, {unit: Add(*parts) for unit, parts in resources.items()}, work.branch, work.needed,
                              reached, {lane: Add(*parts) for lane, parts in lanes.items()}, work.alone,
                              tuple(forms for each in calibrated for forms in each) if all(calibrated) else (),
                              None if stands is None else _by_shape(work, rates, stands)))
    return Clock(tuple(kernels), rates.launch, table.branches, stands)


def _by_shape(work: Work, rates: Rates, stands: Standing) -> tuple[tuple[Expr, ...], Expr, Expr, Expr] | None:
    """A kernel's product, if the device is calibrated for these, as :class:`Kernel` has it."""
    how = None if work.product is None else calibrated(rates.device, runs_as(rates.device, work.product.kind))
    if work.product is None or how is None:
        return None
    mac, found = rates.operation(work.product.kind), stands.calibration
    tiles = how.by_tile(*work.product.sizes, mac=mac, byte=rates.byte, number=exact)
    beside = Add(*(count * rates.operation(kind) for kind, count in work.ops if kind != work.product.kind))
    return (tuple(tile.expand() for tile in tiles), work.bytes * rates.byte / exact(how.memory), exact(how.apart),
            beside / exact(found.of(work.kind)) + exact(max(how.launch, found.launch.value)))
