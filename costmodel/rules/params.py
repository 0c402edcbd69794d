"""Typed parameters of equations, a record a family: what passes need to know of an equation beside its arrays and traits.

A rule names the family of its primitives: ``@rule("dot_general", params=Contraction.of)``. Dimensions are numbers of axes, extents
are expressions over the internal symbols, so that two ways of writing c + d are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Expr

from costmodel.symbolic.forms import ONE
from costmodel.symbolic.translate import internal

Axes = tuple[int, ...]
Extents = tuple[Expr, ...]
Precision = tuple[str | None, str | None]


def precision_pair(precision: Any) -> Precision:
    """jax's precision of a contraction as that of its two operands; an algorithm's name stands for both, None is the default.

    >>> precision_pair(None), precision_pair("HIGHEST"), precision_pair(("HIGH", None))
    ((None, None), ('HIGHEST', 'HIGHEST'), ('HIGH', None))
    """
    pair = precision if isinstance(precision, tuple) else (precision, precision)
    left, right = (None if p is None else str(getattr(p, "name", p)) for p in pair)
    return left, right


@dataclass(frozen=True)
class Params:
    """Base of every family. Fields are axes, extents, texts, or tuples of these."""

    def fits(self, ins: Sequence[int], outs: Sequence[int]) -> bool:
        """Whether an equation whose operands and results have these ranks can have it; what is read from a file must."""
        return True


@dataclass(frozen=True)
class Contraction(Params):
    """A dot: axes of the left and right operand that are summed over, axes that both have, and the operands' precisions."""

    contracting: tuple[Axes, Axes]
    batch: tuple[Axes, Axes]
    precision: Precision = (None, None)

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Contraction:
        """From jax's parameters of the primitive."""
        contracting, batch = ((_axes(left), _axes(right)) for left, right in params["dimension_numbers"])
        return cls(contracting, batch, precision_pair(params.get("precision")))

    def fits(self, ins: Sequence[int], outs: Sequence[int]) -> bool:
        """Axes are of the operand that they are said to be of."""
        sides = zip(self.contracting, self.batch, ins, strict=False)
        return len(ins) >= 2 and all(_are_of((*contracting, *batch), rank) for contracting, batch, rank in sides)


@dataclass(frozen=True)
class Convolution(Params):
    """A convolution: axes (batch, features, space …) of the image, (output, input, space …) of the kernel and (batch, features,
    space …) of the result; by spatial dimension strides, (low, high) padding and dilations; groups of features and of the batch."""

    image: Axes
    kernel: Axes
    result: Axes
    strides: Extents
    padding: tuple[tuple[Expr, Expr], ...]
    image_dilation: Extents
    kernel_dilation: Extents
    feature_groups: Expr = ONE
    batch_groups: Expr = ONE
    precision: Precision = (None, None)

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Convolution:
        """From jax's parameters of the primitive."""
        numbers = params["dimension_numbers"]
        return cls(_axes(numbers.lhs_spec), _axes(numbers.rhs_spec), _axes(numbers.out_spec), _extents(params["window_strides"]),
                   tuple((internal(low), internal(high)) for low, high in params["padding"]), _extents(params["lhs_dilation"]),
                   _extents(params["rhs_dilation"]), internal(params.get("feature_group_count", 1)),
                   internal(params.get("batch_group_count", 1)), precision_pair(params.get("precision")))

    def fits(self, ins: Sequence[int], outs: Sequence[int]) -> bool:
        """Every axis of the image, the kernel and the result has its part, and every spatial one its window."""
        arrays = zip((self.image, self.kernel, self.result), (*ins[:2], *outs[:1]), strict=False)
        by_space = (self.strides, self.padding, self.image_dilation, self.kernel_dilation)
        return (len(ins) >= 2 and len(outs) >= 1 and all(sorted(axes) == list(range(rank)) for axes, rank in arrays)
                and len({len(self.image), len(self.kernel), len(self.result), *(len(each) + 2 for each in by_space)}) == 1)


@dataclass(frozen=True)
class Window(Params):
    """Windows of this size, this far apart, in every dimension of the operand."""

    size: Extents
    strides: Extents

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Window:
        """From jax's parameters of the primitive."""
        size = _extents(params["window_dimensions"])
        return cls(size, _extents(params.get("window_strides") or (1,) * len(size)))

    def fits(self, ins: Sequence[int], outs: Sequence[int]) -> bool:
        """Every dimension has a size and a stride."""
        return len(self.size) == len(self.strides) == max(ins, default=-1)

    @property
    def overlap(self) -> bool:
        """Whether neighbours may share elements."""
        return self.size != self.strides


