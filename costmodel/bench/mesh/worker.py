"""What runs in a process that was told of several devices: it compiles a program for them and says what came of it, in JSON.

Reads from stdin what :func:`costmodel.bench.mesh.compile.compile_over` wrote there.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from costmodel.bench.hlo import parse
from costmodel.bench.hlo_collectives import collectives


def compiled(job: Mapping[str, Any]) -> Any:
    """The program, compiled for the devices that this process has or, with a topology's name, for that one's."""
    program = job["program"]
    sizes = dict(job["axes"])
    devices = np.array(_devices(job["topology"])).reshape(*sizes.values())
    mesh = Mesh(devices, tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))
    avals = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in program.in_avals]
    into, out = tuple(program.in_shardings_jax(mesh)), list(program.out_shardings_jax(mesh))
    return jax.jit(program.call, in_shardings=into, out_shardings=out, keep_unused=True).lower(*avals).compile()


def _devices(topology: str) -> Any:
    if not topology:
        return jax.devices()
    from jax.experimental import topologies

    return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices


def figures(program: Any, devices: int) -> dict[str, Any]:
    """Collectives by kind, and the memory of one device."""
    kinds: dict[str, list[float]] = {}
    for each in collectives(parse(program.as_text()), devices):
        count = kinds.setdefault(each.kind, [0, 0.0])
        count[0] += each.times
        count[1] += each.total
    memory = program.memory_analysis()
    return {"collectives": kinds, "argument": memory.argument_size_in_bytes, "output": memory.output_size_in_bytes,
            "temporary": memory.temp_size_in_bytes}


def main() -> None:
    """Compile what stands on stdin."""
    job = pickle.load(sys.stdin.buffer)
    made = compiled(job)
    print(json.dumps(figures(made, int(np.prod([size for _, size in job["axes"]])))))


if __name__ == "__main__":
    main()
