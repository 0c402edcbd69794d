"""Values of factored expressions on a grid, block by block: a block's intermediate arrays stay in the processor's cache.

What depends on some axes only is computed once for the whole grid (a chunk of one, where the grid is large), and what depends on
all of them in blocks, straight into the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from costmodel.symbolic.array_forms import ceil_log2_jax, ceil_log2_numpy, tap_count_jax, tap_count_numpy
from costmodel.symbolic.factored import Node, uses
from costmodel.symbolic.forms import CeilLog2
from costmodel.symbolic.taps import count_pairs

BLOCK = 2**16  # points whose intermediates, of 8 bytes each, stay in the caches
EXACT = 4096  # so many points are computed in Python's integers where 64 bits are too few

Slices = tuple[slice, ...]


class Blocks:
    """Several outputs over the same axes, as arrays of one type; their graph may share nodes."""

    def __init__(self, outputs: Sequence[Node]) -> None:
        self.outputs = tuple(outputs)
        self._uses = uses(self.outputs)

    def into(self, results: Sequence[np.ndarray], env: Mapping[str, np.ndarray]) -> None:
        """Write each output into its array. ``env`` has broadcastable arrays of the symbols, in the type to compute in."""
        if not results:
            return
        shape = results[0].shape
        full = sum(1 << i for i, length in enumerate(shape) if length > 1)
        run = _Run(self._uses, env, full)
        for slices in block_slices(shape, BLOCK):
            run.enter(slices)
            for output, result in zip(self.outputs, results, strict=True):
                place: tuple[Any, ...] = (*slices, ...)  # also of an array without axes a view
                run.write(output, result[place])

    def on(self, env: Mapping[str, np.ndarray], shape: tuple[int, ...], dtype: Any) -> list[np.ndarray]:
        """The outputs as new arrays."""
        results = [np.empty(shape, dtype) for _ in self.outputs]
        self.into(results, env)
        return results

    def exactly(self, env: Mapping[str, Any], shape: tuple[int, ...]) -> list[np.ndarray]:
        """The outputs in Python's integers of any size; ``env`` has arrays of such."""
        run = _Run(self._uses, env, 0)
        return [np.broadcast_to(np.asarray(run.part(output), dtype=object), shape) for output in self.outputs]

    def traced(self, env: Mapping[str, Any], shape: tuple[int, ...]) -> list[Any]:
        """The outputs as jax arrays, under ``jit`` or not."""
        import jax.numpy as jnp

        run = _Run(self._uses, env, 0, of_jax=True)
        return [jnp.broadcast_to(run.part(output), shape) for output in self.outputs]


