"""What passes may know of an equation: traits, typed parameters, connections and work; never its texts, nor what a function is
called, nor how jax prints a dimension. And the registry of policies: what is registered is known everywhere."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from click.testing import CliRunner
from conftest import ENTRIES
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import costmodel as cm
from costmodel.cli import main
from costmodel.errors import CostModelError
from costmodel.fusion import Policy, policies, policy, register
from costmodel.fusion.groups import grouped
from costmodel.fusion.registry import scoped
from costmodel.hardware import load
from costmodel.memory import rules as peak_rules
from costmodel.memory import saved
from costmodel.rules import scoped as rules_scoped
from costmodel.rules import vector
from costmodel.rules.work import CostTable
from zoo.mobilenet import InvertedResidual

# -- texts --------------------------------------------------------------------------------------------------------------------

ACTIVATIONS = ("total", *peak_rules.RULES)


def numbers(cost: cm.Cost, training: bool) -> dict[str, Any]:
    """Everything that is computed of a program, at its domain and at a point."""
    at = cost.at(**dict.fromkeys(cost.symbols, 64))
    found: dict[str, Any] = {}
    for name in policies():
        found[f"bytes {name}"] = cost.bytes(name)
        found[f"kinds {name}"] = [(k.kind, k.bytes) for k in cost.kernels(name)]
        found[f"live peak {name}"] = at.live_peak(policy=name)
        found[f"kernels {name}"] = cells(cost.table(by="kernel", policy=name))
        found[f"roofline {name}"] = [(row.lower, row.upper, row.bound) for row in at.roofline("h100-sxm", policy=name).rows]
    found |= {f"activations {rule}": cost.activations(rule) for rule in ACTIVATIONS}
    found |= {f"saved {rule}": cost.saved(rule) for rule in saved.RULES} if training else {}
    found |= {"energy": cost.energy("horowitz-45nm", policy="unfused").total, "layers": cells(cost.table(by="layer"))}
    return found


def cells(table: Any) -> list[Any]:
    return [(row.repeats, row.cells) for row in table.rows]


WORDS = ("view", "copy", "reduce", "dot_general", "scan_write", "axes=(0,)", "feature_group_count=4", "")


def with_other_texts(table: CostTable) -> CostTable:
    """The same program, of which every equation's texts say something else."""
    words = itertools.cycle(WORDS)
    return replace(table, equations=tuple(replace(e, detail=next(words), rule=next(words) * 2) for e in table))


def mobile_step() -> cm.Cost:
    n, h = cm.dims("n h")
    return cm.analyze_training(InvertedResidual(24, 6, 1, True), cm.spec((n, h, h, 24)), loss=lambda y: (y**2).mean(),
                               kwargs={"train": True})


PROGRAMS: dict[str, tuple[Callable[[], cm.Cost], bool]] = {
    "resnet18": (lambda: ENTRIES["resnet18"].analyze(), False),
    "mobilenet block, training": (mobile_step, True),
    "gpt2 block, training": (lambda: ENTRIES["transformer_block"].analyze_step("sgd"), True),
    "lstm": (lambda: ENTRIES["lstm_layer"].analyze(), False),
    "resnet50": (lambda: ENTRIES["resnet50"].analyze(), False),
    "mobilenet_v2, training": (lambda: ENTRIES["mobilenet_v2"].analyze_step("sgd"), True),
    "gpt2, training": (lambda: ENTRIES["gpt2_scan"].analyze_step("adamw"), True),
}
WHOLE = ("resnet50", "mobilenet_v2, training", "gpt2, training")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name in WHOLE else []) for name in PROGRAMS])
def test_no_number_depends_on_a_text(name: str) -> None:
    make, training = PROGRAMS[name]
    cost = make()
    scrambled = cm.Cost(with_other_texts(cost.program), cost.domain, name=cost.name, source=cost, change=with_other_texts)
    assert all(e.detail in WORDS for e in scrambled.program)
    ours, theirs = numbers(cost, training), numbers(scrambled, training)
    assert [key for key in ours if ours[key] != theirs[key]] == []


# -- what a function is called ------------------------------------------------------------------------------------------------

