"""Laws of the roofline: bounds, monotonicity, the ridge, and what a device must state."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import costmodel as cm
from costmodel import solve
from costmodel.errors import CostModelError
from costmodel.fusion import policies
from costmodel.hardware import Hardware, MissingPeak, Quantity, load
from costmodel.hardware.model import Link


def faster(device: Hardware, launch: float = 0.0, **factors: float) -> Hardware:
    def times(q: Quantity, factor: float) -> Quantity:
        return dataclasses.replace(q, value=q.value * factor)

    peaks = {key: times(q, factors.get(key[0], 1.0)) for key, q in device.peaks.items()}
    overhead = Quantity(launch, "s", "assumed") if launch else None
    return dataclasses.replace(device, peaks=peaks, bandwidth=times(device.bandwidth, factors.get("bandwidth", 1.0)),
                               launch_overhead=overhead)


@pytest.fixture(scope="module")
def at(cost_of):
    return cost_of("resnet18").at(n=4, h=224, w=224)


@pytest.mark.parametrize("policy", ["layer", "unfused"])
@pytest.mark.parametrize("device", ["lecture", "h100-sxm", "tpu-v5e", "a100-sxm-80gb"])
def test_bounds(at, device, policy):
    roofline = at.roofline(device, policy=policy)
    assert 0 < roofline.lower <= roofline.upper <= 3 * roofline.lower  # three resources: two engines and memory
    for row in roofline.rows:
        assert row.lower <= row.upper and row.attainable <= max(q.value for q in load(device).peaks.values())
        assert row.attainable <= row.intensity * load(device).bandwidth.value * (1 + 1e-12)
    assert abs(sum(roofline.share(row) for row in roofline.rows) - 1) < 1e-9
    assert roofline.flops == at.metric("flops", taps="valid") and roofline.bytes == at.bytes(policy)


def test_time_falls_with_every_resource_and_stays_without(at):
    device = load("h100-sxm")
    base = at.roofline(device)
    for name in ("bandwidth", "matrix", "vector"):
        better = at.roofline(faster(device, **{name: 2.0}))
        assert better.lower <= base.lower and better.upper < base.upper
    same = at.roofline(faster(device, matrix=2.0, vector=2.0))
    pairs = [(row.lower, was.lower) for row, was in zip(same.rows, base.rows, strict=True) if was.bound == "memory"]
    assert pairs and all(now == was for now, was in pairs)


def test_at_the_ridge_compute_and_memory_take_the_same_time():
    device = load("lecture")
    m = 144  # a square product in float32 moves 12·m² bytes for 2·m³ FLOP: intensity m/6, the ridge is 48 at m = 288
    dims = cm.dims("m")
    cost = cm.analyze(lambda a, b: a @ b, cm.spec((dims, dims)), cm.spec((dims, dims)))
    for factor, bound in ((1, "memory"), (2, "memory"), (3, "compute")):
        (row,) = cost.roofline(device, m=factor * m).rows
        assert row.intensity == factor * m / 6 and row.bound == bound  # one roof
    (row,) = cost.roofline(device, m=288).rows
    assert row.intensity == device.ridge_point("matrix", "float32") and row.upper == pytest.approx(2 * row.lower)


def test_a_program_that_takes_no_time_has_a_roofline():
    """An array that is empty at the point: nothing binds, and there is no end of how many a second fit. From a file the forms are
    evaluated there; a program that is traced there has no kernel at all."""
    n = cm.dims("n")
    cost = cm.analyze(lambda x: jnp.sin(x[1:]), (n, 8), verify=False)
    found = cm.from_json(cost.to_json()).roofline("lecture", policy="layer", n=1)
    with pytest.raises(cm.CostModelError, match="the program does nothing that takes time"):
        cost.roofline("lecture", policy="layer", n=1)
    assert (found.lower, found.upper, found.throughput) == (0.0, 0.0, (float("inf"), float("inf")))
    assert "throughput inf to inf" in str(found)


def square_product():
    m = cm.dims("m")
    return cm.analyze(jnp.matmul, (m, m), (m, m))


@pytest.mark.parametrize("m, bound", [(144, "memory"), (432, "compute")])
def test_what_a_kernel_attains_is_the_roof_however_long_a_launch_takes(m, bound):
    """Williams, Waterman & Patterson, Roofline, 2009: min(peak, intensity · bandwidth). A program's rate has the launches in it."""
    device = faster(load("lecture"), launch=1e-3)
    roofline = square_product().roofline(device, m=m)
    (row,) = roofline.rows
    roof = min(device.peak("matrix", "float32"), m / 6 * device.bandwidth.value)
    assert max(("memory", "compute"), key=dict(row.busy).__getitem__) == bound
    assert row.attainable == pytest.approx(roof, rel=1e-12)
    assert roofline.attainable == pytest.approx(2 * m**3 / (2 * m**3 / roof + 1e-3), rel=1e-12)


