"""How much a derivation adds to jax's own trace: counting and pricing ResNet-50 in n, h, w against tracing it.

    python -m pytest -s -m benchmark tests/benchmarks/test_derivation.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

REPETITIONS = 5
MAX_RATIO = 1.0

# In a fresh process, because both jax and costmodel remember what they have seen. Imports are not timed. ``trace`` is the
# abstract initialisation and the trace of the call; ``derivation`` is everything after it, up to the headline's closed forms.
SCRIPT = """
import json, sys, time
import jax, flax.linen, sympy
import costmodel as cm
from costmodel.cost import Cost
from costmodel.trace.requests import request
from costmodel.program.walk import walk
from zoo.resnet import ResNet50

where = sys.argv[1]
n, h, w = cm.dims("n h w", where=where)
jax.make_jaxpr(lambda x: x + 1)(1.0)  # jax starts its backend once a process, whatever is traced
asked = request(ResNet50(), (n, h, w, 3))
start = time.perf_counter()
traced = asked.run()
middle = time.perf_counter()
table, domain = walk(traced)
cost = Cost(table, domain, name="resnet50", request=asked)
figures = cost.headline()
end = time.perf_counter()
assert {label for label, _, _ in figures} >= {"parameters", "FLOPs", "activations, peak"}
if where:
    assert cost.macs == 81456*cm.symbols("n")*cm.symbols("h")*cm.symbols("w") + 2048000*cm.symbols("n")
print(json.dumps({"trace": middle - start, "derivation": end - middle}))
"""


def measure(where: str) -> dict[str, float]:
    """Seconds of the trace and of the derivation in one fresh process."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, where], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.benchmark
@pytest.mark.parametrize("where", ["32 | h, 32 | w", ""], ids=["multiples of 32", "any h and w"])
def test_derivation_costs_no_more_than_the_trace(where):
    runs = [measure(where) for _ in range(REPETITIONS)]
    ratios = [run["derivation"] / run["trace"] for run in runs]
    median = statistics.median(ratios)
    seconds = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    print(f"\nResNet-50 in n, h, w ({where or 'no assumption'}): trace {seconds['trace']:.2f} s, derivation "
          f"{seconds['derivation']:.2f} s, ratio {median:.2f} (of {', '.join(f'{r:.2f}' for r in sorted(ratios))})")
    assert median <= MAX_RATIO
