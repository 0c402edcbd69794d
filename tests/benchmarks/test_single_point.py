"""Parameters, MACs and FLOPs of ResNet-50 at one concrete point, beside jax's own count of the same program lowered.

    python -m pytest -s -m benchmark tests/benchmarks/test_single_point.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

REPETITIONS = 5
MAX_RATIO = 1.5

# In a fresh process, because jax and costmodel remember what they have seen; imports are not timed, which is why a small network
# goes first. ``function``: of a function of its variables' shapes and the input's, which both are given. ``module``: of the Flax
# module, whose variables both must ask it for.
SCRIPT = """
import json, sys, time
import flax.linen as nn
import jax
import costmodel as cm
from zoo.resnet import ResNet50

who, what = sys.argv[1:]

def ours(model, v, x):
    cost = cm.analyze(model, x) if v is None else cm.analyze(model.apply, v, x)
    return cost.params, cost.macs, cost.flops

def lowered(model, v, x):
    v = jax.eval_shape(model.init, jax.random.key(0), x) if v is None else v
    return jax.jit(model.apply).lower(v, x).cost_analysis()["flops"]

def seconds(model, shape):
    x = jax.ShapeDtypeStruct(shape, "float32")
    v = jax.eval_shape(model.init, jax.random.key(0), x) if what == "function" else None
    start = time.process_time()
    {"ours": ours, "lowered": lowered}[who](model, v, x)
    return time.process_time() - start

seconds(nn.Dense(3), (2, 5))
print(json.dumps(seconds(ResNet50(), (1, 224, 224, 3))))
"""


def measure(who: str, what: str) -> float:
    """CPU seconds in a fresh process."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, who, what], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.benchmark
@pytest.mark.parametrize("what", ["module", "function"])
def test_counting_at_a_point_takes_little_more_than_lowering(what):
    pairs = [(measure("ours", what), measure("lowered", what)) for _ in range(REPETITIONS)]
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    mine, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
    print(f"\nResNet-50 at a point, as a {what}: {mine:.2f} CPU s, lowered {theirs:.2f} s, ratio {ratio:.2f}")
    assert ratio <= MAX_RATIO
