"""What an analysis of a sharded request rests upon, and how it is compared with a trace at a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sympy import Symbol

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError, IndivisibleShards
from costmodel.program.fit.result import Made
from costmodel.program.inline import inline
from costmodel.program.raw import RawProgram
from costmodel.program.table import cost_table
from costmodel.rules.branches import Branches
from costmodel.rules.work import CostTable
from costmodel.sharding.doubts import doubts
from costmodel.sharding.lines import line, warn
from costmodel.sharding.lost import lost
from costmodel.sharding.mesh import Mesh, mesh_of
from costmodel.sharding.meshes import traced_at
from costmodel.sharding.partition import Device, as_at, at_a_point, nothing_stated, on_one_device, sizes_in, source
from costmodel.sharding.requested import (
    NOTHING,
    Shardings,
    check_axes,
    check_inputs,
    check_rank,
    has_metadata,
    mesh_of_inputs,
    results,
    specs_of,
    tell_metadata,
)
from costmodel.sharding.shardy import abstract_mesh
from costmodel.sharding.weights import Weights
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import symbol
from costmodel.trace.requests import Request, Traced
from costmodel.trace.training import Step


@dataclass(frozen=True, eq=False)
class Sharded:
    """A request over a mesh, with what was said of its arrays. It is asked for in place of the request, so that nothing can trace
    that without its mesh.

    known: partitions of arguments and results, where another request of the same arrays has said them.
    found: the program of one device, where it is partitioned as at a point of ``whole``; see :meth:`there`.
    """

    request: Request | Step
    mesh: Mesh
    stated: Shardings = NOTHING
    known: tuple[list[Any], list[Any] | None] | None = None
    found: Device | None = None
    whole: Sharded | None = None

    @property
    def model(self) -> Any:
        """What is traced."""
        return self.request.model

    @property
    def repeatable(self) -> bool:
        """Whether integers can stand for all its symbols."""
        return self.request.repeatable

    def where(self, values: Mapping[str, int]) -> Sharded:
        """The same with integers for some of the internal variables and sizes for some of the axes, by name."""
        axes = {name: value for name, value in values.items() if name in self.mesh.names}
        rest = {name: value for name, value in values.items() if name not in axes}
        return replace(self, request=self.request.where(rest) if rest else self.request, mesh=self.mesh.where(axes),
                       known=self._known, found=None, whole=None)

    def at(self, domain: Domain, env: Mapping[Symbol, int]) -> Sharded:
        """The same with integers for all symbols, over a mesh of the point's sizes."""
        return replace(self, request=self.request.at(self._own(domain), env), mesh=self.mesh.where(sizes_in(env, self.mesh)),
                       known=self._known, found=None, whole=None)

    def again(self, domain: Domain, env: Mapping[Symbol, int]) -> Sharded:
        """As :meth:`at`."""
        return self.at(domain, env)

    def run(self) -> Traced:
        """Raises CostModelError: what jax traces is the program of all devices, and none of them runs it."""
        raise CostModelError(f"this is what one device of the mesh {self.mesh} does, and the program runs on {self.mesh.devices}: "
                             "`costmodel judge --mesh` compiles it for them; analyse it without a mesh to run or compile it on one")

    @cached_property
    def device(self) -> Device:
        """The program of one device."""
        if self.found is not None:
            return self.found
        check_inputs(self.request, self.stated, self.mesh)
        made = source(self.request, self.mesh)  # before all partitions: its guard notes what is asked while a module is initialised
        return on_one_device(made, self.mesh, self._specs)

    @property
    def made(self) -> Made:
        """That program as an analysis goes on with it."""
        traced = self.device.source.traced
        if self.device.local is not None and (found := lost(self.device.source.program, self.device.local.values)) is not None:
            warn(found.text(Domain.of(found.dim).in_user_symbols(found.dim)), line(found.equation))
        for doubt in self.doubts:
            warn(doubt)
        return Made(self.device.program, orders=traced.orders, asked=traced.asked)

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """What XLA is known to send otherwise, a line each."""
        return doubts(self.device.program, self.device.local) if self.device.found is not None else ()

    @cached_property
    def _known(self) -> tuple[list[Any], list[Any] | None]:
        if self.known is not None:
            return self.known
        try:
            return specs_of(self.request, self.stated, self.mesh)
        except (TypeError, ValueError):
            self.request.run()  # what is wrong with the model is said in its words
            raise

    @property
    def _specs(self) -> Any:
        into, _ = self._known
        if not self.stated.stated and not any(spec is not None for spec in into):
            return nothing_stated
        return self._partitions

    def _partitions(self, traced: Traced) -> tuple[Sequence[Any], Sequence[Any]]:
        into, out = self._known
        count = len(traced.jaxpr.in_avals)
        if len(into) != count:
            raise CostModelError(f"{len(into)} partitions for {count} arguments")
        made = results(self.stated.outputs, len(traced.jaxpr.out_avals), out)
        for spec, aval in zip(made, traced.jaxpr.out_avals, strict=True):
            check_axes(spec, self.mesh)
            check_rank(spec, aval.shape, "out_shardings")
        return into, made

    def there(self, env: Mapping[Symbol, int], *, ask: bool) -> Sharded | None:
        """The request partitioned as at another point: this one where the partitioner sends the same there. It is asked at every
        point, or, unless told to ``ask``, once for all at which arrays weigh alike (:mod:`costmodel.sharding.weights`). None where
        the program cannot be put together for other points like that one."""
        if self.whole is not None:
            return self.whole.there(env, ask=ask)
        if self.device.found is None or self.device.source.program.manual:
            return self
        point = frozenset(env.items()) if ask else self.weights.at(env).tobytes()
        if point not in self._there:
            sizes = sizes_in(env, self.mesh)
            symbols = {s: v for s, v in env.items() if s.name not in self.mesh.names}
            sent = self.device.signature_at(symbols, sizes)
            if sent not in self._by_signature:
                self._by_signature[sent] = self._as_at(symbols, sizes)
            self._there[point] = self._by_signature[sent]
        return self._there[point]

    def _as_at(self, env: Mapping[Symbol, int], sizes: Mapping[str, int]) -> Sharded | None:
        try:
            made = as_at(self.device, env, sizes)
        except CostModelError:
            return None
        if made.fixed and sizes != self.mesh.sizes:
            return None
        return replace(self, found=made, whole=self, known=self._known)

    @cached_property
    def weights(self) -> Weights:
        """How the arrays of its equations weigh against each other, which the partitioner decides by."""
        return Weights(self.device.source.program, tuple(map(symbol, self.mesh.names)))

    @cached_property
    def _by_signature(self) -> dict[Any, Sharded | None]:
        return {self.device.signature: self}

    @cached_property
    def _there(self) -> dict[Any, Sharded | None]:
        return {}

    def concrete(self, domain: Domain, env: Mapping[Symbol, int], branches: str) -> tuple[CostTable, Domain]:
        """The program of one device as a concrete trace at a point has it, and the domain of what only the data decides."""
        there = self.at(domain, env)
        program = at_a_point(there.request, there.mesh, self._specs)
        return cost_table(replace(program, axes=there.mesh.variables()), branches=Branches(branches), unknown="warn")

    @property
    def abstract_mesh(self) -> Any:
        """jax's abstract mesh of these axes, of the sizes that they have here."""
        return abstract_mesh(self.mesh, self.mesh.sizes)

    def concrete_trace(self) -> tuple[Traced, Sequence[Any], Sequence[Any]]:
        """The program of all devices at a point, and the partitions of its arguments and results: what a compiler is handed that
        partitions by itself."""
        with compat.axes_resized(self.mesh.sizes):
            traced = self.request.run()
        return traced, *self._specs(traced)

    def _own(self, domain: Domain) -> Domain:
        """A domain without the axes."""
        return replace(domain, variables=tuple(v for v in domain.variables if v.symbol not in self.mesh.names), multiples=())


