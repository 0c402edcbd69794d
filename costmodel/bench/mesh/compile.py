"""What a compiler makes of a sharded program, for the devices of a mesh that need not be there.

XLA is told how many devices there are before jax starts, so that a process of its own compiles: the program is lowered here, over
jax's abstract mesh, and handed to :mod:`costmodel.bench.mesh.worker`.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from costmodel import _jax_compat as compat
from costmodel.bench.compilers import environment, installed, target
from costmodel.errors import CostModelError

if TYPE_CHECKING:
    from costmodel.sharding.analysis import Sharded
    from costmodel.sharding.mesh import Mesh

# Topologies of a TPU's chips by their number; the others are in three dimensions, which a mesh's size does not say.
_SLICES = {"tpu-v5e": {4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8"}, "tpu-v6e": {4: "2x2", 8: "2x4", 16: "4x4"}}
_SECONDS = 1800


@dataclass(frozen=True)
class Partitioned:
    """A program as a compiler partitioned it. All sizes in bytes, of one device.

    collectives: by kind (``all-reduce`` …), how many run, and the bytes that a device sends in them by the ring algorithms.
    argument, output, temporary: what a device holds.
    """

    compiler: str
    versions: Mapping[str, str]
    mesh: Mapping[str, int]
    collectives: Mapping[str, tuple[int, float]]
    argument: int
    output: int
    temporary: int

    @property
    def wire(self) -> float:
        """Bytes that a device sends."""
        return sum(sent for _, sent in self.collectives.values())

    @property
    def peak(self) -> int:
        """Arguments, results and temporaries: what a device needs while the program runs."""
        return self.argument + self.output + self.temporary

    def to_record(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def from_record(record: Mapping[str, Any]) -> Partitioned:
    """The program of :meth:`Partitioned.to_record`."""
    return Partitioned(**{**record, "collectives": {kind: (count, sent) for kind, (count, sent) in record["collectives"].items()}})


def topology(compiler: str, devices: int) -> str:
    """The name of the topology of so many devices, "" for processors. Raises CostModelError where none is known."""
    found = target(compiler)
    if found["platform"] == "cpu":
        return ""
    known = _SLICES.get(compiler, {})
    if devices not in known:
        raise CostModelError(f"{compiler} compiles for a mesh of {', '.join(map(str, known))} devices, and this one has {devices}"
                             if known else f"{compiler} compiles for no mesh here: use xla-cpu, {' or '.join(_SLICES)}")
    return f"{found['topology'].partition(':')[0]}:{known[devices]}"


def compile_over(sharded: Sharded, compiler: str) -> Partitioned:
    """Compile a request over a mesh, at a point (:meth:`costmodel.sharding.analysis.Sharded.at`).

    Raises CostModelError where the compiler is not installed, has no such mesh, or refuses the program.
    """
    mesh = sharded.mesh
    where = topology(compiler, mesh.devices)
    job = {"program": _exported(sharded, target(compiler)["platform"]), "axes": mesh.axes, "topology": where}
    wanted = environment(compiler) if where else {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": _flags(mesh.devices)}
    done = subprocess.run([sys.executable, "-m", "costmodel.bench.mesh.worker"], input=pickle.dumps(job), capture_output=True,
                          env={**os.environ, **wanted}, timeout=_SECONDS, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise CostModelError(f"{compiler} does not compile this program over {mesh}: {(said or ['no reason given'])[-1][:300]}")
    found = json.loads(done.stdout.decode().splitlines()[-1])
    return Partitioned(compiler, installed(compiler), mesh.sizes, **from_json(found))


def from_json(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the worker says, as fields."""
    return {**found, "collectives": {kind: (int(count), float(sent)) for kind, (count, sent) in found["collectives"].items()}}


def _flags(devices: int) -> str:
    given = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "xla_force_host_platform_device_count" not in flag]
    return " ".join([*given, f"--xla_force_host_platform_device_count={devices}"])


def _exported(sharded: Sharded, platform: str) -> Any:
    """The program as jax lowers it, with flat arguments and results."""
    import jax
    from jax.extend import core as jex_core
    from jax.sharding import NamedSharding

    mesh: Mesh = sharded.mesh
    traced, into, out = sharded.concrete_trace()
    over = sharded.abstract_mesh

    def named(specs: Any) -> list[Any]:
        return [None if spec is None else NamedSharding(over, spec) for spec in specs]

    avals = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in traced.jaxpr.in_avals]
    program = jex_core.jaxpr_as_fun(traced.jaxpr)
    try:
        with jax.sharding.use_abstract_mesh(over):
            made = jax.export.export(jax.jit(program, in_shardings=tuple(named(into)), out_shardings=named(out), keep_unused=True),
                                     platforms=(platform,))(*avals)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise CostModelError(f"the program cannot be lowered over {mesh}: {' '.join(str(error).split())[:300]}") from error
    return compat.portable(made)
