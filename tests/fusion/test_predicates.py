"""What an equation is to a fusion policy, as the predicates' names say, on programs of a few equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest
from jax import lax

import costmodel as cm
from costmodel.fusion.graph import Graph
from costmodel.fusion.predicates import along_lines, bias, contraction
from costmodel.rules.traits import Trait

X, W = cm.spec((8, 16)), cm.spec((16, 32))


@pytest.mark.parametrize(("after", "other", "expected"), [
    (lambda y, b: y + b, (32,), True),
    (lambda y, b: y * 3.0, (), True),
    (lambda y, b: jnp.maximum(y, b), (8, 32), False),
    (lambda y, b: jnp.where(b > 0, y, 0.0), (8, 32), False),  # a zero is one value, a mask is not
])
def test_a_bias_is_one_value_a_line(after: Callable[..., Any], other: tuple[int, ...], expected: bool) -> None:
    cost = cm.analyze(lambda x, w, b: after(x @ w, b), X, W, cm.spec(other))
    graph = Graph(cost.program)
    (product,) = filter(contraction, cost.program)
    ((consumer, operand),) = graph.users(product)
    assert bias(graph, consumer, operand) is expected


@pytest.mark.parametrize(("axis", "expected"), [(0, False), (1, True), ((0, 1), True)])
def test_a_reduction_of_the_innermost_dimension_goes_along_lines(axis: Any, expected: bool) -> None:
    (reduction,) = (e for e in cm.analyze(lambda x: x.sum(axis), X).program if Trait.REDUCTION in e.traits)
    assert along_lines(reduction) is expected


@pytest.mark.parametrize(("groups", "kind"), [(1, "conv"), (4, "grouped conv"), (16, "depthwise conv")])
def test_a_convolution_without_a_sum_over_channels_is_depthwise(groups: int, kind: str) -> None:
    def convolution(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
                                        feature_group_count=groups)

    cost = cm.analyze(convolution, cm.spec((2, 9, 9, 16)), cm.spec((3, 3, 16 // groups, 16)))
    assert [kernel.kind for kernel in cost.kernels("layer")] == [kind]
