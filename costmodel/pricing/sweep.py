"""Metrics and times over a grid of symbols and of a device's figures: formulas are factored over the axes and computed block by
block; the result is an xarray.Dataset, lazy or not, a store on the disk, or an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, load
from costmodel.pricing.core import Symbolic
from costmodel.pricing.grid.job import Job, prepare, tracked
from costmodel.pricing.roofline import batch
from costmodel.text import grid, printed, si, titled


def sweep(cost: Symbolic, grid: Mapping[str, Any], *, metrics: Sequence[str], hardware: Sequence[Any], policy: str | None) -> Any:
    """An xarray.Dataset with one dimension a swept symbol, one variable a metric, and by hardware time_lower, time_upper,
    throughput and bound; each device under ``policy``, or else under its own.

    grid: a symbol's values (range, list or array), one integer (no dimension then), or the name of another symbol to follow.
    Raises DomainError for a grid that leaves the domain, naming a point outside.
    """
    labels, devices = _devices(hardware)
    return dataset(prepare(cost, grid, metrics, devices, labels, policy))


def _devices(hardware: Any) -> tuple[list[str], list[Hardware]]:
    """The labels of devices, and the devices."""
    asked = (hardware,) if isinstance(hardware, str | Hardware) else tuple(hardware)
    return [h if isinstance(h, str) else h.name for h in asked], [load(h) if isinstance(h, str) else h for h in asked]


def _xarray() -> Any:
    try:
        import xarray
    except ImportError:
        raise CostModelError("sweep needs xarray: pip install 'jax-costmodel[sweep]'") from None
    return xarray


def arrays(job: Job) -> dict[str, np.ndarray]:
    """Every variable on the whole grid."""
    whole = {name: np.empty(job.full_shape(name), job.plan.dtype(name)) for name in job.plan.variables}
    for slices in tracked(list(job.chunks(job.chunk_lengths())), "sweep"):
        job.chunk(slices, {name: a[job.index(name, slices)] for name, a in whole.items()})
    return whole


def dataset(job: Job, variables: Mapping[str, Any] | None = None) -> Any:
    """A job's variables, by default computed here and now, with their axes and what they mean."""
    xr = _xarray()
    found = arrays(job) if variables is None else variables
    data = {name: (job.plan.dims(name), job.labels(name, values), dict(job.about[name])) for name, values in found.items()}
    coords: dict[str, Any] = dict(job.coords)
    if job.devices:
        coords |= {"hardware": list(job.devices), "policy": ("hardware", list(job.policies))}
    return xr.Dataset(data, coords=coords, attrs=dict(job.attrs))


@dataclass(frozen=True)
class Curve:
    """A program's time bounds in seconds on a device, the resource that is busy longest in total (``bound``), and items a second
    at best and at least, each an array over a grid."""

    device: Hardware
    policy: str
    lower: np.ndarray
    upper: np.ndarray
    bound: np.ndarray
    throughput: tuple[np.ndarray, np.ndarray]


def curves(cost: Symbolic, grid: Mapping[str, Any], devices: Sequence[Hardware], policy: str | None = None) -> tuple[Curve, ...]:
    """The program on each device over a grid of symbols, as :func:`sweep` has it: the rooflines of its points."""
    if not devices:
        return ()
    job = prepare(cost, grid, (), devices, [d.name for d in devices], policy)
    found, items = arrays(job), batch(job.grid.values)
    bound = job.labels("bound", found["bound"])
    return tuple(Curve(device, job.policies[i], found["time_lower"][i], found["time_upper"][i], bound[i],
                       (found["throughput"][i], items / found["time_upper"][i])) for i, device in enumerate(devices))


def curves_text(name: str, symbol: str, values: Sequence[int], curves: Sequence[Curve], width: int | None = None) -> str:
    """Time and throughput over a symbol, a table a device. Of a long range the values that double, the last, and those from which
    on another resource binds are shown."""
    texts = []
    for curve in curves:
        shown = _milestones(values, curve.bound.tolist())
        out = grid(symbol, "time ≥", "time ≤", "items/s ≤", "items/s ≥", "bound", left=("bound",))
        for i in shown:
            most, least = (each[i] for each in curve.throughput)
            out.add_row(str(values[i]), si(curve.lower[i], "s"), si(curve.upper[i], "s"), f"{most:.4g}", f"{least:.4g}",
                        str(curve.bound[i]))
        shown_table = titled(f"{name} on {curve.device.title}", out)
        texts.append(f"{printed(shown_table, width)}\npolicy {curve.policy!r}; {len(shown)} of {len(values)} values: those that "
                     "double, the last, and those from which on another resource binds")
    return "\n\n".join(texts)


def _milestones(values: Sequence[int], bound: Sequence[str]) -> list[int]:
    """Indices worth a row."""
    shown, next_value = [], values[0]
    for i, value in enumerate(values):
        if value >= next_value or i == len(values) - 1 or bound[i] != bound[i - 1]:
            shown.append(i)
            next_value = max(next_value, 2 * value if value >= next_value else next_value)
    return shown
