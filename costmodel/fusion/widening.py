"""What XLA for processors computes in 32 bits where the program has 16 (FloatNormalization with CpuFloatSupport).

Arithmetic widens what it reads and narrows what it gives within its kernel, which changes nothing in memory. What is no loop over
elements reads and writes whole arrays: those of bfloat16 are widened first, and its result is narrowed by who reads it. Of float16
only products and convolutions are. Where the program itself widens what arithmetic made, that is not narrowed at all
(SimplifyFPConversions).
"""

from __future__ import annotations

from dataclasses import replace

from costmodel.fusion.conversions import copied
from costmodel.fusion.predicates import arithmetic, joins_lines, product
from costmodel.rules.traits import Trait, traits_of
from costmodel.rules.work import Array, CostTable, Equation, Value, Work, is_floating

_WIDE = "float32"
_WIDENS = traits_of((Trait.ELEMENTWISE, Trait.MOVE, Trait.COPY))
_NARROWS = traits_of((Trait.ELEMENTWISE, Trait.MOVE, Trait.COPY, Trait.EXPENSIVE))
_ROUNDED = (Trait.WINDOW, Trait.CUMULATIVE)  # after every sum, so that one is several operations
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
    if not _narrow(array):
        return False
    return product(e) or Trait.CONVOLUTION in e.traits or (array.dtype == "bfloat16" and (e.has(*_WHOLE) or joins_lines(e)))


def _widens(e: Equation) -> bool:
    return arithmetic(e) and Trait.COPY in e.traits and _narrow(e.ins[0].array) and e.outs[0].array.dtype == _WIDE


class _Widened:
    """``wide`` are values in 32 bits by the narrow ones that they stand for, and where; ``same`` those that are another value."""

    def __init__(self, table: CostTable) -> None:
        self.equations: list[Equation] = []
        self.wide: dict[tuple[object, ...], Value] = {}
        self.same: dict[Value, Value] = {}
        kept = {*table.outputs, *(after for _, after in table.carried)}
        maker = {out: e for e in table for out in e.outs}
        before: dict[Value, Equation] = {}  # what arithmetic makes -> the first equation that widens it
        for e in table:
            made = maker.get(e.ins[0]) if _widens(e) else None
            if made is not None and arithmetic(made) and made.work.ops and made.runs_with(e):
                before.setdefault(made.outs[0], e)
        for e in table:
            e = replace(e, ins=tuple(self.same.get(v, v) for v in e.ins)) if any(v in self.same for v in e.ins) else e
            if len(e.outs) == 1 and e.outs[0] in before:
                self._narrowed(e, (before[e.outs[0]].outs[0],))
            elif _widens(e) and (first := before.get(e.ins[0])) is not None:
                if e is not first and e.outs[0] in kept:
                    self.equations.append(e)
                elif e is not first:
                    self.same[e.outs[0]] = first.outs[0]
            elif any(_computes_wide(e, v.array) for v in (*e.ins, *e.outs)):
                if e.has(*_ROUNDED):
                    e = replace(e, traits=e.traits | traits_of(Trait.COMPOSED))
                ins = tuple(self._wide(e, v) if _computes_wide(e, v.array) else v for v in e.ins)
                self._narrowed(replace(e, ins=ins), tuple(
                    Value(Array(out.array.shape, _WIDE)) if _computes_wide(e, out.array) else out for out in e.outs))
            else:
                self.equations.append(e)

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