@pytest.mark.parametrize("left, right, peak", [
    ("DEFAULT", "DEFAULT", 494.7e12), ("HIGH", "DEFAULT", 494.7e12),
    ("HIGHEST", "DEFAULT", 66.9e12), ("DEFAULT", "HIGHEST", 66.9e12),
])
def test_a_product_runs_at_the_stricter_of_its_operands_precisions(left, right, peak):
    """As XLA has it. NVIDIA, H100 datasheet, dense: 494.7 TFLOP/s in TF32, 66.9 in float32."""
    precision = jax.lax.Precision[left], jax.lax.Precision[right]
    (row,) = cm.analyze(lambda a, b: jax.lax.dot(a, b, precision=precision), (512, 512), (512, 512)).roofline("h100-sxm").rows
    assert dict(row.busy)["matrix"] == pytest.approx(2 * 512**3 / peak, rel=1e-12)


def test_a_missing_peak_is_named_and_reprice_is_the_way_out(cost_of):
    cost = cost_of("mlp")
    point = dict.fromkeys(cost.symbols, 8)
    with pytest.raises(MissingPeak, match=r"lecture has no matrix peak for bfloat16.*reprice\(dtype=…\)"):
        cost.reprice("bf16").roofline("lecture", **point)
    assert cost.reprice("bf16").roofline("tpu-v5e", **point).lower > 0
    with pytest.raises(CostModelError, match="not a dtype to price in"):
        cost.reprice("float31")
    half = cost.reprice("bf16")
    assert 2 * half.model_size() == cost.model_size() and half.macs == cost.macs


def test_another_type_or_a_part_of_the_program_is_verified_through_its_source():
    n = cm.dims("n")

    def squeezes_single_items(x):
        return (x[0] if x.shape[0] == 1 else x) @ jnp.ones((3, 3))  # the undecided == takes the wrong branch at n = 1

    half = cm.analyze(squeezes_single_items, cm.spec((n, 3))).reprice("bf16")
    assert half.at(n=2).macs == 18
    with pytest.raises(CostModelError, match="does not hold at n=1"):
        half.verify(n=1)
    alone = cm.analyze(squeezes_single_items, cm.spec((1, 3))).reprice("bf16")
    for metric, options in (("macs", {}), ("bytes", {"form": "unfused"})):  # what holds there is priced there, in that type
        assert half.at(n=1).metric(metric, **options) == alone.metric(metric, **options)


# -- laws, on drawn programs and devices --------------------------------------------------------------------------------------

a, b, c = cm.dims("a b c")
PROGRAM = cm.analyze(lambda x, w, v: jnp.tanh(x @ w) @ v, cm.spec((a, b)), cm.spec((b, c)), cm.spec((c, a)))
sizes = st.integers(2, 4096)
factor = st.floats(0.01, 100)
DEVICES = [load(name) for name in ("lecture", "h100-sxm", "tpu-v5e")]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DEVICES), sizes, sizes, sizes, factor, factor, factor, st.floats(0, 1e-3),
       st.sampled_from(["layer", "unfused"]))
def test_bounds_are_in_order_and_fall_with_better_devices(device, rows, depth, width, bandwidth, matrix, vector, launch, policy):
    point = PROGRAM.at(a=rows, b=depth, c=width)
    base = {"bandwidth": bandwidth, "matrix": matrix, "vector": vector}
    worse = point.roofline(faster(device, launch=launch, **base), policy=policy)
    assert all(row.lower <= row.upper and row.warm <= row.lower for row in worse.rows)
    better = [point.roofline(faster(device, launch=launch, **{**base, name: 2 * base[name]}), policy=policy) for name in base]
    for each in (*better, point.roofline(faster(device, launch=launch / 2, **base), policy=policy)):
        assert all(now.lower <= was.lower and now.upper <= was.upper for now, was in zip(each.rows, worse.rows, strict=True))


@settings(max_examples=30, deadline=None)
@given(sizes, sizes, sizes)
def test_at_a_drawn_ridge_the_bounds_meet(rows, depth, width):
    """With the bandwidth at which a kernel's compute and memory take as long, its upper bound is twice its lower one."""
    point = cm.analyze(jnp.matmul, (rows, depth), (depth, width)).at()
    (row,) = point.roofline("lecture").rows
    bandwidth = row.bytes / dict(row.busy)["compute"]
    (row,) = point.roofline(faster(load("lecture"), bandwidth=bandwidth / load("lecture").bandwidth.value)).rows
    assert row.upper == pytest.approx(2 * row.lower, rel=1e-12)
    assert row.intensity == pytest.approx(load("lecture").peak("matrix", "float32") / bandwidth)


