"""Random integer expressions over costmodel's forms, each with the plain Python function that it stands for."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from sympy import Expr, Integer

from costmodel.symbolic.forms import CeilDiv, CeilLog2, FloorDiv, PeakMax, symbol
from costmodel.symbolic.taps import TapCount, count_pairs

SYMBOLS = tuple(symbol(name) for name in ("h", "s", "w", "c_i"))
DIVISORS = (2, 3, 4, 5, 6, 8)
Value = Callable[[Mapping], int]


def random_form(rng: random.Random, depth: int, taps: bool = False) -> tuple[Expr, Value]:
    """(expression, its value at a mapping of ``SYMBOLS``), nested at most ``depth`` deep; with TapCount if ``taps``."""
    kind = rng.random()
    if depth == 0 or kind < 0.2:
        if rng.random() < 0.7:
            s = rng.choice(SYMBOLS)
            return s, lambda at: at[s]
        constant = rng.randint(-9, 9)
        return Integer(constant), lambda at: constant
    a, value_a = random_form(rng, depth - 1, taps)
    b, value_b = random_form(rng, depth - 1, taps)
    k, s = rng.choice(DIVISORS), rng.choice(SYMBOLS)
    if kind < 0.38:
        factor = rng.randint(-3, 3)
        return a + factor * b, lambda at: value_a(at) + factor * value_b(at)
    if kind < 0.48:
        return a * b, lambda at: value_a(at) * value_b(at)
    if kind < 0.53:
        return a * (a + 1) / 2, lambda at: value_a(at) * (value_a(at) + 1) // 2
    if kind < 0.56:
        return (a - b) ** 2, lambda at: (value_a(at) - value_b(at)) ** 2
    if kind < 0.70:
        return FloorDiv(a, k), lambda at: value_a(at) // k
    if kind < 0.80:
        return FloorDiv(a, k * s), lambda at: value_a(at) // (k * at[s])
    if kind < 0.90:
        return CeilDiv(a, k), lambda at: -(-value_a(at) // k)
    if taps and kind < 0.925:
        rest = tuple(rng.randint(least, most) for least, most in ((1, 3), (1, 2), (1, 2), (-1, 3), (0, 2), (0, 1)))
        return TapCount(a, s, *rest), lambda at: count_pairs(value_a(at), at[s], *rest)
    if kind < 0.95:
        other = rng.choice(SYMBOLS)
        return CeilLog2(k * s + other), lambda at: ceil_log2(k * at[s] + at[other])
    return PeakMax(a, b), lambda at: max(value_a(at), value_b(at))


def ceil_log2(n: int) -> int:
    """Doublings of 1 until n is reached: the definition, written without bits."""
    levels = 0
    while 2**levels < n:
        levels += 1
    return levels


def random_point(rng: random.Random, largest: int = 1000) -> dict:
    """Values ≥ 1 of ``SYMBOLS``, often small: that is where the edge cases are."""
    top = rng.choice((3, 40, largest))
    return {s: rng.randint(1, min(top, largest)) for s in SYMBOLS}
