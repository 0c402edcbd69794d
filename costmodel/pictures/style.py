"""The house's style of pictures: sizes that the last row of a lecture hall reads, colours for everyone, files that repeat."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from costmodel.errors import CostModelError
from costmodel.files import PICTURES, write_bytes
from costmodel.text import shown, si

# Okabe and Ito's colours, which readers who confuse red and green tell apart; yellow is left out, it is pale on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "oo")
_SETTINGS: Mapping[str, Any] = {
    "svg.hashsalt": "costmodel", "font.size": 12, "axes.titlesize": 14, "axes.labelsize": 12, "legend.fontsize": 11,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "hatch.linewidth": 1.0, "axes.titlepad": 12,
}


class Chart:
    """What can be drawn."""

    def draw(self) -> Any:
        """The figure, under the settings of the house."""
        raise NotImplementedError

    def figure(self) -> Any:
        """A matplotlib Figure. Raises CostModelError where there is no matplotlib."""
        return styled(self.draw)

    def save(self, path: str) -> None:
        """Draw into an .svg, .png or .pdf file; the same picture gives the same file."""
        save_picture(self.draw, path)


def styled(draw: Callable[[], Any]) -> Any:
    """What ``draw`` makes, under the settings of the house."""
    try:
        import matplotlib
    except ImportError:
        raise CostModelError("pictures need matplotlib: pip install 'jax-costmodel[plot]'") from None
    with matplotlib.rc_context(dict(_SETTINGS)):
        return draw()


def save_picture(draw: Callable[[], Any], path: str) -> None:
    """Draw into a file of a kind that its name says; the same picture gives the same file."""
    suffix = Path(path).suffix.lower()
    if suffix not in PICTURES:
        raise CostModelError(f"{path!r} names no kind of picture: end it in {', '.join(PICTURES)}")
    drawn, metadata = io.BytesIO(), {"Date": None} if suffix == ".svg" else None
    styled(lambda: draw().savefig(drawn, format=suffix[1:], dpi=160, bbox_inches="tight", metadata=metadata))
    write_bytes(path, drawn.getvalue())


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **how: Any) -> tuple[Any, Any]:
    """A figure of so many inches, and its axes."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.subplots(rows, columns, **how)


def title(axes: Any, text: str) -> None:
    """A title at the left, of which no dollar makes a formula."""
    axes.set_title(shown(text), loc="left", parse_math=False)


def quantities(axis: Any, unit: str) -> None:
    """Ticks with prefixes: 20 M, 40 M."""
    axis.set_major_formatter(lambda value, _: si(value, unit) if value else "0")


def figures(value: float, unit: str) -> str:
    """A quantity at a bar: with a prefix, a bare ratio as it is."""
    return si(value, unit) if unit else si(value, "").strip() if value >= 1000 else f"{value:.3g}"


def told(values: Sequence[float], unit: str) -> list[str]:
    """Quantities at the bars of one picture; those that differ and would read the same have more digits, up to six.

    >>> told([79.979e9, 80.0026e9, 80e9, 20.1e9], "B")
    ['79.98 GB', '80.003 GB', '80 GB', '20.1 GB']
    >>> told([0.12341, 0.12342], "")
    ['0.12341', '0.12342']
    """
    def text(value: float, digits: int) -> str:
        if digits == 3:
            return figures(value, unit)
        if not unit and value < 1000:  # as figures() writes it: a part has no prefix
            return f"{value:.{digits}g}"
        whole, _, prefixed = si(value, unit).partition(" ")
        scale = value / float(whole)  # near a power of ten
        return f"{value / 10.0 ** round(math.log10(scale)):.{digits}g} {prefixed}".strip()

    found = [text(value, 3) for value in values]
    for digits in (4, 5, 6):
        alike = [i for i, one in enumerate(found) if any(one == other and values[i] != values[j] for j, other in enumerate(found))]
        for i in alike:
            found[i] = text(values[i], digits)
    return found


def name(text: str, most: int = 30) -> str:
    """A name as a label: its end is what tells layers apart."""
    text = shown(text)
    return text if len(text) <= most else f"…{text[1 - most:]}"


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


def beside(width: float, height: float, head: list[str], lines: list[list[str]]) -> tuple[Any, Any]:
    """A figure with axes on the left and a table on the right, as wide as its text."""
    columns = zip(*(map(len, line) for line in ([max(part.split("\n"), key=len) for part in head], *lines)), strict=True)
    table_width = 0.3 + 0.1 * sum(max(column) + 1 for column in columns)
    made, (axes, side) = figure(width + table_width, height, 1, 2, width_ratios=(width, table_width))
    side.axis("off")
    row = min(0.05, 0.94 / (len(lines) + 2))
    table = side.table([head, *lines], loc="upper left", cellLoc="left", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(10 if row > 0.036 else 8)
    table.auto_set_column_width(list(range(len(head))))
    for (line, _), cell in table.get_celld().items():
        cell.set_edgecolor("0.85")
        cell.get_text().set_parse_math(False)  # a name with two dollars is no formula
        cell.set_height(row if line else 1.9 * row)
    return made, axes
