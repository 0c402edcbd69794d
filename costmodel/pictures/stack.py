"""Memory over time: what is held while each kernel runs, stacked by what it is held for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.pictures.style import COLORS, HATCHES, Chart, figure, name, quantities, title
from costmodel.text import si

_ROOM = 0.028  # of the width: what an upright label takes
_SHORT = 16  # characters, above which upright labels take the picture's place


@dataclass(frozen=True)
class Stack(Chart):
    """Layers over steps.

    layers: (name, bytes at every step), from the bottom up.
    steps:  the module of each step, of which the first of each name is a tick.
    limit:  (name, bytes) of a memory that it is to fit into; None for none.
    """

    heading: str
    layers: tuple[tuple[str, tuple[float, ...]], ...]
    steps: tuple[str, ...]
    limit: tuple[str, float] | None = None

    def draw(self) -> Any:
        """The figure."""
        layers = [(label, np.array(values, dtype=float)) for label, values in self.layers if any(values)]
        if not layers:
            raise CostModelError("there is nothing to draw: no memory is held here")
        greatest = max(values.max() for _, values in layers)
        small = [values for _, values in layers if values.max() < 0.004 * greatest]  # lines that nobody sees
        layers = [(label, values) for label, values in layers if values.max() >= 0.004 * greatest]
        if small:
            layers.append(("others", sum(small, np.zeros(len(self.steps)))))
        made, ax = figure(10, 5.6)
        edges = np.arange(len(self.steps) + 1)
        below = np.zeros(len(self.steps))
        for i, (label, values) in enumerate(layers):
            ax.fill_between(edges, np.append(below, below[-1]), np.append(below + values, (below + values)[-1]), step="post",
                            facecolor=COLORS[i % 7], hatch=HATCHES[i % 7], edgecolor="white", linewidth=0.0, label=name(label))
            below = below + values
        ax.step(edges, np.append(below, below[-1]), where="post", color="black", linewidth=1.0)
        most = int(below.argmax())
        top = max(float(below[most]), self.limit[1] if self.limit else 0.0)
        ax.set(xlim=(0, len(self.steps)), ylim=(0, 1.2 * top), ylabel="live bytes")
        side = most > 0.6 * len(self.steps)
        ax.annotate(f"peak {si(float(below[most]), 'B')} in {name(self.steps[most])}", (most + 0.5, below[most]),
                    (-14 if side else 14, 16), textcoords="offset points", ha="right" if side else "left", va="bottom",
                    fontweight="bold", gid="value", parse_math=False,
                    arrowprops={"arrowstyle": "->", "linewidth": 1.2, "shrinkB": 0})
        if self.limit:
            ax.axhline(self.limit[1], color="black", linestyle="--", linewidth=1.4)
            ax.annotate(f"{self.limit[0]}: {si(self.limit[1], 'B')}", (0 if side else 1, self.limit[1]), (4 if side else -4, 4),
                        xycoords=("axes fraction", "data"), textcoords="offset points", ha="left" if side else "right",
                        va="bottom", gid="limit")
        places = self._ticks()
        ax.set_xticks([place for place, _ in places], [name(label, 24) for _, label in places], rotation=90, ha="center",
                      fontsize=10, parse_math=False)
        quantities(ax.yaxis, "B")
        ax.grid(True, axis="y", linewidth=0.4, color="0.85")
        made.legend(*ax.get_legend_handles_labels(), loc="outside lower left", ncols=6, frameon=False)
        ax.set_xlabel("kernels in the order in which they run, by module")
        title(ax, self.heading)
        return made

    def _ticks(self) -> list[tuple[float, str]]:
        """(place, module) of the longest runs of steps of one module, so far apart that no two labels touch. Modules are told to
        the greatest depth at which all of them find room, and are short."""
        steps, starts = self.steps, [0]
        for depth in range(max(step.count("/") for step in self.steps) + 1, 0, -1):
            steps = tuple("/".join(step.split("/")[:depth]) for step in self.steps)
            starts = [0, *(i for i, (a, b) in enumerate(pairwise(steps), 1) if a != b), len(steps)]
            if (len(starts) - 1) * _ROOM <= 1 and max(map(len, steps)) <= _SHORT:
                break
        runs = sorted(((b - a, a, b) for a, b in pairwise(starts)), key=lambda run: (-run[0], run[1]))
        chosen: list[tuple[float, str]] = []
        for _, a, b in runs:
            middle = (a + b) / 2
            if all(abs(middle - other) >= _ROOM * len(self.steps) for other, _ in chosen):
                chosen.append((middle, steps[a]))
        return sorted(chosen)
