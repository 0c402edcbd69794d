"""One program for what jax writes differently with symbols and without.

With a symbolic dimension anywhere jax turns static slices, ``x[1:]``, ``x[:, 0]`` and ``x[::-1]``, into gathers at places that
follow from shapes. Here they become slices again, and what moves nothing (a slice that takes all, inserting a dimension of 1)
becomes a view, in symbolic and in concrete programs alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sympy import Expr

from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.work import Array, Value
from costmodel.symbolic.domain import assumed
from costmodel.symbolic.forms import ONE, ZERO, lower_bound
from costmodel.symbolic.translate import internal

# A known vector of integers: (first, step) of first, first + step, first + 2·step …; a scalar has no step.
Affine = tuple[Expr, Expr]


def canonical(program: RawProgram) -> RawProgram:
    """The program with slices at known places written as slices, and movement that moves nothing as views."""
    known: dict[Value, Affine] = {v: (value, ZERO) for v, value in program.integers.items()}
    decided: dict[Value, bool] = {}
    made: list[Raw] = []
    for r in program.equations:
        vector = _vector(r, known) or _chosen(r, known, decided)
        if vector is not None:
            known[r.outs[0]] = vector
        made += [_as_view(part) for whole in _as_slices(r, known) for part in _as_cut(whole)]
    return replace(program, equations=tuple(made))


# -- known places -------------------------------------------------------------------------------------------------------------


def _vector(r: Raw, known: Mapping[Value, Affine]) -> Affine | None:
    """The integers that an equation makes, where they follow from shapes and rise or fall evenly."""
    if len(r.outs) != 1 or not r.outs[0].array.dtype.startswith(("int", "uint")) or r.effects:
        return None
    if r.jax == "iota":
        return (ZERO, ONE) if len(r.outs[0].array.shape) == 1 else None
    operands = [known.get(v) for v in r.ins]
    if not operands or None in operands:
        return None
    first, step = operands[0]  # type: ignore[misc]
    if r.jax in ("convert_element_type", "copy", "reshape", "squeeze", "stop_gradient"):
        return first, step
    if r.jax == "broadcast_in_dim":
        return (first, step) if step == 0 or r.outs[0].array.size == r.ins[0].array.size else None
    if r.jax == "rev":
        return first + step * (r.ins[0].array.size - 1), -step
    if r.jax in _LINEAR and len(operands) == 2:
        return _LINEAR[r.jax](operands[0], operands[1])
    return None


def _chosen(r: Raw, known: Mapping[Value, Affine], decided: dict[Value, bool]) -> Affine | None:
    """The integer that a selection by a comparison of known integers takes: jax counts a negative place from the end so. What a
    comparison says goes into ``decided``."""
    if r.jax in ("lt", "ge") and all(v in known and known[v][1] == 0 for v in r.ins):
        difference = (known[r.ins[0]][0] - known[r.ins[1]][0]).expand()
        if difference.is_Integer:
            decided[r.outs[0]] = bool(difference < 0) == (r.jax == "lt")
    if r.jax != "select_n" or r.ins[0] not in decided:
        return None
    return known.get(r.ins[2] if decided[r.ins[0]] else r.ins[1])


def _product(a: Affine, b: Affine) -> Affine | None:
    if a[1] != 0 and b[1] != 0:
        return None
    return (a[0] * b[0]).expand(), (a[1] * b[0] + a[0] * b[1]).expand()


_LINEAR: dict[str, Any] = {
    "add": lambda a, b: ((a[0] + b[0]).expand(), (a[1] + b[1]).expand()),
    "sub": lambda a, b: ((a[0] - b[0]).expand(), (a[1] - b[1]).expand()),
    "mul": _product,
}


# jax's modes in which a gather reads within its operand only, as a dynamic slice does; others fill in what is outside.
_WITHIN = ("GatherScatterMode.PROMISE_IN_BOUNDS", "GatherScatterMode.CLIP")


def _as_slices(r: Raw, known: Mapping[Value, Affine]) -> Iterator[Raw]:
    """The equation, or the slice (and the view that drops dimensions of 1) that it is."""
    found = _slice_of(r, known) if r.jax in ("gather", "dynamic_slice") else None
    if found is None:
        yield from _at_one_place(r) if r.jax == "gather" else (r,)
        return
    starts, steps, sizes, reverses = found
    value, out = r.ins[0], r.outs[0]
    chain: list[tuple[str, dict[str, Any]]] = [("slice", {"start_indices": starts, "strides": steps, "limit_indices": None})]
    if reverses:
        chain.append(("rev", {"dimensions": reverses}))
    if sizes != out.array.shape:
        chain.append(("reshape", {}))
    for place, (primitive, params) in enumerate(chain, 1):
        made = out if place == len(chain) else Value(Array(sizes, out.array.dtype))
        yield replace(r, primitive=primitive, params=params, ins=(value,), outs=(made,))
        value = made


def _at_one_place(r: Raw) -> Iterator[Raw]:
    """A gather; or the dynamic slice, and the view that drops dimensions of 1, that it is where it reads at one place that is kept
    within the array: with symbols jax writes ``x[i]`` so (and XLA itself rewrites it, GatherExpander)."""
    numbers, sizes, out = r.params["dimension_numbers"], tuple(map(internal, r.params["slice_sizes"])), r.outs[0]
    one = r.ins[1].array.size == 1 and len(numbers.start_index_map) == 1 and not numbers.operand_batching_dims
    if not one or str(r.params.get("mode")) not in _WITHIN:
        yield r
        return
    kept = out if sizes == out.array.shape else Value(Array(sizes, out.array.dtype))
    yield replace(r, primitive="dynamic_slice", params={"slice_sizes": sizes}, outs=(kept,))
    if kept is not out:
        yield replace(r, primitive="reshape", params={}, ins=(kept,))


_Slice = tuple[tuple[Expr, ...], tuple[Expr, ...], tuple[Expr, ...], tuple[int, ...]]


def _slice_of(r: Raw, known: Mapping[Value, Affine]) -> _Slice | None:
    """(start, stride, size) of each dimension, and the dimensions that are read backwards."""
    rank = len(r.ins[0].array.shape)
    if r.jax == "dynamic_slice":
        places = [known.get(v) for v in r.ins[1:]]
        if len(places) != rank or None in places:
            return None
        return tuple(p[0] for p in places), (ONE,) * rank, tuple(map(internal, r.params["slice_sizes"])), ()  # type: ignore[index]
    numbers, indices = r.params["dimension_numbers"], known.get(r.ins[1])
    sizes = [internal(size) for size in r.params["slice_sizes"]]
    if indices is None or numbers.operand_batching_dims or len(numbers.start_index_map) != 1:
        return None
    (axis,) = numbers.start_index_map
    starts, steps = [ZERO] * rank, [ONE] * rank
    count = r.ins[1].array.size
    starts[axis] = indices[0]
    if count == 1:  # one slice
        return tuple(starts), tuple(steps), tuple(sizes), ()
    if (axis,) != tuple(numbers.collapsed_slice_dims) or sizes[axis] != 1 or tuple(numbers.offset_dims) != tuple(
            d for d in range(rank) if d != axis):
        return None
    first, step = indices
    sizes[axis] = count
    if not step.is_Integer or step == 0:
        return None
    if step < 0:
        first, step = (first + step * (count - 1)).expand(), -step
        reverses: tuple[int, ...] = (axis,)
    else:
        reverses = ()
    starts[axis], steps[axis] = first, step
    return tuple(starts), tuple(steps), tuple(sizes), reverses


def _as_cut(r: Raw) -> Iterator[Raw]:
    """The equation, or what a pad of less than nothing is: a slice, and a pad of what is left of it where there is something."""
    if r.jax != "pad" or "padding_config" not in r.params:  # without: what is placed into zeros, in a fitted program
        yield r
        return
    config = [tuple(map(internal, dimension)) for dimension in r.params["padding_config"]]
    cut = [tuple(_not_above_zero(end) if interior == 0 else ZERO for end in (low, high)) for low, high, interior in config]
    if all(end == 0 for ends in cut for end in ends):
        yield r
        return
    left = [(low - cut_low, high - cut_high, interior)
            for (low, high, interior), (cut_low, cut_high) in zip(config, cut, strict=True)]
    sizes = tuple((d + low + high).expand() for d, (low, high) in zip(r.ins[0].array.shape, cut, strict=True))
    last = all(end == 0 for ends in left for end in ends)
    kept = r.outs[0] if last else Value(Array(sizes, r.outs[0].array.dtype))
    starts = tuple((-low).expand() for low, _ in cut)
    yield replace(r, primitive="slice", params={"start_indices": starts, "strides": (ONE,) * len(sizes), "limit_indices": None},
                  ins=(r.ins[0],), outs=(kept,))
    if not last:
        yield replace(r, params={**r.params, "padding_config": tuple(left)}, ins=(kept, *r.ins[1:]))


def _not_above_zero(end: Expr) -> Expr:
    """What a pad cuts off at an end, as a number of at most 0."""
    return end if lower_bound(-end, assumed(end)) >= 0 else ZERO


# -- movement that moves nothing ----------------------------------------------------------------------------------------------


def _as_view(r: Raw) -> Raw:
    """Movement whose result has the operand's elements in their order is a view."""
    if r.jax not in _STILL or not _STILL[r.jax](r):
        return r
    # Where dimensions of 1 were moved from tells what layout a compiler may give the result.
    return replace(r, primitive="reshape", params=r.params if r.jax == "transpose" else {})


def _same_size(r: Raw) -> bool:
    return len(r.ins) == 1 and r.ins[0].array.size == r.outs[0].array.size


def _keeps_order(r: Raw) -> bool:
    """A transposition that only moves dimensions of 1."""
    kept = [d for d in r.params["permutation"] if r.ins[0].array.shape[d] != 1]
    return kept == sorted(kept)


def _of_ones(r: Raw) -> bool:
    return all(r.ins[0].array.shape[d] == 1 for d in r.params["dimensions"])


def _same_array(r: Raw) -> bool:
    return len(r.ins) <= 2 and r.ins[0].array.shape == r.outs[0].array.shape


def _same_type(r: Raw) -> bool:
    return r.ins[0].array == r.outs[0].array


_STILL: dict[str, Any] = {
    "convert_element_type": _same_type,
    "broadcast_in_dim": _same_size, "slice": _same_size, "transpose": _keeps_order, "rev": _of_ones, "concatenate": _same_size,
    "pad": _same_array, "reduce_sum": _same_size, "reduce_max": _same_size, "reduce_min": _same_size, "reduce_prod": _same_size,
    "reduce_and": _same_size, "reduce_or": _same_size,
}
