"""The receptive field is what the gradient of one output reaches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
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


def test_arrays_tuples_iterators_and_dimensions_are_lists_and_symbols() -> None:
    for given in (np.array([7, 3]), (7, 3), iter([7, 3]), [np.int64(7), jnp.asarray(3)], jnp.array([7, 3]), (k for k in (7, 3))):
        assert cm.receptive_field(given, strides=np.array([2, 2])) == 11
    assert cm.receptive_field(np.array(3), layers=np.int8(4)) == 9 and type(cm.receptive_field(np.array(3))) is int
    assert cm.receptive_field(cm.dims("k"), layers=2) == 2 * (cm.symbols("k") - 1) + 1
    assert cm.receptive_field([]) == cm.receptive_field(3, layers=0) == 1


WRONG = [((0,), {}), (([3, -1],), {}), ((3, 0), {}), ((3, 1, 0), {}), ((3, [0]), {}), ((3,), {"layers": -2}), ((3,), {"layers":
         2.5}), ((2.5,), {}), (("33",), {}), (("3",), {"layers": 2}), (([(3, 3), (3, 3)],), {}), ((np.ones((2, 2), int),), {}),
         ((np.array([3.0]),), {}), ((None,), {}), ((True,), {}), (({3: 1},), {}), (({3, 5},), {}), ((3,), {"layers": [1]}),
         ((float("nan"),), {}), ((object(),), {}), ((b"3",), {}), ((-cm.symbols("k"),), {}), ((sympy.Rational(5, 2),), {}),
         ((sympy.Integer(0),), {}), ((3, sympy.oo), {}), ((3j,), {}), ((cm.dims,), {})]


@pytest.mark.parametrize(("arguments", "options"), WRONG, ids=map(str, range(len(WRONG))))
def test_what_is_no_number_of_rows_is_one_line(arguments, options) -> None:
    with pytest.raises(cm.CostModelError, match=r"number of rows|at least") as raised:
        cm.receptive_field(*arguments, **options)
    assert len(str(raised.value).splitlines()) == 1 and len(str(raised.value)) < 240
