"""Programs that the partitioner shards: every way to say how, and what a device computes, holds and sends in each."""

from __future__ import annotations

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from jax import lax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

import costmodel as cm
from costmodel import CostModelError, DomainError

P = PartitionSpec
MESH = {"data": 2, "model": 4}
n, d, f = cm.dims("n d f")
data, model = cm.symbols("data model")
N, D, F = cm.symbols("n d f")
WIRE = (8 * N * D / data * (1 - 1 / model)).expand()  # of one all-reduce of (n/data, d) over model


def mlp(x, a, b):
    return jax.nn.relu(x @ a) @ b


SPLIT = (P("data"), P(None, "model"), P("model"))
INPUTS = (n, d), (d, f), (f, d)


def abstract(kind=AxisType.Auto):
    return AbstractMesh((2, 4), ("data", "model"), axis_types=(kind,) * 2)


def named(*spec, kind=AxisType.Auto):
    return NamedSharding(abstract(kind), P(*spec))


def is_tensor_parallel(cost):
    assert cost.macs == 2 * N * D * F / (data * model)
    assert cost.wire_bytes() == WIRE
    assert [row.kind for row in cost.collectives()] == ["all_reduce"]
    assert cost.bytes("compulsory") == 8 * N * D / data + 8 * D * F / model


def test_shardings_given_to_analyze():
    is_tensor_parallel(cm.analyze(mlp, *INPUTS, mesh=MESH, in_shardings=SPLIT, out_shardings=P("data")))


def test_shardings_of_a_jitted_function_name_the_mesh():
    eight = cm.dims("n d f", multiple_of=8)
    sharded = jax.jit(mlp, in_shardings=(named("data"), named(None, "model"), named("model")), out_shardings=named("data"))
    is_tensor_parallel(cm.analyze(sharded, (eight[0], eight[1]), (eight[1], eight[2]), (eight[2], eight[1])))


def test_shardings_of_a_jitted_function_with_any_dimension():
    sharded = jax.jit(mlp, in_shardings=(named("data"), named(None, "model"), named("model")), out_shardings=named("data"))
    is_tensor_parallel(cm.analyze(sharded, *INPUTS, mesh=MESH))
    is_tensor_parallel(cm.analyze(sharded, *INPUTS))
    with pytest.raises(CostModelError, match="IndivisibleError"):
        cm.analyze(sharded, (3, 5), (5, 7), (7, 5))


def test_a_constraint_inside():
    def constrained(x, a, b):
        hidden = lax.with_sharding_constraint(x @ a, named("data", "model"))
        return lax.with_sharding_constraint(jax.nn.relu(hidden) @ b, named("data", None))

    cost = cm.analyze(constrained, *INPUTS, mesh=MESH, in_shardings=SPLIT)
    assert cost.macs == 2 * N * D * F / (data * model) and cost.wire_bytes() == WIRE


def test_shardings_of_the_specs_themselves():
    eight = cm.dims("n d f", multiple_of=8)
    shapes = (eight[0], eight[1]), (eight[1], eight[2]), (eight[2], eight[1])
    specs = [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(abstract(), spec))
             for shape, spec in zip(shapes, SPLIT, strict=True)]
    assert cm.analyze(mlp, *specs, mesh=MESH).wire_bytes() == WIRE


def test_explicit_axes():
    def layer(x, a, b):
        return jnp.einsum("nf,fd->nd", jax.nn.relu(x @ a), b, out_sharding=named("data", None, kind=AxisType.Explicit))

    eight = cm.dims("n d f", multiple_of=8)
    shapes = (eight[0], eight[1]), (eight[1], eight[2]), (eight[2], eight[1])
    specs = [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=named(*spec, kind=AxisType.Explicit))
             for shape, spec in zip(shapes, (("data", None), (None, "model"), ("model", None)), strict=True)]
    with jax.sharding.use_abstract_mesh(abstract(AxisType.Explicit)):
        cost = cm.analyze(layer, *specs)
    assert cost.macs == 2 * N * D * F / (data * model) and cost.wire_bytes() == WIRE


class Linen(nn.Module):
    hidden: int
    out: int

    @nn.compact
    def __call__(self, x):
        split = [nn.with_partitioning(nn.initializers.ones, axes) for axes in ((None, "model"), ("model", None))]
        hidden = nn.relu(nn.Dense(self.hidden, kernel_init=split[0], use_bias=False)(x))
        return nn.Dense(self.out, kernel_init=split[1], use_bias=False)(hidden)


