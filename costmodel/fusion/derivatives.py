"""The backward passes of composites: an eager framework computes each in one kernel, and that of a layer normalisation's gain and
bias in another.

What a composite makes and does not return does not exist for the framework. So whatever reads it in the backward pass belongs to
the composite's derivative, with what is between, and the sums of several such contributions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from costmodel.fusion.composites import Composite, Reading, same_array
from costmodel.fusion.predicates import arithmetic, computes, reduced_dimensions, reduction
from costmodel.rules.work import CostTable, Equation, Value

_SUM, _SELECT = frozenset({"add_any"}), frozenset({"select"})


@dataclass(eq=False)
class Derivative:
    """Equations of the backward pass that are one call: the derivative of a composite for its array, or (``of_gain``) for its gain
    and bias."""

    composite: Composite
    members: dict[Equation, None]
    of_gain: bool = False


def derivatives(reading: Reading, found: Iterable[Composite]) -> list[Derivative]:
    """The derivatives of composites; an equation belongs to one of them at most."""
    home: dict[Equation, Derivative] = {}
    made = [Derivative(c, {}) for c in found]
    for d in made:
        for e in _dropped(reading, d.composite) if d.composite.mask is not None else _readers(reading, d.composite):
            if e not in reading.taken and e not in home:
                home[e] = d
                d.members[e] = None
    gains: list[Derivative] = []
    for d in reversed(made):
        if d.members and d.composite.mask is None:
            _grow(reading, d, home)
            gains += _of_gain(reading, d, home)
    return [d for d in (*made, *gains) if d.members]


def _dropped(reading: Reading, c: Composite) -> list[Equation]:
    """The selection by a dropout's mask, and its scale."""
    found: list[Equation] = []
    for mask in (user for m in c.members for out in m.outs if out is c.mask for user, _ in reading.graph.uses(out)):
        if mask.phase == "backward" and computes(mask, _SELECT):
            found.append(mask)
            users = list(reading.users(mask))
            if len(users) == 1 and reading.unary(users[0]) is not None and c.scale is not None and users[0].runs_with(mask) and (
                    {kind.name for kind, _, _ in users[0].work.ops} == {kind.name for kind, _, _ in c.scale.work.ops}):
                found.append(users[0])
    return found


def _readers(reading: Reading, c: Composite) -> list[Equation]:
    """The equations of the backward pass that read what a composite does not return, or what was kept of that for them."""
    found: dict[Equation, None] = {}
    lone = len(c.members) == 1
    pending = [e for e in c.members if lone or e is not c.result]
    while pending:
        e = pending.pop()
        for user in reading.users(e):
            if user in c.members or user in found or not user.runs_with(c.result):
                continue
            kept = user in reading.residual
            if kept and (not lone or e in found or _complements(reading, user)):
                found[user] = None
                pending.append(user)
            elif user.phase == "backward" and not (lone and e is c.result):
                found[user] = None
    return list(found)


def _complements(reading: Reading, e: Equation) -> bool:
    """1 - y: a factor of the derivatives of the hyperbolic tangent and the logistic function."""
    return reading.unary(e) is not None and any(kind.name == "sub" for kind, _, _ in e.work.ops)


def _grow(reading: Reading, d: Derivative, home: dict[Equation, Derivative]) -> None:
    """Add what follows from a derivative's equations alone, until nothing does."""
    while True:
        new = [e for e in (*_of_lines(reading, d), *_sums(reading, d), *_only_for(reading, d), *_of_result(reading, d))
               if e not in home and e not in reading.taken]
        if not new:
            return
        for e in new:
            home[e] = d
            d.members[e] = None


def _mirrors(reading: Reading, d: Derivative, e: Equation) -> bool:
    return e.phase == "backward" and e.runs_with(d.composite.result) and e not in d.members


def _sums_lines(d: Derivative, e: Equation) -> bool:
    return reduction(e) and reduced_dimensions(e) == d.composite.axes and e.ins[0].array.size == d.composite.full.array.size


