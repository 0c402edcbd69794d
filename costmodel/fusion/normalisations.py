"""Normalisation and softmax, which an eager framework computes in one kernel each.

They are found from the operation that only they have in that place: a reciprocal root that scales what was reduced, an exponential
of differences from a maximum that is divided by its sum.
"""

from __future__ import annotations

from costmodel.fusion.predicates import arithmetic, computes, reduced_dimensions, reduction
from costmodel.fusion.reading import Composite, Reading, casts
from costmodel.rules.params import Reduction
from costmodel.rules.work import Equation, Value

_MUL, _ADD, _SUB, _ROOT, _EXP, _ABS, _LOG = (frozenset({name}) for name in ("mul", "add", "sub", "rsqrt", "exp", "abs", "log"))
_LINES = 32  # equations from a reduction to the reciprocal root, at most


def normalisation(reading: Reading, root: Equation) -> Composite | None:
    """Layer, root-mean-square, group and batch normalisation, with gain, bias and what updates the statistics: a reciprocal root
    of what was reduced (or is stored) scales the array that was reduced."""
    if not (arithmetic(root) and computes(root, _ROOT)):
        return None
    lines, reductions = _statistics(reading, root)
    members = {root: None, **lines, **reductions}
    sources: dict[Value, None] = {}
    for r in reductions:
        for v in _reduced(reading, r):
            sources[v] = None
            made = reading.maker(v)
            if made is not None and any(v in _reduced(reading, other)[:-1] for other in reductions):
                members[made] = None
    for first in (u for u in reading.users(root) if reading.forward(u) and computes(u, _MUL)):
        for scaled in (first, *(u for u in reading.users(first) if reading.forward(u) and computes(u, _MUL))):
            centred = _scales(reading, scaled, root, first, sources, members)
            if centred is not None:
                members.update(dict.fromkeys((first, scaled, *centred)))
                return _finished(reading, members, scaled, first is scaled, list(reductions))
    return None


def _statistics(reading: Reading, root: Equation) -> tuple[dict[Equation, None], dict[Equation, None]]:
    """(arithmetic on one value a line, reductions) that an equation is made of."""
    lines: dict[Equation, None] = {}
    reductions: dict[Equation, None] = {}
    pending = list(root.ins)
    while pending and len(lines) < _LINES:
        made = reading.maker(pending.pop())
        if made is None or made in lines or made in reductions:
            continue
        if isinstance(made.params, Reduction):
            reductions[made] = None
            pending += _means(reading, made)
        elif arithmetic(made):
            lines[made] = None
            pending += made.ins
    return lines, reductions


def _means(reading: Reading, r: Equation) -> list[Value]:
    """The mean, where a reduction sums up squares of differences from it."""
    makers = (reading.graph.maker(v) for v in _reduced(reading, r)[:-1])
    return [made.ins[1] for made in makers if sums(r) and made is not None and computes(made, _SUB)]


def sums(e: Equation) -> bool:
    """Whether the equation reduces by addition."""
    return isinstance(e.params, Reduction) and e.params.operation == "add"


def _reduced(reading: Reading, r: Equation) -> list[Value]:
    """What a sum goes over: the array itself, or its square, or the square of its difference from a mean."""
    found = [reading.uncast(r.ins[0])]
    for _ in range(3):
        made = reading.graph.maker(found[-1])
        if made is None or not arithmetic(made):
            break
        if reading.unary(made) is not None and computes(made, _MUL):
            found.append(reading.uncast(reading.variables(made)[0]))
        elif computes(made, _SUB) and len(found) > 1:
            found.append(reading.uncast(made.ins[0]))
            break
        else:
            break
    return found


def _scales(reading: Reading, scaled: Equation, root: Equation, first: Equation, sources: dict[Value, None],
            members: dict[Equation, None]) -> list[Equation] | None:
    """The equation that centres the array that ``scaled`` scales, if this is what was reduced; None if it is not."""
    for v in scaled.ins:
        made = reading.maker(v)
        if made is root or made is first or reading.constant(v):
            continue
        if reading.uncast(v) in sources:
            return [made] if made in members else []
        if made is not None and computes(made, _SUB) and (reading.uncast(made.ins[0]) in sources or not sources):
            mean = reading.maker(made.ins[1])
            if (mean is None or mean in members) and made.ins[0].array.size == made.outs[0].array.size:
                return [made]
    return None


def _finished(reading: Reading, members: dict[Equation, None], result: Equation, gain: bool,
              reductions: list[Equation]) -> Composite:
    axes = reduced_dimensions(reductions[0]) if reductions else ()
    for names, wanted in ((_MUL, gain), (_ADD, True)):
        following = reading.next(result) if wanted else None
        if following is not None and computes(following, names) and _spans(reading, following, result, axes):
            members[following] = None
            result = following
    following = reading.next(result)
    if following is not None and casts(following):
        members[following] = None
        result = following
    absorb(reading, members)
    _updates(reading, members, result)
    return Composite(members, result, axes)