class _Run:
    """The values of one grid: ``part`` of what is computed as a whole, ``value`` of what is computed in the block entered."""

    def __init__(self, counts: Mapping[Node, int], env: Mapping[str, Any], full: int, of_jax: bool = False) -> None:
        self.counts, self.env, self.full = counts, env, full
        self.forms = _JAX if of_jax else _NUMPY
        self.of_jax = of_jax
        self._parts: dict[Node, Any] = {}
        self._block: dict[Node, Any] = {}
        self._slices: Slices = ()
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(next((a.dtype for a in env.values()), np.int64))  # one for all

    def enter(self, slices: Slices) -> None:
        self._slices = slices
        self._shape = tuple(s.stop - s.start for s in slices)
        self._block = {}

    def write(self, node: Node, result: np.ndarray) -> None:
        value, _ = self.value(node, result)
        if value is not result:
            result[...] = value

    def part(self, node: Node) -> Any:
        """The value on the whole grid, broadcastable."""
        if node not in self._parts:
            if node.op == "constant":
                made = node.leaf
            elif node.op == "symbol":
                made = self.env[node.leaf]
            elif node.op == "add" and self.of_jax is False and len(node.args) > 2:
                made = self._summed([self.part(arg) for arg in node.args])
            else:
                made = self._apply(node, [self.part(arg) for arg in node.args])
            self._parts[node] = made
        return self._parts[node]

    @staticmethod
    def _summed(args: Sequence[Any]) -> Any:
        total = args[0]
        for arg in args[1:]:
            total = total + arg
        return total

    def value(self, node: Node, out: np.ndarray | None = None) -> tuple[Any, bool]:
        """The value in the block, in ``out`` if that suits; and whether it may be written over."""
        if self.full & ~node.axes or node.op in ("symbol", "constant"):
            return self._sliced(self.part(node)), False
        if node in self._block:
            return self._block[node], False
        keep = self.counts[node] > 1
        made = self._computed(node, None if keep else out)
        if keep:
            self._block[node] = made
        return made, not keep

    def _sliced(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.ndim == 0:
            return value
        return value[tuple(s if length > 1 else slice(None) for s, length in zip(self._slices, value.shape, strict=True))]

    def _computed(self, node: Node, out: np.ndarray | None) -> Any:
        """Of a sum, a product or a maximum one argument after the other, so that no two are held at once."""
        chain = _CHAINS.get(node.op)
        if chain is None:
            return self._apply(node, [self.value(arg)[0] for arg in node.args])
        first, *others = sorted(node.args, key=self._light)  # what fills the block is computed in its place
        total, ours = self.value(first, out)
        for arg in others:
            value, free = self.value(arg)
            target = total if ours else value if free else out
            suits = target is not None and getattr(target, "shape", None) == self._shape and target.dtype == self._dtype
            total, ours = chain(total, value, out=target if suits else None), True
        return total

    def _light(self, node: Node) -> bool:
        return bool(self.full & ~node.axes) or not node.args

    def _apply(self, node: Node, args: list[Any]) -> Any:
        return self.forms[node.op](node.leaf, *args)


def _power(exponent: int, base: Any) -> Any:
    """By multiplications, in the base's own type; a negative one by division."""
    if exponent < 0:
        return 1 / _power(-exponent, base)
    result = base
    for _ in range(exponent - 1):
        result = result * base
    return result if exponent else base * 0 + 1


def _picked(where: Any, greatest: Any, args: Any) -> Any:
    """Of several values the one whose key is greatest (or least); the first of equals. ``where`` is numpy's or jax's."""
    half = len(args) // 2
    key, value = args[0], args[half]
    for other, its in zip(args[1:half], args[half + 1:], strict=True):
        better = other > key if greatest else other < key
        key, value = where(better, other, key), where(better, its, value)
    return value


def _pick(greatest: Any, *args: Any) -> Any:
    return _picked(np.where, greatest, args)


def _of_python(values: Any) -> bool:
    """Whether these are an array of Python's integers."""
    return isinstance(values, np.ndarray) and values.dtype.kind == "O"


def _tap_count(_: Any, *args: Any) -> Any:
    if any(map(_of_python, args)):
        return np.frompyfunc(count_pairs, 8, 1)(*args)
    return tap_count_numpy(*args)


def _ceil_log2(_: Any, n: Any) -> Any:
    return np.frompyfunc(CeilLog2.exact, 1, 1)(n) if _of_python(n) else ceil_log2_numpy(n)


def _reduced(function: Any) -> Any:
    def apply(_: Any, *args: Any) -> Any:
        total = args[0]
        for arg in args[1:]:
            total = function(total, arg)
        return total
    return apply


_NUMPY: Mapping[str, Any] = {
    "add": _reduced(np.add), "mul": _reduced(np.multiply), "pow": _power, "maximum": _reduced(np.maximum),
    "minimum": _reduced(np.minimum), "floor_div": lambda _, a, b: a // b, "ceil_div": lambda _, a, b: -(-a // b),
    "divide": lambda _, a, b: a / b, "pick": _pick, "tap_count": _tap_count, "ceil_log2": _ceil_log2,
}
_CHAINS = {"add": np.add, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum}


def _jax_pick(greatest: Any, *args: Any) -> Any:
    import jax.numpy as jnp

    return _picked(jnp.where, greatest, args)


def _of_jax(name: str) -> Any:
    def apply(_: Any, *args: Any) -> Any:
        import jax.numpy as jnp

        total = args[0]
        for arg in args[1:]:
            total = getattr(jnp, name)(total, arg)
        return total
    return apply


_JAX: Mapping[str, Any] = {
    **_NUMPY, "add": _of_jax("add"), "mul": _of_jax("multiply"), "maximum": _of_jax("maximum"), "minimum": _of_jax("minimum"),
    "pick": _jax_pick, "tap_count": lambda _, *args: tap_count_jax(*args), "ceil_log2": lambda _, n: ceil_log2_jax(n),
}


def block_slices(shape: tuple[int, ...], most: int) -> Iterator[Slices]:
    """A grid cut into blocks of at most so many points, in order, the inner axes whole where they fit."""
    steps, left = [], most
    for length in reversed(shape):
        step = max(1, min(length, left))
        steps.append(step)
        left = left // step if step == length else 1
    steps.reverse()
    ranges = [range(0, length, step) for length, step in zip(shape, steps, strict=True)]
    for starts in itertools.product(*ranges):
        yield tuple(slice(a, min(a + step, length)) for a, step, length in zip(starts, steps, shape, strict=True))


def chunk_shape(shape: Sequence[int], most: int) -> tuple[int, ...]:
    """The lengths of chunks of at most so many points, as near to equal on all axes as the axes allow."""
    found, left = [1] * len(shape), most
    order = sorted(range(len(shape)), key=lambda i: shape[i])
    for place, i in enumerate(order):
        fair = int(left ** (1 / (len(order) - place)) + 1e-9)
        found[i] = max(1, min(shape[i], fair))
        left //= found[i]
    return tuple(found)


def count(shape: Sequence[int]) -> int:
    """Points of a grid, exactly."""
    return prod(shape)
