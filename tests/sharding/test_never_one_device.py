"""Nothing sharded is priced as one device without a word: every way to say that a program is sharded, and everything that a cost
can be asked."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from click.testing import CliRunner
from jax import lax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

import costmodel as cm
from costmodel import CostModelError, DomainError
from costmodel.cli import main
from costmodel.report.page import page

P = PartitionSpec
MESH = {"data": 2, "model": 4}
OVER = AbstractMesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
n, d, f = cm.dims("n d f")
N, D, F = cm.symbols("n d f")
data, model = cm.symbols("data model")
POINT = {"n": 64, "d": 128, "f": 512}
EACH, WIRE = 2 * N * D * F / (data * model), (8 * N * D / data * (1 - 1 / model)).expand()


def mlp(x, a, b):
    return jax.nn.relu(x @ a) @ b


SPLIT = P("data"), P(None, "model"), P("model")


def cost(**options):
    return cm.analyze(mlp, (n, d), (d, f), (f, d), mesh=MESH, in_shardings=SPLIT, out_shardings=P("data"), **options)


def named(*axes):
    return NamedSharding(OVER, P(*axes))


def specs():
    """Arrays that say themselves how they are sharded; jax wants them to be multiples."""
    shapes = [(8 * n, 8 * d), (8 * d, 8 * f), (8 * f, 8 * d)]
    return [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=named(*spec)) for shape, spec in zip(shapes, SPLIT, strict=True)]


def constrained(x, a, b):
    return lax.with_sharding_constraint(mlp(x, a, b), named("data", None))


def mapped(x, a, b):
    return jax.shard_map(lambda x, a, b: lax.psum(mlp(x, a, b), "model"), mesh=OVER, in_specs=SPLIT, out_specs=P("data"))(x, a, b)


def by_keyword(x, *, a, b):
    return mlp(x, a, b)


def squared(y, target):
    return ((y - target) ** 2).mean()


FRESH = (8 * n, 8 * d), (8 * d, 8 * f), (8 * f, 8 * d)
WAYS = {
    "mesh=": lambda: cm.analyze(mlp, *FRESH, mesh=MESH, in_shardings=SPLIT),
    "the shardings of inputs": lambda: cm.analyze(mlp, *specs()),
    "the shardings of keyword arguments": lambda: cm.analyze(by_keyword, FRESH[0], kwargs={"a": specs()[1], "b": specs()[2]}),
    "the shardings of targets": lambda: cm.analyze_training(jnp.multiply, cm.spec(()), FRESH[0], params=0, loss=squared,
                                                            targets=specs()[:1]),
    "a jitted function's shardings": lambda: cm.analyze(jax.jit(mlp, in_shardings=tuple(named(*s) for s in SPLIT)), *FRESH),
    "a constraint": lambda: cm.analyze(constrained, *FRESH),
    "shard_map": lambda: cm.analyze(mapped, *FRESH),
    "a constraint, by fit": lambda: cm.analyze(constrained, *FRESH, fit="always"),
    "a gradient": lambda: cm.analyze(jax.grad(lambda *args: constrained(*args).sum()), *FRESH),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_say_it_gives_one_devices_cost(way):
    found = WAYS[way]()
    assert found.mesh is not None and found.mesh.sizes == MESH
    assert "one device of the mesh data=2 x model=4" in str(found)


def test_inputs_over_two_meshes_are_refused():
    other = NamedSharding(AbstractMesh((4,), ("rows",), axis_types=(AxisType.Auto,)), P("rows"))
    with pytest.raises(CostModelError, match="use one mesh"):
        cm.analyze(mlp, *specs()[:2], jax.ShapeDtypeStruct((8 * f, 8 * d), jnp.float32, sharding=other))


# -- what analyses anew ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("some", [{"n": 64}, {"data": 2}, {"data": 1}, {"model": 1}, {"data": 1, "n": 8}, {"data": 3, "model": 5}])
def test_a_region_is_one_device_over_the_same_mesh(some):
    """Its forms are those of the whole cost where the symbols are these integers: the partitioner does the same there."""
    whole, there = cost(), cost().region(**some)
    fixed = {cm.symbols(name): value for name, value in some.items()}
    assert (there.macs - EACH.xreplace(fixed)).expand() == 0 and (there.wire_bytes() - WIRE.xreplace(fixed)).expand() == 0
    assert there.mesh.sizes == {**MESH, **{axis: size for axis, size in some.items() if axis in MESH}}
    point = {**{name: 30 * size for name, size in POINT.items()}, **some}
    here, everywhere = there.at(**{name: point[name] for name in there.symbols if name in point}), whole.at(**point)
    for metric in ("macs", "flops", "wire_bytes", "live_peak"):
        assert here.metric(metric) == everywhere.metric(metric), metric


def test_a_fixed_axis_has_no_other_size():
    there = cost().region(data=4)
    assert there.all_devices.macs.free_symbols == {N, D, F}
    with pytest.raises(DomainError, match="data=2"):
        there.at(**POINT, data=2)
    with pytest.raises(DomainError, match=r"data \| n"):
        cost().region(n=1)


def test_regions_are_over_the_mesh():
    for region in cost().regions():
        assert region.cost.mesh.names == ("data", "model") and "one device of the mesh" in str(region.cost)


@pytest.mark.parametrize("derive", [lambda c: c.reprice("bf16"), lambda c: c.skip_masked(), lambda c: c.filter_phase("")],
                         ids=["reprice", "skip_masked", "filter_phase"])
def test_what_is_derived_is_one_devices_too(derive):
    derived, whole = derive(cost()), cost()
    assert derived.mesh == whole.mesh and derived.macs == EACH
    assert derived.region(data=1).macs == EACH.subs(data, 1) and derived.regions()[-1].cost.mesh is not None
    assert derived.at(**POINT).wire_bytes() * (2 if "bfloat16" in derived.name else 1) == whole.at(**POINT).wire_bytes()


def test_a_saved_cost_is_still_one_devices():
    whole = cost()
    whole.at(**POINT)
    saved = cm.from_json(whole.to_json())
    assert saved.mesh == whole.mesh and saved.macs == EACH and saved.at(**POINT).wire_bytes() == whole.at(**POINT).wire_bytes()
    assert cm.from_json(cost().region(data=1).to_json()).mesh.fixed == {"data"}
    with pytest.raises(CostModelError, match="no model to trace again"):
        saved.region(data=1)
    with pytest.raises(DomainError, match="not verified"):
        saved.at(**POINT, data=1)


def test_sweeps_tables_and_explanations_are_one_devices():
    whole = cost()
    swept = whole.sweep(metrics=("macs", "wire_bytes"), n=[64, 128], d=[128], f=[512], data=[1, 2, 4], model=[4])
    for size in (1, 2, 4):
        assert int(swept.macs.sel(n=64, data=size).item()) == 2 * 64 * 128 * 512 // (4 * size)
        assert int(swept.wire_bytes.sel(n=64, data=size).item()) == whole.at(**POINT, data=size).wire_bytes()
    assert whole.table(by="op").total[0] == EACH
    assert "psum" in str(whole.explain("")) and "d*f*n/(data*model)" in str(whole.explain(""))


def test_a_point_names_the_mesh_that_it_has():
    assert "one device of the mesh data=8 x model=2" in str(cost().at(**POINT, data=8, model=2))


# -- what runs or compiles ------------------------------------------------------------------------------------------------------


def test_nothing_runs_or_compiles_all_devices_work_on_one():
    from costmodel.bench import check
    from costmodel.bench.judge import judge

    with pytest.raises(CostModelError, match="the program runs on 8"):
        check(cost(), POINT, "h100-sxm", repeat=1)
    with pytest.raises(CostModelError, match="the program runs on 8"):
        judge(cost(), POINT, "xla-cpu")
    with pytest.raises(CostModelError, match="the program runs on 8"):
        cost().request.run()


# -- the command line -----------------------------------------------------------------------------------------------------------

SIZES = "--at=d=784,a=304,b=100,c=12,n=64"
ALONG = ("--over", "n=64|128", "--at", "d=784,a=304,b=100,c=12")
HW = ("--hw", "h100-sxm")
COMMANDS = {
    "show": (SIZES,), "explain": (SIZES,), "roofline": (*HW, SIZES), "energy": ("--hw", "horowitz-45nm", SIZES), "train": (SIZES,),
    "sweep": (*ALONG, *HW), "solve": ("--over", "n", *HW, "--fit", "h100-sxm", "--crossover", *ALONG[2:]), "check": (SIZES,),
    "mfu": (*HW, "--time", "1ms", SIZES), "page": (*HW, SIZES)}


def test_every_command_of_a_mesh_is_here():
    """`judge --mesh` compiles, and is tested beside XLA."""
    over_meshes = {name for name, command in main.commands.items() if any(each.name == "mesh" for each in command.params)}
    assert over_meshes == {*COMMANDS, "judge"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_that_its_figures_are_one_devices(command, tmp_path):
    options = ("-o", str(tmp_path / "page.html")) if command == "page" else ()
    found = CliRunner().invoke(main, [command, "mlp", "--mesh", "data=4", "--shard", "data", *COMMANDS[command], *options,
                                      "--no-verify", "--no-cache"])
    assert "of one device of the mesh data=4" in found.output, found.output
    assert found.exit_code == 0 or "the program runs on 4" in found.output, found.output


# -- what is drawn, embedded or read back ---------------------------------------------------------------------------------------


def test_pages_pictures_and_tables_are_one_devices(tmp_path):
    there = cost().at(**POINT)
    assert "over the mesh data=2 x model=4" in page(cost(), ["h100-sxm"], POINT)
    assert "one device of the mesh data=2 x model=4" in cost()._repr_html_()
    drawn = there.roofline("h100-sxm").chart(by="model").roofs[0].spots[0]
    whole = cm.analyze(mlp, (n, d), (d, f), (f, d)).at(**POINT)
    assert drawn.intensity != whole.roofline("h100-sxm").chart(by="model").roofs[0].spots[0].intensity


def test_solvers_ask_one_device():
    """What fits is eight times what fits unsharded, but for what every device has."""
    from costmodel import solve

    at = {"d": 128, "f": 512}
    both = cost(), cm.analyze(mlp, (n, d), (d, f), (f, d))
    mine, alone = (solve.max_fit(each, "n", "h100-sxm", at=at).answer for each in both)
    assert 2 <= mine / alone <= 8
