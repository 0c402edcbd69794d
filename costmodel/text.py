"""How numbers and tables are written for people: every result renders itself with these."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


def did_you_mean(name: object, among: Iterable[str], cutoff: float = 0.5) -> str:
    """What an error says after naming something that is not there: a space and the nearest of the names that are, or nothing.

    >>> did_you_mean("flop", ["flops", "macs"]), did_you_mean("banana", ["flops", "macs"])
    (' did you mean flops?', '')
    >>> did_you_mean("a100", ["h100-sxm", "a100-sxm-80gb"])
    ' did you mean a100-sxm-80gb?'
    """
    wanted, known = str(name).lower(), {each.lower(): each for each in among}
    begun = sorted(each for each in known if len(wanted) > 1 and each.startswith(wanted))
    near = begun[:3] or difflib.get_close_matches(wanted, known, n=3, cutoff=cutoff)
    return f" did you mean {' or '.join(known[each] for each in near)}?" if near else ""


def si(value: float, unit: str) -> str:
    """A quantity with an SI prefix: 4.09 G, 51.2 µ."""
    if value == 0:
        return f"0 {unit}"
    for power, prefix in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"), (0, ""), (-3, "m"), (-6, "µ"), (-9, "n"), (-12, "p")):
        if abs(value) >= 10.0**power:
            return f"{value / 10.0**power:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def shown(text: str, most: int | None = None) -> str:
    r"""A text that others chose (a module's name, a file's title) as one line that moves no cursor: what cannot be printed is
    written as its code, and of more than ``most`` characters the first are there.

    >>> print(shown("red \x1b[31m\nand more", 15))
    red \x1b[31m\nand m…
    """
    cut = text if most is None or len(text) <= most else text[:most]
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return escaped + "…" * (len(cut) < len(text))


def printed(renderable: Any, width: int | None = None) -> str:
    """What rich prints, as text without colours: brackets and colons in a name are no markup, and escape sequences no commands."""
    from rich.console import Console

    console = Console(width=width or 200, force_terminal=False, no_color=True, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(shown(line.rstrip()) for line in capture.get().removesuffix("\n").split("\n"))


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body))


def grid(*columns: str, left: tuple[str, ...] = (), caption: str = "") -> Any:
    """An empty rich table in the house's style; columns are aligned to the right but for those in ``left``."""
    from rich import box
    from rich.table import Table

    out = Table(box=box.SIMPLE, caption=caption or None, caption_justify="left")
    for name in columns:
        out.add_column(name, justify="left" if name in left else "right", overflow="fold" if name in left else "ellipsis")
    return out


def titled(title: str, *below: Any) -> Any:
    """Renderables below a title that is not broken at their width."""
    from rich.console import Group
    from rich.text import Text

    return Group(Text(shown(title)), *below)
