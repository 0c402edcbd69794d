"""Which branch of a ``cond`` or ``switch`` counts, and how much: weights of branches, multiplied into how often equations run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum

from sympy import Add, Expr, Rational

from costmodel.program.constants import shape_constants
from costmodel.program.costing import Costing
from costmodel.program.dead import needed
from costmodel.program.domain import dimensions, domain_over
from costmodel.program.raw import Cond, Raw, RawProgram
from costmodel.rules.work import Value
from costmodel.symbolic.domain import Domain, Relation, Variable
from costmodel.symbolic.forms import ONE, ZERO, PeakMax, lower_bound, symbol


class Branches(StrEnum):
    """Which branch counts: the one with most or fewest operations, all in equal parts, or each times a weight symbol ``taken_k``
    that is bound at evaluation."""

    MAX = "max"
    MIN = "min"
    MEAN = "mean"
    SYMBOL = "symbol"


def weigh(program: RawProgram, branches: Branches, unknown: str) -> RawProgram:
    """The program in which each equation of a branch runs as often as that branch counts; those of weight 0 are left out."""
    for cond in program.conds:  # inner ones first
        weights, program = _weights(cond, program, branches, unknown)
        program = _weighed(program, cond, weights, bounded=branches in (Branches.MAX, Branches.MIN))
    return replace(program, conds=())


def _parts(program: RawProgram, cond: Cond) -> list[list[Raw]]:
    """The equations of each branch, with those of inner ones."""
    parts: list[list[Raw]] = [[] for _ in cond.results]
    for r in program.equations:
        if r.branch and r.branch[-1][0] == cond.number:
            parts[r.branch[-1][1]].append(r)
    return parts


def _weighed(program: RawProgram, cond: Cond, weights: Sequence[Expr], *, bounded: bool) -> RawProgram:
    """The program without this ``cond``."""
    taken = [i for i, weight in enumerate(weights) if weight != 0]
    outs = set(cond.outs)

    def equations() -> Iterable[Raw]:
        for r in program.equations:
            if r.branch and r.branch[-1][0] == cond.number:
                weight = weights[r.branch[-1][1]]
                if weight != 0:
                    times = (r.times * weight).expand() if weight != 1 else r.times
                    yield replace(r, times=times, bounded=r.bounded or bounded, branch=r.branch[:-1])
            elif r.outs and r.outs[0] in outs:
                yield replace(r, ins=(r.ins[0], *(r.ins[1 + i] for i in taken)))
            else:
                yield r

    return replace(program, equations=tuple(equations()))


def _weights(cond: Cond, program: RawProgram, branches: Branches, unknown: str) -> tuple[Sequence[Expr], RawProgram]:
    """How often each branch counts; they sum to one. And the program with the symbols that are in them."""
    count = len(cond.results)
    if branches is Branches.MEAN:
        return [Rational(1, count)] * count, program
    if branches is Branches.SYMBOL:
        return _symbols(count, program)
    parts = _parts(program, cond)
    domain = domain_over(dimensions([r for part in parts for r in part], ()), program)
    costs = [_operations(part, results, program.carried, domain, unknown)
             for part, results in zip(parts, cond.results, strict=True)]
    return extreme_weights(costs, domain, dearest=branches is Branches.MAX), program


def _symbols(count: int, program: RawProgram) -> tuple[Sequence[Expr], RawProgram]:
    """A weight symbol for each branch but the first, which has the rest."""
    known = sum(v.name.startswith("taken_") for v in program.run_time)
    names = [f"taken_{known + i}" for i in range(count - 1)]
    taken = [symbol(name) for name in names]
    first = (ONE - Add(*taken)).expand()
    relations = [Relation(f"{' + '.join(names)} <= 1", first)] if count > 2 else []
    return [first, *taken], replace(program, run_time=(*program.run_time, *(Variable(name, name, ONE, 0, 1) for name in names)),
                                    relations=(*program.relations, *relations))


def _operations(part: Sequence[Raw], results: Sequence[Value], carried: Sequence[tuple[Value, Value]], domain: Domain,
                unknown: str) -> Expr:
    """Operations of a branch's live equations, of whatever kind; a multiply-accumulate is two."""
    kept = needed(part, results, carried)
    alive = [r for r in part if r in kept]
    constant, _ = shape_constants(alive, results, carried)
    costing = Costing(domain, unknown)
    equations = [costing.equation(0, r) for r in alive if r not in constant]
    return Add(*((e.work.count(lambda _: True) + e.work.count(lambda k: k.name == "mac")) * e.times for e in equations)).expand()


def extreme_weights(costs: Sequence[Expr], domain: Domain, *, dearest: bool) -> list[Expr]:
    """1 for the first of the dearest (or cheapest) branches and 0 for the others, as expressions."""
    signed = list(costs) if dearest else [-cost for cost in costs]
    weights: list[Expr] = []
    for i, cost in enumerate(signed):
        # 1 where this branch is at least as extreme as later ones and more so than earlier ones, else 0.
        weight = ONE
        for j, other in enumerate(signed):
            if j != i:
                weight = weight * _at_least(cost, other, domain, strictly=j < i)
        weights.append(weight)
    return weights


def _at_least(a: Expr, b: Expr, domain: Domain, *, strictly: bool) -> Expr:
    """1 if a ≥ b (or ``strictly`` a > b) else 0, for integers: decided where the domain decides, else max(0, 1 - max(0, b - a)).
    A common factor does not matter, so that a loop around a branch does not change how its weight is written."""
    difference = ((a - b).as_content_primitive()[1] - int(strictly)).expand()
    if lower_bound(difference, domain.assumptions) >= 0:
        return ONE
    if lower_bound(-difference - 1, domain.assumptions) >= 0:
        return ZERO
    return PeakMax(ZERO, ONE - PeakMax(ZERO, -difference))
