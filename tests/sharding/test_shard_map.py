"""``shard_map``: one device's costs, with the sizes of the mesh's axes as symbols; each value is that of a trace over a mesh of
integers, or follows from what a device computes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

import costmodel as cm
from costmodel import CostModelError, DomainError

P = PartitionSpec
n, d, f = cm.dims("n d f")
data, model = cm.symbols("data model")
N, D, F = cm.symbols("n d f")


def mesh(p=2, q=4):
    return AbstractMesh((p, q), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def tensor_parallel(over):
    def layer(x, a, b):
        return lax.psum(jax.nn.relu(x @ a) @ b, "model")

    return jax.shard_map(layer, mesh=over, in_specs=(P("data"), P(None, "model"), P("model")), out_specs=P("data"))


def fully_sharded(over):
    def layer(x, a, b):
        a, b = lax.all_gather(a, "data", axis=0, tiled=True), lax.all_gather(b, "data", axis=1, tiled=True)
        return lax.psum_scatter(jax.nn.relu(x @ a) @ b, "model", scatter_dimension=1, tiled=True)

    return jax.shard_map(layer, mesh=over, in_specs=(P("data"), P("data", "model"), P("model", "data")), check_vma=False,
                         out_specs=P("data", "model"))


def exchanged(over):
    def layer(x, a, b):
        y = lax.all_to_all(x @ a, "model", 1, 0, tiled=True)
        return lax.all_to_all(y, "model", 0, 1, tiled=True) @ b

    return jax.shard_map(layer, mesh=over, in_specs=(P("data"), P(), P()), out_specs=P("data"), check_vma=False)


def looped(over):
    def layer(x, a, b):
        def step(y, _):
            return lax.psum(jnp.tanh(y @ a) @ b, "model"), None

        return lax.scan(step, x, None, length=5)[0]

    return jax.shard_map(layer, mesh=over, in_specs=(P("data"), P(None, "model"), P("model")), out_specs=P("data"), check_vma=False)


PROGRAMS = {"tensor parallel": tensor_parallel, "fully sharded": fully_sharded, "all to all": exchanged, "in a loop": looped}
INPUTS = (n, d), (d, f), (f, d)


def test_a_device_does_its_part_and_sends_what_the_ring_says():
    cost = cm.analyze(tensor_parallel(mesh()), *INPUTS)
    assert cost.macs == 2 * N * D * F / (data * model)
    assert cost.wire_bytes() == (8 * N * D / data * (1 - 1 / model)).expand()
    assert cost.wire_bytes("data") == 0
    (row,) = cost.collectives()
    assert (row.kind, row.axes, row.dtype, row.times) == ("all_reduce", ("model",), "float32", 1)


@pytest.mark.parametrize("sizes", [(2, 4), (3, 5), (7, 2)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_form_over_one_mesh_is_the_trace_over_any_other(name, sizes):
    point = {"n": 210, "d": 420, "f": 840}
    cost = cm.analyze(PROGRAMS[name](mesh()), *INPUTS).at(data=sizes[0], model=sizes[1], **point)
    shapes = [[point[str(dim)] for dim in shape] for shape in INPUTS]
    there = cm.analyze(PROGRAMS[name](mesh(*sizes)), *map(tuple, shapes)).at()
    for metric in ("macs", "flops", "transcendentals", "wire_bytes"):
        assert cost.metric(metric) == there.metric(metric), metric
    assert cost.bytes("unfused") == there.bytes("unfused") and cost.live_peak() == there.live_peak()


def test_the_sum_over_devices_is_the_whole_product():
    cost = cm.analyze(tensor_parallel(mesh()), *INPUTS)
    assert cost.all_devices.macs == 2 * N * D * F
    assert cost.all_devices.intensity() == cost.intensity()
    assert "one device of the mesh data=2 x model=4" in str(cost)


def test_axes_that_a_point_does_not_give_have_the_meshs_sizes():
    cost = cm.analyze(tensor_parallel(mesh()), *INPUTS)
    point = {"n": 8, "d": 16, "f": 32}
    assert cost.at(**point).macs == cost.at(data=2, model=4, **point).macs == 2 * 8 * 16 * 32 // 8
    assert cost.at(model=8, **point).macs == 2 * 8 * 16 * 32 // 16


def test_a_dimension_is_a_multiple_of_what_shares_it():
    cost = cm.analyze(tensor_parallel(mesh()), *INPUTS)
    assert "data | n" in str(cost.domain) and "model | f" in str(cost.domain)
    with pytest.raises(DomainError, match=r"data \| n"):
        cost.at(n=9, d=16, f=32)


def test_one_device_holds_its_shards():
    x = cm.spec((64, 1024))
    whole = jax.shard_map(lambda x: x * 2, mesh=mesh(), in_specs=P("data", "model"), out_specs=P("data", "model"))
    assert cm.analyze(whole, x).at().live_peak() == 2 * 64 * 1024 * 4 // 8


def test_eight_chips_take_an_eighth_of_the_time():
    over, device = AbstractMesh((8,), ("d",), axis_types=(AxisType.Auto,)), "h100-sxm"
    x, w = cm.spec((4096, 4096)), cm.spec((4096, 4096))
    spread = jax.shard_map(jnp.matmul, mesh=over, in_specs=(P("d"), P()), out_specs=P("d"))
    each, whole = cm.analyze(spread, x, w).at().roofline(device), cm.analyze(jnp.matmul, x, w).at().roofline(device)
    assert dict(each.total.busy)["matrix"] == pytest.approx(dict(whole.total.busy)["matrix"] / 8)


def test_what_names_devices_one_by_one_keeps_its_mesh():
    """A ring of four is no ring of eight: its axis has the size that it was written for, and no other."""
    def ring(x):
        return lax.ppermute(x, "model", [(i, (i + 1) % 4) for i in range(4)])

    cost = cm.analyze(jax.shard_map(ring, mesh=mesh(), in_specs=P("model"), out_specs=P("model")), (4 * n, d))
    assert cost.at(n=2, d=8).wire_bytes() == 2 * 8 * 4
    with pytest.raises(DomainError, match="model=8"):
        cost.at(n=2, d=8, model=8)


def test_an_axis_named_like_a_dimension_is_refused():
    m = cm.dims("model")
    with pytest.raises(CostModelError, match="model is a dimension of the program and an axis"):
        cm.analyze(tensor_parallel(mesh()), (n, m), (m, f), (f, m))


def test_what_happens_outside_is_partitioned_too():
    """Between two maps the partitioner keeps the shards where they are: nothing is sent, and a device adds its part only."""
    def both(x, a, b):
        return tensor_parallel(mesh())(tensor_parallel(mesh())(x, a, b) + 1.0, a, b)

    cost = cm.analyze(both, *INPUTS)
    assert cost.wire_bytes() == 2 * cm.analyze(tensor_parallel(mesh()), *INPUTS).wire_bytes()
    assert cost.macs == 4 * N * D * F / (data * model)


def test_a_gradient_is_one_devices():
    def loss(x, a, b):
        return (tensor_parallel(mesh())(x, a, b) ** 2).sum()

    cost = cm.analyze(jax.grad(loss, argnums=(1, 2)), *INPUTS)
    assert cost.macs == 5 * N * D * F / (data * model)  # two forward, one for the gradient of the hidden layer, two of weights
    wire = cost.at(n=8, d=16, f=32, data=2, model=4).wire_bytes("data")
    assert wire == 2 * (2 * (2 - 1) / 2 * 16 * 32 / 4 * 4)  # the gradients of both weights, summed over the batch's shards
