"""Sweeps for people: a table that fits a terminal, files, and pictures."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.files import write_bytes, write_text
from costmodel.report.plot import COLORS, save_picture
from costmodel.tables import grid, printed, titled
from costmodel.text import si

ROWS = 32  # of a table on a terminal


def text(data: Any, width: int | None = None, rows: int = ROWS) -> str:
    """A Dataset as a table, a row a point that meets the conditions asked for; of many points those of some values of each axis,
    its ends among them."""
    axes = [name for name in ("hardware", *data.sizes) if name in data.sizes and name != "point"]
    axes = list(dict.fromkeys(axes))
    names = [name for name in data.data_vars if name != "meets"]
    out = grid(*axes, *names, left=("hardware", "bound"))
    total = math.prod(data.sizes.values())
    shown = 0
    for place in _places(data, rows):
        here = data.isel(place)
        if "meets" in data and not bool(here["meets"]):
            continue
        out.add_row(*(_cell(here[name].item(), "") for name in axes), *(_named(here, name) for name in names))
        shown += 1
    title = f"{data.attrs.get('model', '')}    domain: {data.attrs.get('domain') or 'no symbols'}"
    more = f"\n{shown} of {total:,} points; -o writes all of them" if shown < total else ""
    return printed(titled(title, out), width) + more


def _places(data: Any, rows: int) -> Iterator[dict[str, int]]:
    """Indices of points to show: on each axis evenly spaced ones, as many as go into so many rows."""
    sizes = dict(data.sizes)
    counts = dict.fromkeys(sizes, 1)
    while (growing := [n for n in sizes if counts[n] < sizes[n]
                       and math.prod(counts.values()) // counts[n] * (counts[n] + 1) <= rows]):
        least = min(growing, key=lambda n: counts[n])
        counts[least] += 1
    order = sorted(sizes, key="hardware".__ne__)
    choices = [np.unique(np.linspace(0, sizes[n] - 1, counts[n]).round().astype(int)).tolist() for n in order]
    for chosen in itertools.product(*choices):
        yield dict(zip(order, chosen, strict=True))


def _named(here: Any, name: str) -> str:
    return _cell(here[name].item(), here[name].attrs.get("unit", ""))


def _cell(value: Any, unit: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isnan(value):
        return "–"
    return si(value, unit) if unit and unit not in ("elements",) else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def save(data: Any, path: str) -> None:
    """Write a Dataset as .csv, a row a point, or as .nc."""
    if path.lower().endswith(".csv"):
        frame = data.to_dataframe().reset_index() if data.sizes else data.expand_dims("point").to_dataframe()
        if "meets" in frame:
            frame = frame[frame.pop("meets")]
        write_text(path, frame.to_csv(index=False, lineterminator="\n"))
        return
    with tempfile.TemporaryDirectory() as folder:  # netCDF libraries write files only
        made = Path(folder) / "sweep.nc"
        try:
            _doubles(data).to_netcdf(made)
        except (ImportError, ValueError) as error:
            raise CostModelError(f"cannot write {path}: {error}; pip install netCDF4, or write .zarr") from None
        write_bytes(path, made.read_bytes())


def _doubles(data: Any) -> Any:
    """Integers that the older format of the file has no room for as doubles, and truth values as bytes."""
    def fits(values: np.ndarray) -> np.ndarray:
        if values.dtype.kind == "b":
            return values.astype(np.int8)
        wide = values.dtype.kind == "i" and np.abs(values).max(initial=0) >= 2**31
        return values.astype(np.float64) if wide or values.dtype.kind == "O" else values

    return data.assign({name: data[name].copy(data=fits(data[name].values)) for name in data.data_vars})


def plot(data: Any, path: str) -> None:
    """Draw a Dataset into an .svg, .png or .pdf file: over one axis lines, over two heat maps with the border where another
    resource binds; one a variable, and of times one a device."""
    save_picture(lambda: draw(data), path)


def draw(data: Any) -> Any:
    """A matplotlib figure of a Dataset over one or two axes. Raises CostModelError for more, or none."""
    axes = [name for name in data.sizes if name != "hardware"]
    if "point" in axes:
        raise CostModelError("a picture is of one or two axes: write a Pareto front as .csv")
    if len(axes) not in (1, 2):
        raise CostModelError(f"a picture is of one or two axes, and this sweep has {', '.join(axes) or 'none'}: tie or fix others")
    from matplotlib.figure import Figure

    panels = [(name, device) for name in data.data_vars if data[name].dtype.kind in "if"
              for device in (data["hardware"].values if "hardware" in data[name].dims and len(axes) == 2 else [None])]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.6 * rows), layout="constrained")
    for spot, (name, device) in enumerate(panels, 1):
        _panel(figure.add_subplot(rows, columns, spot), data, name, device, axes)
    figure.suptitle(data.attrs.get("model", ""))
    return figure


def _panel(ax: Any, data: Any, name: str, device: Any, axes: Sequence[str]) -> None:
    unit = data[name].attrs.get("unit", "")
    title = f"{name} [{unit}]" if unit else name
    if len(axes) == 1:
        lines = data[name].values if "hardware" in data[name].dims else [data[name].values]
        labels = data["hardware"].values if "hardware" in data[name].dims else [None]
        for line, label, color in zip(lines, labels, itertools.cycle(COLORS), strict=False):
            ax.plot(data[axes[0]].values, np.broadcast_to(line, (data.sizes[axes[0]],)), label=label, color=color)
        ax.set(xlabel=axes[0], title=title)
        if labels[0] is not None:
            ax.legend(fontsize="small")
        return
    here = data[name] if device is None else data[name].sel(hardware=device)
    y, x = axes
    values = here.broadcast_like(data[y] * data[x]).transpose(y, x).values
    mesh = ax.pcolormesh(data[x].values, data[y].values, values, shading="nearest", cmap="viridis")
    ax.figure.colorbar(mesh, ax=ax)
    if device is not None and "bound" in data:
        _border(ax, data["bound"].sel(hardware=device).transpose(y, x).values, data[x].values, data[y].values)
    ax.set(xlabel=x, ylabel=y, title=title if device is None else f"{title}, {device}")


def _border(ax: Any, bound: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Where another resource binds, as a line."""
    names = sorted(set(bound.ravel().tolist()))
    if len(names) > 1 and min(bound.shape) > 1:
        codes = np.searchsorted(names, bound)
        ax.contour(x, y, codes, levels=[i + 0.5 for i in range(len(names) - 1)], colors="white", linewidths=1.2)
