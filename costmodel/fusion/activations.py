"""Functions of one array that an eager framework computes in one kernel: activations, clamps, means, random numbers and dropout."""

from __future__ import annotations

from costmodel.fusion.normalisations import sums
from costmodel.fusion.predicates import arithmetic, computes
from costmodel.fusion.reading import Composite, Reading, same_array
from costmodel.fusion.strides import part
from costmodel.rules.traits import Trait
from costmodel.rules.work import Equation, Value

_MUL, _SELECT = frozenset({"mul"}), frozenset({"select"})
_GATES = tuple(frozenset({name}) for name in ("erf", "erfc", "logistic"))
_CLAMP, _SCALE = frozenset({"max", "min"}), frozenset({"mul", "div"})
GENERATORS = frozenset({"threefry", "philox"})
_PIECES = 16  # equations of the longest activation


def gated(reading: Reading, gate: Equation) -> Composite | None:
    """GELU by the error function, SiLU, hard swish: a function of an array times that array; and halves of one array, a gated
    linear unit."""
    if not arithmetic(gate) or not (any(computes(gate, names) for names in _GATES) or _clamps(reading, gate)):
        return None
    arguments = reading.chain(gate.outs[0])[1:]
    e: Equation | None = gate
    passed: dict[Equation, None] = {}
    while e is not None and len(passed) < 6:
        passed[e] = None
        variables = reading.variables(e)
        if len(variables) > 1:
            break
        e = reading.next(e)
    else:
        return None
    if e is None or not computes(e, _MUL):
        return None
    before = list(passed)[-2].outs[0] if len(passed) > 1 else None
    if before is None:
        return None
    other = next(v for v in variables if v is not reading.graph.name(before))
    shared = next((v for v in arguments if v in reading.chain(other)), None)
    if shared is not None:
        inside = [*reading.between(gate.outs[0], shared), *reading.between(other, shared), *passed]
    elif _halves(reading, arguments[:1], other):
        inside = list(passed)
    else:
        return None
    members = dict.fromkeys(inside)
    following = reading.next(e)
    if following is not None and same_array(following):
        members[following] = None
        e = following
    return Composite(members, e)


def _halves(reading: Reading, arguments: list[Value], other: Value) -> bool:
    """Whether two values are parts of one array."""
    makers = [reading.graph.maker(v) for v in (*arguments, other)]
    return len(makers) == 2 and all(m is not None and part(m) for m in makers) and len(
        {reading.source(m.ins[0]) for m in makers if m is not None}) == 1


def _clamps(reading: Reading, e: Equation) -> bool:
    """The second of a maximum and a minimum with literals."""
    before = reading.maker(reading.variables(e)[0]) if reading.unary(e) is not None and _bounds(e) else None
    return before is not None and _bounds(before) and reading.unary(before) is not None and reading.next(before) is e and (
        before.work.ops[0][0].name != e.work.ops[0][0].name)


def _bounds(e: Equation) -> bool:
    return arithmetic(e) and computes(e, _CLAMP)


def clamp(reading: Reading, e: Equation) -> Composite | None:
    """A minimum after a maximum (or the other way round) as one operation, if the equation ends one."""
    if not _clamps(reading, e):
        return None
    before = reading.maker(reading.variables(e)[0])
    return None if before is None else Composite({before: None, e: None}, e)


def piecewise(reading: Reading, chosen: Equation) -> Composite | None:
    """A function of one array that a comparison chooses a piece of: leaky ReLU, ELU, softplus."""
    if not (arithmetic(chosen) and computes(chosen, _SELECT)):
        return None
    members: dict[Equation, None] = {chosen: None}
    while len(members) <= _PIECES:
        outside = {v: None for e in members for v in reading.variables(e) if reading.graph.maker(v) not in members}
        if len(outside) == 1:
            made = reading.maker(chosen.ins[0])
            if made not in members:  # a mask that is given
                return None
            return _places(reading, members, chosen)
        makers = [m for v in outside if (m := reading.graph.maker(v)) is not None and arithmetic(m) and reading.forward(m)]
        if not makers:
            return None
        last = max(makers, key=reading.graph.index.__getitem__)
        if reading.graph.is_result(last) or not all(u in members for u in reading.users(last) if reading.forward(u)):
            return None
        members[last] = None
    return None


def _places(reading: Reading, members: dict[Equation, None], chosen: Equation) -> Composite:
    """A piecewise function; one that makes places count from the front belongs to what reads or writes there."""
    following = reading.next(chosen)
    if following is not None and following.has(Trait.INDEXED, Trait.SCATTER) and reading.maker(following.ins[0]) is not chosen:
        return Composite({**members, following: None}, following)
    return Composite(members, chosen, from_result=True)


def mean(reading: Reading, total: Equation) -> Composite | None:
    """A sum, of a whole line or of windows, that is scaled at once: a mean, average pooling."""
    if not (sums(total) or Trait.WINDOW in total.traits):
        return None
    following = reading.next(total)
    if following is None or reading.unary(following) is None or not computes(following, _SCALE):
        return None
    return Composite({total: None, following: None}, following)


# -- random numbers ----------------------------------------------------------------------------------------------------------


def derives_keys(e: Equation) -> bool:
    """Makes random keys: a framework counts calls instead, on the host."""
    return bool(e.outs) and all(out.array.dtype.startswith("key<") for out in e.outs)


def random(reading: Reading, bits: Equation) -> Composite | None:
    """Random numbers with all that is computed of them alone; dropout, where they say which elements of an array are kept."""
    if not computes(bits, GENERATORS) or derives_keys(bits):
        return None
    members, result = {bits: None}, bits
    pending = [bits]
    while pending:
        for user in reading.users(pending.pop()):
            if user in members or not user.runs_with(bits) or not _of_noise(reading, user, members):
                continue
            members[user] = None
            pending.append(user)
            result = user
    for user in reading.users(result):
        if reading.forward(user) and computes(user, _SELECT) and reading.maker(user.ins[0]) is result and (
                result.outs[0].array.size == user.outs[0].array.size and user.runs_with(bits)):
            return _dropout(reading, members, result, user)
    return Composite(members, result)


def _of_noise(reading: Reading, e: Equation, noise: dict[Equation, None]) -> bool:
    if not (arithmetic(e) or Trait.MOVE in e.traits or computes(e, GENERATORS)):
        return False
    return all(reading.constant(v) or reading.maker(v) in noise for v in e.ins)


def _dropout(reading: Reading, members: dict[Equation, None], mask: Equation, kept: Equation) -> Composite:
    members[kept] = None
    array = next((v for v in reading.variables(kept) if v is not reading.graph.name(mask.outs[0])), None)
    before = reading.maker(array) if array is not None else None
    following = reading.next(kept)
    scale = None
    if before is not None and reading.unary(before) is not None and computes(before, _SCALE) and reading.next(before) is kept:
        scale = before
        members[before] = None
    elif following is not None and reading.unary(following) is not None and computes(following, _SCALE):
        scale = kept = following
        members[following] = None
    return Composite(members, kept, mask=mask.outs[0], scale=scale)
