"""``costmodel judge --mesh``: mistakes in one line, and the table of a program that is compiled already."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from costmodel.bench.mesh import compile as compiling
from costmodel.bench.mesh import judge as judging
from costmodel.bench.mesh.judged import load
from costmodel.cli import main

RECORDS = load(Path(__file__).parents[1] / "data" / "sharding", "xla-cpu")


def run(*arguments):
    return CliRunner().invoke(main, ["judge", *arguments])


@pytest.mark.parametrize("arguments, what", [
    ((), "name a MODEL to judge"),
    (("--all",), "--all needs --mesh"),
    (("mlp",), "give --compiler"),
    (("tensor_parallel", "--mesh", "data=2,model=4", "--at", "rows=3"), "tensor_parallel has no size rows"),
    (("tensor_parallel", "--mesh", "data"), "--mesh 'data' is not of the form"),
    (("tensor_parallel", "--mesh", "data=2,model=4", "--compiler", "cuda-h100"), "cuda-h100"),
])
def test_mistakes_are_one_line(arguments, what):
    found = run(*arguments)
    assert found.exit_code == 2 and what in found.output and "Traceback" not in found.output


def test_a_program_beside_what_the_compiler_made(monkeypatch):
    monkeypatch.setattr(judging, "compile_over", lambda sharded, compiler: compiling.from_record(RECORDS["sequence_parallel"]))
    found = run("sequence_parallel", "--mesh", "data=2,model=4")
    assert found.exit_code == 0, found.output
    rows = {line.split("  ")[0].strip(): line for line in found.output.splitlines() if line.startswith(" ")}
    assert "one device of the mesh data=2 x model=4" in found.output
    for row in ("all-gather", "all-reduce", "sent in all", "arguments", "results"):
        assert rows[row].rstrip().endswith("1.000"), row
