"""What XLA's partitioner decides otherwise than Shardy, on a propagated module, before reshards are made explicit.

Shardy chooses the sharding of a contraction by the sizes of what would be sent; XLA does not look at sizes. It takes what both
operands agree on, then the result's sharding, then a contraction that one operand alone is sharded along. A gather keeps the
sharding that its operand has along the dimensions that slices take whole, and a scatter that of its result. A slice at data has its
operand whole along the dimensions that it cuts, and a Fourier transform or the largest few of a sorted dimension are computed whole
on every device. Found by reading XLA's output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

from costmodel import _jax_compat as compat
from costmodel.sharding import marks
from costmodel.sharding.modules import CONTROL

Axes = tuple[str, ...]
Names = list[Axes]  # the axes that each dimension is sharded along


def decide(module: Any, mlir: compat.Mlir) -> frozenset[str]:
    """Give contractions and gathers the shardings that XLA gives them, with reshards of operands and results where those differ.
    The marks of those for which XLA may find another way."""
    meshes = [o for o in module.body.operations if o.operation.name == "sdy.mesh"]
    if not meshes:
        return frozenset()
    sizes = {axis.name: axis.size for axis in map(mlir.sdy.MeshAxisAttr, mlir.sdy.MeshAttr(meshes[0].attributes["mesh"]).axes)}
    choices = _Choices(mlir, mlir.ir.StringAttr(meshes[0].attributes["sym_name"]).value, sizes)
    for o in module.body.operations:
        if o.operation.name == "func.func":
            for block in o.operation.regions[0].blocks:
                choices.block(block)
    return frozenset(choices.doubted)


class _Taken:
    """Axes that dimensions of one operation have taken: none serves two of them."""

    def __init__(self) -> None:
        self.axes: set[str] = set()

    def __call__(self, wanted: Axes) -> Axes:
        found: list[str] = []
        for axis in wanted:
            if axis in self.axes:
                break
            found.append(axis)
            self.axes.add(axis)
        return tuple(found)


def contraction(left: Names, right: Names, out: Names, batch: Sequence[tuple[int, int]],
                contracted: Sequence[tuple[int, int]]) -> tuple[Names, Names, Names]:
    """The shardings of a contraction's operands and result, from those that propagation gave them."""
    take = _Taken()
    agreed_batch = {pair: take(left[pair[0]]) for pair in batch if left[pair[0]] and left[pair[0]] == right[pair[1]]}
    agreed = {pair: take(left[pair[0]]) for pair in contracted if left[pair[0]] and left[pair[0]] == right[pair[1]]}
    left_free = [i for i in range(len(left)) if i not in {a for a, _ in (*batch, *contracted)}]
    right_free = [i for i in range(len(right)) if i not in {b for _, b in (*batch, *contracted)}]
    new_left: Names = [()] * len(left)
    new_right: Names = [()] * len(right)
    new_out: Names = [()] * len(out)
    for i, pair in enumerate(batch):
        axes = agreed_batch[pair] if pair in agreed_batch else take(out[i] or left[pair[0]] or right[pair[1]])
        new_left[pair[0]] = new_right[pair[1]] = new_out[i] = axes
    for place, (names, i) in enumerate([*((new_left, i) for i in left_free), *((new_right, i) for i in right_free)], len(batch)):
        names[i] = new_out[place] = take(out[place])
    for pair in contracted:
        axes = agreed[pair] if pair in agreed else take(left[pair[0]] or right[pair[1]])
        new_left[pair[0]] = new_right[pair[1]] = axes
    return new_left, new_right, new_out


def gather(operand: Names, out: Names, offsets: Sequence[int], kept: Sequence[tuple[int, bool]]) -> Names:
    """The sharding of a gather's result: ``kept`` are the operand's dimensions that slices have, and whether they take them whole;
    they are the dimensions ``offsets`` of the result."""
    new = list(out)
    used: set[str] = set()
    for place, (i, whole) in zip(offsets, kept, strict=True):
        new[place] = operand[i] if whole else ()
        used |= set(new[place])
    return [axes if place in offsets else tuple(a for a in axes if a not in used) for place, axes in enumerate(new)]


