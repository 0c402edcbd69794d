"""How a program comes about: traced with symbols, or fitted to concrete traces; and what a result says of its fit."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from sympy import Expr, Symbol

from costmodel.errors import CostModelError, DomainError, IndivisibleShards, TraceError
from costmodel.program.fit.box import Point
from costmodel.program.fit.conditions import Conditions
from costmodel.program.fit.depth import Grows, growing
from costmodel.program.fit.limit import TRACE_LIMIT, TimeLimit, time_limit
from costmodel.program.fit.programs import FittedProgram, box_of, domain_of_request, fit_request
from costmodel.program.fit.refusal import FitError
from costmodel.program.inline import inline
from costmodel.program.raw import RawProgram
from costmodel.surface import said
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import symbol
from costmodel.trace.requests import Traceable
from costmodel.trace.undecided import Order

WHEN = ("auto", "never", "always")


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
        return self._in_user_symbols(self.outside)

    @property
    def outside(self) -> tuple[Point, ...]:
        """The same in the internal variables."""
        tracer = self.found.tracer
        met = (p for p in tracer.known if tracer.key(p) != self.found.key)
        return tuple(dict.fromkeys((*self.found.columns.elsewhere, *met)))

    @property
    def traces(self) -> int:
        """Concrete traces so far, those of later evaluations included."""
        return len(self.found.tracer.known)

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """What holds wherever the structure is this one, and not elsewhere: comparisons that the model makes; and where they do not
        tell it from all other structures that were met, how far the structure was found to reach."""
        inside, outside = self._met()
        told, left = self.asked.separating(inside, outside)
        return (*(test.text(true, self._user) for test, true in told), *(self._reach() if left else ()))

    def _met(self) -> tuple[list[dict[Symbol, int]], list[dict[Symbol, int]]]:
        """The points that were traced: those of this structure, and all others."""
        inside: list[dict[Symbol, int]] = []
        outside: list[dict[Symbol, int]] = []
        for point in self.found.tracer.known:
            (inside if self.found.tracer.key(point) == self.found.key else outside).append(self._env(point))
        return inside, outside

    def _reach(self) -> Iterator[str]:
        """Bounds within which the structure was found, where they are closer than the domain's."""
        domain, box = self.found.domain, self.found.columns.box
        for axis, whole, v in zip(box.axes, box_of(domain).axes, domain.variables, strict=True):
            if not v.divisor.is_Integer:
                continue
            low, limit = axis.low * int(v.divisor), None if axis.limit is None else axis.limit * int(v.divisor)
            if low == limit:
                yield f"{v.symbol} == {low}"
                continue
            if axis.low > whole.low:
                yield f"{v.symbol} >= {low}"
            if axis.limit is not None and axis.limit != whole.limit:
                yield f"{v.symbol} <= {limit}"

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

    @property
    def edges(self) -> tuple[Expr, ...]:
        """What is zero where a size is 1 that is not so everywhere, and where an operand is as large as a result in a dimension in
        which it is not so everywhere (a pad of nothing, a slice of all): jax and the rules write other programs there."""
        ones = (form - 1 for form in self.found.columns.forms)
        same = (a - b for r in self.found.program.equations for v in r.ins for out in r.outs
                if len(v.array.shape) == len(out.array.shape) for a, b in zip(v.array.shape, out.array.shape, strict=True))
        return tuple(d for d in dict.fromkeys((*ones, *same)) if not d.is_number)

    @property
    def traced(self) -> frozenset[Point]:
        """The points at which a concrete trace had this structure and these sizes."""
        return frozenset(self._seen)

    def is_verified(self, env: Mapping[Symbol, int]) -> bool:
        """Whether a point was traced, as all are that are evaluated."""
        return self._point(env) in self._seen

    @property
    def told_apart(self) -> bool:
        """Whether the comparisons that the model makes tell its structures apart for sure."""
        return self.asked.complete and not self.found.columns.open

    @property
    def outcomes(self) -> set[tuple[bool, ...]]:
        """How the comparisons come out where the forms held; none if they do not tell structures apart."""
        return {self.asked.outcome(self._env(p)) for p in self._seen} if self.told_apart else set()

    def holds(self, env: Mapping[Symbol, int]) -> bool:
        """Whether the structure is this one at a point of the internal variables: a concrete trace there, once, compared.

        Raises DomainError where it is and a size is none of the forms', and where the model does not trace.
        """
        point = self._point(env)
        if point in self._seen:
            return True
        if self.found.is_another(point):
            return False
        why = self.found.differs(point)
        if why:
            raise DomainError(f"{self._text(point)} is outside of the fitted domain{self._said()}: {why}")
        self._seen.add(point)
        return True

    def refuse(self, env: Mapping[Symbol, int]) -> None:
        """Raises DomainError: the structure is another one at this point."""
        raise DomainError(f"{self._text(self._point(env))} is outside of the fitted domain{self._said()}: the program has another "
                          "structure there" + said("; cost.region(...) there has other forms", ""))

    def _text(self, point: Point) -> str:
        return ", ".join(f"{name}={v}" for name, v in self._in_user_symbols([point])[0].items())

    def _said(self) -> str:
        return f" (it holds where {', '.join(self.conditions)})" if self.conditions else ""

    def key_at(self, env: Mapping[Symbol, int]) -> str:
        """What tells the structure at a point from all others; "" where the model does not trace."""
        return self.found.tracer.key(self._point(env)) or ""

    def reaches(self, name: str, value: int) -> bool:
        """Whether the structure is this one where a user's symbol has a value, and all others are as at a point of the sample."""
        point = self._in_user_symbols(self.found.columns.points[:1])[0] | {name: value}
        try:
            return self.key_at(self.found.domain.bind(point)) == self.found.key
        except DomainError:
            return False

    def others(self) -> dict[str, dict[str, int]]:
        """Structures other than this that were met, those of most points first, each with a point that has it: points with a size
        of 1, where jax writes other programs, are looked at first."""
        known = self.found.tracer.known
        start = self.found.columns.points[0]
        for k, axis in enumerate(box_of(self.found.domain).axes):
            if self.found.domain.variables[k].lower <= 1 < axis.low:
                self.found.tracer((*start[:k], 1, *start[k + 1:]))
        met: dict[str, list[Point]] = {}
        for point in known:
            key = self.found.tracer.key(point)
            if key not in (None, self.found.key):
                met.setdefault(str(key), []).append(point)
        usual = sorted(met.items(), key=lambda item: -len(item[1]))
        return {key: self._in_user_symbols([max(points, key=lambda p: (min(p), -sum(p)))])[0] for key, points in usual}

    def elsewhere_at(self, env: Mapping[Symbol, int]) -> Fit:
        """The fit of the structure at another point. Raises FitError where it has none."""
        tracer = self.found.tracer
        near = dict(zip(tracer.names, self._point(env), strict=True))
        return Fit(self.reason, fit_request(tracer.request, near=near, tracer=tracer))

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
    """A program, what it rests upon if it is fitted, and what jax chose in it by sizes that stand for the symbols: the orders
    of einsums."""

    program: RawProgram
    fit: Fit | None = None
    orders: tuple[Order, ...] = ()
    asked: tuple[Expr, ...] = ()


