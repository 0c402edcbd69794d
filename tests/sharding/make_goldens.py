"""What XLA's partitioner for processors makes of the sharded programs, kept in tests/data/sharding/xla-cpu.json. Anew:

    XLA_FLAGS=--xla_force_host_platform_device_count=8 JAX_PLATFORMS=cpu PYTHONPATH=.:tests/sharding \
        python tests/sharding/make_goldens.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from sharded_programs import PROGRAMS, SIZES

from costmodel.bench.hlo import parse
from costmodel.bench.hlo_collectives import collectives

FILE = Path(__file__).parents[1] / "data" / "sharding" / "xla-cpu.json"


def compiled(name: str) -> dict[str, Any]:
    program = PROGRAMS[name]
    mesh = Mesh(np.array(jax.devices()).reshape(*SIZES.values()), tuple(SIZES))

    def named(tree: Any) -> Any:
        return jax.tree.map(lambda spec: NamedSharding(mesh, spec), tree, is_leaf=lambda x: isinstance(x, PartitionSpec))

    function, specs, into, out = program.build(lambda x, *axes: lax.with_sharding_constraint(x, named(PartitionSpec(*axes))),
                                               **program.point)
    made = jax.jit(function, in_shardings=named(into), out_shardings=named(out)).lower(*specs).compile()
    found = collectives(parse(made.as_text()), len(jax.devices()))
    kinds: dict[str, list[float]] = {}
    for each in found:
        count = kinds.setdefault(each.kind, [0, 0.0])
        count[0] += each.times
        count[1] += each.total
    memory = made.memory_analysis()
    return {"collectives": kinds, "wire": sum(each.total for each in found), "arguments": memory.argument_size_in_bytes,
            "outputs": memory.output_size_in_bytes, "temporary": memory.temp_size_in_bytes}


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PROGRAMS)
    known = json.loads(FILE.read_text()) if FILE.exists() else {"programs": {}}
    known |= {"jax": jax.__version__, "mesh": SIZES}
    for each in wanted:
        known["programs"][each] = compiled(each)
        print(each, known["programs"][each], flush=True)
    FILE.write_text(json.dumps(known, indent=1) + "\n")
