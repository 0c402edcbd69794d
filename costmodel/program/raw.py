"""An inlined program before it is costed: equations over values with one identity, what is dead, and what is constant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from sympy import Expr

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError
from costmodel.rules.work import Value
from costmodel.symbolic.dimensions import Domain, Relation, internal
from costmodel.symbolic.forms import lower_bound


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
    counter: bool = False  # counts the iterations of a loop that runs a known number of times
    loops: tuple[int, ...] = ()  # the loops it is in, outermost first


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


# What no compiler knows although all operands are constants: it differs between iterations, devices or runs.
_VARIES = frozenset({"loop_carry", "scan_read", "scan_write", "axis_index", "platform_index", "rng_uniform"})


def shape_constants(raw: list[Raw], results: Iterable[Value]) -> tuple[set[int], set[int]]:
    """(equations, values) by id that are known when the program is compiled: scalars that follow from shapes, such as the number
    of elements in a mean; indices that do, which a symbolic slice has and a concrete one has not; and the counters of loops.
    Counting them would make symbolic and concrete results differ.

    ``results`` are values that something outside these equations uses.
    """
    scalars: set[int] = set()
    derived: set[int] = set()
    constant: set[int] = set()
    for r in raw:
        if r.counter:
            constant.add(id(r))
        elif not r.effects and r.primitive not in _VARIES:
            if all(is_immediate(v) or id(v) in scalars for v in r.ins) and all(not v.array.shape for v in r.outs):
                constant.add(id(r))
                scalars.update(id(v) for v in r.outs)
            if all(is_immediate(v) or id(v) in derived for v in r.ins):
                derived.update(id(v) for v in r.outs)
    needed = {id(v) for v in results}  # as more than an index
    for r in reversed(raw):
        if id(r) not in constant:
            if not r.effects and all(id(v) in derived and id(v) not in needed for v in r.outs):
                constant.add(id(r))
            else:
                needed.update(id(v) for v in r.ins if not any(v is i for i in _indices(r)))
    return constant, {id(v) for r in raw if id(r) in constant and not r.counter for v in r.outs}


def pads(raw: Iterable[Raw], zeros: Set[int]) -> list[Raw]:
    """The program with what is placed once into zeros written as a pad: a symbolic slice is a gather, so its gradient adds into
    zeros at known places; a concrete one's is a pad. ``zeros`` are literals that are 0, by id."""
    derived: set[int] = set()
    blank = set(zeros)
    made = []
    for r in raw:
        if not r.effects and r.primitive not in _VARIES and all(is_immediate(v) or id(v) in derived for v in r.ins):
            derived.update(id(v) for v in r.outs)
        if r.primitive == "broadcast_in_dim" and id(r.ins[0]) in blank:
            blank.add(id(r.outs[0]))
        placed = {"scatter-add": 2, "dynamic_update_slice": 1}.get(r.primitive)
        if (placed is not None and id(r.ins[0]) in blank and r.params.get("unique_indices", True)
                and all(is_immediate(v) or id(v) in derived for v in _indices(r))):
            r = replace(r, primitive="pad", ins=(r.ins[placed],))
        made.append(r)
    return made


def is_immediate(value: Value) -> bool:
    """A scalar literal is part of the program text: it is not read from memory."""
    return value.origin == "literal" and not value.array.shape


def _indices(r: Raw) -> tuple[Value, ...]:
    """The operands that say where to read or write."""
    if r.primitive.startswith("scatter"):
        return r.ins[1:2]
    first = {"gather": 1, "dynamic_slice": 1, "dynamic_update_slice": 2}.get(r.primitive)
    return () if first is None else r.ins[first:]


def reshapes_hold(raw: Iterable[Raw], domain: Domain) -> tuple[Relation, ...]:
    """What the sizes of reshapes demand of the symbols: jax does not check that they agree where a dimension is symbolic.

    Raises CostModelError for a reshape whose sizes agree nowhere in the domain.
    """
    found: dict[Expr, Relation] = {}
    for r in raw:
        if r.primitive != "reshape":
            continue
        before, after = (v.array.size for v in (r.ins[0], r.outs[0]))
        difference = (before - after).expand()
        if difference == 0 or difference in found:
            continue
        sizes = [str(domain.in_user_symbols(size)) for size in (before, after)]
        if max(lower_bound(difference, domain.assumptions), lower_bound(-difference, domain.assumptions)) > 0:
            raise CostModelError(f"reshape at {'/'.join(r.path) or 'the top level'} of {r.ins[0].array} to {r.outs[0].array} turns "
                                 f"{sizes[0]} elements into {sizes[1]}, which jax does not check")
        text = " = ".join(sizes)
        found[difference] = Relation(text, difference)
        found[-difference] = Relation(text, -difference)
    return tuple(found.values())


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
