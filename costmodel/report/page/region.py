"""Where the forms of a page hold: the regions of other programs, which it has no forms of, as it can tell them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympy import Expr

from costmodel.pricing.core import Symbolic
from costmodel.report.page.forms import Forms
from costmodel.symbolic.forms import symbol


def region(cost: Symbolic, bounds: Forms) -> dict[str, Any]:
    """What a page needs to tell where its figures hold.

    margins:  places of forms that are above zero where no einsum is contracted in another order; None where that cannot be told.
    tests:    the comparisons of a fitted cost (place, whether for equality), with their ``outcomes`` where its structure is this
              one: none where they do not tell structures apart.
    always:   any point may be another program's.
    seen:     points at which a concrete trace was the same, in internal variables.
    """
    regions, fitted = cost.origin.compared, cost.origin.fitted
    margins = _margins(cost)
    tests = () if fitted is None else fitted.asked.tests
    return {
        "margins": None if margins is None else bounds.all(margins),
        "tests": [[bounds.add(test.difference), test.equal] for test in tests],
        "outcomes": [] if fitted is None else sorted(map(list, fitted.outcomes)),
        "conditions": "" if fitted is None else ", ".join(fitted.conditions),
        "always": regions.everywhere or (fitted is not None and not fitted.outcomes),
        "seen": _seen(cost),
    }


def _margins(cost: Symbolic) -> tuple[Expr, ...] | None:
    regions = cost.origin.compared
    if regions.stand_ins:
        return None
    if not regions.own_orders:
        return ()
    from costmodel.trace.contractions import margins

    found = [margins(order) for order in regions.orders[:regions.own_orders]]
    return None if None in found else tuple(dict.fromkeys(d for each in found for d in each or ()))


def _seen(cost: Symbolic) -> list[list[str]]:
    """Points as text, since their values may be large."""
    own = set(cost.symbols)

    def internal(values: Mapping[str, int]) -> list[str]:
        env = cost.domain.bind({name: value for name, value in values.items() if name in own})
        return [str(env[symbol(v.name)]) for v in cost.domain.ordered]

    fitted = cost.origin.fitted
    points = [dict(point) for point in cost.origin.compared.points]
    points += [] if fitted is None else [*fitted.points, *fitted.verified]
    return sorted(internal(values) for values in points if own <= set(values))
