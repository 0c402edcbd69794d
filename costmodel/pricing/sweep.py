"""Metrics and times over a grid of symbols and of a device's figures: formulas are factored over the axes and computed block by
block; the result is an xarray.Dataset, lazy or not, a store on the disk, or an answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from costmodel.errors import CostModelError, DomainError
from costmodel.hardware import Hardware, load
from costmodel.pricing.core import Symbolic
from costmodel.pricing.figures import check_figure, figure_symbol, units_of
from costmodel.pricing.grid.answers import ALIASES, SIGNS, Condition, check_names, conditions, quantity, wanted
from costmodel.pricing.grid.answers import best as best_of
from costmodel.pricing.grid.answers import pareto as front_of
from costmodel.pricing.grid.axes import bind
from costmodel.pricing.grid.build import variable
from costmodel.pricing.grid.job import TIMED, Job, prepare, tracked
from costmodel.pricing.grid.lazy import evaluator, lazy, on_jax
from costmodel.pricing.grid.store import write
from costmodel.pricing.grid.swept import Swept, Variable, xarray
from costmodel.pricing.grown import Grown
from costmodel.pricing.rate import batch, rate
from costmodel.sheets import Column, Line, Sheet
from costmodel.surface import brief, option, said


def sweep(cost: Symbolic, grid: Mapping[str, Any], *, metrics: Sequence[str], hardware: Any, policy: str | None,
          vary: Mapping[str, Any] | None = None, where: str | Sequence[str] = (), best: str | Sequence[str] = (),
          pareto: str | Sequence[str] = (), out: str | None = None, chunks: Any = None, backend: str = "numpy") -> Any:
    """An xarray.Dataset with one dimension a swept symbol, one variable a metric, and by hardware time_lower, time_upper,
    time_predicted (not a number where nothing is calibrated), throughput and bound; each device under ``policy``, or else under
    its own.

    grid:    a symbol's values (range, list or array), one integer (no dimension then), or the name of another symbol to follow.
    metrics: names, with a form as ``bytes:xla-gpu``; ``energy`` is by hardware.
    vary:    figures of the devices to axes of their values: bandwidth, launch_overhead, link, a peak as ``matrix.bfloat16``,
             capacity (for conditions), or an energy as ``energy.DRAM`` and ``energy.mac.float32``.
    where:   conditions such as ``live_peak <= 80GB``. Alone: a variable ``meets`` says where they hold.
    best:    a variable and the axes over which its least value is sought (of throughput, and of ``max NAME``, the greatest);
             without axes, over all. ``time`` is the upper bound.
    pareto:  variables: the points that no other beats in all of them, on one dimension ``point``.
    out:     a ``.zarr`` store or a ``.parquet`` folder, written as it goes and then opened; a run that was killed is resumed.
    chunks:  lengths of chunks by axis, a number for all or "auto": the Dataset is lazy (Dask). With ``out``: Dask computes.
    backend: "numpy", or "jax": jitted, where jax runs, in the types that it allows.

    Raises DomainError for a grid that leaves the domain, naming a point outside; CostModelError for what cannot be asked together.
    """
    found = swept(cost, grid, metrics=metrics, hardware=hardware, policy=policy, vary=vary, where=where, best=best, pareto=pareto,
                  out=out, chunks=chunks, backend=backend)
    return found.dataset() if isinstance(found, Swept) else opened(found)


def swept(cost: Symbolic, grid: Mapping[str, Any], *, metrics: Sequence[str], hardware: Any, policy: str | None,
          vary: Mapping[str, Any] | None = None, where: str | Sequence[str] = (), best: str | Sequence[str] = (),
          pareto: str | Sequence[str] = (), out: str | None = None, chunks: Any = None, backend: str = "numpy") -> Swept | str:
    """As :func:`sweep`, as plain arrays, or the path of a store; xarray is not imported."""
    labels, devices = _devices(hardware)
    holds = conditions(where)
    best, pareto = _names(best), _names(pareto)
    asked = sum(map(bool, (best, pareto, out)))
    if asked > 1:
        raise CostModelError(f"{option('best')}, {option('pareto')} and {option('out', flag='a store as -o')} are three answers: "
                             "ask for one")
    if vary and not isinstance(vary, Mapping):
        raise CostModelError(f"{option('vary', vary)} is no mapping: give figures by name, each with its values")
    figures = {name: _figures(name, values, devices) for name, values in (vary or {}).items()}
    grid = {**{k: v for k, v in cost.domain.defaults.items() if k not in grid}, **grid}  # a mesh's axes
    if not isinstance(metrics, Collection) or not all(isinstance(each, str) for each in metrics):
        raise CostModelError(f"{option('metrics')} {brief(metrics)}: give names of metrics, as macs or bytes:xla-gpu")
    metrics = _with_asked((metrics,) if isinstance(metrics, str) else tuple(metrics), wanted(best, pareto, holds), grid, figures)
    job = prepare(cost, grid, metrics, devices, labels, policy, figures)
    check_names(job, [name for c in holds for name in c.names])
    if out is not None:
        write(job, str(out), holds, evaluator(job, chunks, backend))
        return str(out)
    if best:
        return _best(job, best, holds)
    if pareto:
        return _pareto(job, pareto, holds)
    if chunks is not None:
        made = _whole(job, lazy(job, chunks))
    else:
        made = _whole(job, on_jax(job) if backend == "jax" else arrays(job))
    return replace(made, data_vars={**made.data_vars, "meets": _meets(made, holds)}) if holds else made


def sweep_grown(cost: Grown, grid: Mapping[str, Any], **options: Any) -> Any:
    """The same of a model that is another program at every depth: each depth's own program over the rest of the grid."""
    depth = cost.parts.grows.depth.symbol
    values = grid.get(depth)
    if isinstance(values, str) or any(follows == depth for follows in grid.values() if isinstance(follows, str)):
        raise DomainError(f"{depth} sets the program's structure: give it values of its own, which no other symbol follows")
    asked = [name for name in ("best", "pareto", "out", "chunks") if options.get(name)]
    if asked:
        raise CostModelError(f"{depth} sets the program's structure: give it one value with {', '.join(asked)}")
    axes = bind(cost.domain, grid).axes

    def swept(value: int) -> Any:
        there = cost.region(**{depth: value})
        return sweep(there, {name: v for name, v in grid.items() if name in there.symbols}, **options)

    if depth not in axes:
        one = swept(int(grid[depth]))
        if not isinstance(one, str):  # the path of a folder
            one.attrs["at"] = ", ".join([f"{depth}={int(grid[depth])}", *filter(None, [one.attrs.get("at")])])
        return one
    found = [swept(value).expand_dims({depth: [value]}) for value in axes[depth].tolist()]
    joined = xarray().concat(found, dim=depth, coords="minimal", compat="override")
    joined.attrs |= {"model": cost.name, "domain": str(cost.domain) or "no symbols"}
    return joined.transpose("hardware", *axes, missing_dims="ignore")


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return ((given,) if given else ()) if isinstance(given, str) else tuple(given)


