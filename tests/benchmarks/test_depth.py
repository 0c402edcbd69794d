"""Derivation time of an unrolled transformer against its depth: linear, and about what jax's own trace takes.

    python -m pytest -s -m benchmark tests/benchmarks/test_depth.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

DEPTHS = (24, 48, 96)
REPETITIONS = 3
MAX_RATIO = 1.5
MAX_GROWTH = 1.6  # of the time per layer, from the shallowest to the deepest; quadratic time would be 4

# GPT-3's layers (12 288 wide, 96 heads), written out one by one. In a fresh process, because jax and costmodel remember what they
# have seen. ``trace`` is the abstract initialisation and the trace of the call; ``derivation`` is everything after it, up to the
# headline's closed forms.
SCRIPT = """
import json, sys, time
import flax.linen as nn
import jax, jax.numpy as jnp
import costmodel as cm
from costmodel.cost import Cost
from costmodel.trace.requests import request
from costmodel.program.walk import walk

class Block(nn.Module):
    width: int
    heads: int

    @nn.compact
    def __call__(self, x):
        b, s, _ = x.shape
        q, k, v = (t.reshape(b, s, self.heads, -1) for t in jnp.split(nn.Dense(3 * self.width)(nn.LayerNorm()(x)), 3, axis=-1))
        scores = jnp.einsum("bshd,bthd->bhst", q, k) / (self.width // self.heads) ** 0.5
        scores = jnp.where(jnp.tril(jnp.ones((s, s), bool)), scores, -1e9)
        mixed = jnp.einsum("bhst,bthd->bshd", jax.nn.softmax(scores), v).reshape(b, s, self.width)
        x = x + nn.Dense(self.width)(mixed)
        return x + nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x))))

class Transformer(nn.Module):
    layers: int

    @nn.compact
    def __call__(self, x):
        for i in range(self.layers):
            x = Block(12288, 96, name=f"block_{i}")(x)
        return x

layers = int(sys.argv[1])
b, s = cm.dims("b s")
jax.make_jaxpr(lambda x: x + 1)(1.0)  # jax starts its backend once a process, whatever is traced
asked = request(Transformer(layers), (b, s, 12288))
start = time.perf_counter()
traced = asked.run()
middle = time.perf_counter()
table, domain = walk(traced)
cost = Cost(table, domain, name="transformer", request=asked)
cost.headline()
end = time.perf_counter()
matrices = 12 * 12288**2
assert cost.params == layers * (matrices + 13 * 12288)
sb, ss = cm.symbols("b s")
assert (cost.macs - layers * (sb * ss * matrices + 2 * sb * ss**2 * 12288)).expand() == 0
print(json.dumps({"trace": middle - start, "derivation": end - middle, "equations": len(table.equations)}))
"""


def measure(layers: int) -> dict[str, float]:
    """Medians over fresh processes: seconds to trace and to derive, and how many equations there are."""
    runs = []
    for _ in range(REPETITIONS):
        done = subprocess.run([sys.executable, "-c", SCRIPT, str(layers)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


@pytest.mark.benchmark
def test_derivation_is_linear_in_depth_and_no_slower_than_the_trace_by_half():
    found = {layers: measure(layers) for layers in DEPTHS}
    for layers, m in found.items():
        print(f"\n{layers:3} layers: {m['equations']:.0f} equations, trace {m['trace']:.2f} s, derivation {m['derivation']:.2f} s "
              f"({m['derivation'] / m['trace']:.2f}x the trace, {1000 * m['derivation'] / layers:.1f} ms a layer)", end="")
    shallow, deep = found[DEPTHS[0]], found[DEPTHS[-1]]
    slope = (deep["derivation"] - shallow["derivation"]) / (DEPTHS[-1] - DEPTHS[0])
    print(f"\nslope: {1000 * slope:.1f} ms a layer")
    assert deep["equations"] >= 2500
    assert deep["derivation"] <= MAX_RATIO * deep["trace"]
    assert slope <= MAX_GROWTH * shallow["derivation"] / DEPTHS[0]
