"""Contractions: dots and convolutions, in multiply-accumulates."""

from __future__ import annotations

from sympy import Add, Mul

from costmodel.rules import Eqn, golden, multiply_accumulate, rule, vector  # noqa: F401 (golden: for the doctests)
from costmodel.rules.params import Contraction, Convolution, precision_pair
from costmodel.rules.work import Work
from costmodel.symbolic.taps import pairs_beyond, tap_pairs
from costmodel.symbolic.translate import internal


@rule("dot_general", traits="dot", params=Contraction.of)
def dot_general(eqn: Eqn, *, dimension_numbers, precision=None, **_) -> Work:
    """Product of the output's dimensions and the contracted ones: GEMM is m·n·k.

    >>> golden("dot_general", "m k", "k n", dimension_numbers=(((1,), (0,)), ((), ())))
    'k*m*n mac'
    >>> golden("dot_general", "b m k", "b n k", dimension_numbers=(((2,), (2,)), ((0,), (0,))))
    'b*k*m*n mac'
    """
    (contracted, _rhs), _batch = dimension_numbers
    depth = Mul(*(eqn.operand.shape[d] for d in contracted))
    return eqn.work(multiply_accumulate(eqn.operand.dtype, (eqn.out.size * depth).expand(), accumulate=eqn.out.dtype,
                                        precision=precision_pair(precision)))


@rule("conv_general_dilated", traits="convolution", params=Convolution.of)
def conv_general_dilated(eqn: Eqn, *, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
                         precision=None, padded="image", **_) -> Work:
    """n · c_o · (c_i / g) · Π over space of pairs of elements of the two arrays that are not ``padded``: (output, tap) as written.
    The kernel's input-feature dimension is c_i / g already, and grouping the batch divides the output's batch, so one formula
    serves groups, batch groups and gradients; :mod:`costmodel.program.roles` says what is padded there.

    >>> from jax.lax import ConvDimensionNumbers
    >>> conv = dict(window_strides=(1,), padding=((1, 1),), lhs_dilation=(1,), rhs_dilation=(1,),
    ...             dimension_numbers=ConvDimensionNumbers((0, 2, 1), (2, 1, 0), (0, 2, 1)))
    >>> golden("conv_general_dilated", "n h c", "3 c k", out="n h k", **conv)
    '3*c*h*k*n mac (3*c*h*k*n - 2*c*k*n)'
    >>> golden("conv_general_dilated", "n h k", "3 k c", out="n h c", padded="result", **conv)
    '3*c*h*k*n mac (3*c*h*k*n - 2*c*k*n)'
    """
    lhs, rhs = eqn.ins
    batch, features = (eqn.out.shape[d] for d in dimension_numbers.out_spec[:2])
    depth = rhs.shape[dimension_numbers.rhs_spec[1]]
    dense = valid = batch * features * depth
    for i, dims in enumerate(zip(*(spec[2:] for spec in dimension_numbers), strict=True)):
        image, kernel, result = (array.shape[d] for array, d in zip((lhs, rhs, eqn.out), dims, strict=True))
        stride, dilation, hole, low, high = map(internal, (window_strides[i], rhs_dilation[i], lhs_dilation[i], *padding[i]))
        pairs = tap_pairs(image, kernel, stride, dilation, hole, low, high, eqn.assumptions)
        others = {"kernel": (result, stride, dilation), "result": (kernel, dilation, stride)}
        dense *= pairs_beyond(image, hole, *others[padded], low) if padded in others else pairs[0]
        valid *= pairs[1]
    return eqn.work(multiply_accumulate(lhs.dtype, dense.expand(), valid.expand(), accumulate=eqn.out.dtype,
                                        precision=precision_pair(precision)))


@rule("ragged_dot", "ragged_dot_general", traits="dot")
def ragged_dot(eqn: Eqn, *, ragged_dot_dimension_numbers=None, precision=None, **_) -> Work:
    """A dot of which every row belongs to one group: m·k·n however the rows are spread. Where the contracted dimension is ragged,
    each of its elements meets one group's m × n results.

    >>> golden("ragged_dot", "m k", "g k n", "int32[g]", out="m n")
    'k*m*n mac'
    >>> from jax.lax import RaggedDotDimensionNumbers
    >>> ragged_contraction = RaggedDotDimensionNumbers((((0,), (0,)), ((), ())), [0], [])
    >>> golden("ragged_dot", "k m", "k n", "int32[g]", out="g m n", ragged_dot_dimension_numbers=ragged_contraction)
    'k*m*n mac'
    """
    lhs, groups = eqn.ins[0], eqn.ins[2]
    ragged, contracted = 0, (1,)
    if ragged_dot_dimension_numbers is not None:
        ragged = ragged_dot_dimension_numbers.lhs_ragged_dimensions[0]
        contracted = ragged_dot_dimension_numbers.dot_dimension_numbers[0][0]
    count = eqn.out.size * Mul(*(lhs.shape[d] for d in contracted))
    if ragged in contracted:  # the result has a group dimension, but a row contributes to its own group only
        count = count / groups.shape[-1]
    return eqn.work(multiply_accumulate(lhs.dtype, count.expand(), accumulate=eqn.out.dtype, precision=precision_pair(precision)))


@rule("scaled_matmul_wrapper", "scaled_matmul", "scaled_dot", traits="dot")
def scaled_matmul(eqn: Eqn, *, dimension_numbers=None, **_) -> Work:
    """A dot of block-scaled operands, by default [b m k] and [b n k]: b·m·n·k, and each operand's scale multiplies the sum of each
    of its blocks (OCP, *Microscaling Formats (MX) Specification* 1.0: Dot(A, B) = X_A · X_B · Σ a·b).

    >>> golden("scaled_matmul", "b m 32*k", "b n 32*k", "b m k", "b n k", out="b m n")
    '32*b*k*m*n mac, 2*b*k*m*n mul'
    >>> golden("scaled_dot", "32*k m", "32*k n", "k m", "k n", out="m n", dimension_numbers=(((0,), (0,)), ((), ())))
    '32*k*m*n mac, 2*k*m*n mul'
    """
    last = len(eqn.operand.shape) - 1
    contracted = ((last,), (last,)) if dimension_numbers is None else dimension_numbers[0]
    depth, *blocks = (Mul(*(a.shape[d] for d in axes)) for a, axes in zip((eqn.operand, *eqn.ins[2:]), (contracted[0], *contracted),
                                                                          strict=True))
    return eqn.work(multiply_accumulate(eqn.operand.dtype, (eqn.out.size * depth).expand(), accumulate=eqn.out.dtype),
                    vector("mul", eqn.out.dtype, (eqn.out.size * Add(*blocks)).expand()))
