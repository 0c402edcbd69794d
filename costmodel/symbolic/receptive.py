"""The receptive field: how much of its input one output of stacked convolutions sees."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Set
from typing import Any

from sympy import Expr, Integer

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError
from costmodel.symbolic.dimensions import expression


def receptive_field(kernels: Any, strides: Any = 1, dilations: Any = 1, *, layers: Any = None) -> Any:
    """Input rows that one output row sees through layers of windows (convolutions, pools), the first layer first.

    A layer of kernel k and dilation d adds k - 1 steps of d rows of its own input, and a row of its input spans as many rows of the
    network's as the strides before it multiply to (Araujo, Norris and Sim: Computing receptive fields of convolutional neural
    networks, Distill 2019):

        r = 1 + Σ d_i·(k_i - 1)·Π_{j<i} s_j

    kernels:   rows of each layer's kernel, a list, array or other iterable; or one kernel, of ``layers`` layers that are alike.
    strides:   of each layer in rows, or one of all.
    dilations: of each layer in rows, or one of all.
    layers:    how many layers are alike: the answer is closed in it too, L·(k - 1) + 1 where the stride is 1.

    Each is an integer of at least 1 (layers: of at least 0, which see one row), a sympy symbol or a dimension of ``dims`` (a
    symbolic stride stands for one greater than 1). Raises CostModelError for anything else, and where a list is not as long as the
    kernels.

    >>> receptive_field([3, 3])
    5
    >>> receptive_field([7, 3], strides=[2, 2])  # ResNet's stem and its pool
    11
    >>> import costmodel as cm
    >>> L, k = cm.symbols("L k")
    >>> receptive_field(k, layers=L)
    L*(k - 1) + 1
    """
    given = {name: _layers(name, value) for name, value in (("kernels", kernels), ("strides", strides), ("dilations", dilations))}
    if layers is not None:
        if any(isinstance(each, list) for each in given.values()):
            raise CostModelError("layers=… is of layers that are alike: give one kernel, one stride and one dilation, or none")
        return _alike(given["kernels"], given["strides"], given["dilations"], _size("layers", layers, least=0))
    rows = given["kernels"] if isinstance(given["kernels"], list) else [given["kernels"]]
    field, step = 1, 1
    for k, s, d in zip(rows, _each(given["strides"], "strides", rows), _each(given["dilations"], "dilations", rows), strict=True):
        field += d * (k - 1) * step
        step *= s
    return field


def _alike(k: Any, s: Any, d: Any, layers: Any) -> Any:
    if s == 1:
        return 1 + d * (k - 1) * layers
    whole = isinstance(s, int) and isinstance(layers, int)  # a geometric sum of integers is one
    return 1 + d * (k - 1) * ((s**layers - 1) // (s - 1) if whole else (s**layers - 1) / (s - 1))


def _layers(name: str, given: Any) -> Any:
    """One size, or a list of them: not text, though it can be iterated, nor an array of no dimensions."""
    if isinstance(given, str | bytes | Mapping | Set) or not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0:
        return _size(name, given)
    return [_size(name, each) for each in given]


def _size(name: str, given: Any, least: int = 1) -> Any:
    """An integer as Python's, a symbol or a dimension as sympy in the user's symbols. Raises CostModelError for what is neither."""
    if compat.is_symbolic(given):
        given = expression(given)
    if isinstance(given, Expr) and given.free_symbols and not (given - least).is_negative:
        return given
    try:
        found = int(given) if isinstance(given, Integer) else operator.index(given)
    except TypeError:  # an array of several numbers has __index__, and refuses
        found = None
    if found is None or isinstance(given, bool):
        shown = repr(given) if isinstance(given, str | float) else f"of type {type(given).__name__}"
        raise CostModelError(f"{name}: {shown[:60]} is no number of rows: give integers or symbols, a list of one for each layer; "
                             "rows and columns of a kernel are asked apart")
    if found < least:
        raise CostModelError(f"{name}={found} must be at least {least}")
    return found


def _each(given: Any, name: str, kernels: list[Any]) -> list[Any]:
    if not isinstance(given, list):
        return [given] * len(kernels)
    if len(given) != len(kernels):
        raise CostModelError(f"{len(given)} {name} for {len(kernels)} kernels: give one a layer, or one for all")
    return given
