"""Pictures, by matplotlib: rooflines of one or several devices with a model's kernels on them, and the memory wall.

Points are numbered and named in a table beside the picture. The numbers stand in a row above the roofs, spread so that no two
touch, each with a line to its points.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.files import write_bytes
from costmodel.hardware import Hardware, MissingPeak, load
from costmodel.text import shown, si

if TYPE_CHECKING:
    from costmodel.pricing.roofline import Roofline, RooflineRow

# Okabe and Ito's colours, which readers who confuse red and green tell apart; yellow is left out, it is pale on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
SUFFIXES = (".svg", ".png", ".pdf")
MOST_NUMBERS = 20
_STEP = 0.042  # of the axes' width: room for two digits


def plot_rooflines(rooflines: Sequence[Roofline], path: str, *, by: str = "kernel", depth: int | None = None,
                   most: int = MOST_NUMBERS) -> None:
    """Draw one model on one or several devices into an .svg, .png or .pdf file; see :func:`draw_rooflines`."""
    save_picture(lambda: draw_rooflines(rooflines, by=by, depth=depth, most=most), path)


def plot_memory_wall(path: str, generations: Mapping[str, Sequence[str | Hardware]] | None = None) -> None:
    """Draw the memory wall into an .svg, .png or .pdf file; see :func:`draw_memory_wall`."""
    save_picture(lambda: draw_memory_wall(generations), path)


def save_picture(draw: Callable[[], Any], path: str) -> None:
    """Draw into a file of a kind that its name says; the same picture gives the same file."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise CostModelError(f"{path!r} names no kind of picture: end it in {', '.join(SUFFIXES)}")
    try:
        import matplotlib
    except ImportError:
        raise CostModelError("pictures need matplotlib: pip install 'jax-costmodel[plot]'") from None
    drawn, metadata = io.BytesIO(), {"Date": None} if suffix == ".svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "costmodel", "font.size": 9}):  # the same picture gives the same file
        draw().savefig(drawn, format=suffix[1:], dpi=160, bbox_inches="tight", metadata=metadata)
    write_bytes(path, drawn.getvalue())


# -- rooflines ----------------------------------------------------------------------------------------------------------------


def draw_rooflines(rooflines: Sequence[Roofline], *, by: str = "kernel", depth: int | None = None, most: int = MOST_NUMBERS) -> Any:
    """The figure: a roof a device, its ridge labelled, and the rows of each roofline as points under it.

    Rows in the same place are one point. The ``most`` points that take the longest (on any device, as a part of its time) are
    numbered, the others are small dots; "+2" says that a number stands for two rows more. One device alone also has its bound
    regions shaded, and the roofs of nearer memories.
    """
    rows = [[row for row in each.by(by, depth) if row.operations and row.bytes] for each in rooflines]
    if not any(rows):
        raise CostModelError("there is no arithmetic to draw: every row only moves data")
    marks = _marks(rooflines, rows, most)
    figure, axes = _page(["", by, "OP/B", *(f"{r.hardware.name}\nshare" for r in rooflines)], _named(marks))
    low, high = _decades([row.intensity for each in rows for row in each] + [_ridges(r)[-1] for r in rooflines])
    floor = min(row.attainable for each in rows for row in each) / 3
    ceiling = max(peak for r in rooflines for _, peak in _peaks(r))
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(floor, ceiling * 20), xlabel="operational intensity [OP/B]",
             ylabel="attainable [OP/s]")
    axes.grid(True, which="major", linewidth=0.3, color="0.85")
    axes.yaxis.set_major_formatter(lambda value, _: si(value, ""))
    for i, (each, color) in enumerate(zip(rooflines, COLORS * len(rooflines), strict=False)):
        _roof(axes, each, color, low, high, alone=len(rooflines) == 1)
        axes.scatter([r.intensity for r in rows[i]], [r.attainable for r in rows[i]], s=7, color=color, zorder=3, linewidth=0)
        numbered = [place for mark in marks if (place := mark.places[i])]
        axes.scatter(*zip(*numbered, strict=True), s=34, color=color, zorder=4, edgecolor="white", linewidth=0.6)
    _numbers(axes, marks)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize=8, frameon=False)
    point = ", ".join(f"{k}={v}" for k, v in rooflines[0].point.items())
    axes.set_title(f"{shown(rooflines[0].name)}{' at ' if point else ''}{point}", loc="left", parse_math=False)
    return figure


