"""Shardy's passes over a lowered program, without a device, and what they decided: the sharding of every tensor, and collectives.

What is read is kept in records of our own: an :class:`Operation` a line of the module, a :class:`Tensor` a value of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, AxisType, NamedSharding

from costmodel import _jax_compat as compat
from costmodel.sharding import marks
from costmodel.sharding.broadcasts import BROADCAST, write_out_broadcast
from costmodel.sharding.choices import decide
from costmodel.sharding.concrete import Concrete
from costmodel.sharding.elementwise import of_chlo, write_out
from costmodel.sharding.mesh import Mesh
from costmodel.sharding.modules import CONTROL, operations
from costmodel.sharding.order import reorder

_PROPAGATE = "builtin.module(sdy-propagation-pipeline)"
_RESHARD = ("builtin.module(func.func(sdy-insert-explicit-reshards{enable-full-version=true}))",
            "builtin.module(func.func(sdy-reshard-to-collectives))")


class Axis(NamedTuple):
    """An axis of the mesh, or (``size``) the part of it that a sharding uses, with (``before``) how much of it is used before."""

    name: str
    size: int | None = None
    before: int = 1


Sharding = tuple[tuple[Axis, ...], ...]


@dataclass(eq=False)
class Tensor:
    """A value of the module: its whole shape, the axes that each dimension is sharded along, and where it comes from.

    maker: the operation that makes it, and ``index`` which of its results it is; None for an argument.
    loop:  for a loop's value as its body sees it, the loop, and ``index`` its place among what the loop carries.
    uses:  how many operands it is.
    """

    shape: tuple[int, ...]
    sharding: Sharding
    maker: Operation | None = None
    index: int = 0
    loop: Operation | None = None
    uses: int = 0


@dataclass(eq=False)
class Operation:
    """An operation of the module with its mark ("" without one). ``seen`` are the arguments of its last region, ``yields`` what
    each of its regions hands back; ``axes`` those that a reduction of Shardy's is over; ``around`` the operation whose region it is
    in; ``collective`` is what Shardy inserted, "all_gather", "all_slice" …, and "" for what the program has itself."""

    name: str
    mark: str
    operands: tuple[Tensor, ...] = ()
    results: tuple[Tensor, ...] = ()
    yields: list[tuple[Tensor, ...]] = field(default_factory=list)
    seen: tuple[Tensor, ...] = ()
    axes: tuple[Axis, ...] = ()
    around: Operation | None = None
    collective: str = field(init=False)

    def __post_init__(self) -> None:
        self.collective = self.name.removeprefix("sdy.") if self.name in _COLLECTIVES else ""


_COLLECTIVES = frozenset(f"sdy.{kind}" for kind in ("all_gather", "all_reduce", "all_slice", "all_to_all", "collective_permute",
                                                    "reduce_scatter", "reshard"))


@dataclass(frozen=True, eq=False)
class Partitioned:
    """A module after Shardy: its arguments, its results, and every operation in order; the marks of those that XLA may partition
    otherwise (:func:`costmodel.sharding.choices.decide`)."""

    arguments: tuple[Tensor, ...]
    results: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    doubted: frozenset[str] = frozenset()

    def marked(self) -> dict[str, list[Operation]]:
        """The program's own operations by mark."""
        found: dict[str, list[Operation]] = {}
        for op in self.operations:
            if op.mark:
                found.setdefault(op.mark, []).append(op)
        return found


