"""Sheets as HTML, for notebooks."""

from __future__ import annotations

import html

from costmodel.sheets.sheet import Line, Sheet


def to_html(sheet: Sheet, heading: str = "") -> str:
    """A self-contained table; everything that comes from a model's names is escaped."""
    head = "".join(f"<th style='text-align:right'>{html.escape(column.name)}" + (
        f"<br><small>{html.escape(column.unit)}</small>" if column.unit and column.style != "si" else "") + "</th>"
        for column in sheet.columns[1:])
    first = f"<th style='text-align:left'>{html.escape(sheet.columns[0].name)}</th>"
    body = "".join(f"<tr>{_cells(sheet, line)}</tr>" for line in sheet.rows)
    if sheet.total:
        body += f"<tr style='border-top:1px solid;font-weight:bold'>{_cells(sheet, Line('total', sheet.total))}</tr>"
    notes = "".join(f"<small>{html.escape(note)}</small><br>" for note in sheet.notes)
    top = f"<pre>{html.escape(heading)}</pre>" if heading else f"<b>{html.escape(sheet.title)}</b>"
    return f"{top}<table><thead><tr>{first}{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def _cells(sheet: Sheet, line: Line) -> str:
    label = "&emsp;" * (not line.counts) + html.escape(line.told)
    return f"<td style='text-align:left'>{label}</td>" + "".join(
        f"<td style='text-align:{'left' if column.style == 'text' else 'right'}'>{html.escape(column.shown(value))}</td>"
        for column, value in zip(sheet.columns[1:], line.cells, strict=True))
