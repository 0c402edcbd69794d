"""How a program comes about: traced with symbols, or fitted to concrete traces; and what a result says of its fit."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from sympy import Expr, Symbol

from costmodel.errors import CostModelError, DomainError, IndivisibleShards, TraceError
from costmodel.program.fit.box import Point
from costmodel.program.fit.conditions import Conditions
from costmodel.program.fit.limit import TimeLimit, time_limit
from costmodel.program.fit.programs import FittedProgram, domain_of_request, fit_request
from costmodel.program.fit.refusal import FitError
from costmodel.program.inline import inline
from costmodel.program.raw import RawProgram
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import symbol
from costmodel.trace.requests import Traceable

WHEN = ("auto", "never", "always")
TRACE_LIMIT = 60.0  # seconds for a symbolic trace, after which ``auto`` goes on with a fit


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fitted result rests upon.

    reason:  why there is no symbolic trace.
    """

    reason: str
    found: FittedProgram

    @property
    def asked(self) -> Conditions:
        """The comparisons that a symbolic trace of the model meets."""
        return self.found.asked

    def whole(self, domain: Domain) -> Domain:
        """A domain with the symbols added on which no size depends, within this structure."""
        missing = tuple(v for v in self.found.domain.variables if v not in domain.variables)
        return replace(domain, variables=(*domain.variables, *missing))

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in which sizes were fitted."""
        return self.found.domain.symbols

    @property
    def points(self) -> tuple[dict[str, int], ...]:
        """The points that the forms were found at."""
        return self._in_user_symbols(self.found.columns.points)

    @property
    def verified(self) -> tuple[dict[str, int], ...]:
        """The points that were traced afterwards, where every form held."""
        return self._in_user_symbols(self.found.columns.verified)

    @property
    def elsewhere(self) -> tuple[dict[str, int], ...]:
        """Points that were traced and have another structure, or do not trace: outside of the fitted domain."""
        return self._in_user_symbols(self.found.columns.elsewhere)

    @property
    def traces(self) -> int:
        """Concrete traces so far, those of later evaluations included."""
        return len(self.found.tracer.known)

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """What the model asks of its sizes that holds wherever the structure is this one, and not elsewhere."""
        columns = self.found.columns
        inside, outside = (list(map(self._env, points)) for points in ((*columns.points, *columns.verified), columns.elsewhere))
        return tuple(test.text(true, self._user) for test, true in self.asked.separating(inside, outside))

    def _user(self, expr: Expr) -> Expr:
        return self.found.domain.in_user_symbols(expr)

    def _env(self, point: Point) -> dict[Symbol, int]:
        return {symbol(name): v for name, v in zip(self.found.tracer.names, point, strict=True)}

    def _in_user_symbols(self, points: Iterable[Point]) -> tuple[dict[str, int], ...]:
        variables = self.found.domain.variables
        return tuple({v.symbol: int(v.divisor.subs(self._env(p))) * value for v, value in zip(variables, p, strict=True)}
                     for p in points)

    @cached_property
    def _seen(self) -> set[Point]:
        return {*self.found.columns.points, *self.found.columns.verified}

    @cached_property
    def _outcomes(self) -> set[tuple[bool, ...]]:
        """How the conditions come out where the forms held; none if they do not tell structures apart for sure."""
        if not self.asked.complete or self.found.columns.open:
            return set()
        return {self.asked.outcome(self._env(p)) for p in self._seen}

    def check(self, env: Mapping[Symbol, int]) -> None:
        """Trace concretely at a point of the internal variables, once, and compare structure and sizes.

        Raises DomainError where they differ: there is no closed form there.
        """
        point = self._point(env)
        if point in self._seen:
            return
        why = self.found.differs(point)
        if why:
            values = ", ".join(f"{name}={v}" for name, v in self._in_user_symbols([point])[0].items())
            said = f" (it holds where {', '.join(self.conditions)})" if self.conditions else ""
            raise DomainError(f"{values} is outside of the fitted domain{said}: {why}; cost.region(...) there has other forms")
        self._seen.add(point)

    def elsewhere_at(self, env: Mapping[Symbol, int]) -> Fit:
        """The fit of the structure at another point. Raises FitError where it has none."""
        tracer = self.found.tracer
        near = dict(zip(tracer.names, self._point(env), strict=True))
        return Fit(self.reason, fit_request(tracer.request, near=near, tracer=tracer))

    def check_all(self, points: Iterable[Mapping[Symbol, int]], most: int = 256) -> None:
        """:meth:`check` at each of many points, but for those where every comparison that the model makes comes out as at a point
        that was verified: they have the same program. Raises CostModelError where more than ``most`` need a trace."""
        left = [p for p in points if self.asked.outcome(self._env(self._point(p))) not in self._outcomes]
        if len(left) > most:
            raise CostModelError(f"{len(left):,} points of a fitted cost need a concrete trace each, which is too many; sweep "
                                 f"at most {most}")
        for p in left:
            self.check(p)

    def _point(self, env: Mapping[Symbol, int]) -> Point:
        """A point of all internal variables; those on which nothing depends are as they were."""
        first = self.found.columns.points[0]
        return tuple(env.get(symbol(name), v) for name, v in zip(self.found.tracer.names, first, strict=True))

    def __str__(self) -> str:
        columns = self.found.columns
        where = f"; where {', '.join(self.conditions)}" if self.conditions else ""
        return (f"fitted in {', '.join(self.symbols)} to {len(columns.points)} concrete traces, verified at "
                f"{len(columns.verified)} others{where} ({self.reason})")


@dataclass(frozen=True, eq=False)
class Made:
    """A program, what it rests upon if it is fitted, and whether jax chose something in it by sizes that stand for the symbols."""

    program: RawProgram
    fit: Fit | None = None
    stand_ins: bool = False
    asked: tuple[Expr, ...] = ()


def _traced(request: Traceable) -> Made:
    traced = request.run()
    return Made(inline(traced), stand_ins=traced.stand_ins, asked=traced.asked)


def raw_program(request: Traceable, *, fit: str = "auto", trace_limit: float | None = TRACE_LIMIT) -> Made:
    """The program of a request, and what it rests upon if it is fitted.

    fit:         ``"never"``: traced with symbols or not at all; ``"always"``: fitted if it has symbols; ``"auto"``: fitted where
                 jax refuses the symbols or takes longer than ``trace_limit`` seconds, with a line on stderr.

    Raises TraceError where the model does not trace, FitError where it has no exact form.
    """
    if fit not in WHEN:
        raise CostModelError(f"fit={fit!r} must be one of {', '.join(map(repr, WHEN))}")
    if fit == "always":
        return _fitted(request, "as asked for") if domain_of_request(request).variables else _traced(request)
    try:
        with time_limit(trace_limit if fit == "auto" else None):
            return _traced(request)
    except TimeLimit:
        refusal = TraceError(f"the symbolic trace takes longer than {trace_limit:g} s; bound a dimension, or pass trace_limit=None")
    except IndivisibleShards:  # which concrete traces do not mend: it is to be traced as a multiple
        raise
    except TraceError as error:
        refusal = error
    if fit == "never" or not domain_of_request(request).variables:
        raise refusal
    found = _instead(request, refusal)
    if found is None:
        raise refusal
    print(f"costmodel: {found.fit}", file=sys.stderr)
    return found


def _instead(request: Traceable, refusal: TraceError) -> Made | None:
    """The fitted program in place of the symbolic one; None if the model traces nowhere, so that its symbols are not to blame."""
    try:
        return _fitted(request, str(refusal))
    except TraceError:
        return None
    except FitError as error:
        raise TraceError(f"{refusal}; and no exact form was found from concrete traces: {error}") from error


def _fitted(request: Traceable, reason: str) -> Made:
    found = fit_request(request)
    return Made(found.program, Fit(reason, found))
