"""Where points lie: an interval for each symbol, and draws from it, near and far."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sympy import Expr, Symbol

from costmodel.symbolic.forms import evaluate, symbol

Point = tuple[int, ...]

# Sizes that people choose, and so sizes that code may treat apart.
CUSTOMARY = (14, 16, 28, 32, 56, 64, 112, 128, 196, 224, 256, 384, 512, 1024, 2048)


@dataclass(frozen=True)
class Axis:
    """A symbol and the integers from which its points are drawn: ``low`` … ``high`` at first, then beyond, up to ``limit``."""

    name: str
    low: int
    high: int
    limit: int | None = None

    @property
    def values(self) -> int | None:
        """How many values it can take at all; None without a limit."""
        return None if self.limit is None else self.limit - self.low + 1

    def top(self, times: int) -> int:
        """The largest value of a box ``times`` as large, but no more than 4096 or 16 times the box: not all that a model makes of
        its sizes is abstract."""
        most = self.high * times if times <= 4 else min(self.high * times, max(4096, 16 * self.high))
        return max(self.low, most if self.limit is None else min(most, self.limit))

    def clip(self, value: int) -> int:
        """The nearest value that the axis has."""
        return min(max(value, self.low), self.top(96))


@dataclass(frozen=True)
class Box:
    """The axes of all symbols. A point is a tuple of integers in their order. ``nonnegative``: expressions that are so in the
    domain; draws at random keep to it where they can."""

    axes: tuple[Axis, ...]
    nonnegative: tuple[Expr, ...] = ()

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbols of the axes, in order."""
        return tuple(symbol(axis.name) for axis in self.axes)

    def clip(self, values: Sequence[int]) -> Point:
        """The nearest point of the box."""
        return tuple(axis.clip(v) for axis, v in zip(self.axes, values, strict=True))

    @property
    def middle(self) -> Point:
        """The point halfway along every axis."""
        return tuple((axis.low + axis.high) // 2 for axis in self.axes)

    def allows(self, point: Point) -> bool:
        """Whether all relations hold at a point."""
        env = dict(zip(self.symbols, point, strict=True))
        return all(evaluate(expr, env) >= 0 for expr in self.nonnegative)

    def _drawn(self, draw: Callable[[], Point]) -> Point:
        """A draw that the domain allows, if one is found soon."""
        for _ in range(60 if self.nonnegative else 0):
            point = draw()
            if self.allows(point):
                return point
        return draw()

    def draw(self, rng: random.Random, times: int = 1) -> Point:
        """A point of the box, or of one ``times`` as large."""
        return self._drawn(lambda: tuple(rng.randint(axis.low, axis.top(times)) for axis in self.axes))

    def far(self, rng: random.Random) -> Point:
        """A point 16 to 96 times as far out; where the domain has no such points, anywhere up to there."""
        point = tuple(rng.randint(axis.top(16), axis.top(96)) for axis in self.axes)
        return point if self.allows(point) else self.draw(rng, 96)

    def like(self, rng: random.Random, known: Sequence[Point], times: int) -> Point:
        """A point that has the same remainders as a known one, modulo 48 where there is room for it, or some of its values."""
        def value(axis: Axis, v: int) -> int:
            step = rng.choice((48, 48, 24, 12)) if axis.top(96) - axis.low >= 96 else 1
            most = max(0, (axis.top(times) - v) // step)
            return v + step * rng.randint(-((v - axis.low) // step), most) if rng.random() < 0.8 else v

        return tuple(value(axis, v) for axis, v in zip(self.axes, rng.choice(known), strict=True))

    def corner(self, rng: random.Random) -> Point:
        """A point with some symbols low and the others far out."""
        return self.clip([rng.choice((axis.low, axis.low + 1, axis.top(16), rng.randint(axis.top(8), axis.top(96))))
                          for axis in self.axes])

    def customary(self, rng: random.Random) -> Point:
        """A point of sizes that people choose."""
        return self.clip([rng.choice([v for v in CUSTOMARY if axis.low <= v <= axis.top(96)] or [axis.low]) for axis in self.axes])

    def equal(self, rng: random.Random) -> Point:
        """A point where all symbols are the same, as far as their bounds allow."""
        value = rng.choice(self.draw(rng, 2)) if self.axes else 0
        return self.clip([value] * len(self.axes))

    def along(self, start: Point, axis: int, values: Sequence[int]) -> list[Point]:
        """``start`` with other values of one symbol."""
        return [self.clip([*start[:axis], v, *start[axis + 1:]]) for v in values]

    def line(self, start: Point, axis: int, count: int) -> list[Point]:
        """Points along one symbol from ``start``: a run at the low end, then ever wider steps, to 8 times the box."""
        low, top = self.axes[axis].low, self.axes[axis].top(8)
        run = [low + i for i in range(count // 2)]
        step = max(1.0, (top - low) ** (1 / max(1, count - len(run))))
        return self.along(start, axis, [*run, *(low + len(run) + round(step ** i) for i in range(1, count - len(run) + 1))])
