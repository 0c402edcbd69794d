"""Where the bound flips along a figure of the device: the bandwidth, or the peak, at which memory and compute take as long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sympy import Expr

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, load
from costmodel.pricing.closed import free_clock
from costmodel.pricing.core import Symbolic
from costmodel.pricing.figures import figure_of, figure_symbol, units_of
from costmodel.sheets import Column, Drawn, Facts, heads
from costmodel.symbolic.forms import Symbol, evaluate
from costmodel.text import si


@dataclass(frozen=True)
class FigureCrossover(Facts):
    """The value of a device's figure at which memory and the busiest other resource are busy as long, all else as it is.

    answer:  in base units; None where no value of it makes them so.
    own:     the device's value.
    above:   what is busy longest for larger values, and ``below`` for smaller ones.
    """

    ASKED = "where the bound flips"
    HEADS = heads(answer=Column("from"), own=Column("the device has"), above=Column("bound above", style="text"),
                  below=Column("bound below", style="text"))

    figure: str
    unit: str
    answer: float | None
    own: float
    above: str
    below: str

    def drawn(self) -> Drawn:
        """The figure at which the bound flips, and the device's own."""
        flips = (("where the bound flips", self.answer),) if self.answer is not None else ()
        return Drawn(f"Where the bound flips along {self.figure}", self.figure, self.unit, (*flips, ("the device has", self.own)))

    def __str__(self) -> str:
        if self.answer is None:
            return f"{self.figure}: {self.below} is busy longest at every value; the device has {si(self.own, self.unit)}"
        return (f"{self.figure} = {si(self.answer, self.unit)}: {self.above}-bound above, {self.below}-bound below; the device has "
                f"{si(self.own, self.unit)}")


def figure_crossover(cost: Symbolic, figure: str, device: str | Hardware, *, at: Mapping[str, int],
                     policy: str | None = None) -> FigureCrossover:
    """Where the bound flips along "bandwidth" or a peak such as "matrix.bfloat16", at a point of the symbols.

    Raises CostModelError for another figure, and for a program with branches of which one side counts.
    """
    found = device if isinstance(device, Hardware) else load(device)
    own = figure_of(found, figure)
    if figure not in ("bandwidth", *(f"{engine}.{dtype}" for engine, dtype in found.peaks)):
        raise CostModelError(f"the bound flips along bandwidth or a peak of {found.name}, such as matrix.bfloat16, not {figure!r}")
    point = cost.at(**at)
    clock = free_clock(point.cost, found, (figure,), policy)
    if clock.chosen:
        raise CostModelError(f"{cost.name} has branches, of which another may count at another {figure}; price each device")
    rate, unit = figure_symbol(figure), units_of(figure)[0]
    busy = {name: _inverse(clock.busy(name).expand().coeff(rate, -1), clock.busy(name).expand().coeff(rate, 0), point.env)
            for name in clock.units if name != "launch"}
    if figure == "bandwidth":
        most = max((constant, name) for name, (_, constant) in busy.items() if name != "memory") if len(busy) > 1 else (0.0, "")
        answer = busy["memory"][0] / most[0] if most[0] else None
        return FigureCrossover(figure, unit, answer, own, most[1], "memory")
    memory = busy["memory"][1]
    slope, constant, name = max((s, c, name) for name, (s, c) in busy.items())
    answer = slope / (memory - constant) if slope and memory > constant else None
    return FigureCrossover(figure, unit, answer, own, "memory", name if slope else "memory")


def _inverse(slope: Expr, constant: Expr, env: Mapping[Symbol, int]) -> tuple[float, float]:
    """Seconds as slope / rate + constant, at a point."""
    return float(evaluate(slope, env)), float(evaluate(constant, env))
