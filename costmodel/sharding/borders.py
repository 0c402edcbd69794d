"""What equations are, before they are costed: views, and windows over sharded dimensions, which reach into a neighbour's part. The
partitioner leaves that implicit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sympy import Expr

from costmodel.program.raw import Raw
from costmodel.rules import lookup
from costmodel.rules.params import Convolution, Window
from costmodel.rules.traits import Trait
from costmodel.sharding.shardy import Axis, Tensor
from costmodel.symbolic.forms import FloorDiv, at_least_zero
from costmodel.symbolic.translate import internal

# (dimension of the first operand, the axes that share it, rows of a neighbour's part that windows reach into)
Border = tuple[int, tuple[Axis, ...], Expr]


def borders(r: Raw, tensors: Sequence[Tensor | None]) -> list[Border]:
    """The borders that devices exchange for an equation on these tensors."""
    rule = lookup(r.primitive)
    image = tensors[0]
    if rule is None or rule.family is None or image is None or not {Trait.CONVOLUTION, Trait.WINDOW} & rule.traits:
        return []
    params = rule.family(r.params)
    if isinstance(params, Convolution):
        return list(_of_convolution(r, params, image, tensors[1] if len(tensors) > 1 else None))
    if isinstance(params, Window):
        return list(_of_window(params, image))
    return []


def _of_convolution(r: Raw, params: Convolution, image: Tensor, kernel: Tensor | None) -> Iterable[Border]:
    for i, (dim, kernel_dim, out_dim) in enumerate(zip(params.image[2:], params.kernel[2:], params.result[2:], strict=True)):
        axes = image.sharding[dim]
        if not axes:
            continue
        stride, hole, apart = (internal(each[i]) for each in (params.strides, params.image_dilation, params.kernel_dilation))
        taps = r.ins[1].array.shape[kernel_dim]
        if kernel is not None and kernel.sharding[kernel_dim]:  # a filter's gradient: its own border is what slides
            rows = (r.outs[0].array.shape[out_dim] - 1) * stride + 1 - apart
        elif hole == 1:
            rows = (taps - 1) * apart + 1 - stride
        else:  # rows before and behind of the image that was spread out, whose holes nobody sends
            low = internal(params.padding[i][0])
            rows = FloorDiv(low, hole) + at_least_zero(FloorDiv((taps - 1) * apart - stride - low, hole) + 1)
        if rows.is_Integer and rows <= 0:
            continue
        yield dim, axes, rows


def _of_window(params: Window, image: Tensor) -> Iterable[Border]:
    for dim, (size, stride) in enumerate(zip(params.size, params.strides, strict=True)):
        rows = internal(size) - internal(stride)
        if image.sharding[dim] and not (rows.is_Integer and rows <= 0):
            yield dim, image.sharding[dim], rows


def is_view(r: Raw) -> bool:
    """Whether an equation is another name of its operand."""
    return _has(r, Trait.VIEW)


def is_elementwise(r: Raw) -> bool:
    """Whether a device needs of its operands what it has of the result."""
    return _has(r, Trait.ELEMENTWISE)


def _has(r: Raw, trait: Trait) -> bool:
    rule = lookup(r.primitive)
    return rule is not None and trait in rule.traits