NAMES = st.sampled_from((
    "view", "copy", "move", "reduce", "elementwise", "dot_general", "constant", "scan_read", "scan_write", "loop_carry",
    "transpose", "gather", "scatter", "reshape", "branch_result", "select_n", "softmax", "logistic", "rsqrt", "threefry2x32",
    "broadcast_in_dim",
    "convert_element_type", "conv_general_dilated", "concatenate", "slice", "split", "add_any", "mine"))


def cost_of_a_rule(jitted: str, function: str, traits: tuple[str, ...]) -> dict[str, Any]:
    """A user's rule between two of the package's: the jitted function and the rule's Python function are called so."""
    def rule(eqn, **_):
        return eqn.work(vector("mul", eqn.out.dtype, 3 * eqn.out.size))

    def kernel(x):
        return x

    rule.__name__, kernel.__name__ = function, jitted
    called = jax.jit(kernel)
    with rules_scoped({jitted: rule}, traits=traits):
        return numbers(cm.analyze(lambda x: jnp.cos(called(jnp.sin(x))), cm.spec((cm.dims("n"), 8))), training=False)


@pytest.fixture(scope="module")
def frob() -> dict[tuple[str, ...], dict[str, Any]]:
    """What the rule costs under a name that nobody else has."""
    return {traits: cost_of_a_rule("frob", "frob_rule", traits) for traits in ((), ("elementwise",), ("view",))}


@settings(max_examples=12, deadline=None)
@given(jitted=NAMES, function=NAMES, traits=st.sampled_from(((), ("elementwise",), ("view",))))
def test_a_rule_costs_the_same_whatever_it_is_called(frob, jitted: str, function: str, traits: tuple[str, ...]) -> None:
    assert cost_of_a_rule(jitted, function, traits) == frob[traits]


def test_what_a_rule_declares_makes_the_difference(frob) -> None:
    assert frob[()] != frob[("elementwise",)] != frob[("view",)]


# -- how a dimension is written -----------------------------------------------------------------------------------------------


def test_a_depthwise_gradient_over_a_sum_of_channels_is_the_concrete_one() -> None:
    """jax prints d + c, sympy c + d: the groups are as many as the channels, however that is written."""
    def gradient(kernel, x):
        def loss(kernel):
            return (lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
                                             feature_group_count=kernel.shape[-1]) ** 2).sum()
        return jax.grad(loss)(kernel)

    c, d = cm.dims("c d")
    symbolic = cm.analyze(gradient, cm.spec((3, 3, 1, d + c)), cm.spec((2, 8, 8, d + c))).at(c=12, d=20)
    concrete = cm.analyze(gradient, cm.spec((3, 3, 1, 32)), cm.spec((2, 8, 8, 32))).at()
    for name in policies():
        assert symbolic.bytes(name) == concrete.bytes(name), name
        assert symbolic.live_peak(policy=name) == concrete.live_peak(policy=name), name
        assert [k.kind for k in symbolic.kernels(name)] == [k.kind for k in concrete.kernels(name)], name


# -- a policy of one's own ----------------------------------------------------------------------------------------------------


def one_kernel(table: CostTable) -> tuple[Any, ...]:
    return grouped(table, [list(table)])


MINE = Policy(name="mine", summary="the whole program is one kernel", kernels=one_kernel)


@pytest.fixture
def registry() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    with scoped(policy("unfused")):
        yield


@pytest.fixture
def mine(registry: None) -> Policy:
    return register(MINE)


N = cm.dims("n")


def mlp() -> cm.Cost:
    return cm.analyze(nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(8)]), cm.spec((N, 16)))


def device_with(fusion: str, folder: Path) -> str:
    """A device's file that asks for a policy."""
    text = (Path(load.__code__.co_filename).parent / "h100-sxm.toml").read_text(encoding="utf-8")
    (folder / "own.toml").write_text(text.replace("[policy]\n", f'[policy]\nfusion = "{fusion}"\n'), encoding="utf-8")
    return str(folder / "own.toml")


