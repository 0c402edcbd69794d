"""What a causal or sliding mask throws away: equations on scores that nobody uses outside a band of a matrix.

jax writes attention densely: it computes every score, replaces those outside the mask by a number so low that their exponential is
zero, and multiplies the zeros. A kernel that knows the mask (flash, splash) skips them. Here each equation that such a kernel would
run on part of its elements gets that part; :meth:`costmodel.Cost.skip_masked` counts by it.

A band is found from comparisons of places (iotas, what is added to them, differences and distances of two). From there two facts go
through the program:

* forwards, which values are zero, or lowest, outside a band (``select`` of zeros or of very low numbers, a product with what is
  zero there, the exponential of what is lowest there);
* backwards, of which values nobody needs what is outside a band (all their uses replace it, or multiply it by zero).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sympy import Expr, Integer

from costmodel.program.bands import Band, Place
from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.work import Array, Part, Value
from costmodel.symbolic.forms import ONE, ZERO

_COMPARISONS = {"ge": (None, 0), "gt": (None, -1), "le": (0, None), "lt": (1, None)}
_MIRRORED = {"ge": "le", "gt": "lt", "le": "ge", "lt": "gt"}
_STILL = frozenset({"convert_element_type", "copy", "stop_gradient", "reduce_precision", "optimization_barrier"})
_MOVES = frozenset({"reshape", "squeeze", "expand_dims", "transpose", "broadcast_in_dim", *_STILL})
_PRODUCTS = frozenset({"mul", "and", "div"})
_SUMS = frozenset({"reduce_sum", "reduce_max", "reduce_min", "argmax"})
_LOWEST = -1e4  # what is added to a score, or replaces it, to make its exponential zero
# One element of the result a place, from the operands' elements there.
_LOOPS = frozenset({"add", "sub", "max", "min", "neg", "exp", "exp2", "tanh", "integer_pow", "square", "add_any", "eq", "ne", "gt",
                    "select_n", *_PRODUCTS, *_STILL})


@dataclass
class _Known:
    """Facts about values of one program.

    places: of integers.
    zero:   the band outside of which a value is zero (or false).
    sharp:  the band in which it is 1 (or true); outside it is zero.
    holes:  the band in which it is zero; outside it is 1 (or true).
    low:    the band outside of which it is so low that its exponential is zero.
    unused: the band outside of which nobody uses it.
    """

    program: RawProgram
    places: dict[Value, Place] = field(default_factory=dict)
    zero: dict[Value, Band] = field(default_factory=dict)
    sharp: dict[Value, Band] = field(default_factory=dict)
    holes: dict[Value, Band] = field(default_factory=dict)
    low: dict[Value, Band] = field(default_factory=dict)
    unused: dict[Value, Band | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = self.program.literals.items()
        self.zeros = {v for v, number in numbers if number == 0}
        self.ones = {v for v, number in numbers if number == 1}
        self.lowest = {v for v, number in numbers if isinstance(number, float) and number <= _LOWEST}
        self.places.update((v, Place(None, number)) for v, number in self.program.integers.items())
        self.places.update((v, Place(0, ZERO)) for v in self.program.ranges)

    # -- forwards --------------------------------------------------------------------------------------------------------------

    def forward(self, r: Raw) -> None:
        if len(r.outs) != 1 or r.effects:
            return
        out = r.outs[0]
        if r.jax == "iota":
            self.places[out] = Place(r.params.get("dimension", 0), ZERO)
        elif r.jax in _MOVES:
            self._moved(r, r.ins[0], out)
        elif r.jax in _COMPARISONS and self._compared(r, out):
            pass
        elif r.jax in ("add", "sub"):
            self._summed(r, out)
        elif r.jax == "abs" and r.ins[0] in self.places:
            self.places[out] = replace(self.places[r.ins[0]], distance=True)
        elif r.jax == "select_n" and len(r.ins) == 3:
            self._selected(*r.ins, out)
        elif r.jax in _PRODUCTS:
            found = [self.zero[v] for v in (r.ins[:1] if r.jax == "div" else r.ins) if v in self.zero]
            self._note(self.zero, out, found)
            self._joined(self.sharp, r, out)
            if r.jax == "mul" and set(r.ins) & self.lowest:  # (1 - mask) * -1e9
                self._note(self.low, out, [self.holes[v] for v in r.ins if v in self.holes])
        elif r.jax == "or":
            self._joined(self.holes, r, out)
        elif r.jax in ("exp", "exp2"):
            self._note(self.zero, out, [self.low[v] for v in r.ins if v in self.low])
        elif r.jax in ("ne", "gt") and r.ins[1] in self.zeros:
            self._alike((self.zero, self.sharp, self.holes), r.ins[0], out)
        elif (r.jax == "not" and out.array.dtype == "bool") or (r.jax == "eq" and r.ins[1] in self.zeros):
            self._tells(out, self.holes.get(r.ins[0]), self.sharp.get(r.ins[0]))
        elif r.jax == "dot_general":
            self._multiplied(r, out)
        elif r.jax == "max":
            self._note(self.low, out, [self.low[v] for v in r.ins if v in self.low] if set(r.ins) & self.lowest else [])

    def _alike(self, facts: Iterable[dict[Value, Band]], value: Value, out: Value) -> None:
        for fact in facts:
            if value in fact:
                fact[out] = fact[value]

    def _tells(self, out: Value, inside: Band | None, outside: Band | None) -> None:
        """Note that a value is 1 in a band and else zero, or 1 outside of one and else zero; of a half plane that is the same."""
        inside = outside.outside() if inside is None and outside is not None else inside
        outside = inside.outside() if outside is None and inside is not None else outside
        if inside is not None:
            self.zero[out] = self.sharp[out] = inside
        if outside is not None:
            self.holes[out] = outside

    def _joined(self, fact: dict[Value, Band], r: Raw, out: Value) -> None:
        """Of what is 1 where both operands are, or zero where both are: the band of both, if it is one."""
        if len(r.ins) == 2 and r.jax != "div" and all(v in fact for v in r.ins):
            both = fact[r.ins[0]].exactly_both(fact[r.ins[1]])
            if both is not None:
                self._tells(out, *((both, None) if fact is self.sharp else (None, both)))

    def _note(self, facts: dict[Value, Band], out: Value, bands: list[Band]) -> None:
        if bands:
            found = bands[0]
            for band in bands[1:]:
                found = found.both(band)
            facts[out] = found

    def _moved(self, r: Raw, value: Value, out: Value) -> None:
        for same in (self.zeros, self.ones, self.lowest):
            if value in same:
                same.add(out)
        axes = _axes(r)
        place = self.places.get(value)
        moved = None if place is None else place.moved(axes)
        if moved is not None:
            self.places[out] = moved
        for facts in (self.zero, self.low, self.sharp, self.holes):
            band = facts[value].moved(axes) if value in facts else None
            if band is not None:
                facts[out] = band

    def _compared(self, r: Raw, out: Value) -> bool:
        left, right = (self.places.get(v) for v in r.ins)
        if left is None or right is None:
            return False
        compared, across = r.jax, left.minus(right)
        if right.distance and not left.distance:
            compared, left, right = _MIRRORED[r.jax], right, left
        if left.distance and right == Place(None, right.shift):
            # |i - j + s| ≤ m is s - m ≤ j - i ≤ s + m; with < one less; > and ≥ are what that leaves.
            most = right.shift - 1 if compared in ("lt", "ge") else right.shift
            band = left.between(-most, most)
            self._tells(out, *((band, None) if compared in ("le", "lt") else (None, band)))
        elif across is not None:
            # i + a ≥ j + b is j - i ≤ a - b; with > one less, with ≤ and < from below.
            low, high = _COMPARISONS[compared]
            self._tells(out, across.between(*(None if bound is None else Integer(bound) for bound in (low, high))), None)
        return True

    def _summed(self, r: Raw, out: Value) -> None:
        left, right = (self.places.get(v) for v in r.ins)
        if r.jax == "sub" and r.ins[0] in self.ones:
            self._tells(out, self.holes.get(r.ins[1]), self.sharp.get(r.ins[1]))
        if left is not None and right is not None and not right.distance:
            place = left.minus(right if r.jax == "sub" else Place(right.less, -right.shift, right.axis))
            if place is not None:
                self.places[out] = place
        low = [self.low[v] for v in (r.ins if r.jax == "add" else r.ins[:1]) if v in self.low]
        self._note(self.low, out, low)

    def _selected(self, which: Value, no: Value, yes: Value, out: Value) -> None:
        inside = self.zero.get(which)
        outside = self.holes.get(which)
        for fixed, band in ((no, inside), (yes, outside)):
            if band is not None and fixed in self.zeros:
                self.zero[out] = band
            if band is not None and fixed in self.lowest:
                self.low[out] = band
        exact = (self.sharp.get(which), self.holes.get(which))
        if no in self.zeros and yes in self.ones:
            self._tells(out, *exact)
        elif yes in self.zeros and no in self.ones:
            self._tells(out, *reversed(exact))

    def _multiplied(self, r: Raw, out: Value) -> None:
        for side, value in enumerate(r.ins[:2]):
            band = self.zero.get(value)
            moved = None if band is None else band.moved(_free_axes(r, side))
            if moved is not None:
                self.zero[out] = moved

    # -- backwards -------------------------------------------------------------------------------------------------------------

    def backward(self, r: Raw) -> None:
        """Note what ``r`` uses of its operands; its results' uses are known."""
        wanted = self.unused.get(r.outs[0]) if len(r.outs) == 1 else None
        for i, v in enumerate(r.ins):
            self.use(v, self._used(r, i, wanted))

    def use(self, value: Value, band: Band | None) -> None:
        if value not in self.unused:
            self.unused[value] = band
        elif self.unused[value] != band:
            self.unused[value] = None

    def _used(self, r: Raw, i: int, wanted: Band | None) -> Band | None:
        """The part of operand ``i`` that an equation uses, if it is known to be a band."""
        if len(r.outs) != 1 or r.effects:
            return None
        if r.jax in _MOVES:
            return None if wanted is None else wanted.moved({after: before for before, after in _axes(r).items()})
        if r.jax not in _LOOPS or r.ins[i].array.shape != r.outs[0].array.shape:
            return None
        if r.jax == "select_n" and len(r.ins) == 3 and i > 0:
            inside = self.zero.get(r.ins[0])
            outside = self.holes.get(r.ins[0])
            return wanted or (outside if i == 1 else inside)
        others = [v for j, v in enumerate(r.ins) if j != i]
        by_others = [self.zero[v] for v in others if v in self.zero] if r.jax == "mul" else (
            [self.low[v] for v in others if v in self.low] if r.jax == "add" else [])
        return wanted or next(iter(by_others), None)

    # -- what runs on a part ---------------------------------------------------------------------------------------------------

    def part(self, r: Raw) -> Part | None:
        """Which part of its elements an equation needs to run on."""
        if len(r.outs) != 1 or r.effects:
            return None
        out = r.outs[0]
        if r.jax == "dot_general" or r.jax in _SUMS:
            for v in r.ins:
                band = self.zero.get(v) or self.low.get(v)
                if band is not None and (r.jax == "dot_general" or {band.row, band.column} & set(r.params["axes"])):
                    return _part(band, v.array)
        if r.jax == "dot_general" or r.jax in _LOOPS:
            band = self.unused.get(out) or self.zero.get(out) or self.low.get(out)
            return None if band is None else _part(band, out.array)
        return None


