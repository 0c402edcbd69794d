"""The command ``train``: its figures are those of ``analyze_training``, and its parts are all of the memory."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result
from conftest import ENTRIES

import costmodel as cm
from costmodel.cli import main
from costmodel.rules.work import DONATED_BY_TRAINING
from costmodel.solve.training import batch_symbol, largest_batch, step_memory


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(main, ["train", *arguments])


@pytest.fixture(scope="module")
def step() -> cm.Cost:
    return ENTRIES["mlp"].analyze_step("adamw")


AT = {"n": 7, "a": 30, "b": 20, "c": 10, "d": 40}


@pytest.mark.parametrize("policy", ["unfused", "xla-gpu"])
def test_the_parts_are_all_that_is_held(step, policy):
    found = step_memory(step, AT, policy)
    assert sum(part.at_peak for part in found.parts) == found.peak
    assert found.peak == step.at(**AT).live_peak(policy, donate=DONATED_BY_TRAINING)
    parameters = 40*30 + 30 + 30*20 + 20 + 20*10 + 10
    wholes = {part.name: part.whole for part in found.parts}
    assert wholes["parameters and state"] == 4 * parameters and wholes["optimizer state"] == 8 * parameters + 4  # and a counter


def test_the_largest_batch_fits_and_the_next_does_not(step):
    found = largest_batch(step, "1MB", AT)
    at = [step.at(**{**AT, "n": n}).live_peak(donate=DONATED_BY_TRAINING) for n in (found.answer, found.answer + 1)]
    assert batch_symbol(step) == "n" and at[0] <= 1e6 < at[1]


def test_what_is_printed():
    result = run("mlp", "--at", "n=7,a=30,b=20,c=10,d=40", "--hw", "lecture", "--fit", "1MB", "--policy", "unfused")
    assert result.exit_code == 0, result.output
    for part in ("backward", "update", "optimizer state", "memory of a step", "n = ", "lecture:", "items/s", "verified"):
        assert part in result.output
    told = json.loads(run("mlp", "--at", "n=7,a=30,b=20,c=10,d=40", "--json").stdout)
    assert "optimizer state" in json.dumps(told)


@pytest.mark.parametrize(("arguments", "message"), [
    (("resnet5",), "did you mean"), (("mlp", "--optimizer", "adamx"), "'adamw', 'sgd'"),
    (("mlp", "--hw", "h200x"), "unknown device"), (("mlp", "--csv", "--json"), "give one of them"),
    (("mlp", "--fit", "10bananas"), "80GB"), (("mlp", "--json", "--fit", "3"), "80GB"),
])
def test_bad_input_is_one_line(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.output and result.stdout == ""


def test_a_forward_pass_is_no_step():
    with pytest.raises(cm.CostModelError, match="no training step"):
        step_memory(ENTRIES["mlp"].analyze(), AT)
