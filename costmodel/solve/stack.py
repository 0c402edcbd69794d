"""A network of equal layers between two ends, as pipelines cut it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from costmodel.pricing.core import Symbolic


@dataclass(frozen=True)
class Stack:
    """How a network of equal layers is trained over a mesh.

    training:  ``training(recompute, sequence_parallel)`` -> the cost of a training step with *one* layer between the ends, on one
               device of a mesh with the axes ``data`` and ``model``.
    layers:    how many there are.
    at:        sizes of the cost's symbols, all but the batch's and the axes'.
    layer, first: modules or scopes whose work is the layer's, and that of the first stage; what is left is the last stage's.
    batch:     the symbol of sequences in a micro-batch, over all of ``data``.
    sent:      symbols whose product with the batch is how many elements, in 16 bits, one stage sends to the next.
    shared:    the symbol that ``model`` divides (heads); tensor parallelism goes no further.
    recompute: what ``training`` knows to compute again.
    """

    name: str
    layers: int
    training: Callable[[str, bool], Symbolic]
    at: Mapping[str, int] = field(hash=False)
    layer: str
    first: str
    batch: str = "b"
    sent: tuple[str, ...] = ()
    shared: str = ""
    recompute: tuple[str, ...] = ("none", "full")
