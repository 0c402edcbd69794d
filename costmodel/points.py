"""Points inside a domain, for trying things out where the user gave none."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from math import prod

from costmodel.errors import CostModelError, DomainError
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import Symbol, evaluate, symbol

# Middling sizes first: networks for images do not run on tiny ones. Then larger, then smaller.
_SIZES = (48, 160, 12, 3)
_DRAWS = 60
_POINTS_A_SIZE = 2


def split_range(texts: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, int, int] | None]:
    """The points that ``--at`` gives without the range among them, and the range: a symbol, its first and its last value.

    >>> split_range(("n=1..256,h=224", "w=224"))
    (('h=224', 'w=224'), ('n', 1, 256))
    """
    parts = [part.strip() for text in texts for part in text.split(",")]
    spans = [part for part in parts if ".." in part]
    if not spans:
        return texts, None
    match = re.fullmatch(r"([A-Za-z_]\w*)\s*=\s*(\d+)\s*\.\.\s*(\d+)", spans[0])
    if len(spans) > 1 or not match or int(match[3]) < int(match[2]):
        raise CostModelError(f"--at {','.join(spans)!r} is not one range of the form NAME=FIRST..LAST; write e.g. "
                             "--at n=1..256,h=224,w=224")
    return tuple(part for part in parts if part != spans[0]), (match[1], int(match[2]), int(match[3]))


def sample_points(domain: Domain) -> Iterator[dict[str, int]]:
    """A few points of ``domain``, always the same ones; symbols differ from each other where they may, so that formulas which
    confuse two symbols are found out. Yields nothing where constraints leave no such point."""
    draw = random.Random(0)
    for size in _SIZES:
        found: list[dict[str, int]] = []
        for attempt in range(_DRAWS):
            # Relations such as h >= 4*k need sizes further apart than a factor of two.
            least = size if attempt < _DRAWS // 3 else draw.choice((1, 2, size))
            drawn = {name: draw.randint(least, 2 * size) for name in domain.symbols}
            point = _shared(domain, _fit(domain, {**drawn, **domain.defaults}))
            if point not in found and inside(domain, point):
                found.append(point)
                yield point
            if len(found) == _POINTS_A_SIZE:
                break


def inside(domain: Domain, point: Mapping[str, int]) -> bool:
    """Does the domain hold this point: every symbol bound, every constraint met?"""
    try:
        domain.bind(point)
    except DomainError:
        return False
    return True


def _shared(domain: Domain, point: dict[str, int]) -> dict[str, int]:
    """The point with every size that devices of a mesh share moved to a multiple of all of them."""
    devices = prod(domain.defaults.values()) if domain.multiples else 1
    return {name: value if name in domain.defaults else -(-value // devices) * devices for name, value in point.items()}


def _fit(domain: Domain, wanted: Mapping[str, int]) -> dict[str, int]:
    """``wanted`` moved to the next values that divisors and bounds of each symbol allow; relations are not looked at."""
    point: dict[str, int] = {}
    internal: dict[Symbol, int] = {}
    for v in domain.ordered:
        divisor = int(evaluate(v.divisor, internal))
        units = -(-max(v.lower, wanted[v.symbol]) // divisor)
        if v.upper is not None:
            units = min(units, v.upper // divisor)
        internal[symbol(v.name)] = units
        point[v.symbol] = units * divisor
    return {name: point[name] for name in domain.symbols}
