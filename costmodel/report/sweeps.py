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
from costmodel.pictures.style import COLORS, figure, quantities, save_picture, styled, title
from costmodel.sheets import Column, Line, OneSheet, Sheet
from costmodel.text import shown

ROWS = 32  # of a table on a terminal


def sheet(data: Any, rows: int | None = ROWS) -> Sheet:
    """A Dataset, or a :class:`~costmodel.pricing.grid.swept.Swept`, as rows, one a point that meets the conditions asked for; of
    more than ``rows`` points those of some values of each axis, its ends among them."""
    axes = list(dict.fromkeys(name for name in ("hardware", *data.sizes) if name in data.sizes and name != "point"))
    names = [name for name in data.data_vars if name != "meets"]
    total = math.prod(data.sizes.values())
    made: list[tuple[Any, ...]] = []
    for place in _places(data, total if rows is None else rows):
        def here(name: str, place: dict[str, int] = place) -> Any:
            return data[name].isel({axis: place[axis] for axis in data[name].dims}).item()

        if "meets" in data and not here("meets"):
            continue
        where = [here(name) for name in axes] or [len(made) + 1]
        made.append((*where, *(_value(here(name)) for name in names)))
    units = {name: data[name].attrs.get("unit", "") for name in (*axes, *names)}
    first, *columns = [*(Column(name, units[name], "si") if units[name] else Column(name, style="text") for name in axes),
                       *([] if axes else [Column("point", style="text")]), *(_column(name, units[name]) for name in names)]
    lines = [Line(first.shown(row[0]) if first.unit else str(row[0]),
                  tuple(str(v) if c.style == "text" and not isinstance(v, int | float) else v
                        for c, v in zip(columns, row[1:], strict=True))) for row in made]
    at = f"    at {data.attrs['at']}" if data.attrs.get("at") else ""
    title = f"{data.attrs.get('model', '')}    domain: {data.attrs.get('domain') or 'no symbols'}{at}"
    notes = [f"{len(lines)} of {total:,} points; -o writes all of them"] if len(lines) < total and rows is not None else []
    if "throughput" in names:
        notes.append("throughput: at best, by time_lower; time as a criterion or in a condition is time_upper")
    return Sheet(title, (first, *columns), tuple(lines), (), tuple(notes), keys=max(len(axes), 1))


def no_answer(data: Any) -> bool:
    """Whether no point meets the conditions that were asked for."""
    if "meets" in data:
        return not data["meets"].values.any()
    if data.sizes.get("point") == 0:
        return True
    found = [v.values for name, v in data.data_vars.items() if name != "time_predicted"]  # which may be not calibrated
    return any(values.dtype.kind == "f" and np.isnan(values).all() for values in found)


def _column(name: str, unit: str) -> Column:
    if name in ("bound", "hardware"):
        return Column(name, style="text")
    return Column(name, unit, "si" if unit and unit != "elements" else "rate" if not unit else "exact")


