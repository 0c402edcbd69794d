"""Run the program that was counted and set its time beside the roofline's bounds.

What runs is the very jaxpr that a concrete trace at the point gives, so nothing is timed that was not counted. Values are random:
the time of dense arithmetic does not depend on them, as long as they are ordinary numbers.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.extend import core as jex_core

from costmodel.bench.lines import append
from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, available, load, machine, user_directory, write
from costmodel.pictures import Bars
from costmodel.pricing.roofline import Roofline, roofline
from costmodel.sheets import Column, Line, Result, Sheet
from costmodel.text import si

if TYPE_CHECKING:
    from costmodel.cost import Cost
    from costmodel.trace.requests import Leaf, Traced

FORMAT = "costmodel-check-1"
POLICIES = ("unfused", "layer")  # and the device's own
QUICK_SECONDS = 10.0  # of measuring this machine where that was not done before


@dataclass(frozen=True)
class Prediction:
    """A roofline's bounds for the whole program: ``lower`` and ``upper`` in seconds, FLOPs of valid taps, bytes of the policy."""

    policy: str
    lower: float
    upper: float
    flops: int
    bytes: float
    predicted: float | None = None
    interval: tuple[float, float] | None = None
    basis: str = "not calibrated"

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

    hardware:    the device that the predictions are for.
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
        """A row a policy: its bounds beside the measured median."""
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

    def text(self, width: int | None = None, **how: Any) -> str:
        """Measured first, then each policy's bounds beside it; or its sheet as text, with its options."""
        return super().text(width, **how) if how else render(self)

    def __str__(self) -> str:
        return render(self)


def check(cost: Cost, values: Mapping[str, int], hardware: str | Hardware = "local", *, repeat: int = 20,
          warmup: int = 3) -> CheckResult:
    """Compile and run the counted program at the point ``values`` on jax's first device; predict it for ``hardware``.

    ``local``, if this machine was never measured, is measured for some seconds first and kept; a note says so. Raises
    CostModelError for a cost without a model, a point outside the domain, or a program that this machine cannot run.
    """
    if repeat < 1 or warmup < 0:
        raise CostModelError(f"repeat={repeat} must be at least 1 and warmup={warmup} at least 0")
    if cost.request is None:
        raise CostModelError(f"{cost.name} has no model to run, it was loaded from a file or repriced; check a fresh analysis")
    point = cost.at(**values)
    device, notes = _device(hardware)
    predictions = tuple(_prediction(roofline(point, device, policy=policy), policy)
                        for policy in dict.fromkeys((*POLICIES, device.fusion)))
    backend = jax.devices()[0]
    if backend.platform == "cpu" and (memory := machine.memory()) and point.bytes("compulsory") > memory:
        raise CostModelError(f"{cost.name} touches at least {float(point.bytes('compulsory')) / 1e9:.1f} GB, more than the "
                             f"{memory / 1e9:.1f} GB of this machine; check it at a smaller point")
    try:
        compiled, arguments, compile_seconds = compile_traced(cost.request.at(cost.domain, cost.domain.bind(values)).run())
        samples = time_calls(compiled, arguments, repeat, warmup)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CostModelError(f"{cost.name} does not run here: {reason}; check it at a smaller point") from error
    if (platform_kind := _kind(backend.platform)) != device.kind:
        notes = (*notes, f"it ran on a {platform_kind}, the bounds are for a {device.kind}: {device.title}")
    return CheckResult(cost.name, dict(values), device.name, predictions, samples, compile_seconds, warmup, xla_figures(compiled),
                       environment_of(backend), device.call_overhead.value if device.call_overhead else None, notes)


def _device(hardware: str | Hardware) -> tuple[Hardware, tuple[str, ...]]:
    if isinstance(hardware, Hardware):
        return hardware, ()
    if hardware != "local" or "local" in available():
        return load(hardware), ()
    device, path = local(), user_directory() / "local.toml"
    return device, (f"this machine was not measured before: done now in {QUICK_SECONDS:g} s and written to {path}; "
                    "`costmodel hw measure` does it with more care",)


def local() -> Hardware:
    """This machine, measured for some seconds and kept where that was not done before."""
    if "local" in available():
        return load("local")
    from costmodel.hardware.measure import measure

    device = measure(QUICK_SECONDS)
    write(device, user_directory() / "local.toml")
    return device


def _prediction(bounds: Roofline, policy: str) -> Prediction:
    if not bounds.lower:
        raise CostModelError(f"{bounds.name} does nothing that takes time at this point; there is nothing to check")
    return Prediction(policy, bounds.lower, bounds.upper, bounds.flops, bounds.bytes, bounds.predicted,
                      bounds.interval, bounds.basis)


