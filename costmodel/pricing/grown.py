"""A model that has another program at every depth: its prices at some depths, and one form of each in the depth.

No program stands for all depths, so what asks for one (a kernel's row, an equation's formula) is refused by name; prices are
interpolated, and each is compared at depths and points that it was not found at before it is believed.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from sympy import Expr

from costmodel.errors import CostModelError, DomainError
from costmodel.pricing import metrics
from costmodel.pricing.core import Symbolic
from costmodel.program.coverage import Coverage
from costmodel.program.fit.growth import DEPTHS, interpolated
from costmodel.program.fit.refusal import FitError
from costmodel.program.regions import Regions
from costmodel.program.verify import concrete
from costmodel.rules.work import CostTable, Value
from costmodel.surface import said
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import evaluate, symbol

if TYPE_CHECKING:
    from costmodel.program.fit.depth import Grows

_FIRST = 5  # depths that suffice for what grows linearly or quadratically
_FRESH = (3, 9)  # so much deeper than the deepest of the sample are the programs that verify
_COUNTS = ("params", "buffers", "macs", "flops", "transcendentals", "ops")  # without one of these there is no cost


class Changing:
    """In place of a program, where there is another one at every depth: any question to it raises CostModelError."""

    def __init__(self, depth: str) -> None:
        self.depth = depth

    def __getattr__(self, name: str) -> Any:
        raise self._refusal()

    def __iter__(self) -> Iterator[Any]:
        raise self._refusal()

    def _refusal(self) -> CostModelError:
        return CostModelError(f"there is another program at every {self.depth}: "
                              + said(f"ask .at(...), or .region({self.depth}=…), the cost of one of them in the other symbols",
                                     f"give --at with {self.depth}"))


@dataclass(frozen=True, eq=False)
class Growth:
    """What the cost of a growing model rests upon.

    reason:    why there is no symbolic trace.
    depths:    values of the symbol that sets the depth whose programs, each another one, were priced so far.
    verified:  points that were traced concretely afterwards, where every form that is asked for must hold.
    """

    reason: str
    symbols: tuple[str, ...]
    depth: str
    made: Mapping[int, Symbolic]
    verified: tuple[dict[str, int], ...]
    elsewhere: tuple[dict[str, int], ...] = ()
    conditions: tuple[str, ...] = ()

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths that were traced."""
        return tuple(sorted(self.made))

    @property
    def points(self) -> tuple[dict[str, int], ...]:
        """The depths as points; the other symbols stay symbols there."""
        return tuple({self.depth: depth} for depth in self.depths)

    @property
    def traces(self) -> int:
        """How many programs were traced: one a depth, with symbols where jax can, and one a verified point."""
        return len(self.depths) + len(self.verified)

    def __str__(self) -> str:
        return (f"fitted in {self.depth}, with which the program grows, to programs of {self.depth} = {self.depths[0]} … "
                f"{self.depths[-1]}, verified at {len(self.verified)} others ({self.reason})")


@dataclass(frozen=True, eq=False)
class Sampled:
    """Costs by depth in the other symbols, each made when it is asked for; and concrete programs, with their points, that verify
    what is found from them.

    depths: those from which forms are found, consecutive.
    """

    grows: Grows
    make: Callable[[int], Symbolic]
    depths: tuple[int, ...]
    fresh: tuple[tuple[Mapping[Any, int], CostTable], ...]
    made: dict[int, Symbolic] = field(default_factory=dict)

    @property
    def first(self) -> tuple[int, ...]:
        """The depths that suffice for most forms."""
        return self.depths[:_FIRST]

    def at(self, depth: int) -> Symbolic:
        """The cost at a depth."""
        if depth not in self.made:
            self.made[depth] = self.make(depth)
        return self.made[depth]

    def derived(self, of_cost: Callable[[Symbolic], Symbolic], of_table: Callable[[CostTable], CostTable]) -> Sampled:
        """The same of every cost and every program."""
        return replace(self, make=lambda depth: of_cost(self.at(depth)), made={},
                       fresh=tuple((env, of_table(table)) for env, table in self.fresh))

    def form(self, what: str, price: Callable[[Symbolic], Expr], there: Callable[[CostTable], Expr]) -> Expr:
        """The form in the depth of what ``price`` gives of each cost; ``there`` gives the same of a concrete program.

        Raises CostModelError where there is none, or where it does not hold at a fresh point.
        """
        form = self._interpolated(what, lambda depth: price(self.at(depth)))
        for env, table in self.fresh:
            ours, theirs = evaluate(form, env), evaluate(there(table), {})
            if ours != theirs:
                point = ", ".join(f"{s.name}={v}" for s, v in env.items())
                raise CostModelError(f"{what} has no closed form in {self.grows.depth.symbol}: what it seems to follow gives "
                                     f"{ours:,} at {point}, where a concrete trace has {theirs:,}")
        return form

    def _interpolated(self, what: str, price: Callable[[int], Expr]) -> Expr:
        """From the first depths if they suffice, else from all."""
        for depths in dict.fromkeys((self.first, self.depths)):
            try:
                return interpolated({depth: price(depth) for depth in depths}, self.grows.symbol)
            except FitError as refusal:
                reason = refusal
        raise CostModelError(f"{what} has no closed form in {self.grows.depth.symbol}: {reason}")


