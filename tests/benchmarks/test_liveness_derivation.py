"""How long the live peak takes to derive, beside jax's own trace of the program.

    python -m pytest -s -m benchmark tests/benchmarks/test_liveness_derivation.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

REPETITIONS = 3
MAX_RATIO = 2.0
MAX_TERMS = 8

# In a fresh process, because both jax and costmodel remember what they have seen. ``peak`` is the walk over the trace, the kernels,
# and the live peak in closed form in both orders.
SCRIPT = """
import json, sys, time
sys.path.insert(0, sys.argv[2])
import jax, optax
import costmodel as cm
from costmodel.cost import Cost
from costmodel.symbolic.forms import PeakMax
from costmodel.trace.requests import request
from costmodel.trace.training import training_request
from costmodel.program.walk import walk

jax.make_jaxpr(lambda x: x + 1)(1.0)  # jax starts its backend once a process, whatever is traced
n, b, L = cm.dims("n b L")
h, w = cm.dims("h w", multiple_of=32)
tokens = cm.spec((b, cm.dims("s", max=1024)), "int32")
if sys.argv[1] == "transformer step":
    from scanned_gpt import gpt2, next_token_loss, parameters
    asked = training_request(gpt2, parameters(L), tokens, params=0, loss=next_token_loss, targets=[tokens],
                             optimizer=optax.adamw(1e-3))
elif sys.argv[1] == "gpt2":
    from zoo.gpt import GPT, GPT2
    asked = request(GPT(GPT2), tokens)
else:
    from zoo import mobilenet, resnet
    model = {"resnet50": resnet.ResNet50, "mobilenet_v2": mobilenet.MobileNetV2}[sys.argv[1]]()
    asked = request(model, (n, h, w, 3))
start = time.perf_counter()
traced = asked.run()
middle = time.perf_counter()
table, domain = walk(traced)
cost = Cost(table, domain, name=sys.argv[1], request=asked)
peaks = [cost.live_peak(order=order) for order in ("program", "memory")]
end = time.perf_counter()
terms = [len(peak.args) if isinstance(peak, PeakMax) else 1 for peak in peaks]
print(json.dumps({"trace": middle - start, "peak": end - middle, "terms": max(terms), "equations": len(table.equations)}))
"""


@pytest.mark.benchmark
@pytest.mark.parametrize("model", ["resnet50", "mobilenet_v2", "gpt2", "transformer step"])
def test_the_live_peak_takes_at_most_two_traces(model):
    command = [sys.executable, "-c", SCRIPT, model, str(Path(__file__).parents[1])]
    runs = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(REPETITIONS)]
    ratio = statistics.median(run["peak"] / run["trace"] for run in runs)
    print(f"\n{model}, {runs[0]['equations']} equations: trace {statistics.median(run['trace'] for run in runs):.2f} s, walk and "
          f"live peak / trace {ratio:.2f} (limit {MAX_RATIO}), {runs[0]['terms']} terms (limit {MAX_TERMS})")
    assert ratio <= MAX_RATIO
    assert runs[0]["terms"] <= MAX_TERMS
