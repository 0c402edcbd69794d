"""Branches: what any of them may use is needed, and each quantity has its own greatest or least side.

The law behind most tests: a branch of two equal sides costs what the side costs (test_control_flow.py has that), so what a branch
of two different ones costs at most is the greater of what the two branches of equal sides cost, metric by metric.
"""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from test_random_programs import BRIEF, KEEPS_SHAPE, SIZES, M, N, _programs, run

import costmodel as cm
from costmodel.fusion import policies
from costmodel.rules.branches import Branches, Side, combined
from costmodel.solve.speed import max_batch

FLAG, INDEX = cm.spec((), "bool"), cm.spec((), "int32")
CHOOSE = {"max": max, "min": min}
METRICS = ("macs", "flops", "ops", "transcendentals", "activations", "activations_peak")
DEVICE = "h100-sxm"


# -- what any side may use is needed -------------------------------------------------------------------------------------------


def kept(p, x, weights):
    y = x @ weights
    return lax.cond(p, lambda: y, lambda: x)


def sampler(weights, x):
    def body(i, state):
        x, best = state
        x = x + 0.1 * jnp.tanh(x @ weights)
        return x, lax.cond(i % 10 == 9, lambda: x, lambda: best)

    return lax.fori_loop(0, 50, body, (x, x))[1]


def two_exits(p, x, first, second):
    """A network that may stop after its first layer."""
    y = jnp.tanh(x @ first)
    return lax.cond(p, lambda: y.sum(), lambda: (y @ second).sum())


def nested(p, q, x, weights):
    """The product is used by one side of one side only."""
    y = x @ weights
    return lax.cond(p, lambda: x, lambda: lax.cond(q, lambda: x * 2.0, lambda: y))


def switched(i, x, weights):
    """Each side selects another product."""
    ys = [x @ weights, x @ (weights + 1.0), x @ (weights * 2.0)]
    return lax.switch(i, [lambda k=k: ys[k] for k in range(3)])


W = cm.spec((64, 64))
X = cm.spec((cm.dims("n"), 64))
NEEDED = {
    # name: (function, inputs, products of [n, 64] by [64, 64] that always run)
    "a computed value is kept or not": (kept, (FLAG, X, W), 1),
    "a sampler keeps every tenth state": (sampler, (W, X), 50),
    "two exits": (two_exits, (FLAG, X, W, W), 2),  # the second one on the side that counts
    "nested": (nested, (FLAG, FLAG, X, W), 1),
    "a switch selects": (switched, (INDEX, X, W), 3),
    "under a gradient": (jax.grad(lambda x, p, w: kept(p, x, w).sum()), (X, FLAG, W), 1),  # d y / d x, whether asked for or not
}


@pytest.mark.parametrize("name", NEEDED)
def test_what_any_side_may_use_is_needed(name):
    """XLA compiles and runs what stands outside a branch, whichever side is taken."""
    function, inputs, products = NEEDED[name]
    cost = cm.analyze(function, *inputs)
    assert cost.macs == products * 64 * 64 * cm.symbols("n")
    cost.verify(n=3)


@pytest.mark.parametrize("branches, products", [("max", 2), ("min", 1), ("mean", 1.5)])
def test_what_stands_outside_does_not_depend_on_the_choice(branches, products):
    cost = cm.analyze(two_exits, FLAG, X, W, W, branches=branches)
    assert 2 * cost.macs == int(2 * products) * 64 * 64 * cm.symbols("n")


def test_nothing_that_no_side_uses_is_needed():
    def unused(p, x, weights):
        y = x @ weights
        return lax.cond(p, lambda x, y: x, lambda x, y: x * 2.0, x, y)

    assert cm.analyze(unused, FLAG, X, W).macs == 0


# -- each quantity has its own side --------------------------------------------------------------------------------------------


def between(first, second):
    """A program of a branch between two sides, whose operands are results, too: they are needed whatever the sides do."""
    def function(p, x):
        y = jnp.tanh(x)
        return lax.cond(p, run(first), run(second), y), y
    return function


def quantities(function, point, branches="max"):
    """Everything that adds up over a program, and what it holds, at a point."""
    cost = cm.analyze(function, FLAG, cm.spec((N, M)), branches=branches)
    at = cost.at(**{name: value for name, value in point.items() if name in cost.symbols})
    found = {name: at.metric(name) for name in METRICS}
    found |= {f"bytes, {form}": at.bytes(form) for form in ("compulsory", *policies())}
    found |= {f"peak, {order}": at.live_peak(order=order) for order in ("program", "breadth")}
    for policy in ("unfused", "xla-gpu"):
        line = at.roofline(DEVICE, policy=policy)
        found |= {f"least time, {policy}": line.lower, f"most time, {policy}": line.upper}
    return found | {"energy": at.energy("horowitz-45nm").total}


