"""Quantities of the blocks of a network, one panel below the other, such as activations over weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from costmodel.errors import CostModelError
from costmodel.pictures.style import COLORS, Chart, figure, name, quantities, title
from costmodel.text import si


@dataclass(frozen=True)
class Panels(Chart):
    """Upright bars over the same blocks.

    blocks: their names, in the order in which they run.
    panels: (what, its unit, a value a block); the greatest is marked.
    limits: by the panel's name a (label, value) that all bars are to keep below.
    """

    heading: str
    blocks: tuple[str, ...]
    panels: tuple[tuple[str, str, tuple[float, ...]], ...]
    limits: tuple[tuple[str, str, float], ...] = ()

    def draw(self) -> Any:
        """The figure."""
        if not self.blocks:
            raise CostModelError("there are no blocks to draw")
        made, axes = figure(max(8.0, 2.2 + 0.42 * len(self.blocks)), 2.0 + 2.5 * len(self.panels), len(self.panels), 1,
                            sharex=True, squeeze=False)
        for i, (ax, (what, unit, values)) in enumerate(zip(axes[:, 0], self.panels, strict=True)):
            self._panel(ax, COLORS[i], what, unit, list(map(float, values)))
        last = axes[-1, 0]
        last.set_xticks(range(len(self.blocks)), [name(block, 22) for block in self.blocks], rotation=90, fontsize=11,
                        parse_math=False)
        title(axes[0, 0], self.heading)
        return made

    def _panel(self, ax: Any, color: str, what: str, unit: str, values: list[float]) -> None:
        most = max(range(len(values)), key=values.__getitem__)
        ax.bar(range(len(values)), values, color=color, width=0.76)
        ax.bar([most], [values[most]], color=color, width=0.76, edgecolor="black", linewidth=1.8)
        limits = [(label, value) for panel, label, value in self.limits if panel == what]
        top = max([values[most], *(value for _, value in limits)])
        ax.set_ylim(0, 1.24 * top)
        ax.annotate(si(values[most], unit), (most, values[most]), (0, 4), textcoords="offset points",
                    ha="left" if most < len(values) / 8 else "right" if most > 7 * len(values) / 8 else "center", va="bottom",
                    fontsize=12, fontweight="bold", gid="value",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85})
        for label, value in limits:
            ax.axhline(value, color="black", linestyle="--", linewidth=1.4)
            left = most > len(values) / 2
            ax.annotate(f"{label}: {si(value, unit)}", (0 if left else 1, value), (4 if left else -4, 4),
                        xycoords=("axes fraction", "data"), textcoords="offset points", ha="left" if left else "right",
                        va="bottom", fontsize=11, gid="limit")
        ax.set_ylabel(what)
        quantities(ax.yaxis, unit)
        ax.locator_params(axis="y", nbins=5)
        ax.grid(True, axis="y", linewidth=0.4, color="0.85")
        ax.tick_params(axis="x", length=0)
        ax.margins(x=0.01)
