"""A counted program that can be priced: in closed form over a domain, or at a point.

Everything that asks for prices (tables, rooflines, energy, sweeps, solvers) sees one of these two: ``program``, ``domain``,
``evaluate`` and ``price``. The face of the package, :mod:`costmodel.cost`, gives them the methods that people call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar

from sympy import Expr

from costmodel.fusion import Kernel, plan
from costmodel.pricing import metrics
from costmodel.program.coverage import Coverage
from costmodel.program.fit.result import Fit
from costmodel.program.regions import Regions
from costmodel.program.verify import concrete, difference, moves_otherwise, verify
from costmodel.rules import registered, using
from costmodel.rules.work import CostTable
from costmodel.sharding.analysis import Sharded
from costmodel.sharding.mesh import Mesh, mesh_in
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import evaluate
from costmodel.trace.requests import Traceable
from costmodel.trace.undecided import boundaries


class Priced:
    """What a symbolic cost and a cost at a point have in common; they differ in what they make of an internal expression."""

    program: CostTable
    domain: Domain
    name: str

    def evaluate(self, expr: Expr) -> Any:
        """An internal expression as this cost shows it: in the user's symbols, or as an exact number."""
        raise NotImplementedError

    def price(self, metric: str, **options: Any) -> Expr:
        """A metric of the registry as an internal expression, computed once."""
        raise NotImplementedError

    def metric(self, name: str, **options: Any) -> Any:
        """A metric of the registry by name, with its options; see ``costmodel.pricing.metrics.available()``."""
        return self.evaluate(self.price(name, **options))

    @property
    def coverage(self) -> Coverage:
        """How every equation was costed."""
        raise NotImplementedError

    @property
    def mesh(self) -> Mesh | None:
        """The mesh of which this is one device's program; None for a program of one device."""
        return mesh_in(self.domain)

    def kernels(self, policy: str) -> tuple[Kernel, ...]:
        """The kernels of a fusion policy, in program order."""
        return plan(self.program, policy)

    def headline(self) -> list[tuple[str, Any, str]]:
        """(label, value, unit) of the metrics that every report opens with."""
        return [(label, self.metric(name, **options), unit) for label, name, options, unit in metrics.HEADLINE]


class Point(Priced):
    """A program at a point: every price is an exact number. ``cost`` has the formulas, ``env`` the internal variables' values."""

    def __init__(self, cost: Symbolic, values: Mapping[str, int], env: Mapping[Any, int]) -> None:
        self.cost, self.values, self.env = cost, dict(values), env
        self.program, self.domain, self.name = cost.program, cost.domain, cost.name
        self._memo: dict[Expr, Any] = {}

    def evaluate(self, expr: Expr) -> Any:
        return evaluate(expr, self.env, self._memo)

    def price(self, metric: str, **options: Any) -> Expr:
        return self.cost.price(metric, **options)

    @property
    def coverage(self) -> Coverage:
        return self.cost.coverage


