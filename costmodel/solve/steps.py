"""A step of a training plan in closed form: its seconds by what takes them, and the memory of the busiest device.

The forms of :mod:`~costmodel.solve.stages`, multiplied by a stage's layers and composed by a pipeline
(:mod:`costmodel.sharding.pipelines`); gradients are summed over ``data``, and over ``model`` where each device has tokens of its
own, after the last micro-batch, with nothing hidden behind it.
Devices are laid out as Megatron does: tensor parallelism innermost, then data, then the pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from costmodel.hardware import Hardware
from costmodel.pricing.links import Leg
from costmodel.pricing.topology import lay
from costmodel.sharding.pipelines import in_flight, seconds, sends_a_device
from costmodel.solve.rates import Rates
from costmodel.solve.stages import FIRST, LAST, Part, Stages
from costmodel.symbolic import printers
from costmodel.symbolic.forms import symbol

GIB = 2**30
WIDTH = 2  # bytes of an activation between stages


@dataclass(frozen=True)
class Plan:
    """How a model is trained on devices.

    data, tensor, pipeline: devices along each axis; their product is how many there are.
    chunks:     of layers a device, one behind the other round the pipeline; 1: not interleaved.
    microbatch: sequences; ``global_batch`` of all devices in a step.
    recompute:  a kind that the stack knows.
    zero:       what of the weights' memory is split over ``data``: 0 nothing, 1 the optimizer's state and master copies, 2
                gradients too, 3 the parameters too (Rajbhandari et al., SC 2020).
    """

    data: int
    tensor: int
    pipeline: int
    chunks: int
    microbatch: int
    global_batch: int
    recompute: str = "none"
    zero: int = 0

    @property
    def microbatches(self) -> int:
        """How many each pipeline runs."""
        return self.global_batch // (self.data * self.microbatch)

    @property
    def schedule(self) -> str:
        """The pipeline's."""
        return "interleaved" if self.chunks > 1 else "1f1b"


@dataclass(frozen=True)
class StepCost:
    """A step: seconds by what takes them, and bytes that the busiest device holds, by what for; ``chunks``: numbers of them that
    are about as fast, the plan's own first."""

    plan: Plan
    by: dict[str, float]
    held: dict[str, float]
    chunks: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds of the whole step."""
        return sum(self.by.values())

    @property
    def bytes(self) -> float:
        """Bytes that the busiest device holds."""
        return sum(self.held.values())

    @property
    def binds(self) -> str:
        """What takes most of the step, with its share, and what after it."""
        first, second = sorted(self.by, key=lambda name: -self.by[name])[:2]
        return f"{first} {100 * self.by[first] / self.seconds:.0f} %, {second} {100 * self.by[second] / self.seconds:.0f} %"


class Composer:
    """Composes steps of a stack on a device. What is the same in many plans is computed once."""

    def __init__(self, stages: Stages, rates: Rates, **sizes: int) -> None:
        self.stages, self.rates, self.sizes = stages, rates, sizes
        self.layers = stages.stack.layers
        self._parts: dict[tuple[int, int], tuple[dict[str, Part], dict[str, dict[str, float]]]] = {}

    def prepare(self, microbatches: Sequence[int], tensor: int) -> None:
        """Evaluates the forms for several sizes of micro-batch at once."""
        wanted = np.array([b for b in microbatches if (b, tensor) not in self._parts])
        if not len(wanted):
            return
        parts = self.stages.at(wanted, tensor, **self.sizes)
        legs = _legs(self.rates.on, 1, 1, tensor)["tensor"]
        times = {name: self.rates.part(part, legs) for name, part in parts.items()}
        for i, b in enumerate(wanted.tolist()):
            self._parts[b, tensor] = ({name: _entry(part, i) for name, part in parts.items()},
                                      {name: {what: float(t[i]) for what, t in each.items()} for name, each in times.items()})

    def cost(self, plan: Plan, layers: int | None = None) -> StepCost:
        """The step of a plan; ``layers`` in place of the stack's."""
        self.layers = layers or self.stages.stack.layers
        self.prepare([plan.microbatch], plan.tensor)
        parts, times = self._parts[plan.microbatch, plan.tensor]
        return StepCost(plan, self._seconds(plan, parts, times), self._held(plan, parts))

    def times(self, microbatch: int, tensor: int) -> dict[str, dict[str, float]]:
        """Seconds of each part for a micro-batch, by what takes them."""
        self.prepare([microbatch], tensor)
        return self._parts[microbatch, tensor][1]

    def held(self, plan: Plan) -> float:
        """Bytes of the busiest device of a plan."""
        self.prepare([plan.microbatch], plan.tensor)
        return sum(self._held(plan, self._parts[plan.microbatch, plan.tensor][0]).values())

    def _seconds(self, plan: Plan, parts: dict[str, Part], times: dict[str, dict[str, float]]) -> dict[str, float]:
        p, m = plan.pipeline, plan.microbatches
        legs = _legs(self.rates.on, p, plan.data, plan.tensor)
        here = self.layers / p
        each = sum(times[plan.recompute].values()) * here
        first, last = sum(times[FIRST].values()), sum(times[LAST].values())
        ends = first + last if p == 1 else max(first, last)
        whole = _pipeline(p, m, plan.chunks, each, each + ends) + (min(first, last) if p > 1 else 0.0)
        busy = m * (each + ends)
        by = {what: m * (here * times[plan.recompute][what] + ends * _share(times, what)) for what in times[FIRST]}
        by["bubble"] = whole - busy
        by["sends"] = self._sends(plan, legs)
        by["data"] = self._gradients(plan, parts, legs)
        by["update"] = self.rates.moving(self._params(plan, parts) * self.stages.parameter.update) / (plan.data if plan.zero else 1)
        by["step"] = self.rates.step
        return by

    def _sends(self, plan: Plan, legs: dict[str, tuple[Leg, ...]]) -> float:
        """Between stages each of the ``tensor`` devices sends its part, which the others gather where the sequence is not split."""
        if plan.pipeline == 1:
            return 0.0
        sizes = {**self.stages.stack.at, **self.sizes}
        whole = WIDTH * plan.microbatch * float(np.prod([sizes[name] for name in self.stages.stack.sent]))
        once = self.rates.sending("permute", whole / plan.tensor, legs["pipeline"])
        if not self.stages.sequence_parallel:
            once += self.rates.sending("all_gather", whole * (1 - 1 / plan.tensor), legs["tensor"])
        return _messages(plan.pipeline, plan.microbatches, plan.chunks) * once

    def _gradients(self, plan: Plan, parts: dict[str, Part], legs: dict[str, tuple[Leg, ...]]) -> float:
        here = parts[plan.recompute].gradients * self.layers / plan.pipeline + _ends(plan, parts, "gradients")
        around = here * (1 - 1 / plan.data)

        def over_data(kind: str, times: float = 1.0) -> float:
            return times * self.rates.sending(kind, around * (2 if kind == "all_reduce" else 1), legs["data"])

        found = 0.0
        if plan.zero < 2:
            found = over_data("all_reduce")
        elif plan.zero == 2:
            found = over_data("reduce_scatter", plan.microbatches) + over_data("all_gather")
        else:
            found = over_data("reduce_scatter", plan.microbatches) + over_data("all_gather", 2 * plan.microbatches)
        if plan.tensor > 1:  # at once, as what it has of each is little
            shared = parts[plan.recompute].shared * self.layers / plan.pipeline + _ends(plan, parts, "shared")
            found += self.rates.sending("all_reduce", shared, legs["tensor"]) if shared else 0.0
        if plan.pipeline > 1 and self.stages.stack.shared_table:  # the first and the last stage sum its gradients
            found += self.rates.sending("all_reduce", parts[LAST].gradients, legs["pipeline"])
        return found

    def _params(self, plan: Plan, parts: dict[str, Part]) -> float:
        """Elements of parameters of the stage that has most: an end."""
        return parts[plan.recompute].params * self.layers / plan.pipeline + _ends(plan, parts, "params")

    def _held(self, plan: Plan, parts: dict[str, Part]) -> dict[str, float]:
        parameter = self.stages.parameter
        p, split = plan.pipeline, [plan.data if plan.zero >= level else 1 for level in (3, 2, 1)]
        count, here = self._params(plan, parts), self.layers / p
        layer, whole = parts[plan.recompute].kept, max(part.kept for part in parts.values() if part is not parts[LAST])
        ends = {0: parts[FIRST].kept, p - 1: parts[LAST].kept} if p > 1 else {0: parts[FIRST].kept + parts[LAST].kept}
        kept = max(_flight(p, plan.microbatches, plan.chunks, stage) * (here * layer + (own if stage == 0 else 0))
                   + (own if stage else 0) for stage, own in ends.items())
        gathered = parts[plan.recompute].params * parameter.copy * (1 - 1 / split[0])
        return {"weights": count * (parameter.copy / split[0] + parameter.master / split[2]),
                "gradients": count * parameter.gradient / split[1], "optimizer": count * parameter.state / split[2],
                "activations": kept, "one layer's": max(whole - layer, 0.0) + gathered}


