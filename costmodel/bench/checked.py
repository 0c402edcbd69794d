"""A check as a record and as text: what was measured, what was predicted under one policy, and what explains the difference."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from costmodel.bench.kinds import KindTime
from costmodel.bench.lines import append
from costmodel.pictures import Bars
from costmodel.sheets import Column, Line, Result, Sheet
from costmodel.text import si

FORMAT = "costmodel-check-1"


@dataclass(frozen=True)
class KindBounds:
    """Seconds of all runs of a kind's kernels."""

    lower: float
    upper: float
    predicted: float | None


@dataclass(frozen=True)
class Prediction:
    """A roofline's bounds for the whole program: ``lower`` and ``upper`` in seconds, FLOPs of valid taps, bytes of the policy.

    kinds:     the same by kind of kernel.
    baselines: predictor -> seconds: "raw roofline" (the lower bound) and, where calibrated, "one factor" (the upper bound over what
               is reached of the ceilings), "e + t0" (with the seconds of a kernel and a call) and "by kind" (what is predicted).
    """

    policy: str
    lower: float
    upper: float
    flops: int
    bytes: float
    predicted: float | None = None
    interval: tuple[float, float] | None = None
    basis: str = "not calibrated"
    kinds: Mapping[str, KindBounds] = field(default_factory=dict)
    baselines: Mapping[str, float] = field(default_factory=dict)

    @property
    def attainable(self) -> float:
        """FLOP/s, if compute and memory overlap perfectly."""
        return self.flops / self.lower

    def verdict(self, seconds: float) -> str:
        """Where a measured time lies with respect to the bounds."""
        if seconds < self.lower:
            return (f"{self.lower / seconds:.2f}x faster than the lower bound: data stay in caches, or more is fused than "
                    f"{self.policy!r} says")
        if seconds > self.upper:
            return (f"{seconds / self.upper:.2f}x the upper bound: overheads, copies, or kernels that do not reach the device's "
                    "ceilings")
        if self.upper == self.lower:
            return "at the bounds, which coincide"
        return f"inside the bounds, {100 * (seconds - self.lower) / (self.upper - self.lower):.0f}% of the way from lower to upper"


@dataclass(frozen=True)
class CheckResult(Result):
    """One program, timed. All times in seconds; ``samples`` in the order taken, after ``warmup`` runs that are not kept.

    hardware:    the device that the predictions are for; the last of them is by its own policy.
    kinds:       the kernels of each kind, timed alone, where that was asked for.
    environment: on what it really ran: machine, platform, device, versions, date.
    xla:         ``flops`` and ``bytes accessed`` as XLA's own analysis of the compiled program has them, where it has any.
    notes:       what a reader must know, e.g. that the device was measured just now.
    """

    name: str
    point: Mapping[str, int]
    hardware: str
    predictions: tuple[Prediction, ...]
    samples: tuple[float, ...]
    compile_seconds: float
    warmup: int
    xla: Mapping[str, float]
    environment: Mapping[str, str]
    call_overhead: float | None = None
    notes: tuple[str, ...] = ()
    kinds: tuple[KindTime, ...] = ()

    @property
    def own(self) -> Prediction:
        """By the policy of the device."""
        return self.predictions[-1]

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """First quartile, median and third quartile of the samples."""
        if len(self.samples) == 1:
            return (self.samples[0],) * 3
        first, median, third = statistics.quantiles(self.samples, n=4, method="inclusive")
        return first, median, third

    @property
    def median(self) -> float:
        """Seconds of a run: half of the runs took less."""
        return self.quartiles[1]

    def achieved(self, prediction: Prediction) -> float:
        """FLOP/s, of the FLOPs that were counted."""
        return prediction.flops / self.median

    def to_record(self) -> dict[str, Any]:
        """The result as plain data, raw samples included."""
        return {"format": FORMAT, **dataclasses.asdict(self), "quartiles": self.quartiles}

    def save(self, path: str | Path) -> None:
        """Append the record to a file of JSON lines. Raises CostModelError where that cannot be written."""
        append(path, self.to_record())

    def sheet(self) -> Sheet:
        """A row a policy, the device's own last: its bounds beside the measured median."""
        columns = (Column("policy"), Column("measured", "s", "si"), Column("lower", "s", "si"), Column("upper", "s", "si"),
                   Column("predicted", "s", "si"), Column("measured / lower", style="ratio"),
                   Column("measured / upper", style="ratio"), Column("FLOPs", "FLOP", "si"), Column("bytes", "B", "si"),
                   Column("achieved", "FLOP/s", "si"))
        rows = tuple(Line(p.policy, (self.median, p.lower, p.upper, p.predicted, self.median / p.lower, self.median / p.upper,
                                     p.flops, p.bytes, self.achieved(p))) for p in self.predictions)
        at = ", ".join(f"{k}={v}" for k, v in self.point.items())
        return Sheet(f"{self.name} at {at or 'its fixed shapes'}, predicted for {self.hardware}", columns, rows, (), self.notes)

    def chart(self) -> Bars:
        """What was measured, and each policy's bounds."""
        times = [("measured", self.median), *((f"{p.policy}: {bound}", getattr(p, bound)) for p in self.predictions
                                              for bound in ("lower", "upper"))]
        return Bars(f"{self.name}, measured and predicted for {self.hardware}", "time of a run", "s", tuple(n for n, _ in times),
                    (("", tuple(t for _, t in times)),), (("measured", self.median),))

    def text(self, width: int | None = None, *, policies: bool = False, baselines: bool = False, **how: Any) -> str:
        """Measured first, then predicted and the bounds of the device's policy; with the bounds of other policies, and with simpler
        predictors. Or its sheet as text, with its options."""
        return super().text(width, **how) if how else render(self, policies=policies, baselines=baselines)

    def __str__(self) -> str:
        return render(self)


