"""Sums of cotangents: jax adds up what comes back to a value in an order of its own, an eager framework call by call."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costmodel.fusion.predicates import arithmetic, computes
from costmodel.fusion.reading import Composite, Reading
from costmodel.rules.work import CostTable, Equation, Value
from costmodel.trace.words import Phase

_SUM = frozenset({"add_any"})


@dataclass(eq=False)
class Derivative:
    """Equations of the backward pass that are one call: the derivative of a composite for its array, or (``of_gain``) for its gain
    and bias."""

    composite: Composite
    members: dict[Equation, None]
    of_gain: bool = False


def summands(reading: Reading, e: Equation) -> tuple[list[Equation], list[Value]]:
    """The equations of a sum of cotangents, its last one given, and what it sums up."""
    nodes, leaves, pending = [e], [], list(reversed(e.ins))
    while pending:
        v = pending.pop()
        made = reading.graph.maker(v)
        if made is not None and accumulates(made) and made.runs_with(e) and len(reading.graph.users(made)) == 1 and (
                not reading.graph.is_result(made)):
            nodes.append(made)
            pending += reversed(made.ins)
        else:
            leaves.append(v)
    return nodes[::-1], leaves


def accumulates(e: Equation) -> bool:
    """Whether the equation adds two arrays."""
    return arithmetic(e) and computes(e, _SUM)


def last_sum(reading: Reading, e: Equation) -> Equation:
    """The end of the sum of cotangents that an equation is part of."""
    while True:
        users = reading.graph.users(e)
        if len(users) != 1 or not accumulates(users[0][0]) or not users[0][0].runs_with(e) or reading.graph.is_result(e):
            return e
        e = users[0][0]


def summed(table: CostTable, reading: Reading, found: list[Derivative]) -> CostTable:
    """The program with every sum of cotangents in the order in which an eager framework has it: what one call contributes is
    summed by that call, and then the calls' results. No addition more or less, only the order of the summands changes."""
    home = {e: d for d in found for e in d.members}
    moved: dict[Equation, list[Equation]] = {}  # the last addition -> all of them, in the new order
    gone: set[Equation] = set()
    ends = {last_sum(reading, e): None for e in reading.graph.equations if accumulates(e) and e.phase == Phase.BACKWARD}
    for last in ends:
        nodes, leaves = summands(reading, last)
        if any(node in home for node in nodes):  # a derivative makes this sum, or a part of it
            continue
        calls: dict[Derivative, list[Value]] = {}
        for leaf in leaves:
            made = reading.graph.maker(reading.source(leaf))
            if made in home and not home[made].of_gain:
                calls.setdefault(home[made], []).append(leaf)
        if len(calls) == 0 or len(leaves) < 3 or max(map(len, calls.values())) in (1, len(leaves)):
            continue
        moved[last] = _ordered(nodes, leaves, calls)
        gone.update(nodes)
    equations: list[Equation] = []
    for e in table:
        if e in moved:
            equations += moved[e]
        elif e not in gone:
            equations.append(e)
    return replace(table, equations=tuple(equations))


def _ordered(nodes: list[Equation], leaves: list[Value], calls: dict[Derivative, list[Value]]) -> list[Equation]:
    """The additions of a sum with each call's summands first; those that a call makes become its members."""
    made: list[Equation] = []
    spare = list(nodes)

    def add(values: list[Value], d: Derivative | None) -> Value:
        total = values[0]
        for v in values[1:]:
            node = spare.pop(0)
            out = node.outs[0] if not spare else Value(node.outs[0].array)
            made.append(replace(node, ins=(total, v), outs=(out,)))
            if d is not None:
                d.members[made[-1]] = None
            total = out
        return total

    results = {d: add(values, d) for d, values in calls.items() if len(values) > 1}
    together = {v for values in calls.values() if len(values) > 1 for v in values}
    add([*(v for v in leaves if v not in together), *results.values()], None)
    return made
