"""The composite functions that an eager framework computes in one kernel: normalisation, softmax, activations with a gate, dropout.

Each is found from the operation that only it has in that place: a reciprocal root that scales what was reduced, an exponential of
differences from a maximum, a special function that multiplies its own argument, random bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import arithmetic, computes, reduced_dimensions, reduction
from costmodel.fusion.strides import part
from costmodel.rules.params import Broadcast, Reduction
from costmodel.rules.traits import Trait
from costmodel.rules.work import Equation, Value

_MUL, _ADD, _SUB, _DIV, _MAX = (frozenset({name}) for name in ("mul", "add", "sub", "div", "max"))
_SQRT_OF_ONE, _EXP, _LOG, _SELECT = (frozenset({name}) for name in ("rsqrt", "exp", "log", "select"))
_GATES = tuple(frozenset({name}) for name in ("erf", "erfc", "logistic"))
_OUTPUT_GRADIENT = tuple(frozenset({name}) for name in ("tanh", "logistic"))
_CLAMP = frozenset({"max", "min"})
_GENERATORS = frozenset({"threefry", "philox"})
_PIECES = 16  # equations of the longest activation
_SCALE = frozenset({"mul", "div"})


@dataclass(eq=False)
class Composite:
    """Equations that are one call. ``result`` is the equation that makes what the call returns; ``full`` an array it goes over.

    axes:       what a normalisation or softmax reduces.
    output:     (inner value, result): the framework keeps the result for the backward pass, and not the inner value.
    mask, scale: of a dropout: which elements it keeps, and the operation that scales them.
    """

    members: dict[Equation, None]
    result: Equation
    axes: tuple[int, ...] = ()
    output: tuple[Value, Value] | None = None
    mask: Value | None = None
    scale: Equation | None = None

    @property
    def full(self) -> Value:
        return self.result.outs[0]

    @property
    def inner(self) -> Iterator[Value]:
        """What the call makes and does not return."""
        return (out for e in self.members if e is not self.result for out in e.outs)


class Reading:
    """A program as composites are looked for in it: what makes and uses a value, broadcasts seen through; ``residual`` says of an
    equation that only the backward pass needs its result; ``taken`` are equations that belong to a composite."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.residual: set[Equation] = set()
        self.taken: dict[Equation, Composite] = {}
        for e in reversed(graph.equations):
            if e.phase in FORWARD and (arithmetic(e) or Trait.MOVE in e.traits) and not graph.is_result(e):
                users = graph.users(e)
                if users and all(e.runs_with(u) and (u.phase == "backward" or u in self.residual) for u, _ in users):
                    self.residual.add(e)

    def forward(self, e: Equation) -> bool:
        return e.phase in FORWARD and e not in self.residual

    def source(self, value: Value) -> Value:
        """What a value repeats."""
        while (e := self.graph.maker(value)) is not None and Trait.BROADCAST in e.traits:
            value = e.ins[0]
        return self.graph.name(value)

    def maker(self, value: Value) -> Equation | None:
        return self.graph.maker(self.source(value))

    def users(self, e: Equation) -> Iterator[Equation]:
        """The equations that use an equation's results, through broadcasts."""
        pending, seen = [e], {e}
        while pending:
            for user, _ in self.graph.users(pending.pop()):
                if user not in seen:
                    seen.add(user)
                    if Trait.BROADCAST in user.traits:
                        pending.append(user)
                    else:
                        yield user

    def next(self, e: Equation) -> Equation | None:
        """The only use in the forward pass."""
        found = [user for user in self.users(e) if self.forward(user)]
        return found[0] if len(found) == 1 and not self.graph.is_result(e) and found[0].runs_with(e) else None

    def variables(self, e: Equation) -> list[Value]:
        """The operands that are no literals and no repeated ones, each once."""
        found = dict.fromkeys(self.source(v) for v in e.ins if not self.constant(v))
        return list(found)

    def constant(self, value: Value) -> bool:
        source = self.source(value)
        made = self.graph.maker(source)
        return (made is None and source.origin == "literal") or (made is not None and Trait.CONSTANT in made.traits)

    def along(self, value: Value, rank: int) -> set[int]:
        """The axes of a result of that rank along which an operand differs; none if it cannot be told."""
        made = self.graph.maker(value)
        if made is not None and isinstance(made.params, Broadcast):
            return {axis for axis, d in zip(made.params.axes, made.ins[0].array.shape, strict=True) if d != 1}
        shape = value.array.shape
        return {axis for axis, d in enumerate(shape) if d != 1} if len(shape) == rank else set()

    def unary(self, e: Equation | None) -> Value | None:
        """The one operand of arithmetic on one array."""
        if e is None or not arithmetic(e):
            return None
        operands = self.variables(e)
        return operands[0] if len(operands) == 1 else None

    def chain(self, value: Value, limit: int = 8) -> list[Value]:
        """A value, and what it is made of by arithmetic on one array, nearest first."""
        found = [self.source(value)]
        while len(found) < limit and (operand := self.unary(self.graph.maker(found[-1]))) is not None:
            found.append(operand)
        return found

    def between(self, value: Value, ancestor: Value) -> list[Equation]:
        """The equations on the chain from an ancestor to a value."""
        found, current = [], self.source(value)
        while current is not ancestor:
            e = self.graph.maker(current)
            operand = self.unary(e)
            if e is None or operand is None:
                break
            found.append(e)
            current = operand
        return found


