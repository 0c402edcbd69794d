"""From a request that jax refuses to trace symbolically to one raw program in closed form, by concrete traces."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sympy import Symbol

from costmodel.errors import CostModelError, TraceError
from costmodel.program.fit.align import Aligned, align, rebuilt
from costmodel.program.fit.box import Axis, Box, Point
from costmodel.program.fit.conditions import Conditions, conditions, edges
from costmodel.program.fit.fitter import BUDGET, Fitted, fit_columns
from costmodel.program.fit.limit import TimeLimit, time_limit
from costmodel.program.fit.refusal import Exhausted, FitError, Varies
from costmodel.program.inline import inline
from costmodel.program.raw import RawProgram
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import evaluate, symbol
from costmodel.trace.requests import Traceable

_CONDITIONS_LIMIT = 5.0  # seconds for the trace that notes comparisons
_WIDTH = 40  # values of a symbol in the first box
FIT_LIMIT = 180.0  # seconds of concrete traces
_PATIENCE = 3.0  # seconds that a trace may take, beside five times the usual
_PROBES = 6  # points at which to see whether a model traces at all


class _Noting(dict[Symbol, int]):
    """Any symbol's value is 2, and it is noted that it was asked for."""

    def __missing__(self, key: Symbol) -> int:
        self[key] = 2
        return 2


def domain_of_request(request: Traceable) -> Domain:
    """The domain of every symbol in the inputs and attributes of a request."""
    noted = _Noting()
    request.at(Domain(), noted)
    return Domain.of(*noted)


@dataclass
class Tracer:
    """Concrete traces of a request, each once. ``seconds`` are what they took."""

    request: Traceable
    domain: Domain
    known: dict[Point, Aligned | TraceError] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """The internal variables, in the order of a point."""
        return tuple(v.name for v in self.domain.variables)

    def __call__(self, point: Point) -> Aligned | TraceError:
        """The aligned program at a point of the internal variables, or why there is none."""
        if point not in self.known:
            if sum(self.seconds) > FIT_LIMIT:
                raise Exhausted(f"{len(self.known)} concrete traces took {FIT_LIMIT:g} s; give a symbol as an integer")
            began = time.perf_counter()
            try:
                with time_limit(_PATIENCE + 5 * _median(self.seconds)):
                    self.known[point] = self._trace({symbol(name): v for name, v in zip(self.names, point, strict=True)})
            except TimeLimit:
                self.known[point] = TraceError("the trace takes much longer there than elsewhere")
            self.seconds.append(time.perf_counter() - began)
        return self.known[point]

    def _trace(self, env: Mapping[Symbol, int]) -> Aligned | TraceError:
        if any(evaluate(r.difference, env) < 0 for r in self.domain.relations):
            return TraceError("outside of the domain")
        try:
            program = inline(self.request.at(self.domain, env).run())
        except TraceError as refusal:
            return refusal
        found = align(program)
        if any(not isinstance(i, int) and getattr(i, "free_symbols", ()) for i in found.integers):
            raise FitError("a dimension cannot be replaced by an integer: give it as a module's attribute or with "
                           "functools.partial, not inside a function")
        return found

    def key(self, point: Point) -> str | None:
        """What tells structures apart, of the program at a point; None where there is none."""
        found = self(point)
        return found.key if isinstance(found, Aligned) else None


@dataclass(frozen=True)
class FittedProgram:
    """A raw program in closed form over ``domain``, the ``key`` of its structure, how its integers were found, and what a symbolic
    trace of it asks."""

    program: RawProgram
    domain: Domain
    key: str
    columns: Fitted
    tracer: Tracer
    asked: Conditions

    def is_another(self, point: Point) -> bool:
        """Whether the model has another structure at a point, by a concrete trace there."""
        return self.tracer.key(point) not in (None, self.key)

    def differs(self, point: Point) -> str:
        """Why the forms do not hold at a point, by a concrete trace there; "" where they do."""
        found = self.tracer(point)
        if not isinstance(found, Aligned):
            return str(found)
        if found.key != self.key:
            return "the program has another structure there"
        env = {symbol(name): v for name, v in zip(self.tracer.names, point, strict=True)}
        memo: dict[Any, Any] = {}
        for form, value in zip(self.columns.forms, found.integers, strict=True):
            if evaluate(form, env, memo) != value:
                return f"a size is {value} there, not {evaluate(form, env, memo)}"
        return ""