# -- rows, groups and what binds ----------------------------------------------------------------------------------------------


def in_a_loop(w, xs):
    return jax.lax.scan(lambda c, x: (jnp.tanh(c @ w) + x, None), xs[0], xs)[0]


@pytest.mark.parametrize("what", ["kernel", "module", "kind"])
@pytest.mark.parametrize("looped", [False, True])
def test_groups_sum_to_the_program(at, what, looped):
    point = cm.analyze(in_a_loop, (16, 16), (7, 4, 16)).at() if looped else at
    roofline = point.roofline("tpu-v5e", policy="layer")
    assert max(row.times for row in roofline.rows) == (7 if looped else 1)
    rows = roofline.by(what)
    for name in ("flops", "int_ops", "bytes", "lower", "upper", "warm"):
        assert sum(getattr(row, name) * row.times for row in rows) == pytest.approx(getattr(roofline.total, name))
    assert sum(roofline.share(row) for row in rows) == pytest.approx(1)
    assert {row.bound for row in rows} <= {"memory", "matrix", "vector"}


def test_modules_have_levels_and_equations_are_kernels_of_their_own(at):
    roofline = at.roofline("h100-sxm")
    assert {row.label for row in roofline.by("module", depth=1)} >= {"conv1", "layer1_0", "fc"}
    assert any("/" in row.label for row in roofline.by("module"))
    assert sum(r.lower for r in roofline.by("equation")) == pytest.approx(at.roofline("h100-sxm", policy="unfused").lower)
    with pytest.raises(CostModelError, match="kernel, module, kind or equation; 'layer' is none"):
        roofline.by("layer")


def test_what_binds_is_named_with_its_type(at):
    device = load("h100-sxm")
    assert at.roofline(device, policy="layer").rows[0].resource in ("memory", "matrix tf32")
    exact = at.roofline(device, policy="layer", precision="highest")
    assert "tf32" not in exact.text() and exact.lower > at.roofline(device, policy="layer").lower
    assert "tf32" in at.roofline(device, policy="layer").text()
    assert "float32" not in at.roofline("tpu-v5e", policy="layer").text(by="kind")
    slow = at.roofline(faster(device, launch=1.0))
    assert {row.bound for row in slow.rows} == {slow.bound} == {"launch"}
    starved = at.roofline(faster(device, matrix=1e-6), policy="layer")
    assert {row.resource for row in starved.rows if row.kind == "conv"} == {"matrix tf32"}


def test_integer_arithmetic_counts_as_operations():
    """int8 networks have no FLOPs; their intensity and their attainable rate are of operations."""
    cost = cm.analyze(jnp.matmul, (64, 64), (64, 64)).reprice("int8")
    (row,) = cost.roofline("stm32f746").rows
    assert (row.flops, row.int_ops) == (0, 2 * 64**3) and row.attainable == load("stm32f746").peak("matrix", "int8")
    assert row.resource == "compute int8" and row.intensity == 2 * 64**3 / (3 * 64**2)


def test_throughput_counts_the_batch_under_each_of_its_names():
    for name in ("n", "b", "batch"):
        dim = cm.dims(name)
        roofline = cm.analyze(jnp.sin, cm.spec((dim, 3))).roofline("lecture", **{name: 7})
        assert roofline.throughput == (7 / roofline.lower, 7 / roofline.upper)
    assert cm.analyze(jnp.sin, cm.spec((7, 3))).roofline("lecture").batch == 1


def test_what_fits_a_nearer_memory_may_be_found_there():
    """TPU v5e: 128 MiB of VMEM at 18 TB/s beside 819 GB/s of HBM."""
    device, m = load("tpu-v5e"), cm.dims("m")
    vmem = next(level for level in device.levels if level.name == "VMEM")
    cost = cm.analyze(lambda x: x + 1, cm.spec((m,)))
    most = int(vmem.capacity.value) // 8
    (inside,), (outside,) = (cost.roofline(device, m=size).rows for size in (most, most + 1))
    assert inside.levels == (("VMEM", 8 * most / vmem.bandwidth.value),) and outside.levels == ()
    assert inside.warm < inside.lower == 8 * most / device.bandwidth.value and outside.warm == outside.lower