def test_a_registered_policy_is_known_everywhere(mine: Policy, tmp_path: Path) -> None:
    cost = mlp()
    compulsory = 4 * (cost.params + 16 * cm.symbols("n") + 8 * cm.symbols("n"))  # one kernel moves what must be moved
    assert [len(k.equations) for k in cost.kernels("mine")] == [len(cost.program.equations)]
    assert cost.bytes("mine") == compulsory.expand() == cost.bytes("compulsory")
    assert cost.live_peak(policy="mine") == cost.bytes("mine")
    assert len(cost.table(by="kernel", policy="mine").rows) == 1
    priced = cost.roofline("h100-sxm", n=8, policy="mine")
    assert priced.policy == "mine" and len(priced.rows) == 1
    own = load(device_with("mine", tmp_path))
    assert own.fusion == "mine" and cost.roofline(own, n=8).upper == priced.upper
    swept = cost.sweep(n=[8, 16], metrics=["bytes:mine", "live_peak:mine"], hardware=[own])
    assert swept["bytes_mine"].values.tolist() == [cost.at(n=8).bytes("mine"), cost.at(n=16).bytes("mine")]
    assert swept["policy"].values.tolist() == ["mine"]


MODULE = """
import costmodel as cm, flax.linen as nn
from costmodel.fusion import Policy, register
from costmodel.fusion.groups import grouped
from costmodel.models import ModelEntry

register(Policy(name="mine", summary="one kernel", kernels=lambda table: grouped(table, [list(table)])))
model = ModelEntry(name="own", summary="a test's", build=lambda: nn.Dense(8), dims="n", inputs=("n,16",))
"""


def succeed(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_line_takes_a_policy_that_a_models_module_registers(registry: None, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "module_with_a_policy.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    own = "module_with_a_policy:model"
    assert "'mine'" in succeed("roofline", own, "--hw", "h100-sxm", "--at", "n=4", "--policy", "mine")
    assert "under mine" in succeed("show", own, "--by", "kernel", "--policy", "mine")
    assert "'mine'" in succeed("roofline", own, "--hw", device_with("mine", tmp_path), "--at", "n=4")
    assert "mine" in succeed("energy", own, "--hw", "horowitz-45nm", "--at", "n=4", "--policy", "mine")


UNKNOWN: dict[str, Callable[[cm.Cost, Path], Any]] = {
    "bytes": lambda cost, _: cost.bytes("best"),
    "kernels": lambda cost, _: cost.kernels("best"),
    "live_peak": lambda cost, _: cost.live_peak(policy="best"),
    "live_profile": lambda cost, _: cost.live_profile(policy="best"),
    "table": lambda cost, _: cost.table(by="kernel", policy="best"),
    "roofline": lambda cost, _: cost.roofline("h100-sxm", n=8, policy="best"),
    "energy": lambda cost, _: cost.energy("horowitz-45nm", policy="best"),
    "a device's file": lambda cost, folder: cost.roofline(load(device_with("best", folder)), n=8),
    "a sweep's metric": lambda cost, _: cost.sweep(n=[8], metrics=["bytes:best"]),
    "a sweep's devices": lambda cost, _: cost.sweep(n=[8], hardware=["h100-sxm"], policy="best"),
}


@pytest.mark.parametrize("where", UNKNOWN)
def test_an_unknown_policy_is_one_line_that_names_it(where: str, tmp_path: Path) -> None:
    with pytest.raises(CostModelError, match="best") as error:
        UNKNOWN[where](mlp(), tmp_path)
    assert "\n" not in str(error.value) and "unfused" in str(error.value)


@pytest.mark.parametrize("command", [
    ("roofline", "mlp", "--hw", "h100-sxm", "--policy", "best"), ("show", "mlp", "--by", "kernel", "--policy", "best"),
    ("energy", "mlp", "--hw", "horowitz-45nm", "--policy", "best"), ("roofline", "mlp", "--hw", "h100-sxm", "--at", "n=1..4",
                                                                      "--policy", "best")])
def test_an_unknown_policy_on_the_command_line_is_one_line(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, command)
    assert result.exit_code != 0 and len(result.output.strip().splitlines()) == 1 and "'best'" in result.output


def test_a_policys_name_is_taken_once(mine: Policy) -> None:
    for name in ("mine", "eager", "compulsory"):
        with pytest.raises(CostModelError, match=f"'{name}' is registered already"):
            register(replace(MINE, name=name))
