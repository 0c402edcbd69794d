"""Energy is published joules times counts that other tests prove: by hand, additive, linear, an error where none is stated."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from click.testing import CliRunner
from flax import linen as nn
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

import costmodel as cm
from costmodel.cli import main
from costmodel.errors import CostModelError
from costmodel.hardware import Energies, MissingEnergy, Quantity, UnknownHardware, load, read
from costmodel.pricing.energy import Energy

HOROWITZ = "horowitz-45nm"
PICO = Fraction(1, 10**12)


def table() -> Energies:
    found = read(HOROWITZ)
    assert isinstance(found, Energies)
    return found


def pj(value: str) -> Fraction:
    return Fraction(value) * PICO


# Horowitz, ISSCC 2014, as the lecture prints it: pJ at 45 nm and 0.9 V.
@pytest.mark.parametrize(("name", "dtype", "energy"), [
    ("add", "int8", "0.03"), ("add", "int32", "0.1"), ("add", "float16", "0.4"), ("add", "float32", "0.9"),
    ("mul", "int8", "0.2"), ("mul", "int32", "3.1"), ("mul", "float16", "1.1"), ("mul", "float32", "3.7"),
    ("mac", "float32", "4.6"), ("mac", "float16", "1.5"),
])
def test_published_energies(name: str, dtype: str, energy: str) -> None:
    assert table().operation(name, dtype) == pj(energy)


def test_published_energies_of_memories_and_the_ratio_of_the_lecture() -> None:
    for memory, energy in (("register file", 1), ("SRAM", 5), ("DRAM", 640)):
        assert 4 * table().byte(memory) == energy * PICO
    assert 4 * table().byte() / table().operation("mul", "float32") == Fraction(6400, 37)
    assert table().byte() == table().byte("DRAM") == 128 * table().byte("SRAM")


def test_a_multiply_accumulate_adds_in_the_type_of_its_sum() -> None:
    assert table().operation("mac", "int8", accumulate="int32") == pj("0.3")
    assert table().operation("mac", "int8") == pj("0.23")
    n = cm.dims("n")
    x = cm.spec((n, 8), "int8")
    cost = cm.analyze(lambda x: jnp.matmul(x.T, x, preferred_element_type="int32"), x)
    assert cost.at(n=5).energy(HOROWITZ).arithmetic == 64 * 5 * pj("0.3")


@pytest.fixture(scope="module")
def matmul() -> cm.Cost:
    m, n, k = cm.dims("m n k")
    return cm.analyze(jnp.matmul, (m, k), (k, n))


def test_a_product_of_matrices_by_hand(matmul: cm.Cost) -> None:
    m, n, k = cm.symbols("m n k")
    energy = matmul.energy(HOROWITZ, policy="unfused")
    assert energy.arithmetic * 10**12 == (m * n * k * 23 / 5).expand()
    assert energy.movement * 10**12 == 640 * (m * k + k * n + m * n).expand()
    assert "23·k·m·n/5 + 640·k·m + 640·k·n + 640·m·n pJ" in str(energy)
    at = matmul.at(m=2, n=3, k=4).energy(HOROWITZ, policy="unfused")
    assert at.total == 24 * pj("4.6") + 26 * pj("640")
    assert "110 pJ" in str(at) and "99.3%" in str(at)


@pytest.mark.parametrize("changed", ["mul", "add", "DRAM"])
def test_another_figure_is_another_energy(matmul: cm.Cost, changed: str) -> None:
    """The tests above can fail: none of the figures that they rest on is without effect."""
    def double(figures: Any) -> dict[Any, Quantity]:
        return {key: dataclasses.replace(q, value=2 * q.value) if changed in key else q for key, q in figures.items()}

    other = dataclasses.replace(table(), operations=double(table().operations), memory=double(table().memory))
    assert matmul.energy(other).total != matmul.energy(HOROWITZ).total


@pytest.fixture(scope="module")
def step() -> cm.Cost:
    """A training step of two layers."""
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, use_bias=False, name="last")(nn.relu(nn.Dense(16, use_bias=False, name="first")(x)))

    import optax

    n = cm.dims("n")
    return cm.analyze_training(Net(), cm.spec((n, 8)), loss=lambda y: (y**2).sum(), optimizer=optax.sgd(0.1))


@pytest.mark.parametrize("policy", ["unfused", "layer", "xla-cpu"])
def test_rows_add_exactly_and_arithmetic_is_the_same_under_every_policy(step: cm.Cost, policy: str) -> None:
    at = step.at(n=3)
    energy = at.energy(HOROWITZ, policy=policy)
    for rows in (energy.by("kernel"), energy.by("module"), energy.by("module", depth=1), energy.by("phase")):
        assert sum(row.total for row in rows) == energy.total
    assert energy.total == energy.arithmetic + energy.movement == sum(energy.parts.values())
    unfused = at.energy(HOROWITZ, policy="unfused")
    if policy == "xla-cpu":  # which leaves out what changes nothing: a gradient times one
        assert energy.parts["arithmetic", "float32 mac"] == unfused.parts["arithmetic", "float32 mac"]
        assert energy.arithmetic < unfused.arithmetic
    else:
        assert energy.arithmetic == unfused.arithmetic
    assert energy.movement == at.bytes(policy) * table().byte()
    assert 0 < energy.arithmetic < energy.movement


def test_a_step_is_its_phases_and_the_products_of_each(step: cm.Cost) -> None:
    """Forward two products; backward the weights' gradients, and the input's of the second layer only; an update a parameter."""
    by_phase = {row.label: row for row in step.at(n=3).energy(HOROWITZ, policy="unfused").by("phase")}
    mac = ("arithmetic", "float32 mac")
    first, last = 3 * 8 * 16 * pj("4.6"), 3 * 16 * 4 * pj("4.6")
    assert by_phase["forward"].parts[mac] == first + last
    assert by_phase["backward"].parts[mac] == first + 2 * last
    weights = 8 * 16 + 16 * 4
    assert by_phase["update"].of("arithmetic") == weights * (pj("3.7") + pj("0.9"))


def test_symbolic_then_substitute_is_concrete(step: cm.Cost) -> None:
    n = cm.symbols("n")
    formula = step.energy(HOROWITZ, policy="layer")
    for value in (2, 7):
        concrete = step.at(n=value).energy(HOROWITZ, policy="layer")
        assert Fraction(str(formula.total.subs(n, value))) == concrete.total
        assert {part: Fraction(str(joules.subs(n, value))) for part, joules in formula.parts.items()} == dict(concrete.parts)


def test_a_loop_costs_its_length_times_its_body() -> None:
    def repeated(w, x):
        return jax.lax.scan(lambda x, _: (x @ w, None), x, length=5)[0]

    at = cm.analyze(repeated, (8, 8), (8, 8)).at()
    energy = at.energy(HOROWITZ, policy="unfused")
    assert energy.arithmetic == 5 * 8**3 * pj("4.6")
    assert energy.movement == at.bytes("unfused") * table().byte() >= 5 * 3 * 64 * pj("640")
    assert at.energy("a100-sxm-80gb").total == pytest.approx(400 * at.roofline("a100-sxm-80gb").upper, rel=1e-12)


def test_padding_taps_cost_nothing() -> None:
    def conv(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    cost = cm.analyze(conv, (1, 4, 4, 1), (3, 3, 1, 1)).at()
    assert cost.metric("macs", taps="dense") == 144 and cost.metric("macs", taps="valid") == 100
    assert cost.energy(HOROWITZ).arithmetic == 100 * pj("4.6")


def test_weights_near_by_cost_less(cost_of: Any) -> None:
    """What compression is for: the same network with its weights in SRAM."""
    at = cost_of("alexnet_torchvision").at(n=1, h=224, w=224)
    far = at.energy(HOROWITZ, policy="layer")
    near = at.energy(HOROWITZ, policy="layer", weights="SRAM")
    assert far.arithmetic == near.arithmetic
    moved = near.parts["movement", "SRAM"]
    assert far.movement - near.movement == 127 * moved
    # Every weight is read once at batch 1.
    assert moved == 4 * at.params * table().byte("SRAM")
    everything = at.energy(HOROWITZ, policy="layer", weights="SRAM", activations="SRAM")
    assert 128 * everything.movement == far.movement


def test_data_movement_outweighs_arithmetic_at_batch_1(cost_of: Any) -> None:
    for name in ("alexnet_torchvision", "mobilenet_v2", "resnet18"):
        energy = cost_of(name).at(n=1, h=224, w=224).energy(HOROWITZ, policy="unfused")
        assert energy.movement > 2 * energy.arithmetic


# -- what is not stated -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ask", "words"), [
    (lambda c: c.reprice("bfloat16").energy(HOROWITZ), ["mul in bfloat16", "mac in bfloat16", "only in int8", "reprice(dtype=…)"]),
    (lambda c: c.energy(HOROWITZ, weights="HBM", activations="HBM"), ["'HBM'", "register file, SRAM, DRAM"]),
    (lambda c: c.energy(dataclasses.replace(table(), composed={})), ["mac in float32", "add, mul", "[energy.composed]"]),
    (lambda c: c.energy("lecture"), ["lecture states neither energies nor power", HOROWITZ]),
    (lambda c: c.energy("h100-sxm"), ["h100-sxm", "needs a point: cost.at(…).energy(…)"]),
    (lambda c: c.energy("h100"), ["'h100'", "did you mean h100-"]),
    (lambda c: c.energy(HOROWITZ).by("colour"), ["kernel, module or phase", "'colour'"]),
    (lambda c: c.at(m=1, n=1, k=1).roofline(HOROWITZ), ["states energies only", "no peaks"]),
])
def test_what_is_not_stated_is_an_error_that_names_it(matmul: cm.Cost, ask: Any, words: list[str]) -> None:
    with pytest.raises(CostModelError) as caught:
        ask(matmul)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_kinds_of_errors(matmul: cm.Cost) -> None:
    with pytest.raises(MissingEnergy):
        matmul.reprice("bfloat16").energy(HOROWITZ)
    with pytest.raises(UnknownHardware):
        matmul.at(m=1, n=1, k=1).roofline(HOROWITZ)


def test_special_functions_are_composed_and_others_named() -> None:
    n = cm.dims("n")
    cost = cm.analyze(lambda x: jnp.tanh(x), (n,))
    assert cost.at(n=10).energy(HOROWITZ).arithmetic == 80 * (pj("3.7") + pj("0.9"))
    without = dataclasses.replace(table(), composed={"mac": {"mul": 1, "add": 1}})
    with pytest.raises(MissingEnergy, match="no energy for tanh in float32"):
        cost.energy(without)


def test_elements_on_a_link_are_bytes_of_its_energy() -> None:
    mesh = AbstractMesh((4,), ("d",), axis_types=(AxisType.Auto,))
    gather = jax.shard_map(lambda x: jax.lax.all_gather(x, "d", tiled=True), mesh=mesh, in_specs=PartitionSpec("d"),
                           out_specs=PartitionSpec("d"))
    cost = cm.analyze(gather, cm.spec((64, 4))).at()
    with pytest.raises(MissingEnergy, match="'link'"):
        cost.energy(HOROWITZ)
    linked = dataclasses.replace(table(), memory={**table().memory, "link": Quantity(1e-11, "J/B", "assumed")})
    assert cost.energy(linked).parts["movement", "link"] == 3 * 16 * 4 * 4 * 10 * PICO  # one device's part, three times


# -- power times time ---------------------------------------------------------------------------------------------------------


def test_a_device_that_states_only_power_gives_an_upper_bound(step: cm.Cost) -> None:
    device = load("a100-sxm-80gb")
    at = step.at(n=64)
    energy, roofline = at.energy(device), at.roofline(device)
    assert energy.total == pytest.approx(400 * roofline.upper, rel=1e-12)
    assert energy.policy == roofline.policy == device.fusion and len(energy.rows) == len(roofline.rows)
    assert {row.label for row in energy.by("phase")} == {"forward", "backward", "update"}
    assert "at most: 400 W" in str(energy)


def test_static_power_is_drawn_for_the_upper_bound_of_the_time(matmul: cm.Cost) -> None:
    static = dataclasses.replace(table(), static_power=Quantity(2.0, "W", "assumed"))
    device = dataclasses.replace(load("lecture"), energies=static)
    at = matmul.at(m=64, n=64, k=64)
    energy = at.energy(device)
    assert isinstance(energy, Energy) and energy.policy == device.fusion
    assert energy.parts["static power", "lecture"] == pytest.approx(2 * at.roofline(device).upper)
    assert energy.arithmetic == at.energy(HOROWITZ).arithmetic and energy.total > energy.arithmetic + energy.movement
    for ask in (lambda: matmul.energy(device), lambda: at.energy(static)):
        with pytest.raises(CostModelError, match=r"states static power.*give a device with peaks, and a point"):
            ask()


def test_the_command():
    result = CliRunner().invoke(main, ["energy", "mlp", "--hw", "horowitz-45nm", "--at", "n=1,d=8,a=8,b=8,c=8"])
    assert result.exit_code == 0, result.output
    assert "float32 mac" in result.output and "DRAM" in result.output and "verified against a concrete trace" in result.output
    refused = CliRunner().invoke(main, ["energy", "mlp", "--hw", "nothing", "--at", "n=1,d=8,a=8,b=8,c=8"])
    assert refused.exit_code == 2 and "unknown device 'nothing'" in refused.output
