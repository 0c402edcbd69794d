"""A result as rows and columns: values as they are, and how people like to read each column."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from costmodel.text import shown, si

if TYPE_CHECKING:
    from typing import TypeGuard

    from sympy import Expr


class Amount(NamedTuple):
    """A cell with a unit of its own, where a column's rows are different quantities."""

    value: Any
    unit: str

    def __str__(self) -> str:
        """Counts have all their digits, ratios three, what is measured three and a prefix."""
        if self.unit in _COUNTED:
            return _cell(self.value)
        return f"{float(self.value):.3g} {self.unit}" if "/B" in self.unit else si(float(self.value), self.unit)


_COUNTED = ("elements", "MAC", "FLOP", "B", "evaluations")


_SMALL = 1000.0  # what is no count and less has six digits, wherever its point is
_DIGITS = {"ratio": 3, "rate": 4}


class Column(NamedTuple):
    """A column.

    name, unit: its head; the unit stands in brackets for programs, and for people where the cells do not say it.
    style:      how people read a cell: ``exact`` (all digits), ``si`` (three digits and a prefix), ``share`` (a part, in percent),
                ``ratio`` (three digits), ``rate`` (four) or ``text``.
    adds:       whether the cells of all runs of a row are its cell times the runs.
    label:      what people read for the name, where that is a program's key.
    """

    name: str
    unit: str = ""
    style: str = "exact"
    adds: bool = False
    label: str = ""

    @property
    def head(self) -> str:
        """Name and unit, as programs have it."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name

    def all_shown(self, values: Iterable[Any]) -> list[str]:
        """Cells for people."""
        if self.style != "si":
            return list(map(self.shown, values))
        unit = self.unit  # most cells of most sheets are such floats
        return [si(value, unit) if isinstance(value, float) else self.shown(value) for value in values]

    def shown(self, value: Any) -> str:
        """A cell for people, on one line whatever others chose to name; nothing for None."""
        if value is None:
            return ""
        if isinstance(value, str | Amount):
            return shown(str(value))
        if not isinstance(value, float):
            if isinstance(value, bool):
                return "yes" if value else "no"
            if is_form(value) and not value.is_number:
                return shown(_cell(value))
        elif self.style == "exact" and abs(value) < _SMALL and not value.is_integer():
            return f"{value:.6g}"
        if self.style == "si":
            return si(float(value), self.unit)
        if self.style == "share":
            return f"{100 * float(value):.1f}%"
        digits = _DIGITS.get(self.style)
        return _cell(value) if digits is None else f"{float(value):.{digits}g}"


class Line(NamedTuple):
    """A row: its label, its cells (those of one of ``times`` runs), and whether it is part of the sum (``counts``) or only of the
    row above, as one of several branches."""

    label: str
    cells: tuple[Any, ...]
    times: int = 1
    counts: bool = True

    @property
    def told(self) -> str:
        """The label for people."""
        return self.label + (f" ×{self.times}" if self.times > 1 else "")


@dataclass(frozen=True)
class Sheet:
    """Rows under ``columns``, whose first is the label's; ``total`` has the whole's cells (empty for none), ``notes`` what must be
    said below. ``grouped``: a row may stand for several alike, so that programs get a column that says of how many. ``keys``: so
    many columns, the label's among them, say which row it is, and stand before what goes on below."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Line, ...]
    total: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()
    grouped: bool = False
    keys: int = 1

    @property
    def lines(self) -> tuple[Line, ...]:
        """The rows, and the total as the last of them."""
        return (*self.rows, Line("total", self.total)) if self.total else self.rows

    def for_people(self) -> Sheet:
        """Without columns of text that say nothing in any row, and with people's names of the others."""
        if any(column.label for column in self.columns):
            return replace(self, columns=tuple(c._replace(name=c.label or c.name, label="") for c in self.columns)).for_people()
        kept = [i for i, column in enumerate(self.columns[1:])
                if column.style != "text" or any(line.cells[i] not in ("", None) for line in self.lines)]
        if len(kept) == len(self.columns) - 1:
            return self
        rows = tuple(line._replace(cells=tuple(line.cells[i] for i in kept)) for line in self.rows)
        total = tuple(self.total[i] for i in kept) if self.total else ()
        keys = 1 + sum(i + 1 < self.keys for i in kept)
        return replace(self, columns=(self.columns[0], *(self.columns[i + 1] for i in kept)), rows=rows, total=total, keys=keys)

    def heads(self) -> tuple[str, ...]:
        """What programs find above the columns."""
        first, *others = self.columns
        return first.head, *(["repeats"] if self.grouped else []), *(column.head for column in others)

    def records(self, total: bool = True) -> Iterator[tuple[Any, ...]]:
        """Rows as programs get them: numbers and formulas, of all runs of a row, so that what adds up to the total is there. A row
        of 0 repeats is part of the row above it."""
        for line in self.lines if total else self.rows:
            cells = (_plain(value * line.times if column.adds and value is not None else value)
                     for column, value in zip(self.columns[1:], line.cells, strict=True))
            yield line.label, *([line.times if line.counts else 0] if self.grouped else []), *cells


def is_form(value: Any) -> TypeGuard[Expr]:
    """Whether a value is an expression. Before sympy is imported none is: a sheet of numbers alone need not wait for it.

    >>> is_form(3)
    False
    """
    known = getattr(sys.modules.get("sympy.core.expr"), "Expr", None)
    return known is not None and isinstance(value, known)


def _cell(value: Any) -> str:
    from costmodel.symbolic.plain import cell

    return cell(value)


def _plain(value: Any) -> Any:
    """A number as Python's own: joules are exact fractions, which no file has."""
    if isinstance(value, Amount):
        return _plain(value.value)
    if is_form(value):
        return value if not value.is_number else int(value) if value.is_Integer else float(value)
    return float(value) if isinstance(value, Fraction) else value
