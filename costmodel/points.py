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
_MOST = 1_000_000  # values of an axis


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
    if len(spans) == 1 and match and int(match[3]) < int(match[2]):
        raise CostModelError(f"--at {spans[0]!r} has no value: FIRST is above LAST")
    if len(spans) > 1 or not match:
        raise CostModelError(f"--at {','.join(spans)!r} is not one range of the form NAME=FIRST..LAST; write e.g. "
                             "--at n=1..256,h=224,w=224")
    few(range(int(match[2]), int(match[3]) + 1), f"--at {spans[0]}")
    return tuple(part for part in parts if part != spans[0]), (match[1], int(match[2]), int(match[3]))


def axes(texts: tuple[str, ...], domain: Domain) -> dict[str, list[int]]:
    """The values that ``--over`` gives: NAME=FIRST..LAST, the multiples in it that the domain allows; with :STEP or *FACTOR, those
    from the first on; or NAME=A|B|C.

    >>> axes(("n=1..8*2,h=64..128:32", "c=3|5"), Domain())
    {'n': [1, 2, 4, 8], 'h': [64, 96, 128], 'c': [3, 5]}
    """
    found: dict[str, list[int]] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, _, given = (each.strip() for each in part.partition("="))
        match = re.fullmatch(r"(\d+)\s*\.\.\s*(\d+)(?:\s*([:*])\s*(\d+))?", given)
        if not name.isidentifier() or not (match or re.fullmatch(r"\d+(\s*\|\s*\d+)*", given)):
            raise CostModelError(f"--over {part!r} is not of the form NAME=FIRST..LAST[:STEP or *FACTOR] or NAME=A|B|C; write e.g. "
                                 "--over n=1..256*2,h=64..512:32")
        if name in found:
            raise CostModelError(f"--over gives {name} twice; give each symbol its values once")
        found[name] = _span(part, match, _step(domain, name)) if match else [int(v) for v in given.split("|")]
    return found


def few(values: range, what: str, cure: str = ", e.g. doubling: `costmodel sweep --over NAME=FIRST..LAST*2`") -> list[int]:
    """The values of a range. Raises CostModelError for more than anybody looks at, before they take the memory."""
    count = max(0, -((values.start - values.stop) // values.step))  # len() refuses what is no index of the machine's
    if count > _MOST:
        raise CostModelError(f"{what} has {count:,} values; give at most {_MOST:,}{cure}")
    return list(values)


def _step(domain: Domain, name: str) -> int:
    """What every value of a symbol is a multiple of."""
    return next((int(v.divisor) for v in domain.variables if v.symbol == name and v.divisor.is_Integer), 1)


def _span(part: str, match: re.Match[str], step: int) -> list[int]:
    first, last, by = int(match[1]), int(match[2]), int(match[4] or 0)
    if match[3] == "*":
        if by < 2 or first < 1:
            raise CostModelError(f"--over {part!r}: a factor is at least 2, and the first value at least 1")
        values = [first]
        while values[-1] * by <= last:
            values.append(values[-1] * by)
        return [v for v in values if v <= last]
    if match[3] and by < 1:
        raise CostModelError(f"--over {part!r}: a step is at least 1")
    start, every = (first, by) if match[3] else (-(-first // step) * step, step)
    values = few(range(start, last + 1, every), f"--over {part}")
    if not values:
        told = ": FIRST is above LAST" if first > last else f": those of the domain are multiples of {step}" if step > 1 else ""
        raise CostModelError(f"--over {part!r} has no value{told}")
    return values


def figures(texts: tuple[str, ...]) -> dict[str, list[float]]:
    """The values that ``--vary`` gives of figures of devices: NAME=LEAST..MOST:COUNT, evenly spaced, or NAME=A|B|C, with units.

    >>> figures(("bandwidth=1TB/s..4TB/s:4",))
    {'bandwidth': [1000000000000.0, 2000000000000.0, 3000000000000.0, 4000000000000.0]}
    """
    from costmodel.pricing.figures import units_of
    from costmodel.pricing.sweep import quantity

    found: dict[str, list[float]] = {}
    for part in texts:
        name, equals, given = (each.strip() for each in part.partition("="))
        span, _, count = given.partition(":")
        ends = span.split("..")
        if not equals or len(ends) > 2 or (len(ends) == 2) != count.strip().isdigit() or count.strip() in ("0", "1"):
            raise CostModelError(f"--vary {part!r} is not of the form NAME=LEAST..MOST:COUNT or NAME=A|B|C; write e.g. "
                                 "--vary bandwidth=1TB/s..4TB/s:50")
        if name in found:
            raise CostModelError(f"--vary gives {name} twice; give each figure its values once, as NAME=A|B|C")
        if len(ends) == 2:
            (low, high), n = (quantity(end, units_of(name)) for end in ends), int(count)
            few(range(n), f"--vary {part}", cure="")
            found[name] = [low + (high - low) * i / (n - 1) for i in range(n)]
        else:
            found[name] = [quantity(value, units_of(name)) for value in given.split("|")]
    return found


def ties(texts: tuple[str, ...]) -> dict[str, str]:
    """The symbols that follow others.

    >>> ties(("w=h",))
    {'w': 'h'}
    """
    found = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, equals, other = (each.strip() for each in part.partition("="))
        if not equals or not name.isidentifier() or not other.isidentifier():
            raise CostModelError(f"--tie {part!r} is not of the form NAME=NAME; write e.g. --tie w=h")
        found[name] = other
    return found


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
