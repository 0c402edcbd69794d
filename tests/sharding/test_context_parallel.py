"""A sequence that devices share: the zoo's GPT and LLaMA with gathered keys and values, and with ones that go round a ring."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

import costmodel as cm
from costmodel.errors import TraceError
from costmodel.models import model
from zoo import llama
from zoo._ring import ring_attention
from zoo.gpt import GPT, Config

OVER = AbstractMesh((2, 4), ("data", "seq"), axis_types=(AxisType.Auto,) * 2)
SMALL = Config(layers=2, width=64, heads=4, context=512, vocabulary=96)
MESH = {"data": 2, "seq": 4}
RING = replace(SMALL, attend=ring_attention(OVER, "seq", "data"))
# Four heads of queries to one of keys and values, layers in a loop, and a window.
GROUPED = llama.Config(layers=2, width=64, heads=8, kv_heads=2, hidden=96, vocabulary=96, scan=True)
GROUPED_RING = replace(GROUPED, attend=ring_attention(OVER, "seq", "data"))
WINDOW_RING = replace(GROUPED, window=100, attend=ring_attention(OVER, "seq", "data", 100))


def over_the_sequence(config):
    b, s = cm.dims("b s", where="8 | s, s <= 512, 2 | b")
    network = GPT(config) if isinstance(config, Config) else llama.Llama(config)
    return cm.analyze(network, cm.spec((b, s), "int32"), mesh=MESH, in_shardings=P("data", "seq"),
                      out_shardings=P("data", "seq"), verify=False)


def test_gathered_keys_and_values_in_closed_form():
    """A layer gathers keys and values, 2 · 4 bytes · b/data · s · d · (p - 1)/p; its products are shared evenly."""
    cost = over_the_sequence(SMALL)
    b, s, data, seq = cm.symbols("b s data seq")
    assert cost.wire_bytes() == (2 * 2 * 4 * 64 * b / data * s * (1 - 1 / seq)).expand()
    whole = cm.analyze(GPT(SMALL), cm.spec(cm.dims("b s", where="s <= 512"), "int32"), verify=False)
    assert cost.macs == (whole.macs / (data * seq)).expand()
    assert {row.kind for row in cost.collectives()} == {"all_gather"}


def test_a_ring_sends_what_a_gather_does_and_holds_less():
    """Keys and values go round p - 1 times: the same bytes and products; the scores of all keys are never there at once."""
    gathered, ring = (over_the_sequence(config).at(b=4, s=512) for config in (SMALL, RING))
    assert ring.wire_bytes() == gathered.wire_bytes() == 2 * 2 * 4 * 64 * 2 * 512 * 3 // 4
    assert ring.macs == gathered.macs
    assert {row.kind for row in ring.collectives()} == {"permute"}
    assert ring.live_peak(policy="xla-cpu", order="breadth") < gathered.live_peak(policy="xla-cpu", order="breadth")


def test_a_model_that_is_wrong_is_told_in_its_words():
    b, s = cm.dims("b s", where="8 | s, 2 | b")  # longer than the table of positions
    with pytest.raises(TraceError, match="512"):
        cm.analyze(GPT(SMALL), cm.spec((b, s), "int32"), mesh=MESH, in_shardings=P("data", "seq"))


def test_without_a_ring_grouped_queries_are_gathered():
    """Llama-3-8B, 32 heads of 128 in 32 layers: the scores' first operand are the keys, which XLA leaves where they are. It gathers
    the queries, reduces the softmax's maximum and sum, and each device keeps its part of the sum of the results."""
    entry = model("llama3_8b")
    llama, inputs = entry.make()
    cost = cm.analyze(llama, *inputs, kwargs=entry.kwargs, mesh=MESH, in_shardings=P("data", "seq"), verify=False)
    b, s, data, seq = cm.symbols("b s data seq")
    width = 4 if "float32" in {row.dtype for row in cost.collectives()} else 2
    assert cost.wire_bytes() == (32 * width * 32 * (2 * 128 + 2 * 2) * b / data * s * (1 - 1 / seq)).expand()


@pytest.mark.parametrize("ring", [GROUPED_RING, WINDOW_RING], ids=["all", "window"])
def test_a_ring_of_grouped_queries_sends_the_heads_of_keys_only(ring):
    """Two heads of 8 for keys and values of a device's part, three times, in both layers; products as without a ring."""
    gathered, found = (over_the_sequence(config).at(b=4, s=512) for config in (replace(GROUPED, window=ring.window), ring))
    assert found.wire_bytes() == 2 * 2 * 4 * (2 * 8) * 2 * 512 * 3 // 4 < gathered.wire_bytes()
    assert found.macs == gathered.macs
    assert {row.kind for row in found.collectives()} == {"permute"}


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, RING, GROUPED, GROUPED_RING, WINDOW_RING],
                         ids=["gathered", "ring", "grouped", "grouped ring", "window ring"])
def test_bytes_are_those_of_xla(config):
    from costmodel.bench.mesh.judge import judge_over_mesh

    found = judge_over_mesh(over_the_sequence(config), {"b": 4, "s": 512})
    assert found.wire_ratio == pytest.approx(1, abs=0.01)
    assert found.argument == found.theirs.argument


RUN = """
import dataclasses, jax, jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from zoo import llama
from zoo._ring import ring_attention
from zoo.gpt import attention, causal_mask
mesh = jax.make_mesh((2, 4), ("data", "seq"), axis_types=(AxisType.Auto,) * 2)
q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 32, 4, 8))
there = attention(q, k, v, causal_mask(32))
print(float(jnp.abs(jax.jit(ring_attention(mesh, "seq", "data"))(q, k, v) - there).max()))
tokens, shared = jax.random.randint(jax.random.key(1), (2, 32), 0, 96), NamedSharding(mesh, P("data", "seq"))
for window in (None, 11):
    config = llama.Config(layers=2, width=64, heads=8, kv_heads=2, hidden=96, vocabulary=96, scan=True, window=window)
    params = llama.Llama(config).init(jax.random.key(2), tokens)
    ring = llama.Llama(dataclasses.replace(config, attend=ring_attention(mesh, "seq", "data", window)))
    there = llama.Llama(config).apply(params, tokens)
    here = jax.jit(ring.apply, in_shardings=(None, shared), out_shardings=shared)(params, tokens)
    assert float(there.std()) > 0.1
    print(float(jnp.abs(here - there).max()))
"""


@pytest.mark.slow
def test_a_ring_computes_attention():
    """On eight virtual devices, beside attention on one; and LLaMA's logits, of grouped queries, with a window and without one."""
    wanted = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, env=wanted, check=True)
    assert len(differences := list(map(float, done.stdout.split()))) == 3 and max(differences) < 1e-5
