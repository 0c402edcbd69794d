"""The program of one device: the equations of a program with the shapes that a device holds, and between them what is sent.

The partitioner's module says how each value is sharded along the mesh's axes (:mod:`costmodel.sharding.shardy`), at a point; a
dimension divided by the sizes of its axes, as symbols, is that of a device anywhere. Collectives become equations of their own, which
the rules cost like any others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sympy import Expr, Integer, Mul

from costmodel.program.raw import SHARD_VIEW, Cond, Raw, RawProgram
from costmodel.program.scopes import Place as At
from costmodel.rules import lookup
from costmodel.rules.params import Convolution, Window
from costmodel.rules.traits import Trait
from costmodel.rules.work import Array, Value
from costmodel.sharding.alignment import Alignment, Place, root
from costmodel.sharding.concrete import mark
from costmodel.sharding.shardy import Axis, Operation, Partitioned, Sharding, Tensor
from costmodel.symbolic.forms import symbol
from costmodel.symbolic.translate import internal


@dataclass(eq=False)
class Local:
    """A device's program.

    aligned:  equations whose results were found in the partitioned module; ``unaligned`` those that were not, by primitive.
    parts:    axes of which a sharding uses a part only.
    unsent:   collectives of the module that belong to no equation of ours.
    """

    program: RawProgram
    aligned: int = 0
    unaligned: list[str] = field(default_factory=list)
    parts: set[str] = field(default_factory=set)
    unsent: list[Operation] = field(default_factory=list)


def localised(program: RawProgram, parts: Partitioned, env: Mapping[Any, int]) -> Local:
    """The program that each device of the mesh runs; ``env`` has the values of the symbols and axes that it was partitioned at."""
    return _Localiser(program, parts, env).run()


@dataclass(frozen=True, eq=False)
class _Where:
    """The equation that a collective belongs to: the one that needs what it makes (``reader``), and the one whose result it sends."""

    reader: Raw | None
    operation: Operation | None  # of the reader


class _Localiser:
    def __init__(self, program: RawProgram, parts: Partitioned, env: Mapping[Any, int]) -> None:
        self.program, self.parts = program, parts
        self.align = Alignment(program, parts, env)
        self.result = Local(program)
        self.local: dict[Value, Value] = {}
        self.tensors: dict[Value, Tensor] = {}
        self.makers: dict[Value, tuple[Raw, Operation | None]] = {}
        self.resharded: dict[Tensor, Value] = {}
        self.sent: dict[Any, Value] = {}
        self.done: set[Operation] = set()
        self.equations: list[tuple[float, Raw]] = []
        self.carries: dict[Value, tuple[Raw, int]] = {}
        self.users: dict[Value, list[Raw]] = {}
        self.indices = {each: i for i, each in enumerate(program.equations)}
        self.now = 0.0

    def run(self) -> Local:
        for v, tensor in zip(self.program.inputs, self.parts.arguments, strict=True):
            self._set(v, tensor.sharding, tensor)
        for r in self.program.equations:
            for v in r.ins:
                self.users.setdefault(v, []).append(r)
        for i, r in enumerate(self.program.equations):
            self.now = float(i)
            self._equation(r)
        self.now = float(len(self.program.equations))
        outputs = tuple(self._used(v, t, _Where(None, None)) for v, t in zip(self.program.outputs, self.parts.results, strict=True))
        carried = tuple(self._carried(before, after) for before, after in self.program.carried)
        equations = tuple(r for _, r in sorted(self.equations, key=lambda pair: pair[0]))
        self.result.program = replace(
            self.program, equations=equations, inputs=tuple(self.local[v] for v in self.program.inputs), outputs=outputs,
            carried=carried, zeros=frozenset(map(self._value, self.program.zeros)), conds=tuple(map(self._cond, self.program.conds)),
            integers={self._value(v): i for v, i in self.program.integers.items()})
        self.result.unsent = [op for op in self.parts.operations
                              if op.collective not in ("", "all_slice", "reshard") and op not in self.done]
        return self.result

    # -- values ----------------------------------------------------------------------------------------------------------------

    def axis(self, axis: Axis) -> Expr:
        if axis.size is None:
            return symbol(axis.name)
        self.result.parts.add(axis.name)
        return Integer(axis.size)

    def count(self, axes: Iterable[Axis]) -> Expr:
        return Mul(*map(self.axis, axes))

    def array(self, array: Array, sharding: Sharding) -> Array:
        """What a device holds of an array."""
        if len(sharding) != len(array.shape):
            return array
        return Array(tuple((d / self.count(axes)).expand() if axes else d for d, axes in zip(array.shape, sharding, strict=True)),
                     array.dtype)

    def _set(self, v: Value, sharding: Sharding, tensor: Tensor | None) -> Value:
        made = self.local[v] = replace(v, array=self.array(v.array, sharding))
        if tensor is not None:
            self.tensors[v] = tensor
        return made

    def _value(self, v: Value) -> Value:
        """A value as a device has it; one that no operation makes, a constant, is whole."""
        return self.local[v] if v in self.local else self._set(v, ((),) * len(v.array.shape), None)

    def _used(self, v: Value, tensor: Tensor | None, where: _Where) -> Value:
        """A value as an operation takes it: what the partitioner sends to make this tensor from it is put into the program."""
        if tensor is None or not v.array.shape and (tensor.maker is None or not tensor.maker.collective):
            return self._value(v)
        if tensor in self.resharded:
            return self.resharded[tensor]
        op = tensor.maker
        if op is None and tensor.loop is not None and (outside := _unchanged(tensor)) is not None:
            return self._used(v, outside, where)
        if op is None or not op.collective:
            return self._value(v)
        made = self.resharded[tensor] = self._sent(v, op, where)
        return made

    # -- collectives -----------------------------------------------------------------------------------------------------------

    def _sent(self, v: Value, op: Operation, where: _Where) -> Value:
        (source,), (out,) = op.operands, op.results
        self.done.add(op)
        reduction = source.maker
        if op.collective == "all_slice" and reduction is not None and reduction.collective == "all_reduce" and source.uses == 1:
            axes = _added(source.sharding, out.sharding)
            if axes and set(axes) <= set(reduction.axes):
                return self._reduce_scatter(v, reduction, out, axes, where)
        before = self._used(v, source, where)
        key = (before, op.collective, out.sharding)
        if key not in self.sent:
            made = before
            for axes in _turns(op):
                made = self._emit(op, _PRIMITIVES[op.collective], axes, made, Value(self.array(v.array, out.sharding)), v, where)
            self.sent[key] = made
        return self.sent[key]

    def _reduce_scatter(self, v: Value, op: Operation, out: Tensor, axes: tuple[Axis, ...], where: _Where) -> Value:
        """A sum of which every device keeps its part; along further axes it is reduced as ever, in parts."""
        self.done.add(op)
        before = self._used(v, op.operands[0], where)
        made = Value(self.array(v.array, out.sharding))
        made = self._emit(op, "reduce_scatter", axes, before, made, v, where)
        rest = tuple(a for a in op.axes if a not in axes)
        return self._emit(op, "psum", rest, made, Value(made.array), v, where) if rest else made

    def _emit(self, op: Operation, primitive: str, axes: Sequence[Axis], before: Value, after: Value, v: Value, where: _Where) -> Value:
        primitive = primitive if axes else SHARD_VIEW
        names = tuple(a.name for a in axes)
        params = {} if primitive == SHARD_VIEW else {"axes": names, "axis_name": names,
                                                     "axis_sizes": {a.name: self.axis(a) for a in axes}}
        at, order = self._at(op, v, where)
        self.equations.append((order, replace(at, primitive=primitive, params=params, ins=(before,), outs=(after,), effects=False,
                                              function=False, counter=False)))
        return after

    def _at(self, op: Operation, v: Value, where: _Where) -> tuple[Raw, float]:
        """The equation in whose module and loops a collective runs, and when: a reduction belongs to what is reduced, anything else
        to what needs it, if it is in the same loop."""
        made = self.makers.get(v)
        here = where.reader
        of_maker = made is not None and (made[1] is None or made[1].around is op.around)
        of_reader = here is not None and (where.operation is None or where.operation.around is op.around)
        if made is not None and of_maker and (op.collective in _REDUCTIONS or not of_reader):
            return made[0], self.now - 0.5
        if here is not None:
            return here, self.now - 0.5
        return (made[0] if made is not None else _NOWHERE), self.now - 0.5

    # -- equations -------------------------------------------------------------------------------------------------------------

    def _equation(self, r: Raw) -> None:
        place = self.align.place(r, self.tensors)
        first = place.operations[0] if place.operations else None
        where = _Where(r, first)
        ins = tuple(self._used(v, t, where) for v, t in zip(r.ins, place.ins, strict=True))
        self._within(r, place, where)
        outs = tuple(self._made(r, v, t, ins) for v, t in zip(r.outs, place.outs, strict=True))
        for v in r.outs:
            self.makers[v] = (r, first)
        if r.primitive == "loop_carry":
            number = sum(1 for _, (other, _) in self.carries.items() if other.trail == r.trail)
            self.carries[r.outs[0]] = (r, number)
        made = replace(r, ins=ins, outs=outs, params=self._params(r, ins, outs))
        self.equations.append((self.now, made))
        self._halos(r, made, place)

    def _within(self, r: Raw, place: Place, where: _Where) -> None:
        """What is sent between the operations that one equation became."""
        for tensor in self.align.between(place.operations):
            shape = root(tensor).shape
            like = next((v for v in (*r.outs, *r.ins) if self.align.shape(v.array) == shape), None)
            if like is not None:
                inner = Value(like.array)
                self._set(inner, root(tensor).sharding, None)
                before = len(self.equations)
                self._used(inner, tensor, where)
                self.equations[before:] = [(at, replace(sent, effects=True)) for at, sent in self.equations[before:]]

    def _made(self, r: Raw, v: Value, tensor: Tensor | None, ins: Sequence[Value]) -> Value:
        # What jax folded away has the sharding of an operand of the same shape.
        like = next((mine for whole, mine in zip(r.ins, ins, strict=True) if whole.array.shape == v.array.shape), None)
        if tensor is None and (like is None or not _is_view(r)):
            tensor = self._from_users(v)
        if tensor is None and r.shard is None:
            if v.array.shape and not _is_view(r):
                self.result.unaligned.append(r.primitive)
            made = self.local[v] = Value(Array(v.array.shape if like is None else like.array.shape, v.array.dtype), v.origin, v.name)
            return made
        self.result.aligned += 1
        if tensor is None:
            return self._set(v, ((),) * len(v.array.shape), None)
        sharding = tensor.sharding
        if r.shard is not None and not r.params.get("whole"):
            sharding = tuple(tuple(a for a in axes if a.name not in r.params["manual"]) for axes in sharding)
        return self._set(v, sharding, tensor)

    def _from_users(self, v: Value) -> Tensor | None:
        """The tensor that equations take a value as whose own operations have no mark."""
        if not v.array.shape:
            return None
        shape = self.align.shape(v.array)
        for r in self.users.get(v, ()):
            for op in self.align.marked.get(mark(r.trail), ()):
                for tensor in op.operands:
                    found = root(tensor)
                    if found.shape == shape and found.maker is not None and not found.maker.mark and not _is_constant(found.maker):
                        return found
        return None

    def _params(self, r: Raw, ins: Sequence[Value], outs: Sequence[Value]) -> Mapping[str, Any]:
        """Parameters that repeat a shape, as the device has it."""
        whole = {v.array.shape: mine.array.shape for v, mine in zip((*r.ins, *r.outs), (*ins, *outs), strict=True)
                 if v.array.shape != mine.array.shape}
        if not whole or r.shard is not None:
            return r.params
        made = dict(r.params)
        for name in ("shape", "new_sizes", "sizes", "limit_indices", "slice_sizes"):
            sizes = r.params.get(name)
            if isinstance(sizes, tuple) and sizes:
                made[name] = _local_sizes(tuple(map(internal, sizes)), r, ins, outs, name)
        return made

    # -- windows over sharded dimensions ---------------------------------------------------------------------------------------

    def _halos(self, r: Raw, made: Raw, place: Place) -> None:
        tensors = place.ins
        if not tensors or tensors[0] is None:
            return
        for dim, axes, rows in _borders(r, tensors):
            image = made.ins[0].array
            border = Array((*image.shape[:dim], rows, *image.shape[dim + 1:]), image.dtype)
            names = tuple(a.name for a in axes)
            self.equations.append((self.now - 0.25, replace(
                made, primitive="halo_exchange", ins=made.ins[:1], outs=(Value(border),), effects=True, function=False,
                params={"axis_name": names, "axis_sizes": {a.name: self.axis(a) for a in axes}})))

    # -- loops and branches ----------------------------------------------------------------------------------------------------

    def _carried(self, before: Value, after: Value) -> tuple[Value, Value]:
        r, number = self.carries[before]
        tensor = self.align.yielded(r, number)
        maker = self.makers.get(after)
        self.now = float(self.indices[maker[0]]) + 0.9 if maker is not None else 0.0
        inside = _Where(maker[0] if maker is not None else None, maker[1] if maker is not None else None)
        return self._value(before), self._used(after, tensor, inside)

    def _cond(self, c: Cond) -> Cond:
        return Cond(c.number, tuple(tuple(map(self._value, side)) for side in c.results), tuple(map(self._value, c.outs)))


_PRIMITIVES = {"all_gather": "all_gather", "all_reduce": "psum", "all_to_all": "all_to_all", "reduce_scatter": "reduce_scatter",
               "collective_permute": "ppermute", "all_slice": SHARD_VIEW, "reshard": SHARD_VIEW}
_REDUCTIONS = ("all_reduce", "reduce_scatter", "all_slice")
_NOWHERE = Raw("", {}, (), (), At().path, At().phase, At().times)


def _is_view(r: Raw) -> bool:
    rule = lookup(r.primitive)
    return rule is not None and Trait.VIEW in rule.traits


def _is_constant(op: Operation) -> bool:
    """Whether an operation spreads constants."""
    return all(tensor.maker is not None and not tensor.maker.operands for tensor in op.operands)


def _removed(op: Operation) -> tuple[Axis, ...]:
    """The axes that dimensions are sharded along before a collective and not after it."""
    return _added(op.results[0].sharding, op.operands[0].sharding)


def _added(less: Sharding, more: Sharding) -> tuple[Axis, ...]:
    return tuple(axis for a, b in zip(less, more, strict=True) for axis in b[len(a):])


def _moved(op: Operation) -> tuple[Axis, ...]:
    pairs = zip(op.operands[0].sharding, op.results[0].sharding, strict=True)
    return tuple(sorted({axis for a, b in pairs if a != b for axis in (*a, *b)}))


_AXES: dict[str, Any] = {
    "all_gather": _removed, "all_to_all": _removed, "all_reduce": lambda op: op.axes,
    "reduce_scatter": lambda op: _added(op.operands[0].sharding, op.results[0].sharding), "collective_permute": _moved,
    "all_slice": lambda op: (), "reshard": lambda op: (),
}


def _turns(op: Operation) -> list[tuple[Axis, ...]]:
    """The axes that a collective is over, one list a turn. Every device has constants, so that nothing is sent of them; what a
    convolution sums over sharded dimensions is reduced once a dimension."""
    axes, maker = _AXES[op.collective](op), root(op.operands[0]).maker
    if maker is not None and _is_constant(maker):
        return [()]
    if op.collective == "all_reduce" and maker is not None and maker.name == "stablehlo.convolution":
        by_dimension = [tuple(a for a in axes if a in dim) for dim in maker.operands[0].sharding]
        left = tuple(a for a in axes if not any(a in dim for dim in by_dimension))
        return [turn for turn in (*by_dimension, left) if turn]
    return [axes]


def _unchanged(tensor: Tensor) -> Tensor | None:
    """What a loop's body sees that no iteration changes, as it is outside of the loop."""
    loop = tensor.loop
    assert loop is not None
    if loop.name == "stablehlo.while" and all(tensor.index < len(y) for y in loop.yields[1:]):
        if loop.yields and loop.yields[-1][tensor.index] is tensor and tensor.index < len(loop.operands):
            return loop.operands[tensor.index]
    return None