def test_a_program_that_communicates_needs_a_link():
    mesh = jax.sharding.AbstractMesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    whole = jax.sharding.PartitionSpec()
    summed = cm.analyze(jax.shard_map(lambda x: jax.lax.psum(x, "d"), mesh=mesh, in_specs=whole, out_specs=whole, check_vma=False),
                        (2, 16))
    with pytest.raises(CostModelError, match="lecture states no link"):
        summed.roofline("lecture")
    device = dataclasses.replace(load("lecture"), links=(Link("ring", Quantity(2e9, "B/s", "assumed"), "both ways"),))
    (row,) = [row for row in summed.roofline(device).rows if "link" in dict(row.busy)]
    assert dict(row.busy)["link"] == pytest.approx(2 * 3 / 4 * 32 * 4 / 1e9)  # a ring's all-reduce of 32 elements, each way


def test_what_a_kernel_computes_anew_takes_its_time():
    """Two products that each scale their operand themselves, instead of reading what one of them wrote."""
    cost = cm.analyze(lambda x, w, v: ((x * 3) @ w, (x * 3) @ v), (64, 32), (32, 16), (32, 8))
    assert cost.flops == 2 * 64 * 32 * (16 + 8) + 2 * 64 * 32
    shared = cm.analyze(lambda x, w, v: [(y := x * 3) @ w, y @ v], (64, 32), (32, 16), (32, 8))
    assert shared.flops == cost.flops - 64 * 32
    roofline = shared.roofline("tpu-v5e", policy="ideal")
    assert roofline.flops == cost.flops and roofline.bytes < shared.bytes("layer")


def test_a_program_that_does_nothing_takes_no_time_to_bound():
    with pytest.raises(CostModelError, match="nothing that takes time"):
        cm.analyze(lambda x: x, (3,)).roofline("lecture")


def test_counts_that_are_no_integers_stay_exact():
    """The mean of two branches, one of which does nothing, is half of the other: 3.5 operations for 7."""
    cost = cm.analyze(lambda p, x: jax.lax.cond(p, lambda x: x * 2, lambda x: x, x), cm.spec((), "bool"), (7,), branches="mean")
    assert cost.roofline("lecture", policy="unfused").flops == Fraction(7, 2) == cost.flops


def test_kernels_that_compute_nothing_at_a_point_are_priced(cost_of):
    """Pooling a map of 1×1 has no additions."""
    priced = cost_of("resnet18").at(n=1, h=32, w=32).roofline("h100-sxm", policy="unfused")
    assert priced.lower > 0 and "resnet18" in str(priced)


def test_a_named_algorithm_is_the_type_that_is_multiplied():
    """The gradient of bfloat16 attention asks for BF16_BF16_F32 on float32 operands: all its products are at that peak."""
    x = cm.spec((2, 64, 4, 16), "bfloat16")

    def attention(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, is_causal=True).astype("float32").sum()

    cost = cm.analyze(jax.grad(attention, argnums=(0, 1, 2)), x, x, x)
    macs = 5 * 2 * 4 * 64**2 * 16  # the scores, and four products backward; nobody needs what the second one gives
    assert cost.macs == macs
    peak = next(q.value for (engine, dtype), q in load("h100-sxm").peaks.items() if (engine, dtype) == ("matrix", "bfloat16"))
    rows = cost.roofline("h100-sxm", policy="unfused").rows
    assert sum(dict(row.busy).get("matrix", 0.0) for row in rows) == pytest.approx(2 * macs / peak)
    assert cost.roofline("tpu-v5e").upper > 0


# -- what no fusion can better ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["lecture", "h100-sxm"])
def test_compulsory_is_below_every_policy_and_flips_where_solve_says(cost_of, device):
    """One kernel that moves what it must: its time is its bytes over the bandwidth or its busiest unit's, no policy is faster, and
    from the batch on at which ``solve.crossover`` says so it is compute-bound."""
    cost, at = cost_of("mlp"), {"a": 300, "b": 100, "c": 10, "d": 784}
    flips = solve.crossover(cost, "n", device, at=at, policy="compulsory").answer
    for n, bound in ((1, "memory"), (flips - 1, "memory"), (flips, "compute" if device == "lecture" else "matrix")):
        point = cost.at(n=n, **at)
        line = point.roofline(device, policy="compulsory")
        assert line.bound == bound and line.bytes == point.bytes("compulsory") and line.flops == point.metric("flops", taps="valid")
        assert all(line.lower <= point.roofline(device, policy=policy).lower * (1 + 1e-12) for policy in policies())
        if bound == "memory" and load(device).launch_overhead is None:
            assert line.lower == pytest.approx(point.bytes("compulsory") / load(device).bandwidth.value, rel=1e-12)
    with pytest.raises(cm.CostModelError, match="no fusion policy"):
        cost.kernels("compulsory")
