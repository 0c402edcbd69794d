"""Which branch of a ``cond`` or ``switch`` counts: the one with most (or fewest) operations, decided by the domain or, where that
leaves it open, at evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Add, Expr

from costmodel.program.costing import Costing
from costmodel.program.raw import Raw, remove_dead, shape_constants
from costmodel.rules.work import Value
from costmodel.symbolic.dimensions import Domain
from costmodel.symbolic.forms import ONE, ZERO, PeakMax, lower_bound


def branch_operations(part: list[Raw], results: Sequence[Value], carried: Sequence[tuple[Value, Value]], domain: Domain,
                      unknown: str) -> Expr:
    """Operations of a branch's live equations, of whatever kind; a multiply-accumulate is two."""
    alive, _ = remove_dead(part, results, carried)
    constant, _ = shape_constants(alive, results)
    costing = Costing(domain, unknown)
    equations = [costing.equation(0, r) for r in alive if id(r) not in constant]
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
