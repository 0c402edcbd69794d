"""Time against batch, device and figures of the device: the batch that saturates, the largest within a latency, the smallest
device that meets one, and what a faster part of the device would bring."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum

from sympy import Expr

from costmodel.errors import CostModelError
from costmodel.fusion import plan
from costmodel.hardware import Hardware, MissingPeak, available, load
from costmodel.pricing import communication
from costmodel.pricing.core import Point, Symbolic
from costmodel.pricing.elasticity import whole_time
from costmodel.pricing.rate import BATCH, rate
from costmodel.pricing.times import RUNS_ON, price, seconds_an_operation, unit_of
from costmodel.pricing.workload import computed, needless, policy_of, workload
from costmodel.rules.branches import Branch, combined
from costmodel.sheets import Column, Drawn, Facts, heads
from costmodel.solve.fits import bytes_used, of_all
from costmodel.solve.line import Line, first_true, line_of
from costmodel.solve.region import in_the_limit
from costmodel.surface import number
from costmodel.symbolic.asymptotics import ratio_at_infinity
from costmodel.text import apart

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def seconds_of(text: float | str) -> float:
    """A latency: seconds, or text with its unit.

    >>> seconds_of("50ms"), seconds_of(2)
    (0.05, 2.0)
    """
    if not isinstance(text, str):
        if not 0 < number(text, "time", "50ms") < math.inf:
            raise CostModelError(f"a time of {text} s is none: write 50ms, 2s or 300us")
        return float(text)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-zµ]+)", text.strip())
    if not match or match[2] not in _SECONDS or not float(match[1]):
        raise CostModelError(f"{text!r} is no time: write 50ms, 2s or 300us")
    return float(match[1]) * _SECONDS[match[2]]


def rate_of(symbol: str) -> str:
    """What a throughput over a symbol counts: items where it is the batch, else steps of the symbol."""
    return "items/s" if symbol in BATCH else f"{symbol}/s"


@dataclass(frozen=True)
class Saturation(Facts):
    """The batch that saturates a device. ``throughput`` at the answer and its ``limit`` for large batches are in items a second, at
    best; ``answer`` is None where the domain ends before."""

    ASKED = "smallest that saturates"
    HEADS = heads(answer=Column("smallest"), throughput=Column("throughput there", "1/s", "rate"),
                  limit=Column("throughput of large ones", "1/s", "rate"), within=Column("within", "of the limit", "share"))

    symbol: str
    answer: int | None
    throughput: float | None
    limit: float
    within: float

    def drawn(self) -> Drawn:
        """The throughput at the answer, and its limit."""
        rate = rate_of(self.symbol)
        here = ((f"{self.symbol} = {self.answer}", self.throughput),) if self.throughput is not None else ()
        return Drawn("Where throughput saturates", "throughput", rate, (*here, ("the limit", self.limit)))

    def __str__(self) -> str:
        rate = rate_of(self.symbol)
        limit = f"the limit of {self.limit:.4g} {rate}"
        if self.answer is None:
            return f"{self.symbol}: the domain ends before {100 * self.within:g} % of {limit}"
        return f"{self.symbol} = {self.answer}: {self.throughput:.4g} {rate}, within {100 * self.within:g} % of {limit}"


def saturation(cost: Symbolic, symbol: str, device: str | Hardware, *, at: Mapping[str, int] | None = None, within: float = 0.05,
               policy: str | None = None) -> Saturation:
    """The least value of a symbol, which counts items, at which throughput is within a part of its limit for large values.

    Raises CostModelError where the time grows faster than the symbol (throughput has no such limit) or not with it.
    """
    if not 0 < number(within, "part of the limit", "0.05") < 1:
        raise CostModelError(f"within={within} is a part of the limit between 0 and 1, as 0.05")
    found = _device(device)
    line, policy = line_of(cost, symbol, at or {}), policy_of(found, policy)
    an_item = _seconds_an_item(far := in_the_limit(line), found, policy)
    if not 0 < an_item < float("inf"):
        how = "faster than {0}: throughput tends to 0" if an_item else "less than {0}: throughput has no limit"
        raise CostModelError(f"the time of {cost.name} grows {how.format(symbol)}")

    def throughput(i: int, there: bool) -> float:
        return rate(line.value(i), _program_seconds(line, i, found, policy, "lower", there))

    def first(there: bool) -> int | None:
        return first_true(lambda i: throughput(i, there) >= (1 - within) / an_item, line.first, line.last)

    i = first(there=False)
    if there := far is not line or line.another(i):
        i = first(there)
    if i is None:
        return Saturation(symbol, None, None, 1 / an_item, within)
    return Saturation(symbol, line.value(i), throughput(i, there), 1 / an_item, within)


def _seconds_an_item(line: Line, device: Hardware, policy: str) -> float:
    """The limit of the lower time bound over the symbol."""
    items = line.step * line.unknown

    def share(expr: Expr) -> float:
        return float(ratio_at_infinity(line.along(expr), items, line.unknown))

    launch = device.launch_overhead.value if device.launch_overhead else 0.0
    seconds: list[tuple[Branch, float]] = []
    kernels = line.cost.kernels(policy)
    exchanges = communication.sent(kernels)
    layout = communication.laid(device, {axis: line.at[axis] for axis, _ in line.cost.program.axes}) if exchanges else None
    lanes: dict[str, float] = {}
    for each in exchanges:
        assert layout is not None
        for leg, part in communication.in_closed_form(each, layout).items():
            for lane in communication.lanes(leg):
                lanes[lane] = lanes.get(lane, 0.0) + share(part * kernels[each.kernel].times)
    for kernel in kernels:
        if kernel.kind == "collective":
            continue
        units: dict[str, float] = {}
        for e in computed(kernel):
            for kind, _, valid in e.work.ops:
                unit = unit_of(device, RUNS_ON[kind.engine])
                units[unit] = units.get(unit, 0.0) + seconds_an_operation(device, kind) * share(valid * kernel.times)
        memory = share(kernel.bytes * kernel.times) / device.bandwidth.value
        if needless(kernel):
            continue
        seconds.append((kernel.branch, max(memory, *units.values(), 0.0) + launch * share(kernel.times)))
    branches = line.cost.program.branches

    def add(parts: list[float]) -> float:
        return fsum(parts)

    computing = combined(seconds, branches, add=add, join=add, choose=lambda sides: branches.pick(sides, float))
    return max(computing, *lanes.values(), 0.0)


@dataclass(frozen=True)
class Within(Facts):
    """The largest value of a symbol whose time stays within a latency: seconds there and at the next value (None at the end of
    the domain), items a second there. ``answer`` is None where not even the least value does."""

    ASKED = "largest within a latency"
    HEADS = heads(latency=Column("latency", "s", "si"), answer=Column("largest"), seconds=Column("time there", "s", "si"),
                  next=Column("next value"), next_seconds=Column("time there, too long", "s", "si"))

    symbol: str
    latency: float
    answer: int | None
    seconds: float | None
    next: int | None
    next_seconds: float | None

    @property
    def throughput(self) -> float | None:
        """Items a second at the answer."""
        return None if self.answer is None or self.seconds is None else rate(self.answer, self.seconds)

    def _ms(self, seconds: float) -> str:
        return f"{apart(1e3 * seconds, 1e3 * self.latency)} ms"

    def drawn(self) -> Drawn:
        """Seconds at the answer and at the next value, beside the latency."""
        values = ((self.answer, self.seconds), (self.next, self.next_seconds))
        return Drawn("What stays within a latency", "time", "s", tuple((f"{self.symbol} = {value}", seconds)
                     for value, seconds in values if seconds is not None), (("latency", self.latency),))

    def __str__(self) -> str:
        parts = []
        if self.answer is not None and self.seconds is not None:
            parts.append(f"{self.symbol} = {self.answer}: {self._ms(self.seconds)} of {1e3 * self.latency:.4g} ms, "
                         f"{self.throughput:.4g} {rate_of(self.symbol)}")
        else:
            parts.append(f"no {self.symbol} is within {1e3 * self.latency:.4g} ms")
        if self.next is not None and self.next_seconds is not None:
            parts.append(f"{self.symbol} = {self.next} takes {self._ms(self.next_seconds)}")
        else:
            parts.append("the domain ends there")
        return "; ".join(parts)


def max_batch(cost: Symbolic, symbol: str, device: str | Hardware, latency: float | str, *, at: Mapping[str, int] | None = None,
              bound: str = "upper", policy: str | None = None) -> Within:
    """The largest value of a symbol, such as the batch, whose time bound stays within a latency (seconds, or text such as "50ms").

    bound: "upper" (nothing overlaps: the safe side), "lower" (everything does: what these kernels cannot beat) or "predicted" (by
           the device's calibration).
    """
    found, longest = _device(device), seconds_of(latency)
    line, policy = line_of(cost, symbol, at or {}), policy_of(found, policy)

    def seconds(i: int, there: bool) -> float:
        return _program_seconds(line, i, found, policy, bound, there)

    def ends(there: bool) -> tuple[int | None, int | None]:
        """The last step within the latency, and the next one."""
        over = first_true(lambda i: seconds(i, there) > longest, line.first, line.last)
        if over is None and line.last is None:
            raise CostModelError(f"the time of {cost.name} does not grow with {symbol} beyond {longest:g} s")
        last = over - 1 if over is not None else line.last
        return last if last is not None and last >= line.first else None, over

    answer, over = ends(there=False)
    if there := line.another(answer, over):
        answer, over = ends(there)
    taken = [(None, None) if i is None else (line.value(i), seconds(i, there)) for i in (answer, over)]
    return Within(symbol, longest, *taken[0], *taken[1])


def _program_seconds(line: Line, i: int, device: Hardware, policy: str, bound: str, there: bool) -> float:
    """A time bound of the whole program: of the program that the model is ``there``, verified, or by the line's formulas, which a
    search asks on its way."""
    if there:
        point = line.point(i)
        program, env = point.program, point.env
    else:
        program, env = line.cost.program, line.cost.domain.bind({**line.at, line.name: line.value(i)})
    if not plan(program, policy):
        return 0.0  # it hands its inputs on
    return whole_time(price(workload(program, policy).at(env), device), bound)


def _device(device: str | Hardware) -> Hardware:
    return device if isinstance(device, Hardware) else load(device)


# -- which device -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate(Facts):
    """A device for a program at a point: its time bounds in seconds, and why it will not do (empty if it will)."""

    ASKED = "a device for it"
    HEADS = heads(lower=Column("time ≥", "s", "si"), upper=Column("time ≤", "s", "si"), reason=Column("why not", style="text"),
                  predicted=Column("predicted", "s", "si"), basis=Column("predicted by", style="text"))

    device: Hardware
    lower: float
    upper: float
    reason: str = ""
    predicted: float | None = None
    basis: str = ""

    def drawn(self) -> Drawn:
        """Both time bounds; nothing where the device has no price."""
        bounds = (("at least", self.lower), ("at most", self.upper))
        return Drawn("Devices", "time", "s", tuple((f"{self.device.name}, {what}", seconds) for what, seconds in bounds
                                                   if seconds < float("inf")))

    def __str__(self) -> str:
        times = f"{1e3 * self.lower:.4g} to {1e3 * self.upper:.4g} ms" if self.upper < float("inf") else "not priced"
        if self.predicted is not None:
            times += f", predicted {1e3 * self.predicted:.4g} ms ({self.basis})"
        return f"{self.device.name}: {times}" + (f"; {self.reason}" if self.reason else "")


def devices_for(point: Point, latency: float | str, *, among: Iterable[str | Hardware] | None = None, uses: str = "weights+cache",
                policy: str | None = None) -> tuple[Candidate, ...]:
    """Devices (default: all shipped ones and the user's own) and whether each meets a latency, the slowest that does first.

    A device meets it where the upper time bound is within it and its memory, where stated, holds what ``uses`` says (as for
    :func:`max_fit`). The first is the smallest device for the job; those that will not do come last, with the reason.
    """
    longest, need = seconds_of(latency), point.evaluate(bytes_used(point.cost, uses))
    found = sorted((_candidate(point, _device(d), longest, need, policy) for d in (available() if among is None else among)),
                   key=lambda c: (bool(c.reason), -c.upper if not c.reason else c.upper))
    return tuple(found)


def _candidate(point: Point, device: Hardware, longest: float, need: float, policy: str | None) -> Candidate:
    try:
        times = price(workload(point.program, policy_of(device, policy)).at(point.env), device)
    except MissingPeak as error:
        return Candidate(device, float("inf"), float("inf"), str(error).partition(";")[0])
    lower, upper = whole_time(times, "lower"), whole_time(times, "upper")
    reason = "too slow where nothing overlaps" if upper > longest else ""
    if device.capacity is not None and need > device.capacity.value:
        reason = f"takes {of_all(need, device.capacity.value)}"
    elif lower > longest:
        reason = "too slow even if everything overlaps"
    if times.stands is None:
        return Candidate(device, lower, upper, reason)
    return Candidate(device, lower, upper, reason, whole_time(times, "predicted"), times.stands.words)
