"""A sweep that is ready to run: its plan, its grid, and what any chunk of it comes to."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from costmodel.hardware import Hardware
from costmodel.pricing.core import Symbolic
from costmodel.pricing.figures import figure_symbol, units_of
from costmodel.pricing.grid.axes import Grid, bind
from costmodel.pricing.grid.build import chunk_values, plan_of, variable
from costmodel.pricing.grid.plan import Plan, sheet_of
from costmodel.pricing.grid.pointwise import Part
from costmodel.pricing.grid.regions import elsewhere
from costmodel.pricing.rate import item_of
from costmodel.pricing.workload import metrics as metric_registry
from costmodel.pricing.workload import policy_of, working
from costmodel.symbolic.blocks import Slices, chunk_shape

CHUNK = 2**21  # points that are computed at once: what depends on fewer axes is computed once for them
_POINTS = "points of another program"
_NARROW = 2**16  # so many points of the inner axes may be held whole

# Variables of devices: unit, convention.
TIMED = {
    "time_lower": {"unit": "s"}, "time_upper": {"unit": "s"},
    "time_predicted": {"unit": "s"},
    "throughput": {"unit": "items/s", "convention": "at best"},
    "bound": {"convention": "the resource that is busy longest in total"},
    "energy": {"unit": "J", "convention": "of stated energies; else full power for the upper bound of the time"},
}


@dataclass(frozen=True, eq=False)
class Patch:
    """Places at which another program holds, as indices on the symbols' axes, and the variables there: (place), or of those of a
    device (device, place, figures)."""

    count: int
    indices: tuple[np.ndarray, ...]
    values: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Job:
    """A sweep over a grid.

    figures: values of the devices' figures that are axes, by symbol; ``devices`` the labels of the axis "hardware".
    patches: what each variable is where another program holds.
    about:   attributes of each variable; ``attrs`` those of the whole.
    """

    plan: Plan
    grid: Grid
    figures: Mapping[str, np.ndarray]
    devices: tuple[str, ...]
    patches: tuple[Patch, ...]
    about: Mapping[str, Mapping[str, str]]
    attrs: Mapping[str, str]

    @cached_property
    def text(self) -> str:
        """The plan as it goes to other processes."""
        return self.plan.to_json()

    @property
    def policies(self) -> tuple[str, ...]:
        """The fusion policy on each device."""
        return tuple(clock["policy"] for clock in self.plan.clocks)

    @property
    def stands(self) -> tuple[str, ...]:
        """What each device's predictions stand on, in words."""
        return tuple(clock["stands"] for clock in self.plan.clocks)

    @cached_property
    def lengths(self) -> dict[str, int]:
        """The length of every axis; "hardware" is not among the axes that are cut."""
        return {**{name: len(a) for name, a in self.grid.axes.items()}, **{name: len(a) for name, a in self.figures.items()}}

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis that is cut."""
        return tuple(self.lengths.values())

    @property
    def count(self) -> int:
        """How many points the grid has."""
        return prod(self.shape)

    def full_shape(self, name: str) -> tuple[int, ...]:
        """The shape of a variable on the whole grid."""
        lengths = {**self.lengths, "hardware": len(self.devices)}
        return tuple(lengths[axis] for axis in self.plan.dims(name))

    def index(self, name: str, slices: Slices) -> tuple[slice, ...]:
        """Where a chunk stands in a variable."""
        return (slice(None), *slices) if "hardware" in self.plan.dims(name) else slices[:len(self.grid.axes)]

    @cached_property
    def coords(self) -> dict[str, np.ndarray]:
        """The values along every axis that is cut."""
        return {**self.grid.axes, **self.figures}

    @cached_property
    def figure_arrays(self) -> dict[str, np.ndarray]:
        """The figures as they broadcast."""
        rank = len(self.shape)
        return {name: a.reshape([-1 if j == len(self.grid.axes) + i else 1 for j in range(rank)])
                for i, (name, a) in enumerate(self.figures.items())}

    def chunk_lengths(self, most: int = CHUNK) -> tuple[int, ...]:
        """Chunks of so many points: whole rows of a grid whose inner axes are short, else as near to a cube as it goes."""
        shape = self.shape
        inner = prod(shape[1:])
        if shape and inner <= min(_NARROW, most):
            return (max(1, min(shape[0], most // inner)), *shape[1:])
        return chunk_shape(shape, most)

    def chunks(self, lengths: Sequence[int]) -> Iterator[Slices]:
        """The grid cut into chunks, in order."""
        starts = [range(0, length, step) for length, step in zip(self.shape, lengths, strict=True)]
        for place in np.ndindex(*(len(r) for r in starts)):
            yield tuple(slice(r[i], min(r[i] + step, length))
                        for r, i, step, length in zip(starts, place, lengths, self.shape, strict=True))

    def values(self, slices: Slices) -> dict[str, np.ndarray]:
        """The variables of the plan on a chunk, broadcastable."""
        return chunk_values(self.grid, self.figure_arrays, slices)

    def chunk(self, slices: Slices, into: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Every variable on a chunk."""
        shape = tuple(s.stop - s.start for s in slices)
        found = sheet_of(self.text).chunk(self.values(slices), shape, into)
        apply(self.patches_in(slices), found)
        return found

    def patches_in(self, slices: Slices) -> list[Patch]:
        """The patches inside a chunk, at their places there."""
        rank = len(self.grid.axes)
        own, rest = slices[:rank], slices[rank:]
        found = []
        for patch in self.patches:
            inside = np.ones(patch.count, dtype=bool)
            for indices, s in zip(patch.indices, own, strict=True):
                inside &= (indices >= s.start) & (indices < s.stop)
            if inside.any():
                found.append(Patch(int(inside.sum()), tuple(i[inside] - s.start for i, s in zip(patch.indices, own, strict=True)),
                                   {name: a[:, inside][(slice(None), slice(None), *rest)] if name in TIMED else a[inside]
                                    for name, a in patch.values.items()}))
        return found

    def labels(self, name: str, values: np.ndarray) -> np.ndarray:
        """A variable as people read it: ``bound`` by name."""
        return np.asarray(np.array(self.plan.units)[values]) if name == "bound" else values