def _spans(reading: Reading, e: Equation, result: Equation, axes: tuple[int, ...]) -> bool:
    """Whether the other operand is a gain or a bias: given, and either along what was normalised or along the channels."""
    others = [v for v in e.ins if reading.source(v) is not reading.graph.name(result.outs[0])]
    if len(others) != 1 or reading.constant(others[0]) or e.outs[0].array.size != result.outs[0].array.size:
        return False
    rank = len(e.outs[0].array.shape)
    along = reading.along(others[0], rank)
    return bool(along) and along < set(range(rank)) and (along <= set(axes) or not along & set(axes))


def absorb(reading: Reading, members: dict[Equation, None]) -> None:
    """A change of type that only the composite reads is the composite's way of computing."""
    for e in list(members):
        for v in e.ins:
            made = reading.maker(v)
            if made is not None and made not in members and casts(made) and made.runs_with(e) and all(
                    u in members or not reading.forward(u) for u in reading.users(made)):
                members[made] = None


def _updates(reading: Reading, members: dict[Equation, None], result: Equation) -> None:
    """Running statistics: arithmetic on one value a line that follows the statistics, and what only it uses."""
    pending = [e for e in members if reduction(e) or e.outs[0].array.size != result.outs[0].array.size]
    while pending:
        e = pending.pop()
        for user in reading.users(e):
            if (user not in members and reading.forward(user) and arithmetic(user) and user.runs_with(result)
                    and user.outs[0].array.size == e.outs[0].array.size != result.outs[0].array.size):
                feeding = [m for v in user.ins if (m := reading.maker(v)) is not None and m not in members]
                if all(reading.unary(m) is not None and reading.next(m) is user for m in feeding):
                    members.update(dict.fromkeys((*feeding, user)))
                    pending.append(user)



# -- softmax -----------------------------------------------------------------------------------------------------------------


def softmax(reading: Reading, exp: Equation) -> Composite | None:
    """Softmax, its logarithm, and the logarithm of its denominator."""
    if not (arithmetic(exp) and computes(exp, _EXP)):
        return None
    shifted = reading.maker(exp.ins[0])
    if shifted is None or not computes(shifted, _SUB):
        return None
    array = reading.source(shifted.ins[0])
    above = _maximum(reading, shifted.ins[1], array)
    totals = [u for u in reading.users(exp) if sums(u) and reading.forward(u)]
    if above is None or len(totals) != 1 or reduced_dimensions(totals[0]) != reduced_dimensions(above[-1]):
        return None
    members = dict.fromkeys((*above, shifted, exp, totals[0]))
    result = output = None
    for line in _lines(reading, totals[0], exp):
        members[line] = None
        for user in reading.users(line):
            if reading.forward(user) and user.outs[0].array.size == exp.outs[0].array.size and (
                    {reading.maker(v) for v in user.ins} & {exp, shifted}):
                members[user] = None
                result = user
    if result is None:
        result = list(members)[-1]
    elif exp in {reading.maker(v) for v in result.ins}:
        output = (exp.outs[0], result.outs[0])
    following = reading.next(result)
    if following is not None and casts(following):
        members[following] = None
        output = output and (output[0], following.outs[0])
        result = following
    absorb(reading, members)
    return Composite(members, result, reduced_dimensions(totals[0]), output)


def _maximum(reading: Reading, value: Value, array: Value) -> list[Equation] | None:
    """The equations from an array to its maximum over lines, the reduction last."""
    made = reading.maker(value)
    if made is None:
        return None
    lines, reductions = ({}, {made: None}) if isinstance(made.params, Reduction) else _statistics(reading, made)
    above = [*([] if made in reductions else [made]), *lines, *reductions]
    largest = above[-1].params
    if len(reductions) != 1 or not isinstance(largest, Reduction) or largest.operation != "max":
        return None
    return above if reading.source(above[-1].ins[0]) is array else None


def _lines(reading: Reading, total: Equation, exp: Equation) -> list[Equation]:
    """A sum over lines, its logarithm, and that with the maximum added again."""
    found = [total]
    while True:
        following = [u for u in reading.users(found[-1]) if reading.forward(u) and u.outs[0].array.size != exp.outs[0].array.size
                     and (computes(u, _LOG) or computes(u, _ABS) or (computes(u, _ADD) and computes(found[-1], _LOG)))]
        if len(following) != 1 or following[0] in found:
            return found
        found += following