FORWARD = ("", "recompute")


def composites(reading: Reading) -> list[Composite]:
    """The composites of a program, in its order; an equation belongs to one of them at most."""
    found: list[Composite] = []
    equations = reading.graph.equations
    for order, kinds in ((equations, (_normalisation, _softmax, _random, _gated)), (equations[::-1], (_piecewise, _clamp, _mean))):
        for e, find in ((e, find) for e in order for find in kinds):
            if e in reading.taken or not reading.forward(e):
                continue
            composite = find(reading, e)
            if composite is not None and all(m not in reading.taken and m.runs_with(e) for m in composite.members):
                reading.taken.update(dict.fromkeys(composite.members, composite))
                found.append(composite)
    return sorted(found, key=lambda c: reading.graph.index[c.result])


def lone_functions(reading: Reading) -> Iterator[Composite]:
    """Special functions whose derivative a framework computes from their result, in one kernel."""
    for e in reading.graph.equations:
        if e not in reading.taken and reading.forward(e) and any(computes(e, names) for names in _OUTPUT_GRADIENT):
            yield Composite({e: None}, e)


# -- normalisation -----------------------------------------------------------------------------------------------------------


def _normalisation(reading: Reading, root: Equation) -> Composite | None:
    """Layer, root-mean-square, group and batch normalisation, with gain, bias and what updates the statistics: a reciprocal root
    of what was reduced (or is stored) scales the array that was reduced."""
    if not (arithmetic(root) and computes(root, _SQRT_OF_ONE)):
        return None
    lines, reductions = _statistics(reading, root)
    members = {root: None, **dict.fromkeys(lines), **dict.fromkeys(reductions)}
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
                return _finished(reading, members, scaled, first is scaled, reductions)
    return None


def _statistics(reading: Reading, root: Equation) -> tuple[list[Equation], list[Equation]]:
    """(arithmetic on one value a line, reductions) that a reciprocal root is made of."""
    lines: dict[Equation, None] = {}
    reductions: dict[Equation, None] = {}
    pending = [root]
    while pending:
        e = pending.pop()
        for v in e.ins:
            made = reading.maker(v)
            if made is None or made in lines or made in reductions:
                continue
            repeated = reading.source(v) is not reading.graph.name(v)  # a group's value, for each of its channels
            if _sums(made):
                reductions[made] = None
            elif arithmetic(made) and (repeated or made.outs[0].array.size == e.outs[0].array.size):
                lines[made] = None
                pending.append(made)
    return list(lines), list(reductions)


def _sums(e: Equation) -> bool:
    return isinstance(e.params, Reduction) and e.params.operation == "add"


def _reduced(reading: Reading, r: Equation) -> list[Value]:
    """What a sum goes over: the array itself, or its square, or the square of its difference from a mean."""
    found = [reading.source(r.ins[0])]
    for _ in range(3):
        made = reading.graph.maker(found[-1])
        if made is None or not arithmetic(made):
            break
        if reading.unary(made) is not None and (computes(made, _MUL) or not made.work.ops):
            found.append(reading.variables(made)[0])
        elif computes(made, _SUB) and len(found) > 1:
            found.append(reading.source(made.ins[0]))
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
        if reading.source(v) in sources:
            return [made] if made in members else []
        if made is not None and computes(made, _SUB) and (reading.source(made.ins[0]) in sources or not sources):
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
    if following is not None and _casts(following):
        members[following] = None
        result = following
    _absorb(reading, members)
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


def _casts(e: Equation) -> bool:
    return arithmetic(e) and Trait.COPY in e.traits