def compile_traced(traced: Traced) -> tuple[Any, list[Any], float]:
    """The compiled program, its arguments on the device, and the seconds that lowering and compiling took."""
    draw = np.random.default_rng(0)
    arguments = [_materialise(leaf, aval, draw) for leaf, aval in zip(traced.leaves, traced.jaxpr.in_avals, strict=True)]
    start = time.perf_counter()
    compiled = jax.jit(jex_core.jaxpr_as_fun(traced.jaxpr)).lower(*arguments).compile()
    return compiled, arguments, time.perf_counter() - start


def _materialise(leaf: Leaf, aval: Any, draw: np.random.Generator) -> jax.Array:
    """An ordinary value: real keys, zeros for integers (in range as an index), ones for statistics (variances are positive),
    and normal numbers, for parameters so small that activations keep their size from layer to layer."""
    if jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), aval.shape) if aval.shape else jax.random.key(0)
    if not jax.numpy.issubdtype(aval.dtype, np.inexact):
        return jax.device_put(np.zeros(aval.shape, aval.dtype))
    if leaf.role == "buffer":
        return jax.device_put(np.ones(aval.shape, aval.dtype))
    values = draw.standard_normal(aval.shape, np.float32)
    if leaf.role == "parameter":
        values = values / np.float32(math.sqrt(math.prod(aval.shape[:-1])))
    return jax.device_put(np.asarray(values).astype(aval.dtype))


def time_calls(compiled: Any, arguments: Sequence[Any], repeat: int, warmup: int) -> tuple[float, ...]:
    """Seconds of each of ``repeat`` calls, after ``warmup`` untimed ones."""
    for _ in range(warmup):
        jax.block_until_ready(compiled(*arguments))
    samples = []
    for _ in range(repeat):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        samples.append(time.perf_counter() - start)
    return tuple(samples)


def xla_figures(compiled: Any) -> dict[str, float]:
    """XLA's own figures; some backends have none."""
    try:
        analysis = compiled.cost_analysis()
    except (NotImplementedError, jax.errors.JaxRuntimeError):
        return {}
    figures = analysis or {}
    return {key: float(figures[key]) for key in ("flops", "bytes accessed") if key in figures}


def _kind(platform_name: str) -> str:
    return platform_name if platform_name in ("cpu", "tpu") else "gpu"


def environment_of(backend: Any) -> dict[str, str]:
    """The machine and the versions that a measurement was made with."""
    return {
        "machine": machine.cpu_model(),
        "cpus": str(machine.cpu_count()),
        "platform": backend.platform,
        "device": backend.device_kind,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


# -- as text ------------------------------------------------------------------------------------------------------------------


def render(result: CheckResult) -> str:
    """Measured first, then each policy's bounds beside it, then XLA's own figures and where it ran."""
    first, median, third = result.quartiles
    at = ", ".join(f"{k}={v}" for k, v in result.point.items())
    lines = [
        f"{result.name} at {at or 'its fixed shapes'}, predicted for {result.hardware}",
        *(f"  note: {note}" for note in result.notes),
        f"  measured       median {si(median, 's')}, quartiles {si(first, 's')} to {si(third, 's')}, "
        f"{len(result.samples)} runs after {result.warmup}; compiled in {si(result.compile_seconds, 's')}",
    ]
    for prediction in result.predictions:
        lines += _lines_of(result, prediction)
    if result.call_overhead is not None:
        lines.append(f"  call overhead  {si(result.call_overhead, 's')} a call on this device, not in the bounds")
    if result.xla:
        figures = ", ".join(f"{key} {value:.4g}" for key, value in result.xla.items())
        lines.append(f"  XLA's own      {figures} (of the compiled program)")
    where = result.environment
    lines.append(f"  ran on         {where['device']} ({where['platform']}), {where['cpus']} x {where['machine']}, "
                 f"jax {where['jax']}, {where['date']}")
    return "\n".join(lines)


def _lines_of(result: CheckResult, p: Prediction) -> list[str]:
    achieved = result.achieved(p)
    expected = []
    if p.predicted is not None and p.interval is not None:
        low, high = (si(each, "s") for each in p.interval)
        expected = [f"  {'':<14} predicted {si(p.predicted, 's')}, 90 % between {low} and {high}; "
                    f"measured / predicted {result.median / p.predicted:.3g}; {p.basis}"]
    return [
        f"  {p.policy:<14} lower {si(p.lower, 's')}, upper {si(p.upper, 's')}; measured / lower {result.median / p.lower:.3g}, "
        f"measured / upper {result.median / p.upper:.3g}",
        f"                 {si(p.flops, 'FLOP')}, {si(p.bytes, 'B')}; achieved {si(achieved, 'FLOP/s')} = "
        f"{100 * p.lower / result.median:.3g}% of the attainable {si(p.attainable, 'FLOP/s')}",
        f"                 {p.verdict(result.median)}",
        *expected,
    ]
