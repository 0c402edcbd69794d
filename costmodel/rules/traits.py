"""What an equation *is*: the traits that a rule declares and that fusion, memory and prices ask for.

A pass never asks what a primitive or a rule is called. Whoever registers a rule says what its equations are::

    @rule("my_activation", traits=("elementwise", "expensive"))
    def my_activation(eqn, **_): ...

Without a trait an equation is a kernel of its own, which nothing fuses with.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from costmodel.errors import CostModelError
from costmodel.text import did_you_mean


class Trait(StrEnum):
    """A property of an equation. An equation has any number of them."""

    # -- another name of what is there
    VIEW = "view"  # the same elements under another shape or name: touches no memory
    LOOP_CARRY = "loop carry"  # a view: a loop's carried value as its body sees it
    BRANCH_RESULT = "branch result"  # the result of the branch that was taken

    # -- a loop over the elements of the result
    ELEMENTWISE = "elementwise"  # an element of the result needs the operands' elements in the same place
    EXPENSIVE = "expensive"  # elementwise and dear: compilers do not compute it twice
    COMPOSED = "composed"  # elementwise, of several operations: no single instruction of a library
    MOVE = "move"  # an element of the result is an element of an operand
    COPY = "copy"  # a move of whole operands
    BROADCAST = "broadcast"  # a move that repeats something smaller
    TRANSPOSE = "transpose"  # a move into another order of dimensions
    CONCATENATE = "concatenate"  # a move of several arrays into one
    PAD = "pad"  # a move into something larger
    CONSTANT = "constant"  # known without reading anything

    # -- places in memory
    IN_PLACE = "in place"  # writes into the memory of its first operand, and leaves the rest of that as it is
    UPDATE = "update"  # in place, one block
    INDEXED = "indexed"  # reads at places that its other operands say
    SCAN_READ = "scan read"  # an iteration's slice of what a loop goes over
    SCAN_WRITE = "scan write"  # an iteration's slice of a loop's stacked result

    # -- sums and what else a kernel has one of: each makes a layer of its own
    REDUCTION = "reduction"
    DOT = "dot"
    CONVOLUTION = "convolution"
    WINDOW = "window"
    WINDOW_GRADIENT = "window gradient"
    GATHER = "gather"
    SCATTER = "scatter"
    SORT = "sort"
    CUMULATIVE = "cumulative"
    FFT = "fft"
    LINEAR_ALGEBRA = "linear algebra"
    LIBRARY = "library"  # a kernel that cannot be seen into


# What a trait says beside itself.
_IMPLIES = {
    Trait.LOOP_CARRY: {Trait.VIEW}, Trait.EXPENSIVE: {Trait.ELEMENTWISE},
    Trait.COMPOSED: {Trait.ELEMENTWISE}, Trait.COPY: {Trait.MOVE},
    Trait.BROADCAST: {Trait.COPY, Trait.MOVE}, Trait.TRANSPOSE: {Trait.COPY, Trait.MOVE},
    Trait.CONCATENATE: {Trait.COPY, Trait.MOVE}, Trait.PAD: {Trait.COPY, Trait.MOVE}, Trait.UPDATE: {Trait.IN_PLACE, Trait.MOVE},
    Trait.SCATTER: {Trait.IN_PLACE},
    Trait.GATHER: {Trait.INDEXED, Trait.MOVE}, Trait.SCAN_READ: {Trait.MOVE},
}

NO_TRAITS: frozenset[Trait] = frozenset()


def traits_of(names: str | Iterable[str]) -> frozenset[Trait]:
    """Traits by name, with what they imply. Raises CostModelError for an unknown one.

    >>> sorted(traits_of("expensive"))
    [<Trait.ELEMENTWISE: 'elementwise'>, <Trait.EXPENSIVE: 'expensive'>]
    """
    wanted = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in wanted if name not in tuple(Trait)]
    if unknown:
        raise CostModelError(f"no trait is called {', '.join(map(repr, unknown))};"
                             f"{did_you_mean(unknown[0], Trait)} choose from {', '.join(Trait)}")
    found = {Trait(name) for name in wanted}
    return frozenset(found.union(*(_IMPLIES.get(trait, ()) for trait in found)))
