"""What a partitioner loses or does otherwise, and what is said of it."""

from __future__ import annotations

import dataclasses
import warnings

import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

import costmodel as cm

P = PartitionSpec
MESH = {"data": 2, "model": 4}
b, s, d = cm.dims("b s d")
data, B, S, D = cm.symbols("data b s d")


@pytest.mark.parametrize("operation", [jnp.square, lax.erf, lax.tan, lax.asin, lax.lgamma, lax.is_finite])
def test_an_elementwise_operation_keeps_its_operands_sharding(operation):
    """Those of CHLO too, of which Shardy knows none: a device computes its part, and the sum over the batch is reduced."""
    cost = cm.analyze(lambda x: operation(x).astype(jnp.float32).sum(0), (b, d), mesh=MESH, in_shardings=P("data"), verify=False)
    assert cost.wire_bytes() == (8 * D * (1 - 1 / data)).expand()
    assert {str(row.kind) for row in cost.collectives()} == {"all_reduce"}


def test_a_mean_over_many_elements_is_partitioned():
    """At the partitioner's point the number of elements is more than 32 bits hold."""
    dims = cm.dims("b s t u", multiple_of=8)
    cost = cm.analyze(lambda x: x.mean(), dims, mesh=MESH, in_shardings=P(("data", "model")), verify=False)
    assert [row.kind for row in cost.collectives()] == ["all_reduce"]


def cumulative(after):
    over = NamedSharding(AbstractMesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2), P(*after))
    return lambda x: lax.with_sharding_constraint(jnp.cumsum(x, 1), over)


def test_a_cumulative_sum_that_is_shared_afterwards_is_told_of():
    with pytest.warns(UserWarning, match=r"cumsum at .*: its result is shared along the summed dimension"):
        cm.analyze(cumulative(("data", "model")), (b, s, d), mesh=MESH, in_shardings=P("data", None, "model"), verify=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cm.analyze(cumulative(("data", None, "model")), (b, s, d), mesh=MESH, in_shardings=P("data", None, "model"), verify=False)


def test_what_is_sent_and_belongs_to_no_equation_is_told_of(monkeypatch):
    from costmodel.sharding import partition
    from costmodel.sharding.shardy import Operation, Tensor

    def partitioned(*arguments, **options):
        parts = asked(*arguments, **options)
        whole = Tensor((16, 40), ((), ()))
        return dataclasses.replace(parts, operations=[*parts.operations, Operation("sdy.all_gather", "", (whole,), (whole,))])

    asked = partition._partitioned
    monkeypatch.setattr(partition, "_partitioned", partitioned)
    with pytest.warns(UserWarning, match=r"sends by all_gather something of 16x40 elements that belongs to no equation"):
        cm.analyze(jnp.square, (b, d), mesh=MESH, in_shardings=P("data"), verify=False)


def test_a_result_that_the_partitioner_does_not_show_is_told_of(monkeypatch):
    from costmodel.sharding.alignment import Alignment, Place

    def place(self, r, tensors):
        found = asked(self, r, tensors)
        return Place((), (None,) * len(r.ins), (None,) * len(r.outs)) if r.primitive == "dot_general" else found

    asked = Alignment.place
    monkeypatch.setattr(Alignment, "place", place)
    with pytest.warns(UserWarning, match=r"dot_general at .*: the partitioner's program does not show how its result is shared"):
        cm.analyze(jnp.matmul, (b, d), (d, s), mesh=MESH, in_shardings=(P("data"), P()), verify=False)


def test_neither_is_so_in_the_programs_that_are_judged():
    """Where the compilers' bytes are ours, nothing is left over."""
    from costmodel.bench.mesh.judged import SIZES
    from costmodel.bench.mesh.programs import programs

    for name in ("gated_unit", "vocabulary_loss", "experts", "strided_in_space", "recurrent"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            programs()[name].analyze(SIZES)