def _page(head: list[str], lines: list[list[str]]) -> tuple[Any, Any]:
    """A figure with axes on the left and a table on the right, as wide as its text."""
    from matplotlib.figure import Figure

    columns = zip(*(map(len, line) for line in ([part.split("\n")[0] for part in head], *lines)), strict=True)
    width = 0.3 + 0.085 * sum(max(column) + 1 for column in columns)
    figure = Figure(figsize=(8.4 + width, 6.2), layout="constrained")
    axes, side = figure.subplots(1, 2, width_ratios=(8.4, width))
    side.axis("off")
    _table(side, head, lines)
    return figure, axes


def _decades(values: Iterable[float]) -> tuple[float, float]:
    exponents = np.log10([v for v in values if 0 < v < float("inf")])
    return 10 ** (float(exponents.min()) - 0.4), 10 ** (float(exponents.max()) + 0.8)


def _peaks(roofline: Roofline) -> list[tuple[str, float]]:
    """(unit and type, operations a second) of the units that the program keeps busy, highest first."""
    device, found = roofline.hardware, {}
    for unit, dtype in sorted({pair for row in roofline.rows for pair in row.dtypes}):
        passes, _, name = dtype.rpartition(" x ")
        stated = device.peaks.get(("matrix" if unit == "compute" else unit, name))
        if stated is not None:  # there is none for a type that only its transcendentals come in
            found[f"{unit} {dtype}"] = stated.value / int(passes or 1)
    return sorted(found.items(), key=lambda item: -item[1])


def _ridges(roofline: Roofline) -> list[float]:
    return sorted(peak / roofline.hardware.bandwidth.value for _, peak in _peaks(roofline))


def _roof(axes: Any, roofline: Roofline, color: str, low: float, high: float, *, alone: bool) -> None:
    device, peaks = roofline.hardware, _peaks(roofline)
    bandwidth = device.bandwidth.value
    (unit, peak), *lesser = peaks
    ridge = peak / bandwidth
    axes.plot([low, ridge, high], [low * bandwidth, peak, peak], color=color, linewidth=1.8,
              label=f"{device.name}: {unit} {si(peak, 'OP/s')}, memory {si(bandwidth, 'B/s')}; {roofline.policy}")
    axes.plot([ridge], [peak], marker="D", color=color, markersize=5, zorder=4)
    axes.annotate(f"ridge {ridge:.4g}", (ridge, peak), (7, -4), textcoords="offset points", ha="left", va="top", color=color,
                  fontsize=8)
    for name, lower in lesser if alone else ():
        axes.plot([lower / bandwidth, high], [lower, lower], color=color, linewidth=0.9, linestyle="--")
        axes.text(high, lower * 0.94, f"{name}: {si(lower, 'OP/s')} ", ha="right", va="top", color=color, fontsize=8)
    if alone:
        axes.fill_between([low, ridge], 1e-30, [low * bandwidth, peak], color=COLORS[4], alpha=0.16, linewidth=0)
        axes.fill_between([ridge, high], 1e-30, [peak, peak], color=COLORS[5], alpha=0.16, linewidth=0)
        bottom = axes.get_ylim()[0] * 1.25
        axes.text(ridge / 1.15, bottom, "memory-bound", ha="right", color=COLORS[0])
        axes.text(ridge * 1.15, bottom, "compute-bound", ha="left", color=COLORS[1])
        for level in device.levels:
            if level.bandwidth:
                end = peak / level.bandwidth.value
                axes.plot([low, end], [low * level.bandwidth.value, peak], color="0.5", linewidth=0.9, linestyle=":")
                axes.annotate(f"{shown(level.name)} {si(level.bandwidth.value, 'B/s')}", (end, peak), (0, 4),
                              textcoords="offset points",
                              ha="center", color="0.4", fontsize=8,
                              parse_math=False)


