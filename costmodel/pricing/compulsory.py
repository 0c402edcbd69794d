"""The least that must move: each element of an input or parameter that is needed once, and each result once."""

from __future__ import annotations

import itertools
import math
from collections import Counter

from sympy import Expr, Rational

from costmodel.fusion.conversions import put_back
from costmodel.fusion.graph import aliases, views
from costmodel.fusion.kernel import of_part, read_once
from costmodel.fusion.predicates import loop
from costmodel.rules.branches import Branches
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation, Value, total
from costmodel.symbolic.forms import ONE, ZERO

Needs = dict[Value, tuple[list[Expr], list[Expr]]]  # of each value: elements, and how often


# Of more choices of sides than this no one is looked at by itself.
_CHOICES = 32


def compulsory_bytes(table: CostTable) -> Expr:
    """Bytes of what is needed of each array that the program receives or closes over, and of its results.

    A result that was made by an update in place of something received is written where it was updated; any other as a whole. Of the
    sides of a branch those count with which most is needed (or least): two sides may need the same arrays, so sides of different
    branches are chosen together. With very many branches it is what all sides need (or what is needed without any).
    """
    table = put_back(table)  # of what is only joined and split again a part may be all that is needed
    sides = _differing_sides(table) if table.branches.choose else {}
    if not sides:
        return _bytes(table)
    if math.prod(sides.values()) > _CHOICES:
        return _bytes(table if table.branches is Branches.MAX else table.filter_by(lambda e: not e.branch))
    choices = itertools.product(*map(range, sides.values()))
    return table.branches.extreme({_bytes(table.taking(dict(zip(sides, choice, strict=True)))) for choice in choices})


def _differing_sides(table: CostTable) -> dict[int, int]:
    """The branches (by number) in which something that the program receives is read or updated, with how many sides they have."""
    root = aliases(table)
    reads = (e for e in table if e.branch and any(
        elements is not ZERO and root(v) not in table.made for v, elements in zip(e.ins, e.work.read, strict=True)))
    return {side.cond: side.of for e in reads for side in e.branch}


def _bytes(table: CostTable) -> Expr:
    needs = _needs(table)
    alike = Counter((v.array, tuple(elements), tuple(times)) for v, (elements, times) in needs.items()
                    if v not in table.made and (v.array.shape or v.origin != "literal"))
    reads = (read_once(array, elements, times) * Rational(array.bits * count, 8)
             for (array, elements, times), count in alike.items())
    return total([*reads, *_written(table).values()])


def handed_on(table: CostTable) -> tuple[Value, ...]:
    """Results that are nothing but something received, or a view of it: they are copied."""
    root = views(table)
    return tuple(v for v in dict.fromkeys(table.outputs) if root(v) not in table.made and v.array.shape)


def _needs(table: CostTable) -> Needs:
    root = aliases(table)
    whole = {root(v) for v in (*table.outputs, *(after for _, after in table.carried))}
    needs: Needs = {}
    for v in handed_on(table):
        _add(needs, root(v), v.array.size, ONE)
    for e in reversed(table.equations):
        part = None if any(root(out) in whole for out in e.outs) else _partly(e, needs)
        for v, elements in zip(e.ins, e.work.read, strict=True):
            if elements is not ZERO:
                needed = elements
                if part is not None:
                    needed = part if elements == e.outs[0].array.size else of_part(e, v, elements, part)
                _add(needs, root(v), needed, e.times)
    return needs


def _add(needs: Needs, value: Value, elements: Expr, times: Expr) -> None:
    parts = needs.setdefault(value, ([], []))
    parts[0].append(elements)
    parts[1].append(times)


def _partly(e: Equation, needs: Needs) -> Expr | None:
    """Elements of its result that are needed, where that is a part of it and each asks for one of its operands' elements."""
    if not loop(e) or len(e.outs) != 1 or e.outs[0] not in needs:
        return None
    elements, times = needs[e.outs[0]]
    if any(t != e.times for t in times):
        return None
    return read_once(e.outs[0].array, elements)


def _written(table: CostTable) -> dict[Value, Expr]:
    """Bytes written of each result."""
    root = aliases(table)
    received = {*table.inputs}
    updates: dict[Value, list[Expr]] = {}
    for e in table:
        if Trait.IN_PLACE in e.traits and root(e.outs[0]) in received:
            updates.setdefault(root(e.outs[0]), []).append(e.work.written[0] * e.times)
    view = views(table)
    known = {e.outs[0] for e in table if Trait.CONSTANT in e.traits and e.work.written[0] is ZERO and not e.outs[0].array.shape}
    written: dict[Value, Expr] = {}
    for v in table.outputs:
        source = view(v)
        if (source.origin == "literal" and not source.array.shape) or source in known:  # a number that the program's text has
            continue
        in_place = root(v) in updates and view(v) in table.made
        elements = read_once(v.array, updates[root(v)]) if in_place else v.array.size
        written[v] = elements * Rational(v.array.bits, 8)
    return written
