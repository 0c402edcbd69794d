"""Where the boundaries of a program are met on a grid: a few places of many, found without a look at each point."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from sympy import Add, Expr

from costmodel.errors import CostModelError
from costmodel.pricing.grid.axes import Grid, axes_bits, evaluate
from costmodel.program.regions import Signature
from costmodel.surface import said
from costmodel.symbolic.blocks import block_slices
from costmodel.symbolic.forms import symbol
from costmodel.trace.undecided import Order

Place = tuple[int, ...]
_AT_ONCE = 2**20
MOST = 2**25  # points on boundaries of several axes that are told apart
MOST_ORDERS = 2**14  # sizes for which jax is asked for the order of an einsum, at 50 µs each


@dataclass(frozen=True, eq=False)
class Zeros:
    """The places at which boundary ``number`` is met: rows of indices on ``axes``."""

    number: int
    axes: tuple[int, ...]
    places: np.ndarray


def zeros(number: int, difference: Expr, grid: Grid) -> Zeros:
    """Where a difference of internal variables is zero."""
    own, axes = _on(grid, (s.name for s in difference.free_symbols))
    root = _root(difference)
    if root is not None and len(axes) <= 1:
        (values,) = own.values()
        return Zeros(number, axes, np.argwhere(values.reshape([values.size] * len(axes)) == root))
    parts = _separated(difference, own, axes)
    if parts is not None:
        return Zeros(number, axes, _matches(*parts))
    found = []
    shape = tuple(grid.shape[i] for i in axes)
    for block in block_slices(shape, _AT_ONCE):
        cut = dict(zip(axes, block, strict=True))
        here = {name: a[tuple(cut[i] if n > 1 else slice(None) for i, n in enumerate(a.shape))] for name, a in own.items()}
        on = evaluate(difference, here) == 0
        on = np.broadcast_to(on.reshape([on.shape[i] for i in axes]), [s.stop - s.start for s in block])
        found.append(np.argwhere(on) + np.array([s.start for s in block], dtype=np.int64))
    places = np.concatenate(found) if found else np.zeros((0, len(axes)), dtype=np.int64)
    return Zeros(number, axes, places)


@lru_cache(maxsize=1024)
def _root(difference: Expr) -> int | None:
    """Where s - c is zero."""
    constant, rest = difference.as_coeff_Add()
    return -int(constant) if rest.is_Symbol and constant.is_Integer else None


def other_orders(order: Order, number: Callable[[Any], int], grid: Grid) -> list[Zeros]:
    """Where jax chooses another order of an einsum than the program's, by the ``number`` of each. Raises CostModelError where these
    are too many points to ask it."""
    own, axes = _on(grid, order.names)
    shape = tuple(grid.shape[i] for i in axes)
    if prod(shape) > MOST_ORDERS:
        raise CostModelError(f"jax chooses the order of an einsum by its sizes, which are {prod(shape):,} on this grid; sweep at "
                             f"most {MOST_ORDERS:,}" + or_unverified())
    found: dict[int, list[Place]] = {}
    for place in np.ndindex(*shape):
        index = dict(zip(axes, place, strict=True))
        env = {symbol(name): int(a[tuple(index[i] if n > 1 else 0 for i, n in enumerate(a.shape))]) for name, a in own.items()}
        found.setdefault(number(order.at(env)), []).append(place)
    return [Zeros(n, axes, np.array(places, dtype=np.int64).reshape(len(places), len(axes))) for n, places in found.items() if n]


def _on(grid: Grid, names: Iterable[str]) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
    """The values of variables on a grid, and the axes that these are on."""
    own = {name: grid.variables[name] for name in names}
    bits = 0
    for array in own.values():
        bits |= axes_bits(array)
    return own, tuple(i for i in range(len(grid.shape)) if bits >> i & 1)


def _separated(difference: Expr, own: Mapping[str, np.ndarray], axes: Sequence[int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Of a difference on two axes that is a sum of one part on each: the parts, which sum to zero where it is met."""
    if len(axes) != 2:
        return None
    sides: dict[int, list[Expr]] = {axis: [] for axis in axes}
    for term in Add.make_args(difference):
        bits = 0
        for s in term.free_symbols:
            bits |= axes_bits(own[s.name])
        on = [axis for axis in axes if bits >> axis & 1]
        if len(on) > 1 or not (term.is_Mul or term.is_Symbol or term.is_Integer or term.is_Pow):
            return None
        sides[on[0] if on else axes[0]].append(term)
    first, second = (evaluate(Add(*sides[axis]), own).ravel() if sides[axis] else np.zeros(1, np.int64) for axis in axes)
    return first, -second


