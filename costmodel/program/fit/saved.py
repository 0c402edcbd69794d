"""A fit in a file: what it rests upon, and what may be believed of it where no model can be traced again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from sympy import Expr, Symbol

from costmodel.errors import DomainError
from costmodel.program.fit.box import Point
from costmodel.program.fit.conditions import Condition, Conditions
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import evaluate, symbol

if TYPE_CHECKING:
    from costmodel.program.fit.result import Fit

_MOST_POINTS, _MOST_TESTS = 100_000, 1000  # that a file may list


@dataclass(eq=False)
class SavedFit:
    """A fit that was read from a file. It answers as :class:`Fit` does, from what was verified before it was saved.

    names:      the internal variables, in the order of a point's integers.
    told_apart: whether the comparisons that the model makes tell its structures apart for sure.
    """

    domain: Domain
    reason: str
    names: tuple[str, ...]
    inside: tuple[Point, ...]
    checked: tuple[Point, ...]
    outside: tuple[Point, ...]
    asked: Conditions
    conditions: tuple[str, ...]
    told_apart: bool
    told: bool = False  # that some point was not verified

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in which sizes were fitted."""
        return self.domain.symbols

    @property
    def points(self) -> tuple[dict[str, int], ...]:
        """The points that the forms were found at."""
        return tuple(map(self._user, self.inside))

    @property
    def verified(self) -> tuple[dict[str, int], ...]:
        """The points that were traced afterwards, where every form held."""
        return tuple(map(self._user, self.checked))

    @property
    def elsewhere(self) -> tuple[dict[str, int], ...]:
        """Points outside of the fitted domain that were traced."""
        return tuple(map(self._user, self.outside))

    @property
    def box(self) -> dict[str, tuple[int, int]]:
        """The least and the greatest value of each symbol at the points that were traced and held."""
        seen = [*self.points, *self.verified]
        return {name: (min(p[name] for p in seen), max(p[name] for p in seen)) for name in self.symbols if name in seen[0]}

    @property
    def traces(self) -> int:
        """How many concrete traces it rests upon."""
        return len(self.inside) + len(self.checked) + len(self.outside)

    def _user(self, point: Point) -> dict[str, int]:
        env = self._env(point)
        return {v.symbol: int(evaluate(v.divisor, env)) * env[symbol(v.name)] for v in self.domain.variables
                if symbol(v.name) in env}

    def _env(self, point: Point) -> dict[Symbol, int]:
        return {symbol(name): value for name, value in zip(self.names, point, strict=True)}

    def _point(self, env: Mapping[Symbol, int]) -> Point:
        return tuple(env.get(symbol(name), value) for name, value in zip(self.names, self.inside[0], strict=True))

    @cached_property
    def _seen(self) -> set[Point]:
        return {*self.inside, *self.checked}

    @cached_property
    def outcomes(self) -> set[tuple[bool, ...]]:
        """How the comparisons of the model come out at the points that held."""
        return {self.asked.outcome(self._env(p)) for p in self._seen} if self.told_apart else set()

    def is_verified(self, env: Mapping[Symbol, int]) -> bool:
        """Whether a point was traced, or is among those that were, in a region that nothing was met outside of."""
        point = self._point(env)
        among = all(min(p[k] for p in self._seen) <= v <= max(p[k] for p in self._seen) for k, v in enumerate(point))
        return point in self._seen or (among and self._known(env))

    def _known(self, env: Mapping[Symbol, int]) -> bool:
        """Whether the structure is known to be this one: by the comparisons, or because no other one was ever met."""
        return self.asked.outcome(env) in self.outcomes if self.told_apart else not self.outside

    def holds(self, env: Mapping[Symbol, int]) -> bool:
        """True, with a word on stderr where the point is none of a verified region. Raises DomainError where the structure may be
        another one."""
        full = self._env(self._point(env))
        if self._point(env) in self._seen:
            return True
        if not self._known(full):
            self.refuse(env)
        if not self.told and not self.is_verified(full):
            self.told = True
            within = ", ".join(f"{name}={low} … {high}" for name, (low, high) in self.box.items())
            print(f"costmodel: {self._text(env)} is not verified here: this cost is from a file, and its forms were verified at "
                  f"{within}", file=sys.stderr)
        return True

    def refuse(self, env: Mapping[Symbol, int]) -> NoReturn:
        """Raises DomainError: the structure may be another one at this point."""
        said = f" (it holds where {', '.join(self.conditions)})" if self.conditions else ""
        raise DomainError(f"{self._text(env)} is not verified here: this cost is from a file, and the model may be another program "
                          f"there{said}; evaluate it at such a point before to_json()")

    def key_at(self, env: Mapping[Symbol, int]) -> str:
        """Nothing: a file has no program to tell structures apart by."""
        return ""

    def _text(self, env: Mapping[Symbol, int]) -> str:
        return ", ".join(f"{name}={value}" for name, value in self._user(self._point(env)).items())

    def __str__(self) -> str:
        where = f"; where {', '.join(self.conditions)}" if self.conditions else ""
        return (f"from a file: fitted in {', '.join(self.symbols)} to {len(self.inside)} concrete traces, verified at "
                f"{len(self.checked)} others{where} ({self.reason})")