def _of_lines(reading: Reading, d: Derivative) -> list[Equation]:
    """Sums over the composite's lines, what is computed of these, and what is as large as the array and reads that."""
    if not d.composite.axes:
        return []
    size, found = d.composite.full.array.size, []
    for e in d.members:
        small = e.outs[0].array.size != size
        for user in reading.users(e):
            if not _mirrors(reading, d, user):
                continue
            if small and user.outs[0].array.size == size and arithmetic(user):
                found += [] if _accumulates(user) else [user]
            elif not small and (chain := _to_sum(reading, d, user)):
                found += chain
            elif small and reduction(user) and user.outs[0].array.size == e.outs[0].array.size:
                found.append(user)
            elif small and arithmetic(user) and user.outs[0].array.size == e.outs[0].array.size and _rejoins(reading, d, user):
                found.append(user)
    return found


def _to_sum(reading: Reading, d: Derivative, e: Equation) -> list[Equation]:
    """From a member's user to a sum over lines, if arithmetic on one array leads to one."""
    found: list[Equation] = []
    current: Equation | None = e
    while current is not None and len(found) < 4:
        found.append(current)
        if _sums_lines(d, current):
            return found
        users = list(reading.users(current))
        current = users[0] if reading.unary(current) is not None and len(users) == 1 and _mirrors(reading, d, users[0]) else None
    return []


def _rejoins(reading: Reading, d: Derivative, e: Equation) -> bool:
    """Whether what is computed of lines comes back to something as large as the array."""
    size, pending, seen = d.composite.full.array.size, [e], {e}
    while pending:
        for user in reading.users(pending.pop()):
            if user in seen or not user.runs_with(e) or user.phase != "backward":
                continue
            if user.outs[0].array.size == size:
                return True
            if arithmetic(user) or reduction(user):
                seen.add(user)
                pending.append(user)
    return False


def _only_for(reading: Reading, d: Derivative) -> list[Equation]:
    """What only the derivative uses: arithmetic between its equations, sums over lines, moves of the array as it is."""
    found = []
    arrays = {source for e in d.composite.members for v in e.ins if not reading.constant(v)
              and reading.graph.maker(source := reading.source(v)) not in d.composite.members}
    for e in d.members:
        for v in e.ins:
            made = reading.maker(v)
            if made is None or made in d.members or not all(u in d.members for u in reading.users(made)):
                continue
            if made in reading.residual and arithmetic(made):
                found.append(made)
            if not _mirrors(reading, d, made):
                continue
            inside = any(reading.maker(operand) in d.members for operand in made.ins) or (
                not d.composite.axes and any(reading.source(operand) in arrays for operand in made.ins))
            negated = reading.unary(made) is not None and any(_sums_lines(d, u) for u in reading.users(made))
            if (arithmetic(made) and (inside or negated)) or same_array(made) or (d.composite.axes and _sums_lines(d, made)):
                found.append(made)
    return found


def _of_result(reading: Reading, d: Derivative) -> list[Equation]:
    """Of a function whose derivative is computed from its result: arithmetic on the derivative and the result alone."""
    if len(d.composite.members) > 1:
        return []
    given = {d.composite.result, *d.members}
    return [user for e in d.members for user in reading.users(e) if _mirrors(reading, d, user) and arithmetic(user) and (
        len(reading.variables(user)) > 1 and all(reading.maker(v) in given for v in reading.variables(user)))]


def _contributes(reading: Reading, d: Derivative, leaf: Value) -> list[Equation] | None:
    """The arithmetic on one array that leads from a derivative to a summand, or None if it does not come from there."""
    found: list[Equation] = []
    current: Value | None = reading.source(leaf)
    while current is not None and len(found) < 4:
        made = reading.graph.maker(current)
        if made in d.members:
            return found
        if made is None or not _mirrors(reading, d, made) or len(list(reading.users(made))) != 1:
            return None
        found.append(made)
        current = reading.unary(made)
    return None


def _summands(reading: Reading, e: Equation) -> tuple[list[Equation], list[Value]]:
    """The equations of a sum of cotangents, its last one given, and what it sums up."""
    nodes, leaves, pending = [e], [], list(reversed(e.ins))
    while pending:
        v = pending.pop()
        made = reading.graph.maker(v)
        if made is not None and _accumulates(made) and made.runs_with(e) and len(reading.graph.users(made)) == 1 and (
                not reading.graph.is_result(made)):
            nodes.append(made)
            pending += reversed(made.ins)
        else:
            leaves.append(v)
    return nodes[::-1], leaves