class Symbolic(Priced):
    """A program over a domain: every price is a sympy expression in the user's symbols.

    request:  what was traced; None for a cost from a file.
    branches: how a branch was chosen, which a verification must repeat.
    source:   the cost that this one was made from by a ``change`` of its program (another type, a choice of equations): it is what
              is verified.
    regions:  where it was compared with a concrete trace, and where it must be; see :meth:`at`.
    fitted:   what the forms rest upon where they come from concrete traces; None where jax traced the symbols.
    sharded:  the request over a mesh, where this is one device's program; None for a program of one device, or from a file.
    """

    at_a_point: ClassVar[type[Point]] = Point

    def __init__(self, program: CostTable, domain: Domain, *, name: str = "", request: Traceable | None = None,
                 branches: str = "max", source: Symbolic | None = None, change: Callable[[CostTable], CostTable] | None = None,
                 regions: Regions | None = None, fitted: Fit | None = None, sharded: Sharded | None = None) -> None:
        self.program = program
        self.domain = domain
        self.name = name
        self.request = request
        self.branches = branches
        self.rules = registered()  # a verification must count by the same
        self.source = source
        self.change = change
        self.regions = regions or Regions(boundaries(domain)[0])
        self.fitted: Fit | None = fitted if source is None else source.fitted
        self.sharded: Sharded | None = sharded if source is None else source.sharded
        self._prices: dict[tuple[Any, ...], Expr] = {}
        self._elsewhere: dict[tuple[tuple[str, int], ...], Symbolic] = {}

    def evaluate(self, expr: Expr) -> Expr:
        return self.domain.in_user_symbols(expr)

    def price(self, metric: str, **options: Any) -> Expr:
        key = (metric, *sorted(options.items()))
        if key not in self._prices:
            self._prices[key] = metrics.get(metric).price(self.program, **options)
        return self._prices[key]

    @property
    def origin(self) -> Symbolic:
        """The cost of the program that was traced, of which this one is a part or a change."""
        return self if self.source is None else self.source.origin

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that a point binds, sorted."""
        return self.domain.symbols

    @cached_property
    def coverage(self) -> Coverage:
        return Coverage(self.program)

    def at(self, /, **values: int) -> Any:
        """This cost at a point, in exact integers. Every symbol must be bound, inside the domain.

        A symbol is undecided while jax traces: ``n == 1`` or ``h == 224`` is silently False. So the first point, and the first one
        on each boundary (where such an equality holds), is compared with a concrete trace there; where that is another program, it
        is the one that is priced. ``analyze(..., verify=False)`` leaves both out. A fitted cost is compared at every new point, and
        raises DomainError where the program is another one.
        """
        values = {**self.domain.defaults, **values}
        env = self.domain.bind(values)
        return self.at_a_point(self._settled(env, values), values, env)

    def _settled(self, env: Mapping[Any, int], values: Mapping[str, int]) -> Symbolic:
        """The cost that holds at a point: this one, or that of the program that a concrete trace has there."""
        if self.source is not None:
            base = self.source._settled(env, values)
            return self if base is self.source else self._changed(base, values)
        if self.fitted is not None:
            if self.regions.checked:
                self.fitted.check(env)
            return self
        key = tuple(sorted(values.items()))
        if key in self._elsewhere:
            return self._elsewhere[key]
        if self.regions.settled(env, key) and (self.sharded is None or not self.regions.checked or self.sharded.same_at(env)):
            return self
        if self.request is None or not self.request.repeatable:
            self.regions.refuse(env, values)
            return self
        with using(self.rules):
            table, left = self._concrete(env)
        counts = difference(self.program, self.domain, env, table, left)
        moves = "" if counts else moves_otherwise(self.program, env, table)
        if not counts and not moves:
            self.regions.settle(env, key)
            return self
        self.regions.differ(env, counts or moves, counts=bool(counts))
        self._elsewhere[key] = type(self)(table, left, name=self.name, branches=self.branches, regions=Regions(checked=False))
        return self._elsewhere[key]

    def _concrete(self, env: Mapping[Any, int]) -> tuple[CostTable, Domain]:
        if self.sharded is not None:
            return self.sharded.concrete(self.domain, env, self.branches)
        return concrete(self.domain, self.request, env, branches=self.branches, name=self.name)

    def elsewhere(self, costs: Mapping[tuple[tuple[str, int], ...], Symbolic]) -> None:
        """Costs of the programs that hold at points where this one does not."""
        self._elsewhere.update(costs)

    def _changed(self, base: Symbolic, values: Mapping[str, int]) -> Symbolic:
        """What this cost makes of its source, of the program that holds at a point."""
        key = tuple(sorted(values.items()))
        if key not in self._elsewhere:
            assert self.change is not None
            self._elsewhere[key] = type(self)(self.change(base.program), base.domain, name=self.name, branches=self.branches,
                                              regions=Regions(checked=False))
        return self._elsewhere[key]

    def verify(self, /, **values: int) -> None:
        """Trace the model concretely at a point and compare each equation's counts with the closed forms' values there.

        Raises CostModelError naming the first equation that differs.
        """
        values = {**self.domain.defaults, **values}
        env = self.domain.bind(values)
        if self.source is not None:
            self.source.verify(**values)
            return
        with using(self.rules):
            verify(self.program, self.domain, env, values, *self._concrete(env))
        self.regions.settle(env, tuple(sorted(values.items())))