def fit_data(fit: Fit | SavedFit, number: Callable[[Expr], int]) -> dict[str, Any]:
    """A fit as JSON; ``number`` stores an expression and gives its place."""
    if not isinstance(fit, SavedFit):
        fit = saved(fit)
    return {"reason": fit.reason, "names": list(fit.names), "points": [list(p) for p in fit.inside],
            "verified": [list(p) for p in fit.checked], "elsewhere": [list(p) for p in fit.outside],
            "tests": [[number(test.difference), test.equal] for test in fit.asked.tests], "complete": fit.asked.complete,
            "conditions": list(fit.conditions), "told_apart": fit.told_apart}


def saved(fit: Fit) -> SavedFit:
    """What a file keeps of a fit: the points that were traced since are among the verified."""
    columns = fit.found.columns
    checked = dict.fromkeys((*columns.verified, *sorted(fit.traced - {*columns.points})))
    return SavedFit(fit.found.domain, fit.reason, fit.found.tracer.names, columns.points, tuple(checked), fit.outside, fit.asked,
                    fit.conditions, fit.told_apart)


def fit_from(data: Any, domain: Domain, expression: Callable[[Any], Expr]) -> SavedFit:
    """The fit that :func:`fit_data` wrote; ``expression`` gives the expression at a place. Raises ValueError, KeyError or TypeError
    for anything else."""
    names = tuple(_texts(data["names"]))
    if len(set(names)) != len(names) or not set(names) <= {v.name for v in domain.variables}:
        raise ValueError("a fit is in other symbols than its cost")
    inside, checked, outside = (_points(data[part], len(names)) for part in ("points", "verified", "elsewhere"))
    if not inside or not names:
        raise ValueError("a fit has no points")
    flags = [data["complete"], data["told_apart"], *(equal for _, equal in data["tests"])]
    if not all(isinstance(flag, bool) for flag in flags) or len(data["tests"]) > _MOST_TESTS:
        raise ValueError("complete, told_apart and what is equal are true or false")
    tests = tuple(Condition(expression(place), equal) for place, equal in data["tests"])
    if not {s.name for test in tests for s in test.difference.free_symbols} <= set(names):
        raise ValueError("a comparison is in other symbols than its fit")
    (reason,) = _texts([data["reason"]])
    return SavedFit(domain, reason, names, inside, checked, outside, Conditions(tests, data["complete"]),
                    tuple(_texts(data["conditions"])), data["told_apart"])


def _texts(values: Iterable[Any]) -> list[str]:
    found = list(values)
    if not all(isinstance(value, str) for value in found):
        raise ValueError("a fit has something in place of a text")
    return found


def _points(values: Any, count: int) -> tuple[Point, ...]:
    if not isinstance(values, list) or len(values) > _MOST_POINTS:
        raise ValueError("a fit's points are no list, or too many")
    for point in values:
        if not isinstance(point, list) or len(point) != count or not all(type(v) is int and v > 0 for v in point):
            raise ValueError(f"{str(point)[:60]} is no point of a fit in {count} symbols")
    return tuple(map(tuple, values))
