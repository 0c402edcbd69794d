"""An inlined program before it is costed: equations over values with one identity, what is dead, and what is constant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sympy import Expr

from costmodel import _jax_compat as compat
from costmodel.dims import internal
from costmodel.work import Value


@dataclass(eq=False)
class Raw:
    """An inlined equation: jax's primitive and parameters over our values. ``times`` is how often it runs; ``bounded`` marks
    an equation of a branch that is counted as an upper or lower bound."""

    primitive: str
    params: Mapping[str, Any]
    ins: tuple[Value, ...]
    outs: tuple[Value, ...]
    path: tuple[str, ...]
    phase: str
    times: Expr
    effects: bool = False
    bounded: bool = False


def remove_dead(raw: list[Raw], outputs: Iterable[Value], carried: Iterable[tuple[Value, Value]]) -> tuple[list[Raw], list[Raw]]:
    """(alive, dead): an equation is alive if it has an effect, or if the program's result or an alive equation uses what it makes.

    ``carried`` pairs a loop's carried value with what the loop's body makes of it for the next iteration.
    """
    maker = {id(v): r for r in raw for v in r.outs}
    next_value: dict[int, list[Value]] = {}
    for into, out in carried:
        next_value.setdefault(id(into), []).append(out)
    alive: set[int] = set()
    seen: set[int] = set()
    pending = [*outputs, *(v for r in raw if r.effects for v in r.ins)]
    alive.update(id(r) for r in raw if r.effects)
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        pending.extend(next_value.get(id(value), ()))
        r = maker.get(id(value))
        if r is not None and id(r) not in alive:
            alive.add(id(r))
            pending.extend(r.ins)
    return [r for r in raw if id(r) in alive], [r for r in raw if id(r) not in alive]


def shape_constants(raw: list[Raw]) -> set[int]:
    """Equations (by id) that only compute with scalars known when the program is compiled: the number of elements in a mean,
    say, which a concrete trace folds into a literal. Counting them would make symbolic and concrete results differ."""
    constant: set[int] = set()
    known: set[int] = set()
    for r in raw:
        scalars = all((v.origin == "literal" and not v.array.shape) or id(v) in known for v in r.ins)
        if scalars and not r.effects and all(not v.array.shape for v in r.outs):
            constant.add(id(r))
            known.update(id(v) for v in r.outs)
    return constant


def dimensions(raw: Iterable[Raw], values: Iterable[Value]) -> set[Expr]:
    """Every dimension of the program, also those that only a parameter has (a padding, a stride)."""
    found: set[Expr] = set()
    for v in values:
        found.update(v.array.shape)
    for r in raw:
        found.update(d for v in r.outs for d in v.array.shape)
        found.update(internal(d) for p in r.params.values() for d in _symbolic(p))
        found.add(r.times)
    return found


def _symbolic(parameter: Any) -> Iterator[Any]:
    if compat.is_symbolic(parameter):
        yield parameter
    elif isinstance(parameter, tuple | list):
        for part in parameter:
            yield from _symbolic(part)
