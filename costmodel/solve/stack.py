"""A network of equal layers between two ends, as pipelines cut it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from costmodel.pricing.core import Symbolic


@dataclass(frozen=True)
class Stack:
    """How a network of equal layers is trained over a mesh.

    layers:    how many there are.
    training:  ``training(sequence_parallel)`` -> the cost of the gradients of one layer of each kind of recomputation between the
               ends, on one device of a mesh with the axes ``data`` and ``model``.
    update:    -> the cost of a training step of which the optimizer's part counts, over any number of parameters.
    at:        sizes of the cost's symbols, all but the batch's and the axes'.
    layers_of: kind of recomputation -> the module that is the layer.
    first:     the module or scope whose work is the first stage's; what is left is the last one's.
    sent:      symbols whose product with the batch is how many elements, in 16 bits, one stage sends to the next.
    shared:    the symbol that ``model`` divides (heads): tensor parallelism goes no further.
    shared_table: the parameter that the first and the last stage both have.
    sequence_parallel: whether ``training`` knows it; plans have it then.
    batch:     the symbol of sequences in a micro-batch, over all of ``data``.
    """

    name: str
    layers: int
    training: Callable[[bool], Symbolic]
    update: Callable[[], Symbolic]
    at: Mapping[str, int] = field(hash=False)
    layers_of: Mapping[str, str] = field(hash=False)
    first: str
    sent: tuple[str, ...]
    shared: str
    shared_table: str = ""
    batch: str = "b"
    sequence_parallel: bool = True
