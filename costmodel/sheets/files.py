"""Sheets for programs and documents: CSV, JSON, markdown, a pandas frame."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from costmodel.errors import CostModelError
from costmodel.sheets.sheet import Sheet, is_form
from costmodel.text import shown


def to_csv(sheet: Sheet) -> str:
    """As CSV, formulas in Python syntax. A cell that a spreadsheet would run (``=…``) opens with an apostrophe, unless it is a
    number."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_inert, sheet.heads()))
    writer.writerows(["" if value is None else _inert(value) for value in record] for record in sheet.records())
    return out.getvalue()


def _inert(value: Any) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula of its own; numbers stay as they are."""
    text = shown(str(value))  # a line break would open a row
    number = not isinstance(value, str) and getattr(value, "is_number", True)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not number else text


def to_json(sheet: Sheet) -> str:
    """As JSON: the title, a list of columns with their units, a record a row, the total apart, and the notes. Formulas are text in
    Python syntax; what is infinite or not known is null."""
    keys = [sheet.columns[0].name, *(["repeats"] if sheet.grouped else []), *(column.name for column in sheet.columns[1:])]
    units = ["", *([""] if sheet.grouped else []), *(column.unit for column in sheet.columns[1:])]
    made = [dict(zip(keys, map(_jsonable, record), strict=True)) for record in sheet.records()]
    whole = {"total": made.pop()} if sheet.total else {}
    told = {"title": sheet.title, "columns": [{"name": k, "unit": u} for k, u in zip(keys, units, strict=True)], "rows": made}
    return json.dumps({**told, **whole, "notes": list(sheet.notes)}, indent=2, ensure_ascii=False)


def _jsonable(value: Any) -> Any:
    if is_form(value):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_markdown(sheet: Sheet) -> str:
    """As a table of GitHub's markdown, with its title and notes; cells as people read them."""
    heads = [column.head if column.style != "si" else column.name for column in sheet.columns]
    left = [i == 0 or column.style == "text" for i, column in enumerate(sheet.columns)]
    rows = [[line.told, *(column.shown(v) for column, v in zip(sheet.columns[1:], line.cells, strict=True))]
            for line in sheet.lines]
    table = [_row(heads), "|" + "|".join(":--" if flush else "--:" for flush in left) + "|", *map(_row, rows)]
    return "\n\n".join(["\n".join(table) if not sheet.title else f"**{_escaped(sheet.title)}**\n\n" + "\n".join(table),
                        *map(_escaped, sheet.notes)]) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    """Text that no markdown reader takes for markup."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#|~$!" else c for c in shown(text))


def to_pandas(sheet: Sheet) -> Any:
    """As a pandas.DataFrame without the total, so that its columns sum to it; title, units and notes are in ``attrs``. Integers
    beyond 64 bits and formulas are objects."""
    try:
        import pandas
    except ImportError:
        raise CostModelError("to_pandas needs pandas: pip install pandas") from None
    frame = pandas.DataFrame(list(sheet.records(total=False)), columns=list(sheet.heads()))
    frame.attrs.update(title=sheet.title, notes=list(sheet.notes), units={c.head: c.unit for c in sheet.columns})
    return frame
