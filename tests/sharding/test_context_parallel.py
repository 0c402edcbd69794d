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
from zoo._ring import ring_attention
from zoo.gpt import GPT, Config

SMALL = Config(layers=2, width=64, heads=4, context=512, vocabulary=96)
MESH = {"data": 2, "seq": 4}
RING = replace(SMALL, attend=ring_attention(AbstractMesh((2, 4), ("data", "seq"), axis_types=(AxisType.Auto,) * 2), "seq", "data"))


def over_the_sequence(config):
    b, s = cm.dims("b s", where="8 | s, s <= 512, 2 | b")
    return cm.analyze(GPT(config), cm.spec((b, s), "int32"), mesh=MESH, in_shardings=P("data", "seq"),
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


def test_grouped_queries_gather_fewer_keys():
    """Llama-3-8B: 8 heads of 128 for keys and values, beside 32 of queries, in 32 layers that loop."""
    entry = model("llama3_8b")
    llama, inputs = entry.make()
    cost = cm.analyze(llama, *inputs, kwargs=entry.kwargs, mesh=MESH, in_shardings=P("data", "seq"), verify=False)
    b, s, data, seq = cm.symbols("b s data seq")
    width = 4 if "float32" in {row.dtype for row in cost.collectives()} else 2
    assert cost.wire_bytes() == (32 * 2 * width * 8 * 128 * b / data * s * (1 - 1 / seq)).expand()


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, RING], ids=["gathered", "ring"])
def test_bytes_are_those_of_xla(config):
    from costmodel.bench.mesh.judge import judge_over_mesh

    found = judge_over_mesh(over_the_sequence(config), {"b": 4, "s": 512})
    assert found.wire_ratio == pytest.approx(1, abs=0.01)
    assert found.argument == found.theirs.argument


RUN = """
import jax, jax.numpy as jnp
from jax.sharding import AxisType
from zoo._ring import ring_attention
from zoo.gpt import attention, causal_mask
mesh = jax.make_mesh((2, 4), ("data", "seq"), axis_types=(AxisType.Auto,) * 2)
q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 32, 4, 8))
there = attention(q, k, v, causal_mask(32))
print(float(jnp.abs(jax.jit(ring_attention(mesh, "seq", "data"))(q, k, v) - there).max()))
"""


@pytest.mark.slow
def test_a_ring_computes_attention():
    """On eight virtual devices, beside attention on one."""
    wanted = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, env=wanted, check=True)
    assert float(done.stdout) < 1e-5