@dataclass(frozen=True)
class Mark:
    """Rows that stand in one place on every device, as one numbered point: their first label, how many they are, and by device the
    place (None where the device has no such row) and the share of the time."""

    label: str
    count: int
    places: tuple[tuple[float, float] | None, ...]
    shares: tuple[float, ...]


def _marks(rooflines: Sequence[Roofline], rows: Sequence[Sequence[RooflineRow]], most: int) -> list[Mark]:
    """The ``most`` marks that take the longest on any device, from left to right in the picture."""
    same: dict[tuple[str, int], list[RooflineRow | None]] = {}  # a label's k-th row, by device
    for i, each in enumerate(rows):
        seen: Counter[str] = Counter()
        for row in each:
            same.setdefault((row.label, seen[row.label]), [None] * len(rows))[i] = row
            seen[row.label] += 1
    together: dict[tuple[tuple[str, str] | None, ...], list[tuple[str, list[RooflineRow | None]]]] = {}
    for (label, _), found in same.items():
        place = tuple(row and (f"{row.intensity:.2g}", f"{row.attainable:.2g}") for row in found)
        together.setdefault(place, []).append((label, found))
    marks = []
    for members in together.values():
        shares = [sum((roofline.share(member) for _, found in members if (member := found[i])), 0.0)
                  for i, roofline in enumerate(rooflines)]
        places = tuple(row and (row.intensity, row.attainable) for row in members[0][1])
        marks.append(Mark(members[0][0], len(members), places, tuple(shares)))
    longest = sorted(marks, key=lambda mark: -max(mark.shares))[:most]
    return sorted(longest, key=lambda mark: _highest(mark)[0])


def _highest(mark: Mark) -> tuple[float, float]:
    return max((place for place in mark.places if place), key=lambda place: place[1])


def _numbers(axes: Any, marks: Sequence[Mark]) -> None:
    """The numbers in a row along the top, each with a line to its highest point, and from there down to the others."""
    to_fraction = axes.transAxes.inverted()
    wanted = [to_fraction.transform(axes.transData.transform(_highest(mark)))[0] for mark in marks]
    for number, (mark, x) in enumerate(zip(marks, spread(wanted, _STEP), strict=True), start=1):
        axes.text(x, 0.965, str(number), transform=axes.transAxes, ha="center", va="center", fontsize=8, gid="number",
                  bbox={"boxstyle": "circle,pad=0.18", "facecolor": "white", "edgecolor": "0.5", "linewidth": 0.6})
        axes.annotate("", _highest(mark), (x, 0.94), textcoords=axes.transAxes, zorder=1,
                      arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "0.6", "shrinkA": 0, "shrinkB": 0})
        places = sorted((place for place in mark.places if place), key=lambda place: -place[1])
        axes.plot(*zip(*places, strict=True), color="0.6", linewidth=0.4, zorder=1)


