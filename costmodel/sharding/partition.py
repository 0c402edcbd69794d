"""From a request and how its arrays are sharded to the program of one device of a mesh."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

from sympy import Expr, Integer, Symbol

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError, TraceError
from costmodel.program.dead import remove_dead
from costmodel.program.domain import dimensions, domain_over
from costmodel.program.inline import inline
from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.work import Array, Value
from costmodel.sharding.laurent import NoForm, Sizes
from costmodel.sharding.local import Local, localised
from costmodel.sharding.manual import is_manual, of_one_device
from costmodel.sharding.mesh import Mesh, check_names
from costmodel.sharding.meshes import in_dimensions, multiples, over_meshes, traced_at
from costmodel.sharding.shardy import Partitioned, partitioned
from costmodel.sharding.witness import near, witness
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import symbol
from costmodel.symbolic.translate import internal
from costmodel.trace.requests import Traceable, Traced

Specs = Callable[[Traced], tuple[Sequence[Any], Sequence[Any]]]


def nothing_stated(traced: Traced) -> tuple[Sequence[Any], Sequence[Any]]:
    """Partitions of arguments and results that leave all of them to the partitioner."""
    return [None] * len(traced.jaxpr.in_avals), [None] * len(traced.jaxpr.out_avals)


@dataclass(frozen=True, eq=False)
class Source:
    """A traced program, in its own dimensions and with the axes of its ``shard_map``s as symbols.

    traced:  the jaxpr, over the mesh's own sizes.
    times:   what its dimensions were multiplied with for the trace; 1 for none.
    program: its equations.
    fixed:   why the axes have their sizes as integers; "" where they are symbols.
    """

    traced: Traced
    times: int
    program: RawProgram
    fixed: str = ""


def source(request: Traceable, mesh: Mesh) -> Source:
    """Trace a request for a mesh."""
    times = 1
    try:
        with compat.axes_resized(mesh.sizes):
            traced = request.run()
    except TraceError:  # a sharded dimension must be a multiple of its axes
        times = mesh.devices**2
        traced = traced_at(request, mesh.sizes, times)
    program = inline(traced)
    check_names(mesh, domain_over(dimensions(program.equations, program.inputs), program).symbols)
    if times != 1:
        program = in_dimensions(program, times)
    if not program.manual:
        return Source(traced, times, program)
    try:
        return Source(traced, times, over_meshes(request, mesh))
    except NoForm as reason:
        return Source(traced, times, program, str(reason))


@dataclass(frozen=True, eq=False)
class Device:
    """One device's program and what it rests upon.

    mesh:    the mesh.
    program: the equations of a device.
    found:   what the partitioner said at the point; None where ``shard_map`` says everything by itself.
    local:   how that was put together with the equations.
    fixed:   why the axes cannot have other sizes; "" where they can.
    """

    mesh: Mesh
    program: RawProgram
    source: Source
    specs: Specs
    found: Partitioned | None = None
    local: Local | None = None
    fixed: str = ""

    @cached_property
    def signature(self) -> tuple[tuple[str, ...], ...]:
        """What the partitioner sends; nothing where it was not asked."""
        return signature(self.found) if self.found is not None else ()

    def signature_at(self, env: Mapping[Symbol, int], sizes: Sizes) -> tuple[tuple[str, ...], ...]:
        """What the partitioner sends at another point of the symbols and over a mesh of other sizes."""
        if self.found is None or self.source.program.manual:
            return self.signature
        return signature(_partitioned(self.source, self.mesh, self.specs, env, sizes))


def signature(parts: Partitioned) -> tuple[tuple[str, ...], ...]:
    """The collectives of a module: kind, axes, the dimensions they concern, and the equation whose result they send."""
    found = []
    for op in parts.operations:
        if op.collective not in ("", "all_slice", "reshard"):
            where = [repr(tensor.sharding) for tensor in (*op.operands, *op.results)]
            maker = op.operands[0].maker
            found.append((op.collective, *where, repr(op.axes), "" if maker is None else maker.mark))
    return tuple(found)


def on_one_device(made: Source, mesh: Mesh, specs: Specs = nothing_stated) -> Device:
    """The program of one device of a mesh, as it is partitioned at a point of our own choice. Raises CostModelError for an axis
    named like a dimension, and where the partitioner fails."""
    alive, _ = remove_dead(made.program)
    if made.program.manual and specs is nothing_stated and is_manual(alive):
        return _finished(Device(mesh, of_one_device(alive), made, specs, fixed=made.fixed))
    env = witness(_dimensions_of(made, mesh), mesh.devices * made.times)
    return _put_together(made, mesh, specs, _partitioned(made, mesh, specs, env, mesh.sizes), env, mesh.sizes)


def as_at(device: Device, env: Mapping[Symbol, int], sizes: Sizes) -> Device:
    """The program of one device as it is partitioned at another point of the symbols, over a mesh of these sizes: near it, where
    arrays of other shapes are told apart, or right there where it is another one near it. Raises CostModelError as
    :func:`on_one_device` does."""
    made, mesh, specs = device.source, device.mesh, device.specs
    parts = _partitioned(made, mesh, specs, env, sizes)
    beside = near(_dimensions_of(made, mesh), env, prod(sizes.values()) * made.times)
    if beside is not None and signature(other := _partitioned(made, mesh, specs, beside, sizes)) == signature(parts):
        return _put_together(made, mesh, specs, other, beside, sizes)
    return _put_together(made, mesh, specs, parts, env, sizes)


def _dimensions_of(made: Source, mesh: Mesh) -> Domain:
    """The domain of a program's dimensions, without the axes of its mesh."""
    domain = domain_over(dimensions(made.program.equations, made.program.inputs), _with_axes(made.program, mesh, made.fixed))
    return replace(domain, variables=tuple(v for v in domain.variables if v.name not in mesh.names))


