"""The command line over a mesh, and what is sharded without one."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from costmodel.cli import main


def run(*arguments):
    return CliRunner().invoke(main, arguments)


def test_a_model_over_a_mesh():
    found = run("show", "mlp", "--mesh", "data=4", "--shard", "data")
    assert found.exit_code == 0, found.output
    assert "one device of the mesh data=4" in found.output and "data | " in found.output
    assert "what one device sends" in found.output and "verified against a concrete trace" in found.output


def test_a_training_step_over_a_mesh_sums_its_gradients():
    found = run("fit", "mlp", "--mesh", "data=4", "--shard", "data", "--train", "sgd")
    assert "Traceback" not in found.output


@pytest.mark.parametrize("arguments, what", [
    (("--shard", "data"), "--shard needs a mesh"),
    (("--mesh", "data"), "--mesh 'data' is not of the form"),
    (("--mesh", "data=0"), "0 devices"),
    (("--mesh", "data=4", "--shard", "rows"), "rows, which is no axis"),
    (("--mesh", "n=4",), "n is a dimension of the program and an axis"),
])
def test_mistakes_are_one_line_and_two(arguments, what):
    found = run("show", "mlp", *arguments)
    assert found.exit_code == 2 and what in found.output and "Traceback" not in found.output
