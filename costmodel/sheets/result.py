"""What every result can do: show itself in every form. A result says its sheet; the forms are written once, here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from costmodel.errors import CostModelError
from costmodel.sheets import files, html, terminal
from costmodel.sheets.sheet import Column, Line, Sheet

if TYPE_CHECKING:
    from costmodel.pictures import Chart


class Result:
    """A result that has a :meth:`sheet`. The options of the forms are those of its sheet, such as ``by="module"``."""

    def sheet(self, *how: Any, **named: Any) -> Sheet:
        """Rows and columns, with units."""
        raise NotImplementedError

    def text(self, width: int | None = None, **how: Any) -> str:
        """As text, ``width`` characters wide (200 by default)."""
        return terminal.text(self.sheet(**how).for_people(), width)

    def to_csv(self, **how: Any) -> str:
        """As CSV; rows that stand for several alike have the cells of all, so that columns sum to the total."""
        return files.to_csv(self.sheet(**how))

    def to_json(self, **how: Any) -> str:
        """As JSON text: columns with their units, a record a row."""
        return files.to_json(self.sheet(**how))

    def to_latex(self, **how: Any) -> str:
        """As a LaTeX tabular (booktabs)."""
        from costmodel.sheets import latex

        return latex.to_latex(self.sheet(**how).for_people())

    def to_markdown(self, **how: Any) -> str:
        """As a markdown table."""
        return files.to_markdown(self.sheet(**how).for_people())

    def to_pandas(self, **how: Any) -> Any:
        """As a pandas.DataFrame without the total row. Needs pandas."""
        return files.to_pandas(self.sheet(**how))

    def chart(self, *how: Any, **named: Any) -> Chart:
        """What :meth:`plot` draws."""
        raise CostModelError(f"there is no picture of a {type(self).__name__}")

    def plot(self, path: str | None = None, **how: Any) -> Any:
        """A matplotlib figure, and with a path an .svg, .png or .pdf file of it; the options are those of :meth:`chart`. Needs the
        extra ``plot``."""
        chart = self.chart(**how)
        if path is not None:
            chart.save(path)
            return None
        return chart.figure()

    def _repr_html_(self) -> str:
        return html.to_html(self.sheet().for_people())

    def __str__(self) -> str:
        return self.text()


class OneSheet(Result):
    """A sheet that was made already, as a result."""

    def __init__(self, sheet: Sheet, parts: Sequence[OneSheet] = ()) -> None:
        self._sheet, self.parts = sheet, parts or (self,)

    def sheet(self) -> Sheet:
        """The sheet."""
        return self._sheet


def joined(sheets: Sequence[Sheet], names: Sequence[str], head: str) -> OneSheet:
    """Sheets below one another as one result, what each is of in a column called ``head``; a column that only some have is empty
    in the others. One sheet stays as it is."""
    if len(sheets) == 1:
        return OneSheet(sheets[0])
    columns = list(dict.fromkeys(column for sheet in sheets for column in sheet.columns[1:]))
    rows: list[Line] = []
    for sheet, name in zip(sheets, names, strict=True):
        for line in sheet.lines:
            cells = dict(zip(sheet.columns[1:], line.cells, strict=True))
            rows.append(line._replace(cells=(name, *map(cells.get, columns))))
    first = sheets[0].columns[0]
    notes = tuple(dict.fromkeys(note for sheet in sheets for note in sheet.notes))
    return OneSheet(Sheet("; ".join(dict.fromkeys(sheet.title for sheet in sheets)), (first, Column(head, style="text"), *columns),
                          tuple(rows), (), notes, any(sheet.grouped for sheet in sheets)), [OneSheet(sheet) for sheet in sheets])
