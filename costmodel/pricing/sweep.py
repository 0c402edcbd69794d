"""Metrics and times over a grid of symbols: formulas are compiled once and evaluated on whole arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from costmodel.errors import CostModelError, DomainError
from costmodel.hardware import Hardware, load
from costmodel.pricing.core import Point, Symbolic
from costmodel.pricing.roofline import batch
from costmodel.pricing.workload import Counts, Formulas, Times, policy_of, price, workload
from costmodel.pricing.workload import metrics as metric_registry
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import symbol
from costmodel.text import grid, printed, si, titled


def sweep(cost: Symbolic, grid: Mapping[str, Any], *, metrics: Sequence[str], hardware: Sequence[Any],
          policy: str | None) -> Any:
    """An xarray.Dataset with one dimension a swept symbol, one variable a metric, and by hardware time_lower, time_upper,
    throughput and bound; each device under ``policy``, or else under its own.

    grid: a symbol's values (range, list or array), one integer (no dimension then), or the name of another symbol to follow.
    Raises DomainError for a grid that leaves the domain, naming a point outside.
    """
    try:
        import xarray as xr
    except ImportError:
        raise CostModelError("sweep needs xarray: pip install 'jax-costmodel[sweep]'") from None
    axes, arrays = _axes(cost.domain, {**{k: v for k, v in cost.domain.defaults.items() if k not in grid}, **grid})
    shape = tuple(len(values) for values in axes.values())
    env = _bind_grid(cost, arrays, shape)
    elsewhere = _elsewhere(cost, env, arrays, shape)
    data: dict[str, Any] = {}
    for name in metrics:
        found, option = metric_registry.get_form(name)
        expr = cost.price(found.name, **option)
        values = _evaluate_grid([expr], env)[0]
        attributes = {"unit": found.unit, "convention": found.convention}
        values = np.array(np.broadcast_to(values, shape))
        for i, point in elsewhere.items():
            values.flat[i] = point.metric(found.name, **option)
        data[name.replace(":", "_")] = (tuple(axes), values, attributes)
    hardware = (hardware,) if isinstance(hardware, str | Hardware) else hardware
    devices = [load(h) if isinstance(h, str) else h for h in hardware]
    priced = _curves(cost, env, arrays, shape, devices, policy, elsewhere)
    if priced:
        dims = ("hardware", *axes)
        data["time_lower"] = (dims, np.stack([c.lower for c in priced]), {"unit": "s"})
        data["time_upper"] = (dims, np.stack([c.upper for c in priced]), {"unit": "s"})
        data["throughput"] = (dims, np.stack([c.throughput[0] for c in priced]), {"unit": "items/s", "convention": "at best"})
        data["bound"] = (dims, np.stack([c.bound for c in priced]), {"convention": "the resource that is busy longest in total"})
    coords: dict[str, Any] = {name: np.asarray(values) for name, values in axes.items()}
    if priced:
        coords["hardware"] = [h if isinstance(h, str) else h.name for h in hardware]
        coords["policy"] = ("hardware", [c.policy for c in priced])
    return xr.Dataset(data, coords=coords, attrs={"model": cost.name, "domain": str(cost.domain)})


def _axes(domain: Domain, grid: Mapping[str, Any]) -> tuple[dict[str, list[int]], dict[str, np.ndarray]]:
    """(values by swept symbol, in order; broadcastable array by symbol)."""
    axes = {name: [int(v) for v in values] for name, values in grid.items()
            if isinstance(values, Iterable) and not isinstance(values, str)}
    for name, values in axes.items():
        if not values:
            raise DomainError(f"the grid of {name} is empty")
    arrays: dict[str, np.ndarray] = {}
    for i, (name, values) in enumerate(axes.items()):
        arrays[name] = np.asarray(values, dtype=np.int64).reshape([-1 if j == i else 1 for j in range(len(axes))])
    for name, values in grid.items():
        if isinstance(values, str):
            if values not in grid or isinstance(grid[values], str):
                raise DomainError(f"{name}={values!r} follows a symbol that has no values of its own in this sweep")
            arrays[name] = arrays.get(values, np.asarray(grid[values]))
        elif name not in axes:
            arrays[name] = np.asarray(int(values), dtype=np.int64)
    unknown, missing = set(grid) - set(domain.symbols), set(domain.symbols) - set(grid)
    if unknown or missing:
        domain.bind(dict.fromkeys(grid, 1))  # raises, naming them
    return axes, arrays


def _bind_grid(cost: Symbolic, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> dict[Any, np.ndarray]:
    """Arrays of the internal variables. The corners and every axis value are checked against the domain."""
    domain = cost.domain
    full = {name: np.broadcast_to(a, shape).ravel() for name, a in arrays.items()}
    count = len(next(iter(full.values()))) if full else 1
    for name, a in arrays.items():  # each axis value once, the others at their first
        for value in np.unique(a):
            first = int(np.argmax(full[name] == value))
            domain.bind({k: int(v[first]) for k, v in full.items()})
    for i in {0, count - 1}:
        domain.bind({k: int(v[i]) for k, v in full.items()})
    env: dict[Any, np.ndarray] = {}
    for v in domain.ordered:
        divisor = int(v.divisor) if v.divisor.is_Integer else _evaluate_grid([v.divisor], env)[0]
        if np.any(arrays[v.symbol] % divisor):
            raise DomainError(f"the grid of {v.symbol} leaves its domain {domain}")
        env[symbol(v.name)] = arrays[v.symbol] // divisor
    for relation in domain.relations:
        if np.any(_evaluate_grid([relation.difference], env)[0] < 0):
            raise DomainError(f"the grid leaves the domain {relation.text}")
    return env


# So many points of a grid are traced by themselves, where the symbolic program is another one.
_MAX_TRACED = 256


def _elsewhere(cost: Symbolic, env: Mapping[Any, np.ndarray], arrays: Mapping[str, np.ndarray],
               shape: tuple[int, ...]) -> dict[int, Point]:
    """The points of a grid (by flat index) at which another program holds. The first point of each region is compared with a
    concrete trace, as it would be by itself."""
    regions, count = cost.origin.regions, int(np.prod(shape, dtype=np.int64))
    if not regions.checked:
        return {}
    if cost.fitted is not None:
        whole = {s: np.broadcast_to(a, shape).ravel() for s, a in env.items()}
        cost.fitted.check_all([{s: int(a[i]) for s, a in whole.items()} for i in range(count)])
        return {}
    full = {name: np.broadcast_to(a, shape).ravel() for name, a in arrays.items()}
    on = [np.broadcast_to(_evaluate_grid([d], env)[0] == 0, shape).ravel() for d in regions.boundaries]
    on = [mask for mask in on if mask.any()]
    region = np.unique(np.stack([*on, np.zeros(count, dtype=bool)]), axis=1, return_index=True, return_inverse=True)
    _, first, number = region
    found: dict[int, Point] = {}

    def there(i: int) -> bool:
        point = cost.at(**{name: int(v[i]) for name, v in full.items()})
        if point.cost is not cost:
            found[int(i)] = point
        return point.cost is not cost

    for which, start in enumerate(first):
        members = np.flatnonzero(number.ravel() == which)
        another = there(int(start))
        if another and not any(mask[start] for mask in on) and not (regions.stand_ins or regions.everywhere):
            del found[int(start)]  # only its bytes differ, which was said: the grid is that of the formulas
        elif another or regions.stand_ins or regions.everywhere:
            if len(members) > _MAX_TRACED:
                raise CostModelError(f"the model is another program at {len(members)} points of this grid, which would be traced "
                                     f"one by one; sweep at most {_MAX_TRACED} such points, or analyze(..., verify=False)")
            for i in members:
                there(int(i))
    return found


def _evaluate_grid(exprs: Sequence[Any], env: Mapping[Any, np.ndarray]) -> list[np.ndarray]:
    return Formulas(exprs).on(env)


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
    axes, arrays = _axes(cost.domain, grid)
    shape = tuple(len(values) for values in axes.values())
    env = _bind_grid(cost, arrays, shape)
    return _curves(cost, env, arrays, shape, devices, policy, _elsewhere(cost, env, arrays, shape))


def _curves(cost: Symbolic, env: Mapping[Any, np.ndarray], arrays: Mapping[str, np.ndarray], shape: tuple[int, ...],
            devices: Sequence[Hardware], policy: str | None, elsewhere: Mapping[int, Point]) -> tuple[Curve, ...]:
    items = batch(arrays)
    found = []
    counts: dict[str, Counts] = {}
    for device in devices:
        chosen = policy_of(device, policy)
        if chosen not in counts:
            counts[chosen] = workload(cost.program, chosen).on(env, shape)
        lower, upper, bound = (a.reshape(shape) for a in _bounds(price(counts[chosen], device)))
        for i, point in elsewhere.items():
            there = _bounds(price(workload(point.program, chosen).at(point.env), device))
            bound = bound.astype(object)
            lower.flat[i], upper.flat[i], bound.flat[i] = (a[0] for a in there)
        found.append(Curve(device, chosen, lower, upper, bound, (items / lower, items / upper)))
    return tuple(found)


def _bounds(times: Times) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds of the whole program, at least and at most, and what binds, by point."""
    lower, upper = times.whole("lower"), times.whole("upper")
    resources = times.resources()
    # Of equals argmax takes the first: at the ridge, the memory.
    names = sorted(resources, key="memory".__ne__)
    return lower, upper, np.array(names)[np.argmax(np.stack([resources[name] for name in names]), axis=0)]


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
