"""What counts of the sides of a ``cond`` or ``switch``: marks of what is part of a bound, or weights in how often equations run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sympy import Add, Expr, Mul, Rational

from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.branches import Branches
from costmodel.symbolic.domain import Relation, Variable
from costmodel.symbolic.forms import ONE, symbol


def weigh(program: RawProgram, branches: Branches) -> RawProgram:
    """The program in which equations on a side of a ``cond`` are marked as bounded, where one side is chosen, or else run as often
    as that side counts. Nothing is left out: what any side may use is needed."""
    if branches.choose:
        return replace(program, equations=tuple(replace(r, bounded=True) if r.branch else r for r in program.equations))
    weights: dict[int, Sequence[Expr]] = {}
    for cond in program.conds:
        count = len(cond.results)
        if branches is Branches.MEAN:
            weights[cond.number] = [Rational(1, count)] * count
        else:
            weights[cond.number], program = _symbols(count, program)

    def weighed(r: Raw) -> Raw:
        share = Mul(*(weights[side.cond][side.which] for side in r.branch))
        return replace(r, times=(r.times * share).expand())

    return replace(program, equations=tuple(weighed(r) if r.branch else r for r in program.equations))


def _symbols(count: int, program: RawProgram) -> tuple[Sequence[Expr], RawProgram]:
    """A weight symbol for each side but the first, which has the rest; and the program with these symbols."""
    known = sum(v.name.startswith("taken_") for v in program.run_time)
    names = [f"taken_{known + i}" for i in range(count - 1)]
    taken = [symbol(name) for name in names]
    first = (ONE - Add(*taken)).expand()
    relations = [Relation(f"{' + '.join(names)} <= 1", first)] if count > 2 else []
    return [first, *taken], replace(program, run_time=(*program.run_time, *(Variable(name, name, ONE, 0, 1) for name in names)),
                                    relations=(*program.relations, *relations))
