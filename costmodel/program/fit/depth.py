"""Which symbol sets how many layers or unrolled steps a program has, and the same model at one number of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from sympy import Symbol

from costmodel.program.fit.align import Aligned
from costmodel.program.fit.box import Point
from costmodel.program.fit.programs import Tracer, box_of, domain_of_request
from costmodel.program.fit.refusal import Varies
from costmodel.symbolic.domain import Variable
from costmodel.symbolic.forms import symbol
from costmodel.trace.requests import Traceable

_STEPS = 4  # consecutive values at which a program that grows is another one each time
_LATER = 18  # and still is, so much further on


@dataclass(frozen=True)
class Grows:
    """In place of a program: it has more equations for every value of ``depth``. ``reason``: why there is no symbolic trace."""

    request: Traceable
    depth: Variable
    reason: str

    @property
    def symbol(self) -> Symbol:
        """The symbol that is the depth."""
        return symbol(self.depth.name)

    @property
    def least(self) -> int:
        """The smallest depth at which forms are sought: where a size is 1 jax writes other programs."""
        return max(2, self.depth.lower)

    def at(self, depth: int) -> Traceable:
        """The same model, so deep, in the other symbols."""
        return self.request.where({self.depth.name: depth})


def growing(request: Traceable, reason: str) -> Grows | None:
    """The one symbol with which the program grows, for every value of it; None if there is none.

    Raises Varies where it grows with several, or with a multiple of which only multiples are sizes.
    """
    tracer = Tracer(request, domain_of_request(request))
    box = box_of(tracer.domain)
    low = tuple(axis.low for axis in box.axes)
    found = [v for k, v in enumerate(tracer.domain.variables) if _grows(tracer, low, k, box.axes[k].limit)]
    if len(found) > 1:
        names = " and ".join(v.symbol for v in found)
        raise Varies(f"the structure grows with {names}; give all but one of them as integers")
    if found and found[0].divisor != 1:
        raise Varies(f"the structure grows with {found[0].symbol}, which is declared as a multiple: declare it without multiple_of")
    return Grows(request, found[0], reason) if found else None


def _grows(tracer: Tracer, low: Point, k: int, limit: int | None) -> bool:
    """Whether there are more equations at each of some consecutive values, and further on still."""
    def equations(v: int) -> int | None:
        found = tracer((*low[:k], low[k] + v, *low[k + 1:]))
        return len(found.program.equations) if isinstance(found, Aligned) else None

    def rise(values: range) -> bool:
        counts: list[int] = []
        for v in values:
            count = equations(v) if limit is None or low[k] + v <= limit else None
            if count is None or (counts and count <= counts[-1]):
                return False
            counts.append(count)
        return True

    if not rise(range(_STEPS)):
        return False
    later = [count for v in (_LATER, _LATER + 1) if (limit is None or low[k] + v <= limit) and (count := equations(v)) is not None]
    return all(a < b for a, b in pairwise(later))
