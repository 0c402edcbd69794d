"""The fastest ways to train a stack on so many devices, of all factorizations: closed forms, evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, load
from costmodel.pictures import Bars
from costmodel.sheets import Column, Line, Result, Sheet
from costmodel.solve.fits import capacity
from costmodel.solve.rates import Rates, rates_of
from costmodel.solve.stack import Stack
from costmodel.solve.stages import Stages
from costmodel.solve.steps import GIB, Composer, Plan, StepCost
from costmodel.surface import option, said
from costmodel.text import si

ZERO = (0, 1, 2, 3)
MOST = 2**20  # devices, sequences a step or plans: every divisor is tried
NEAR = 0.05  # of a step: other numbers of chunks that are told


@dataclass(frozen=True)
class Plans(Result):
    """The fastest plans that fit, the fastest first, and how many were tried and how many fit."""

    title: str
    best: tuple[StepCost, ...]
    tried: int
    fitting: int
    words: str

    def __iter__(self) -> Iterator[StepCost]:
        return iter(self.best)

    def __len__(self) -> int:
        return len(self.best)

    def sheet(self) -> Sheet:
        """A row a plan; of chunks the best number, then those within 5 %."""
        columns = (Column("dp"), Column("tp"), Column("pp"), Column("chunks"), Column("micro-batch"),
                   Column("recompute", style="text"), Column("ZeRO"), Column("step", "s", "si"), Column("memory", "GiB", "ratio"),
                   Column("bubble", "of the step", "share"), Column("what binds", style="text"))
        rows = tuple(Line(str(c.plan.data), (c.plan.tensor, c.plan.pipeline, ",".join(map(str, c.chunks)), c.plan.microbatch,
                                             c.plan.recompute, c.plan.zero, c.seconds, c.bytes / GIB, c.by["bubble"] / c.seconds,
                                             c.binds)) for c in self.best)
        return Sheet(self.title, columns, rows, (), (f"{self.tried:,} plans, {self.fitting:,} fit; {self.words}",),
                     keys=3)

    def chart(self) -> Bars:
        """The step's time by what takes it, a bar a plan."""
        parts = dict.fromkeys(part for cost in self.best for part, seconds in cost.by.items() if seconds)
        rows = tuple(f"dp{p.data} tp{p.tensor} pp{p.pipeline} mb{p.microbatch} {p.recompute} Z{p.zero}"
                     for p in (cost.plan for cost in self.best))
        return Bars(self.title, "time of a step", "s", rows, tuple((part, tuple(c.by.get(part, 0.0) for c in self.best))
                                                                   for part in parts))

    def as_dict(self) -> dict[str, Any]:
        """The plans as JSON has them: seconds and bytes, whole and by what takes them."""
        return {"title": self.title, "tried": self.tried, "fit": self.fitting, "words": self.words,
                "plans": [{**asdict(c.plan), "seconds": c.seconds, "bytes": c.bytes, "seconds_by": c.by, "bytes_by": c.held,
                           "chunks_within_5_percent": c.chunks}
                          for c in self.best]}


