"""What a faster part of a device would bring."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, load
from costmodel.pictures import Bars
from costmodel.pricing.core import Point
from costmodel.pricing.times import Times, price, unit_of
from costmodel.pricing.workload import policy_of, workload
from costmodel.sheets import Column, Line, Result, Sheet

BOUNDS = ("lower", "upper")
TIMES = (*BOUNDS, "predicted")


class Elasticities(dict[str, float], Result):
    """By figure of a device: the per cent by which time falls if it gets a per cent better."""

    def __init__(self, parts: Mapping[str, float], title: str = "") -> None:
        super().__init__(parts)
        self.title = title

    def sheet(self) -> Sheet:
        """A row a figure."""
        return Sheet(self.title, (Column("figure"), Column("time falls by", "% per %", "ratio")),
                     tuple(Line(name, (part,)) for name, part in self.items()))

    def chart(self) -> Bars:
        """A bar a figure."""
        return Bars(self.title, "per cent of time by a per cent of the figure", "", tuple(self), (("", tuple(self.values())),))

    def __repr__(self) -> str:
        return self.text()

    __str__ = __repr__


def elasticities(point: Point, device: str | Hardware, *, bound: str = "lower", policy: str | None = None) -> Elasticities:
    """How much time follows each figure of a device: the per cent by which time falls if that figure gets a per cent better.

    ``bandwidth`` and the engines' peaks: -∂ log time / ∂ log rate; ``launch``: ∂ log time / ∂ log overhead. They sum to 1, for
    time is a sum of terms each of which is proportional to one of them. At a kernel's ridge the memory is taken to bind. ``link``
    is what is sent, latency and all: of a lower bound all where it binds, else what cannot be hidden. All are 0 of no time.
    """
    if not isinstance(point, Point):
        raise CostModelError("what a faster part brings is asked at a point: elasticities(cost.at(…), device)")
    found = load(device) if isinstance(device, str) else device
    times = price(workload(point.program, policy_of(found, policy)).at(point.env), found)
    seconds = {"bandwidth": times.memory, **times.engines, "launch": np.full_like(times.memory, times.launch)}
    if bound == "lower":
        busiest = np.maximum.reduce([times.memory, *times.units.values()])
        binding = {}
        free = np.full_like(busiest, True, dtype=bool)
        for unit, busy in {"memory": times.memory, **times.units}.items():  # of equals one binds
            binding[unit] = free & (busy == busiest)
            free &= ~binding[unit]
        seconds["bandwidth"] = times.memory * binding["memory"]
        seconds |= {engine: busy * binding[unit_of(found, engine)] for engine, busy in times.engines.items()}
    whole, runs = whole_time(times, bound), times.runs(bound)
    if not whole:
        parts = dict.fromkeys(seconds, 0.0)
    elif bound == "lower" and times.lanes:
        parts = _beside(times, seconds, whole)
    else:
        parts = {name: float((part * runs).sum()) / whole for name, part in seconds.items()}
    return Elasticities(parts, f"{point.name} on {found.name}: what a faster part would bring")


def _beside(times: Times, seconds: dict[str, np.ndarray], whole: float) -> dict[str, float]:
    """Shares of a lower bound where what is sent goes on beside what is computed."""
    if float(times.sending[0]) >= whole:
        return {name: float(name == "link") for name in seconds}
    runs = times.runs("lower") * np.array([[kind != "collective"] for kind in times.kinds])
    found = {name: float((part * runs).sum()) / whole for name, part in seconds.items() if name != "link"}
    return {**found, "link": float(times.exposed()[0]) / whole}


def whole_time(times: Times, bound: str) -> float:
    """Seconds of all runs of all kernels at a point, by a bound of :data:`BOUNDS` or as predicted.

    Raises CostModelError for a prediction on a device without a calibration.
    """
    if bound not in TIMES:
        raise CostModelError(f"a time bound is {' or '.join(TIMES)}; {bound!r} is neither")
    if bound == "predicted" and times.stands is None:
        raise CostModelError(f"{times.device.name} is not calibrated: `costmodel calibrate` measures one, or ask by the bounds")
    return float(times.whole(bound).sum())
