"""The program of one device: the equations of a program with the shapes that a device holds, and between them what is sent.

The partitioner's module says how each value is sharded along the mesh's axes (:mod:`costmodel.sharding.shardy`), at a point; a
dimension divided by the sizes of its axes, as symbols, is that of a device anywhere. Collectives become equations of their own,
which the rules cost like any others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from sympy import Expr, Integer, Mul

from costmodel.program.raw import SHARD_VIEW, Cond, Raw, RawProgram
from costmodel.program.scopes import Place as At
from costmodel.rules.work import Array, Value
from costmodel.sharding.alignment import Alignment, Place, root
from costmodel.sharding.borders import borders, is_elementwise, is_view
from costmodel.sharding.concrete import mark
from costmodel.sharding.exchange import PRIMITIVES, REDUCTIONS, added, is_barrier, is_constant, turns, unchanged
from costmodel.sharding.shardy import Axis, Operation, Partitioned, Sharding, Tensor
from costmodel.symbolic.forms import symbol
from costmodel.symbolic.translate import internal


@dataclass(eq=False)
class Local:
    """A device's program.

    aligned:  equations whose results were found in the partitioned module; ``unaligned`` the results that were not, as a device
              is taken to have them.
    parts:    axes of which a sharding uses a part only.
    unsent:   collectives of the module that belong to no equation of ours; :func:`costmodel.sharding.doubts.doubts` tells of them.
    doubted:  equations that XLA may partition otherwise.
    values:   what a device has of each value of the whole program.
    """

    program: RawProgram
    aligned: int = 0
    unaligned: list[Value] = field(default_factory=list)
    parts: set[str] = field(default_factory=set)
    unsent: list[Operation] = field(default_factory=list)
    doubted: list[Raw] = field(default_factory=list)
    values: Mapping[Value, Value] = field(default_factory=dict)


def localised(program: RawProgram, parts: Partitioned, env: Mapping[Any, int]) -> Local:
    """The program that each device of the mesh runs; ``env`` has the values of the symbols and axes that it was partitioned at."""
    return _Localiser(program, parts, env).run()


@dataclass(frozen=True, eq=False)
class _Where:
    """The equation that needs what a collective makes, and its operation."""

    reader: Raw | None
    operation: Operation | None


class _Localiser:
    def __init__(self, program: RawProgram, parts: Partitioned, env: Mapping[Any, int]) -> None:
        self.program, self.parts = program, parts
        self.align = Alignment(program, parts, env)
        self.result = Local(program)
        self.local: dict[Value, Value] = {}
        self.arrays: dict[tuple[Array, Sharding], Array] = {}  # a deep network has few different ones
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
            carried=carried, zeros=frozenset(map(self._value, self.program.zeros)),
            conds=tuple(map(self._cond, self.program.conds)),
            integers={self._value(v): i for v, i in self.program.integers.items()})
        self.result.unsent = [op for op in self.parts.operations
                              if op.collective not in ("", "all_slice", "reshard") and op not in self.done]
        self.result.doubted = [r for r in self.program.equations if mark(r.trail) in self.parts.doubted]
        self.result.values = self.local
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
        """What a device holds of an array; the array itself, where that is all of it."""
        if len(sharding) != len(array.shape) or not any(sharding):
            return array
        if (array, sharding) not in self.arrays:
            dims = zip(array.shape, sharding, strict=True)
            self.arrays[array, sharding] = Array(tuple((d / self.count(axes)).expand() if axes else d for d, axes in dims),
                                                 array.dtype)
        return self.arrays[array, sharding]

    def _set(self, v: Value, sharding: Sharding, tensor: Tensor | None) -> Value:
        made = self.local[v] = Value(self.array(v.array, sharding), v.origin, v.name)
        if tensor is not None:
            self.tensors[v] = tensor
        return made

    def _value(self, v: Value) -> Value:
        """A value as a device has it; one that no operation makes, a constant, is whole."""
        return self.local[v] if v in self.local else self._set(v, ((),) * len(v.array.shape), None)

    def _used(self, v: Value, tensor: Tensor | None, where: _Where) -> Value:
        """A value as an operation takes it: what the partitioner sends to make this tensor from it is put into the program."""
        if tensor is None or (not v.array.shape and (tensor.maker is None or not tensor.maker.collective)):
            return self._value(v)
        if tensor in self.resharded:
            return self.resharded[tensor]
        op = tensor.maker
        if op is None and tensor.loop is not None and (outside := unchanged(tensor)) is not None:
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
            axes = added(source.sharding, out.sharding)
            if axes and set(axes) <= set(reduction.axes):
                return self._reduce_scatter(v, reduction, out, axes, where)
        if op.collective == "all_reduce" and reduction is not None and len(reduction.results) > 1 and v in self.makers:
            return self._parts_gathered(v, op, where)
        before = self._used(v, source, where)
        barrier = root(source) if is_barrier(root(source)) else None
        key = (before, op.collective, out.sharding, barrier)
        if key not in self.sent:
            made = before
            for axes in turns(op):
                made = self._emit(op, PRIMITIVES[op.collective], axes, made, Value(self.array(v.array, out.sharding)), v, where)
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

    def _parts_gathered(self, v: Value, op: Operation, where: _Where) -> Value:
        """What is reduced together with something else (a place and the value there), of which XLA gathers every device's, to
        reduce them on each (``SpmdPartitioningVisitor::HandleReduce``). What the reduction makes and no equation takes is gathered,
        too."""
        (source,), (maker, _) = op.operands, self.makers[v]
        before = self._used(v, source, where)
        together = [each for each in self.parts.operations if each.collective == op.collective
                    and each.operands[0].maker is source.maker and each is not op]
        for each in together if len(maker.outs) == 1 else ():
            if each not in self.done:
                self.done.add(each)
                self._parts_of(op, Value(Array(before.array.shape, maker.ins[0].array.dtype)), v, where, effects=True)
        return self._emit(op, SHARD_VIEW, (), self._parts_of(op, before, v, where), Value(before.array), v, where)

    def _parts_of(self, op: Operation, part: Value, v: Value, where: _Where, *, effects: bool = False) -> Value:
        """Every device's part, gathered."""
        whole = Array((self.count(op.axes), *part.array.shape), part.array.dtype)
        return self._emit(op, "all_gather", op.axes, part, Value(whole), v, where, effects=effects)

    def _emit(self, op: Operation, primitive: str, axes: Sequence[Axis], before: Value, after: Value, v: Value,
              where: _Where, *, effects: bool = False) -> Value:
        primitive = primitive if axes else SHARD_VIEW
        names = tuple(a.name for a in axes)
        params = {} if primitive == SHARD_VIEW else {"axes": names, "axis_name": names,
                                                     "axis_sizes": {a.name: self.axis(a) for a in axes}}
        at, order = self._at(op, v, where)
        self.equations.append((order, replace(at, primitive=primitive, params=params, ins=(before,), outs=(after,), effects=effects,
                                              function=False, counter=False)))
        return after

    def _at(self, op: Operation, v: Value, where: _Where) -> tuple[Raw, float]:
        """The equation in whose module and loops a collective runs, and when: a reduction belongs to what is reduced, anything else
        to what needs it, if it is in the same loop. What no iteration changes is sent before the loop."""
        made = self.makers.get(v)
        here = where.reader
        if here is not None and (before := self._before_loop(here, op.operands[0], made and made[0])) is not None:
            return before
        of_maker = made is not None and (made[1] is None or made[1].around is op.around)
        of_reader = here is not None and (where.operation is None or where.operation.around is op.around)
        if made is not None and of_maker and (op.collective in REDUCTIONS or not of_reader):
            return made[0], self.now + _SENT_FIRST
        if here is not None:
            return here, self.now + _SENT_FIRST
        return (made[0] if made is not None else _NOWHERE), self.now + _SENT_FIRST

    def _before_loop(self, reader: Raw, source: Tensor, maker: Raw | None) -> tuple[Raw, float] | None:
        """Where XLA sends what a loop's body takes and does not change (``WhileLoopInvariantCodeMotion``); None for anything
        else."""
        if source.maker is not None or source.loop is None or unchanged(source) is None:
            return None
        outer = _shared_loops(reader, maker)
        beside = next((e for e in self.program.equations if e.loops == outer and not e.branch), None) if outer else _NOWHERE
        first = next(i for i, e in enumerate(self.program.equations) if e.loops[:len(outer) + 1] == reader.loops[:len(outer) + 1])
        if beside is None or reader.branch or len(outer) == len(reader.loops):
            return None
        return replace(reader, times=beside.times, loops=outer), first + _SENT_FIRST

    # -- equations -------------------------------------------------------------------------------------------------------------

    def _equation(self, r: Raw) -> None:
        place = self.align.place(r, self.tensors)
        first = place.operations[0] if place.operations else None
        where = _Where(r, first)
        ins = tuple(self._used(v, t, where) for v, t in zip(r.ins, place.ins, strict=True))
        between = self._within(r, place, where)
        outs = tuple(self._made(r, v, t, ins) for v, t in zip(r.outs, place.outs, strict=True))
        for v in r.outs:
            self.makers[v] = (r, first)
        if r.primitive == "loop_carry":
            number = sum(1 for _, (other, _) in self.carries.items() if other.trail == r.trail)
            self.carries[r.outs[0]] = (r, number)
        made = self._joined(replace(r, ins=ins, outs=outs, params=self._params(r, ins, outs)), r.outs, between)
        self.equations.append((self.now, made))
        self._halos(r, made, place)

    def _within(self, r: Raw, place: Place, where: _Where) -> list[tuple[Value, list[Raw]]]:
        """What is sent between the operations that one equation became: the result or operand whose shape it has, and what is sent
        one after the other."""
        found: list[tuple[Value, list[Raw]]] = []
        for tensor in self.align.between(place.operations):
            shape = root(tensor).shape
            like = next((v for v in (*r.outs, *r.ins) if self.align.shape(v.array) == shape), None)
            like = like or self._in_dimensions_of(r, shape)
            if like is not None:
                inner = Value(like.array)
                self._set(inner, root(tensor).sharding, None)
                before = len(self.equations)
                self._used(inner, tensor, where)
                found.append((like, [sent for _, sent in self.equations[before:]]))
                del self.equations[before:]
        return found

    def _in_dimensions_of(self, r: Raw, shape: tuple[int, ...]) -> Value | None:
        """A value of a shape at the point, in the dimensions of an equation's own; None where it has others."""
        known = {1: Integer(1)}
        for v in (*r.ins, *r.outs):
            known |= dict(zip(self.align.shape(v.array), v.array.shape, strict=True))
        if not r.outs or not set(shape) <= set(known):
            return None
        return Value(Array(tuple(known[size] for size in shape), r.outs[0].array.dtype))

    def _joined(self, made: Raw, whole: Sequence[Value], between: Sequence[tuple[Value, list[Raw]]]) -> Raw:
        """A device's equation with what is sent between its operations: a result that is sent is what the equation makes in parts,
        and what the last one hands on. Anything else that is sent is of the equation, without a value of the program."""
        for like, sent in between:
            place = whole.index(like) if like in whole else None
            if place is None or not sent or sent[0].ins[0].array != made.outs[place].array:
                self.equations += [(self.now + _SENT_FIRST, replace(each, effects=True)) for each in sent]
                continue
            out, part = made.outs[place], sent[0].ins[0]
            made = replace(made, outs=(*made.outs[:place], part, *made.outs[place + 1:]))
            self.equations += [(self.now + _HANDED_ON, each) for each in sent[:-1]]
            self.equations.append((self.now + _HANDED_ON, replace(sent[-1], outs=(out,))))
        return made

    def _made(self, r: Raw, v: Value, tensor: Tensor | None, ins: Sequence[Value]) -> Value:
        # What jax folded away has the sharding of an operand of the same shape.
        like = next((mine for whole, mine in zip(r.ins, ins, strict=True) if whole.array.shape == v.array.shape), None)
        if tensor is None and (like is None or not is_view(r)):
            tensor = self._from_users(v)
        if tensor is None and r.shard is None:
            shape = v.array.shape if like is None else like.array.shape
            made = self.local[v] = replace(v, array=Array(shape, v.array.dtype))
            if shape and not is_view(r) and (like is None or not is_elementwise(r)):
                self.result.unaligned.append(made)
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
                    if found.shape == shape and found.maker is not None and not found.maker.mark and not is_constant(found.maker):
                        return found
        return None

    def _params(self, r: Raw, ins: Sequence[Value], outs: Sequence[Value]) -> Mapping[str, Any]:
        """Parameters that repeat a shape, as the device has it."""
        sized = [name for name in _SIZES if r.params.get(name) and isinstance(r.params[name], tuple)]
        if not sized or r.shard is not None or all(v.array is mine.array or v.array.shape == mine.array.shape for v, mine
                                                   in zip((*r.ins, *r.outs), (*ins, *outs), strict=True)):
            return r.params
        return {**r.params, **{name: _local_sizes(tuple(map(internal, r.params[name])), r, ins, outs, name) for name in sized}}

    # -- windows over sharded dimensions ---------------------------------------------------------------------------------------

    def _halos(self, r: Raw, made: Raw, place: Place) -> None:
        tensors = place.ins
        if not tensors or tensors[0] is None:
            return
        for dim, axes, rows in borders(r, tensors):
            image = made.ins[0].array
            border = Array((*image.shape[:dim], rows, *image.shape[dim + 1:]), image.dtype)
            names = tuple(a.name for a in axes)
            self.equations.append((self.now + _BORDERS, replace(
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


_NOWHERE = Raw("", {}, (), (), At().path, At().phase, At().times)
# When a device runs what goes with equation i: at i + one of these, so that an equation's results are sent on before what the next
# one needs is.
_SENT_FIRST, _BORDERS, _HANDED_ON = -0.5, -0.25, 0.1


# Parameters that are shapes.
_SIZES = ("shape", "new_sizes", "sizes", "limit_indices", "slice_sizes")


def _shared_loops(reader: Raw, maker: Raw | None) -> tuple[int, ...]:
    """The loops that an equation is in together with what makes its operand; none for an input."""
    pairs = zip(reader.loops, () if maker is None else maker.loops, strict=False)
    return tuple(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _local_sizes(sizes: tuple[Expr, ...], r: Raw, ins: Sequence[Value], outs: Sequence[Value], name: str) -> tuple[Any, ...]:
    """Sizes of a parameter: of the result, or of what is taken of the first operand, whole dimensions as the device has them."""
    of_out = name in ("shape", "new_sizes", "sizes")
    whole, mine = (r.outs[0], outs[0]) if of_out else (r.ins[0], ins[0])
    if len(sizes) != len(whole.array.shape):
        return sizes
    dims = zip(sizes, whole.array.shape, mine.array.shape, strict=True)
    return tuple(local if size == dim else size for size, dim, local in dims)
