"""Values that are made of places alone, as masks of positions are, and how jnp writes quotients and remainders of places."""

from __future__ import annotations

from collections.abc import Mapping, Set

from costmodel.program.places import Place
from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.work import Value

_COMPARED = frozenset({"ge", "gt", "le", "lt", "eq", "ne"})
_KEEPS_INDICATORS = frozenset({"and", "or", "not", "xor", "mul", "reshape", "squeeze", "expand_dims", "transpose",
                               "broadcast_in_dim", "convert_element_type", "copy", "stop_gradient", "reduce_precision",
                               "optimization_barrier"})


class OfPlaces:
    """Values that depend on nothing but sizes.

    compared:   those that come from comparisons of indices.
    indicators: those of them that are 0 or 1.
    extremes:   those of them that are very low or high somewhere, to be added to scores.
    """

    def __init__(self, program: RawProgram) -> None:
        self._fixed = {*program.literals, *program.integers}
        self._made: set[Value] = set(program.ranges)
        self.compared: set[Value] = set()
        self.indicators: set[Value] = set()
        self.extremes: set[Value] = set()

    def forward(self, r: Raw, extremes: Set[Value]) -> None:
        """Note what an equation makes of what is known; ``extremes`` are very low and high numbers."""
        if r.effects or any(v not in self._made and v not in self._fixed for v in r.ins):
            return
        if r.jax != "iota" and not any(v in self._made for v in r.ins):
            self._fixed.update(r.outs)
            return
        self._made.update(r.outs)
        if r.jax in _COMPARED or any(v in self.compared for v in r.ins):
            self.compared.update(r.outs)
        if any(v in self.extremes for v in r.ins) or (r.jax in ("select_n", "mul") and set(r.ins) & extremes
                                                      and any(v in self.compared for v in r.ins)):
            self.extremes.update(r.outs)
        if r.jax in _COMPARED or (r.jax in _KEEPS_INDICATORS and any(v in self.indicators for v in r.ins)
                                  and all(v in self.indicators for v in r.ins if v in self._made)):
            self.indicators.update(r.outs)

    def applied(self, r: Raw, zeros: Set[Value], lowest: Set[Value]) -> Value | None:
        """The mask that an equation applies to what is no mask: it replaces by zero or by what is very low, adds what is very low,
        or multiplies by 0 and 1."""
        if r.effects or any(out in self._made for out in r.outs) or len(r.outs) != 1:
            return None
        if r.jax == "select_n" and len(r.ins) == 3:
            return r.ins[0] if r.ins[0] in self.compared and set(r.ins[1:]) & (zeros | lowest) else None
        if r.jax == "add":
            return next((v for v in r.ins if v in self.extremes), None)
        if r.jax == "mul":
            return next((v for v in r.ins if v in self.indicators and v.array.shape == r.outs[0].array.shape), None)
        return None


def divided(r: Raw, made: Mapping[Value, Raw], places: Mapping[Value, Place]) -> Place | None:
    """The place that ``select_n`` makes where jnp rounds a quotient down (it takes one from a quotient towards zero where signs
    differ and something is left) or gives a remainder the sign of the divisor (it adds that where signs differ); of a divisor
    above zero, which jnp replaces by 1 where it is zero."""
    which, no, yes = r.ins
    if not which.array.shape and no in places and places[no].fixed and places[no].shift.is_positive and _asks(which, no, made):
        return places[no]  # no zero
    below, changed = made.get(no), made.get(yes)
    if below is None or changed is None or no not in changed.ins or below.jax not in ("div", "rem"):
        return None
    x, y = below.ins
    left, right = places.get(x), places.get(y)
    if left is None or right is None or not _signs_differ(which, below, made):
        return None
    if below.jax == "div" and changed.jax == "sub":
        one = places.get(changed.ins[1])
        return left.over(right) if one is not None and one.fixed and one.shift == 1 else None
    if below.jax == "rem" and changed.jax == "add" and y in changed.ins:
        return left.modulo(right, signed=False)
    return None


def _asks(which: Value, divisor: Value, made: Mapping[Value, Raw]) -> bool:
    r = made.get(which)
    return r is not None and r.jax == "eq" and r.ins[0] is divisor


def _signs_differ(which: Value, below: Raw, made: Mapping[Value, Raw]) -> bool:
    """Whether a condition is that the signs of what was divided (or of what is left) and of the divisor differ, and that something
    is left."""
    both = made.get(which)
    tests = [] if both is None or both.jax != "and" else [made.get(v) for v in both.ins]
    if len(tests) != 2 or any(test is None or test.jax != "ne" for test in tests):
        return False
    x, y = below.ins
    signed = (("sign", x), ("sign", y)) if below.jax == "div" else (("lt", below.outs[0]), ("lt", y))
    found = [[(by.jax, by.ins[0]) for v in test.ins if (by := made.get(v)) is not None] for test in tests if test is not None]
    return any(tuple(each) == signed and _is_rest(other, x, y) for each, other in (found, reversed(found)))


def _is_rest(found: list[tuple[str, Value]], x: Value, y: Value) -> bool:
    """Whether what is compared with zero is the remainder of x by y; of a remainder of its own that is asked again."""
    return found == [("rem", x)] and y is not None
