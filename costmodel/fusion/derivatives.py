"""The backward passes of composites: an eager framework computes each in one kernel, and that of a layer normalisation's gain and
bias in another.

What a composite makes and does not return does not exist for the framework. So whatever reads it in the backward pass belongs to
the composite's derivative, with what is between, and the sums of several such contributions.
"""

from __future__ import annotations

from collections.abc import Iterable

from costmodel.fusion.cotangents import Derivative, accumulates, last_sum, summands
from costmodel.fusion.predicates import arithmetic, computes, reduced_dimensions, reduction
from costmodel.fusion.reading import Composite, Reading, same_array
from costmodel.rules.work import Equation, Value
from costmodel.trace.words import Phase

_SELECT = frozenset({"select"})


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
        if mask.phase == Phase.BACKWARD and computes(mask, _SELECT):
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
    given = {c.full, *_arrays(reading, c)}
    pending = [e for e in c.members if c.from_result or e is not c.result]
    while pending:
        e = pending.pop()
        for user in reading.users(e):
            if user in c.members or user in found or not user.runs_with(c.result):
                continue
            if user in reading.residual:
                of_result = _complements(reading, user) if lone else all(v in given for v in reading.variables(user))
                if e is not c.result or of_result:
                    found[user] = None
                    pending.append(user)
            elif user.phase == Phase.BACKWARD and e is not c.result:
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
    return e.phase == Phase.BACKWARD and e.runs_with(d.composite.result) and e not in d.members


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
                found += [] if accumulates(user) else [user]
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
            if user in seen or not user.runs_with(e) or user.phase != Phase.BACKWARD:
                continue
            if user.outs[0].array.size == size:
                return True
            if arithmetic(user) or reduction(user):
                seen.add(user)
                pending.append(user)
    return False


def _arrays(reading: Reading, c: Composite) -> set[Value]:
    """What a composite reads."""
    sources = (reading.source(v) for e in c.members for v in e.ins if not reading.constant(v))
    return {source for source in sources if reading.graph.maker(source) not in c.members}


def _only_for(reading: Reading, d: Derivative) -> list[Equation]:
    """What only the derivative uses: arithmetic on its equations and on the composite's, sums over lines, moves of the array as
    it is."""
    found: list[Equation] = []
    arrays = _arrays(reading, d.composite)
    for e in d.members:
        for made in (reading.maker(v) for v in e.ins):
            if made is None or made in d.members or not all(u in d.members for u in reading.users(made)):
                continue
            if made in reading.residual and arithmetic(made):
                found += [made] if _of_composite(reading, d, made, arrays) else []
            elif _mirrors(reading, d, made):
                negated = reading.unary(made) is not None and any(_sums_lines(d, u) for u in reading.users(made))
                between = reduction(made) and reading.maker(made.ins[0]) in d.members
                if negated or between or same_array(made) or (d.composite.axes and _sums_lines(d, made)):
                    found.append(made)
                elif arithmetic(made):
                    found += _leading(reading, d, made, set() if d.composite.axes else arrays)
    return found


def _of_composite(reading: Reading, d: Derivative, e: Equation, arrays: set[Value]) -> bool:
    """Whether an equation computes from what the composite reads and makes alone, its result excepted."""
    def known(v: Value) -> bool:
        made = reading.graph.maker(v)
        return v in arrays or made in d.members or (made in d.composite.members and made is not d.composite.result) or (
            made in reading.residual and arithmetic(made) and _of_composite(reading, d, made, arrays))

    return all(map(known, reading.variables(e)))


def _leading(reading: Reading, d: Derivative, e: Equation, arrays: set[Value]) -> list[Equation]:
    """An equation that computes from the derivative's, or from what the composite reads, with those on the way."""
    if any(reading.source(v) in arrays or reading.maker(v) in d.members for v in e.ins):
        return [e]
    before = reading.maker(operand) if (operand := reading.unary(e)) is not None else None
    if before is None or not arithmetic(before) or not _mirrors(reading, d, before) or len(list(reading.users(before))) != 1:
        return []
    return [*found, e] if (found := _leading(reading, d, before, arrays)) else []


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


def _sums(reading: Reading, d: Derivative) -> list[Equation]:
    """Arithmetic on one array through which a derivative contributes to a sum twice or more, and as many additions less one."""
    found: list[Equation] = []
    for last in _ends(reading, d):
        nodes, leaves = summands(reading, last)
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
            if accumulates(users[0]):
                found[last_sum(reading, users[0])] = None
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
    """The derivative for gain and bias: the other sums of a normalisation's cotangent, with what only they use. In batch
    normalisation they are sums over the same axes, and belong to the derivative itself."""
    if not d.composite.axes:
        return []
    bias = _bias(reading, d, home, d.composite.axes)
    home.update(dict.fromkeys(bias, d))
    d.members.update(dict.fromkeys(bias))
    gains = [u for e in d.members for u in reading.users(e)
             if reduction(u) and _mirrors(reading, d, u) and not set(reduced_dimensions(u)) & set(d.composite.axes)
             and u not in home and e.outs[0].array.size == d.composite.full.array.size and _inside(reading, d, e)]
    if not gains:
        return []
    made = Derivative(d.composite, dict.fromkeys(gains), of_gain=True)
    made.members.update(dict.fromkeys(_bias(reading, d, home, reduced_dimensions(gains[0]))))
    for e in reversed(list(d.members)):
        users = list(reading.users(e))
        if users and all(u in made.members for u in users):
            made.members[e] = None
            del d.members[e]
    home.update(dict.fromkeys(made.members, made))
    return [made]


def _bias(reading: Reading, d: Derivative, home: dict[Equation, Derivative], axes: tuple[int, ...]) -> list[Equation]:
    """The sum of the cotangent that the derivative reads; of several, as two normalisations may have, the nearest."""
    arrays, index = _arrays(reading, d.composite), reading.graph.index
    cotangents = {reading.source(v): None for e in d.members for v in e.ins if v.array.size == d.composite.full.array.size}
    sums = [u for v in cotangents if v not in arrays and reading.graph.maker(v) not in d.members
            for u, _ in reading.graph.uses(v)
            if reduction(u) and u not in home and _mirrors(reading, d, u) and reduced_dimensions(u) == axes]
    first = min(index[e] for e in d.members)
    return sorted(sums, key=lambda u: abs(index[u] - first))[:1]


def _inside(reading: Reading, d: Derivative, e: Equation) -> bool:
    """Whether an equation reads what the composite made, and so is not the derivative's result."""
    return any(reading.maker(v) in d.composite.members for v in e.ins)