def _value(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def text(data: Any, width: int | None = None, rows: int = ROWS) -> str:
    """The :func:`sheet` of a Dataset as text."""
    return OneSheet(sheet(data, rows)).text(width)


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
    save_picture(lambda: _draw(data), path)


def draw(data: Any) -> Any:
    """A matplotlib figure of a Dataset over one or two axes. Raises CostModelError for more, or none."""
    return styled(lambda: _draw(data))


def _draw(data: Any) -> Any:
    axes = [name for name in data.sizes if name != "hardware"]
    if "point" in axes:
        raise CostModelError("a picture is of one or two axes: write a Pareto front as .csv")
    if len(axes) not in (1, 2):
        if not axes:
            raise CostModelError("a picture is of one or two axes, and of this sweep none is left: write .csv")
        raise CostModelError(f"a picture is of one or two axes, and this sweep has {', '.join(axes)}: tie or fix others")
    panels = [(name, device) for name in data.data_vars if data[name].dtype.kind in "if"
              for device in (data["hardware"].values if "hardware" in data[name].dims and len(axes) == 2 else [None])
              if not np.isnan((data[name] if device is None else data[name].sel(hardware=device)).values).all()]
    columns = min(3 if len(panels) != 4 else 2, len(panels))
    rows = -(-len(panels) // columns)
    made, spots = figure(6.2 * columns, 4.8 * rows + 0.6, rows, columns, squeeze=False)
    for spot in spots.flat[len(panels):]:
        spot.axis("off")
    for spot, (name, device) in zip(spots.flat, panels, strict=False):
        _panel(spot, data, name, device, axes)
    made.suptitle(shown(data.attrs.get("model", "")), x=0.01, ha="left", parse_math=False)
    return made


def _panel(ax: Any, data: Any, name: str, device: Any, axes: Sequence[str]) -> None:
    unit = data[name].attrs.get("unit", "")
    title(ax, name if device is None else f"{name}, {device}")
    if len(axes) == 1:
        _lines(ax, data, name, axes[0])
        quantities(ax.yaxis, unit if unit != "elements" else "")
        return
    here = data[name] if device is None else data[name].sel(hardware=device)
    y, x = axes
    values = here.broadcast_like(data[y] * data[x]).transpose(y, x).values.astype(float)
    mesh = ax.pcolormesh(data[x].values, data[y].values, values, shading="nearest", cmap="cividis", norm=_norm(values),
                         rasterized=True)  # as cells of their own they have white seams
    bar = ax.figure.colorbar(mesh, ax=ax)
    quantities(bar.ax.yaxis, unit if unit != "elements" else "")
    bar.ax.yaxis.set_minor_formatter(lambda *_: "")
    if device is not None and "bound" in data:
        _border(ax, data["bound"].sel(hardware=device).transpose(y, x).values, data[x].values, data[y].values)
    ax.set(xlabel=x, ylabel=y)


def _norm(values: np.ndarray) -> Any:
    """Logarithmic where values range over more than a decade: else the greatest are all that is seen."""
    from matplotlib.colors import LogNorm, Normalize

    known = values[np.isfinite(values)]
    wide = known.size and known.min() > 0 and known.max() > 12 * known.min()
    return LogNorm(known.min(), known.max()) if wide else Normalize()


def _lines(ax: Any, data: Any, name: str, axis: str) -> None:
    several = "hardware" in data[name].dims
    lines, labels = (data[name].values, data["hardware"].values) if several else ([data[name].values], [None])
    x = data[axis].values
    for i, (line, label) in enumerate(zip(lines, labels, strict=True)):
        y = np.broadcast_to(line, (len(x),))
        if several and np.isnan(y.astype(float)).all():
            continue  # nothing is predicted of this device
        ax.plot(x, y, label=label if label is None else f"{label}{_flips(data, i, x)}",
                color=COLORS[i % 7], linestyle=("-", "--", "-.", ":")[i % 4], linewidth=2.2,
                marker="os^Dv"[i % 5] if len(x) <= 24 else None, markersize=5)
    known = np.concatenate([np.ravel(line) for line in lines]).astype(float)
    known = known[np.isfinite(known)]
    doubling = len(x) > 3 and x[0] > 0 and x[-1] >= 16 * x[0] and x[-1] - x[-2] > 4 * (x[1] - x[0])
    if known.size and known.min() > 0 and known.max() > 100 * known.min() and (several or doubling):
        ax.set_yscale("log")
    if doubling:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_xlabel(axis)
    ax.margins(x=0.03)
    ax.grid(True, linewidth=0.4, color="0.85")
    if several:
        ax.legend(frameon=False)


def _flips(data: Any, device: int, x: np.ndarray) -> str:
    """Where another resource binds on a device, in words."""
    if "bound" not in data or data["bound"].dims[-1:] != data["bound"].dims[1:]:
        return ""
    bound = data["bound"].isel(hardware=device).values
    flips = [k for k in range(1, len(x)) if bound[k] != bound[k - 1]]
    return f": {bound[0]}-bound" + "".join(f", {bound[k]}- from {x[k]:g}" for k in flips[:3])


def _border(ax: Any, bound: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Where another resource binds, as a line, and the name of each where most of its points are."""
    names = sorted(set(bound.ravel().tolist()))
    if len(names) > 1 and min(bound.shape) > 1:
        codes = np.searchsorted(names, bound)
        ax.contour(x, y, codes, levels=[i + 0.5 for i in range(len(names) - 1)], colors="white", linewidths=2.2)
    for name in names if "" not in names else ():
        rows, columns = np.nonzero(bound == name)
        middle = np.argmin((rows - np.median(rows)) ** 2 + (columns - np.median(columns)) ** 2)
        part = columns[middle] / max(len(x) - 1, 1)  # of the way: near a side the name goes on inwards from its place
        side = "left" if part < 0.2 else "right" if part > 0.8 else "center"
        ax.text(x[columns[middle]], y[rows[middle]], f"{name}-bound", ha=side, va="center", color="black", fontsize=11,
                gid="bound", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2})
