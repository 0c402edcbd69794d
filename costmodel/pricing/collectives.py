"""What one device exchanges with others, as a table: a row per kind of exchange, its axes and its module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sympy import Expr, Rational

from costmodel.errors import CostModelError
from costmodel.pictures import Bars
from costmodel.pricing.core import Priced
from costmodel.rules.params import Collective
from costmodel.rules.work import BITS, Equation, OpKind, total
from costmodel.sheets import Column, Line, Result, Sheet
from costmodel.surface import said


class Exchange(NamedTuple):
    """Exchanges of one kind in one module.

    kind:   all_gather, all_reduce, reduce_scatter, all_to_all, permute, halo …
    axes:   the mesh's axes that it is over, in their order.
    module, phase: where.
    dtype:  the type that goes over the wire.
    bytes:  that one device sends, once; of several alike their sum.
    times:  how often.
    total:  bytes in all.
    """

    kind: str
    axes: tuple[str, ...]
    module: str
    phase: str
    dtype: str
    bytes: Any
    times: Any
    total: Any


@dataclass(frozen=True)
class Collectives(Result):
    """Exchanges in program order, and the bytes that a device sends in all."""

    title: str
    rows: tuple[Exchange, ...]
    total: Any

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self.rows)

    def sheet(self) -> Sheet:
        """A row per collective."""
        columns = (Column("kind"), *(Column(name, style="text") for name in ("axes", "module", "phase", "dtype")),
                   Column("bytes sent", "B"), Column("times"), Column("in all", "B"))
        rows = tuple(Line(row.kind, (", ".join(row.axes), row.module or "(root)", row.phase, row.dtype, row.bytes, row.times,
                                     row.total)) for row in self.rows)
        return Sheet(self.title, columns, rows, (*("",) * 4, None, None, self.total))

    def chart(self) -> Bars:
        """Bytes in all, a bar a collective. Raises CostModelError in closed form."""
        if any(isinstance(row.total, Expr) and not row.total.is_number for row in self.rows):
            raise CostModelError("what is sent is drawn at a point: " + said("cost.at(…).collectives().plot()", "give --at"))
        rows = tuple(f"{row.kind} over {', '.join(row.axes)}: {row.module or '(root)'}" for row in self.rows)
        return Bars(self.title, "bytes sent", "B", rows, (("", tuple(float(row.total) for row in self.rows)),),
                    whole=float(self.total) or None, adds=True)


def sent(e: Equation) -> Iterator[tuple[OpKind, Expr]]:
    """(kind, bytes) of what an equation sends, once."""
    for kind, count, _ in e.work.ops:
        if kind.engine == "link":
            yield kind, count * Rational(BITS[kind.dtype], 8)


def axes_of(e: Equation) -> tuple[str, ...]:
    """The axes that an exchange is over."""
    return e.params.axes if isinstance(e.params, Collective) else ()


def collectives(cost: Priced) -> Collectives:
    """The exchanges of a program; see :class:`Exchange`. Those of one kind that run as often in one module are one row."""
    found: dict[tuple[Any, ...], list[Expr]] = {}
    for e in cost.program:
        for kind, count in sent(e):
            if count != 0:
                found.setdefault((kind.name, axes_of(e), e.module, e.phase, kind.dtype, e.times), []).append(count)
    rows = []
    for (kind, axes, module, phase, dtype, times), parts in found.items():
        once = total(parts)
        rows.append(Exchange(kind, axes, module, phase, dtype, *map(cost.evaluate, (once, times, once * times))))
    return Collectives(f"{cost.name}: what one device sends", tuple(rows), cost.metric("wire_bytes"))
