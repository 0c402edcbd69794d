"""Where the sliders stand at first."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import prod
from operator import index
from typing import Any

from costmodel.errors import DomainError
from costmodel.pricing.rate import BATCH
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import evaluate, symbol

# Sizes to try, small ones that networks run on first.
_SIZES = (64, 224, 32, 16, 8, 512, 4, 2, 1, 1024)


def start(domain: Domain, at: Mapping[str, int]) -> dict[str, int]:
    """A point of the domain with the values of ``at``; of what it leaves open a batch is 1, or as many as there are devices, and
    anything else is one of a few sizes.

    Raises DomainError for values outside the domain, or where none of the sizes is inside.
    """
    at = {name: index(value) if hasattr(value, "__index__") else value for name, value in at.items()}  # of numpy, too
    if set(at) >= set(domain.symbols) or set(at) - set(domain.symbols):
        domain.bind(at)
        return {name: at[name] for name in domain.symbols}
    devices = prod(domain.defaults.values())
    for size, batch in product(_SIZES, dict.fromkeys((1, devices))):
        point = near(domain, {name: at.get(name, batch if name in BATCH else size) for name in domain.symbols}, at)
        try:
            domain.bind(point)
        except DomainError:
            continue
        return point
    raise DomainError(f"say where the page starts, with a value for each of {', '.join(domain.symbols)}: the domain is {domain}")


def near(domain: Domain, wanted: Mapping[str, int], fixed: Mapping[str, int] | None = None) -> dict[str, int]:
    """``wanted``, but for what is fixed, moved to values that divisors and bounds of each symbol allow, whatever relates them."""
    point: dict[str, int] = {}
    internal: dict[Any, int] = {}
    for v in domain.ordered:
        divisor = int(evaluate(v.divisor, internal))
        units = -(-max(v.lower, wanted[v.symbol]) // divisor)
        if v.upper is not None:
            units = min(units, v.upper // divisor)
        point[v.symbol] = (fixed or {}).get(v.symbol, units * divisor)
        internal[symbol(v.name)] = point[v.symbol] // divisor
    return {name: point[name] for name in domain.symbols}