def spread(wanted: Sequence[float], step: float) -> list[float]:
    """Positions in the same order, at least ``step`` apart and between ``step`` / 2 and 1 - ``step`` / 2, as near to the wanted
    (ascending) ones as that allows. Where there is no room for all they stand evenly.

    >>> spread([0.5, 0.5, 0.9], 0.1)
    [0.45, 0.55, 0.9]
    """
    count = len(wanted)
    step = min(step, 1 / max(count, 1))
    # Shifted by their rank they need only ascend: neighbours that do not are pooled at their mean.
    pools: list[tuple[float, int]] = []
    for i, x in enumerate(wanted):
        pool = (x - i * step, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, size = pools.pop()
            pool = ((mean * size + pool[0] * pool[1]) / (size + pool[1]), size + pool[1])
        pools.append(pool)
    ascending = [mean for mean, size in pools for _ in range(size)]
    low, high = step / 2, 1 - step / 2 - (count - 1) * step
    return [round(min(max(x, low), high) + i * step, 9) for i, x in enumerate(ascending)]


def _named(marks: Sequence[Mark]) -> list[list[str]]:
    return [[str(number), shown(mark.label) + (f" +{mark.count - 1}" if mark.count > 1 else ""), f"{_highest(mark)[0]:.3g}",
             *(f"{100 * share:.1f} %" if place else "-" for place, share in zip(mark.places, mark.shares, strict=True))]
            for number, mark in enumerate(marks, start=1)]


def _table(side: Any, head: list[str], lines: list[list[str]]) -> None:
    height = min(0.041, 0.92 / (len(lines) + 2))
    made = side.table([head, *lines], loc="upper left", cellLoc="left", edges="horizontal")
    made.auto_set_font_size(False)
    made.set_fontsize(8 if height == 0.041 else 6.5)
    made.auto_set_column_width(list(range(len(head))))
    for (line, _), drawn in made.get_celld().items():
        drawn.set_edgecolor("0.85")
        drawn.get_text().set_parse_math(False)  # a name with two dollars is no formula
        drawn.set_height(height if line else 1.9 * height)


# -- the memory wall ----------------------------------------------------------------------------------------------------------


# Generations of one class of device: a mixture of classes, phones and data centres, has no trend that means anything.
GENERATIONS = {
    "NVIDIA, data centre": ("v100-sxm-32gb", "a100-sxm-80gb", "h100-sxm", "b200-sxm"),
    "Google TPU, large": ("tpu-v2", "tpu-v3", "tpu-v4", "tpu-v5p", "tpu-v7x"),
}


def draw_memory_wall(generations: Mapping[str, Sequence[str | Hardware]] | None = None) -> Any:
    """The figure: how 16-bit peaks and bandwidths grew over generations of devices, each line as a multiple of its first.

    generations: devices of one class each, by the name of the line; all must state a year and a 16-bit peak. The growth in two
                 years is that of a least-squares line through the logarithms.
    """
    lines = {name: sorted(map(_loaded, devices), key=_year) for name, devices in (generations or GENERATIONS).items()}
    for name, devices in lines.items():
        if len({_year(d) for d in devices}) < 2:
            raise CostModelError(f"{name} are of one year: a memory wall needs generations")
    figure, axes = _page(
        ["year", "device", "peak", "bandwidth", "ridge\n[OP/B]"],
        [[str(_year(d)), d.name, si(_half(d), "OP/s"), si(d.bandwidth.value, "B/s"), f"{_half(d) / d.bandwidth.value:.3g}"]
         for devices in lines.values() for d in devices])
    for (name, devices), marker in zip(lines.items(), _MARKERS * len(lines), strict=False):
        years = np.array([_year(d) for d in devices], dtype=float)
        for what, values, color in (("peak", [_half(d) for d in devices], COLORS[1]),
                                    ("bandwidth", [d.bandwidth.value for d in devices], COLORS[0])):
            growth = 2 ** (2 * np.polyfit(years, np.log2(values), 1)[0])
            axes.plot(years, np.array(values) / values[0], color=color, marker=marker, markersize=5, linewidth=1.2,
                      label=f"{name}: {what} ×{growth:.2g} in two years")
    axes.set(yscale="log", xlabel="year of release", ylabel="multiple of the first generation")
    axes.set_title("The memory wall: 16-bit peak and memory bandwidth over generations", loc="left")
    axes.yaxis.set_major_formatter(lambda value, _: f"×{value:g}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(True, which="major", linewidth=0.3, color="0.85")
    axes.legend(loc="upper left", frameon=False)
    return figure


_MARKERS = ("o", "s", "^", "v")


def _loaded(device: str | Hardware) -> Hardware:
    return device if isinstance(device, Hardware) else load(device)


def _year(device: Hardware) -> int:
    if device.year is None:
        raise CostModelError(f"{device.name} states no year: add it to the device's file")
    return device.year


def _half(device: Hardware) -> float:
    """The dense 16-bit peak of the matrix engine."""
    peaks = [q.value for (engine, dtype), q in device.peaks.items() if engine == "matrix" and dtype in ("bfloat16", "float16")]
    if not peaks:
        raise MissingPeak(f"{device.name} has no 16-bit matrix peak")
    return max(peaks)