# -- as text ------------------------------------------------------------------------------------------------------------------


def render(result: CheckResult, *, policies: bool = False, baselines: bool = False) -> str:
    """One story under the device's policy; with ``policies`` other policies' bounds too, with ``baselines`` simpler predictors."""
    own = result.own
    at = ", ".join(f"{k}={v}" for k, v in result.point.items())
    lines = [f"{result.name} at {at or 'its fixed shapes'}, predicted for {result.hardware}, policy {own.policy!r}",
             *(f"  note: {note}" for note in result.notes), *_measured(result), *_predicted(result, own)]
    if result.kinds:
        lines += _by_kind(result, own)
    if baselines:
        lines += _baselines(result, own)
    if policies:
        lines += [f"  {p.policy:<13}  lower {si(p.lower, 's')}, upper {si(p.upper, 's')}; measured / upper "
                  f"{result.median / p.upper:.3g}; {si(p.bytes, 'B')}" for p in result.predictions if p is not own]
    if result.call_overhead is not None:
        lines.append(f"  call overhead  {si(result.call_overhead, 's')} a call on this device, not in the bounds")
    if result.xla:
        figures = ", ".join(f"{key} {value:.4g}" for key, value in result.xla.items())
        lines.append(f"  XLA's own      {figures} (of the compiled program)")
    where = result.environment
    lines.append(f"  ran on         {where['device']} ({where['platform']}), {where['cpus']} x {where['machine']}, "
                 f"jax {where['jax']}, {where['date']}")
    return "\n".join(lines)


def _measured(result: CheckResult) -> Iterator[str]:
    first, median, third = result.quartiles
    yield (f"  measured       median {si(median, 's')}, quartiles {si(first, 's')} to {si(third, 's')}, least "
           f"{si(min(result.samples), 's')}; {len(result.samples)} runs after {result.warmup}, compiled in "
           f"{si(result.compile_seconds, 's')}")


def _predicted(result: CheckResult, p: Prediction) -> Iterator[str]:
    if p.predicted is None or p.interval is None:
        yield "  predicted      not calibrated: `costmodel calibrate` measures this machine"
    else:
        low, high = p.interval
        where = "inside" if low <= result.median <= high else "outside"
        yield (f"  predicted      {si(p.predicted, 's')}, 90 % between {si(low, 's')} and {si(high, 's')}: {p.basis}; measured / "
               f"predicted {result.median / p.predicted:.3g}, {where} the interval")
    yield (f"  bounds         lower {si(p.lower, 's')}, upper {si(p.upper, 's')}; measured / lower "
           f"{result.median / p.lower:.3g}, measured / upper {result.median / p.upper:.3g}")
    yield f"                 {p.verdict(result.median)}"
    yield (f"  work           {si(p.flops, 'FLOP')}, {si(p.bytes, 'B')}; achieved {si(result.achieved(p), 'FLOP/s')} = "
           f"{100 * p.lower / result.median:.3g}% of the attainable {si(p.attainable, 'FLOP/s')}")


def _by_kind(result: CheckResult, p: Prediction) -> Iterator[str]:
    """Each kind's kernels alone, the kind that explains most of the difference first."""
    def seconds(value: float | None) -> str:
        return "" if value is None else si(value, "s")

    expected = {kind: row.predicted if row.predicted is not None else row.upper for kind, row in p.kinds.items()}
    kinds = sorted(result.kinds, key=lambda k: -abs(k.seconds - expected.get(k.kind, 0.0)))
    over = "predicted" if p.predicted else "upper"
    yield (f"  {'by kind':<14} {'kernels':>8} {'alone':>10} {'predicted':>10} {'lower':>10} {'upper':>10} "
           f"{'alone / ' + over:>18}")
    for each in kinds:
        row = p.kinds.get(each.kind)
        if row is None:
            continue
        ratio = f"{each.seconds / expected[each.kind]:.3g}" if expected[each.kind] else ""
        lost = f"  ({each.failed} cannot run alone)" if each.failed else ""
        yield (f"    {each.kind:<12} {each.kernels:>8} {seconds(each.seconds):>10} {seconds(row.predicted):>10} "
               f"{seconds(row.lower):>10} {seconds(row.upper):>10} {ratio:>18}{lost}")
    together = sum(each.seconds for each in result.kinds)
    yield (f"    together     {sum(each.kernels for each in result.kinds):>8} {si(together, 's'):>10}: "
           f"{100 * together / result.median:.0f} % of what the program takes")


def _baselines(result: CheckResult, p: Prediction) -> Iterator[str]:
    yield f"  {'baselines':<14} {'seconds':>10} {'measured / it':>14}"
    yield from (f"    {name:<12} {si(value, 's'):>10} {result.median / value:>14.3g}" for name, value in p.baselines.items())