def apply(patches: Iterable[Patch], found: Mapping[str, np.ndarray]) -> None:
    """Write patches into the variables of a chunk."""
    for patch in patches:
        for name, values in patch.values.items():
            if name in TIMED:
                place: tuple[Any, ...] = (slice(None), *patch.indices)
                found[name][place] = values if patch.indices else values[:, 0]
            else:
                found[name][patch.indices] = values if patch.indices else values[0]


def prepare(cost: Symbolic, grid: Mapping[str, Any], metrics: Sequence[str], devices: Sequence[Hardware], labels: Sequence[str],
            policy: str | None, vary: Mapping[str, np.ndarray] | None = None) -> Job:
    """A sweep, bound and planned; places where another program holds are traced."""
    figures = vary or {}
    for device in devices:
        working(cost.program, policy_of(device, policy))
    bound = bind(cost.domain, grid, len(figures))
    plan = plan_of(cost, bound, metrics, devices, policy, tuple(figures))
    others = [_there(part, metrics, devices, policy, figures) for part in elsewhere(cost, bound)]
    units = tuple(dict.fromkeys([*plan.units, *(unit for units, _, _ in others for unit in units)]))
    patches = tuple(Patch(len(places), tuple(np.unravel_index(places, bound.shape)) if bound.shape else (),
                          _renamed(values, its, units)) for its, places, values in others)
    about = {variable(name): {"unit": found.unit, "convention": found.convention}
             for name in metrics if name != "energy" for found, _ in [metric_registry.get_form(name)]}
    axes = {figure_symbol(name).name: a for name, a in figures.items()}
    timed = {name: TIMED[name] for name in plan.variables if name in TIMED}
    if timed:
        basis = "; ".join(f"{label}: {clock['stands']}" for label, clock in zip(labels, plan.clocks, strict=True))
        timed["time_predicted"] = {**TIMED["time_predicted"], "convention": basis}
        timed["throughput"] = {**TIMED["throughput"], "unit": f"{item_of(cost.tokens)}/s"}
    about |= {figure_symbol(name).name: {"unit": units_of(name)[0]} for name in figures}
    fixed = ", ".join(f"{name}={values}" for name, values in grid.items() if isinstance(values, int | np.integer | str))
    return Job(replace(plan, units=units), bound, axes, tuple(labels), patches, {**about, **timed},
               {"model": cost.name, "domain": str(cost.domain) or "no symbols", **({"at": fixed} if fixed else {})})


def _there(part: Part, metrics: Sequence[str], devices: Sequence[Hardware], policy: str | None,
           figures: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], np.ndarray, dict[str, np.ndarray]]:
    """What binds, the places, and every variable at points of another program, which are one axis."""
    points, rank = part.points, len(figures)
    arrays = {**points.values, **{s.name: a for s, a in points.env.items()}}
    numbers = {name: a.reshape([-1, *[1] * rank]) for name, a in arrays.items()}
    grid = Grid(part.cost.domain, {_POINTS: np.arange(len(points))}, numbers, numbers)
    plan = plan_of(part.cost, grid, metrics, devices, policy, tuple(figures))
    job = Job(plan, grid, {figure_symbol(name).name: a for name, a in figures.items()}, (), (), {}, {})
    return plan.units, points.places, job.chunk(tuple(slice(0, n) for n in job.shape))


def _renamed(values: Mapping[str, np.ndarray], units: Sequence[str], all_units: Sequence[str]) -> dict[str, np.ndarray]:
    """The codes of what binds, in the order of the whole sweep."""
    codes = np.array([all_units.index(unit) for unit in units], dtype=np.int8)
    return {name: codes[a] if name == "bound" else a for name, a in values.items()}


def tracked(chunks: Sequence[Slices], what: str) -> Iterator[Slices]:
    """The chunks, with a bar on a terminal while they last."""
    if len(chunks) < 2 or not sys.stderr.isatty():
        yield from chunks
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(chunks, description=what, console=Console(stderr=True), transient=True)


__all__ = ["CHUNK", "TIMED", "Job", "Patch", "apply", "prepare", "tracked"]