SIDES = _programs(st.sampled_from(sorted(KEEPS_SHAPE)), 3)


@BRIEF
@given(SIDES, SIDES, SIZES, st.sampled_from(sorted(CHOOSE)))
def test_each_quantity_is_that_of_its_own_side(first, second, sizes, branches):
    point = dict(zip("nm", sizes, strict=True))
    found = quantities(between(first, second), point, branches)
    alone = [quantities(between(side, side), point, branches) for side in (first, second)]
    for name, value in found.items():
        assert value == pytest.approx(CHOOSE[branches](one[name] for one in alone), rel=1e-12), name


def heavy(x):
    """Few bytes, many operations."""
    return lax.fori_loop(0, 300, lambda i, c: jnp.sin(c), x)


def wide(x):
    """Many bytes that are held at once, few operations."""
    return jnp.sort(jnp.broadcast_to(x, (1000, *x.shape)) * 2.0, axis=0)[0]


def test_the_side_with_more_operations_may_hold_less():
    cost = cm.analyze(lambda p, x: lax.cond(p, wide, heavy, x), FLAG, cm.spec((100,)))
    only_wide, only_heavy = (cm.analyze(lambda p, x, f=f: lax.cond(p, f, f, x), FLAG, cm.spec((100,))) for f in (wide, heavy))
    assert only_wide.live_peak() > only_heavy.live_peak() and only_wide.transcendentals < only_heavy.transcendentals
    assert (cost.live_peak(), cost.transcendentals) == (only_wide.live_peak(), only_heavy.transcendentals)
    assert cost.live_peak() >= 401_009  # what XLA 0.10 holds for it on a processor


def test_sides_that_need_the_same_arrays_are_chosen_together():
    """Two branches in a row between the same two weights, and both read x: x once, and the weights that the choice needs."""
    def twice(p, q, x, a, b):
        for flag in (p, q):
            x = lax.cond(flag, lambda x: x @ a, lambda x: x @ b, x)
        return x

    cost = cm.analyze(twice, FLAG, FLAG, cm.spec((8, 64)), W, W)
    # p, q; x and the result; both weights where the branches differ, at least one of them otherwise.
    assert cost.bytes("compulsory") == 2 + 2 * 4 * 8 * 64 + 2 * 4 * 64 * 64
    least = cm.analyze(twice, FLAG, FLAG, cm.spec((8, 64)), W, W, branches="min")
    assert least.bytes("compulsory") == 2 + 2 * 4 * 8 * 64 + 4 * 64 * 64


def test_very_many_branches_have_bounds():
    def deep(p, x, weights):
        for i in range(8):
            x = lax.cond(p[i], lambda x, i=i: x @ weights[i], lambda x: x * 2.0, x)
        return x

    inputs = cm.spec((8,), "bool"), cm.spec((4, 64)), [W] * 8
    most, least = (cm.analyze(deep, *inputs, branches=branches).bytes("compulsory") for branches in ("max", "min"))
    assert most == 8 + 2 * 4 * 4 * 64 + 8 * 4 * 64 * 64
    assert 8 + 4 * 4 * 64 <= least <= 8 + 2 * 4 * 4 * 64  # x is read on either side of the first one, which is not looked into


@pytest.mark.parametrize("branches", CHOOSE)
def test_nested_branches_are_every_choice(branches):
    """A switch of three, one of which is a branch: brute force over the four ways through."""
    def sides(p, x):
        return [lambda: x @ x, lambda: lax.cond(p, lambda: jnp.exp(x), lambda: x @ x @ x), lambda: jnp.sin(jnp.sin(x))]

    ways = {"macs": [16**3, 0, 2 * 16**3, 0], "transcendentals": [0, 16**2, 0, 2 * 16**2]}
    cost = cm.analyze(lambda i, p, x: lax.switch(i, sides(p, x)), INDEX, FLAG, cm.spec((16, 16)), branches=branches)
    assert {name: cost.metric(name) for name in ways} == {name: CHOOSE[branches](counts) for name, counts in ways.items()}


def test_a_loop_around_a_branch_takes_the_dearest_side_every_time():
    cost = cm.analyze(lambda p, x: lax.fori_loop(0, 7, lambda i, c: lax.cond(p, lambda c: c @ c, jnp.sin, c), x), FLAG,
                      cm.spec((16, 16)))
    assert (cost.macs, cost.transcendentals) == (7 * 16**3, 7 * 16**2)


