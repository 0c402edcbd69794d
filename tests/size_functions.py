"""Random programs of sizes: each integer is made of symbols and earlier integers as models make theirs; plain Python functions."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Point = Mapping[str, int]
Size = Callable[[Point], int]

# Symbols with the lowest and highest value of their box.
SYMBOLS = {"n": (1, 9), "h": (8, 64), "w": (8, 64), "s": (2, 48)}


@dataclass(frozen=True)
class Program:
    """``sizes`` in order, their text, and the symbols that they are made of."""

    symbols: tuple[str, ...]
    sizes: tuple[Size, ...]
    text: str

    def __call__(self, p: Point) -> tuple[int, ...]:
        return tuple(size(p) for size in self.sizes)


def random_program(rng: random.Random) -> Program:
    """2 to 6 operations; three times in four every intermediate size is shown, as a traced program shows its shapes."""
    symbols = tuple(sorted(rng.sample(sorted(SYMBOLS), rng.choice((1, 2, 2, 3)))))
    made: list[tuple[str, Size]] = [(name, lambda p, name=name: p[name]) for name in symbols]
    for _ in range(rng.randint(1, 5)):
        made.append(_operation(rng, made))
    shown = made[len(symbols):] if rng.random() < 0.75 else made[-1:]
    return Program(symbols, tuple(f for _, f in shown), "; ".join(t for t, _ in shown))


def _operation(rng: random.Random, made: list[tuple[str, Size]]) -> tuple[str, Size]:
    (a, f), (b, g) = rng.choice(made[-3:]), rng.choice(made)
    d, c, m = rng.choice((2, 2, 2, 3, 4, 4, 7, 8, 14, 16)), rng.randint(1, 9), rng.choice((1, 2, 3, 5))
    k, stride, pad = rng.choice((1, 2, 3, 5, 7)), rng.choice((1, 2, 2, 4)), rng.randint(0, 3)
    return rng.choice([
        (f"conv({a},{k},{stride},{pad})", lambda p: (f(p) + 2 * pad - k) // stride + 1),
        (f"conv({a},{k},{stride},{pad})", lambda p: (f(p) + 2 * pad - k) // stride + 1),
        (f"ceil({a}/{stride})", lambda p: -(-f(p) // stride)),
        (f"{a}//{d}", lambda p: f(p) // d),
        (f"{m}*{a}+{c}", lambda p: m * f(p) + c),
        (f"({a})+({b})", lambda p: f(p) + g(p)),
        (f"({a})*({b})", lambda p: f(p) * g(p)),
        (f"({a})*({b})", lambda p: f(p) * g(p)),
        (f"{m}*({a})//{d}", lambda p: m * f(p) // d),
        (f"padded({a},{d})", lambda p: -(-f(p) // d) * d),
        (f"(-{a})%{d}", lambda p: -f(p) % d),
        (f"({a})%{d}", lambda p: f(p) % d),
        (f"min({a},{4 * c})", lambda p: min(f(p), 4 * c)),
        (f"max({a},{4 * c})", lambda p: max(f(p), 4 * c)),
        (f"min({a},{b})", lambda p: min(f(p), g(p))),
        (f"tri({a})", lambda p: f(p) * (f(p) + 1) // 2),
    ])


def fresh_points(rng: random.Random, program: Program, count: int) -> list[dict[str, int]]:
    """Half in four times the box, a quarter far out, a quarter of low or customary values."""
    made = []
    for i in range(count):
        point = {}
        for name in program.symbols:
            low, high = SYMBOLS[name]
            far, near = rng.randint(16 * high, 96 * high), rng.randint(low, 4 * high)
            usual = rng.choice([v for v in (low, low + 1, 14, 16, 32, 56, 64, 112, 224, 256, 1024) if v >= low])
            point[name] = (near, near, far, usual)[i % 4]
        made.append(point)
    return made