def _accumulates(e: Equation) -> bool:
    return arithmetic(e) and computes(e, _SUM)


def _last_sum(reading: Reading, e: Equation) -> Equation:
    """The end of the sum of cotangents that an equation is part of."""
    while True:
        users = reading.graph.users(e)
        if len(users) != 1 or not _accumulates(users[0][0]) or not users[0][0].runs_with(e) or reading.graph.is_result(e):
            return e
        e = users[0][0]


def _sums(reading: Reading, d: Derivative) -> list[Equation]:
    """Arithmetic on one array through which a derivative contributes to a sum twice or more, and as many additions less one."""
    found: list[Equation] = []
    for last in _ends(reading, d):
        nodes, leaves = _summands(reading, last)
        chains = [c for leaf in leaves if (c := _contributes(reading, d, leaf)) is not None]
        own = [leaf for leaf in leaves if _is_input(reading, d, leaf)]
        free = [n for n in nodes if n not in d.members]
        if chains and len(chains) + len(own) > 1:
            found += [e for c in chains for e in c]
            if len(chains) + len(own) == len(leaves):
                found += free
    return found


def _ends(reading: Reading, d: Derivative) -> list[Equation]:
    found: dict[Equation, None] = {}
    for e in d.members:
        current: Equation | None = e
        for _ in range(4):
            users = [u for u in reading.users(current) if _mirrors(reading, d, u)] if current is not None else []
            if len(users) != 1:
                break
            if _accumulates(users[0]):
                found[_last_sum(reading, users[0])] = None
                break
            current = users[0] if reading.unary(users[0]) is not None else None
    return list(found)


def _is_input(reading: Reading, d: Derivative, leaf: Value) -> bool:
    """Whether a summand is the cotangent itself, that the derivative sums over lines (the derivative of a logarithm of softmax)."""
    if not d.composite.axes or reading.graph.maker(leaf) in d.members:
        return False
    source = reading.source(leaf)
    return any(_sums_lines(d, e) and source in reading.chain(e.ins[0])[:2] for e in d.members)


def _of_gain(reading: Reading, d: Derivative, home: dict[Equation, Derivative]) -> list[Derivative]:
    """The derivative for gain and bias: the other sums of a normalisation's cotangent, with what only they use."""
    if not d.composite.axes:
        return []
    gains = [u for e in d.members for u in reading.users(e)
             if reduction(u) and _mirrors(reading, d, u) and not set(reduced_dimensions(u)) & set(d.composite.axes)
             and u not in home and e.outs[0].array.size == d.composite.full.array.size and _inside(reading, d, e)]
    if not gains:
        return []
    made = Derivative(d.composite, dict.fromkeys(gains), of_gain=True)
    cotangents = {reading.source(v) for e in d.members for v in e.ins}
    for v in cotangents:
        if v.array.size == d.composite.full.array.size and reading.graph.maker(v) not in d.members:
            made.members.update((u, None) for u, _ in reading.graph.uses(v) if reduction(u) and u not in home
                                and _mirrors(reading, d, u) and reduced_dimensions(u) == reduced_dimensions(gains[0]))
    for e in reversed(list(d.members)):
        users = list(reading.users(e))
        if users and all(u in made.members for u in users):
            made.members[e] = None
            del d.members[e]
    home.update(dict.fromkeys(made.members, made))
    return [made]


def _inside(reading: Reading, d: Derivative, e: Equation) -> bool:
    """Whether an equation reads what the composite made, and so is not the derivative's result."""
    return any(reading.maker(v) in d.composite.members for v in e.ins)


# -- sums ---------------------------------------------------------------------------------------------------------------------


def summed(table: CostTable, reading: Reading, found: list[Derivative]) -> CostTable:
    """The program with every sum of cotangents in the order in which an eager framework has it: what one call contributes is
    summed by that call, and then the calls' results. No addition more or less, only the order of the summands changes."""
    home = {e: d for d in found for e in d.members}
    moved: dict[Equation, list[Equation]] = {}  # the last addition -> all of them, in the new order
    gone: set[Equation] = set()
    ends = {_last_sum(reading, e): None for e in reading.graph.equations if _accumulates(e) and e.phase == "backward"}
    for last in ends:
        nodes, leaves = _summands(reading, last)
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
