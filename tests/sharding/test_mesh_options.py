"""The command line over a mesh, and what is sharded without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import jax
import pytest
from click.testing import CliRunner
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

import costmodel as cm
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
    (("--shard-rules", "*/kernel=model"), "--shard-rules needs a mesh"),
    (("--mesh", "data=4", "--shard-rules", "linear9/*=data"), "did you mean linear"),
    (("--mesh", "data=4", "--shard", "data,dat a"), "no name of an axis"),
])
def test_mistakes_are_one_line_and_two(arguments, what):
    found = run("show", "mlp", *arguments)
    assert found.exit_code == 2 and what in found.output and "Traceback" not in found.output


POINT = ("--at", "n=64,d=784,a=304,b=100,c=12", "--no-verify")
RULES = ("--mesh", "data=2,model=4", "--shard", "data", "--shard-rules", "linear1/kernel=-,model; linear2/kernel=model,-")


def test_rules_shard_what_a_model_holds():
    """The first layer's features stay where they are, and the second one's partial sums are reduced."""
    found = run("show", "mlp", *RULES, *POINT, "--json")
    assert found.exit_code == 0, found.output
    there = json.loads(found.stdout)
    assert there["params"]["value"] == 784 * 304 // 4 + 304 + 304 * 100 // 4 + 100 + 100 * 12 + 12
    assert there["wire_bytes"]["value"] == 2 * 3 * (64 // 2) * 100 * 4 // 4


def test_a_mesh_is_laid_where_the_topology_says(monkeypatch):
    """The axis over which something is sent goes over InfiniBand, and takes its time."""
    monkeypatch.setenv("COLUMNS", "250")
    quick, slow = (run("roofline", "mlp", *RULES, *POINT, "--hw", "h100-sxm", *laid)
                   for laid in ((), ("--topology", "model=InfiniBand")))
    assert "model on NVLink4 x 4" in quick.output and "model on InfiniBand x 4" in slow.output
    assert "link float32" in slow.output and quick.output != slow.output


@pytest.mark.parametrize("mesh, laid, what", [
    (("--mesh", "data=2"), "data", "--topology 'data' is not of the form AXIS=LINK"),
    (("--mesh", "data=2"), "dat=InfiniBand", "'dat', which is no axis of the mesh; did you mean data"),
    (("--mesh", "data=2"), "data=InfinyBand", "did you mean InfiniBand"),
    ((), "data=InfiniBand", "is of one device"),
])
@pytest.mark.parametrize("range_of_n", [False, True])
def test_a_topology_that_is_none_is_one_line_where_nothing_is_sent_too(mesh, laid, what, range_of_n):
    point = ("--at", "n=64..80,d=784,a=304,b=100,c=12", "--no-verify") if range_of_n else POINT
    found = run("roofline", "mlp", *mesh, *point, "--hw", "h100-sxm", "--topology", laid)
    assert found.exit_code == 2 and what in found.output and "Traceback" not in found.output


@pytest.mark.parametrize("command", [("show", "gemm", "--mesh", "d=4", "--shard", "d,-,-,-"),
                                     ("show", "mlp", "--mesh", "d=4", "--shard", "d,-,-")])
def test_too_many_entries_are_told_with_their_flag_and_the_rank(command):
    found = run(*command)
    assert found.exit_code == 2 and "pjit" not in found.output and len(found.output.splitlines()) == 1
    assert f"--shard {command[-1]!r} has {command[-1].count(',') + 1} entries" in found.output
    assert "has 2 dimensions" in found.output


def test_labels_are_shared_as_the_batch_is():
    """The entries of the images are four; labels have one dimension, and every device does a whole number of operations."""
    point = "--loss", "cross-entropy", "--at", "n=8,h=32,w=32", "--no-verify"
    long, short = (run("train", "resnet18", "--mesh", "data=8", "--shard", entries, *point)
                   for entries in ("data,-,-,-", "data"))
    assert long.exit_code == 0, long.output
    assert long.output == short.output
    assert all(row.split()[2].replace(",", "").isdigit() for row in long.output.splitlines() if row.startswith(" forward"))


ADDED = """
import jax
from jax.sharding import AxisType, PartitionSpec as P
mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
summed = jax.jit(jax.shard_map(lambda x: jax.lax.psum(x, "d"), mesh=mesh, in_specs=P("d"), out_specs=P()))
for n in (1, 12, 100):
    print(int(summed.lower(jax.ShapeDtypeStruct((8 * n,), "float32")).compile().cost_analysis()["flops"]))
"""


@pytest.mark.slow
def test_a_sum_over_devices_is_as_many_operations_as_xla_counts():
    """Of a scalar one, also where the axis does not divide the elements."""
    wanted = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", ADDED], capture_output=True, text=True, env=wanted, check=True)
    mesh = AbstractMesh((8,), ("d",), axis_types=(AxisType.Auto,))
    for n, there in zip((1, 12, 100), done.stdout.split(), strict=True):
        summed = jax.shard_map(lambda x: jax.lax.psum(x, "d"), mesh=mesh, in_specs=P("d"), out_specs=P())
        assert cm.analyze(summed, (8 * n,)).flops == int(there)
