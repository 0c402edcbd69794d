"""Run the program that was counted and set its time beside the roofline's bounds.

What runs is the very jaxpr that a concrete trace at the point gives, so nothing is timed that was not counted. Values are random:
the time of dense arithmetic does not depend on them, as long as they are ordinary numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax

from costmodel.bench.calls import compile_traced, device_kind, environment_of, time_calls, xla_figures
from costmodel.bench.checked import CheckResult, KindBounds, Prediction
from costmodel.bench.kinds import alone
from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, available, load, machine, user_directory, write
from costmodel.pricing.roofline import Roofline, roofline
from costmodel.pricing.rows import RooflineRow
from costmodel.surface import option, said

if TYPE_CHECKING:
    from costmodel.cost import Cost

POLICIES = ("unfused", "layer")  # and the device's own
QUICK_SECONDS = 10.0  # of measuring this machine where that was not done before


def check(cost: Cost, values: Mapping[str, int], hardware: str | Hardware = "local", *, repeat: int = 20,
          warmup: int = 3, by_kind: bool = False, precision: str | None = None) -> CheckResult:
    """Compile and run the counted program at the point ``values`` on jax's first device; predict it for ``hardware``.

    by_kind:   also run each kernel alone, and say which kinds take longer than predicted.
    precision: "highest", "high" or "default": what float32 contractions that ask for none run at, here and in the prediction.

    ``local``, if this machine was never measured, is measured for some seconds first and kept; a note says so. Raises
    CostModelError for a cost without a model, a point outside the domain, or a program that this machine cannot run.
    """
    if repeat < 1 or warmup < 0:
        raise CostModelError(f"{option('repeat', repeat)} must be at least 1" + said(f" and warmup={warmup} at least 0", ""))
    if cost.request is None:
        raise CostModelError(f"{cost.name} has no model to run, it was loaded from a file or repriced; check a fresh analysis")
    point = cost.at(**values)
    device, notes = _device(hardware)
    policies = [*(policy for policy in POLICIES if policy != device.fusion), device.fusion]
    predictions = tuple(_prediction(roofline(point, device, policy=policy, precision=precision), policy) for policy in policies)
    backend = jax.devices()[0]
    if backend.platform == "cpu" and (memory := machine.memory()) and point.bytes("compulsory") > memory:
        raise CostModelError(f"{cost.name} touches at least {float(point.bytes('compulsory')) / 1e9:.1f} GB, more than the "
                             f"{memory / 1e9:.1f} GB of this machine; check it at a smaller point")
    try:
        with jax.default_matmul_precision(precision):
            compiled, arguments, compile_seconds = compile_traced(cost.request.at(cost.domain, cost.domain.bind(values)).run())
        samples = time_calls(compiled, arguments, repeat, warmup)
        kinds = alone(cost, values, device.fusion) if by_kind else ()
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CostModelError(f"{cost.name} does not run here: {reason}; check it at a smaller point") from error
    if (platform_kind := device_kind(backend.platform)) != device.kind:
        notes = (*notes, f"it ran on a {platform_kind}, the bounds are for a {device.kind}: {device.title}")
    return CheckResult(cost.name, dict(values), device.name, predictions, samples, compile_seconds, warmup, xla_figures(compiled),
                       environment_of(backend), device.call_overhead.value if device.call_overhead else None, notes, kinds)


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
    kinds = {row.label: KindBounds(row.lower, row.upper, row.predicted) for row in bounds.by("kind")}
    return Prediction(policy, bounds.lower, bounds.upper, bounds.flops, bounds.bytes, bounds.predicted, bounds.interval,
                      bounds.basis, kinds, _baselines(bounds))


def _baselines(bounds: Roofline) -> dict[str, float]:
    found = {"raw roofline": bounds.lower}
    if bounds.stands is not None and bounds.predicted is not None:
        c = bounds.stands.calibration
        rows = [row for row in bounds.rows if not row.branch]
        busy = sum(_busy(row) * row.times for row in rows)
        launches = c.launch.value * sum(row.times for row in rows) + (c.call.value if c.call else 0.0)
        found |= {"one factor": busy / c.efficiency.value, "e + t0": busy / c.efficiency.value + launches,
                  "by kind": bounds.predicted}
    return found


def _busy(row: RooflineRow) -> float:
    """Seconds of a run without its launch."""
    return row.upper - dict(row.busy).get("launch", 0.0)
