"""The sides of a program's branches: which run where each kernel has a number, and how they stand among rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from costmodel.fusion import Kernel
from costmodel.rules.branches import Branch, Branches

R = TypeVar("R")


def with_branches(rows: Sequence[tuple[Branch, R]], branches: Branches, together: Callable[[list[tuple[Branch, R]]], R],
                  below: Callable[[Branch, R], R]) -> Iterator[R]:
    """Rows in order, each outermost branching as one row (``together``) of what counts of its sides, with their own rows, made to
    stand ``below`` it and outside every sum."""
    inside: dict[int, list[tuple[Branch, R]]] = {}
    for branch, row in rows:
        if branch and branches.choose:
            inside.setdefault(branch[0].cond, []).append((branch, row))
    for branch, row in rows:
        if not (branch and branches.choose):
            yield row
        elif found := inside.pop(branch[0].cond, None):
            yield together(found)
            yield from (below(on, each) for on, each in found)


def shared_path(paths: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The modules that all of these are in.

    >>> shared_path([("block", "mlp"), ("block", "attention", "out")])
    ('block',)
    """
    alike = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))
    return tuple(names[0] for names in alike)


def added(each: np.ndarray) -> np.ndarray:
    """The sum of (kernels, points) over the kernels, one after the other: numpy adds a single column pairwise, so that a point by
    itself would differ from the same point of a grid by a rounding."""
    return np.add.accumulate(each, axis=0)[-1] if each.shape[-1] == 1 and len(each) else each.sum(axis=0)


class Sides:
    """The branches that a program's kernels are on, and what of them counts."""

    def __init__(self, kernels: Sequence[Kernel], branches: Branches) -> None:
        self.branches = branches
        self.of = [k.branch if branches.choose else () for k in kernels]

    def __bool__(self) -> bool:
        """Whether there is anything to choose."""
        return any(self.of)

    def taken(self, each: np.ndarray) -> np.ndarray:
        """1 for each kernel that runs, 0 for the others, as an array (kernel, point), where of every branch the side runs with the
        greatest (or least) sum of ``each`` (kernel, point); a kernel in no branch always does."""
        taken = np.ones_like(each, dtype=np.int8)
        if self:
            self._settle(list(enumerate(self.of)), each, taken)
        return taken

    def _settle(self, kernels: Sequence[tuple[int, Branch]], each: np.ndarray, taken: np.ndarray) -> np.ndarray:
        """The sum of these kernels' numbers that counts, by point; kernels on other sides are crossed out in ``taken``."""
        outside = [i for i, branch in kernels if not branch]
        conds: dict[int, list[list[tuple[int, Branch]]]] = {}
        for i, branch in kernels:
            if branch:
                sides = conds.setdefault(branch[0].cond, [[] for _ in range(branch[0].of)])
                sides[branch[0].which].append((i, branch[1:]))
        total = added(each[outside])
        for sides in conds.values():
            sums = np.stack([self._settle(side, each, taken) for side in sides])
            runs = (np.argmax if self.branches is Branches.MAX else np.argmin)(sums, axis=0)
            for which, side in enumerate(sides):
                taken[[i for i, _ in side]] *= (runs == which).astype(np.int8)
            total = total + np.take_along_axis(sums, runs[np.newaxis], axis=0)[0]
        return total
