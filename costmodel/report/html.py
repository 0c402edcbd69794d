"""Tables as HTML, for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from costmodel.text import cell

if TYPE_CHECKING:
    from costmodel.pricing.table import Table


def table_html(table: Table, heading: str = "") -> str:
    """A self-contained table; everything that comes from a model's names is escaped."""
    head = "".join(f"<th style='text-align:right'>{html.escape(name)}<br><small>{html.escape(unit)}</small></th>"
                   for name, unit in table.columns)
    body = []
    for row in table.rows:
        label = "&emsp;" * (not row.repeats) + html.escape(row.label) + (f" ×{row.repeats}" if row.repeats > 1 else "")
        body.append(f"<tr><td style='text-align:left'>{label}</td>{_cells(row.cells)}</tr>")
    body.append(f"<tr style='border-top:1px solid'><td style='text-align:left'><b>total</b></td>{_cells(table.total)}</tr>")
    notes = "".join(f"<small>{html.escape(note)}</small><br>" for note in table.notes)
    top = f"<pre>{html.escape(heading)}</pre>" if heading else f"<b>{html.escape(table.title)}</b>"
    return f"{top}<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{notes}"


def _cells(cells) -> str:
    return "".join(f"<td style='text-align:right'>{html.escape(cell(c))}</td>" for c in cells)