def _matches(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The pairs of indices of equal values."""
    order = np.argsort(second, kind="stable")
    ordered = second[order]
    low, high = np.searchsorted(ordered, first, "left"), np.searchsorted(ordered, first, "right")
    counts = high - low
    rows = np.repeat(np.arange(len(first)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([rows, order[np.repeat(low, counts) + within]], axis=1)


@dataclass(frozen=True, eq=False)
class Places:
    """Places on some axes: those of ``listed``; or every combination of the ``choices`` on each axis that is not among the
    ``without``, numbers of places in order."""

    shape: tuple[int, ...]
    listed: np.ndarray | None
    choices: tuple[np.ndarray, ...] = ()
    without: np.ndarray | None = None

    @property
    def count(self) -> int:
        """How many places there are."""
        if self.listed is not None:
            return len(self.listed)
        return prod(map(len, self.choices)) - self._left_out()

    def _left_out(self) -> int:
        if self.without is None or not len(self.without):
            return 0
        inside = np.ones(len(self.without), dtype=bool)
        for indices, chosen in zip(np.unravel_index(self.without, self.shape), self.choices, strict=True):
            inside &= np.isin(indices, chosen)
        return int(inside.sum())

    @property
    def all(self) -> np.ndarray:
        """Every place, as rows of indices."""
        if self.listed is not None:
            return self.listed
        numbers = np.ravel_multi_index(np.ix_(*self.choices), self.shape).ravel()
        if self.without is not None and len(self.without):
            numbers = numbers[~np.isin(numbers, self.without, kind="sort")]
        return np.stack(np.unravel_index(numbers, self.shape), axis=1)

    def __iter__(self) -> Iterator[Place]:
        if self.listed is not None:
            yield from map(tuple, self.listed.tolist())
            return
        for place in itertools.product(*(chosen.tolist() for chosen in self.choices)):
            number = int(np.ravel_multi_index(place, self.shape)) if self.shape else 0
            if self.without is None or not _among(self.without, number):
                yield place


def _among(numbers: np.ndarray, number: int) -> bool:
    at = int(np.searchsorted(numbers, number))
    return at < len(numbers) and int(numbers[at]) == number


@dataclass(frozen=True, eq=False)
class OnAxes:
    """Axes that boundaries share, and the places on them by the boundaries that they are on."""

    axes: tuple[int, ...]
    classes: tuple[tuple[Signature, Places], ...]


def part_of(axes: tuple[int, ...], members: Sequence[Zeros], whole: tuple[int, ...]) -> OnAxes:
    """The places on some axes by the boundaries that they are on. Those of one axis are classes of its values; those of several are
    listed. Raises CostModelError where these are too many."""
    shape = tuple(whole[i] for i in axes)
    single = [m for m in members if len(m.axes) == 1]
    several = [m for m in members if len(m.axes) > 1]
    values = [_values(length, [m for m in single if m.axes == (axis,)]) for axis, length in zip(axes, shape, strict=True)]
    planes = [_numbers(m, axes, shape) for m in several]
    met = np.unique(np.concatenate(planes)) if planes else np.zeros(0, dtype=np.int64)
    classes = list(_listed(met, planes, several, values, shape))
    for chosen in itertools.product(*(each.items() for each in values)):
        places = Places(shape, None, tuple(indices for _, indices in chosen), met)
        if places.count:
            classes.append((frozenset().union(*(s for s, _ in chosen)), places))
    return OnAxes(axes, tuple(classes))


def _values(length: int, members: Sequence[Zeros]) -> dict[Signature, np.ndarray]:
    """The indices of an axis by the boundaries of that axis alone that they are on."""
    on = np.zeros((len(members), length), dtype=bool)
    for row, m in zip(on, members, strict=True):
        row[m.places[:, 0]] = True
    met = on.any(axis=0)
    found: dict[Signature, np.ndarray] = {frozenset(): np.flatnonzero(~met)} if not met.all() else {}
    for pattern in np.unique(on[:, met], axis=1).T if met.any() else ():
        signature = frozenset(m.number for m, flag in zip(members, pattern, strict=True) if flag)
        found[signature] = np.flatnonzero((on == pattern[:, np.newaxis]).all(axis=0))
    return found


def or_unverified() -> str:
    """The other way out where a grid has too many points to be traced concretely: of Python only."""
    return said(", or analyze(..., verify=False)", "")


def _numbers(m: Zeros, axes: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """The places of a boundary on all axes of a part, numbered in order."""
    others = [i for i in range(len(axes)) if axes[i] not in m.axes]
    if len(m.places) * prod(shape[i] for i in others) > MOST:
        raise CostModelError("the program must be compared with concrete traces at more than "
                             f"{MOST:,} points of this grid; sweep parts of it" + or_unverified())
    columns = {axis: m.places[:, i] for i, axis in enumerate(m.axes)}
    shaped = [columns[axis].reshape([-1, *[1] * len(others)]) if axis in columns
              else np.arange(shape[i]).reshape([1, *(-1 if j == i else 1 for j in others)]) for i, axis in enumerate(axes)]
    return np.sort(np.ravel_multi_index(np.broadcast_arrays(*shaped), shape).ravel())


def _listed(met: np.ndarray, planes: Sequence[np.ndarray], several: Sequence[Zeros],
            values: Sequence[Mapping[Signature, np.ndarray]], shape: tuple[int, ...]) -> Iterator[tuple[Signature, Places]]:
    """The places on boundaries of several axes, by all boundaries that they are on."""
    if not len(met):
        return
    indices = np.stack(np.unravel_index(met, shape), axis=1)
    codes = [np.isin(met, plane, assume_unique=True).astype(np.int64) for plane in planes]
    names: list[list[Signature]] = [[frozenset(), frozenset([m.number])] for m in several]
    for column, classes in zip(indices.T, values, strict=True):
        of_value = np.zeros(int(column.max()) + 1 + max(map(np.max, classes.values())), dtype=np.int64)
        for code, chosen in enumerate(classes.values()):
            of_value[chosen] = code
        codes.append(of_value[column])
        names.append(list(classes))
    table = np.stack(codes)
    whole = np.ravel_multi_index(table, [len(each) for each in names])
    for code in np.unique(whole):
        where = whole == code
        first = table[:, int(np.argmax(where))]
        yield frozenset().union(*(each[i] for each, i in zip(names, first, strict=True))), Places(shape, indices[where])
