"""A check as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.report.terminal import si

if TYPE_CHECKING:
    from costmodel.bench.run import CheckResult, Prediction


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
        lines += _prediction(result, prediction)
    if result.call_overhead is not None:
        lines.append(f"  call overhead  {si(result.call_overhead, 's')} a call on this device, not in the bounds")
    if result.xla:
        figures = ", ".join(f"{key} {value:.4g}" for key, value in result.xla.items())
        lines.append(f"  XLA's own      {figures} (of the compiled program)")
    where = result.environment
    lines.append(f"  ran on         {where['device']} ({where['platform']}), {where['cpus']} x {where['machine']}, "
                 f"jax {where['jax']}, {where['date']}")
    return "\n".join(lines)


def _prediction(result: CheckResult, p: Prediction) -> list[str]:
    achieved = result.achieved(p)
    return [
        f"  {p.policy:<14} lower {si(p.lower, 's')}, upper {si(p.upper, 's')}; measured / lower {result.median / p.lower:.3g}, "
        f"measured / upper {result.median / p.upper:.3g}",
        f"                 {si(p.flops, 'FLOP')}, {si(p.bytes, 'B')}; achieved {si(achieved, 'FLOP/s')} = "
        f"{100 * p.lower / result.median:.3g}% of the attainable {si(p.attainable, 'FLOP/s')}",
        f"                 {p.verdict(result.median)}",
    ]