def partitioned(jaxpr: Any, mesh: Mesh, sizes: Mapping[str, int], env: Mapping[Any, int], into: Sequence[Any],
                out: Sequence[Any]) -> Partitioned:
    """A closed jaxpr with these values of its symbols, partitioned over a mesh of these sizes. ``into`` and ``out`` are partitions
    of its arguments and results, None where the partitioner decides."""
    abstract = abstract_mesh(mesh, sizes)
    evaluator = Concrete(env, abstract)
    arguments = [jax.ShapeDtypeStruct(evaluator.size(tuple(v.shape)), v.dtype) for v in jaxpr.in_avals]

    def named(specs: Sequence[Any]) -> list[Any]:
        return [None if spec is None else NamedSharding(abstract, spec) for spec in specs]

    def program(*values: Any) -> list[Any]:
        return Concrete(env, abstract).body(jaxpr, list(values))

    with jax.sharding.use_abstract_mesh(abstract), compat.short_locations():
        traced = jax.jit(program, in_shardings=named(into), out_shardings=named(out), keep_unused=True).trace(*arguments)
        module = traced.lower(lowering_platforms=("tpu",)).compiler_ir("stablehlo")
    return _partition(module)


def abstract_mesh(mesh: Mesh, sizes: Mapping[str, int]) -> AbstractMesh:
    """jax's mesh of these axes, which the partitioner decides for."""
    return AbstractMesh(tuple(sizes[name] for name in mesh.names), mesh.names, axis_types=(AxisType.Auto,) * len(mesh.names))


def _partition(module: Any) -> Partitioned:
    mlir = compat.mlir()

    def run(*pipelines: str) -> None:
        for pipeline in pipelines:
            manager = mlir.passmanager.PassManager.parse(pipeline)
            manager.enable_verifier(False)  # of a module that jax made: it would be read anew after each of some dozens of passes
            manager.run(module.operation)

    with module.context, mlir.ir.Location.unknown():
        marks.write(module, mlir)
        for op in list(operations(module)):
            if op.name == BROADCAST:
                write_out_broadcast(op, mlir)
            elif of_chlo(op, mlir):
                write_out(op, mlir)
        reorder(module, mlir)
        run(_PROPAGATE)
        doubted = decide(module, mlir)
        run(*_RESHARD)
        return replace(_Reader(mlir, module).read(), doubted=doubted)