def _ends(plan: Plan, parts: dict[str, Part], what: str) -> float:
    """Of both ends where they are one stage, else of the larger."""
    both = [getattr(parts[end], what) for end in (FIRST, LAST)]
    return sum(both) if plan.pipeline == 1 else max(both)


def _entry(part: Part, i: int) -> Part:
    return Part((), (), float(part.moved[i]), part.kernels, float(part.kept[i]), float(part.params[i]), float(part.gradients[i]),
                float(part.shared[i]))


def _share(times: dict[str, dict[str, float]], what: str) -> float:
    """The part of the ends' seconds that this takes."""
    both = [times[FIRST][what] + times[LAST][what], sum(times[FIRST].values()) + sum(times[LAST].values())]
    return both[0] / both[1] if both[1] else 0.0


@cache
def _legs(device: Hardware, pipeline: int, data: int, tensor: int) -> dict[str, tuple[Leg, ...]]:
    layout = lay(device, {"pipeline": pipeline, "data": data, "tensor": tensor})
    return {axis: layout.over((axis,)) for axis in ("pipeline", "data", "tensor")}


@cache
def _forms() -> dict[str, Any]:
    """The closed forms of pipelines, compiled."""
    p, m, v, i, t, slowest = map(symbol, ("p", "m", "v", "i", "t", "slowest"))
    def compiled(expr: Any, *names: Any) -> Any:
        return printers.compile([expr], list(names), backend="numpy")

    return {"seconds": compiled(seconds("interleaved", p, m, t, v, slowest), p, m, v, t, slowest),
            "plain": compiled(in_flight("1f1b", p, m, stage=i), p, m, i),
            "interleaved": compiled(in_flight("interleaved", p, m, v, i), p, m, v, i),
            "sends": compiled(sends_a_device("interleaved", p, m, v), p, m, v)}


def _pipeline(p: int, m: int, v: int, each: float, slowest: float) -> float:
    return float(_forms()["seconds"](p, m, v, each, slowest)[0])


@cache
def _flight(p: int, m: int, v: int, stage: int) -> float:
    found = _forms()["interleaved"](p, m, v, stage) if v > 1 else _forms()["plain"](p, m, stage)
    return float(found[0])


@cache
def _messages(p: int, m: int, v: int) -> float:
    return float(_forms()["sends"](p, m, v)[0])