def _put_together(made: Source, mesh: Mesh, specs: Specs, parts: Partitioned, env: Mapping[Symbol, int], sizes: Sizes) -> Device:
    local = localised(made.program, parts, {**env, **{symbol(name): size for name, size in sizes.items()}})
    fixed = made.fixed or (f"a sharding uses a part of the axis {', '.join(sorted(local.parts))}" if local.parts else "")
    return _finished(Device(mesh, local.program, made, specs, parts, local, fixed))


def _partitioned(made: Source, mesh: Mesh, specs: Specs, env: Mapping[Symbol, int], sizes: Sizes) -> Partitioned:
    into, out = specs(made.traced)
    values = {s: value // made.times for s, value in env.items()}
    try:
        return partitioned(made.traced.jaxpr, mesh, sizes, values, into, out)
    except CostModelError:
        raise
    except (ValueError, TypeError, NotImplementedError) as error:
        said = " ".join(str(error).split())[:300]
        raise CostModelError(f"the program cannot be partitioned over {mesh}: {said}") from error


def _with_axes(program: RawProgram, mesh: Mesh, fixed: str) -> RawProgram:
    return replace(program, axes=mesh.variables(fixed=bool(fixed)))


def _finished(device: Device) -> Device:
    sizes = {symbol(name): Integer(size) for name, size in device.mesh.axes if name in device.mesh.fixed}
    program = _with_axes(replaced(device.program, sizes) if sizes else device.program, device.mesh, device.fixed)
    return replace(device, program=replace(program, multiples=multiples(program)))


def at_a_point(request: Traceable, there: Mesh, specs: Specs) -> RawProgram:
    """The program of one device as a request has it that is traced at integers, over a mesh of the sizes that it has there."""
    with compat.axes_resized(there.sizes):
        traced = request.run()
    program = inline(traced)
    alive, _ = remove_dead(program)
    if program.manual and specs is nothing_stated and is_manual(alive):
        return of_one_device(alive)
    made = Source(traced, 1, program)
    values = {symbol(name): Integer(size) for name, size in there.axes}
    local = localised(program, _partitioned(made, there, specs, {}, there.sizes), {s: int(v) for s, v in values.items()})
    return replaced(local.program, values)


def replaced(program: RawProgram, values: Mapping[Symbol, Integer]) -> RawProgram:
    """A program with integers for some of its symbols."""
    def array(v: Value) -> Array:
        return Array(tuple(d.xreplace(values) for d in v.array.shape), v.array.dtype)

    def equation(r: Raw) -> Raw:
        sizes = {axis: internal(size).xreplace(values) for axis, size in r.params.get("axis_sizes", {}).items()}
        params = {name: _replaced(parameter, values) for name, parameter in r.params.items()}
        return replace(r, times=r.times.xreplace(values), params={**params, "axis_sizes": sizes} if sizes else params)

    made = program.rewritten(array, equation)
    return replace(made, integers={v: i.xreplace(values) for v, i in made.integers.items()})


def _replaced(parameter: Any, values: Mapping[Symbol, Integer]) -> Any:
    if isinstance(parameter, Expr):
        return parameter.xreplace(values)
    if isinstance(parameter, tuple) and not hasattr(parameter, "_fields"):
        return tuple(_replaced(part, values) for part in parameter)
    return parameter


def sizes_in(env: Mapping[Symbol, int], mesh: Mesh) -> dict[str, int]:
    """The sizes of the axes at a point of the internal symbols."""
    return {name: int(env[symbol(name)]) for name in mesh.names}