class _Reader:
    """Reads a module: every operation, in order, those of functions that are called where they are called."""

    def __init__(self, mlir: compat.Mlir, module: Any) -> None:
        self.mlir = mlir
        self.functions = {mlir.ir.StringAttr(o.attributes["sym_name"]).value: o.operation for o in module.body.operations
                          if o.operation.name == "func.func"}
        self.tensors: dict[Any, Tensor] = {}
        self.known: dict[Any, Sharding] = {}
        self.listed: dict[Any, list[Any]] = {}
        self.operations: list[Operation] = []
        self.around: Operation | None = None

    def read(self) -> Partitioned:
        main = self.functions["main"]
        block = main.regions[0].blocks[0]
        arguments = [self._new(v, sharding) for v, sharding in zip(block.arguments, self._of_arguments(main), strict=True)]
        results = self._block(block)
        return Partitioned(tuple(arguments), results, tuple(self.operations))

    def _of_arguments(self, function: Any) -> Iterator[Any]:
        stated = self.mlir.ir.ArrayAttr(function.attributes["arg_attrs"]) if "arg_attrs" in function.attributes else ()
        for i in range(len(function.regions[0].blocks[0].arguments)):
            one = self.mlir.ir.DictAttr(stated[i]) if stated else {}
            yield one["sdy.sharding"] if "sdy.sharding" in one else None

    def _block(self, block: Any) -> tuple[Tensor, ...]:
        """The operations of a block; what it hands back."""
        operations = list(block.operations)
        for o in operations[:-1]:
            self._operation(o.operation)
        return self._operands(operations[-1].operation)

    def _operands(self, op: Any) -> tuple[Tensor, ...]:
        found = tuple([self.tensors[v] for v in op.operands])
        for tensor in found:
            tensor.uses += 1
        return found

    def _operation(self, op: Any) -> None:
        name, attributes = op.name, op.attributes
        if name == "func.call":
            self._call(op)
            return
        made = Operation(name, marks.read(attributes, self.mlir), self._operands(op), around=self.around)
        if name in CONTROL:  # the regions of reductions and sorts say nothing of sharding
            self._regions(op, made)
        results = op.results
        shardings = self._of_results(name, attributes, len(results))
        made.results = tuple([self._new(v, s, made, i) for i, (v, s) in enumerate(zip(results, shardings, strict=True))])
        made.axes = self._reduced(attributes)
        self.operations.append(made)

    def _call(self, op: Any) -> None:
        block = self.functions[self.mlir.ir.FlatSymbolRefAttr(op.attributes["callee"]).value].regions[0].blocks[0]
        self.tensors.update(zip(block.arguments, self._operands(op), strict=True))
        shardings = self._of_results(op.name, op.attributes, len(op.results))
        for v, result, sharding in zip(op.results, self._block(block), shardings, strict=True):
            self.tensors[v] = result
            result.sharding = result.sharding if sharding is None else self._sharding(sharding, len(result.shape))

    def _regions(self, op: Any, made: Operation) -> None:
        """The regions of loops, branches and manual computations."""
        stated = "in_shardings" if op.name == "sdy.manual_computation" else "sdy.sharding"
        outer, self.around = self.around, made
        for region in op.regions:
            block = region.blocks[0]
            shardings = self._per_value(op.attributes, stated, len(block.arguments))
            seen = tuple(self._new(v, s, None, i) for i, (v, s) in enumerate(zip(block.arguments, shardings, strict=True)))
            for tensor in seen:
                tensor.loop = made
            made.seen = seen
            made.yields.append(self._block(block))
        self.around = outer

    def _new(self, value: Any, sharding: Any, maker: Operation | None = None, index: int = 0) -> Tensor:
        shape = tuple(getattr(value.type, "shape", ()))  # a token has none
        tensor = self.tensors[value] = Tensor(shape, self._sharding(sharding, len(shape)), maker, index)
        return tensor

    def _of_results(self, name: str, attributes: Any, count: int) -> Sequence[Any]:
        if "out_sharding" in attributes:
            return [attributes["out_sharding"]]
        return self._per_value(attributes, "out_shardings" if name == "sdy.manual_computation" else "sdy.sharding", count)

    def _per_value(self, attributes: Any, name: str, count: int) -> Sequence[Any]:
        if name not in attributes:
            return [None] * count
        stated = attributes[name]
        if stated not in self.listed:
            self.listed[stated] = list(self.mlir.sdy.TensorShardingPerValueAttr(stated).shardings)
        found = self.listed[stated]
        return found if len(found) == count else [None] * count

    def _sharding(self, stated: Any, rank: int) -> Sharding:
        if stated is None:
            return ((),) * rank
        if stated not in self.known:
            self.known[stated] = self._read_sharding(stated)
        return self.known[stated]

    def _read_sharding(self, stated: Any) -> Sharding:
        sdy = self.mlir.sdy
        dims = sdy.TensorShardingAttr(stated).dimension_shardings
        return tuple(tuple(self._axis(sdy.AxisRefAttr(axis)) for axis in sdy.DimensionShardingAttr(dim).axes) for dim in dims)

    def _axis(self, axis: Any) -> Axis:
        part = axis.sub_axis_info
        if part is None:
            return Axis(axis.name)
        part = self.mlir.sdy.SubAxisInfoAttr(part)
        return Axis(axis.name, int(part.size), int(part.pre_size))

    def _reduced(self, attributes: Any) -> tuple[Axis, ...]:
        """The axes of a reduction of Shardy's. Its list of axes has no bindings: names stand between quotes, a part of an axis as
        ``:(before)size`` behind its name."""
        if "reduction_axes" not in attributes:
            return ()
        _, *parts = str(attributes["reduction_axes"]).split('"')
        return tuple(_axis_in_text(name, rest) for name, rest in zip(parts[::2], parts[1::2], strict=True))


def _axis_in_text(name: str, rest: str) -> Axis:
    if not rest.startswith(":("):
        return Axis(name)
    before, _, after = rest[2:].partition(")")
    return Axis(name, int(after.split(",")[0].strip("}>] ")), int(before))
