"""A counted program that can be priced: in closed form over a domain, or at a point.

Everything that asks for prices (tables, rooflines, energy, sweeps, solvers) sees one of these two: ``program``, ``domain``,
``evaluate`` and ``price``. The face of the package, :mod:`costmodel.cost`, gives them the methods that people call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from sympy import Expr

from costmodel.errors import DomainError
from costmodel.fusion import Kernel, plan
from costmodel.pricing import metrics
from costmodel.program.coverage import Coverage
from costmodel.program.fit.result import Fit
from costmodel.program.verify import Traceable, verify
from costmodel.rules.work import CostTable
from costmodel.symbolic.dimensions import Domain
from costmodel.symbolic.forms import evaluate, symbol


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
    source:   the cost that this one was made from by another type or a choice of equations: it is what is verified.
    verified: symbols for which a concrete trace with a dimension of 1 gave the same counts; see :meth:`at`.
    fitted:   what the forms rest upon where they come from concrete traces; None where jax traced the symbols.
    """

    at_a_point: ClassVar[type[Point]] = Point

    def __init__(self, program: CostTable, domain: Domain, *, name: str = "", request: Traceable | None = None,
                 verified: Iterable[str] = (), branches: str = "max", source: Symbolic | None = None,
                 fitted: Fit | None = None) -> None:
        self.program = program
        self.domain = domain
        self.name = name
        self.request = request
        self.branches = branches
        self.source = source
        self.verified = set(verified)
        self.fitted: Fit | None = fitted if source is None else source.fitted
        self._prices: dict[tuple[Any, ...], Expr] = {}

    def evaluate(self, expr: Expr) -> Expr:
        return self.domain.in_user_symbols(expr)

    def price(self, metric: str, **options: Any) -> Expr:
        key = (metric, *sorted(options.items()))
        if key not in self._prices:
            self._prices[key] = metrics.get(metric).price(self.program, **options)
        return self._prices[key]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that a point binds, sorted."""
        return self.domain.symbols

    @cached_property
    def coverage(self) -> Coverage:
        return Coverage(self.program)

    def at(self, /, **values: int) -> Any:
        """This cost at a point, in exact integers. Every symbol must be bound, inside the domain.

        A symbolic dimension never equals 1 while jax traces, so code that branches on ``shape == 1`` may trace otherwise there.
        The first time a symbol is bound to 1 a concrete trace at that point must therefore give the same counts. A fitted cost is
        traced at every new point, and must have the same structure and sizes there.
        """
        env = self.domain.bind(values)
        if self.fitted is not None:
            self.fitted.check(env)
            return self.at_a_point(self, values, env)
        ones = self.unverified_ones(env)
        if ones:
            self._verify_ones(ones, values)
        return self.at_a_point(self, values, env)

    def unverified_ones(self, env: Mapping[Any, int]) -> list[str]:
        """Symbols that are 1 here and were not compared with a concrete trace where they are."""
        return sorted(self._ones(env) - self.verified)

    def _ones(self, env: Mapping[Any, int]) -> set[str]:
        return {v.symbol for v in self.domain.variables if v.is_dimension and env[symbol(v.name)] == 1}

    def _verify_ones(self, ones: Sequence[str], values: Mapping[str, int]) -> None:
        if self.request is None and self.source is None:
            raise DomainError(f"{', '.join(f'{s}={values[s]}' for s in ones)} was not verified by a concrete trace before this "
                              "cost was saved; call cost.verify(...) at such a point before to_json()")
        self.verify(**values)

    def verify(self, /, **values: int) -> None:
        """Trace the model concretely at a point and compare each equation's counts with the closed forms' values there.

        Raises CostModelError naming the first equation that differs.
        """
        env = self.domain.bind(values)
        if self.source is not None:
            self.source.verify(**values)
        else:
            verify(self.program, self.domain, self.request, env, values, branches=self.branches, name=self.name)
        self.verified |= {v.symbol for v in self.domain.variables if env[symbol(v.name)] == 1}