def found_sharded(request: Request | Step, program: RawProgram, stated: Shardings) -> Sharded | None:
    """The request over the mesh that its own program or the shardings of its inputs name; None for a program of one device.

    Raises CostModelError for partitions without a mesh; a model that states partitions for a mesh that is not there is told so.
    """
    if program.mesh:
        return Sharded(request, mesh_of(program.mesh), stated)
    if (mesh := mesh_of_inputs(request)) is not None:
        return Sharded(request, mesh, stated)
    if stated.stated:
        raise CostModelError("shardings were given and no mesh: pass mesh={'axis': size, …} too")
    forward = request.forward if isinstance(request, Step) else request
    if has_metadata(program, forward):
        tell_metadata(type(forward.model).__name__)
    return None


# A multiple of every number of devices up to 16, and of most that are used.
_MULTIPLE = 2**8 * 3**2 * 5 * 7 * 11 * 13


def found_indivisible(request: Request | Step, stated: Shardings, refusal: IndivisibleShards) -> Sharded:
    """The request over the mesh that its program names where that shows with dimensions that are multiples only. Raises the
    refusal where it does not."""
    try:
        program = inline(traced_at(request, {}, _MULTIPLE))
    except CostModelError:
        raise refusal from None
    return Sharded(request, mesh_of(program.mesh), stated)
