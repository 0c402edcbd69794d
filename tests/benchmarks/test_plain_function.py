"""Plain jax functions of many equations: derivation against trace, planning against length, and 100 000 equations.

    python -m pytest -s -m benchmark tests/benchmarks/test_plain_function.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

REPETITIONS = 3
EQUATIONS = 19_200
MAX_RATIO = 0.6
MANY = 100_000
MANY_SECONDS = 60.0
MANY_BYTES = 4096  # an equation, beside what jax's trace holds
MAX_GROWTH = 1.5  # of the time per equation at four times as many; quadratic time would be 4

# In a fresh process, because jax and costmodel remember what they have seen. An MLP's layer is four equations: dot_general,
# broadcast_in_dim, add, max. CPU seconds, since another process may run beside this one.
SCRIPT = """
import gc, json, resource, sys, time
import jax, jax.numpy as jnp
import costmodel as cm
from costmodel.cost import Cost
from costmodel.trace.requests import request
from costmodel.program.walk import walk

equations, policies = int(sys.argv[1]), sys.argv[2:]
layers = equations // 4

def mlp(x, params):
    for w, b in params:
        x = jax.nn.relu(x @ w + b)
    return x

n = cm.dims("n")
jax.make_jaxpr(lambda x: x + 1)(1.0)  # jax starts its backend once a process, whatever is traced
asked = request(mlp, (n, 64), [(cm.spec((64, 64)), cm.spec((64,)))] * layers)
start = time.process_time()
traced = asked.run()
traced_in = time.process_time() - start
gc.collect()  # what the trace left to be looked at is not the derivation's; it is in neither
middle = time.process_time()
held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table, domain = walk(traced)
cost = Cost(table, domain, name="mlp", request=asked)
cost.headline()
found = {"trace": traced_in, "derivation": time.process_time() - middle,
         "kilobytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held, "whole": held}
assert len(table.equations) == equations and cost.macs == layers * 64 * 64 * cm.symbols("n")
for policy in policies:
    start = time.process_time()
    cost.kernels(policy)
    found[policy] = time.process_time() - start
print(json.dumps(found))
"""


def measure(equations: int, *policies: str) -> dict[str, float]:
    """CPU seconds in a fresh process."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(equations), *policies], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.benchmark
def test_a_plain_function_is_derived_in_little_more_than_half_its_trace():
    runs = [measure(EQUATIONS) for _ in range(REPETITIONS)]
    ratios = [run["derivation"] / run["trace"] for run in runs]
    print(f"\nMLP of {EQUATIONS} equations: trace {statistics.median(r['trace'] for r in runs):.2f} s, derivation "
          f"{statistics.median(r['derivation'] for r in runs):.2f} s, ratio {statistics.median(ratios):.2f} "
          f"(of {', '.join(f'{r:.2f}' for r in sorted(ratios))})")
    assert statistics.median(ratios) <= MAX_RATIO


@pytest.mark.benchmark
def test_a_hundred_thousand_equations_take_less_than_a_minute_and_bounded_memory():
    found = measure(MANY)
    seconds, more = found["trace"] + found["derivation"], 1024 * found["kilobytes"] / MANY
    print(f"\n{MANY:,} equations: trace {found['trace']:.1f} s, derivation {found['derivation']:.1f} s, {more:,.0f} bytes an "
          f"equation beside the trace's {found['whole'] / 1e3:.0f} MB")
    assert seconds <= MANY_SECONDS and more <= MANY_BYTES


@pytest.mark.benchmark
@pytest.mark.parametrize("policy", ["eager", "xla-cpu", "xla-gpu", "xla-tpu", "ideal"])
def test_planning_grows_as_the_program(policy):
    few, many = (statistics.median(measure(equations, policy)[policy] for _ in range(REPETITIONS)) for equations in (5_000, 20_000))
    print(f"\n{policy}: {few:.2f} s for 5 000 equations, {many:.2f} s for 20 000: {many / few / 4:.2f}x an equation")
    assert many / 4 <= MAX_GROWTH * few
