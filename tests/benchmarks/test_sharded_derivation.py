"""How much longer the derivation of a sharded program takes than that of the same program on one device: trace, lower, partition,
localise, count and the headline's closed forms, in processor time.

    python -m pytest -s -m benchmark tests/benchmarks/test_sharded_derivation.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

REPETITIONS = 3
MAX_RATIO = 2.0

# Fresh processes, because both jax and costmodel remember what they have seen; in each an analysis of a small program over a mesh
# comes first, so that what is imported and loaded once is not timed.
SCRIPT = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import flax.linen as nn, jax, jax.numpy as jnp, optax
from dataclasses import replace
from jax.sharding import PartitionSpec as P
import costmodel as cm
from costmodel.sharding.rules import rules

name, over = sys.argv[1], sys.argv[2] == "sharded"
n, d = cm.dims("n d")
first = cm.analyze_training(nn.Dense(8), (n, d), loss=lambda y: (y**2).sum(), optimizer=optax.adamw(1e-3),
                            mesh={"data": 2, "model": 4}, data_sharding=P("data"))
first.headline()
options = {"verify": False}
if over:
    options["mesh"] = {"data": 2, "model": 4}
if name == "gpt2":
    from zoo.gpt import GPT, GPT2
    b, s = cm.dims("b s", where="8 | b, 8 | s, s <= 1024")
    model, inputs = GPT(replace(GPT2, vocabulary=50304)), (cm.spec((b, s), "int32"),)
    loss = lambda y, t: optax.softmax_cross_entropy_with_integer_labels(y, t).mean()
    if over:
        options |= {"data_sharding": P("data"), "param_shardings": rules([
            "*/qkv/kernel=-,model; */attn/proj/kernel=model,-; */fc/kernel=-,model; */mlp/proj/kernel=model,-; */fc/bias=model"])}
    run = lambda: cm.analyze_training(model, *inputs, loss=loss, targets=inputs, optimizer=optax.adamw(1e-3), **options)
elif name == "resnet50":
    from zoo.resnet import ResNet50
    n, h, w = cm.dims("n h w", where="8 | n, 128 | h, 128 | w")
    if over:
        options["in_shardings"] = P("data", "model")
    run = lambda: cm.analyze(ResNet50(), (n, h, w, 3), **options)
elif name == "llama_7b":
    from zoo.llama import LLAMA_7B, Llama
    b, s = cm.dims("b s", where="8 | b, 8 | s")
    if over:
        options |= {"in_shardings": P(("data", "model")), "param_shardings": rules(["*kernel=data+model"])}
    run = lambda: cm.analyze(Llama(LLAMA_7B), cm.spec((b, s), "int32"), **options)
else:
    from zoo.llama import Llama
    from zoo.moe import MIXTRAL_8X7B, Layer
    from functools import partial
    b, s = cm.dims("b s", where="8 | b, 8 | s")
    if over:
        options |= {"in_shardings": P("data"), "param_shardings": rules(["*CapacityExperts*=-,model"])}
    model = Llama(MIXTRAL_8X7B, partial(Layer, static=True))
    run = lambda: cm.analyze(model, cm.spec((b, s), "int32"), **options)
start = time.process_time()
cost = run()
derived = time.process_time()
cost.headline()
end = time.process_time()
print(json.dumps({"analysis": derived - start, "headline": end - derived}))
"""


def measure(name: str, over: str) -> dict[str, float]:
    """Seconds of the analysis and the headline in one fresh process."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, name, over], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.benchmark
@pytest.mark.parametrize("name", ["gpt2", "resnet50", "llama_7b", "mixtral"])
def test_a_sharded_derivation_costs_no_more_than_two_of_one_device(name):
    pairs = [(measure(name, "sharded"), measure(name, "whole")) for _ in range(REPETITIONS)]
    ratios = sorted((a["analysis"] + a["headline"]) / (b["analysis"] + b["headline"]) for a, b in pairs)
    seconds = [statistics.median(run["analysis"] + run["headline"] for run in runs) for runs in zip(*pairs, strict=True)]
    print(f"\n{name}: {seconds[0]:.2f} s over a mesh, {seconds[1]:.2f} s on one device, ratio {statistics.median(ratios):.2f} "
          f"(of {', '.join(f'{r:.2f}' for r in ratios)})")
    assert statistics.median(ratios) <= MAX_RATIO