def _part(band: Band, array: Array) -> Part:
    rows, columns = array.shape[band.row], array.shape[band.column]
    return Part(band.count(rows, columns), (rows * columns).expand())


def with_masked_parts(program: RawProgram) -> RawProgram:
    """The program in which each equation on masked scores knows the part of them that a mask keeps."""
    if not any(r.jax in _COMPARISONS for r in program.equations):
        return program
    known = _Known(program)
    for r in program.equations:
        known.forward(r)
    if not known.zero:
        return program
    for v in (*program.outputs, *(after for _, after in program.carried)):
        known.use(v, None)
    for r in reversed(program.equations):
        known.backward(r)
    parts = {r: part for r in program.equations if (part := known.part(r)) is not None}
    return replace(program, equations=tuple(replace(r, part=parts[r]) if r in parts else r for r in program.equations))


def _axes(r: Raw) -> dict[int, int]:
    """Of a move: which axis of the result each axis of the operand is."""
    before, after = r.ins[0].array.shape, r.outs[0].array.shape
    if r.jax == "transpose":
        return {axis: i for i, axis in enumerate(r.params["permutation"])}
    if r.jax == "broadcast_in_dim" and "broadcast_dimensions" in r.params:
        return {i: int(axis) for i, axis in enumerate(r.params["broadcast_dimensions"]) if before[i] == after[int(axis)]}
    if before == after:
        return {i: i for i in range(len(before))}
    return _unchanged(before, after)


