"""A concrete program as a key and a row of integers: programs of one key differ in nothing but their integers.

The key tells primitives, modules, phases, loops, branches, dtypes, ranks and which value is whose operand, values numbered by first
use. The integers are the sizes of values, the parameters that rules read, and how often equations run, always in the same order;
each has its :class:`Column`, which names the operands' sizes and the shape rule that it may follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from sympy import Add, Expr, Integer

from costmodel.program.constants import as_pads
from costmodel.program.dead import remove_dead
from costmodel.program.fit.parameters import filled, integers_in, read_parameters, skeleton
from costmodel.program.fit.search import Column
from costmodel.program.fit.shapes import column_rules
from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.work import Array, Value


@dataclass(eq=False)
class Aligned:
    """A live program, its ``key``, its ``integers``, and which of them is where: first positions by value, by equation and name of
    parameter, and by equation for the coefficients of ``times``."""

    program: RawProgram
    key: str = ""
    integers: list[Any] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    shapes: dict[Value, int] = field(default_factory=dict)
    parameters: dict[Raw, dict[str, int]] = field(default_factory=dict)
    times: dict[Raw, int] = field(default_factory=dict)

    def add(self, integers: Sequence[Any], columns: Sequence[Column] = ()) -> int:
        """Append integers; the place of the first."""
        first = len(self.integers)
        self.integers += integers
        self.columns += columns or [Column()] * len(integers)
        return first

    def dims(self, v: Value) -> list[int]:
        """Positions of a value's dimensions."""
        return [self.shapes[v] + i for i in range(len(v.array.shape))]


def align(program: RawProgram) -> Aligned:
    """The aligned form of a program traced at integers only, without what is dead."""
    alive, _ = remove_dead(as_pads(program))
    made = Aligned(alive)
    lines: list[Any] = [("in", *(_value(made, v, ()) for v in alive.inputs))]
    lines += [_equation(made, r) for r in alive.equations]
    lines.append(("out", *(_value(made, v, ()) for v in alive.outputs)))
    lines += [("carried", _value(made, a, ()), _value(made, b, ())) for a, b in alive.carried]
    lines += [("cond", c.number, [[_value(made, v, ()) for v in result] for result in c.results],
               [_value(made, v, ()) for v in c.outs]) for c in alive.conds]
    lines.append([v.name for v in alive.run_time])
    made.key = hashlib.sha256(repr(lines).encode()).hexdigest()
    return made


def _value(made: Aligned, v: Value, columns: Sequence[Column]) -> Any:
    """A value's number; where it is met first also what it is."""
    number = made.shapes.get(v)
    if number is not None:
        return number, len(v.array.shape)
    made.shapes[v] = made.add([_integer(d) for d in v.array.shape], columns)
    return "new", v.array.dtype, len(v.array.shape), str(v.origin), v.name, v in made.program.zeros


def _equation(made: Aligned, r: Raw) -> Any:
    ins = [_value(made, v, ()) for v in r.ins]
    near = tuple(dict.fromkeys(p for v in r.ins for p in made.dims(v)))
    read = read_parameters(r)
    params = dict(sorted(r.params.items(), key=lambda kv: (kv[0] == "padding", kv[0])))  # a padding may follow from all others
    texts = [(name, skeleton(p, read is None or name in read)) for name, p in params.items()]
    values = {name: integers_in(p) for name, p in params.items() if read is None or name in read}
    rules = column_rules(r, {name: len(v) for name, v in values.items()}, [made.dims(v) for v in r.ins], len(made.integers))
    made.parameters[r] = {name: made.add(v, [Column(near, rules.parameter(name, i)) for i in range(len(v))])
                          for name, v in values.items()}
    terms = _terms(r.times)
    made.times[r] = made.add([_integer(c) for _, c in terms])
    outs = [_value(made, v, [Column(near, rules.result(axis)) for axis in range(len(v.array.shape))]) for v in r.outs]
    return (r.primitive, r.path, str(r.phase), r.effects, r.bounded, r.counter, r.loops, r.branch, [str(m) for m, _ in terms],
            texts, ins, outs)


def _terms(times: Expr) -> list[tuple[Expr, Expr]]:
    """(monomial in run-time symbols, coefficient), in a fixed order."""
    return sorted(times.expand().as_coefficients_dict().items(), key=lambda mc: str(mc[0])) if times != 0 else [(Integer(1), times)]


def _integer(expr: Expr) -> Any:
    return int(expr) if expr.is_Integer else Fraction(int(expr.p), int(expr.q))


def rebuilt(aligned: Aligned, forms: Sequence[Expr]) -> RawProgram:
    """The program with a form in place of each of its integers."""
    def array(v: Value) -> Array:
        first = aligned.shapes.get(v)
        if first is None:
            return v.array
        return Array(tuple(forms[first:first + len(v.array.shape)]), v.array.dtype)

    def equation(r: Raw) -> Raw:
        params = {**r.params, **{name: filled(r.params[name], iter(forms[first:]))
                                 for name, first in aligned.parameters[r].items()}}
        terms = _terms(r.times)
        first = aligned.times[r]
        return replace(r, params=params, times=Add(*(f * m for f, (m, _) in zip(forms[first:], terms, strict=False))))

    return aligned.program.rewritten(array, equation)


