"""Answers as results: a row of the figures that an answer has, and several answers below one another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from costmodel.errors import CostModelError
from costmodel.sheets.result import OneSheet, Result
from costmodel.sheets.sheet import Column, Line, Sheet, is_form

if TYPE_CHECKING:
    from costmodel.pictures import Bars


class Drawn(NamedTuple):
    """The figures of an answer that a picture shows: the axis and its unit, (name, value) of bars and of limits."""

    title: str
    label: str
    unit: str
    rows: tuple[tuple[str, float], ...]
    limits: tuple[tuple[str, float], ...] = ()


class Facts(Result):
    """A dataclass that answers a question: its sheet has one row, a column for each figure; its text is a sentence.

    ASKED: the question, as people read it.
    HEADS: the column of a figure by its field's name: people's name of it, its unit and how it is read.
    """

    ASKED: ClassVar[str] = ""
    HEADS: ClassVar[Mapping[str, Column]] = MappingProxyType({})

    def sheet(self) -> Sheet:
        """One row, a column a figure."""
        return facts([("", self)]).sheet()

    def text(self, width: int | None = None, **how: Any) -> str:
        """The answer as a sentence; or its sheet as text, with its options."""
        return super().text(width, **how) if how else str(self)

    def __str__(self) -> str:
        raise NotImplementedError

    def drawn(self) -> Drawn:
        """What of it can be drawn. Raises CostModelError where nothing can."""
        raise CostModelError(f"there is no picture of a {type(self).__name__}")

    def chart(self) -> Bars:
        """Its figures as bars, beside the limit that they are to keep."""
        return facts_chart([("", self)])


def facts_chart(answers: Sequence[tuple[str, Facts]], title: str = "") -> Bars:
    """Several answers in one picture. Raises CostModelError where they are of different quantities."""
    from costmodel.pictures import Bars

    found = [(label, answer.drawn()) for label, answer in answers]
    if len({(each.label, each.unit) for _, each in found}) != 1:
        raise CostModelError("a picture is of one quantity: ask one question at a time with -o")
    rows = [(f"{label}: {row}" if label else row, value) for label, each in found for row, value in each.rows]
    limits = dict(limit for _, each in found for limit in each.limits)
    return Bars(title or found[0][1].title, found[0][1].label, found[0][1].unit, tuple(row for row, _ in rows),
                (("", tuple(value for _, value in rows)),), tuple(limits.items()))


def facts(answers: Sequence[tuple[str, Any]], title: str = "") -> OneSheet:
    """(of what, an answer) as a sheet: a row an answer, a column for every figure that one of them has."""
    found = [(label, _asked(answer), _figures(answer)) for label, answer in answers]
    columns = {name: _column(answer, name) for (_, answer), (_, _, figures) in zip(answers, found, strict=True) for name in figures}
    rows = tuple(Line(label or asked, (asked if label else "", *map(figures.get, columns))) for label, asked, figures in found)
    return OneSheet(Sheet(title, (Column("of"), Column("answer to", style="text"), *columns.values()), rows))


def heads(**columns: Column) -> Mapping[str, Column]:
    """The columns of an answer's figures, by the figures' names."""
    return MappingProxyType(columns)


def _asked(answer: Any) -> str:
    return getattr(answer, "ASKED", "") or type(answer).__name__


def _column(answer: Any, name: str) -> Column:
    """The column of a figure; its name is the field's, by which programs know it."""
    head = getattr(answer, "HEADS", {}).get(name)
    return Column(name) if head is None else head._replace(name=name, label=head.name)


def _figures(answer: Any) -> dict[str, Any]:
    """The figures of an answer, but those that only a picture has (``repr=False``); of a device its name."""
    values = {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer) if field.repr}
    return {name: value if isinstance(value, int | float | str) or value is None or is_form(value)
            else getattr(value, "name", str(value)) for name, value in values.items()}