def _unchanged(before: tuple[Expr, ...], after: tuple[Expr, ...]) -> dict[int, int]:
    """Axes that a reshape leaves as they are: of the same size, and with as much before them."""
    places: dict[tuple[Expr, Expr], int] = {}
    for i, size, ahead in _with_ahead(after):
        places.setdefault((size, ahead), i)
    return {i: places[size, ahead] for i, size, ahead in _with_ahead(before) if (size, ahead) in places}


def _with_ahead(shape: tuple[Expr, ...]) -> list[tuple[int, Expr, Expr]]:
    found, ahead = [], ONE
    for i, size in enumerate(shape):
        if size != 1:
            found.append((i, size, ahead))
        ahead = (ahead * size).expand()
    return found


def _free_axes(r: Raw, side: int) -> dict[int, int]:
    """Of a product: which axis of the result each axis of an operand is that is not summed over."""
    contracting, batch = ([tuple(map(int, axes)) for axes in pair] for pair in r.params["dimension_numbers"])
    found = {axis: i for i, axis in enumerate(batch[side])}
    ranks = [len(v.array.shape) for v in r.ins[:2]]
    free = [[a for a in range(ranks[s]) if a not in contracting[s] and a not in batch[s]] for s in (0, 1)]
    start = len(batch[0]) + (len(free[0]) if side else 0)
    return found | {axis: start + i for i, axis in enumerate(free[side])}
