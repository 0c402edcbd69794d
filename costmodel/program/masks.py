"""What a causal or sliding mask throws away: equations on scores that nobody uses outside a band of a matrix.

jax writes attention densely: it computes every score, replaces those outside the mask by a number so low that their exponential is
zero, and multiplies the zeros. A kernel that knows the mask (flash, splash) skips them. Here each equation that such a kernel would
run on part of its elements gets that part; :meth:`costmodel.Cost.skip_masked` counts by it.

What is kept is found from comparisons of places (iotas, what is added to them, differences, distances, quotients, remainders) and
what joins those. From there two facts go through the program:

* forwards, which values are zero, or lowest, outside a region (``select`` of zeros or of very low numbers, a product with what is
  zero there, the exponential of what is lowest there);
* backwards, of which values nobody needs what is outside a region (all their uses replace it, or multiply it by zero).

A mask that is made of places alone and is no region is noted where it is applied: it is counted whole, which is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from sympy import Expr, Integer

from costmodel.program.kept_pairs import Region
from costmodel.program.moves import axes_of, free_axes
from costmodel.program.of_places import OfPlaces, divided
from costmodel.program.places import Place
from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.work import UNCOUNTED, Array, Part, Value
from costmodel.symbolic.forms import ONE, ZERO

_COMPARISONS = {"ge": (None, 0), "gt": (None, -1), "le": (0, None), "lt": (1, None), "eq": (0, 0), "ne": (0, 0)}
_OF_EQUALITY = frozenset({"eq", "ne"})
_MIRRORED = {"ge": "le", "gt": "lt", "le": "ge", "lt": "gt", "eq": "eq", "ne": "ne"}
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
    true:   the region in which a value is 1 (or true); outside it is zero.
    zero:   the region outside of which a value is zero (or false).
    low:    the region outside of which it is so low that its exponential is zero.
    less:   the region in which it is zero; outside of it, it is -1.
    unused: the region outside of which nobody uses it.
    """

    program: RawProgram
    places: dict[Value, Place] = field(default_factory=dict)
    true: dict[Value, Region] = field(default_factory=dict)
    zero: dict[Value, Region] = field(default_factory=dict)
    low: dict[Value, Region] = field(default_factory=dict)
    less: dict[Value, Region] = field(default_factory=dict)
    unused: dict[Value, Region | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = self.program.literals.items()
        self.zeros = {v for v, number in numbers if number == 0}
        self.ones = {v for v, number in numbers if number == 1}
        self.lowest = {v for v, number in numbers if isinstance(number, float) and number <= _LOWEST}
        self.highest = {v for v, number in numbers if isinstance(number, float) and number >= -_LOWEST}
        self.places.update((v, Place(None, number)) for v, number in self.program.integers.items())
        self.places.update((v, Place(0, ZERO)) for v in self.program.ranges)
        self.made = {out: r for r in self.program.equations for out in r.outs}
        self.of_places = OfPlaces(self.program)
        self.rough: set[Value] = set()  # masks of places that keep less than is known of them

    # -- forwards --------------------------------------------------------------------------------------------------------------

    def forward(self, r: Raw) -> None:
        self.of_places.forward(r, self.lowest | self.highest)
        if len(r.outs) != 1 or r.effects:
            return
        out = r.outs[0]
        if r.jax == "iota":
            dimension = r.params.get("dimension", 0)
            self.places[out] = Place(None if out.array.shape[dimension] == ONE else dimension, ZERO)
        elif r.jax in _MOVES:
            self._moved(r, r.ins[0], out)
        elif r.jax in _COMPARISONS and self._compared(r, out):
            pass
        elif r.jax in ("add", "sub"):
            self._summed(r, out)
        elif r.jax in ("div", "rem"):
            self._divided(r, out)
        elif r.jax == "abs" and r.ins[0] in self.places:
            self.places[out] = replace(self.places[r.ins[0]], distance=True)
        elif r.jax == "select_n" and len(r.ins) == 3:
            self._selected(r, out)
        elif r.jax in ("exp", "exp2"):
            self._note(self.zero, out, [self.low[v] for v in r.ins if v in self.low])
        elif r.jax in ("ne", "gt") and r.ins[1] in self.zeros:
            self._alike((self.zero, self.true), r.ins[0], out)
        elif (r.jax == "not" and out.array.dtype == "bool") or (r.jax == "eq" and r.ins[1] in self.zeros):
            self._tells(out, _outside(self.true.get(r.ins[0])))
        elif r.jax == "dot_general":
            self._multiplied(r, out)
        elif r.jax == "max":
            self._note(self.low, out, [self.low[v] for v in r.ins if v in self.low] if set(r.ins) & self.lowest else [])
        if r.jax in _PRODUCTS:
            self._product(r, out)
        elif r.jax in ("or", "max"):
            self._joined(r, out, Region.either)

    def _alike(self, facts: Iterable[dict[Value, Region]], value: Value, out: Value) -> None:
        for fact in facts:
            if value in fact:
                fact[out] = fact[value]

    def _tells(self, out: Value, inside: Region | None) -> None:
        """Note that a value is 1 in a region and else zero."""
        if inside is not None:
            self.zero[out] = self.true[out] = inside

    def _product(self, r: Raw, out: Value) -> None:
        found = [self.zero[v] for v in (r.ins[:1] if r.jax == "div" else r.ins) if v in self.zero]
        self._note(self.zero, out, found)
        if r.jax in ("mul", "and"):
            self._joined(r, out, Region.both)
        if r.jax == "mul" and set(r.ins) & self.lowest:  # (1 - mask) * -1e9
            self._note(self.low, out, [region for v in r.ins if (region := _outside(self.true.get(v))) is not None])
        if r.jax == "mul" and set(r.ins) & self.highest:  # (mask - 1) * 1e9
            self._note(self.low, out, [self.less[v] for v in r.ins if v in self.less])

    def _joined(self, r: Raw, out: Value, join: Callable[[Region, Region], Region | None]) -> None:
        """Of what is 1 where both operands are, or where one is."""
        if len(r.ins) == 2 and all(v in self.true for v in r.ins):
            self._tells(out, join(self.true[r.ins[0]], self.true[r.ins[1]]))
        elif r.jax == "or" and all(v in self.zero for v in r.ins):
            either = self.zero[r.ins[0]].either(self.zero[r.ins[1]])
            self._note(self.zero, out, [] if either is None else [either])

    def _note(self, facts: dict[Value, Region], out: Value, regions: list[Region]) -> None:
        """Outside of each of these regions: outside of all of them, or else of the first."""
        if regions:
            found = regions[0]
            for region in regions[1:]:
                found = found.both(region) or found
            facts[out] = found

    def _moved(self, r: Raw, value: Value, out: Value) -> None:
        for same in (self.zeros, self.ones, self.lowest, self.highest, self.rough):
            if value in same:
                same.add(out)
        axes = axes_of(r)
        place = self.places.get(value)
        moved = None if place is None else place.moved(axes)
        if moved is not None:
            self.places[out] = moved
        for facts in (self.zero, self.low, self.true, self.less):
            region = facts[value].moved(axes) if value in facts else None
            if region is not None:
                facts[out] = region

    def _compared(self, r: Raw, out: Value) -> bool:
        left, right = (self.places.get(v) for v in r.ins)
        if left is None or right is None:
            return False
        compared = r.jax
        if not right.plain and left.plain:
            compared, left, right = _MIRRORED[r.jax], right, left
        if left.distance and left.modulus == ONE and right.fixed and right.plain:
            # |i - j + s| ≤ m is s - m ≤ j - i ≤ s + m; with < one less; > and ≥ are what that leaves.
            self._distant(out, left, compared, right.shift)
        elif left.modulus != ONE and right.fixed and right.plain and compared in _OF_EQUALITY:
            region = None if left.distance else left.leaves(right.shift)
            self._tells(out, region if compared == "eq" else _outside(region))
        elif (across := left.minus(right)) is not None:
            # i + a ≥ j + b is j - i ≤ a - b; with > one less, with ≤ and < from below.
            low, high = _COMPARISONS[compared]
            region = across.between(*(None if bound is None else Integer(bound) for bound in (low, high)))
            self._tells(out, _outside(region) if compared == "ne" else region)
        return True

    def _distant(self, out: Value, place: Place, compared: str, most: Expr) -> None:
        plain = replace(place, distance=False)
        if compared in _OF_EQUALITY:
            ends = [plain.between(end, end) for end in (-most, most)]
            region = None if None in ends or ends[0] is None or ends[1] is None else ends[0].either(ends[1])
            self._tells(out, region if compared == "eq" else _outside(region))
            return
        most = most - 1 if compared in ("lt", "ge") else most
        region = plain.between(-most, most)
        self._tells(out, region if compared in ("le", "lt") else _outside(region))

    def _divided(self, r: Raw, out: Value) -> None:
        """A quotient or remainder towards zero, of places and fixed numbers."""
        left, right = (self.places.get(v) for v in r.ins)
        if left is None or right is None:
            return
        place = left.over(right) if r.jax == "div" else left.modulo(right, signed=True)
        if place is not None:
            self.places[out] = place

    def _summed(self, r: Raw, out: Value) -> None:
        left, right = (self.places.get(v) for v in r.ins)
        if r.jax == "sub" and r.ins[0] in self.ones:
            self._tells(out, _outside(self.true.get(r.ins[1])))
        if r.ins[0] in self.true and r.ins[1] in self.ones and r.jax == "sub":
            self.less[out] = self.true[r.ins[0]]
        if left is not None and right is not None and right.plain:
            place = left.minus(right if r.jax == "sub" else right.negated())
            if place is not None:
                self.places[out] = place
        low = [self.low[v] for v in (r.ins if r.jax == "add" else r.ins[:1]) if v in self.low]
        self._note(self.low, out, low)

    def _selected(self, r: Raw, out: Value) -> None:
        which, no, yes = r.ins
        if (place := divided(r, self.made, self.places)) is not None:
            self.places[out] = place
        inside, outside = self.zero.get(which), _outside(self.true.get(which))
        if which in self.of_places.compared and which not in self.true:
            self.rough.add(out)
        for fixed, region in ((no, inside), (yes, outside)):
            if region is not None and fixed in self.zeros:
                self.zero[out] = region
            if region is not None and fixed in self.lowest:
                self.low[out] = region
        if no in self.zeros and yes in self.ones:
            self._tells(out, self.true.get(which))
        elif yes in self.zeros and no in self.ones:
            self._tells(out, outside)

    def _multiplied(self, r: Raw, out: Value) -> None:
        for side, value in enumerate(r.ins[:2]):
            band = self.zero.get(value)
            moved = None if band is None else band.moved(free_axes(r, side))
            if moved is not None:
                self.zero[out] = moved

    # -- backwards -------------------------------------------------------------------------------------------------------------

    def backward(self, r: Raw) -> None:
        """Note what ``r`` uses of its operands; its results' uses are known."""
        wanted = self.unused.get(r.outs[0]) if len(r.outs) == 1 else None
        for i, v in enumerate(r.ins):
            self.use(v, self._used(r, i, wanted))

    def use(self, value: Value, band: Region | None) -> None:
        if value not in self.unused:
            self.unused[value] = band
        elif self.unused[value] != band:
            self.unused[value] = None

    def _used(self, r: Raw, i: int, wanted: Region | None) -> Region | None:
        """The part of operand ``i`` that an equation uses, if it is known to be a band."""
        if len(r.outs) != 1 or r.effects:
            return None
        if r.jax in _MOVES:
            return None if wanted is None else wanted.moved({after: before for before, after in axes_of(r).items()})
        if r.jax not in _LOOPS or r.ins[i].array.shape != r.outs[0].array.shape:
            return None
        if r.jax == "select_n" and len(r.ins) == 3 and i > 0:
            inside = self.zero.get(r.ins[0])
            outside = _outside(self.true.get(r.ins[0]))
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
                if band is not None and (r.jax == "dot_general" or band.axes & set(r.params["axes"])):
                    return _part(band, v.array)
        if r.jax == "dot_general" or r.jax in _LOOPS:
            band = self.unused.get(out) or self.zero.get(out) or self.low.get(out)
            return None if band is None else _part(band, out.array)
        return None


    def uncounted(self, r: Raw) -> bool:
        """Whether an equation applies a mask that is made of places alone and is no region, or one that is not counted."""
        mask = self.of_places.applied(r, self.zeros, self.lowest)
        if mask is None or mask in self.rough:
            return mask is not None
        region = self.low.get(mask) or self.true.get(mask)
        return region is None or region.count(mask.array.shape) is None


def _outside(region: Region | None) -> Region | None:
    return None if region is None else region.outside()


def _part(region: Region, array: Array) -> Part | None:
    found = region.count(array.shape)
    return None if found is None else Part(*found)


def with_masked_parts(program: RawProgram) -> RawProgram:
    """The program in which each equation on masked scores knows the part of them that a mask keeps."""
    if not any(r.jax in _COMPARISONS for r in program.equations):
        return program
    known = _Known(program)
    for r in program.equations:
        known.forward(r)
    if not known.zero and not known.of_places.compared:
        return program
    for v in (*program.outputs, *(after for _, after in program.carried)):
        known.use(v, None)
    for r in reversed(program.equations):
        known.backward(r)
    parts = {r: UNCOUNTED for r in program.equations if known.uncounted(r)}
    parts |= {r: part for r in program.equations if r not in parts and (part := known.part(r)) is not None}
    return replace(program, equations=tuple(replace(r, part=parts[r]) if r in parts else r for r in program.equations))
