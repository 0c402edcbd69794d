"""What an eager framework expresses by strides, and what it must copy.

A transposition, a slice or a broadcast is another description of the same memory. Every axis has two labels, the place in memory
where it begins and where it ends: neighbours ``(a, b), (b, c)`` follow each other and can be merged into one axis, as a reshape or
a matrix product demands. Where axes that must be merged do not follow each other, the array is copied first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise

from sympy import Expr, Mul

from costmodel.fusion.conversions import copied
from costmodel.fusion.predicates import takes
from costmodel.rules.branches import Branch
from costmodel.rules.params import Broadcast, Contraction, Permutation
from costmodel.rules.traits import Trait, traits_of
from costmodel.rules.work import CostTable, Equation, Value, Work

Layout = tuple[tuple[int, int], ...]

_PART, _COPY = traits_of(Trait.MOVE), traits_of(Trait.COPY)


def part(e: Equation) -> bool:
    """A slice, at places that are known before the program runs."""
    return Trait.MOVE in e.traits and not e.has(Trait.COPY, Trait.IN_PLACE) and not takes(e)


def strided(e: Equation) -> bool:
    """A move that eager frameworks do by strides alone."""
    return part(e) or e.has(Trait.TRANSPOSE, Trait.BROADCAST)


def parts(table: CostTable) -> CostTable:
    """The program with a move of one array into several (a split) as one slice for each."""
    equations: list[Equation] = []
    for e in table:
        if len(e.outs) > 1 and len(e.ins) == 1 and Trait.MOVE in e.traits:
            equations += [replace(e, outs=(out,), traits=_PART, work=Work((), (out.array.size,), (out.array.size,)))
                          for out in e.outs]
        else:
            equations.append(e)
    return replace(table, equations=tuple(equations))


@dataclass(frozen=True)
class Laid:
    """A program with the copies that its products need; in it the moves that write their result, and the transpositions that a
    product makes by writing its rows as columns."""

    table: CostTable
    copied: frozenset[Equation]
    turned: frozenset[Equation]


def laid_out(table: CostTable) -> Laid:
    """Decides which moves are copies: those whose result is reshaped or multiplied in a way that strides cannot express. Where a
    product's operand was not moved, as an ``einsum`` over (batch, sequence, head, width) has it, a copy is put in."""
    return _Layouts().run(parts(table))


