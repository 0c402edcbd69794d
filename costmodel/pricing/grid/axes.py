"""A grid of symbols, bound to a domain axis by axis: what is checked or computed of a symbol is an array over its own axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from sympy import Expr

from costmodel.errors import DomainError
from costmodel.surface import said
from costmodel.symbolic.blocks import Blocks, block_slices
from costmodel.symbolic.domain import Domain, integer
from costmodel.symbolic.factored import Graph
from costmodel.symbolic.forms import symbol
from costmodel.symbolic.magnitude import grid_dtype

WIDEST = 2**63 - 1
_CHECKED = 2**20  # points of a relation that are looked at at once


@dataclass(frozen=True, eq=False)
class Grid:
    """A grid inside a domain.

    axes:      the values of each swept symbol, in order: one-dimensional arrays of int64, or of Python integers beyond that.
    values:    of every symbol an array that broadcasts over the axes; one that follows another has the other's, a fixed one a
               number.
    variables: the same of the domain's internal variables.
    """

    domain: Domain
    axes: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    variables: Mapping[str, np.ndarray]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def count(self) -> int:
        """How many points, exactly."""
        return prod(self.shape)

    @cached_property
    def axes_of(self) -> dict[str, int]:
        """The axes that a variable, or a user's symbol, depends on, as bits."""
        return {name: axes_bits(array) for name, array in {**self.values, **self.variables}.items()}

    @cached_property
    def most(self) -> dict[Any, int]:
        """The greatest value of each variable, and of each user's symbol."""
        return {symbol(name): int(np.max(array)) for name, array in {**self.values, **self.variables}.items()}

    def point(self, index: Iterable[int]) -> dict[str, int]:
        """The values of the user's symbols at a place on their axes."""
        place = tuple(index)
        return {name: _at(a, (*place, *([0] * (a.ndim - len(place))))) for name, a in self.values.items()}


def _at(array: np.ndarray, place: tuple[int, ...]) -> int:
    """The number of a broadcastable array at a place of the grid."""
    return int(array[tuple(i if n > 1 else 0 for i, n in zip(place, array.shape, strict=True))])


def axes_bits(array: np.ndarray) -> int:
    """The axes along which an array has its length, as bits."""
    return sum(1 << i for i, length in enumerate(array.shape) if length > 1)


def bind(domain: Domain, grid: Mapping[str, Any], further: int = 0) -> Grid:
    """A grid as :func:`costmodel.pricing.sweep.sweep` takes it, checked against the domain. ``further`` axes follow the symbols'.

    Raises DomainError for what is no integer, as a point does, and for a grid that leaves the domain, naming a point outside.
    """
    axes = {name: _values(name, given) for name, given in grid.items() if not isinstance(given, str) and _several(given)}
    for name, values in axes.items():
        if not len(values):
            raise DomainError(f"the grid of {name} is empty")
    rank = len(axes) + further
    arrays = {name: values.reshape([-1 if j == i else 1 for j in range(rank)]) for i, (name, values) in enumerate(axes.items())}
    for name, given in grid.items():
        if isinstance(given, str):
            if given not in grid or isinstance(grid[given], str):
                raise DomainError(f"{said(f'{name}={given!r}', f'--tie {name}={given}')} follows a symbol that has no values "
                                  "of its own in this sweep")
            arrays[name] = arrays[given] if given in axes else _number(given, grid[given], rank)
        elif name not in axes:
            arrays[name] = _number(name, given, rank)
    domain.check_names(grid)
    return Grid(domain, axes, arrays, _bound(domain, arrays))


def _several(given: Any) -> bool:
    return isinstance(given, Iterable) and getattr(given, "ndim", 1) > 0


def _number(name: str, given: Any, rank: int) -> np.ndarray:
    return integers([integer(name, given.item() if getattr(given, "ndim", None) == 0 else given)]).reshape([1] * rank)


def _values(name: str, given: Any) -> np.ndarray:
    """The values of an axis. Those of an integer array and of a range need no look at each."""
    if hasattr(given, "dtype") and hasattr(given, "__array__"):
        array = np.asarray(given)
        if array.ndim != 1:
            raise DomainError(f"the values of {name} have {array.ndim} axes; give a list of integers")
        if array.dtype.kind == "i" or (array.dtype.kind == "u" and (not len(array) or int(array.max()) <= WIDEST)):
            return array.astype(np.int64)
        given = array.tolist() if array.dtype.kind == "u" else list(array)
    elif isinstance(given, range) and given and max(abs(given[0]), abs(given[-1])) <= WIDEST:
        return np.arange(given.start, given.stop, given.step, dtype=np.int64)
    return integers([integer(name, value) for value in given])


def integers(values: list[int]) -> np.ndarray:
    """An array of int64, or of Python's integers where one is beyond that."""
    fits = not values or max(map(abs, values)) <= WIDEST
    return np.array(values, dtype=np.int64 if fits else object)


def _bound(domain: Domain, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of the internal variables; everything that a domain says is asked of them."""
    variables: dict[str, np.ndarray] = {}
    for v in domain.ordered:
        values = arrays[v.symbol]
        divisor = np.asarray(int(v.divisor)) if v.divisor.is_Integer else evaluate(v.divisor, variables)
        if divisor.ndim:
            _inside(domain, arrays, divisor >= 1)
        _inside(domain, arrays, values >= v.lower)
        if v.upper is not None:
            _inside(domain, arrays, values <= v.upper)
        if divisor.ndim or divisor != 1:
            _inside(domain, arrays, values % divisor == 0)
            values = values // divisor
        variables[v.name] = values
    for relation in domain.relations:
        for part, holds in _over(variables, relation.difference):
            _inside(domain, {name: _cut(a, part) for name, a in arrays.items()}, holds)
    return variables


def _over(variables: Mapping[str, np.ndarray], difference: Expr) -> Iterable[tuple[tuple[slice, ...], np.ndarray]]:
    """Parts of the grid that a difference depends on, and where it is not negative in them."""
    own = {s.name: variables[s.name] for s in difference.free_symbols}
    for part in block_slices(np.broadcast_shapes(*(a.shape for a in own.values())), _CHECKED):
        yield part, evaluate(difference, {name: _cut(a, part) for name, a in own.items()}) >= 0


def _cut(array: np.ndarray, part: tuple[slice, ...]) -> np.ndarray:
    return array[tuple(s if length > 1 else slice(None) for s, length in zip(part, array.shape, strict=True))]


def _inside(domain: Domain, arrays: Mapping[str, np.ndarray], holds: Any) -> None:
    """Raises DomainError for the first point at which it does not hold."""
    holds = np.asarray(holds, dtype=bool)
    if holds.all():
        return
    place = tuple(map(int, np.unravel_index(int(np.argmin(holds)), holds.shape)))
    domain.bind({name: _at(array, place) for name, array in arrays.items()})
    raise DomainError(f"the grid leaves its domain {domain}")


def evaluate(expr: Expr, variables: Mapping[str, np.ndarray]) -> np.ndarray:
    """A whole-valued expression on its own axes, exactly: in int64 where no intermediate can overflow it, else in Python's
    integers."""
    own = {s.name: variables[s.name] for s in expr.free_symbols}
    shape = np.broadcast_shapes(*(a.shape for a in own.values()))
    blocks = Blocks([Graph({name: axes_bits(a) for name, a in own.items()}).whole(expr)])
    if grid_dtype([expr], {symbol(name): int(np.max(a)) for name, a in own.items()}) is np.int64:
        return blocks.on(own, shape, np.int64)[0]
    return blocks.exactly({name: a.astype(object) for name, a in own.items()}, shape)[0]