def _traced(request: Traceable) -> Made:
    traced = request.run()
    return Made(inline(traced), orders=traced.orders, asked=traced.asked)


def raw_program(request: Traceable, *, fit: str = "auto", trace_limit: float | None = TRACE_LIMIT,
                tell: bool = True) -> Made | Grows:
    """The program of a request, and what it rests upon if it is fitted; or which symbol it grows with.

    fit:         ``"never"``: traced with symbols or not at all; ``"always"``: fitted if it has symbols; ``"auto"``: fitted where
                 jax refuses the symbols or takes longer than ``trace_limit`` seconds, with a line on stderr if it is to ``tell``.

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
        refusal = TraceError(f"the symbolic trace takes longer than {trace_limit:g} s; bound a dimension, or "
                             + said("pass trace_limit=None", "give it as an integer"))
    except IndivisibleShards:  # which concrete traces do not mend: it is to be traced as a multiple
        raise
    except TraceError as error:
        refusal = error
    if fit == "never" or not domain_of_request(request).variables:
        raise refusal
    found = _instead(request, refusal)
    if found is None:
        raise refusal
    if tell and isinstance(found, Made):
        print(f"costmodel: {found.fit}", file=sys.stderr)
    return found


def _instead(request: Traceable, refusal: TraceError) -> Made | Grows | None:
    """The fitted program in place of the symbolic one; None if the model traces nowhere, so that its symbols are not to blame."""
    try:
        return _fitted(request, str(refusal))
    except TraceError:
        return None
    except FitError as error:
        raise TraceError(f"{refusal}; and no exact form was found from concrete traces: {error}") from error


def _fitted(request: Traceable, reason: str) -> Made | Grows:
    grows = growing(request, reason)
    if grows is not None:
        return grows
    found = fit_request(request)
    return Made(found.program, Fit(reason, found))
