"""The receptive field: how much of its input one output of stacked convolutions sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from costmodel.errors import CostModelError


def receptive_field(kernels: Any, strides: Any = 1, dilations: Any = 1, *, layers: Any = None) -> Any:
    """Input rows that one output row sees through layers of windows (convolutions, pools), the first layer first.

    A layer of kernel k and dilation d adds k - 1 steps of d rows of its own input, and a row of its input spans as many rows of the
    network's as the strides before it multiply to (Araujo, Norris and Sim: Computing receptive fields of convolutional neural
    networks, Distill 2019):

        r = 1 + Σ d_i·(k_i - 1)·Π_{j<i} s_j

    kernels:   rows of each layer's kernel; or one kernel, of ``layers`` layers that are alike.
    strides:   of each layer in rows, or one of all.
    dilations: of each layer in rows, or one of all.
    layers:    how many layers are alike: the answer is closed in it too, L·(k - 1) + 1 where the stride is 1.

    All may be integers or sympy symbols (a symbolic stride stands for one greater than 1). Raises CostModelError where a list is
    not as long as the kernels.

    >>> receptive_field([3, 3])
    5
    >>> receptive_field([7, 3], strides=[2, 2])  # ResNet's stem and its pool
    11
    >>> import costmodel as cm
    >>> L, k = cm.symbols("L k")
    >>> receptive_field(k, layers=L)
    L*(k - 1) + 1
    """
    if layers is not None:
        if any(isinstance(each, Sequence) for each in (kernels, strides, dilations)):
            raise CostModelError("layers=… is of layers that are alike: give one kernel, one stride and one dilation, or none")
        if strides == 1:
            return 1 + dilations * (kernels - 1) * layers
        whole = isinstance(strides, int) and isinstance(layers, int)  # a geometric sum of integers is one
        return 1 + dilations * (kernels - 1) * ((strides**layers - 1) // (strides - 1) if whole
                                                else (strides**layers - 1) / (strides - 1))
    kernels = [kernels] if not isinstance(kernels, Sequence) else list(kernels)
    field, step = 1, 1
    for k, s, d in zip(kernels, _each(strides, "strides", kernels), _each(dilations, "dilations", kernels), strict=True):
        field += d * (k - 1) * step
        step *= s
    return field


def _each(given: Any, name: str, kernels: list[Any]) -> list[Any]:
    if not isinstance(given, Sequence):
        return [given] * len(kernels)
    if len(given) != len(kernels):
        raise CostModelError(f"{len(given)} {name} for {len(kernels)} kernels: give one a layer, or one for all")
    return list(given)
