"""Random programs from a seed: steps of :mod:`random_blocks`, nested, that jax accepts at every point they are asked for.

``program(seed)`` is the same program always. Whether jax accepts a step is asked of concrete shapes alone, so that what costmodel
makes of it has no part in the choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from random_base import Array
from random_blocks import BLOCKS
from random_wrappers import AROUND, KEEPING

import costmodel as cm

LOWEST = (1, 2, 4)  # smallest sizes that a domain may start at
INPUTS: tuple[tuple[tuple[Any, ...], str], ...] = (
    (("n", "m"), "float32"), (("n", "m"), "float32"), (("n", "m"), "bfloat16"), (("n", 6), "float32"), ((4, "n"), "float32"),
    (("n", "m", 3), "float32"), ((2, "n", "m"), "float32"), (("n", "m", "m", 2), "float32"), (("n",), "float32"),
    (("n", "m"), "int32"),
)
Point = tuple[tuple[str, int], ...]
LARGEST = 400_000  # elements of an array
STEPS = (1, 5)


@dataclass(frozen=True)
class Step:
    """A block with its parameters, and the program inside it."""

    block: Any
    parameters: tuple[tuple[str, Any], ...]
    inside: tuple[Step, ...] | None = None

    def __call__(self, x: Array) -> Array:
        around = () if self.inside is None else (lambda x: run(self.inside, x),)
        return self.block(*around, x, **dict(self.parameters))

    def __str__(self) -> str:
        inside = () if self.inside is None else ("[" + ", ".join(map(str, self.inside)) + "]",)
        return f"{self.block.__name__}({', '.join((*inside, *(f'{k}={v!r}' for k, v in self.parameters)))})"


def run(steps: Sequence[Step] | None, x: Array) -> Array:
    for step in steps or ():
        x = step(x)
    return x


@dataclass(frozen=True)
class Program:
    """A function of an array and of its parameters, the array's shape over n and m, its type, the least size, and four points."""

    seed: int
    steps: tuple[Step, ...]
    shape: tuple[Any, ...]
    dtype: str
    lowest: int

    def __call__(self, x: Array, w: Any) -> Array:
        return run(self.steps, x) if self.weighted is None else run(self.steps, x * w.astype(x.dtype))

    @property
    def weighted(self) -> int | None:
        """The width of a parameter that the input is scaled by, where its last dimension is known."""
        return self.shape[-1] if isinstance(self.shape[-1], int) else None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in ("n", "m") if name in self.shape)

    def inputs(self, sizes: dict[str, Any]) -> tuple[Any, ...]:
        """Abstract arguments, at sizes that are integers or symbols."""
        return (cm.spec([sizes.get(d, d) for d in self.shape], self.dtype), cm.spec((self.weighted or 1,)))

    @property
    def symbolic(self) -> tuple[Any, ...]:
        return self.inputs(dict(zip(self.names, _dims(self.names, self.lowest), strict=True)))

    @property
    def points(self) -> tuple[dict[str, int], ...]:
        """Two of primes, the edge of the domain, and a mixture."""
        primes = np.random.default_rng((self.seed, 1)).choice(PRIMES, 4, replace=False)
        return tuple({name: p[name] for name in self.names} for p in _points(self.lowest, [int(p) for p in primes]))

    def __str__(self) -> str:
        shape = ", ".join(map(str, self.shape))
        return f"seed {self.seed}: {self.dtype}[{shape}] from {self.lowest}: " + " · ".join(map(str, self.steps))


def _dims(names: Sequence[str], lowest: int) -> tuple[Any, ...]:
    made = cm.dims(" ".join(names), min=lowest)
    return made if isinstance(made, tuple) else (made,)


# What jax has traced at a size it compares symbols with later, and that is a boundary: each program has sizes of its own.
PRIMES = (37, 41, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113)


def _points(lowest: int, primes: Sequence[int] = (31, 43, 47, 19)) -> tuple[dict[str, int], ...]:
    """``primes``: those at which a program is asked for while it is drawn are smaller than those at which it is compared."""
    a, b, c, d = primes
    return {"n": a, "m": b}, {"n": lowest, "m": lowest}, {"n": c, "m": d}, {"n": 16, "m": lowest + 1}


# -- drawing -------------------------------------------------------------------------------------------------------------------


class Drawn:
    """What is being drawn: the steps so far, and the abstract result at every point at which they still have one. Points are those
    of domains that start at any of ``lows``; every program has those of the last."""

    def __init__(self, rng: np.random.Generator, names: Sequence[str], lows: Sequence[int], x: Callable[[Point], Any]) -> None:
        self.rng, self.lows, self.steps = rng, lows, []
        self.asked = {low: [tuple((name, p[name]) for name in names) for p in _points(low)] for low in lows}
        points = dict.fromkeys(point for low in reversed(lows) for point in self.asked[low])
        self.results = {point: x(point) for point in points}

    @property
    def lowest(self) -> int:
        return next(low for low in self.lows if all(point in self.results for point in self.asked[low]))

    def choose(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def step(self, depth: int) -> Step:
        """Any step; one with a program inside at a depth above 0, sometimes."""
        kind = self.rng.random()
        table = BLOCKS if depth == 0 or kind < 0.55 else KEEPING if kind < 0.78 else AROUND
        block = self.choose(list(table))
        parameters = tuple((name, self.choose(options)) for name, options in table[block].items())
        if table is BLOCKS:
            return Step(block, parameters)
        inside = tuple(self.step(depth - 1) for _ in range(1 + int(self.rng.integers(2))))
        return Step(block, parameters, inside)

    def extend(self, depth: int) -> None:
        """One more step, the first of those drawn that jax accepts at the points that every program has."""
        for _ in range(40):
            step = self.step(depth)
            if (after := self._after(step)) is not None:
                self.steps.append(step)
                self.results = after
                return

    def _after(self, step: Step) -> dict[Point, Any] | None:
        needed, after = set(self.asked[self.lows[-1]]), {}
        for point, x in self.results.items():
            found = _result(step, x)
            if found is not None:
                after[point] = found
            elif point in needed:
                return None
        return after if len({(r.ndim, r.dtype) for r in after.values()}) == 1 else None


def _result(step: Step, x: Any) -> Any:
    """The abstract result of a step, or None where jax refuses it, it is empty, or too large."""
    try:
        found = jax.eval_shape(step, x)
    except Exception:  # whatever jax or a block says of shapes and types that it has no meaning for
        return None
    fits = isinstance(found, jax.ShapeDtypeStruct) and found.ndim <= 4 and 0 < math.prod(found.shape) <= LARGEST
    return found if fits else None


def program(seed: int, depth: int = 2) -> Program:
    """The random program of a seed."""
    rng = np.random.default_rng(seed)
    shape, dtype = INPUTS[int(rng.integers(len(INPUTS)))]
    names = [name for name in ("n", "m") if name in shape]
    lows = LOWEST[int(rng.integers(len(LOWEST))):]

    def x(point: Point) -> Any:
        sizes = dict(point)
        return jax.ShapeDtypeStruct(tuple(sizes.get(d, d) for d in shape), jnp.dtype(dtype))

    drawn = Drawn(rng, names, lows, x)
    for _ in range(int(rng.integers(STEPS[0], STEPS[1] + 1))):
        drawn.extend(depth)
    return Program(seed, tuple(drawn.steps), shape, dtype, drawn.lowest)
