"""What moves a part moves everything at some size, or two arrays are alike there: the program is another one, and no ``==`` of a
model or of jax says so. Each member has names of its own, since what others asked of theirs is remembered."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from random_comparison import metrics

import costmodel as cm
from costmodel.symbolic.forms import symbol

_number = itertools.count()


def after(f):
    """Something to move, and something done with what was moved."""
    return lambda x: jnp.sin(f(x * 2.0)) * 3.0


def roll(shift):
    return after(lambda x: jnp.roll(x, shift, 0))


def middle(x, low, high, interior):
    return lax.pad(x, 0.0, ((low, high, interior), (0, 0, 0)))


# name: (function, least size, the sizes at which it is another program)
PARTS = {
    "roll by 2": (roll(2), 1, (2, 1)),
    "roll back by 2": (roll(-2), 1, (2,)),
    "roll by 6": (roll(6), 1, (2, 3, 6)),
    "roll by several": (after(lambda x: jnp.roll(x, (2, 1), (0, 1))), 1, (2,)),
    "roll in a scan": (lambda x: lax.scan(lambda c, r: (c + r, jnp.roll(c, 2)), x[:, 0], x.T)[1], 2, (2,)),
    "first three at most": (after(lambda x: x[:3]), 1, (3, 2)),
    "first three": (after(lambda x: x[:3]), 3, (3,)),
    "last three": (after(lambda x: x[-3:]), 3, (3,)),
    "all but two": (after(lambda x: jnp.concatenate([x[2:], x])), 2, (2, 3)),
    "all but the last two": (after(lambda x: jnp.concatenate([x, x[:-2]])), 2, (2, 3)),
    "backwards": (after(lambda x: x[:3][::-1]), 3, (3,)),
    "flipped remainder": (after(lambda x: jnp.flip(x[2:], 0)), 3, (3,)),
    "at a known place": (after(lambda x: lax.dynamic_slice_in_dim(x, 0, 3)), 3, (3,)),
    "at a place of data": (after(lambda x: lax.dynamic_slice_in_dim(x, x.astype("int32")[0, 0], 3)), 3, (3,)),
    "known rows": (after(lambda x: x[jnp.arange(3)]), 3, (3,)),
    "set": (after(lambda x: x.at[:3].set(1.0)), 3, (3,)),
    "add": (after(lambda x: x.at[:3].add(1.0)), 3, (3,)),
    "update": (after(lambda x: lax.dynamic_update_slice(x, jnp.ones((3, 5)), (0, 0))), 3, (3,)),
    "up to a size": (after(lambda x: jnp.pad(x, ((0, x.shape[0] - 3), (0, 0)))), 3, (3,)),
    "apart and cut": (after(lambda x: middle(x, -1, 0, 1)), 1, (2, 1)),
    "apart and cut at both ends": (after(lambda x: middle(x, -1, -1, 1)), 2, (3, 2)),
    "pairs": (after(lambda x: x[:x.shape[0] // 2 * 2]), 2, (4, 2)),
    "the remainder": (after(lambda x: x[x.shape[0] % 3:]), 3, (3, 6)),
    "gradient of a roll": (jax.grad(lambda x: (roll(2)(x) ** 2).sum()), 1, (2,)),
    "gradient of the first three": (jax.grad(lambda x: (x[:3] ** 2).sum()), 3, (3,)),
    "sums of another array of the size": (lambda x: middle(jnp.cumsum(x, 0), -1, -1, 1).sum() * jnp.cumsum(x, 0), 2, (3,)),
    "sums of ones of the size": (lambda x: jnp.ones((2 * x.shape[0] - 3, 5, 1)).sum() * jnp.cumsum(x[:, :, None], 0), 2, (3,)),
    "rows of a table": (lambda x: x + jnp.ones((8, 5)).at[:x.shape[0]].get() if x.shape[0] < 9 else x, 2, (8,)),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_everything_is_priced_as_that(name):
    function, least, sizes = PARTS[name]
    size = f"n_{next(_number)}"
    cost = cm.analyze(function, (cm.dims(size, min=least, max=8 if name == "rows of a table" else None), 5))
    for n in (7, *sizes, 5):
        at, concrete = cost.at(**{size: n}), cm.analyze(function, (n, 5)).at()
        for metric, option in metrics():
            assert at.metric(metric, **option) == concrete.metric(metric, **option), (metric, option, n)


def test_a_saved_cost_refuses_where_a_part_may_be_everything():
    n = cm.dims("n_saved", min=2)
    saved = cm.from_json(cm.analyze(roll(2), (n, 5)).to_json())
    assert saved.at(n_saved=7).flops
    with pytest.raises(cm.DomainError, match="n_saved=2 was not verified"):
        saved.at(n_saved=2)


def test_what_only_changes_names_is_no_boundary():
    """A transposition has the dimensions of its operand in another order, which may be equal, and moves the same then."""
    n = cm.dims("n_transposed")
    regions = cm.analyze(lambda x: jnp.sin(x.T), (n, 64)).origin.compared
    assert symbol("n_transposed") - 64 not in regions.boundaries  # jax's memory may ask for other sizes, by chance
