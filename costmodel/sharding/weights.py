"""Where the partitioner may decide otherwise than at another point: it weighs the arrays of an operation by what would be sent of
them, that is by their sizes over numbers of devices (Shardy's aggressive propagation, and its explicit reshards)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from sympy import Add, Expr, Symbol

from costmodel.program.raw import RawProgram
from costmodel.symbolic import printers


class Weights:
    """How the arrays of each equation of a program, over a mesh of these axes, weigh against each other: two arrays, and two
    against a third (the rows of a table and their indices against the table, :mod:`costmodel.sharding.choices`)."""

    def __init__(self, program: RawProgram, axes: tuple[Symbol, ...]) -> None:
        self._program, self._axes = program, axes

    @cached_property
    def _compiled(self) -> tuple[Any, list[Symbol]]:
        """The bytes that are compared, two by two: of two arrays, and of two together with those of a third."""
        pairs: dict[tuple[Expr, Expr], None] = {}
        for each in {frozenset((v.array.size, v.array.bits) for v in (*r.ins, *r.outs)) for r in self._program.equations}:
            sizes = sorted({size * bits / 8 for size, bits in each}, key=str)
            pairs |= dict.fromkeys(pair for pair in combinations(sizes, 2) if (pair[0] / pair[1]).free_symbols)
            pairs |= dict.fromkeys((Add(*others), size) for others in combinations(sizes, 2) for size in sizes
                                   if size not in others and (Add(*others) - size).free_symbols)
        sizes = [size for pair in pairs for size in pair]
        names = sorted(set().union(*(size.free_symbols for size in sizes)), key=str)
        return printers.compile(sizes, names, backend="numpy"), names

    def at(self, env: Mapping[Any, Any]) -> np.ndarray:
        """Of points (arrays of one length, or integers), a column each. Where two columns are equal the partitioner decides alike:
        the axes have the same sizes, and no two arrays of an equation compare otherwise, each over any part of the devices, for
        axes that are powers of two."""
        values = {s: np.atleast_1d(np.asarray(v, dtype=np.float64)) for s, v in env.items()}
        count = max(map(len, values.values()), default=1)
        devices = np.broadcast_to(np.prod([values[s] for s in self._axes], axis=0), count)
        compare, names = self._compiled
        sizes = [np.broadcast_to(size, count) for size in compare(*(values[s] for s in names))]
        fractions, exponents = np.frexp(np.array(sizes[::2]).reshape(-1, count) / np.array(sizes[1::2]).reshape(-1, count))
        most = 2 * np.ceil(np.log2(devices)) + 1
        levels = 2 * exponents + (fractions != 0.5) - 2  # even where the ratio is a power of two
        return np.vstack([*(np.broadcast_to(values[s], count) for s in self._axes), np.clip(levels, -most, most)]).astype(np.int64)
