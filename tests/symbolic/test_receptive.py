"""The receptive field is what the gradient of one output reaches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import costmodel as cm

STACKS = [([3], 1, 1), ([3, 3, 3], 1, 1), ([7, 3], [2, 2], 1), ([11, 3, 5, 3, 3], [4, 2, 1, 2, 1], 1), ([3, 3, 3], 1, [1, 2, 4]),
          ([5, 2, 3], [1, 3, 2], [2, 1, 3])]


def seen(kernels, strides, dilations) -> int:
    """Input rows between the first and the last that one output row depends on, without padding."""
    def stack(x):
        for k, s, d in zip(kernels, strides, dilations, strict=True):
            x = lax.conv_general_dilated(x, jnp.ones((1, 1, k)), (s,), "VALID", rhs_dilation=(d,))
        return x[0, 0, 1]

    reached = np.flatnonzero(jax.grad(stack)(jnp.ones((1, 1, 400)))[0, 0])
    return int(reached[-1] - reached[0] + 1)


@pytest.mark.parametrize(("kernels", "strides", "dilations"), STACKS)
def test_it_is_what_a_gradient_reaches(kernels, strides, dilations) -> None:
    each = [given if isinstance(given, list) else [given] * len(kernels) for given in (strides, dilations)]
    assert cm.receptive_field(kernels, strides, dilations) == seen(kernels, *each)


def test_closed_in_the_number_of_layers() -> None:
    k, s, d, L = cm.symbols("k s d L")
    for stride in (1, 2, s):
        form = cm.receptive_field(k, stride, d, layers=L)
        for layers in (1, 2, 5):
            at = {k: 3, d: 2, L: layers, s: 3}
            assert form.subs(at) == cm.receptive_field([3] * layers, 3 if stride == s else stride, 2)
    assert cm.receptive_field(3, 2, layers=4) == cm.receptive_field([3] * 4, 2) == 31


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(cm.CostModelError, match="2 strides for 3 kernels"):
        cm.receptive_field([3, 3, 3], [1, 2])
    with pytest.raises(cm.CostModelError, match="alike"):
        cm.receptive_field([3, 3], layers=2)