def plan(model: Any, *, devices: int, hw: str | Hardware, global_batch: int, count: int = 10,
         memory: int | str | None = None) -> Plans:
    """The fastest plans of a training step that fit, of all (dp, tp, pp, chunks, micro-batch, recomputation, ZeRO level).

    model:        a zoo model that is a stack of layers (``cm.model("megatron_175b")``), or a :class:`Stack`.
    devices:      how many there are; tensor parallelism is laid innermost, and splits the sequence too.
    hw:           a device, by name or as a file.
    global_batch: sequences a step.
    count:        how many plans are given.
    memory:       bytes a device, or a size as "80GB", in place of the device's own.

    Raises CostModelError where the model is no stack, for numbers below 1 or above :data:`MOST`, and where no plan fits.
    """
    stack = _stack(model)
    for name, number in (("devices", devices), ("global_batch", global_batch), ("count", count)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise CostModelError(f"{option(name, number)} must be an integer of at least 1")
        if number > MOST:
            raise CostModelError(f"{option(name, number)} is more than {MOST:,}, of which no plans are tried")
    device = load(hw) if isinstance(hw, str) else hw
    room, rates = capacity(device if memory is None else memory), rates_of(device)
    candidates = list(_candidates(stack, devices, global_batch))
    if not candidates:
        raise CostModelError(f"no factorization of {devices} devices divides {stack.layers} layers, {stack.at[stack.shared]} heads "
                             f"and a global batch of {global_batch}: give a multiple of the devices as the batch, or fewer devices")
    fitting, least = _evaluated(stack, rates, candidates, room)
    if not fitting:
        raise CostModelError(f"{stack.name} does not fit {devices} x {device.name}: the smallest of {len(candidates)} plans takes "
                             f"{least / GIB:.1f} GiB of {_gib(room)} a device; give more devices")
    fitting.sort(key=lambda cost: (cost.seconds, cost.plan.zero, cost.bytes))
    title = f"{stack.name} on {devices} x {device.name}, {global_batch} sequences a step"
    return Plans(title, tuple(_distinct(fitting, count)), len(candidates), len(fitting), f"times {rates.words}")


def _distinct(costs: list[StepCost], count: int) -> Iterator[StepCost]:
    """Of each (dp, tp, pp, micro-batch, recomputation) the fastest ZeRO level and number of chunks, with the other numbers that are
    nearly as fast; the fastest first."""
    found: dict[tuple[Any, ...], list[StepCost]] = {}
    for cost in costs:
        p = cost.plan
        found.setdefault((p.data, p.tensor, p.pipeline, p.microbatch, p.recompute), []).append(cost)
    for best, *others in list(found.values())[:count]:
        near = [o.plan.chunks for o in others if o.plan.zero == best.plan.zero and o.seconds <= (1 + NEAR) * best.seconds]
        yield replace(best, chunks=tuple(dict.fromkeys((best.plan.chunks, *near))))


def _evaluated(stack: Stack, rates: Rates, candidates: list[Plan], room: int) -> tuple[list[StepCost], float]:
    """The plans that fit, and the bytes of the one that takes least."""
    composer = Composer(Stages(stack, stack.sequence_parallel), rates)
    for tensor in sorted({p.tensor for p in candidates}):
        composer.prepare(sorted({p.microbatch for p in candidates if p.tensor == tensor}), tensor)
    fitting, least = [], float("inf")
    for candidate in candidates:
        held = composer.held(candidate)
        least = min(least, held)
        if held <= room:
            fitting.append(composer.cost(candidate))
    return fitting, least


def _stack(model: Any) -> Stack:
    if isinstance(model, Stack):
        return model
    made = getattr(model, "stack", None)
    if isinstance(model, str):
        raise CostModelError(f"{model!r} is a name: give cm.model({model!r}), or a costmodel.solve.Stack")
    if made is None:
        raise CostModelError(f"{getattr(model, 'name', model)!r} does not say how it is trained over a mesh: plans are made of "
                             "models that are a stack of layers, such as megatron_175b"
                             + said(", or of a costmodel.solve.Stack of your own", ""))
    return made()


def _candidates(stack: Stack, devices: int, batch: int) -> Iterator[Plan]:
    for tensor in _divisors(devices):
        if stack.at[stack.shared] % tensor:
            continue
        for pipeline in _divisors(devices // tensor):
            data = devices // (tensor * pipeline)
            if stack.layers % pipeline or batch % data:
                continue
            for microbatch in _divisors(batch // data):
                count = batch // (data * microbatch)
                interleaved = pipeline > 1 and count % pipeline == 0
                for chunks in _divisors(stack.layers // pipeline) if interleaved else (1,):
                    for recompute in stack.layers_of:
                        for zero in ZERO if data > 1 else (0,):
                            yield Plan(data, tensor, pipeline, chunks, microbatch, batch, recompute, zero)


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def _gib(room: float) -> str:
    """Bytes in GiB, those that are less than a tenth as they are."""
    return f"{room / GIB:.1f} GiB" if room >= GIB / 10 else si(room, "B")