def _absorb(reading: Reading, members: dict[Equation, None]) -> None:
    """A change of type that only the composite reads is the composite's way of computing."""
    for e in list(members):
        for v in e.ins:
            made = reading.maker(v)
            if made is not None and made not in members and _casts(made) and made.runs_with(e) and all(
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


def _softmax(reading: Reading, exp: Equation) -> Composite | None:
    """Softmax, its logarithm, and the logarithm of its denominator."""
    if not (arithmetic(exp) and computes(exp, _EXP)):
        return None
    shifted = reading.maker(exp.ins[0])
    if shifted is None or not computes(shifted, _SUB):
        return None
    array = reading.source(shifted.ins[0])
    above = _maximum(reading, shifted.ins[1], array)
    sums = [u for u in reading.users(exp) if _sums(u) and reading.forward(u)]
    if above is None or len(sums) != 1 or reduced_dimensions(sums[0]) != reduced_dimensions(above[-1]):
        return None
    members = dict.fromkeys((*above, shifted, exp, sums[0]))
    result = output = None
    for line in _lines(reading, sums[0], exp):
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
    if following is not None and _casts(following):
        members[following] = None
        output = output and (output[0], following.outs[0])
        result = following
    _absorb(reading, members)
    return Composite(members, result, reduced_dimensions(sums[0]), output)


def _maximum(reading: Reading, value: Value, array: Value) -> list[Equation] | None:
    """The equations from an array to its maximum over lines, the reduction last."""
    found: list[Equation] = []
    for v in reading.chain(value):
        made = reading.maker(v)
        if made is None:
            return None
        found.append(made)
        if isinstance(made.params, Reduction) and made.params.operation == "max":
            return found if reading.source(made.ins[0]) is array else None
    return None


def _lines(reading: Reading, total: Equation, exp: Equation) -> list[Equation]:
    """A sum over lines, its logarithm, and that with the maximum added again."""
    found = [total]
    while True:
        following = [u for u in reading.users(found[-1]) if reading.forward(u) and u.outs[0].array.size != exp.outs[0].array.size
                     and (computes(u, _LOG) or (computes(u, _ADD) and computes(found[-1], _LOG)))]
        if len(following) != 1 or following[0] in found:
            return found
        found += following


# -- activations -------------------------------------------------------------------------------------------------------------


def _gated(reading: Reading, gate: Equation) -> Composite | None:
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


def same_array(e: Equation) -> bool:
    """A move that changes neither shape nor type nor order that anyone could see."""
    return (Trait.COPY in e.traits and not e.has(Trait.TRANSPOSE, Trait.BROADCAST, Trait.CONCATENATE)
            and len(e.ins) == 1 and e.ins[0].array == e.outs[0].array)


def _clamps(reading: Reading, e: Equation) -> bool:
    """The second of a maximum and a minimum with literals."""
    before = reading.maker(reading.variables(e)[0]) if reading.unary(e) is not None and _bounds(e) else None
    return before is not None and _bounds(before) and reading.unary(before) is not None and reading.next(before) is e and (
        before.work.ops[0][0].name != e.work.ops[0][0].name)


def _bounds(e: Equation) -> bool:
    return arithmetic(e) and computes(e, _CLAMP)


def _clamp(reading: Reading, e: Equation) -> Composite | None:
    if not _clamps(reading, e):
        return None
    before = reading.maker(reading.variables(e)[0])
    return None if before is None else Composite({before: None, e: None}, e)


def _piecewise(reading: Reading, chosen: Equation) -> Composite | None:
    """A function of one array that a comparison chooses a piece of: leaky ReLU, ELU, softplus."""
    if not (arithmetic(chosen) and computes(chosen, _SELECT)):
        return None
    members: dict[Equation, None] = {chosen: None}
    while len(members) <= _PIECES:
        outside = {v: None for e in members for v in reading.variables(e) if reading.graph.maker(v) not in members}
        if len(outside) == 1 and any(out.array.dtype == "bool" for e in members for out in e.outs):
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
    return Composite(members, chosen)


def _mean(reading: Reading, total: Equation) -> Composite | None:
    """A sum, of a whole line or of windows, that is scaled at once: a mean, average pooling."""
    if not (_sums(total) or Trait.WINDOW in total.traits):
        return None
    following = reading.next(total)
    if following is None or reading.unary(following) is None or not computes(following, _SCALE):
        return None
    return Composite({total: None, following: None}, following)


# -- random numbers ----------------------------------------------------------------------------------------------------------


def derives_keys(e: Equation) -> bool:
    """Makes random keys: a framework counts calls instead, on the host."""
    return bool(e.outs) and all(out.array.dtype.startswith("key<") for out in e.outs)


def _random(reading: Reading, bits: Equation) -> Composite | None:
    """Random numbers with all that is computed of them alone; dropout, where they say which elements of an array are kept."""
    if not computes(bits, _GENERATORS) or derives_keys(bits):
        return None
    members, result = {bits: None}, bits
    pending = [bits]
    while pending:
        for user in reading.users(pending.pop()):
            if user in members or not user.runs_with(bits) or not _of_noise(reading, user, members):
                continue
            members[user] = None
            members.update(dict.fromkeys(m for v in user.ins if (m := reading.maker(v)) is not None and _of_constants(reading, m)))
            pending.append(user)
            result = user
    for user in reading.users(result):
        if reading.forward(user) and computes(user, _SELECT) and reading.maker(user.ins[0]) is result and (
                result.outs[0].array.size == user.outs[0].array.size and user.runs_with(bits)):
            return _dropout(reading, members, result, user)
    return Composite(members, result)


def _of_noise(reading: Reading, e: Equation, noise: dict[Equation, None]) -> bool:
    if not (arithmetic(e) or Trait.MOVE in e.traits or computes(e, _GENERATORS)):
        return False
    return all(reading.constant(v) or (made := reading.maker(v)) in noise or (made is not None and _of_constants(reading, made))
               for v in e.ins)


def _of_constants(reading: Reading, e: Equation) -> bool:
    return arithmetic(e) and all(reading.constant(v) for v in e.ins)


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
