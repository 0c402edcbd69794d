"""Which axis of a result each axis of an operand is, of equations that move elements."""

from __future__ import annotations

from sympy import Expr

from costmodel.program.raw import Raw
from costmodel.symbolic.forms import ONE


def axes_of(r: Raw) -> dict[int, int]:
    """Of a move: which axis of the result each axis of the operand is."""
    before, after = r.ins[0].array.shape, r.outs[0].array.shape
    if r.jax == "transpose":
        return {axis: i for i, axis in enumerate(r.params["permutation"])}
    if r.jax == "broadcast_in_dim" and "broadcast_dimensions" in r.params:
        return {i: int(axis) for i, axis in enumerate(r.params["broadcast_dimensions"]) if before[i] == after[int(axis)]}
    if before == after:
        return {i: i for i in range(len(before))}
    return _unchanged(before, after)


def _unchanged(before: tuple[Expr, ...], after: tuple[Expr, ...]) -> dict[int, int]:
    """Axes that a reshape leaves as they are: of the same size, and with as much before them."""
    places: dict[tuple[Expr, Expr], int] = {}
    for i, size, ahead in _with_ahead(after):
        places.setdefault((size, ahead), i)
    return {i: places[size, ahead] for i, size, ahead in _with_ahead(before) if (size, ahead) in places}


def _with_ahead(shape: tuple[Expr, ...]) -> list[tuple[int, Expr, Expr]]:
    found, ahead = [], ONE
    for i, size in enumerate(shape):
        if size != 1:
            found.append((i, size, ahead))
        ahead = (ahead * size).expand()
    return found


def free_axes(r: Raw, side: int) -> dict[int, int]:
    """Of a product: which axis of the result each axis of an operand is that is not summed over."""
    contracting, batch = ([tuple(map(int, axes)) for axes in pair] for pair in r.params["dimension_numbers"])
    found = {axis: i for i, axis in enumerate(batch[side])}
    ranks = [len(v.array.shape) for v in r.ins[:2]]
    free = [[a for a in range(ranks[s]) if a not in contracting[s] and a not in batch[s]] for s in (0, 1)]
    start = len(batch[0]) + (len(free[0]) if side else 0)
    return found | {axis: start + i for i, axis in enumerate(free[side])}
