"""How much a derivation adds to jax's own trace for whole training steps.

    python -m pytest -s -m benchmark tests/benchmarks/test_training_derivation.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

REPETITIONS = 3
MAX_RATIO = 1.5

SCRIPT = """
import json, sys, time
sys.path.insert(0, sys.argv[2])
import jax, optax
import costmodel as cm
from costmodel.cost import Cost
from costmodel.trace.training import training_request
from costmodel.program.walk import walk

jax.make_jaxpr(lambda x: x + 1)(1.0)  # jax starts its backend once a process, whatever is traced
optimizer = optax.adamw(1e-3)
if sys.argv[1] == "resnet50":
    from zoo.resnet import ResNet50
    n = cm.dims("n")
    h, w = cm.dims("h w", multiple_of=32)
    loss = lambda y, t: optax.softmax_cross_entropy_with_integer_labels(y, t).mean()
    asked = training_request(ResNet50(), (n, h, w, 3), loss=loss, targets=[cm.spec((n,), "int32")], optimizer=optimizer,
                             kwargs={"train": True})
else:
    from scanned_gpt import gpt2, next_token_loss, parameters
    b, L = cm.dims("b L")
    tokens = cm.spec((b, cm.dims("s", max=1024)), "int32")
    asked = training_request(gpt2, parameters(L), tokens, params=0, loss=next_token_loss, targets=[tokens], optimizer=optimizer)
start = time.perf_counter()
traced = asked.run()
middle = time.perf_counter()
table, domain = walk(traced)
cost = Cost(table, domain, name=sys.argv[1], request=asked)
cost.headline(), cost.saved()
print(json.dumps({"trace": middle - start, "derivation": time.perf_counter() - middle, "equations": len(table.equations)}))
"""


@pytest.mark.benchmark
@pytest.mark.parametrize("model", ["resnet50", "gpt2"])
def test_derivation_of_a_training_step_costs_no_more_than_one_and_a_half_traces(model):
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", SCRIPT, model, tests]
    runs = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(REPETITIONS)]
    median = statistics.median(run["derivation"] / run["trace"] for run in runs)
    print(f"\n{model} training step, {runs[0]['equations']} equations: trace {statistics.median(r['trace'] for r in runs):.2f} s, "
          f"derivation / trace {median:.2f} (limit {MAX_RATIO})")
    assert median <= MAX_RATIO
