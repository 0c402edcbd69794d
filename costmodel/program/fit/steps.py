"""Families of forms with steps: quotients, moduli, minima and maxima. Each keeps every hypothesis that fits, to be told apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from sympy import Expr, Integer

from costmodel.program.fit.algebraic import SPARE, Atoms
from costmodel.program.fit.linear import line
from costmodel.program.fit.sample import Values
from costmodel.symbolic.forms import CeilLog2, PeakMax, ceil_div, floor_div, minimum

# ⌊(m·x + c) / d⌋: every divisor up to 128 and customary ones beyond, for x itself; up to 40 for multiples of x.
_DIVISORS = (*range(2, 129), 144, 160, 192, 196, 224, 256, 320, 384, 512, 768, 1024, 2048)
_MULTIPLIERS = (1, 2, 3, 4, 5, 6, 7, 8, 9)
KEPT = 64
_EXACT = 2**53


class Step(NamedTuple):
    """a·⌊(m·x + c) / d⌋ + b; the plainest sort first."""

    size: int
    multiplier: int
    unusual: bool
    divisor: int
    shift: int
    factor: int
    offset: int

    def at(self, x: int) -> int:
        """Its value at an integer."""
        return self.factor * ((self.multiplier * x + self.shift) // self.divisor) + self.offset

    def of(self, x: Expr) -> Expr:
        """Its value as an expression."""
        return self.factor * floor_div((self.multiplier * x + self.shift).expand(), Integer(self.divisor)) + self.offset


def steps(w: Values, y: Values, multipliers: tuple[int, ...] = _MULTIPLIERS) -> list[Step]:
    """Every step of ``w`` that is ``y`` at all points."""
    if max(map(abs, (*w, *y))) >= _EXACT or not all(isinstance(v, int) for v in (*w, *y)):
        return []
    u, v = np.array(w, dtype=np.int64), np.array(y, dtype=np.int64)
    i, j = int(np.argmax(u)), int(np.argmin(u))
    run, rise = int(u[i] - u[j]), int(v[i] - v[j])
    if run == 0 or rise == 0:
        return []
    found: list[Step] = []
    for m in multipliers:
        for d in _DIVISORS if m == 1 else range(2, 41):
            if math.gcd(m, d) == 1 and _possible(m * run, d, rise):
                found += _shifts(u, v, m, d, i, j)
    return sorted(found)


def _possible(run: int, d: int, rise: int) -> bool:
    """Whether some integer factor of the quotient gives ``rise``: the quotient itself rises by between run/d - 1 and run/d + 1."""
    most, least = run + d, run - d
    if least <= 0:
        return True
    return abs(rise) * d // least >= -(-abs(rise) * d // most)


def _shifts(u: Any, v: Any, m: int, d: int, i: int, j: int) -> Iterator[Step]:
    """The shifts and factors that agree at all points; the two ends of the sample refute most."""
    shift = np.arange(d)
    low = (m * int(u[j]) + shift) // d
    run = (m * int(u[i]) + shift) // d - low
    rise = int(v[i] - v[j])
    good = np.nonzero((run != 0) & (rise % np.where(run == 0, 1, run) == 0))[0]
    if not len(good):
        return
    factor = rise // run[good]
    offset = v[j] - factor * low[good]
    quotient = (m * u[None, :] + good[:, None]) // d
    for k in np.nonzero((factor[:, None] * quotient + offset[:, None] == v[None, :]).all(1))[0]:
        c = int(good[k])
        yield Step(abs(int(factor[k])), m, c not in (0, d - 1), d, c, int(factor[k]), int(offset[k]))


def quotients(y: Values, atoms: Atoms) -> list[Expr]:
    """a·⌊(m·x + c) / d⌋ + b of an atom, a sum, a difference or a product of two symbols."""
    for form, w in (*atoms.first(16), *pairs(atoms)):
        found = steps(w, y)
        if found:
            return [step.of(form) for step in found[:KEPT]]
    return []


def pairs(atoms: Atoms) -> Iterator[tuple[Expr, Values]]:
    """Sums, differences and products of the symbols."""
    few = list(atoms.first(atoms.symbols))
    for (a, u), (b, v) in itertools.combinations_with_replacement(few, 2):
        yield a * b, tuple(p * q for p, q in zip(u, v, strict=True))
        if a is not b:
            yield a + b, tuple(p + q for p, q in zip(u, v, strict=True))
            yield a - b, tuple(p - q for p, q in zip(u, v, strict=True))


def moduli(y: Values, atoms: Atoms) -> list[Expr]:
    """a·x + e·⌊(x + c) / d⌋ + b with a = ±1, ±2: a modulus, or what pads to a multiple; then x and a quotient of another atom."""
    near = list(atoms.first(9))
    for same in (True, False):
        for (form, w), (other, z) in itertools.product(near, near):
            if (form is other) is not same:
                continue
            for a in (1, -1, 2, -2):
                found = steps(z, tuple(v - a * u for u, v in zip(w, y, strict=True)), (1,))
                if found:
                    found.sort(key=lambda s: (abs(s.factor) != abs(a) * s.divisor, s))
                    return [a * form + step.of(other) for step in found[:KEPT]]
    return []


def ratios(y: Values, atoms: Atoms) -> list[Expr]:
    """±⌊m·x / (q·z)⌋ + b and the same rounded up, of two atoms."""
    hits: list[Expr] = []
    near = list(atoms.first(10))
    for (a, u), (b, v) in itertools.permutations(near, 2):
        if min(v) <= 0:
            continue
        for m, q in itertools.product((1, 2, 3, 5, 7), (1, 2, 3, 4, 8, 16)):
            if math.gcd(m, q) > 1:
                continue
            for up in (0, 1):
                found = line([(m * s + up * (q * t - 1)) // (q * t) for s, t in zip(u, v, strict=True)], y)
                if found and abs(found[0]) == 1 and found[1].denominator == 1:
                    quotient = ceil_div(m * a, q * b) if up else floor_div((m * a).expand(), (q * b).expand())
                    hits.append(int(found[0]) * quotient + int(found[1]))
    return hits[:KEPT]


def logarithms(y: Values, atoms: Atoms) -> list[Expr]:
    """a·⌈log₂(x + c)⌉ + b of an atom or a product of two symbols, c = -1, 0 or 1: the trips of a search that halves, the bits of a
    number (c = 1)."""
    hits: list[Expr] = []
    for form, w in (*atoms.first(12), *pairs(atoms)):
        for c in (1, 0, -1):
            if not all(isinstance(v, int) and v + c > 0 for v in w):
                continue
            found = line([CeilLog2.exact(v + c) for v in w], y)
            if found and found[0] != 0 and all(part.denominator == 1 for part in found):
                hits.append(int(found[0]) * CeilLog2((form + c).expand()) + int(found[1]))
    return hits[:KEPT]


Inner = Callable[[Values, list[int]], list[Expr]]


def extremes(y: Values, atoms: Atoms, inner: Inner) -> list[Expr]:
    """min and max of a form and a constant, or of a form and an atom: where y is not the one, it is the other.

    ``inner(values, points)`` fits a form to ``values`` at some of the points.
    """
    hits = [join(atom, Integer(c)) for c, join, exact in ((max(y), minimum, min), (min(y), PeakMax, max)) for atom, w in atoms
            if len({*y}) > 2 and tuple(exact(v, c) for v in w) == y]
    if hits:
        return hits[:KEPT]
    bounds: list[tuple[Expr, Values]] = [(Integer(c), (c,) * len(y)) for c in (max(y), min(y))]
    for form, w in (*bounds, *_shifted(y, atoms.first(12))):
        elsewhere = [i for i in range(len(y)) if y[i] != w[i]]
        if not 2 + SPARE <= len(elsewhere) < len(y):
            continue
        below = {y[i] < w[i] for i in elsewhere}
        if len(below) != 1:
            continue
        join = minimum if below.pop() else PeakMax
        hits += [join(form, other) for other in inner(tuple(y[i] for i in elsewhere), elsewhere)]
        if hits:
            break
    return hits[:KEPT]


def _shifted(y: Values, atoms: Atoms) -> Iterator[tuple[Expr, Values]]:
    """The atoms, and atoms plus the difference from y that occurs most often."""
    for form, w in atoms:
        yield form, w
        differences = [v - u for u, v in zip(w, y, strict=True)]
        common = max(set(differences), key=differences.count)
        if common != 0 and differences.count(common) >= 2 + SPARE and isinstance(common, int):
            yield form + common, tuple(u + common for u in w)


