"""What XLA for processors computes in 32 bits where the program has 16 (FloatNormalization with CpuFloatSupport).

Arithmetic widens what it reads and narrows what it gives within its kernel, which changes nothing in memory. What is no loop over
elements reads and writes whole arrays: those of bfloat16 are widened first, and its result is narrowed by who reads it. Of float16
only products and convolutions are. Where the program itself widens what arithmetic made, that is not narrowed at all
(SimplifyFPConversions).
"""

from __future__ import annotations

from dataclasses import replace

from costmodel.fusion.conversions import copied
from costmodel.fusion.predicates import arithmetic, joins_lines, loop, product
from costmodel.fusion.ynnpack import compares_apart
from costmodel.rules.traits import Trait, traits_of
from costmodel.rules.work import Array, CostTable, Equation, Value, Work, is_floating

_WIDE, _ROUNDED = "float32", "bfloat16"
_WIDENS = traits_of((Trait.ELEMENTWISE, Trait.MOVE, Trait.COPY))
_NARROWS = traits_of((Trait.ELEMENTWISE, Trait.MOVE, Trait.COPY, Trait.EXPENSIVE))
_WHOLE = (Trait.SORT, Trait.SCATTER, Trait.CUMULATIVE, Trait.WINDOW, Trait.WINDOW_GRADIENT)


def widened(table: CostTable) -> CostTable:
    """The program with the conversions that XLA puts around what it computes in 32 bits."""
    if not any(_narrow(v.array) for e in table for v in (*e.ins, *e.outs)):
        return table
    found = _Widened(table)
    return replace(table, equations=tuple(found.equations))


def _narrow(array: Array) -> bool:
    return is_floating(array.dtype) and array.bits == 16


def _computes_wide(e: Equation, array: Array) -> bool:
    """Whether an equation is given or gives arrays of this type in 32 bits."""
    if not _narrow(array) or compares_apart(e):
        return False
    return product(e) or Trait.CONVOLUTION in e.traits or (array.dtype == _ROUNDED and (e.has(*_WHOLE) or joins_lines(e)))


def _rounds(e: Equation) -> bool:
    """Whether a loop ends with a narrowing to bfloat16, which is dear to XLA (CpuInstructionFusion::IsExpensive)."""
    return (loop(e) and e.outs[0].array.dtype == _ROUNDED and not joins_lines(e)
            and not e.has(Trait.BROADCAST, Trait.CONSTANT, Trait.TRANSPOSE, Trait.VIEW, Trait.IN_PLACE))


def _widens(e: Equation) -> bool:
    return (arithmetic(e) and Trait.COPY in e.traits and e.ins[0].array.dtype == _ROUNDED and e.outs[0].array.dtype == _WIDE)


class _Widened:
    """``wide`` are values in 32 bits by the narrow ones that they stand for, and where; ``first`` is, of what arithmetic makes, the
    first equation that widens it, whose result it gives instead; ``same`` are results of later ones, which are that, too."""

    def __init__(self, table: CostTable) -> None:
        self.equations: list[Equation] = []
        self.wide: dict[tuple[object, ...], Value] = {}
        self.first: dict[Value, Equation] = {}
        self.same: dict[Value, Value] = {}
        # What something outside of the equations' kernels knows by its name.
        self.kept = {*table.outputs, *(after for _, after in table.carried)}
        self.kept.update(v for e in table if e.has(Trait.LOOP_CARRY, Trait.BRANCH_RESULT) for v in e.ins)
        self.narrow = self._find_first(table)
        for e in table:
            if any(v in self.same for v in e.ins):
                e = replace(e, ins=tuple(self.same.get(v, v) for v in e.ins))
            self._add(e)

    def _find_first(self, table: CostTable) -> set[Value]:
        """Fills ``first``; returns those of its values that are read as they are, too."""
        maker = {out: e for e in table for out in e.outs}
        read = set(self.kept)
        for e in table:
            made = maker.get(e.ins[0]) if _widens(e) else None
            if made is not None and arithmetic(made) and made.work.ops and made.runs_with(e):
                self.first.setdefault(made.outs[0], e)
            else:
                read.update(e.ins)
        return read

    def _add(self, e: Equation) -> None:
        first = self.first.get(e.outs[0]) if len(e.outs) == 1 else None
        if first is not None:
            made = first.outs[0]
            if e.outs[0] in self.narrow:
                self._narrowed(e, (made,))
            else:
                self.equations.append(replace(e, outs=(made,)))
        elif _widens(e) and (widened := self.first.get(e.ins[0])) is not None and (e is widened or e.outs[0] not in self.kept):
            if e is not widened:
                self.same[e.outs[0]] = widened.outs[0]
        elif _rounds(e):
            self.equations.append(replace(e, traits=e.traits | {Trait.EXPENSIVE}))
        elif any(_computes_wide(e, v.array) for v in (*e.ins, *e.outs)):
            self._computed_wide(e)
        else:
            self.equations.append(e)

    def _computed_wide(self, e: Equation) -> None:
        ins = tuple(self._wide(e, v) if _computes_wide(e, v.array) else v for v in e.ins)
        outs = tuple(Value(Array(out.array.shape, _WIDE)) if _computes_wide(e, out.array) else out for out in e.outs)
        # A window's sum rounds after each element, which no library does: it is none that a library knows.
        self._narrowed(replace(e, ins=ins, params=None if Trait.WINDOW in e.traits else e.params), outs)

    def _wide(self, user: Equation, value: Value) -> Value:
        key = (value, user.loops, user.branch, user.times)
        if key not in self.wide:
            self.wide[key] = Value(Array(value.array.shape, _WIDE))
            self.equations.append(_converted(user, value, self.wide[key], _WIDENS))
        return self.wide[key]

    def _narrowed(self, e: Equation, outs: tuple[Value, ...]) -> None:
        """An equation that gives these, and what narrows those that are wide."""
        self.equations.append(replace(e, outs=outs))
        self.equations += [_converted(e, made, out, _NARROWS) for made, out in zip(outs, e.outs, strict=True) if made is not out]


def _converted(near: Equation, value: Value, made: Value, traits: frozenset[Trait]) -> Equation:
    size = value.array.size
    return replace(copied(near, (value,), made, (size,), traits), primitive="convert_element_type", rule="convert_element_type",
                   work=Work((), (size,), (size,)))
