"""Rooflines: the roofs of one or several devices, and what runs under them: layers, operations, whole models.

What is drawn is numbered and named in a table beside the picture (short names stand in the picture itself). The numbers stand in a
row above the roofs, spread so that no two touch, each with a line to its points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware
from costmodel.pictures.style import COLORS, Chart, beside, figure, name, quantities, save_picture, spread, title
from costmodel.text import shown, si

MOST_NUMBERS = 16
_STEP = 0.056  # of the axes' width: room for two digits
_SHORT = 4  # characters of a name that stands in the picture itself
_LINES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Spot:
    """What runs: its operations a byte, the operations a second that it can reach, and its part of the time (None: of no whole)."""

    label: str
    intensity: float
    attainable: float
    share: float | None = None


@dataclass(frozen=True)
class Roof:
    """A device, what runs on it under a fusion policy, and the (unit, dtype) that it keeps busy."""

    device: Hardware
    policy: str
    units: tuple[tuple[str, str], ...]
    spots: tuple[Spot, ...]

    @property
    def peaks(self) -> list[tuple[str, float]]:
        """(unit and type, operations a second), highest first."""
        found = {}
        for unit, dtype in self.units:
            passes, _, name = dtype.rpartition(" x ")  # "3 x bfloat16"
            stated = self.device.peaks.get(("matrix" if unit == "compute" else unit, name))
            if stated is not None:  # there is none for a type that only its transcendentals come in
                found[f"{unit} {dtype}"] = stated.value / int(passes or 1)
        return sorted(found.items(), key=lambda item: -item[1])


class Drawable(Protocol):
    """A result that has a roofline chart, and the name of what runs."""

    @property
    def name(self) -> str:
        """What runs."""
        ...

    def chart(self, by: str = "kernel", depth: int | None = None) -> Roofs:
        """Its roofline."""
        ...


def draw_rooflines(rooflines: Sequence[Drawable], *, by: str = "kernel", depth: int | None = None,
                   most: int = MOST_NUMBERS) -> Any:
    """The figure of one model on one or several devices, or of several models, each of which is then one mark; see
    :class:`Roofs`."""
    return together(rooflines, by=by, depth=depth, most=most).figure()


def plot_rooflines(rooflines: Sequence[Drawable], path: str, *, by: str = "kernel", depth: int | None = None,
                   most: int = MOST_NUMBERS) -> None:
    """Draw rooflines into an .svg, .png or .pdf file; see :func:`draw_rooflines`."""
    save_picture(lambda: together(rooflines, by=by, depth=depth, most=most).draw(), path)


def together(rooflines: Sequence[Drawable], *, by: str = "kernel", depth: int | None = None, most: int = MOST_NUMBERS) -> Roofs:
    """Rooflines in one picture; of several models each as a whole."""
    names = list(dict.fromkeys(each.name for each in rooflines))
    charts = [each.chart("model" if len(names) > 1 else by, depth) for each in rooflines]
    roofs: dict[tuple[str, str], Roof] = {}
    for chart in charts:
        for roof in chart.roofs:
            key = (roof.device.name, roof.policy)
            before = roofs.get(key)
            roofs[key] = roof if before is None else replace(
                before, spots=before.spots + roof.spots, units=tuple(dict.fromkeys(before.units + roof.units)))
    heading = charts[0].heading if len(names) == 1 else f"{len(names)} models"
    return Roofs(heading, charts[0].of if len(names) == 1 else "model", tuple(roofs.values()), most)


@dataclass(frozen=True)
class Roofs(Chart):
    """A roof a device, its ridge point (of several in the legend), and what runs as points under it; ``of`` says what a point is.

    The ``most`` points that take the longest (on any device, as a part of its time) are numbered, the others are small dots. Where
    there are more, those in the same place are one: "+2" says that a number stands for two more. One device alone also has its
    bound regions shaded, the roofs of its slower units, and those of nearer memories.
    """

    heading: str
    of: str
    roofs: tuple[Roof, ...]
    most: int = MOST_NUMBERS

    def draw(self) -> Any:
        """The figure."""
        if not any(roof.peaks for roof in self.roofs):
            raise CostModelError("there is no arithmetic to draw: every row only moves data")
        marks = _marks(self.roofs, self.most)
        short = all(len(mark.label) <= _SHORT and mark.count == 1 for mark in marks)
        if marks:
            shares = [f"{roof.device.name}\nshare" for roof in self.roofs] if any(s.share for r in self.roofs for s in r.spots) \
                else [f"{roof.device.name}\nOP/s" for roof in self.roofs]
            made, axes = beside(9, 6.6, ["", self.of, "OP/B", *shares], [_row(i, mark) for i, mark in enumerate(marks, 1)])
        else:
            made, axes = figure(9, 6.6)
        spots = [spot for roof in self.roofs for spot in roof.spots]
        ridges = [roof.peaks[0][1] / roof.device.bandwidth.value for roof in self.roofs if roof.peaks]
        around = [] if spots else [min(ridges) / 30, max(ridges) * 10]
        low, high = _decades([*(spot.intensity for spot in spots), *ridges, *around])
        ceiling = max(peak for roof in self.roofs for _, peak in roof.peaks)
        lowest = min((spot.attainable for spot in spots), default=min(r.device.bandwidth.value for r in self.roofs) * low)
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(lowest / 3, ceiling * (20 if marks else 5)),
                 xlabel="operational intensity [OP/B]", ylabel="attainable [OP/s]")
        axes.grid(True, which="major", linewidth=0.4, color="0.85")
        quantities(axes.yaxis, "")
        for i, roof in enumerate(self.roofs):
            self._roof(axes, roof, i, low, high)
            color, marker = COLORS[i % 7], _MARKERS[i % 7]
            axes.scatter([s.intensity for s in roof.spots], [s.attainable for s in roof.spots], s=9, color=color, zorder=3,
                         linewidth=0)
            if numbered := [place for mark in marks if (place := mark.places[i])]:
                axes.scatter(*zip(*numbered, strict=True), s=70, color=color, marker=marker, zorder=4, edgecolor="white",
                             linewidth=0.8)
        _numbers(axes, marks, short)
        made.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=1, frameon=False)
        title(axes, self.heading)
        return made

    def _roof(self, axes: Any, roof: Roof, i: int, low: float, high: float) -> None:
        if not roof.peaks:
            return
        device, color, alone = roof.device, COLORS[i % 7], len(self.roofs) == 1
        bandwidth = device.bandwidth.value
        (unit, peak), *lesser = roof.peaks
        ridge = peak / bandwidth
        told = ("" if alone else f", ridge {ridge:.4g}") + (f"; {roof.policy}" if roof.spots else "")
        axes.plot([low, ridge, high], [low * bandwidth, peak, peak], color=color, linewidth=2.4, linestyle=_LINES[i % 4],
                  label=f"{device.name}: {unit} {si(peak, 'OP/s')}, memory {si(bandwidth, 'B/s')}{told}")
        axes.plot([ridge], [peak], marker=_MARKERS[i % 7], color=color, markersize=9, markerfacecolor="white",
                  markeredgewidth=2, zorder=3.5)
        if not alone:
            return
        axes.annotate(f"ridge {ridge:.4g}", (ridge, peak), (-9, 5), textcoords="offset points", ha="right", va="bottom",
                      color=color, gid="ridge", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8})
        for unit, lower in _apart(lesser, peak):
            axes.plot([lower / bandwidth, high], [lower, lower], color=color, linewidth=1.2, linestyle="--")
            axes.text(high, lower * 0.93, f"{unit}: {si(lower, 'OP/s')} ", ha="right", va="top", color=color, fontsize=11,
                      gid="unit")
        axes.fill_between([low, ridge], 1e-30, [low * bandwidth, peak], color=COLORS[4], alpha=0.16, linewidth=0)
        axes.fill_between([ridge, high], 1e-30, [peak, peak], color=COLORS[5], alpha=0.16, linewidth=0)
        bottom = axes.get_ylim()[0] * 1.3
        axes.text(ridge / 1.2, bottom, "memory-bound", ha="right", color=COLORS[0])
        axes.text(ridge * 1.2, bottom, "compute-bound", ha="left", color=COLORS[1])
        for k, (level, rate) in enumerate((each.name, each.bandwidth.value) for each in device.levels if each.bandwidth):
            end = peak / rate
            axes.plot([low, end], [low * rate, peak], color="0.45", linewidth=1.2, linestyle=":")
            axes.annotate(f"{shown(level)} {si(rate, 'B/s')}", (end, peak), (0, 5 + 15 * k),
                          textcoords="offset points", ha="center", color="0.3", fontsize=11, parse_math=False, gid="level")


def _apart(lesser: Iterable[tuple[str, float]], peak: float) -> list[tuple[str, float]]:
    """Of the slower units those whose labels find room below one another."""
    found: list[tuple[str, float]] = []
    for unit, lower in lesser:
        if lower < 0.6 * (found[-1][1] if found else peak):
            found.append((unit, lower))
    return found


def _decades(values: Iterable[float]) -> tuple[float, float]:
    exponents = np.log10([v for v in values if 0 < v < float("inf")])
    return 10 ** (float(exponents.min()) - 0.4), 10 ** (float(exponents.max()) + 0.8)


@dataclass(frozen=True)
class Mark:
    """Spots that are one numbered point on every device: their first label, how many they are, and by device the place (None where
    the device has no such spot) and the share of the time."""

    label: str
    count: int
    places: tuple[tuple[float, float] | None, ...]
    shares: tuple[float | None, ...]


def _marks(roofs: Sequence[Roof], most: int) -> list[Mark]:
    """The ``most`` marks that take the longest on any device, from left to right in the picture."""
    same: dict[tuple[str, int], list[Spot | None]] = {}  # a label's k-th spot, by device
    for i, roof in enumerate(roofs):
        seen: Counter[str] = Counter()
        for spot in roof.spots:
            same.setdefault((spot.label, seen[spot.label]), [None] * len(roofs))[i] = spot
            seen[spot.label] += 1
    groups: dict[Any, list[tuple[str, list[Spot | None]]]] = {}
    for (label, k), found in same.items():
        place = tuple((f"{spot.intensity:.2g}", f"{spot.attainable:.2g}") if spot else None for spot in found)
        groups.setdefault(place if len(same) > most else (label, k), []).append((label, found))
    marks = []
    for members in groups.values():
        shares = [_sum(spot.share for _, found in members for spot in (found[i],) if spot) for i in range(len(roofs))]
        places = tuple((spot.intensity, spot.attainable) if spot else None for spot in members[0][1])
        marks.append(Mark(members[0][0], len(members), places, tuple(shares)))
    longest = sorted(marks, key=lambda mark: -max(share or 0.0 for share in mark.shares))[:most]
    return sorted(longest, key=lambda mark: _highest(mark)[0])


def _sum(shares: Iterable[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) if known else None


def _highest(mark: Mark) -> tuple[float, float]:
    return max((place for place in mark.places if place), key=lambda place: place[1])


def _row(number: int, mark: Mark) -> list[str]:
    label = name(mark.label, 32) + (f" +{mark.count - 1}" if mark.count > 1 else "")
    cells = ("-" if not place else si(place[1], "") if share is None else f"{100 * share:.1f} %"
             for place, share in zip(mark.places, mark.shares, strict=True))
    return [str(number), label, f"{_highest(mark)[0]:.3g}", *cells]


def _numbers(axes: Any, marks: Sequence[Mark], short: bool) -> None:
    """The numbers (or short names) in a row along the top, each with a line to its highest point, and from there down to the
    others."""
    to_fraction = axes.transAxes.inverted()
    wanted = [to_fraction.transform(axes.transData.transform(_highest(mark)))[0] for mark in marks]
    for number, (mark, x) in enumerate(zip(marks, spread(wanted, _STEP), strict=True), start=1):
        axes.text(x, 0.955, shown(mark.label) if short else str(number), transform=axes.transAxes, ha="center", va="center",
                  fontsize=11, gid="number", parse_math=False,
                  bbox={"boxstyle": "round,pad=0.2" if short else "circle,pad=0.18", "facecolor": "white", "edgecolor": "0.5",
                        "linewidth": 0.8})
        axes.annotate("", _highest(mark), (x, 0.925), textcoords=axes.transAxes, zorder=1,
                      arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": "0.6", "shrinkA": 0, "shrinkB": 0})
        places = sorted((place for place in mark.places if place), key=lambda place: -place[1])
        axes.plot(*zip(*places, strict=True), color="0.6", linewidth=0.6, zorder=1)


def device_roofs(devices: Sequence[Hardware]) -> Roofs:
    """The roofs of devices with nothing under them: of one alone all its peaks, of several the best dense matrix peak each."""
    roofs = []
    for device in devices:
        units = [unit for unit, peak in device.peaks.items() if peak.unit == "FLOP/s"]
        best = max((u for u in units if u[0] == "matrix"), key=lambda u: device.peaks[u].value, default=None)
        chosen = units if len(devices) == 1 or best is None else [best]
        roofs.append(Roof(device, "", tuple(chosen), ()))
    return Roofs(", ".join(device.title for device in devices) if len(devices) == 1 else f"{len(devices)} devices", "device",
                 tuple(roofs))