def scatter(out: Names, updates: Names, windows: Sequence[int], kept: Sequence[tuple[int, bool]]) -> Names:
    """The sharding of a scatter's updates: ``kept`` are the result's dimensions that updates have, and whether they take them
    whole; they are the dimensions ``windows`` of the updates."""
    return gather(out, updates, windows, kept)


def _in_both(table: Names, cut: Sequence[int], taken: Names, rows: Sequence[int]) -> set[str]:
    """The axes along which devices share both the dimensions of a table that slices cut, and the rows that are taken of it."""
    return {axis for i in cut for axis in table[i]} & {axis for place in rows for axis in taken[place]}


def _without(axes: set[str], names: Names, of: Sequence[int]) -> Names:
    """A sharding without these axes in these dimensions."""
    return [tuple(a for a in each if a not in axes) if i in of else each for i, each in enumerate(names)]


def _of_rows(taken: Names, rows: Sequence[int], indices: Names, vector: int) -> Names:
    """The sharding of the indices of rows that are shared so; ``vector`` is the dimension of theirs that has the places."""
    along = (taken[place] for place in rows)
    return [() if i == vector else next(along) for i in range(len(indices))]


# A value of the module, its sharding, and dimensions of it.
_Shared = tuple[Any, Names, Sequence[int]]