def _figures(name: str, values: Any, devices: Sequence[Hardware]) -> np.ndarray:
    """The values of a device's figure, in base units: numbers, or texts with their units."""
    if not devices:
        raise CostModelError(f"{option('vary')} varies figures of devices: name one with {option('hardware', flag='--hw')}")
    for device in devices:
        check_figure(device, name)
    found = np.array([quantity(v, units_of(name)) if isinstance(v, str) else float(v) for v in values], dtype=np.float64)
    typed = said(f"vary={{{name!r}: …}}", f"--vary {name}")
    if not len(found) or not (np.isfinite(found) & (found > 0)).all():
        raise CostModelError(f"{typed} takes one or more positive numbers")
    if len(set(found.tolist())) < len(found):
        raise CostModelError(f"{typed} has a value twice; give each once")
    return found


def _with_asked(metrics: Sequence[str], names: Sequence[str], grid: Mapping[str, Any],
                figures: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics, and those that conditions and criteria name."""
    known = {*TIMED, "hardware", *grid, *(figure_symbol(name).name for name in figures)} - {"energy"}
    stated = next((name for name in names if name not in known and (units_of(name) or units_of(name.replace("_", ".", 1)))), None)
    if stated:
        raise CostModelError(f"{stated} is a figure of devices, and each has its own here: give it values by {option('vary')}")
    return tuple(dict.fromkeys([*metrics, *(n for n in names if n not in known and n not in map(variable, metrics))]))


def _best(job: Job, asked: Sequence[str], where: Sequence[Condition]) -> Swept:
    """The axes that are left; the others' values where the criterion is best are variables."""
    left, found = best_of(job, asked, where)
    data = {name: Variable(tuple(left), _named(job, name, values), job.about.get(name, {})) for name, values in found.items()}
    coords = {name: Variable((name,), a, job.about.get(name, {})) for name, a in job.coords.items() if name in left}
    if "hardware" in left:
        coords["hardware"] = Variable(("hardware",), np.array(job.devices))
    return Swept(data, coords, {**job.attrs, "best": ", ".join(asked)})


def _named(job: Job, name: str, values: np.ndarray) -> np.ndarray:
    """Devices and what binds by name ("" for none); integers as such where every value is one."""
    if name in ("hardware", "bound"):
        names = np.array([*(job.devices if name == "hardware" else job.plan.units), ""])
        return np.asarray(names[np.where(np.isnan(values), -1, values).astype(int)])  # of one answer, too, an array
    if np.isnan(values).any() or (name in job.plan.variables and job.plan.dtype(name).kind != "i") or name in job.figures:
        return values
    return values.astype(np.int64) if np.abs(values).max(initial=0) < 2**53 else values


def _pareto(job: Job, asked: Sequence[str], where: Sequence[Condition]) -> Swept:
    found = front_of(job, asked, where)
    data = {name: Variable(("point",), _named(job, name, values), job.about.get(name, {})) for name, values in found.items()}
    return Swept(data, {}, {**job.attrs, "pareto": ", ".join(asked)})


def _meets(made: Swept, where: Sequence[Condition]) -> Variable:
    """Where every condition holds, over the axes that it depends on."""
    sides = [[made[ALIASES.get(side, side)] if isinstance(side, str) else Variable((), np.array(side))
              for side in (c.left, c.right)] for c in where]
    met = {axis for pair in sides for v in pair for axis in v.dims}
    order = tuple(axis for axis in dict.fromkeys(("hardware", *made.sizes)) if axis in met)
    holds: Any = True
    for c, (left, right) in zip(where, sides, strict=True):
        holds = SIGNS[c.sign](left.over(order), right.over(order)) & holds
    return Variable(order, holds, {"convention": ", ".join(f"{c.left} {c.sign} {c.right}" for c in where)})


def opened(path: str) -> Any:
    """What a sweep wrote: of a Zarr store a lazy xarray.Dataset; of a Parquet folder the path, which pandas, polars and DuckDB
    read."""
    return xarray().open_zarr(path, consolidated=False, chunks=None) if path.endswith(".zarr") else path


def _devices(hardware: Any) -> tuple[list[str], list[Hardware]]:
    """The labels of devices, and the devices."""
    asked = (hardware,) if isinstance(hardware, str | Hardware) else tuple(hardware)
    return ([h.name if isinstance(h, Hardware) else str(h) for h in asked],
            [h if isinstance(h, Hardware) else load(h) for h in asked])


def arrays(job: Job) -> dict[str, np.ndarray]:
    """Every variable on the whole grid."""
    whole = {name: np.empty(job.full_shape(name), job.plan.dtype(name)) for name in job.plan.variables}
    for slices in tracked(list(job.chunks(job.chunk_lengths())), "sweep"):
        job.chunk(slices, {name: a[job.index(name, slices)] for name, a in whole.items()})
    return whole


def _whole(job: Job, found: Mapping[str, Any]) -> Swept:
    """A job's variables with their axes and what they mean."""
    named = {name: job.labels(name, a) if isinstance(a, np.ndarray) else a for name, a in found.items()}  # lazy ones have names
    data = {name: Variable(job.plan.dims(name), values, job.about[name]) for name, values in named.items()}
    coords = {name: Variable((name,), a, job.about.get(name, {})) for name, a in job.coords.items()}
    if job.devices:
        coords |= {"hardware": Variable(("hardware",), np.array(job.devices)),
                   "policy": Variable(("hardware",), np.array(job.policies))}
    return Swept(data, coords, job.attrs)


@dataclass(frozen=True)
class Curve:
    """A program's time bounds in seconds on a device, the resource that is busy longest in total (``bound``), items a second at
    best and at least, and the time as predicted, each an array over a grid; ``basis`` says what the prediction stands on."""

    device: Hardware
    policy: str
    lower: np.ndarray
    upper: np.ndarray
    bound: np.ndarray
    throughput: tuple[np.ndarray, np.ndarray]
    predicted: np.ndarray
    basis: str


def curves(cost: Symbolic, grid: Mapping[str, Any], devices: Sequence[Hardware], policy: str | None = None) -> tuple[Curve, ...]:
    """The program on each device over a grid of symbols, as :func:`sweep` has it: the rooflines of its points."""
    if not devices:
        return ()
    if isinstance(cost, Grown):
        cost = cost.region(**{name: v for name, v in grid.items() if name in cost.symbols and isinstance(v, int)})
        grid = {name: v for name, v in grid.items() if name in cost.symbols}
    job = prepare(cost, grid, (), devices, [d.name for d in devices], policy)
    found, items = arrays(job), batch(job.grid.values, cost.tokens)
    bound = job.labels("bound", found["bound"])
    slow = rate(items, found["time_upper"])
    return tuple(Curve(device, job.policies[i], found["time_lower"][i], found["time_upper"][i], bound[i],
                       (found["throughput"][i], slow[i]), found["time_predicted"][i], job.stands[i])
                 for i, device in enumerate(devices))


def curves_sheet(name: str, symbol: str, values: Sequence[int], curve: Curve, item: str = "items", whole: bool = False) -> Sheet:
    """Time and throughput over a symbol on a device. Of a long range the values that double, the last, and those from which on
    another resource binds are rows; ``whole``: every value."""
    rows = range(len(values)) if whole else _milestones(values, curve.bound.tolist())
    expected = curve.basis != "not calibrated"
    columns = (Column(symbol), Column("time ≥", "s", "si"), Column("time ≤", "s", "si"),
               *([Column("predicted", "s", "si")] if expected else []), Column(f"{item}/s ≤", style="rate"),
               Column(f"{item}/s ≥", style="rate"), Column("bound", style="text"))
    lines = tuple(Line(str(values[i]), (float(curve.lower[i]), float(curve.upper[i]),
                                        *([float(curve.predicted[i])] if expected else []),
                                        *(float(each[i]) for each in curve.throughput), str(curve.bound[i]))) for i in rows)
    note = (f"policy {curve.policy!r}; {len(lines)} of {len(values)} values: those that double, the last, and those from which on "
            f"another resource binds; predicted: {curve.basis}")
    return Sheet(f"{name} on {curve.device.title}", columns, lines, (), (note,))


def _milestones(values: Sequence[int], bound: Sequence[str]) -> list[int]:
    """Indices worth a row."""
    shown, next_value = [], values[0]
    for i, value in enumerate(values):
        if value >= next_value or i == len(values) - 1 or bound[i] != bound[i - 1]:
            shown.append(i)
            next_value = max(next_value, 2 * value if value >= next_value else next_value)
    return shown
