"""What a training step takes of a memory: parameters, the optimizer's state, what is saved for the backward pass, and the rest, as
wholes in closed form and as they are held at the peak; and the largest batch that fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware
from costmodel.memory import liveness, saved
from costmodel.pictures import Bars
from costmodel.pricing.core import Point, Symbolic
from costmodel.pricing.rate import BATCH, counts_examples
from costmodel.pricing.roofline import roofline
from costmodel.rules.work import DONATED_BY_TRAINING, CostTable, total
from costmodel.sheets import Column, Drawn, Facts, Line, Result, Sheet, heads
from costmodel.solve.fits import Fit, largest
from costmodel.symbolic.forms import Expr
from costmodel.text import si

# The parts by name, and what the live profile calls them.
_HELD = {"parameters and state": "parameters", "optimizer state": "optimizer", "inputs and targets": "inputs",
         "saved activations": "activations"}


@dataclass(frozen=True)
class Part:
    """A part of the memory, in bytes: its closed form (None: it has none), its whole at the point, and what of it is held at the
    peak."""

    name: str
    formula: Expr | None
    whole: int | None
    at_peak: int


@dataclass(frozen=True)
class StepMemory(Result):
    """The memory of a training step at a point. The ``at_peak`` of its parts add up to ``peak``.

    parts:  parameters and state, the optimizer's state, inputs, saved activations; gradients, results and temporaries together.
    peak:   the most that is held at once, in bytes.
    where:  the module in which that is.
    policy: which equations share a kernel, and so what never reaches memory.
    carries: whether a loop hands values on, which stand among the activations at the peak: gradients added up over microbatches.
    """

    title: str
    parts: tuple[Part, ...]
    peak: int
    where: str
    policy: str
    carries: bool = False

    def sheet(self) -> Sheet:
        """A row a part: its closed form, its whole, and what of it is held at the peak."""
        columns = (Column("memory"), Column("closed form", "B"), Column("whole", "B", "si"), Column("at the peak", "B", "si", True),
                   Column("share", "of the peak", "share"))
        rows = tuple(Line(p.name, (p.formula, p.whole, p.at_peak, p.at_peak / self.peak)) for p in self.parts)
        note = (f"the peak is in {self.where or '(root)'}, policy {self.policy!r}; parameters and optimizer state are updated in "
                "place")
        carried = ("what a loop carries, such as gradients added up over microbatches, is among the activations at the peak",)
        return Sheet(self.title, columns, rows, (None, None, self.peak, 1.0), (note, *(carried if self.carries else ())))

    def chart(self) -> Bars:
        """What is held at the peak, a bar a part."""
        return Bars(self.title, "bytes at the peak", "B", tuple(p.name for p in self.parts),
                    (("", tuple(float(p.at_peak) for p in self.parts)),))


def step_memory(cost: Symbolic, at: Mapping[str, int], policy: str = "unfused") -> StepMemory:
    """The memory of a training step at a point, under a fusion policy. Raises CostModelError for a program that is none.

    The closed forms are the cost's own; the figures are those of the program that runs at the point.
    """
    point = cost.at(**at)
    if not saved.has_backward(point.program):
        raise CostModelError(f"{cost.name} is no training step: it has no backward pass; {saved.no_backward()}")
    profile = liveness.live_profile(point.program, cost.name, point.evaluate, policy, "program", DONATED_BY_TRAINING)
    highest = profile.highest[0]
    forms, there = _wholes(cost.program), _wholes(point.program)
    parts = [Part(name, cost.domain.in_user_symbols(forms[name]), int(point.evaluate(there[name])), int(highest.split[kind]))
             for name, kind in _HELD.items()]
    rest = sum(int(held) for kind, held in highest.split.items() if kind not in _HELD.values())
    parts.append(Part("gradients, temporaries", None, None, rest))
    return StepMemory(f"{cost.name}: memory of a step", tuple(parts), int(profile.peak), highest.label, policy,
                      bool(point.program.carried))


def _wholes(table: CostTable) -> dict[str, Expr]:
    """Bytes of each part that is held as a whole at some time or other."""
    def received(*origins: str) -> Expr:
        return total(v.bytes for v in table.inputs if v.origin in origins)

    return {"parameters and state": received("parameter", "buffer"), "optimizer state": received("optimizer"),
            "inputs and targets": received("input", "rng"), "saved activations": saved.saved_bytes(table)}


def batch_symbol(cost: Symbolic) -> str:
    """The symbol that counts examples: n, b or batch. Raises CostModelError where there is none."""
    found = counts_examples(cost.symbols)
    if found is None:
        raise CostModelError(f"{cost.name} has no symbol {', '.join(BATCH[:-1])} or {BATCH[-1]} that counts examples: call the "
                             "first dimension of an input so")
    return found


def largest_batch(cost: Symbolic, memory: int | str | Hardware, at: Mapping[str, int], policy: str = "unfused") -> Fit:
    """The largest batch of a training step that a memory holds, with the other symbols as ``at`` has them; parameters and optimizer
    state are updated in place. For the rest see :func:`costmodel.solve.max_fit`."""
    if not isinstance(cost, Symbolic):
        raise CostModelError("the largest batch is asked of formulas: largest_batch(cost, …), with the other symbols in at={…}")
    symbol = batch_symbol(cost)
    return largest(cost, symbol, memory, {name: value for name, value in at.items() if name != symbol}, "live_peak",
                   lambda there: liveness.live_peak(there.program, policy, "program", DONATED_BY_TRAINING))


@dataclass(frozen=True)
class StepTime(Facts):
    """The time of a step on a device: bounds in seconds, what is predicted (by what, else None), examples or tokens a second at the
    bounds, and what binds."""

    ASKED = "time of a step"
    HEADS = heads(lower=Column("time ≥", "s", "si"), upper=Column("time ≤", "s", "si"), predicted=Column("predicted", "s", "si"),
                  basis=Column("predicted by", style="text"), slowest=Column("items at least", "1/s", "rate"),
                  fastest=Column("items at most", "1/s", "rate"), item=Column("item", style="text"),
                  bound=Column("bound by", style="text"))

    device: str
    policy: str
    lower: float
    upper: float
    predicted: float | None
    basis: str
    slowest: float
    fastest: float
    item: str
    bound: str

    def __str__(self) -> str:
        likely = f", predicted {si(self.predicted, 's')} ({self.basis})" if self.predicted is not None else ""
        return (f"{self.device}: {si(self.lower, 's')} to {si(self.upper, 's')} a step{likely}; {self.slowest:.4g} to "
                f"{self.fastest:.4g} {self.item}/s, {self.bound}-bound, policy {self.policy!r}")

    def drawn(self) -> Drawn:
        """Both bounds of the time."""
        return Drawn("time of a step", "time", "s", ((f"{self.device}, lower", self.lower), (f"{self.device}, upper", self.upper)))


def step_time(point: Point, device: Hardware, policy: str | None = None) -> StepTime:
    """The time of a training step at a point, under a fusion policy (by default the device's own)."""
    line = roofline(point, device, policy=policy)
    slow, fast = sorted(line.throughput)
    return StepTime(device.name, line.policy, line.lower, line.upper, line.predicted, line.basis, slow, fast, line.item, line.bound)