class _Choices:
    """Applies the choices to a module's blocks."""

    def __init__(self, mlir: compat.Mlir, mesh: str, sizes: Mapping[str, int]) -> None:
        self.mlir, self.mesh, self.sizes = mlir, mesh, sizes
        self.doubted: set[str] = set()
        self.after: Any = None  # what follows the operation that is decided on
        self.rules: dict[str, Callable[[Any], None]] = {
            "stablehlo.dot_general": self._dot, "stablehlo.gather": self._gather, "stablehlo.scatter": self._scatter,
            "stablehlo.dynamic_slice": self._dynamic_slice, "stablehlo.fft": self._whole, "chlo.top_k": self._whole}

    def block(self, block: Any) -> None:
        for o, after in pairwise([*block.operations, None]):
            op = o.operation
            name = op.name
            for region in op.regions if name in CONTROL else ():
                for inner in region.blocks:
                    self.block(inner)
            if name in self.rules:
                self.after = after
                self.rules[name](op)

    # -- reading ---------------------------------------------------------------------------------------------------------------

    def names(self, value: Any) -> Names | None:
        """The axes of a value's dimensions; None where one is used in part."""
        sdy, rank = self.mlir.sdy, self.mlir.ir.RankedTensorType(value.type).rank
        stated = self._stated(value)
        if stated is None:
            return [()] * rank
        found: Names = []
        for dim in sdy.TensorShardingAttr(stated).dimension_shardings:
            axes = [sdy.AxisRefAttr(axis) for axis in sdy.DimensionShardingAttr(dim).axes]
            if any(axis.sub_axis_info is not None for axis in axes):
                return None
            found.append(tuple(axis.name for axis in axes))
        return found

    def _stated(self, value: Any) -> Any:
        """The sharding attribute of a value, or None."""
        ir = self.mlir.ir
        if not isinstance(value, ir.BlockArgument):
            op = value.owner.operation if hasattr(value.owner, "operation") else value.owner
            return self._per_value(op, value.result_number)
        owner, number = value.owner.owner.operation, value.arg_number
        if owner.name == "func.func":
            attributes = ir.ArrayAttr(owner.attributes["arg_attrs"]) if "arg_attrs" in owner.attributes else ()
            one = ir.DictAttr(attributes[number]) if attributes else {}
            return one["sdy.sharding"] if "sdy.sharding" in one else None
        return self._per_value(owner, number) if owner.name == "stablehlo.while" else None

    def _per_value(self, op: Any, number: int) -> Any:
        if op.name.startswith("sdy.") and "sharding" in op.attributes:  # a constraint, or a reshard
            return op.attributes["sharding"]
        if "sdy.sharding" not in op.attributes:
            return None
        return self.mlir.sdy.TensorShardingPerValueAttr(op.attributes["sdy.sharding"]).shardings[number]

    # -- writing ---------------------------------------------------------------------------------------------------------------

    def _attribute(self, names: Names) -> Any:
        sdy = self.mlir.sdy
        dims = [sdy.DimensionShardingAttr.get([sdy.AxisRefAttr.get(a) for a in axes], is_closed=True) for axes in names]
        return sdy.TensorShardingAttr.get(self.mesh, dims)

    def _operand(self, op: Any, number: int, old: Names, new: Names) -> None:
        if old != new:
            with op.location:
                made = self.mlir.sdy.ReshardOp(op.operands[number], self._attribute(new), ip=self.mlir.ir.InsertionPoint(op))
            op.operands[number] = made.result

    def _result(self, op: Any, old: Names, new: Names) -> None:
        op.attributes["sdy.sharding"] = self.mlir.sdy.TensorShardingPerValueAttr.get([self._attribute(new)])
        self._handed_on(op, op.results[0], old, new)

    def _results(self, op: Any, new: Sequence[Names]) -> None:
        """Those of an operation whose results were shared otherwise."""
        old = [self.names(result) for result in op.results]
        op.attributes["sdy.sharding"] = self.mlir.sdy.TensorShardingPerValueAttr.get(list(map(self._attribute, new)))
        for result, before, after in zip(op.results, old, new, strict=True):
            if before is not None:
                self._handed_on(op, result, before, after)

    def _handed_on(self, op: Any, result: Any, old: Names, new: Names) -> None:
        """What reads a result reads it as it was shared before."""
        if old == new:
            return
        uses = [(use.owner, use.operand_number) for use in result.uses]
        with op.location:
            made = self.mlir.sdy.ReshardOp(result, self._attribute(old), ip=self.mlir.ir.InsertionPoint(self.after))
        for user, number in uses:
            user.operands[number] = made.result

    # -- operations ------------------------------------------------------------------------------------------------------------

    def _dot(self, op: Any) -> None:
        dims = self.mlir.stablehlo.DotDimensionNumbers(op.attributes["dot_dimension_numbers"])
        left, right, out = (self.names(v) for v in (*op.operands, op.results[0]))
        if left is None or right is None or out is None:
            return
        batch = list(zip(dims.lhs_batching_dimensions, dims.rhs_batching_dimensions, strict=True))
        contracted = list(zip(dims.lhs_contracting_dimensions, dims.rhs_contracting_dimensions, strict=True))
        new = contraction(left, right, out, batch, contracted)
        self._operand(op, 0, left, new[0])
        self._operand(op, 1, right, new[1])
        if out != new[2] or any(new[2]):
            self._result(op, out, new[2])

    def _whole(self, op: Any) -> None:
        """Neither operand nor results are shared."""
        for i, value in enumerate(op.operands):
            if (names := self.names(value)) is not None:
                self._operand(op, i, names, [()] * len(names))
        self._results(op, [[()] * self.mlir.ir.RankedTensorType(result.type).rank for result in op.results])

    def _dynamic_slice(self, op: Any) -> None:
        names = self.names(op.operands[0])
        whole, taken = (self.mlir.ir.RankedTensorType(v.type).shape for v in (op.operands[0], op.results[0]))
        if names is None:
            return
        new = [axes if size == all_ else () for axes, size, all_ in zip(names, taken, whole, strict=True)]
        self._operand(op, 0, names, new)
        if names != new:
            self._results(op, [new])

    def _gather(self, op: Any) -> None:
        numbers = self.mlir.stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])
        operand, out = self.names(op.operands[0]), self.names(op.results[0])
        if operand is None or out is None or list(numbers.operand_batching_dims):
            return
        whole = self.mlir.ir.RankedTensorType(op.operands[0].type).shape
        sizes = list(self.mlir.ir.DenseI64ArrayAttr(op.attributes["slice_sizes"]))
        kept = [(i, sizes[i] == whole[i]) for i in range(len(operand)) if i not in list(numbers.collapsed_slice_dims)]
        new = gather(operand, out, list(numbers.offset_dims), kept)
        indices = self.names(op.operands[1])
        cut = [i for i in numbers.start_index_map if sizes[i] == 1]
        rows = [place for place in range(len(out)) if place not in list(numbers.offset_dims)]
        if indices is not None and (both := _in_both(operand, cut, new, rows)):
            wanted, new = self._apart(op, both, (op.operands[0], operand, cut), (op.results[0], new, rows))
            self._operand(op, 0, operand, wanted)
            self._operand(op, 1, indices, _of_rows(new, rows, indices, numbers.index_vector_dim))
        if new != out:
            self._result(op, out, new)

    def _scatter(self, op: Any) -> None:
        numbers = self.mlir.stablehlo.ScatterDimensionNumbers(op.attributes["scatter_dimension_numbers"])
        if len(op.operands) != 3 or list(numbers.input_batching_dims):
            return
        operand, indices, updates, out = (self.names(v) for v in (*op.operands, op.results[0]))
        if operand is None or indices is None or updates is None or out is None:
            return
        whole, sizes = (self.mlir.ir.RankedTensorType(op.operands[i].type).shape for i in (0, 2))
        windows, inserted = list(numbers.update_window_dims), list(numbers.inserted_window_dims)
        kept = [(i, sizes[w] == whole[i]) for i, w in zip([i for i in range(len(out)) if i not in inserted], windows, strict=True)]
        new, made = scatter(out, updates, windows, kept), out
        cut, rows = list(numbers.scattered_dims_to_operand_dims), [place for place in range(len(new)) if place not in windows]
        if both := _in_both(out, cut, new, rows):
            made, new = self._apart(op, both, (op.results[0], out, cut), (op.operands[2], new, rows))
        self._operand(op, 0, operand, made)
        self._operand(op, 2, updates, new)
        self._operand(op, 1, indices, _of_rows(new, rows, indices, numbers.index_vector_dim))
        if made != out:
            self._result(op, out, made)

    def _apart(self, op: Any, both: set[str], table: _Shared, rows: _Shared) -> tuple[Names, Names]:
        """The shardings of a table and of rows of it, of which only one keeps the axes along which devices share ``both``. Where
        the table does, every device has all rows, or sums in which it has a part. XLA tries both ways, and takes that of which the
        greatest operation needs less memory (``EvaluatePartitionCost``): the rows and their indices, or the whole table."""
        self._regroups(op, table[1], rows[1])
        if self._bytes(rows[0]) + self._bytes(op.operands[1]) <= self._bytes(table[0]):
            return table[1], _without(both, *rows[1:])
        return _without(both, *table[1:]), rows[1]

    def _regroups(self, op: Any, table: Names, rows: Names) -> None:
        """XLA may have devices that hold the same of both take parts of it (``GroupShardingOnReplicatedDim``)."""
        used = {axis for names in (table, rows) for axes in names for axis in axes}
        if any(size > 1 for axis, size in self.sizes.items() if axis not in used):
            self.doubted.add(marks.read(op.attributes, self.mlir))

    def _bytes(self, value: Any) -> int:
        of = self.mlir.ir.RankedTensorType(value.type)
        return prod(of.shape) * max(8, getattr(of.element_type, "width", 64)) // 8  # a complex type has none
