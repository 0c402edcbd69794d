"""A counted program that can be priced: in closed form over a domain, or at a point.

Everything that asks for prices (tables, rooflines, energy, sweeps, solvers) sees one of these two: ``program``, ``domain``,
``evaluate`` and ``price``. The face of the package, :mod:`costmodel.cost`, gives them the methods that people call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sympy import Add, Expr

from costmodel import collector
from costmodel.errors import CostModelError
from costmodel.fusion import Kernel, plan
from costmodel.memory.difference import fuses_otherwise
from costmodel.pricing import metrics
from costmodel.pricing.reordered import ordered_as_at
from costmodel.program.coverage import Coverage
from costmodel.program.deferred import Deferred
from costmodel.program.regions import Key, Regions, Signature
from costmodel.program.verify import concrete, difference, moves_otherwise, verify
from costmodel.rules import Rule, registered, using
from costmodel.rules.branches import Branches
from costmodel.rules.work import CostTable
from costmodel.sharding.mesh import Mesh, mesh_in
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import evaluate, symbol
from costmodel.trace.undecided import boundaries, orders

if TYPE_CHECKING:
    from costmodel.program.fit.result import Made
    from costmodel.sharding.analysis import Sharded
    from costmodel.trace.requests import Traceable


def regions_of(made: Made, table: CostTable, domain: Domain, *, checked: bool = True) -> Regions:
    """Where a program that was just made must be compared with concrete traces."""
    asked = (*made.asked, *table.left_out) if made.fit is None else made.fit.edges
    places, own = boundaries(domain, asked, table.dimensions, table.almost_alike)
    einsums, own_orders = orders(domain, made.orders) if made.fit is None else ((), 0)
    if checked:
        return Regions(places, own=own, orders=einsums, own_orders=own_orders)
    return Regions(places[:own], coincident=places[own:], orders=einsums, own_orders=own_orders, checked=False)


Fixed = frozenset[tuple[str, int]]  # variables with their values


class Differences(NamedTuple):
    """What differs, in words: in the counts; else in what equations move; else in kernels and buffers."""

    counts: str
    moves: str
    kernels: str


@dataclass(eq=False)
class Known:
    """What concrete traces told of a cost.

    elsewhere: costs of the programs that hold at points where this one does not.
    where:     by what is fixed there (see :meth:`Symbolic.fixed_at`): the cost that holds, and whether its equations are the same.
    met:       what is fixed at a point which was priced by its own trace: closed forms there are made at the next point.
    alike:     points at which another program has the same equations.
    ordered:   by the orders of einsums that are not the program's: the cost in that order, None where it has no closed form.
    over:      of a sharded program: the costs of what the partitioner makes in other regions, by the request as it is there.
    """

    elsewhere: dict[Key, Symbolic] = field(default_factory=dict)
    where: dict[Fixed, tuple[Symbolic, bool]] = field(default_factory=dict)
    met: set[Fixed] = field(default_factory=set)
    alike: set[Key] = field(default_factory=set)
    ordered: dict[Signature, Symbolic | None] = field(default_factory=dict)
    over: dict[Any, Symbolic] = field(default_factory=dict)


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
    """A program at a point: every price is an exact number. ``cost`` has the formulas, ``env`` the internal variables' values.
    ``formulas`` is the cost that was asked, if its equations are the same there and at most their kernels are others."""

    def __init__(self, cost: Symbolic, values: Mapping[str, int], env: Mapping[Any, int], formulas: Symbolic | None = None) -> None:
        self.cost, self.values, self.env = cost, dict(values), env
        self.formulas = cost if formulas is None else formulas
        self.program, self.domain, self.name = cost.program, cost.domain, cost.name
        self._memo: dict[Expr, Any] = {}

    def evaluate(self, expr: Expr) -> Any:
        """An internal expression as an exact number."""
        return evaluate(expr, self.env, self._memo)

    @property
    def mesh(self) -> Mesh | None:
        """The mesh, with the sizes that its axes have at the point."""
        found = mesh_in(self.domain)
        return found and Mesh(tuple((name, self.env.get(symbol(name), size)) for name, size in found.axes), found.fixed)

    def price(self, metric: str, **options: Any) -> Expr:
        """A metric of the registry as an internal expression."""
        return self.cost.price(metric, **options)

    @property
    def coverage(self) -> Coverage:
        """How every equation was costed."""
        return self.cost.coverage

    @property
    def doubts(self) -> tuple[str, ...]:
        """Conditions that hold here, under which the model may be another program, and that nothing was compared for: they stand in
        the way of a cost of ``verify=False`` only."""
        return self.cost.doubts(self.env)


class Symbolic(Priced):
    """A program over a domain: every price is a sympy expression in the user's symbols.

    request:  what was traced, with its mesh where that has several devices; None for a cost from a file.
    branches: how a branch was chosen, which a verification must repeat.
    source:   the cost that this one was made from by a ``change`` of its program (another type, a choice of equations): it is what
              is verified.
    regions:  where it was compared with a concrete trace, and where it must be; see :meth:`at`.
    alone:    a fitted cost of one region only: at points of others it raises.
    fitted:   what the forms rest upon where they come from concrete traces; None where jax traced the symbols.
    """

    at_a_point: ClassVar[type[Point]] = Point

    def __init__(self, program: CostTable, domain: Domain, *, name: str = "", request: Traceable | None = None,
                 branches: str = "max", source: Symbolic | None = None, change: Callable[[CostTable], CostTable] | None = None,
                 regions: Regions | None = None, fitted: Any = None, alone: bool = False) -> None:
        self.program = program
        self.domain = domain
        self.name = name
        self.request = request
        self.branches = branches
        self._rules = registered()
        self.source = source
        self.change = change
        self.compared = regions or Regions(boundaries(domain)[0])
        self.fitted: Any = fitted if source is None else source.fitted
        self.alone = alone
        self.tokens: tuple[str, ...] = source.tokens if source is not None else ()  # the symbols whose product counts them
        self._prices: dict[tuple[Any, ...], Expr] = {}
        self.known = Known()

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules that it was counted by: a verification must count by the same."""
        return self.request.rules if isinstance(self.request, Deferred) else self._rules

    def evaluate(self, expr: Expr) -> Expr:
        """An internal expression in the user's symbols."""
        return self.domain.in_user_symbols(expr)

    def price(self, metric: str, **options: Any) -> Expr:
        """A metric as an internal expression, computed once. Raises CostModelError for an unknown metric or option."""
        key = (metric, *sorted(options.items()))
        try:
            known = key in self._prices
        except TypeError:  # of an option that is no text, which the check below says
            known = False
        if not known:
            asked = metrics.get(metric)
            asked.check(options)
            with collector.paused():
                self._prices[key] = asked.price(self.program, **options)
        return self._prices[key]

    @property
    def origin(self) -> Symbolic:
        """The cost of the program that was traced, of which this one is a part or a change."""
        return self if self.source is None else self.source.origin

    @property
    def sharded(self) -> Sharded | None:
        """The request over a mesh, where this is one device's program; None for a program of one device, or from a file."""
        asked = self.origin.request
        if asked is None or isinstance(asked, Deferred):  # no sharded cost is kept, and asking needs no jax
            return None
        from costmodel.sharding.analysis import Sharded

        return asked if isinstance(asked, Sharded) else None

    @property
    def looks_again(self) -> bool:
        """Whether the model is traced again where it may be another program. If nothing is verified: where it can be, and not over
        a mesh, whose partitioner would be asked."""
        return self.compared.checked or (self.request is not None and self.request.repeatable and self.sharded is None)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that a point binds, sorted."""
        return self.domain.symbols

    @cached_property
    def coverage(self) -> Coverage:
        """How every equation was costed."""
        return Coverage(self.program)

    def at(self, /, **values: int) -> Any:
        """This cost at a point, in exact integers. Every symbol must be bound, inside the domain.

        A symbol is undecided while jax traces: ``n == 1`` or ``h == 224`` is silently False. So the first point, and the first one
        on each boundary (where such an equality holds), is compared with a concrete trace there; where that is another program, it
        is the one that is priced. A fitted cost is compared at every new point. ``analyze(..., verify=False)`` leaves out the first
        point, and boundaries where arrays only happen to be alike; the other ones are regions with a program of their own, which is
        traced once. What cannot be traced again is evaluated as it is, which the ``doubts`` of the result say, and once a line on
        stderr.
        """
        values = {**self.domain.defaults, **values}
        env = self.domain.bind(values)
        values = {name: operator.index(value) for name, value in values.items()}  # of numpy and jax, too
        there = self._settled(env, values)
        there.origin.compared.doubt(there.doubts(env, asked=True))
        there.tokens = self.tokens
        return self.at_a_point(there, values, env, self if tuple(sorted(values.items())) in self.known.alike else None)

    def _settled(self, env: Mapping[Any, int], values: Mapping[str, int]) -> Symbolic:
        """The cost that holds at a point: this one, or that of the program that a concrete trace has there."""
        if self.source is not None:
            base = self.source._settled(env, values)
            return self if base is self.source else self._changed(base, values)
        key = tuple(sorted(values.items()))
        if key in self.known.elsewhere:
            return self.known.elsewhere[key]
        if self.fitted is not None and self.compared.checked and not self.fitted.holds(env):
            return self._in_another_region(env, key)
        if (over := self.partitioned_at(env)) is not None:
            if over is not self:
                self.known.elsewhere[key] = over._settled(env, values)
                return self.known.elsewhere[key]
            if self._believed(env, key):
                return self
        fixed = self.fixed_at(env)
        if fixed not in self.known.where:
            if (ordered := self._in_other_order(env, key)) is not None:
                self.known.elsewhere[key] = ordered._settled(env, values)
                return self.known.elsewhere[key]
            if self.request is None or not self.request.repeatable:
                self.compared.refuse(env, values)
                return self
            try:
                with using(self.rules):
                    table, left = self._concrete(env)
            except CostModelError:
                if self.compared.checked:
                    raise
                return self  # which its doubts say
            self.compared.tell(self.on(self.compared.signature(env), env))
            found = self._differs(env, table, left)
            if not any(found):
                self.compared.settle(env, key)
                return self
            alike = not found.counts and not found.moves
            self.compared.differ(env, next(filter(None, found)), counts=bool(found.counts))
            region = self._where_fixed(fixed, values) if fixed in self.known.met else None
            if fixed:
                self.known.met.add(fixed)
            if region is None or any(region._differs(env, table, left)):
                self.known.elsewhere[key] = self._alone(table, left)
                self.known.alike |= {key} if alike else set()
                return self.known.elsewhere[key]
            region.compared.settle(env, key)
            self.known.where[fixed] = region, alike
        region, alike = self.known.where[fixed]
        self.known.alike |= {key} if alike else set()
        self.known.elsewhere[key] = region._settled(env, values)
        return self.known.elsewhere[key]

    def _differs(self, env: Mapping[Any, int], table: CostTable, left: Domain) -> Differences:
        """What differs between this program at a point and its concrete trace there. Kernels and buffers are compared on
        boundaries, and where equations are in another order: elsewhere the same equations make the same."""
        if counts := difference(self.program, self.domain, env, table, left):
            return Differences(counts, "", "")
        moves, in_order = moves_otherwise(self.program, env, table)
        if moves or (in_order and not self.compared.signature(env)):
            return Differences("", moves, "")
        return Differences("", "", fuses_otherwise(self.program, env, table))

    def _where_fixed(self, fixed: Fixed, values: Mapping[str, int]) -> Symbolic | None:
        """This program where these variables have these values, in closed form in the others. None where it has no other variables,
        or does not trace."""
        from costmodel.program.fit.result import Made, raw_program

        assert self.request is not None
        instead = dict(fixed)
        others = any(v.name not in instead for v in self.domain.variables if v.is_dimension)
        if not others or self.fitted is not None or self.sharded is not None:
            return None
        try:
            request = self.request.where(instead)
            with using(self.rules):
                made = raw_program(request, fit="never", trace_limit=None)
                found = self._of(request, made) if isinstance(made, Made) else None
        except CostModelError:
            return None
        return found if found is not None and set(found.symbols) <= set(values) else None

    def _in_other_order(self, env: Mapping[Any, int], key: Key) -> Symbolic | None:
        """This program in the orders of einsums that jax chooses at a point; None where they are its own, where it does not trace
        so, and where a concrete trace at the point is another program still."""
        orders = self.compared.other_orders(env)
        alone = self.fitted is None and self.sharded is None and self.request is not None and self.request.repeatable
        if not (orders and alone):
            return None
        if orders not in self.known.ordered:
            with using(self.rules):
                self.known.ordered[orders] = self._ordered_as_at(env, key)
        return self.known.ordered[orders]

    def _ordered_as_at(self, env: Mapping[Any, int], key: Key) -> Symbolic | None:
        assert self.request is not None
        try:
            made = ordered_as_at(self.request, env)
            found = None if made is None else self._of(self.request, made)
            if found is None or found.symbols != self.symbols or found.compared.other_orders(env):
                return None
            if any(found._differs(env, *self._concrete(env))):
                return None
        except CostModelError:
            return None
        found.compared.settle(env, key)
        return found

    def _of(self, request: Traceable, made: Made) -> Symbolic:
        """The cost of another request of this model, which was traced already."""
        from costmodel.program.table import cost_table

        table, domain = cost_table(made.program, unknown="warn", branches=Branches(self.branches))
        return type(self)(table, domain, name=self.name, request=request, branches=self.branches,
                          regions=regions_of(made, table, domain, checked=self.compared.checked))

    def partitioned_at(self, env: Mapping[Any, int]) -> Symbolic | None:
        """The cost of what the partitioner sends at a point, in closed form: this one, or that of another region; this one, too, of
        a program of one device. Without verification the partitioner is asked where arrays weigh otherwise than at points before.
        None where there is no closed form."""
        if self.sharded is None:
            return self
        there = self.sharded.there(env, ask=self.compared.checked)
        if there is self.sharded:
            return self
        if there is None:
            return None
        if there not in self.known.over:
            with using(self.rules):
                self.known.over[there] = self._of(there, there.made)
        return self.known.over[there]

    def _alone(self, table: CostTable, domain: Domain) -> Symbolic:
        """The cost of another program, which is not compared with anything."""
        return type(self)(table, domain, name=self.name, branches=self.branches, regions=Regions(checked=False))

    def doubts(self, env: Mapping[Any, int], *, asked: bool = False) -> tuple[str, ...]:
        """Where nothing is compared with concrete traces: the conditions at a point under which the program may be another one,
        and no trace told; with ``asked`` only those that it asks for itself, and not where arrays happen to be alike."""
        regions = self.origin.compared
        if regions.checked:
            return ()
        signature = regions.signature(env)
        own = self.on(signature, env) if regions.single or signature not in regions.same else ()
        alike = () if asked else (self.condition(d, env) for d in regions.coincident if evaluate(d, env) == 0)
        return tuple(dict.fromkeys((*own, *alike)))

    def on(self, signature: Signature, env: Mapping[Any, int]) -> tuple[str, ...]:
        """The conditions of a region, as at one of its points."""
        regions = self.origin.compared
        met = dict.fromkeys(self.condition(d, env) for d in regions.met(signature))
        order = regions.stand_ins or regions.reordered(signature)
        return (*met, *(["the order of an einsum is another one"] if order else []))

    def condition(self, difference: Expr, env: Mapping[Any, int] | None = None) -> str:
        """Where a difference of internal variables is zero, in the user's symbols: ``n == 1``. Where that is hard to read and a
        point is given, the sizes there."""
        _, shown = self.evaluate(difference).as_content_primitive()
        if env is not None and not shown.is_polynomial():
            names = {s.name for s in difference.free_symbols}
            sizes = ((v.symbol, evaluate(v.divisor * symbol(v.name), env)) for v in self.domain.variables if v.name in names)
            return " and ".join(f"{name} == {size}" for name, size in sizes)
        terms = Add.make_args(shown.expand())
        below = [t for t in terms if t.could_extract_minus_sign()]
        return f"{Add(*(t for t in terms if t not in below))} == {-Add(*below)}"

    def _believed(self, env: Mapping[Any, int], key: Key) -> bool:
        """Whether this cost needs no comparison at a point. What was fitted is sizes: at a new point, which was traced for them
        already, what the rules make of them is compared too."""
        if not self.looks_again:
            return True
        if self.fitted is None or not self.compared.checked:
            return self.compared.settled(env, key)
        return self.compared.visited(key) or (self.request is None and not self.compared.signature(env))

    def _in_another_region(self, env: Mapping[Any, int], key: Key) -> Symbolic:
        """The cost of the program that the model has at a point where its structure is not the fitted one."""
        if self.alone:
            self.fitted.refuse(env)
        with using(self.rules):
            table, left = concrete(self.domain, self.request, env, branches=self.branches, name=self.name)
        self.known.elsewhere[key] = self._alone(table, left)
        return self.known.elsewhere[key]

    def program_of(self, other: Symbolic) -> bool:
        """Whether another cost, which holds at a point, is of a program that this one's forms are of."""
        return other is self

    def region(self, **values: int) -> Symbolic:
        """The cost in the region of a point, in closed form; see :meth:`costmodel.cost.Cost.region`."""
        raise NotImplementedError

    def _concrete(self, env: Mapping[Any, int]) -> tuple[CostTable, Domain]:
        if self.sharded is not None:
            return self.sharded.concrete(self.domain, env, self.branches)
        return concrete(self.domain, self.request, env, branches=self.branches, name=self.name)

    def within(self, values: Mapping[str, int]) -> Symbolic:
        """The cost at a point where some variables are fixed and a region is known."""
        env = self.domain.bind(values)
        return self.known.where[self.fixed_at(env)][0]._settled(env, values)

    def fixed_at(self, env: Mapping[Any, int]) -> Fixed:
        """The dimensions that are 1 at a point, or a size that the program itself asked for, with their values: jax and the model
        write other programs there."""
        own = self.compared.boundaries[:self.compared.own]
        asked = {s for d in own if len(d.free_symbols) == 1 and evaluate(d, env) == 0 for s in d.free_symbols}
        sizes = (symbol(v.name) for v in self.domain.variables if v.is_dimension)
        return frozenset((s.name, env[s]) for s in sizes if env[s] == 1 or s in asked)

    def _changed(self, base: Symbolic, values: Mapping[str, int]) -> Symbolic:
        """What this cost makes of its source, of the program that holds at a point."""
        key = tuple(sorted(values.items()))
        if key not in self.known.elsewhere:
            assert self.change is not None
            self.known.elsewhere[key] = self._alone(self.change(base.program), base.domain)
        return self.known.elsewhere[key]

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
        self.compared.settle(env, tuple(sorted(values.items())))
