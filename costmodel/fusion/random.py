"""How XLA for processors makes random bits: Threefry gives two words of 32 bits an element, in a loop over two arrays, which are
there until they are read. Where fewer than 64 bits are wanted whoever reads them takes their exclusive or (jax's default).
"""

from __future__ import annotations

from dataclasses import replace

from costmodel.fusion.activations import derives_keys
from costmodel.fusion.predicates import computes
from costmodel.rules.traits import Trait, traits_of
from costmodel.rules.work import Array, CostTable, Equation, Value, Work

_THREEFRY, _ELEMENTWISE = frozenset({"threefry"}), traits_of(Trait.ELEMENTWISE)
_WORDS = "uint32"


def two_words(table: CostTable) -> CostTable:
    """The program with the two words of random bits as two arrays, and what joins them."""
    equations: list[Equation] = []
    for e in table:
        if not computes(e, _THREEFRY) or derives_keys(e) or len(e.outs) != 1 or not e.outs[0].array.shape:
            equations.append(e)
            continue
        shape, size = e.outs[0].array.shape, e.outs[0].array.size
        words = Value(Array(shape, _WORDS)), Value(Array(shape, _WORDS))
        equations += [replace(e, outs=words, work=replace(e.work, written=(size, size))),
                      replace(e, primitive="xor", ins=words, rule="xor", detail="", traits=_ELEMENTWISE, params=None,
                              work=Work((), (size, size), (size,)))]
    return replace(table, equations=tuple(equations))


def in_two_words(e: Equation) -> bool:
    """Whether an equation makes random bits as two arrays."""
    return computes(e, _THREEFRY) and len(e.outs) == 2
