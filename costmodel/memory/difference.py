"""What differs between the kernels and buffers of a program at a point and those of its concrete trace there.

Two programs may count and move the same, equation by equation, and still make other kernels: a product of a matrix with one row is
one with a vector, and reads what it fuses with once. Or arrays take each other's place that have the same shape there alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from costmodel.fusion import policies
from costmodel.memory.buffers import memory
from costmodel.rules.work import CostTable, Value
from costmodel.symbolic.forms import Expr, evaluate


def fuses_otherwise(program: CostTable, env: Mapping[Any, int], table: CostTable) -> str:
    """The first policy under which a program at a point has other kernels than its concrete trace ``table``, in words; empty if
    there is none. Compared are what kernels read and write, of which values, in order, how often they run, and which values take
    the place of which."""
    memo: dict[Expr, Any] = {}
    for policy in policies():
        if _signature(program, policy, env, memo) != _signature(table, policy, env, memo):
            return f"it has other kernels or buffers under {policy!r}"
    return ""


def _signature(table: CostTable, policy: str, env: Mapping[Any, int], memo: dict[Expr, Any]) -> Any:
    held = memory(table, policy)
    numbers: dict[Value, int] = {v: -i for i, v in enumerate(table.inputs, 1)}

    def number(v: Value) -> int:
        return numbers.setdefault(v, len(numbers))

    def bits(moved: Iterable[tuple[Value, Expr]]) -> list[tuple[int, Any]]:
        found = [(number(v), evaluate(elements * v.array.bits, env, memo)) for v, elements in moved]
        return sorted(pair for pair in found if pair[1])

    kernels = [(evaluate(k.times, env, memo), bits(k.reads), bits(k.writes), len(k.main.loops), len(k.main.branch))
               for k in held.kernels]
    return kernels, [(number(old.value), number(new.value)) for old, new in (*held.updates, *held.branches)]