def fit_request(request: Traceable, *, budget: int = BUDGET, near: Mapping[str, int] | None = None,
                tracer: Tracer | None = None) -> FittedProgram:
    """The program of a request in closed form, from its concrete traces at points.

    near:   a point of the internal variables: the structure there is fitted, by default the one that most points have.
    tracer: that has traced this request before.

    Raises TraceError if it traces nowhere, FitError where its structure or a size has no exact form.
    """
    tracer = tracer or Tracer(request, domain_of_request(request))
    box = box_of(tracer.domain)
    if near is None:
        key, box = _main_structure(tracer, box)
    else:
        key, box = _structure_at(tracer, box, tuple(near[name] for name in tracer.names))

    def oracle(at: Mapping[str, int]) -> Sequence[int] | None:
        found = tracer(tuple(at[name] for name in tracer.names))
        return found.integers if isinstance(found, Aligned) and found.key == key else None

    witness, model = next((p, found) for p, found in tracer.known.items() if isinstance(found, Aligned) and found.key == key)
    at_witness = {symbol(name): v for name, v in zip(tracer.names, witness, strict=True)}
    asked = conditions(request, tracer.domain, at_witness, _CONDITIONS_LIMIT)
    fitted = fit_columns(oracle, box, model.columns, budget=budget, strict=False, also=[witness, *edges(box, witness, asked)])
    return FittedProgram(rebuilt(model, fitted.forms), tracer.domain, key, fitted, tracer, asked)


def _structure_at(tracer: Tracer, box: Box, point: Point) -> tuple[str, Box]:
    """The structure at a point, and a box around it: as far as the structure reaches along each symbol."""
    key = tracer.key(point)
    if key is None:
        raise FitError(f"the model does not trace there: {tracer(point)}")

    def same(k: int) -> Callable[[int], bool]:
        return lambda v: tracer.key((*point[:k], v, *point[k + 1:])) == key

    axes = []
    for k, axis in enumerate(box.axes):
        v, top, holds = point[k], axis.top(96), same(k)
        reaches = [u for u in (v + 48, v + 96, v + 480, v + 1440, v + 1441) if u <= top and holds(u)]
        low, limit = min(axis.low, v), axis.limit
        if not reaches:
            limit = _last(holds, v, min(v + 48, top))
        if v > low and not any(holds(u) for u in (low, low + 1, low + 2) if u < v):
            low = _first(holds, low, v)
        axes.append(Axis(axis.name, low, low + _WIDTH if limit is None else min(low + _WIDTH, limit), limit))
    return key, Box(tuple(axes), box.nonnegative)


def _last(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The last integer from ``low``, where it holds, on to ``high`` up to which it does, if it stops once."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high if holds(high) else low


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The first integer from ``low`` on from which on it holds, as it does at ``high``."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high


def box_of(domain: Domain) -> Box:
    """Where points are drawn from at first: the lowest values of each internal variable that its bounds allow, but 1."""
    axes = []
    for v in domain.variables:
        divisor = int(v.divisor) if v.divisor.is_Integer else 1
        low = max(1, -(-v.lower // divisor))
        limit = None if v.upper is None else v.upper // divisor
        if low == 1 and (limit is None or limit > 3):
            low = 2  # where a size is 1 jax writes other programs
        axes.append(Axis(v.name, low, low + _WIDTH if limit is None else min(low + _WIDTH, limit), limit))
    if not axes:
        raise CostModelError("there is no symbol to fit")
    return Box(tuple(axes), tuple(r.difference for r in domain.relations))


def _main_structure(tracer: Tracer, box: Box) -> tuple[str, Box]:
    """The structure that most points have, near and far, in a box where it occurs; the box grows until there is one."""
    rng = random.Random(0)
    first = [tracer(p) for p in (box.draw(rng), box.draw(rng, 4), box.customary(rng), box.far(rng))]
    if all(isinstance(found, TraceError) for found in first):
        raise next(found for found in first if isinstance(found, TraceError))
    for _ in range(4):
        points = [*(box.draw(rng) for _ in range(_PROBES)), *(box.draw(rng, 4) for _ in range(_PROBES // 2)), box.far(rng)]
        keys = Counter(key for p in points if (key := tracer.key(p)) is not None)
        if len(keys) > 3 and keys.most_common(1)[0][1] == 1:
            break  # it traces, each time otherwise
        if keys and keys.most_common(1)[0][1] > 1:
            return keys.most_common(1)[0][0], box
        box = Box(tuple(Axis(a.name, min(a.high, a.limit or a.high), a.top(4), a.limit) for a in box.axes),
                  box.nonnegative)
    raise Varies(f"no two of {len(tracer.known)} concrete traces have the same structure; give a symbol as an integer")


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
