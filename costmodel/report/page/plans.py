"""What a policy makes of a program: kernels and buffers, and whether those of one type are those of another with other widths."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from sympy import Expr

from costmodel.fusion import Kernel, plan
from costmodel.memory.buffers import memory
from costmodel.memory.lifetimes import Buffer, lifetimes
from costmodel.memory.schedule import schedule
from costmodel.pricing.workload import computed, needless
from costmodel.rules.work import DONATED_BY_TRAINING, Array, CostTable, is_floating


@dataclass(frozen=True, eq=False)
class Plan:
    """``buffers`` are those in the program's order, and, if it has an optimizer, those with parameters and its state donated."""

    table: CostTable
    kernels: tuple[Kernel, ...]
    buffers: tuple[tuple[Buffer, ...], ...]

    @classmethod
    def of(cls, table: CostTable, policy: str) -> Plan:
        """The plan of a program under a policy."""
        donations: list[tuple[str, ...]] = [()]
        if any(v.origin == "optimizer" for v in table.inputs):
            donations.append(DONATED_BY_TRAINING)
        return cls(table, plan(table, policy), tuple(tuple(_buffers(table, policy, donate)) for donate in donations))

    def structure(self, dtype: str = "") -> Hashable:
        """All that a page says of the plan, with floating-point arrays in this type ("": in their own). Two plans of one program
        with one structure are the same."""
        def typed(array: Array) -> str:
            return dtype if dtype and is_floating(array.dtype) else array.dtype

        kernels = tuple((k.kind, k.main.primitive, k.main.index, needless(k), *_equations(k),
                         *((typed(array), elements) for array, elements in crosses(k))) for k in self.kernels)
        buffers = tuple(tuple((typed(b.array), b.array.size, b.kind, b.first, b.last) for b in held) for held in self.buffers)
        return kernels, buffers


def crosses(k: Kernel) -> Iterator[tuple[Array, Expr]]:
    """The arrays that a kernel reads and writes, and how many elements of each."""
    return ((v.array, elements) for v, elements in (*k.reads, *k.writes))


def _equations(k: Kernel) -> Iterator[Hashable]:
    """What a kernel computes, with how many operations of a kind whatever their types."""
    for e in computed(k):
        yield (e.index, e.primitive, e.times, *((kind.name, kind.engine, dense, valid) for kind, dense, valid in e.work.ops))


def _buffers(table: CostTable, policy: str, donate: tuple[str, ...]) -> Iterable[Buffer]:
    held = memory(table, policy, donate)
    return lifetimes(held, schedule(held, "program"))