def sampled(grows: Grows, analyse: Callable[[Any], Symbolic], *, branches: str, name: str) -> Sampled:
    """The costs of a growing model at consecutive depths, and concrete programs at greater ones."""
    from costmodel.program.fit.programs import domain_of_request  # what traces, which needs jax, is imported to trace

    last = grows.depth.upper if grows.depth.upper is not None else sys.maxsize
    depths = tuple(range(grows.least, min(grows.least + DEPTHS, last - len(_FRESH) + 1)))
    if len(depths) < 4:
        raise FitError(f"{grows.depth.symbol} has too few values to find how the program grows with it; give it as an integer")
    domain = domain_of_request(grows.request)
    fresh = []
    for env in _fresh_points(domain, grows, [min(depths[-1] + more, last - i) for i, more in enumerate(reversed(_FRESH))]):
        fresh.append((env, concrete(domain, grows.request, env, branches=branches, name=name)[0]))
    return Sampled(grows, lambda depth: analyse(grows.at(depth)), depths, tuple(fresh))


def _fresh_points(domain: Domain, grows: Grows, depths: Sequence[int]) -> list[dict[Any, int]]:
    """A point at each depth and another at the last, the other symbols drawn from small values that the domain allows."""
    from costmodel.program.fit.programs import box_of

    box, rng = box_of(domain), random.Random(0)
    place = box.symbols.index(grows.symbol)
    found = []
    for times, depth in ((1, depths[0]), (1, depths[-1]), (4, depths[-1])):
        point = box.draw(rng, times)
        found.append(dict(zip(box.symbols, (*point[:place], depth, *point[place + 1:]), strict=True)))
    return found


class Grown(Symbolic):
    """Prices of a model with another program at every depth, in closed form in all its symbols, the depth among them."""

    def __init__(self, parts: Sampled, *, name: str, request: Any, branches: str, checked: bool) -> None:
        from costmodel.program.fit.programs import domain_of_request

        self.parts = parts
        domain = domain_of_request(parts.grows.request)
        points = tuple({v.symbol: int(evaluate(v.divisor, env)) * env[symbol(v.name)] for v in domain.variables}
                       for env, _ in parts.fresh)
        depth = parts.grows.depth.symbol
        growth = Growth(parts.grows.reason, domain.symbols, depth, parts.made, points)
        super().__init__(cast(CostTable, Changing(depth)), domain, name=name, request=request, branches=branches,
                         regions=Regions(checked=checked), fitted=growth)
        for count in _COUNTS:
            self.price(count)

    def price(self, metric: str, **options: Any) -> Expr:
        key = (metric, *sorted(options.items()))
        if key not in self._prices:
            text = ":".join((metric, *(str(v) for v in options.values() if isinstance(v, str))))
            of_table = metrics.get(metric).price
            self._prices[key] = self.parts.form(text, lambda cost: cost.price(metric, **options),
                                                lambda table: of_table(table, **options))
        return self._prices[key]

    def headline(self) -> list[tuple[str, Any, str]]:
        """What every report opens with, but for what has no form in the depth."""
        found = []
        for label, name, options, unit in metrics.HEADLINE:
            try:
                found.append((label, self.metric(name, **options), unit))
            except CostModelError:
                if name in _COUNTS:
                    raise
        return found

    @cached_property
    def coverage(self) -> Coverage:
        """Of the deepest program of the first sample."""
        return self.parts.at(self.parts.first[-1]).coverage

    def region(self, **values: int) -> Any:
        """The cost at one depth, in the other symbols."""
        depth = self.parts.grows.depth.symbol
        if depth not in values:
            raise DomainError(f"unbound symbol {depth}: there is another program at every {depth}")
        if values[depth] < self.parts.grows.depth.lower:
            raise DomainError(f"{depth}={values[depth]} is outside its domain {', '.join(self.domain.texts)}")
        return self.parts.at(int(values[depth]))

    def _settled(self, env: Mapping[Any, int], values: Mapping[str, int]) -> Symbolic:
        """The cost at the depth of a point. Raises DomainError where the forms in the depth say something else."""
        there = self.region(**{self.parts.grows.depth.symbol: env[self.parts.grows.symbol]})
        for name in _COUNTS:
            ours, theirs = evaluate(self.price(name), env), evaluate(there.price(name), env)
            if ours != theirs:
                point = ", ".join(f"{k}={v}" for k, v in sorted(values.items()))
                raise DomainError(f"{point} is outside of the fitted domain: the form of {name} gives {ours:,}, the program of "
                                  f"that depth {theirs:,}" + said("; cost.region(...) there has other forms", ""))
        return there._settled(env, {name: v for name, v in values.items() if name in there.symbols})

    def program_of(self, other: Symbolic) -> bool:
        return any(other is there for there in self.parts.made.values())

    def verify(self, /, **values: int) -> None:
        self.domain.bind(values)
        there = self.region(**values)
        there.verify(**{name: v for name, v in values.items() if name in there.symbols})

    # -- by module -------------------------------------------------------------------------------------------------------------

    def generic(self) -> Sampled:
        """The same costs with paths without their integers, so that a module is one at every depth."""
        return self.parts.derived(lambda cost: type(cost)(_generic(cost.program), cost.domain, name=cost.name), _generic)


def _generic(table: CostTable) -> CostTable:
    """The program with ``*`` for every integer in a module's path and in a parameter's."""
    made = {v: replace(v, name="/".join(map(_without_integers, v.name.split("/")))) for v in table.inputs}

    def value(v: Value) -> Value:
        return made.get(v, v)

    equations = tuple(replace(e.of_values(value), path=tuple(map(_without_integers, e.path))) for e in table)
    carried = tuple((value(a), value(b)) for a, b in table.carried)
    return replace(table, equations=equations, inputs=tuple(map(value, table.inputs)), outputs=tuple(map(value, table.outputs)),
                   carried=carried)


def _without_integers(part: str) -> str:
    return "".join("*" if digits else "".join(run) for digits, run in groupby(part, str.isdecimal))