class Nnx(nnx.Module):
    def __init__(self, into, hidden, out, rngs):
        split = [nnx.with_partitioning(nnx.initializers.ones, axes) for axes in ((None, "model"), ("model", None))]
        self.first = nnx.Linear(into, hidden, kernel_init=split[0], use_bias=False, rngs=rngs)
        self.second = nnx.Linear(hidden, out, kernel_init=split[1], use_bias=False, rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.relu(self.first(x)))


def of_nnx():
    with nnx.use_eager_sharding(False):
        return cm.abstract(lambda: Nnx(d, f, d, nnx.Rngs(0)))


@pytest.mark.parametrize("make", [lambda: Linen(f, d), of_nnx], ids=["linen", "nnx"])
def test_flax_partitioning_metadata(make, capsys):
    cost = cm.analyze(make(), (n, d), mesh=MESH, in_shardings=P("data"))
    assert cost.macs == 2 * N * D * F / (data * model)
    assert cost.wire_bytes() == WIRE
    assert cost.params == 2 * D * F / model
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("make", [lambda: Linen(f, d), of_nnx], ids=["linen", "nnx"])
def test_partitioning_metadata_without_a_mesh_is_said(make, capsys):
    cost = cm.analyze(make(), (n, d))
    assert cost.params == 2 * D * F
    assert "no mesh was given" in capsys.readouterr().err


def test_shardings_without_a_mesh_are_refused():
    with pytest.raises(CostModelError, match="no mesh"):
        cm.analyze(mlp, *INPUTS, in_shardings=SPLIT)
    with pytest.raises(CostModelError, match="no mesh"):
        cm.analyze_training(Linen(f, d), (n, d), loss=lambda y: y.sum(), data_sharding=P("data"))


def test_a_training_step_shards_its_optimizer_as_its_parameters():
    cost = cm.analyze_training(Linen(f, d), cm.spec((n, d)), loss=lambda y: (y**2).mean(), optimizer=optax.adam(1e-3), mesh=MESH,
                               data_sharding=P("data"))
    weights = 2 * D * F / model
    assert cost.params == weights
    assert cost.metric("optimizer_state") == 2 * 4 * weights + 4  # two moments, and the count of steps
    both = 2 * 4 * weights * (1 - 1 / data)  # both gradients, summed over the batch's shards
    assert cost.wire_bytes("data") == (both + 2 * 4 * (1 - 1 / data)).expand()  # and the loss
    assert cost.table(by="phase").rows


def test_fully_sharded_parameters_are_gathered_in_every_layer_of_a_scan():
    layers = cm.dims("L")

    def loss(w, x):
        def layer(x, w):
            return x + jax.nn.relu(x @ w[0]) @ w[1], None

        return (lax.scan(layer, x, w)[0] ** 2).sum()

    split = (P(None, "data", "model"), P(None, "model", "data"))
    cost = cm.analyze(jax.grad(loss), (cm.spec((layers, d, f)), cm.spec((layers, f, d))), cm.spec((n, d)), mesh=MESH,
                      in_shardings=(split, P("data")), out_shardings=split)
    gathered = [row for row in cost.collectives() if row.kind == "all_gather"]
    assert gathered and {row.axes for row in gathered} == {("data",)}
    assert {row.times for row in gathered} == {cm.symbols("L")}
    assert {row.kind for row in cost.collectives()} == {"all_gather", "all_reduce", "reduce_scatter"}
    there = cost.at(L=3, n=16, d=32, f=64)
    assert sum(row.total for row in there.collectives()) == there.wire_bytes()


def test_what_is_saved_is_what_was_derived():
    cost = cm.analyze(mlp, *INPUTS, mesh=MESH, in_shardings=SPLIT, out_shardings=P("data"))
    point = {"n": 16, "d": 32, "f": 64}
    cost.at(**point)
    loaded = cm.from_json(cost.to_json())
    assert loaded.mesh == cost.mesh and str(loaded.domain) == str(cost.domain)
    assert loaded.at(**point).wire_bytes() == cost.at(**point).wire_bytes()
    assert loaded.collectives().rows == cost.collectives().rows


