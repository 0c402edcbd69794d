"""Utilisation: what part of a device's peak a measured time uses, each count named."""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Integer

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware
from costmodel.pricing.core import Point
from costmodel.pricing.times import runs_as, strictest
from costmodel.rules.params import Contraction
from costmodel.rules.work import OpKind, total
from costmodel.text import si

BACKWARD = 3  # a training step does the products of the forward pass, and two more for each of them


@dataclass(frozen=True)
class Count:
    """A count of floating-point operations by a named convention."""

    name: str
    flops: int


@dataclass(frozen=True)
class Utilisation:
    """Counts of one call over its measured ``seconds`` and the ``peak`` (FLOP/s) of the type that runs."""

    name: str
    device: Hardware
    seconds: float
    runs_as: str
    peak: float
    counts: tuple[Count, ...]

    def part(self, count: Count) -> float:
        """Of the peak."""
        return count.flops / self.seconds / self.peak

    def __str__(self) -> str:
        lines = [f"{self.name} in {si(self.seconds, 's')} on {self.device.title}: peak {self.runs_as} {si(self.peak, 'FLOP/s')}"]
        lines += [f"  {100 * self.part(c):5.1f} %  {si(c.flops / self.seconds, 'FLOP/s'):>12}  {si(c.flops, 'FLOP'):>11}  {c.name}"
                  for c in self.counts]
        return "\n".join(lines)


def utilisation(point: Point, device: Hardware, seconds: float, dtype: str | None = None, *, train: bool = False) -> Utilisation:
    """Of a forward pass, or with ``train`` of a training step, which does three times its products.

    dtype: whose peak counts; by default the type of most of the products.
    """
    if not seconds > 0:
        raise CostModelError(f"a time of {seconds:g} s measures nothing: give a positive one, such as 3.2ms")
    macs = {kind: int(point.evaluate(total(parts))) for kind, parts in _products(point).items()}
    if not macs:
        raise CostModelError(f"{point.name} multiplies no matrices: there is no peak that it could use")
    main = max(macs, key=lambda kind: macs[kind])
    factor, told = (BACKWARD, "forward and backward") if train else (1, "forward")
    exact = 2 * factor * sum(macs.values())
    counts = [Count(f"exact products, {told}, padding taps apart", exact)]
    if not train:
        counts.append(Count("exact products and elementwise arithmetic", int(point.metric("flops", taps="valid"))))
    counts += _convention(point, factor)
    peak = device.peak("matrix", dtype or main.dtype, None if dtype else strictest(main.precision))
    runs = runs_as(device, main)
    named = dtype or (runs if runs == main.dtype else f"{main.dtype} as {runs}")
    return Utilisation(point.name, device, seconds, named, peak, tuple(counts))


def _products(point: Point) -> dict[OpKind, list]:
    found: dict[OpKind, list] = {}
    for e in point.program:
        for kind, _, valid in e.work.ops:
            if kind.name == "mac" and kind.engine == "matrix":
                found.setdefault(kind, []).append(valid * e.times)
    return found


def _convention(point: Point, factor: int) -> list[Count]:
    """What papers count, where there are tokens: 2N a token, and attention's products; three times that in training."""
    tokens = next((v.array.size for v in point.program.inputs if v.origin == "input" and v.array.dtype.startswith("int")), None)
    if tokens is None:
        return []
    scores = total([valid * e.times for e in point.program for kind, _, valid in e.work.ops
                    if kind.name == "mac" and isinstance(e.params, Contraction) and e.params.batch[0]] or [Integer(0)])
    flops = factor * (2 * int(point.metric("params")) * int(point.evaluate(tokens)) + 2 * int(point.evaluate(scores)))
    name = "6N + 12·L·H·Q·T a token" if factor == BACKWARD else "2N + 4·L·H·Q·T a token"
    return [Count(f"{name}: N all parameters, L layers, H heads of Q, T tokens, attention dense", flops)]
