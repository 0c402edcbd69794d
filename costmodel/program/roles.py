"""Which array of a convolution stands at the padding: decided for the whole program, before anything is removed.

A convolution sums over places at which an element of the image, a tap of the kernel and an element of the result meet. *Dense*
counts every pair of two of them, also where the third, the *padded* array, has no element. As the user wrote it, that is the image:
every tap of every result counts. Of jax's ``conv_transpose`` it is the result, whose borders are cropped: every tap meets every
element of the image. A gradient sums over the same places with the arrays in other roles: what was padded forward is so there, too.

The equation alone does not tell. A gradient has its forward's source and the same three arrays, but more transpositions made it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations

from sympy import Expr

from costmodel import _jax_compat as compat
from costmodel.program.raw import Raw, RawProgram
from costmodel.rules import lookup
from costmodel.rules.params import Convolution
from costmodel.rules.traits import Trait
from costmodel.rules.work import Value

# The arrays of a convolution, in the order of its operands and result.
SIDES = ("image", "kernel", "result")
IMAGE, KERNEL, RESULT = range(3)
# Where a forward's image, kernel and result stand in itself, and in the gradients by its image and by its kernel.
Order = tuple[int, ...]
AS_WRITTEN, BY_IMAGE, BY_KERNEL = (IMAGE, KERNEL, RESULT), (RESULT, KERNEL, IMAGE), (IMAGE, RESULT, KERNEL)

# By array and spatial dimension: (size, distance of its elements from one another in the sum).
Extents = tuple[tuple[tuple[Expr, Expr], ...], ...]


@dataclass(frozen=True, eq=False)
class _Convolution:
    """An equation that convolves: the extents of its arrays, and what each of its operands is a copy or a view of."""

    equation: Raw
    extents: Extents
    operands: tuple[Value, ...]


@dataclass
class _Forward:
    """Convolutions of these extents that no gradient made, which side of them is padded, and by side what operands they and their
    gradients have."""

    extents: Extents
    padded: int
    operands: set[tuple[int, Value]] = field(default_factory=set)


def with_padded_sides(program: RawProgram) -> RawProgram:
    """The program in which every convolution that is not padded at its image has the parameter ``padded``: "kernel" or "result"."""
    makers = {v: r for r in program.equations for v in r.outs}
    calls: dict[Hashable, list[_Convolution]] = defaultdict(list)
    for r in program.equations:
        found = _convolution(r, makers)
        if found is not None:
            calls[compat.user_frames(r.source)].append(found)
    padded = {c.equation: side for call in calls.values() for c, side in _of_one_call(call, makers) if side != IMAGE}
    if not padded:
        return program
    return replace(program, equations=tuple(replace(r, params={**r.params, "padded": SIDES[padded[r]]}) if r in padded else r
                                            for r in program.equations))


def _convolution(r: Raw, makers: Mapping[Value, Raw]) -> _Convolution | None:
    rule = lookup(r.primitive)
    if rule is None or rule.family is None or Trait.CONVOLUTION not in rule.traits:
        return None
    params = rule.family(r.params)
    if not isinstance(params, Convolution):
        return None
    arrays = ((r.ins[0], params.image, params.image_dilation), (r.ins[1], params.kernel, params.kernel_dilation),
              (r.outs[0], params.result, params.strides))
    extents = tuple(tuple((v.array.shape[axis], step) for axis, step in zip(axes[2:], steps, strict=True))
                    for v, axes, steps in arrays)
    return _Convolution(r, extents, tuple(_original(v, makers) for v in r.ins[:2]))


def _original(value: Value, makers: Mapping[Value, Raw]) -> Value:
    """What this value has the elements of, in whatever order: jax reverses and reshapes the kernel in a gradient."""
    maker = makers.get(value)
    while maker is not None and _keeps_elements(maker):
        value = maker.ins[0]
        maker = makers.get(value)
    return value


def _keeps_elements(r: Raw) -> bool:
    rule = lookup(r.primitive)
    return (rule is not None and not rule.traits.isdisjoint((Trait.VIEW, Trait.COPY)) and len(r.ins) == 1
            and r.ins[0].array.size == r.outs[0].array.size)


def _of_one_call(call: Iterable[_Convolution], makers: Mapping[Value, Raw]) -> Iterator[tuple[_Convolution, int]]:
    """The padded side of each convolution that one line of the user's code made."""
    ordered = sorted(call, key=lambda c: c.equation.transposes)
    written = ordered[0].equation.transposes
    forwards: dict[tuple[Extents, int], _Forward] = {}
    for c in ordered:
        found = None if c.equation.transposes == written else _forward_of(c, forwards.values())
        if found is None:
            side = _own(c.equation, makers)
            found = forwards.setdefault((c.extents, side), _Forward(c.extents, side)), AS_WRITTEN
        forward, order = found
        forward.operands.update((order.index(place), value) for place, value in enumerate(c.operands))
        yield c, order[forward.padded]


def _forward_of(c: _Convolution, forwards: Iterable[_Forward]) -> tuple[_Forward, Order] | None:
    """What a gradient is the gradient of, and where its arrays stand there, or None. Of several with its extents it is the one that
    shares most operands with it."""
    best, most = None, -1
    for order in (BY_IMAGE, BY_KERNEL, *permutations(AS_WRITTEN)):
        for forward in forwards:
            if all(c.extents[place] == forward.extents[side] for side, place in enumerate(order)):
                shared = sum((order.index(place), value) in forward.operands for place, value in enumerate(c.operands))
                if shared > most:
                    best, most = (forward, order), shared
    return best


def _own(r: Raw, makers: Mapping[Value, Raw]) -> int:
    """The padded side of a convolution without a forward in the program: written so, or made by ``jax.linear_transpose``, which
    turns the kernel round where the result of the written one is its operand, and takes it for the kernel otherwise."""
    function = compat.convolution_call(r.source)
    padded = RESULT if function == "conv_transpose" else IMAGE
    if r.transposes == 0 or not function:  # without its call in the source it was written into a user's own derivative
        return padded
    maker = makers.get(r.ins[1])
    turned = maker is not None and compat.user_frames(maker.source) == compat.user_frames(r.source)
    return (BY_IMAGE if turned else BY_KERNEL)[padded]
