"""Bytes on the wire and bytes of arguments of one device beside what XLA compiles for eight; ``make_goldens.py`` makes its figures.

XLA for processors never makes a reduce-scatter: what is one here is judged as the all-reduce that it makes in its place.
"""

from __future__ import annotations

import json
import statistics
from functools import cache
from pathlib import Path

import pytest
from jax import lax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec
from sharded_programs import PROGRAMS, SIZES

import costmodel as cm

XLA = json.loads((Path(__file__).parents[1] / "data" / "sharding" / "xla-cpu.json").read_text())["programs"]


@cache
def ours(name):
    """The cost of a program with every size as a symbol, at its point."""
    program = PROGRAMS[name]
    mesh = AbstractMesh(tuple(SIZES.values()), tuple(SIZES))
    multiples = {size: 8 if size not in ("L",) else 1 for size in program.point}
    sizes = {size: cm.dims(size, multiple_of=multiple) for size, multiple in multiples.items()}
    if name.startswith("convolutions_in_space"):
        sizes["n"] = cm.dims("n", multiple_of=2)
    function, specs, into, out = program.build(
        lambda x, *axes: lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(*axes))), **sizes)
    return cm.analyze(function, *specs, mesh=SIZES, in_shardings=into, out_shardings=out, verify=False).at(**program.point)


def as_xla_sends(cost):
    return sum(row.total * (2 if row.kind == "reduce_scatter" else 1) for row in cost.collectives())


def ratio(name):
    return float(as_xla_sends(ours(name)) / XLA[name]["wire"])


def arguments(cost):
    return sum(cost.evaluate(v.bytes) for v in cost.program.inputs)
