"""Points at which a cost is compared with a concrete trace before its page is written: the file itself cannot do that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from costmodel.errors import CostModelError, DomainError
from costmodel.pricing.core import Symbolic
from costmodel.report.page.start import near


def settle(cost: Symbolic, point: Mapping[str, int]) -> None:
    """Compare where the page starts, and at one point on no boundary, where it has most of its points.

    Raises TraceError where the model cannot be traced at the start.
    """
    if cost.origin.request is None:
        return  # from a file: what was compared stands in it
    cost.at(**point)
    for other in _beside(cost, point):
        try:
            cost.at(**other)
        except CostModelError:
            continue
        return


def _beside(cost: Symbolic, point: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Points of the domain on no boundary, near a point."""
    regions = cost.origin.compared
    if not regions.boundaries or frozenset() in regions.same:
        return
    for factors in ((3, 2), (2, 1), (1, 2), (5, 3)):
        wanted = {name: -(-value * factors[0] // factors[1]) + 1 + i for i, (name, value) in enumerate(point.items())}
        try:
            other = near(cost.domain, wanted)
            if not regions.signature(cost.domain.bind(other)):
                yield other
        except DomainError:
            continue