def test_sums_are_chosen_by_brute_force():
    """Of random trees of sides: the greatest sum over every way through."""
    tree = [((), 3), ((Side(0, 0, 2),), 5), ((Side(0, 1, 2), Side(1, 0, 3)), 4), ((Side(0, 1, 2), Side(1, 2, 3)), 1),
            ((Side(0, 1, 2),), 2), ((Side(2, 1, 2),), 7)]
    ways = [sum(number for branch, number in tree if all(taken[s.cond] == s.which for s in branch))
            for taken in itertools.product(range(2), range(3), range(2))]
    for branches, choose in ((Branches.MAX, max), (Branches.MIN, min)):
        assert combined(tree, branches, add=sum, join=sum, choose=choose) == choose(ways)
    assert combined(tree, Branches.MEAN, add=sum, join=sum) == sum(number for _, number in tree)


# -- how it is told ------------------------------------------------------------------------------------------------------------


@BRIEF
@given(SIDES, SIDES, st.sampled_from(sorted(CHOOSE)))
def test_rows_add_up_and_sides_stand_below(first, second, branches):
    cost = cm.analyze(between(first, second), FLAG, cm.spec((N, M)), branches=branches)
    tables = [cost.table(by=by) for by in ("module", "layer", "op", "phase")]
    tables += [cost.table(by="kernel", policy=policy) for policy in ("unfused", "xla-gpu")]
    for table in tables:
        assert all((a - b).expand() == 0 for a, b in zip(table.sum(), table.total, strict=True))
        assert [row.repeats for row in table.rows if row.label.startswith("branch ")] == [0] * sum(
            row.label.startswith("branch ") for row in table.rows)
        assert sum("of 2 branches" in row.label for row in table.rows) <= 1


def test_a_branch_is_one_row_with_its_sides_below():
    def function(p, x):
        return lax.cond(p, lambda: x @ x, lambda: jnp.sin(x))

    cost = cm.analyze(function, FLAG, cm.spec((16, 16)))
    text = cost.table().text(120)
    for line in ("(root) [most of 2 branches]", "  branch 1 of 2: (root)", "  branch 2 of 2: (root)"):
        assert line in text
    rows = {row.label: row for row in cost.table().rows}
    assert rows["(root) [most of 2 branches]"].cells[1:4] == (16**3, 2 * 16**3, 16**2)
    assert ",0," in next(line for line in cost.table().to_csv().splitlines() if "branch 1 of 2" in line)
    assert "on branch 2 of 2" in str(cost.explain(""))


def test_the_result_says_bounded_where_a_choice_was_made():
    cost = cm.analyze(two_exits, FLAG, X, W, W)
    assert {e.status for e in cost.program if e.branch} == {"bounded"}
    assert "bounded" in str(cost) and "bounded" in cost.table().notes[-1]
    assert "bounded" not in str(cm.analyze(two_exits, FLAG, X, W, W, branches="mean"))


def test_kernels_stay_on_one_side():
    cost = cm.analyze(between(("sin", "softmax"), ("softmax", "gelu")), FLAG, cm.spec((N, M)))
    for policy in policies():
        for kernel in cost.kernels(policy):
            assert len({e.branch for e in kernel.equations}) == 1, (policy, kernel)


def test_a_rooflines_rows_add_up_and_agree_with_a_sweep():
    cost = cm.analyze(lambda p, x: lax.cond(p, lambda x: x @ x, lambda x: jnp.sin(jnp.cos(x) @ x), x), FLAG, cm.spec((N, N)))
    for n in (16, 2048):
        line = cost.roofline(DEVICE, n=n)
        assert math.isclose(sum(row.lower * row.times for row in line.rows if not row.branch), line.lower)
        assert math.isclose(sum(row.lower * row.times for row in line.by("module")), line.lower)
        assert line.lower <= line.upper and any(row.kind == "most of 2 branches" for row in line.rows)
        swept = cost.sweep(n=[n, 2 * n], hardware=[DEVICE])
        assert math.isclose(float(swept.time_lower.values.ravel()[0]), line.lower)
        assert math.isclose(float(swept.time_upper.values.ravel()[0]), line.upper)
        assert math.isclose(max_batch(cost, "n", DEVICE, line.lower, bound="lower").seconds, line.lower)


def test_a_file_keeps_branches():
    cost = cm.analyze(two_exits, FLAG, X, W, W, branches="min")
    again = cm.from_json(cost.to_json())
    assert again.macs == cost.macs and [e.branch for e in again.program] == [e.branch for e in cost.program]
    assert again.program.branches is Branches.MIN
    for wrong in ("[0,2,2]", "[0,0,2000000000]", "[0,-1,2]", "[0,1]"):
        with pytest.raises(cm.CostModelError, match="damaged"):
            cm.from_json(cost.to_json().replace("[0,0,2]", wrong))
