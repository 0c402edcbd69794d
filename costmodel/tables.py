"""Tables as text. What fits its width is laid out here; what must be folded or cut, and what rich alone can draw, is rich's.

Both write the same characters; a table of a deep network's kernels takes rich ninety times as long as pricing them.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from costmodel.text import shown


@dataclass
class Grid:
    """A table in the house's style, with a head, rows in sections and a caption; columns are aligned to the right but for those of
    the names in ``left``."""

    columns: tuple[str, ...]
    left: tuple[str, ...] = ()
    caption: str = ""
    rows: list[tuple[str, ...] | None] = field(default_factory=list)  # None: a section ends

    def add_row(self, *cells: str) -> None:
        """One more row, of a text a column."""
        self.rows.append((*cells, *[""] * (len(self.columns) - len(cells))))

    def add_section(self) -> None:
        """An empty line after the rows so far."""
        if self.rows and self.rows[-1] is not None:
            self.rows.append(None)

    def __rich__(self) -> Any:
        from rich import box
        from rich.table import Table

        out = Table(box=box.SIMPLE, caption=self.caption or None, caption_justify="left")
        for name in self.columns:
            out.add_column(name, justify="left" if name in self.left else "right",
                           overflow="fold" if name in self.left else "ellipsis")
        for row in self.rows:
            if row is None:
                out.add_section()
            else:
                out.add_row(*row)
        return out

    def lines(self, width: int) -> list[str] | None:
        """The table, line by line. None where it does not fit as it is."""
        heads = [name.split("\n") for name in self.columns]
        body = [row for row in self.rows if row is not None]
        text = "".join([*(line for head in heads for line in head), *("".join(row) for row in body)])
        if not all(map(all, heads)) or not heads or not _is_narrow(text):
            return None
        widths = [max(map(len, (*head, *cells))) for head, cells in zip(heads, zip(*body, strict=True) if body else [()]*len(heads),
                                                                        strict=True)]
        whole = sum(widths) + 3 * len(widths) - 1
        captions = self.caption.split("\n") if self.caption else []
        if whole + 2 > width or not all(_is_narrow(line) and len(line) <= whole + 2 for line in captions):
            return None
        layout = "  " + "   ".join(f"%{'-' * (name in self.left)}{w}s" for name, w in zip(self.columns, widths, strict=True))

        def line(cells: Sequence[str]) -> str:
            return (layout % tuple(cells)).rstrip()

        tall = max(map(len, heads))
        above = [line([head[i] if i < len(head) else "" for head in heads]) for i in range(tall)]
        rows = self.rows[:-1] if self.rows and self.rows[-1] is None else self.rows
        return ["", *above, " " + "─" * whole, *("" if row is None else line(row) for row in rows), "", *captions]


@dataclass
class Titled:
    """Renderables below a title."""

    title: str
    below: tuple[Any, ...]

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(Text(self.title), *self.below)


def grid(*columns: str, left: tuple[str, ...] = (), caption: str = "") -> Grid:
    """An empty table; see :class:`Grid`."""
    return Grid(columns, left, caption)


def titled(title: str, *below: Any) -> Titled:
    """Tables and texts below a title."""
    return Titled(shown(title), below)


def printed(renderable: Any, width: int | None = None) -> str:
    """A table, a titled one, or what rich prints, as text without colours: brackets and colons in a name are no markup, and escape
    sequences no commands."""
    return "\n".join(shown(line.rstrip()) for line in _lines(renderable, width or 200))


def _lines(renderable: Any, width: int) -> list[str]:
    if isinstance(renderable, Titled):
        return [line for part in (renderable.title, *renderable.below) for line in _lines(part, width)]
    lines = renderable.lines(width) if isinstance(renderable, Grid) else None
    if isinstance(renderable, str):
        lines = _wrapped(renderable, width)
    return _by_rich(renderable, width) if lines is None else lines


def _wrapped(text: str, width: int) -> list[str] | None:
    """A text of words between single spaces as lines. None for any other."""
    words = text.split(" ")
    if not _is_narrow(text) or not all(0 < len(word) <= width for word in words):
        return None
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _by_rich(renderable: Any, width: int) -> list[str]:
    from rich.console import Console

    console = Console(width=width, force_terminal=False, no_color=True, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get().removesuffix("\n").split("\n")


def _is_narrow(text: str) -> bool:
    """Whether it is one line, each character of which is one column wide."""
    if text.isascii():
        return text.isprintable()
    return text.isprintable() and not any(unicodedata.east_asian_width(c) in "WF" or unicodedata.combining(c) for c in set(text))
