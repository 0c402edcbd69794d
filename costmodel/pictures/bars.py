"""Bars: a row a layer, a model or a quantity, one series or several stacked, beside the limits that they are to keep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from costmodel.errors import CostModelError
from costmodel.pictures.style import COLORS, HATCHES, Chart, figure, figures, name, title, told

MOST = 28  # bars that can be read on one page


@dataclass(frozen=True)
class Bars(Chart):
    """Horizontal bars.

    heading:  the title; ``label`` and ``unit`` of the axis.
    rows:     the bars' names, from top to bottom.
    series:   (name, a value a row); several are stacked.
    limits:   (name, value): lines across all bars.
    whole:    what the parts written at the bars are of; None for no parts.
    adds:     whether bars that find no room are summed as "… others"; else the longest stand.
    """

    heading: str
    label: str
    unit: str
    rows: tuple[str, ...]
    series: tuple[tuple[str, tuple[float, ...]], ...]
    limits: tuple[tuple[str, float], ...] = ()
    whole: float | None = None
    adds: bool = False

    def draw(self) -> Any:
        """The figure."""
        if not self.rows or not any(any(values) for _, values in self.series):
            raise CostModelError(f"there is nothing to draw: no {self.label} here is more than 0")
        rows, series = self._fitted()
        many = len(series) > 1
        high = 0.36 * len(rows) + 1.5 + 0.4 * many + 0.3 * bool(self.limits)
        made, axes = figure(10, max(high, 2.6))
        sums = [sum(parts) for parts in zip(*(values for _, values in series), strict=True)]
        before = [0.0] * len(rows)
        for i, (label, values) in enumerate(series):
            axes.barh(range(len(rows)), values, left=before, facecolor=COLORS[i % 7],
                      hatch=HATCHES[i % 7] if many else "", height=0.72, edgecolor="white", linewidth=0.5, label=name(label))
            before = [a + b for a, b in zip(before, values, strict=True)]
        axes.set_yticks(range(len(rows)), [name(row, 40) for row in rows], parse_math=False)
        axes.set_ylim(len(rows) - 0.4, -0.6 - 0.7 * bool(self.limits))
        most = max(*sums, *(value for _, value in self.limits))
        axes.set_xlim(0, 1.22 * most)
        written = told([*sums, *(value for _, value in self.limits)], self.unit)
        for i, total in enumerate(sums):
            part = f"  {100 * total / self.whole:.1f} %" if self.whole else ""
            axes.annotate(written[i] + part, (total, i), (6, 0), textcoords="offset points", va="center",
                          fontsize=11, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, gid="value")
        self._limits(axes, most, written[len(sums):])
        axes.set_xlabel(self.label)
        axes.xaxis.set_major_formatter(lambda value, _: figures(value, self.unit) if value else "0")
        axes.locator_params(axis="x", nbins=6)
        axes.grid(True, axis="x", linewidth=0.4, color="0.85")
        axes.tick_params(axis="y", length=0)
        if many:
            made.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=4, frameon=False)
        title(axes, self.heading)
        return made

    def _limits(self, axes: Any, most: float, written: list[str]) -> None:
        texts = dict(zip(self.limits, written, strict=True))
        for i, (label, value) in enumerate(sorted(self.limits, key=lambda each: each[1])):
            axes.axvline(value, color="black", linewidth=1.4, linestyle=("--", ":", "-.")[i % 3], zorder=1)
            right = value > 0.6 * most
            axes.annotate(f"{label}: {texts[label, value]}", (value, 1), (-4 if right else 4, -3 - 13 * i),
                          xycoords=("data", "axes fraction"), textcoords="offset points", ha="right" if right else "left",
                          va="top", fontsize=11, gid="limit")

    def _fitted(self) -> tuple[list[str], list[tuple[str, list[float]]]]:
        """The rows that find room, in their order: the longest ones, and of what adds the sum of the others. What adds nothing is
        left out."""
        sums = [sum(parts) for parts in zip(*(values for _, values in self.series), strict=True)]
        if self.adds and not all(sums):
            some = [i for i, total in enumerate(sums) if total]
            return replace(self, rows=tuple(self.rows[i] for i in some),
                           series=tuple((label, tuple(v[i] for i in some)) for label, v in self.series))._fitted()
        if len(self.rows) <= MOST:
            return list(self.rows), [(label, list(map(float, values))) for label, values in self._told()]
        kept = sorted(sorted(range(len(sums)), key=lambda i: -sums[i])[:MOST - 1])
        left = set(range(len(sums))) - set(kept)
        rows = [self.rows[i] for i in kept] + ([f"{len(left)} others"] if self.adds else [])
        return rows, [(label, [float(values[i]) for i in kept] + ([float(sum(values[i] for i in left))] if self.adds else []))
                      for label, values in self._told()]

    def _told(self) -> list[tuple[str, tuple[float, ...]]]:
        """The series; of many those that are seen, and the others as one."""
        if len(self.series) < 3:
            return list(self.series)
        whole = sum(sum(values) for _, values in self.series)
        seen = sorted(sorted(range(len(self.series)), key=lambda i: -sum(self.series[i][1]))[:6])
        seen = [i for i in seen if sum(self.series[i][1]) >= 0.01 * whole]
        rest = [values for i, (_, values) in enumerate(self.series) if i not in seen]
        others = [("others", tuple(map(sum, zip(*rest, strict=True))))] if rest else []
        return [*(self.series[i] for i in seen), *others]