@dataclass(frozen=True)
class Reduction(Params):
    """A reduction over axes by an operation: "add", "max" …; "argmax" and "argmin" give places, "computation" is the user's own."""

    axes: Axes
    operation: str

    @classmethod
    def by(cls, operation: str) -> Family:
        """The family of reductions by this operation."""
        return lambda params: cls(_axes(params["axes"] if "axes" in params else params["dimensions"]), operation)

    def fits(self, ins: Sequence[int], outs: Sequence[int]) -> bool:
        """Axes are of the operand."""
        return len(ins) >= 1 and _are_of(self.axes, ins[0])


@dataclass(frozen=True)
class Along(Params):
    """Something that runs along one axis: a sort, a cumulative sum, a concatenation."""

    axis: int

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Along:
        """From jax's parameters of the primitive."""
        return cls(int(params["axis"] if "axis" in params else params["dimension"]))


@dataclass(frozen=True)
class Permutation(Params):
    """Axes of the operand in the order in which the result has them."""

    axes: Axes

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Permutation:
        """From jax's parameters of the primitive."""
        return cls(_axes(params["permutation"]))

    @classmethod
    def if_known(cls, params: Mapping[str, Any]) -> Permutation | None:
        """Of a view, if it is a transposition that moves dimensions of 1 only."""
        return cls.of(params) if "permutation" in params else None

    def fits(self, ins: Sequence[int], outs: Sequence[int]) -> bool:
        """Each axis of the operand is there once."""
        return len(ins) >= 1 and sorted(self.axes) == list(range(ins[0]))


@dataclass(frozen=True)
class Broadcast(Params):
    """The result's axis of each axis of the operand."""

    axes: Axes

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Broadcast:
        """From jax's parameters of the primitive."""
        return cls(_axes(params["broadcast_dimensions"]))

    def fits(self, ins: Sequence[int], outs: Sequence[int]) -> bool:
        """Each axis of the operand has one of the result."""
        return len(ins) >= 1 and len(outs) >= 1 and len(self.axes) == ins[0] and _are_of(self.axes, outs[0])


@dataclass(frozen=True)
class Slice(Params):
    """From ``start`` on, every ``strides``-th element, by axis."""

    start: Extents
    strides: Extents

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Slice:
        """From jax's parameters of the primitive."""
        start = _extents(params["start_indices"])
        return cls(start, _extents(params["strides"] or (1,) * len(start)))

    def fits(self, ins: Sequence[int], outs: Sequence[int]) -> bool:
        """Every axis of the operand has a start and a stride."""
        return len(ins) >= 1 and len(self.start) == len(self.strides) == ins[0]


@dataclass(frozen=True)
class Places(Params):
    """Elements at places that are data: ``batched`` dimensions have places of their own."""

    batched: int

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Places:
        """From jax's parameters of the primitive."""
        return cls(len(getattr(params["dimension_numbers"], "operand_batching_dims", ())))


@dataclass(frozen=True)
class Largest(Params):
    """The largest of each line along an axis, and their places."""

    axis: int

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Largest:
        """From jax's parameters of the primitive."""
        return cls(int(params.get("axis", params.get("reduction_dimension", -1))))


@dataclass(frozen=True)
class Collective(Params):
    """An exchange between the devices along mesh axes: how many take part along each, where the program says, and who sends to whom
    (by number along the axes, the last one's fastest) where it names them."""

    axes: tuple[str, ...]
    devices: Extents = ()
    partners: tuple[Extents, ...] = ()

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Collective:
        """From jax's parameters of the primitive."""
        named = params["axes"] if "axes" in params else params["axis_name"]
        names = named if isinstance(named, tuple | list) else (named,)
        axes = tuple(str(name) for name in names if not isinstance(name, int))
        sizes = params.get("axis_sizes") or {}
        devices = tuple(internal(sizes[axis]) for axis in axes) if all(axis in sizes for axis in axes) else ()
        partners = params.get("perm") if axes else ()  # along an axis of an array that vmap has not taken yet, nothing is sent
        return cls(axes, devices, tuple(_extents(pair) for pair in partners or ()))


Family = Callable[[Mapping[str, Any]], Params | None]
FAMILIES: dict[str, type[Params]] = {
    family.__name__: family for family in (Contraction, Convolution, Window, Reduction, Along, Permutation, Broadcast, Slice,
                                           Places, Largest, Collective)}


def _are_of(axes: Axes, rank: int) -> bool:
    """Whether they are axes of an array of that rank, each once."""
    return len(set(axes)) == len(axes) and all(axis in range(rank) for axis in axes)


def _axes(dims: Any) -> Axes:
    return tuple(int(d) for d in dims)


def _extents(dims: Any) -> Extents:
    return tuple(map(internal, dims))