class _Layouts:
    """Follows the layout of every value through a program; ``moves`` are the moves behind values that no kernel wrote yet."""

    def __init__(self) -> None:
        self.labels = count()
        self.layout: dict[Value, Layout] = {}
        self.moves: dict[Value, Equation] = {}
        self.shown: dict[Equation, list[Value]] = {}  # the other way round
        self.copied: set[Equation] = set()
        self.turned: set[Equation] = set()
        self.copies: dict[tuple[Value, tuple[int, ...], tuple[int, ...], Branch, Expr], Value] = {}
        self.equations: list[Equation] = []

    def run(self, table: CostTable) -> Laid:
        uses = Counter(v for e in table for v in e.ins)
        uses.update(table.outputs)
        products: dict[Value, Equation] = {}  # by their results, if these are used once
        for e in table:
            if isinstance(e.params, Contraction):
                e = self._product(e, e.params)
                if uses[e.outs[0]] == 1:
                    products[e.outs[0]] = e
            self.equations.append(e)
            if Trait.VIEW in e.traits:
                for into, out in zip(e.ins, e.outs, strict=False):
                    self._view(into, out)
            elif e.ins and e.ins[0] in products and _turns(products[e.ins[0]], e):
                self.turned.add(e)
            elif strided(e):
                self._shows(e.outs[0], self._moved(e, self.of(e.ins[0])), e)
        return Laid(replace(table, equations=tuple(self.equations)), frozenset(self.copied), frozenset(self.turned))

    def of(self, value: Value) -> Layout:
        return self.layout.get(value) or self._dense(value.array.shape)

    def _dense(self, shape: Sequence[Expr]) -> Layout:
        """Each axis follows the one before it; an axis of one element is nowhere."""
        made, end = [], next(self.labels)
        for d in shape:
            begin, end = end, end if d == 1 else next(self.labels)
            made.append((begin, end))
        return tuple(made)

    def _fresh(self) -> tuple[int, int]:
        return next(self.labels), next(self.labels)

    def _moved(self, e: Equation, layout: Layout) -> Layout:
        before, after = e.ins[0].array.shape, e.outs[0].array.shape
        if isinstance(e.params, Permutation):
            return tuple(layout[axis] for axis in e.params.axes)
        if isinstance(e.params, Broadcast):
            source = dict(zip(e.params.axes, range(len(before)), strict=True))
            return tuple(layout[source[axis]] if axis in source and before[source[axis]] == d else self._fresh()
                         for axis, d in enumerate(after))
        if len(before) == len(after):  # a shorter axis begins somewhere else, and ends where it did
            return tuple(axis if old == new else (next(self.labels), axis[1])
                         for axis, old, new in zip(layout, before, after, strict=True))
        return layout[len(before) - len(after):] if before[len(before) - len(after):] == after else self._dense(after)

    def _view(self, into: Value, out: Value) -> None:
        if into not in self.layout:
            return  # as a kernel wrote it
        layout = self._reshaped(self.layout[into], into.array.shape, out.array.shape)
        if layout is not None:
            self._shows(out, layout, self.moves[into])
        else:
            self._copy(into)

    def _shows(self, value: Value, layout: Layout, move: Equation) -> None:
        self.layout[value], self.moves[value] = layout, move
        self.shown.setdefault(move, []).append(value)

    def _reshaped(self, layout: Layout, before: Sequence[Expr], after: Sequence[Expr]) -> Layout | None:
        """The layout under another shape, or None where axes would have to be merged that do not follow each other."""
        if tuple(before) == tuple(after):
            return layout
        made: list[tuple[int, int]] = []
        for old, new in _groups(before, after):
            axes = [layout[i] for i in old if before[i] != 1]
            if not _follow(axes):
                return None
            begin, end = (axes[0][0], axes[-1][1]) if axes else self._fresh()
            long = [i for i in new if after[i] != 1]
            for i in new:
                inner = end if not long or i == long[-1] else next(self.labels)
                made.append((begin, inner) if i in long else self._fresh())
                begin = inner if i in long else begin
        return tuple(made)

    def _copy(self, value: Value) -> None:
        """The move behind a value writes its result after all."""
        move = self.moves[value]
        self.copied.add(move)
        for shown in self.shown.pop(move, ()):
            self.layout[shown] = self._dense(shown.array.shape)

    def _product(self, e: Equation, dims: Contraction) -> Equation:
        """A product sees an operand as batches of matrices: its batch axes, the contracted ones and the rest are an axis each."""
        for position, value in enumerate(e.ins):
            batch, contracted = dims.batch[position], dims.contracting[position]
            shape = value.array.shape
            rest = tuple(i for i in range(len(shape)) if i not in batch and i not in contracted)
            axes = [tuple(i for i in group if shape[i] != 1) for group in (batch, contracted, rest)]
            if _matrices(self.of(value), axes):
                continue
            if value in self.moves and _matrices(self._dense(shape), axes):
                self._copy(value)
            else:
                e = replace(e, ins=(*e.ins[:position], self._in_batches(e, value, batch), *e.ins[position + 1:]))
        return e

    def _in_batches(self, e: Equation, value: Value, batch: tuple[int, ...]) -> Value:
        """A copy with the batches first, which later products of the same batches read, too."""
        key = (value, batch, e.loops, e.branch, e.times)
        if key not in self.copies:
            made = self.copies[key] = Value(value.array)
            self.equations.append(copied(e, (value,), made, (value.array.size,), _COPY))
        return self.copies[key]


def _matrices(layout: Layout, axes: Iterable[tuple[int, ...]]) -> bool:
    """Whether each of these groups of axes is one axis in memory."""
    return all(_follow([layout[i] for i in group]) for group in axes)


def _turns(made: Equation, e: Equation) -> bool:
    """Whether a transposition swaps the rows and columns of a product: that is the product in the other order."""
    if not isinstance(e.params, Permutation) or not isinstance(made.params, Contraction):
        return False
    batches, rank = len(made.params.batch[0]), len(e.params.axes)
    columns = batches + len(made.ins[0].array.shape) - batches - len(made.params.contracting[0])
    return e.params.axes == (*range(batches), *range(columns, rank), *range(batches, columns))


def _follow(axes: Iterable[tuple[int, int]]) -> bool:
    return all(before[1] == after[0] for before, after in pairwise(axes))


def _groups(before: Sequence[Expr], after: Sequence[Expr]) -> list[tuple[range, range]]:
    """Axes of two shapes of the same size, in the smallest groups that have the same size."""
    ends = {Mul(*after[:j]).expand(): j for j in reversed(range(1, len(after) + 1))}
    made, i, j = [], 0, 0
    for stop in range(1, len(before) + 1):
        end = ends.get(Mul(*before[:stop]).expand(), -1)
        if end > j and stop < len(before):
            made.append((range(i, stop), range(j, end)))
            i, j = stop, end
    made.append((range(i, len(before)), range(j, len(after))))
    return made
