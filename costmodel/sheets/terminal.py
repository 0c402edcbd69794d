"""Sheets as text. No digit is ever left out: what is wider than the terminal goes on below, under the same labels."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from itertools import zip_longest

from costmodel.sheets.sheet import Sheet
from costmodel.text import shown

_GAP = "  "
_LEAST = 12  # characters of a label or a formula that are kept on one line


def text(sheet: Sheet, width: int | None = None) -> str:
    """The sheet with its title and notes, in lines of ``width`` characters where its numbers let it."""
    room = width or 200
    below = [line for note in sheet.notes for line in _wrapped(shown(note), room)]
    return "\n".join([*([shown(sheet.title), ""] if sheet.title else []), *_grid(sheet, room), *([""] if below else []), *below])


def _grid(sheet: Sheet, room: int) -> list[str]:
    heads = [[column.name, *([f"[{column.unit}]"] if column.unit and column.style != "si" else [])] for column in sheet.columns]
    columns = [[" " * (2 * (not line.counts)) + shown(line.told) for line in sheet.lines],
               *[column.all_shown([line.cells[i] for line in sheet.lines]) for i, column in enumerate(sheet.columns[1:])]]
    body = list(zip(*columns, strict=True))
    widths = [max(map(len, (*head, *column))) for head, column in zip(heads, columns, strict=True)]
    least = [_least(head, column, i == 0, sheet.columns[i].style in ("text", "exact"))
             for i, (head, column) in enumerate(zip(heads, columns, strict=True))]
    out: list[str] = []
    for block in _blocks(least, room, sheet.keys):
        fitted = _fitted([widths[i] for i in block], [least[i] for i in block], room)
        left = [i == 0 or sheet.columns[i].style == "text" for i in block]

        pads = [(str.ljust if flush else str.rjust, size) for flush, size in zip(left, fitted, strict=True)]

        def line(parts: Sequence[str], pads: Sequence[tuple[Callable[[str, int], str], int]] = pads) -> str:
            return " " + _GAP.join([pad(part, size) for part, (pad, size) in zip(parts, pads, strict=True)]).rstrip()

        def lines(cells: list[list[str]]) -> list[str]:
            return [line(parts) for parts in zip_longest(*cells, fillvalue="")]

        tallest = max(len(heads[i]) for i in block)
        rule = " " + "─" * (sum(fitted) + len(_GAP) * (len(block) - 1))
        out += [""] * bool(out) + lines([[""] * (tallest - len(heads[i])) + heads[i] for i in block]) + [rule]
        whole = all(widths[i] <= size for i, size in zip(block, fitted, strict=True))
        for number, row in enumerate(body):
            if sheet.total and number == len(body) - 1:
                out.append("")
            if whole:
                out.append(line(row if len(block) == len(row) else [row[i] for i in block]))
            else:
                out += lines([_wrapped(row[i], size, row[i][:len(row[i]) - len(row[i].lstrip())])
                              for i, size in zip(block, fitted, strict=True)])
    return out


def _least(head: list[str], column: list[str], is_label: bool, breaks: bool) -> int:
    """The characters that a column needs: its longest piece without a break (a number and its unit are none); a label is broken
    anywhere."""
    longest = max(map(len, (piece for text in column for piece in text.split(" ")) if breaks else column), default=0)
    return max(min(longest, _LEAST) if is_label else longest, *map(len, head))


def _blocks(least: list[int], room: int, keys: int) -> list[list[int]]:
    """Which columns stand side by side, the keys in every block: the first of them alone where all take more than half the room."""
    if 1 + sum(size + len(_GAP) for size in least[:keys]) > room // 2:
        keys = 1
    first = list(range(keys))
    blocks: list[list[int]] = [list(first)]
    for i in range(keys, len(least)):
        block = blocks[-1]
        if len(block) > keys and 1 + sum(least[k] + len(_GAP) for k in block) + least[i] > room:
            blocks.append([*first, i])
        else:
            block.append(i)
    return blocks


def _fitted(widths: list[int], least: list[int], room: int) -> list[int]:
    """Widths of the columns of a block: the widest give way until all fit, none below what it needs."""
    fitted = list(widths)
    while 1 + sum(fitted) + len(_GAP) * (len(fitted) - 1) > room:
        giving = [i for i in range(len(fitted)) if fitted[i] > least[i]]
        if not giving:
            break
        widest = max(giving, key=lambda i: fitted[i])
        fitted[widest] -= 1
    return fitted


def _wrapped(text: str, room: int, indent: str = "") -> list[str]:
    if len(text) <= room:
        return [text]
    return textwrap.wrap(text, max(room, 1), subsequent_indent=indent, break_on_hyphens=False) or [text]
