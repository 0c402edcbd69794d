"""How XLA routes the gradient of a pool to the elements that a window chose (SelectAndScatterExpander)."""

from __future__ import annotations

from dataclasses import replace

from costmodel.rules.params import Places, Window
from costmodel.rules.traits import Trait, traits_of
from costmodel.rules.work import Array, CostTable, Equation, Value, Work

_CONSTANT, _MOVE, _SCATTER = (traits_of(trait) for trait in (Trait.CONSTANT, Trait.MOVE, Trait.SCATTER))
_INDEX = "int32"


def located_windows(table: CostTable) -> CostTable:
    """The program in which the gradient of a pool first finds the place of each window's choice, a number for each dimension, by a
    reduction of the elements with all their places; then scatters what is routed there."""
    equations: list[Equation] = []
    for e in table:
        if Trait.WINDOW_GRADIENT in e.traits and isinstance(e.params, Window) and len(e.ins) == 2 and (
                e.outs[0].array.shape == e.ins[1].array.shape):
            equations += _expanded(e)
        else:
            equations.append(e)
    return replace(table, equations=tuple(equations))


def _expanded(e: Equation) -> list[Equation]:
    routed, operand = e.ins
    rank, whole, windows = len(operand.array.shape), operand.array, routed.array
    numbers = tuple(Value(Array(whole.shape, _INDEX)) for _ in range(rank))
    chosen = tuple(Value(Array(windows.shape, _INDEX)) for _ in range(rank))
    largest, zeros = Value(Array(windows.shape, whole.dtype)), Value(whole)
    places = Value(Array((*windows.shape, rank), _INDEX))
    compare, combine = e.work.ops[:-1], e.work.ops[-1:]
    made = [replace(e, primitive="iota", ins=(), outs=(number,), rule="iota", detail="", traits=_CONSTANT, params=None,
                    work=Work((), (), (whole.size,))) for number in numbers]
    return [
        *made,
        replace(e, primitive="broadcast_in_dim", ins=(), outs=(zeros,), rule="broadcast_in_dim", detail="", traits=_CONSTANT,
                params=None, work=Work((), (), (whole.size,))),
        replace(e, primitive="reduce_window", ins=(operand, *numbers), outs=(largest, *chosen), rule="reduce_window", detail="",
                params=None, work=Work(compare, (whole.size,) * (1 + rank), (windows.size,) * (1 + rank))),
        replace(e, primitive="concatenate", ins=chosen, outs=(places,), rule="concatenate", detail="", traits=_MOVE, params=None,
                work=Work((), (windows.size,) * rank, (places.array.size,))),
        replace(e, primitive="scatter-add", ins=(zeros, places, routed), rule="scatter_combine", detail="", traits=_SCATTER,
                params=Places(0), work=Work(combine, (windows.size, places.array.size, windows.size), (windows.size,)))]
