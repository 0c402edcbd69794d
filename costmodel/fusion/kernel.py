"""A kernel: equations that run as one, and what crosses its border."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sympy import Add, Expr, Rational

from costmodel.fusion.layers import anchor_kind
from costmodel.rules.branches import Branch, Branches, combined
from costmodel.rules.params import Convolution
from costmodel.rules.traits import Trait
from costmodel.rules.work import Array, Equation, Value, total
from costmodel.symbolic.forms import at_most

KINDS = ("dot", "conv", "grouped conv", "depthwise conv", "window", "reduce", "elementwise", "copy", "gather", "scatter", "sort",
         "cumulative", "fft", "linear algebra", "collective")


@dataclass(frozen=True, eq=False)
class Kernel:
    """Equations that run as one: what they read from outside and write for others, in elements of each value.

    kind:   one of :data:`KINDS`.
    again:  equations of other kernels that this one computes, too, instead of reading their results.
    """

    index: int
    kind: str
    equations: tuple[Equation, ...]
    reads: tuple[tuple[Value, Expr], ...]
    writes: tuple[tuple[Value, Expr], ...]
    again: tuple[Equation, ...] = ()

    @property
    def main(self) -> Equation:
        """The equation that gives the kernel its name: its anchor, else the last."""
        return self.equations[0] if len(self.equations) == 1 else self._main

    @cached_property
    def _main(self) -> Equation:
        return next((e for e in self.equations if anchor_kind(e) is not None), self.equations[-1])

    @property
    def times(self) -> Expr:
        """How many runs the program makes of it."""
        return self.main.times

    @property
    def branch(self) -> Branch:
        """The sides of each ``cond`` that it is on."""
        return self.main.branch

    @property
    def path(self) -> tuple[str, ...]:
        """The modules that its main equation is in, outermost first."""
        return self.main.path

    @cached_property
    def bytes(self) -> Expr:
        """Bytes across the kernel's border, one run."""
        return total(elements * Rational(v.array.bits, 8) for v, elements in (*self.reads, *self.writes))

    @cached_property
    def inputs(self) -> Expr:
        """Elements of activations read."""
        return Add(*(elements for v, elements in self.reads if v.is_activation))

    @cached_property
    def outputs(self) -> Expr:
        """Elements of activations written."""
        return Add(*(elements for v, elements in self.writes if v.is_activation))


def kind_of(equations: Sequence[Equation]) -> str:
    """The kind of a kernel of these equations: that of its anchor, else of what its loop does."""
    reduces = any(Trait.REDUCTION in e.traits for e in equations)
    for e in equations:
        kind = anchor_kind(e)
        if kind == "conv" and grouped(e):
            return "depthwise conv" if depthwise(e) else "grouped conv"
        if kind == "gather" and reduces:
            continue  # a normalisation of what was looked up
        if kind is not None:
            return kind
    engines = {kind.engine for e in equations for kind, _, _ in e.work.ops}
    if "link" in engines:
        return "collective"
    if "matrix" in engines or any(Trait.LINEAR_ALGEBRA in e.traits for e in equations):
        return "linear algebra"
    if reduces:
        return "reduce"
    return "elementwise" if engines else "copy"


def grouped(e: Equation) -> bool:
    """A convolution in groups of channels, forward or in a gradient."""
    return isinstance(e.params, Convolution) and (e.params.feature_groups != 1 or e.params.batch_groups != 1)


def depthwise(e: Equation) -> bool:
    """A convolution with one input channel a group, forward or in a gradient: no sum over channels."""
    return grouped(e) and 1 in e.ins[1].array.shape[-2:]


def read_once(array: Array, parts: Sequence[Expr], times: Sequence[Expr] | None = None) -> Expr:
    """Elements of an array read by several readers that share one pass: all of it if one reads all; partial reads add up, each as
    often as it happens, but never to more than the array."""
    if array.size in parts:
        return array.size
    if len(parts) == 1 and (times is None or times[0] == 1):
        return parts[0]
    if times is None:
        return at_most(Add(*parts), array.size)
    return at_most(Add(*(p * t for p, t in zip(parts, times, strict=True))), array.size)


def of_part(e: Equation, operand: Value, elements: Expr, wanted: Expr) -> Expr:
    """Elements of an operand that ``wanted`` elements of a result need, of which the whole needs so many: what takes elements at
    places that are data reads one an element, each once."""
    return at_most(wanted, elements) if Trait.INDEXED in e.traits and operand is e.ins[0] else elements


def running(kernels: Iterable[Kernel], branches: Branches, each: Callable[[Kernel], float]) -> tuple[Kernel, ...]:
    """The kernels that run where of every branch that side is taken of whose kernels the numbers sum to most (or least)."""
    def joined(parts: Iterable[tuple[float, list[Kernel]]]) -> tuple[float, list[Kernel]]:
        parts = list(parts)
        return sum(number for number, _ in parts), [k for _, found in parts for k in found]

    def choose(sides: Sequence[tuple[float, list[Kernel]]]) -> tuple[float, list[Kernel]]:
        return branches.pick(sides, lambda side: side[0])

    found = combined(((k.branch, (each(k), [k])) for k in kernels), branches, add=joined, join=joined, choose=choose)
    return tuple(sorted(found[1], key=lambda k: k.index))