@pytest.mark.parametrize("other_kernels", [False, True])
def test_over_a_grid_of_meshes(monkeypatch, other_kernels):
    """The forms hold on the whole grid, also where a point by itself would be another program's."""
    from costmodel.pricing.core import Differences, Symbolic

    pytest.importorskip("xarray")
    if other_kernels:
        monkeypatch.setattr(Symbolic, "_differs", lambda *_: Differences("", "", "other kernels"))
    cost = cm.analyze(mlp, *INPUTS, mesh=MESH, in_shardings=SPLIT, out_shardings=P("data"))
    found = cost.sweep(metrics=("macs", "wire_bytes"), n=[16, 32], d=[64], f=[64], data=[1, 2, 4], model=[2, 4])
    for size in (1, 2, 4):
        assert found.macs.sel(n=32, data=size, model=4).item() == 2 * 32 * 64 * 64 // size // 4


def test_modules_and_explanations_are_one_devices():
    cost = cm.analyze(Linen(f, d), (n, d), mesh=MESH, in_shardings=P("data"))
    rows = {row.label: row for row in cost.table().rows}
    assert rows["Dense_0"].values["MACs"] if hasattr(rows["Dense_0"], "values") else rows
    assert "all_reduce" in str(cost.explain("Dense_1"))


def test_another_point_is_partitioned_anew(monkeypatch):
    """Where the partitioner sends something else, the point has its own program: a signature that differs is seen."""
    from costmodel.sharding.partition import Device

    cost = cm.analyze(mlp, *INPUTS, mesh=MESH, in_shardings=SPLIT, out_shardings=P("data"))
    cost.at(n=16, d=32, f=64)
    asked = []
    monkeypatch.setattr(Device, "signature_at", lambda self, env, sizes: asked.append(sizes) or ())
    assert cost.at(n=48, d=32, f=64, model=8).wire_bytes() == 2 * 7 * 24 * 32 * 4 // 8
    assert asked == [{"data": 2, "model": 8}]


def test_an_axis_of_one_device_sends_nothing():
    cost = cm.analyze(mlp, *INPUTS, mesh=MESH, in_shardings=SPLIT, out_shardings=P("data"))
    assert cost.at(n=16, d=32, f=64, model=1).wire_bytes() == 0


def test_partitions_that_do_not_fit_are_one_line():
    for wrong, what in (((P("data"), P()), "2 entries for 3 inputs"), ((P("rows"), P(), P()), "rows, which is no axis"),
                        ((P("data"), "model", P()), "no PartitionSpec")):
        with pytest.raises(CostModelError, match=what):
            cm.analyze(mlp, *INPUTS, mesh=MESH, in_shardings=wrong)
    with pytest.raises(CostModelError, match="0 devices"):
        cm.analyze(mlp, *INPUTS, mesh={"data": 0})
    cost = cm.analyze(mlp, *INPUTS, mesh=MESH, in_shardings=SPLIT, out_shardings=P("data"))
    with pytest.raises(DomainError, match=r"model \| f"):
        cost.at(n=16, d=32, f=63)


def lookup(constrained):
    def model(table, tokens, w):
        x = table[tokens]
        x = lax.with_sharding_constraint(x, named("data", None, None)) if constrained else x
        return jnp.tanh(x @ w)
    return model


def test_a_batch_that_loses_its_sharding_is_said_with_the_line(recwarn):
    b, s, v = cm.dims("b s v")
    specs = (v, d), cm.spec((b, s), "int32"), (d, f)
    over = {"mesh": MESH, "in_shardings": (P("model", "data"), P("data"), P("data", "model"))}
    cm.analyze(lookup(True), *specs, **over)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"the batch b is no longer sharded along data .*test_gspmd.py:\d+: .*'data', None, None"):
        cm.analyze(lookup(False), *specs, **over)


def test_the_warning_is_of_the_models_line(recwarn):
    """Not of the library's that analyses it."""
    b, s, v = cm.dims("b s v")
    cm.analyze(lookup(False), (v, d), cm.spec((b, s), "int32"), (d, f), mesh=MESH,
               in_shardings=(P("model", "data"), P("data"), P("data", "model")))
    assert {Path(each.filename).name for each in recwarn.list} == {"test_gspmd.py"}


def test_the_largest_batch_that_fits_is_shared_evenly():
    cost = cm.analyze(mlp, *INPUTS, mesh=MESH, in_shardings=SPLIT, out_shardings=P("data"))
    found = cm.solve.max_fit(cost, "n", 1_000_003, at={"d": 64, "f": 64}).answer
    assert found % 2 == 0
    fits = [size for size in range(found - 8, found + 10, 2) if cost.at(n=size, d=64, f=64).live_peak() <= 1_000_003]
    assert fits[-1] == found
