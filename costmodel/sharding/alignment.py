"""Which operations of the partitioned module an equation of ours has become, and which of its tensors are its operands and results.

Marks say it: every operation carries the trail of its equation, and the parts of loops, branches and ``shard_map``s have marks of
their own. Where one equation became several operations, operands and results are told apart by their shapes at the point.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from costmodel.program.raw import SHARD_VIEW, Raw, RawProgram
from costmodel.rules.work import Array, Value
from costmodel.sharding.concrete import Trail, mark
from costmodel.sharding.shardy import Operation, Partitioned, Tensor
from costmodel.symbolic.forms import evaluate


@dataclass(frozen=True, eq=False)
class Place:
    """An equation's operations, and of each of its operands and results the tensor, where one was found."""

    operations: Sequence[Operation]
    ins: Sequence[Tensor | None]
    outs: Sequence[Tensor | None]


def root(tensor: Tensor) -> Tensor:
    """What collectives of the partitioner made this tensor from."""
    while tensor.maker is not None and tensor.maker.collective:
        tensor = tensor.maker.operands[0]
    return tensor


class Alignment:
    """Finds the places of a program's equations, asked for in order.

    env: values of the internal symbols and of the axes at the point.
    """

    def __init__(self, program: RawProgram, parts: Partitioned, env: Mapping[Any, int]) -> None:
        self.marked, self.env = parts.marked(), env
        self.parts = Counter((r.trail, r.primitive) for r in program.equations)
        self._seen: Counter[tuple[Trail, str]] = Counter()
        self._shapes: dict[Array, tuple[int, ...]] = {}
        self._memo: dict[Any, Any] = {}

    def shape(self, array: Array) -> tuple[int, ...]:
        """The shape at the point."""
        if array not in self._shapes:
            self._shapes[array] = tuple(int(evaluate(d, self.env, self._memo)) for d in array.shape)
        return self._shapes[array]

    def place(self, r: Raw, known: Mapping[Value, Tensor]) -> Place:
        """Where an equation is; ``known`` are tensors of values so far."""
        number = self._seen[r.trail, r.primitive]
        self._seen[r.trail, r.primitive] += 1
        if r.primitive in _PARTS:
            return _PARTS[r.primitive](self, r, number)
        operations = self.marked.get(mark(r.trail), ())
        return Place(operations, self._operands(r, operations, known), self._results(r, operations))

    # -- an equation that became some operations -------------------------------------------------------------------------------

    def _operands(self, r: Raw, operations: Sequence[Operation], known: Mapping[Value, Tensor]) -> list[Tensor | None]:
        waiting = list(self._external(operations))
        found: list[Tensor | None] = []
        for v in r.ins:
            shape = self.shape(v.array)
            alike = [t for t in waiting if t.shape == shape]
            same = [t for t in alike if root(t) is known.get(v)]
            chosen = next(iter(same or (alike if shape else ())), None)
            if chosen is not None:
                waiting.remove(chosen)
            found.append(chosen)
        return found

    def _external(self, operations: Sequence[Operation]) -> Iterator[Tensor]:
        """What the operations take that none of them made, each once."""
        own, seen = set(operations), set()
        for op in operations:
            for tensor in op.operands:
                if root(tensor).maker not in own and tensor not in seen:
                    seen.add(tensor)
                    yield tensor

    def between(self, operations: Sequence[Operation]) -> Iterator[Tensor]:
        """What collectives made between the operations of one equation."""
        own = set(operations)
        for op in operations:
            for tensor in op.operands:
                if tensor.maker is not None and tensor.maker.collective and root(tensor).maker in own:
                    yield tensor

    def _results(self, r: Raw, operations: Sequence[Operation]) -> list[Tensor | None]:
        last = operations[-1].results if operations else ()
        made = [t for op in operations for t in op.results]
        found: list[Tensor | None] = []
        for i, v in enumerate(r.outs):
            shape = self.shape(v.array)
            if len(last) == len(r.outs) and last[i].shape == shape:
                found.append(last[i])
            else:
                found.append(next((t for t in reversed(made) if t.shape == shape), None))
        return found

    # -- parts of control flow -------------------------------------------------------------------------------------------------

    def _of(self, r: Raw, part: str, number: int, name: str = "") -> Sequence[Operation]:
        """The operations of a part; those of one name, the last one, if it is given."""
        found = self.marked.get(mark(r.trail, part, number), ())
        return [op for op in found if op.name == name][-1:] if name else found

    def _read(self, r: Raw, number: int) -> Place:
        operations = self._of(r, "read", number)
        return Place(operations, self._operands(r, operations, {}), self._results(r, operations))

    def _write(self, r: Raw, number: int) -> Place:
        operations = self._of(r, "write", number)
        return Place(operations, self._operands(r, operations, {}), self._results(r, operations))

    def _carry(self, r: Raw, number: int) -> Place:
        """A carried value: the loop's operands and results are what it closes over, perhaps a counter, what it carries, and what it
        stacks."""
        operations = self._of(r, "loop", 0, "stablehlo.while")
        if not operations:
            return Place((), [None], [None])
        after = self.parts[r.trail, "loop_carry"] + self.parts[r.trail, "scan_write"] - number
        loop = operations[0]
        return Place(operations, [loop.operands[-after]], [loop.results[-after]])

    def yielded(self, r: Raw, number: int) -> Tensor | None:
        """What the body of a loop hands on as its carried value of that number."""
        operations = self._of(r, "loop", 0, "stablehlo.while")
        after = self.parts[r.trail, "loop_carry"] + self.parts[r.trail, "scan_write"] - number
        return operations[0].yields[1][-after] if operations else None

    def _branch(self, r: Raw, number: int) -> Place:
        operations = self._of(r, "branches", 0, "stablehlo.case")
        if not operations:
            return Place((), [None] * len(r.ins), [None])
        sides = [side[number] for side in operations[0].yields]
        # Where a side is known to run, fewer are left.
        return Place(operations, [None, *(sides if len(sides) == len(r.ins) - 1 else [None] * (len(r.ins) - 1))],
                     [operations[0].results[number]])

    def _shard(self, r: Raw, number: int) -> Place:
        operations = self._of(r, "shards", 0, "sdy.manual_computation")
        if not operations:
            return Place((), [None], [None])
        (op,) = operations
        if not r.params.get("whole"):
            return Place(operations, [op.operands[number]], [op.seen[number]])
        number -= len(op.operands)
        return Place(operations, [op.yields[0][number]], [op.results[number]])


_PARTS = {"scan_read": Alignment._read, "scan_write": Alignment._write, "loop_carry": Alignment._carry,
          "branch_result": Alignment._branch, SHARD_VIEW: Alignment._shard}
