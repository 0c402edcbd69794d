"""A point at which a program is partitioned: every dimension a multiple of all devices, and different from the others."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from sympy import Symbol

from costmodel.errors import CostModelError
from costmodel.symbolic.domain import Domain, Variable
from costmodel.symbolic.forms import evaluate, symbol

_FACTORS = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
_TRIES = 200


def witness(domain: Domain, multiple: int) -> dict[Symbol, int]:
    """Values of the internal variables, multiples of ``multiple``. Raises CostModelError where the domain has no such point."""
    rng = random.Random(0)
    for attempt in range(_TRIES):
        factors = list(_FACTORS) if attempt < _TRIES // 2 else [1, 2, *_FACTORS]
        if attempt:
            rng.shuffle(factors)
        env = _point(domain.ordered, factors, multiple)
        if env is not None and all(evaluate(r.difference, env) >= 0 for r in domain.relations):
            return env
    raise CostModelError(f"no point of {domain} is a multiple of the mesh's {multiple} devices in every dimension, which is where "
                         "a program is partitioned: loosen a bound, or give that dimension as an integer")


def near(domain: Domain, env: Mapping[Symbol, int], multiple: int) -> dict[Symbol, int] | None:
    """Values close to those of a point, and above: multiples that differ from each other; None where the domain has none there."""
    made: dict[Symbol, int] = {}
    taken: set[int] = set()
    for v in domain.ordered:
        value = env[symbol(v.name)]
        factor = next(f for f in count(-(-value // multiple)) if f not in taken)
        taken.add(factor)
        made[symbol(v.name)] = multiple * factor
        if not _within(v, made):
            return None
    return made if all(evaluate(r.difference, made) >= 0 for r in domain.relations) else None


def _within(v: Variable, env: Mapping[Symbol, int]) -> bool:
    whole = env[symbol(v.name)] * evaluate(v.divisor, env)
    return whole >= v.lower and (v.upper is None or whole <= v.upper)


def _point(variables: Sequence[Variable], factors: Iterable[int], multiple: int) -> dict[Symbol, int] | None:
    env: dict[Symbol, int] = {}
    for v, factor in zip(variables, _endless(list(factors)), strict=False):
        env[symbol(v.name)] = multiple * factor
        if not _within(v, env):
            return None
    return env


def _endless(factors: list[int]) -> Iterable[int]:
    while True:
        yield from factors
        factors = [f + 40 for f in factors]
