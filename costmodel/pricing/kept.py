"""A cost as the cache keeps it, and the cost that goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from costmodel.pricing.core import Symbolic
from costmodel.program.deferred import Deferred
from costmodel.program.kept import Kept
from costmodel.program.regions import Regions
from costmodel.program.serialize import Saved

if TYPE_CHECKING:
    from costmodel.trace.requests import Traceable

SomeCost = TypeVar("SomeCost", bound=Symbolic)


def kept(cost: Symbolic) -> Kept | None:
    """What is to be kept of a cost. None where a program in a file is not enough to go on with: of a fit, whose traces are asked
    for more, of a mesh, whose partitioner is, and where every point is traced by itself."""
    if cost.fitted is not None or cost.sharded is not None or cost.source is not None or cost.compared.everywhere \
            or cost.request is None or not cost.compared.checked:
        return None
    known = cost.known
    where = {fixed: (kept(there), alike) for fixed, (there, alike) in known.where.items()}
    regions = set(map(id, _regions(cost)))
    within, alone = [], []
    for point, there in sorted(known.elsewhere.items()):
        if id(there) in regions:
            within.append(point)
        elif there.compared.checked and there not in known.ordered.values():
            return None
        else:
            alone.append((point, _saved(there)))
    if any(there is None for there, _ in where.values()):
        return None
    return Kept(_saved(cost), tuple((fixed, there, alike) for fixed, (there, alike) in where.items() if there is not None),
                tuple(within), tuple(alone), tuple(sorted(known.alike)))


def size(cost: Symbolic) -> tuple[int, ...]:
    """How much is known of a cost: it grows with every concrete trace."""
    known, compared = cost.known, cost.compared
    own = len(known.elsewhere), len(known.alike), len(compared.points), len(compared.same), len(compared.counted)
    return sum((size(there) for there, _ in known.where.values()), own)


def restored(kind: type[SomeCost], found: Kept, request: Callable[[], Traceable]) -> SomeCost:
    """The cost that was kept; ``request`` makes what it was traced from once a trace is needed."""
    deferred = Deferred(request)
    saved = found.saved
    cost = kind(saved.program, saved.domain, name=saved.name, request=cast(Any, deferred), regions=saved.regions)
    for fixed, there, alike in found.where:
        cost.known.where[fixed] = restored(kind, there, lambda fixed=fixed: deferred.where(dict(fixed))), alike  # type: ignore[misc]
    for point in found.within:
        cost.known.elsewhere[point] = cost.within(dict(point))
    for point, alone in found.alone:
        cost.known.elsewhere[point] = kind(alone.program, alone.domain, name=alone.name, regions=Regions(checked=False))
        cost.known.met.add(cost.fixed_at(cost.domain.bind(dict(point))))
    cost.known.alike.update(found.alike)
    return cost


def _regions(cost: Symbolic) -> Iterator[Symbolic]:
    """The costs that hold where some variables are fixed, and those that hold within one of these."""
    for there, _ in cost.known.where.values():
        yield there
        yield from there.known.elsewhere.values()
        yield from _regions(there)


def _saved(cost: Symbolic) -> Saved:
    return Saved(cost.program, cost.domain, cost.name, cost.compared)
