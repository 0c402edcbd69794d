"""Where propagation loses the sharding of the batch: an operation takes it sharded, and its result has it whole on every device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sympy import Expr

from costmodel import _jax_compat as compat
from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.work import Value
from costmodel.sharding.borders import is_view
from costmodel.sharding.lines import where
from costmodel.symbolic.forms import symbol
from costmodel.trace.words import Origin, Phase


class Lost(NamedTuple):
    """The batch dimension ``dim`` is no longer shared along ``axis`` after ``equation``."""

    equation: Raw
    dim: Expr
    axis: str
    rank: int
    place: int

    @property
    def where(self) -> str:
        """The model's line, or its module."""
        return where(self.equation)

    def text(self, dim: Expr) -> str:
        """What was lost of a dimension, where, and what keeps it, in one line."""
        entries = ", ".join(repr(self.axis) if i == self.place else "None" for i in range(self.rank))
        return (f"the batch {dim} is no longer sharded along {self.axis} after {self.equation.primitive} at {self.where}: every "
                f"device computes all of it from there on; jax.lax.with_sharding_constraint(x, PartitionSpec({entries})) keeps it")


def lost(program: RawProgram, local: Mapping[Value, Value]) -> Lost | None:
    """The first operation of the forward pass, in program order, that loses the batch's sharding; None if none does."""
    return next(_losses(program, local), None)


def _losses(program: RawProgram, local: Mapping[Value, Value]) -> Iterator[Lost]:
    batches, users = dict(_batches(program, local)), _users(program)
    for r in program.equations:
        for v in r.outs if r.phase == Phase.FORWARD else ():
            for place, dim in enumerate(v.array.shape):
                for axis in batches.get(dim, ()):
                    if len(v.array.shape) > 1 and not _shared(local, v, place, axis) and _had(r, local, dim, axis) and any(
                            _has_whole(local, out, dim, axis) for user in _readers(v, users) for out in user.outs) and not any(
                            compat.shardings_in(user.params) for user in users.get(v, ())):  # which the model asks for
                        yield Lost(r, dim, axis, len(v.array.shape), place)


def _users(program: RawProgram) -> dict[Value, list[Raw]]:
    found: dict[Value, list[Raw]] = {}
    for r in program.equations:
        for v in r.ins:
            found.setdefault(v, []).append(r)
    return found


def _readers(v: Value, users: Mapping[Value, list[Raw]]) -> Iterator[Raw]:
    """The equations that read a value, seen through views, such as constraints: what is sharded again at once is not lost."""
    for r in users.get(v, ()):
        if is_view(r):
            for out in r.outs:
                yield from _readers(out, users)
        else:
            yield r


def _has_whole(local: Mapping[Value, Value], v: Value, dim: Expr, axis: str) -> bool:
    return any(d == dim and not _shared(local, v, i, axis) for i, d in enumerate(v.array.shape))


def _had(r: Raw, local: Mapping[Value, Value], dim: Expr, axis: str) -> bool:
    return any(d == dim and _shared(local, v, i, axis) for v in r.ins for i, d in enumerate(v.array.shape))


def _shared(local: Mapping[Value, Value], v: Value, place: int, axis: str) -> bool:
    mine = local.get(v)
    return mine is not None and symbol(axis) in mine.array.shape[place].as_numer_denom()[1].free_symbols


def _batches(program: RawProgram, local: Mapping[Value, Value]) -> Iterator[tuple[Expr, tuple[str, ...]]]:
    """First dimensions of inputs with the axes that share them; those that an array has elsewhere, or a parameter, are none."""
    elsewhere = {d for v in program.inputs for d in v.array.shape[1 if v.origin == Origin.INPUT else 0:]}
    for v in program.inputs:
        first = v.array.shape[0] if v.array.shape else None
        if v.origin == Origin.INPUT and first is not None and first not in elsewhere and first.free_symbols:
            below = local[v].array.shape[0].as_numer_denom()[1].free_symbols
            if below:
                yield first, tuple(sorted(s.name for s in below))
