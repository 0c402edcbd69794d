"""How numbers and tables are written for people: every result renders itself with these."""

from __future__ import annotations

import bisect
import difflib
import math
from collections.abc import Iterable, Sequence


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


_PREFIXES = ("", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P")  # the first: of what is smaller than all scales
_SCALES = tuple(10.0**power for power in range(-12, 16, 3))


def si(value: float, unit: str) -> str:
    """A quantity with an SI prefix: 4.09 G, 51.2 µ."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    place = bisect.bisect_right(_SCALES, abs(value))
    return f"{value / _SCALES[place - 1] if place else value:.3g} {_PREFIXES[place]}{unit}"


def apart(value: float, limit: float) -> str:
    """A number in four digits, or in as many more as it takes to see that it is not the limit.

    >>> apart(9.9444, 10.0), apart(9.99991, 10.0), apart(10.0, 10.0)
    ('9.944', '9.9999', '10')
    >>> apart(10.0, 10.00001)  # a limit that reads as the number does
    '10'
    """
    texts = [f"{value:.{digits}g}" for digits in range(4, 18)]
    return next((text for text in texts if value != limit and float(text) != float(f"{limit:.4g}")), texts[0])


def shown(text: str, most: int | None = None) -> str:
    r"""A text that others chose (a module's name, a file's title) as one line that moves no cursor: what cannot be printed is
    written as its code, and of more than ``most`` characters the first are there.

    >>> print(shown("red \x1b[31m\nand more", 15))
    red \x1b[31m\nand m…
    """
    cut = text if most is None or len(text) <= most else text[:most]
    if cut.isprintable():
        return cut + "…" * (len(cut) < len(text))
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return escaped + "…" * (len(cut) < len(text))


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body))
