"""What XLA for processors makes of exchanges: sums that are one operation, whole sums, images with their neighbours' rows."""

from __future__ import annotations

import functools
import random
from itertools import combinations

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

import costmodel as cm
from costmodel.fusion.exchanges import exchanged, summed_together
from costmodel.pricing.communication import LINK

MESH = AbstractMesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def table_of(f, *specs, out=P()):  # noqa: B008 (a partition does not change)
    sharded = jax.shard_map(f, mesh=MESH, in_specs=P(), out_specs=out, check_vma=False)
    return cm.analyze(sharded, *specs, verify=False).program


def sums(table):
    return [e for e in table if any(kind.engine == LINK for kind, _, _ in e.work.ops)]


def ancestors(table):
    """Of each equation all that it needs, by walking from value to value."""
    maker = {out: e for e in table for out in e.outs}
    found = {}
    for e in table:
        direct = [maker[v] for v in e.ins if v in maker]
        found[e] = set(direct).union(*(found[d] for d in direct))
    return found


def random_program(seed):
    """Sums over one axis or the other between products, of what was there before, in a random order."""
    def program(x):
        draw = random.Random(seed)
        there = [x, x * 2]
        for _ in range(12):
            a, b = draw.choice(there), draw.choice(there)
            there.append(draw.choice([lambda a, b: lax.psum(a, "data"), lambda a, b: lax.psum(b, "model"),
                                      lambda a, b: lax.pmax(a, "data"), lambda a, b: jnp.tanh(a) * b])(a, b))
        return sum(there)
    return program


@pytest.mark.parametrize("seed", range(6))
def test_sums_are_one_where_none_needs_another_and_not_else(seed):
    """Against all pairs: the sums of a group are of one kind, over one axis, and independent; two groups of a kind are left apart
    only where one of them, as it is then, needs the other. All that an equation reads is there before it."""
    table = table_of(random_program(seed), (8, 8))
    needs, single = ancestors(table), {out: e for e in sums(table) for out in e.outs}
    after = summed_together(table)
    joined = ancestors(after)
    groups = [[single[out] for out in e.outs] for e in sums(after)]
    assert sorted(e.index for g in groups for e in g) == sorted(e.index for e in sums(table))
    for group in groups:
        assert len({(e.primitive, e.params.axes) for e in group}) == 1
        assert not any(a in needs[b] or b in needs[a] for a, b in combinations(group, 2))
    for one, other in combinations(groups, 2):
        if (one[0].primitive, one[0].params.axes) == (other[0].primitive, other[0].params.axes):
            a, b = (next(e for e in after if group[0].outs[0] in e.outs) for group in (one, other))
            assert a in joined[b] or b in joined[a]
    made = set(table.inputs)
    inner = {out for e in after for out in e.outs}
    for e in after:
        assert all(v in made for v in e.ins if v in inner)
        made |= set(e.outs)


def test_two_gradients_are_held_until_both_are_summed():
    """Two partial sums and two sums at once, beside two arguments and the result; one operation after the other would hold three
    arrays."""
    def program(x, y):
        a, b = jnp.dot(x, x), jnp.dot(y, y)
        return jnp.tanh(lax.psum(a, "data")).sum() + jnp.tanh(lax.psum(b, "data")).sum()

    cost = cm.analyze(jax.shard_map(program, mesh=MESH, in_specs=(P(), P()), out_specs=P(), check_vma=False), (64, 64), (64, 64))
    array = 64 * 64 * 4
    assert cost.at().live_peak(policy="xla-cpu", order="breadth") == 6 * array + 4
    assert [len(k.main.outs) for k in cost.kernels("xla-cpu") if k.kind == "collective"] == [2]


def test_sums_in_a_loop_are_not_those_outside():
    def program(x):
        inside = lax.scan(lambda c, _: (lax.psum(c, "data") + lax.psum(c * 2, "data"), None), x, None, length=3)[0]
        return inside + lax.psum(x, "data")

    table = exchanged(table_of(program, (8, 8)))
    assert sorted(len(e.outs) for e in sums(table)) == [1, 2]


def test_a_part_of_a_sum_is_taken_from_the_whole():
    """XLA for processors has no reduce-scatter: the whole sum is there before a device takes its part."""
    table = table_of(lambda x: lax.psum_scatter(x, "model", tiled=True), (64, 8), out=P("model"))
    whole, part = exchanged(table).equations[-3:-1]
    assert whole.outs[0].array.size == 512 and part.ins == whole.outs and part.outs[0].array.size == 128


def test_an_image_is_written_with_its_neighbours_rows():
    n, s, c = cm.dims("n s c")
    conv = functools.partial(lax.conv_general_dilated, window_strides=(1, 1), padding="SAME",
                             dimension_numbers=("NHWC", "HWIO", "NHWC"))
    rows = P(None, "model")
    cost = cm.analyze(conv, (n, s, s, c), (3, 3, c, c), mesh={"model": 4}, in_shardings=(rows, P()), out_shardings=rows)
    image = next(k for k in cost.at(n=2, s=32, c=8).kernels("xla-cpu") if k.kind == "conv").main.ins[0]
    assert cost.at(n=2, s=32, c=8).evaluate(image.array.size) == 2 * (32 // 4 + 2) * 32 * 8


def test_a_program_that_sends_nothing_is_left_as_it_is():
    table = cm.analyze(lambda x: x @ x, (8, 8)).program
    assert exchanged(table) is table
