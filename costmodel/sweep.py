"""Metrics and times over a grid of symbols: formulas are compiled once and evaluated on whole arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from costmodel import metrics as metric_registry
from costmodel.dims import Domain
from costmodel.errors import CostModelError, DomainError
from costmodel.forms import symbol

if TYPE_CHECKING:
    from costmodel.cost import Cost


def sweep(cost: Cost, grid: Mapping[str, Any], *, metrics: Sequence[str], hardware: Sequence[Any], policy: str) -> Any:
    """An xarray.Dataset with one dimension a swept symbol, one variable a metric, and time_lower / time_upper by hardware.

    grid: a symbol's values (range, list or array), one integer (no dimension then), or the name of another symbol to follow.
    Raises DomainError for a grid that leaves the domain, naming a point outside.
    """
    try:
        import xarray as xr
    except ImportError:
        raise CostModelError("sweep needs xarray: pip install 'jax-costmodel[sweep]'") from None
    axes, arrays = _axes(cost.domain, grid)
    shape = tuple(len(values) for values in axes.values())
    env = _bind_grid(cost, arrays, shape)
    data: dict[str, Any] = {}
    for name in metrics:
        metric, _, option = name.partition(":")
        found = metric_registry.get(metric)
        key, choices = found.option
        if option and option not in choices:
            raise CostModelError(f"{option!r} is no form of {metric}; choose one of {', '.join(choices) or 'none'}")
        expr = cost._internal(metric, **({key: option} if option else {}))
        values = _evaluate_grid([expr], env)[0]
        attributes = {"unit": found.unit, "convention": found.convention}
        data[name.replace(":", "_")] = (tuple(axes), np.broadcast_to(values, shape), attributes)
    if hardware:
        data.update(_times(cost, env, tuple(axes), shape, hardware, policy))
    coords: dict[str, Any] = {name: np.asarray(values) for name, values in axes.items()}
    if hardware:
        coords["hardware"] = [h if isinstance(h, str) else h.name for h in hardware]
    return xr.Dataset(data, coords=coords, attrs={"model": cost.name, "domain": str(cost.domain), "policy": policy})


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


def _bind_grid(cost: Cost, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> dict[Any, np.ndarray]:
    """Arrays of the internal variables. The corners and every axis value are checked against the domain; a grid that reaches
    a dimension of 1 is verified once by a concrete trace, as a point would be."""
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
    pending = list(domain.variables)
    while pending:
        v = pending.pop(0)
        if not v.divisor.free_symbols <= env.keys():
            pending.append(v)
            continue
        divisor = int(v.divisor) if v.divisor.is_Integer else _evaluate_grid([v.divisor], env)[0]
        if np.any(arrays[v.symbol] % divisor):
            raise DomainError(f"the grid of {v.symbol} leaves its domain {domain}")
        env[symbol(v.name)] = arrays[v.symbol] // divisor
    for relation in domain.relations:
        if np.any(_evaluate_grid([relation.difference], env)[0] < 0):
            raise DomainError(f"the grid leaves the domain {relation.text}")
    ones = {v.symbol for v in domain.variables if np.any(env[symbol(v.name)] == 1)} - cost.verified
    for name in sorted(ones):
        first = int(np.argmin(full[name]))
        cost.at(**{k: int(v[first]) for k, v in full.items()})
    return env


def _evaluate_grid(exprs: Sequence[Any], env: Mapping[Any, np.ndarray]) -> list[np.ndarray]:
    """Values on the grid: int64 where no intermediate can overflow, else float64."""
    from costmodel import printers

    names = sorted(env, key=str)
    upper = {s: int(np.max(env[s])) for s in names}
    dtype = printers.grid_dtype(list(exprs), upper)
    function = printers.compile(list(exprs), names, backend="numpy")
    return [np.asarray(v) for v in function(*(env[s].astype(dtype) for s in names))]


def _times(cost: Cost, env: Mapping[Any, np.ndarray], dims: tuple[str, ...], shape: tuple[int, ...], hardware: Sequence[Any],
           policy: str) -> dict[str, Any]:
    """Lower and upper time bounds of every kernel, summed, on every device; the roofline of a point, on arrays."""
    from costmodel.hardware import load
    from costmodel.roofline import operation_seconds, unit_of
    from costmodel.work import total

    devices = [load(h) if isinstance(h, str) else h for h in hardware]
    kernels = cost.kernels(policy)
    work: list[dict[Any, Any]] = []
    for k in kernels:
        counts: dict[Any, list[Any]] = {}
        for e in k.equations:
            for kind, _, valid in e.work.ops:
                counts.setdefault(kind, []).append(valid)
        work.append({kind: total(parts) for kind, parts in counts.items()})
    exprs = list(dict.fromkeys([*(e for w in work for e in w.values()), *(k.bytes for k in kernels), *(k.times for k in kernels)]))
    value = dict(zip(exprs, (v.astype(np.float64) for v in _evaluate_grid(exprs, env)), strict=True))
    lower, upper = [], []
    for device in devices:
        low = high = np.zeros(shape)
        launch = device.launch_overhead.value if device.launch_overhead else 0.0
        for k, counts in zip(kernels, work, strict=True):
            seconds: dict[str, Any] = {"memory": value[k.bytes] / device.bandwidth.value}
            for kind, expr in counts.items():
                engine = unit_of(device, kind)
                seconds[engine] = seconds.get(engine, 0.0) + operation_seconds(device, kind, 1) * value[expr]
            low = low + value[k.times] * (np.maximum.reduce([np.broadcast_to(s, shape) for s in seconds.values()]) + launch)
            high = high + value[k.times] * (sum(seconds.values()) + launch)
        lower.append(np.broadcast_to(low, shape))
        upper.append(np.broadcast_to(high, shape))
    return {"time_lower": (("hardware", *dims), np.stack(lower), {"unit": "s"}),
            "time_upper": (("hardware", *dims), np.stack(upper), {"unit": "s"})}


