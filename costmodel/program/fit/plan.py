"""Which point to ask next: where hypotheses disagree most, and what verification still has to see.

A point has *features*: a residue, a side of a quotient's step, a side of a maximum's kink, a low or a customary value, an order of
two symbols. Fresh points are chosen greedily so that few of them have many features that no earlier point had.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from sympy import Expr

from costmodel.program.fit.box import CUSTOMARY, Box, Point
from costmodel.program.fit.sample import Sample
from costmodel.symbolic.forms import CeilDiv, CeilLog2, FloorDiv, PeakMax

Feature = tuple[Any, ...]
_MODULI = (2, 3, 4, 5, 7, 8, 9)
_MULTIPLES = (16, 32, 64)
# How much a feature is worth to a fresh point.
_WORTH = {"step": 4, "kink": 4, "far": 6, "low": 2, "order": 2, "corner": 5, "customary": 2, "residue": 1, "multiple": 1}


def quotients_in(forms: Iterable[Expr]) -> list[Expr]:
    """The divisions with rounding that the forms hold."""
    return sorted({q for form in forms for q in form.atoms(FloorDiv, CeilDiv)}, key=str)


def logarithms_in(forms: Iterable[Expr]) -> list[Expr]:
    """The logarithms that the forms hold."""
    return sorted({q for form in forms for q in form.atoms(CeilLog2)}, key=str)


def maxima_in(forms: Iterable[Expr]) -> list[Expr]:
    """The maxima that the forms hold."""
    return sorted({m for form in forms for m in form.atoms(PeakMax)}, key=str)


def features(box: Box, points: Sequence[Point], forms: Sequence[Expr]) -> list[set[Feature]]:
    """The features of each point, under these forms."""
    found: list[set[Feature]] = [set(_of_point(box, p)) for p in points]
    sample = Sample(box.symbols, points)
    for q in quotients_in(forms):
        for i, (a, b) in enumerate(zip(sample.values(q.args[0]), sample.values(q.args[1]), strict=True)):
            residue = (a - int(isinstance(q, CeilDiv))) % b
            if residue in (0, b - 1):
                found[i].add(("step", q, residue == 0, min(abs(a // b).bit_length(), 8)))
    for q in logarithms_in(forms):
        for i, v in enumerate(sample.values(q.args[0])):
            if (level := CeilLog2.exact(v)) != CeilLog2.exact(v - 1) or level != CeilLog2.exact(v + 1):
                found[i].add(("step", q, level != CeilLog2.exact(v + 1), min(level, 8)))
    for maximum in maxima_in(forms):
        columns = [sample.values(arg) for arg in maximum.args]
        for i in range(len(points)):
            first, second = sorted((column[i] for column in columns), reverse=True)[:2]
            winner = max(range(len(columns)), key=lambda k: columns[k][i])
            found[i].add(("kink", maximum, winner, min(first - second, 2)))
    return found


def _of_point(box: Box, p: Point) -> Iterable[Feature]:
    for k, (axis, v) in enumerate(zip(box.axes, p, strict=True)):
        yield from (("residue", k, m, v % m) for m in _MODULI)
        yield from (("multiple", k, m) for m in _MULTIPLES if v % m == 0)
        if v in CUSTOMARY:
            yield "customary", k, v
        if v - axis.low < 3:
            yield "low", k, v - axis.low
        if v > axis.high:
            yield "far", k, min((v // axis.high).bit_length(), 6)
        yield from (("corner", k, other) for other in range(len(p)) if v >= axis.top(8) and p[other] <= box.axes[other].low + 1)
        yield from (("order", k, other, (v > p[other]) - (v < p[other])) for other in range(k))
    if all(v == axis.low for axis, v in zip(box.axes, p, strict=True)):
        yield "low", "all"


def candidates(box: Box, rng: random.Random, forms: Sequence[Expr] = (), like: Sequence[Point] = ()) -> list[Point]:
    """Draws of every sort, and runs along each symbol through the steps and kinks of the forms. With ``like``, only points that
    have remainders in common with one of those: of a structure that needs them others would be wasted."""
    if like:
        return list(dict.fromkeys(box.like(rng, like, times) for _ in range(60) for times in (1, 4, 24, 96)))
    made = [box.draw(rng) for _ in range(50)] + [box.draw(rng, 4) for _ in range(50)] + [box.far(rng) for _ in range(20)]
    made += [box.customary(rng) for _ in range(40)] + [box.equal(rng) for _ in range(10)] + [box.corner(rng) for _ in range(30)]
    lowest = tuple(axis.low for axis in box.axes)
    made += [lowest, *(q for k, axis in enumerate(box.axes) for i in range(3) for q in box.along(box.middle, k, [axis.low + i]))]
    for q in quotients_in(forms)[:12]:
        for k, s in enumerate(box.symbols):
            if s in q.free_symbols:
                run = min(int(q.args[1]) if q.args[1].is_Integer else 32, 64)
                for start in (rng.choice(made[:50]), rng.choice(made[50:100]), rng.choice(made[100:120])):
                    made += box.along(start, k, range(start[k], start[k] + run + 1))
    made += _around_powers(box, forms, [rng.choice(made[:50]), rng.choice(made[50:100])])
    for maximum in maxima_in(forms)[:8]:
        for k, s in enumerate(box.symbols):
            if s in maximum.free_symbols:
                made += _kinks(box, rng.choice(made[:100]), k, maximum)
    return list(dict.fromkeys(made))


def _around_powers(box: Box, forms: Sequence[Expr], starts: Sequence[Point]) -> list[Point]:
    """Points along the symbols of logarithms around powers of two, where these step."""
    of = set().union(*(q.free_symbols for q in logarithms_in(forms)))
    values = [2**level + near for level in range(1, 11) for near in range(-2, 3)]
    return [p for k, s in enumerate(box.symbols) if s in of for start in starts
            for p in box.along(start, k, [v for v in values if box.axes[k].low <= v <= box.axes[k].top(96)])]


def _kinks(box: Box, start: Point, k: int, maximum: Expr) -> list[Point]:
    """Points along one symbol around where another argument becomes the largest."""
    axis = box.axes[k]
    low, high = axis.low, axis.top(96)

    def winner(v: int) -> int:
        sample = Sample(box.symbols, box.along(start, k, [v]))
        values = [sample.values(arg)[0] for arg in maximum.args]
        return values.index(max(values))

    if winner(low) == winner(high):
        return []
    at_low = winner(low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if winner(middle) == at_low else (low, middle)
    return box.along(start, k, range(low - 2, high + 3))


def fresh(box: Box, rng: random.Random, forms: Sequence[Expr], seen: Sequence[Point], taken: Iterable[Point],
          count: int, like: Sequence[Point] = ()) -> list[Point]:
    """At most ``count`` points, best first, that together have the features that those ``seen`` lack; and a few drawn at random,
    from four times the box and far out."""
    pool = [p for p in candidates(box, rng, forms, like) if p not in set(taken)]
    traits = features(box, [*pool, *seen], forms)
    have = {f for f in set().union(*traits[len(pool):], set()) if f[0] != "far"}
    chosen: list[Point] = []
    left = dict(zip(pool, traits, strict=False))
    while left and len(chosen) < count:
        worth = {p: sum(_WORTH[f[0]] for f in t - have) for p, t in left.items()}
        best = max(worth, key=worth.__getitem__)
        if worth[best] == 0:
            break
        chosen.append(best)
        have |= left.pop(best)
    if like:
        return [*chosen, *(box.like(rng, like, times) for times in (4, 24, 24, 96, 96))]
    return [*chosen, *(box.draw(rng, 4) for _ in range(2)), *(box.far(rng) for _ in range(3))]


def starting(box: Box, rng: random.Random, count: int) -> list[Point]:
    """Points of the box with residues and orders as different as may be, and two far out, which refute most divisors at once."""
    pool = list(dict.fromkeys(box.draw(rng) for _ in range(40 + 8 * count)))
    chosen: list[Point] = []
    have: set[Feature] = set()
    traits = {p: {*_of_point(box, p), *(("value", k, v) for k, v in enumerate(p))} for p in pool}
    while traits and len(chosen) < count:
        best = max(traits, key=lambda p: len(traits[p] - have))
        chosen.append(best)
        have |= traits.pop(best)
    return [*chosen, box.far(rng), box.far(rng)]


def telling(box: Box, rng: random.Random, open_columns: Sequence[Sequence[Expr]], allowed: Callable[[Point], bool],
            like: Sequence[Point] = ()) -> Point | None:
    """The point at which hypotheses of the same column differ most; None where they agree on all that was tried."""
    draws = candidates(box, rng, like=like) if like else [
        *(box.draw(rng, 4) for _ in range(120)), *(box.far(rng) for _ in range(60)), *(box.draw(rng) for _ in range(60))]
    every = [e for column in open_columns for e in column]
    pool = [p for p in (*draws, *_around_powers(box, every, draws[:2])) if allowed(p)]
    if not pool:
        return None
    sample = Sample(box.symbols, pool)
    gain = np.zeros(len(pool))
    for hypotheses in open_columns:
        columns = [sample.values(e) for e in hypotheses]
        for i in range(len(pool)):
            groups = Counter(column[i] for column in columns)
            gain[i] += len(groups) - 1 + (1 - max(groups.values()) / len(columns))
    best = int(np.argmax(gain))
    return pool[best] if gain[best] > 0 else None