def _local_sizes(sizes: tuple[Expr, ...], r: Raw, ins: Sequence[Value], outs: Sequence[Value], name: str) -> tuple[Any, ...]:
    """Sizes of a parameter: of the result, or of what is taken of the first operand, whole dimensions as the device has them."""
    of_out = name in ("shape", "new_sizes", "sizes")
    whole, mine = (r.outs[0], outs[0]) if of_out else (r.ins[0], ins[0])
    if len(sizes) != len(whole.array.shape):
        return sizes
    return tuple(local if size == dim else size for size, dim, local in zip(sizes, whole.array.shape, mine.array.shape, strict=True))


def _borders(r: Raw, tensors: Sequence[Tensor | None]) -> list[tuple[int, tuple[Axis, ...], Expr]]:
    """(dimension of the first operand, the axes that share it, rows of a neighbour's part that windows reach into)."""
    rule = lookup(r.primitive)
    image = tensors[0]
    if rule is None or rule.family is None or image is None or not {Trait.CONVOLUTION, Trait.WINDOW} & rule.traits:
        return []
    params = rule.family(r.params)
    if isinstance(params, Convolution):
        return list(_of_convolution(r, params, image, tensors[1] if len(tensors) > 1 else None))
    if isinstance(params, Window):
        return list(_of_window(params, image))
    return []


def _of_convolution(r: Raw, params: Convolution, image: Tensor, kernel: Tensor | None) -> Iterable[tuple[int, tuple[Axis, ...], Expr]]:
    for i, (dim, kernel_dim, out_dim) in enumerate(zip(params.image[2:], params.kernel[2:], params.result[2:], strict=True)):
        axes = image.sharding[dim]
        if not axes:
            continue
        if kernel is not None and kernel.sharding[kernel_dim]:  # a filter's gradient: its own border is what slides
            rows = r.outs[0].array.shape[out_dim] - 1
        else:
            rows = r.ins[1].array.shape[kernel_dim] - internal(params.strides[i])
        if rows.is_Integer and rows <= 0:
            continue
        yield dim, axes, rows


def _of_window(params: Window, image: Tensor) -> Iterable[tuple[int, tuple[Axis, ...], Expr]]:
    for dim, (size, stride) in enumerate(zip(params.size, params.strides, strict=True)):
        rows = internal(size) - internal(stride)
        if image.sharding[dim] and not (rows.is_Integer and rows <= 0):
            yield dim, image.sharding[dim], rows
