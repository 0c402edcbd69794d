"""A page of a sharded program, its scripts run by node where there is one: times of what is sent, hidden and waited for are those
of ``roofline`` at every point, over every sort of link."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

import costmodel as cm
from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, MissingPeak, load
from costmodel.report.page import page
from costmodel.report.page.export import export

node = pytest.mark.skipif(shutil.which("node") is None, reason="no node to run JavaScript")
SCRIPTS = "\n".join(files("costmodel.report.page").joinpath("assets", f"{name}.js").read_text(encoding="utf-8")
                    for name in ("exact", "model", "links", "overlap", "device"))
ASKED = """
const asked = %s.map(([point, place, dtype, policy]) => {
  const found = bind(Object.fromEntries(Object.entries(point).map(([name, value]) => [name, BigInt(value)])));
  if (found.error) return found;
  const device = D.devices[place], chosen = policy || device.policy;
  const {kernels, sizes} = programAt(found.args, {policy: chosen, dtype, donate: false});
  const absent = unpriced(kernels, device, dtype, sizes);
  return absent ?? priced(kernels, device, dtype, chosen, sizes).total;
});
console.log(JSON.stringify(asked));
"""

d, f, n = cm.dims("d f n")
OVER = AbstractMesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def tensor_parallel() -> cm.Cost:
    """A layer of which each device has a part."""
    return cm.analyze(lambda up, down, x: jax.nn.relu(x @ up) @ down, (d, f), (f, d), (n, d), mesh={"data": 2, "model": 4},
                      in_shardings=(P("data", "model"), P("model", "data"), P("data", None)), verify=False)


def scanned_step() -> cm.Cost:
    """Layers in a loop whose weights are gathered one by one, and their gradients: an iteration hides what another sends."""
    def loss(w: Any, x: Any) -> Any:
        return (jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)[0] ** 2).mean()

    return cm.analyze(jax.grad(loss), cm.spec((6, d, d), "bfloat16"), cm.spec((n, d), "bfloat16"), mesh={"data": 2, "model": 4},
                      in_shardings=(P(None, "data", "model"), P("data")), out_shardings=P(None, "data", "model"), verify=False)


def step() -> cm.Cost:
    import flax.linen as nn

    return cm.analyze_training(nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(16)]), cm.spec((n, d)), loss=lambda y: (y**2).mean(),
                               optimizer=optax.adamw(1e-3), mesh={"data": 8}, data_sharding=P("data"), verify=False)


def ring() -> cm.Cost:
    """Who sends to whom is said."""
    def turned(x: Any) -> Any:
        return jax.lax.ppermute(jnp.tanh(x) @ x.T, ("data", "model"), [(i, (i + 3) % 8) for i in range(8)])

    return cm.analyze(jax.shard_map(turned, mesh=OVER, in_specs=P(("data", "model")), out_specs=P(("data", "model"))), (8 * n, d),
                      verify=False)


def exchanged() -> cm.Cost:
    """All with all, and over a part of an axis; a choice, of which a side sends."""
    def experts(x: Any, w: Any) -> Any:
        moved = jax.lax.all_to_all(x, "model", 1, 0, tiled=True)
        summed = jax.lax.psum(moved @ w, "model")
        return jax.lax.cond(summed[0, 0] > 0, lambda y: jax.lax.all_gather(jnp.sin(y), "data", tiled=True)[:1], lambda y: y[:1] * 2,
                            summed)

    mapped = jax.shard_map(experts, mesh=OVER, in_specs=(P(("data", "model")), P()), out_specs=P(), check_vma=False)
    return cm.analyze(mapped, (32 * n, 4 * d), (d, 64), verify=False)


# The forms as they are: where the partitioner does something else `at` has another program, and the page says that it did not ask.
PROGRAMS: Sequence[Callable[[], cm.Cost]] = (tensor_parallel, scanned_step, step, ring, exchanged)
# NVLink in a node and InfiniBand between them, both calibrated or not; tori of two and of three axes; a ring; connections of all
# with all; laid as one says.
DEVICES: Sequence[str | Hardware] = ("h100-sxm", "tpu-v5e", "tpu-v4", "v100-sxm-32gb", "mi300x", "a100-sxm-80gb",
                                     load("h100-sxm").laid({"data": "InfiniBand"}), load("tpu-v5p").laid({"data": "ICI 2"}))


@dataclass(frozen=True)
class Asked:
    point: Mapping[str, int]
    device: int
    dtype: str
    policy: str


def on_the_page(cost: cm.Cost, devices: Sequence[str | Hardware], asked: Sequence[Asked]) -> Any:
    """What the page's scripts say of the whole program, each time."""
    exported = export(cost, devices, {}, ())
    data = json.dumps(json.dumps(exported.data))
    rows = json.dumps([[{name: str(value) for name, value in each.point.items()}, each.device, each.dtype, each.policy]
                       for each in asked])
    program = (f"const document = {{getElementById: () => ({{textContent: {data}}})}};\n{exported.functions}\n{SCRIPTS}\n"
               + ASKED % rows)
    done = subprocess.run(["node", "-"], input=program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def points(cost: cm.Cost, program: str) -> list[Asked]:
    rng, found = random.Random(program), []
    while len(found) < 36:
        axes = {v.symbol: v.default if v.upper == v.lower else rng.choice([1, 2, 4, 8, 16]) for v in cost.domain.variables
                if v.symbol in cost.mesh.sizes}
        sizes = {name: 16 * 16 * rng.choice([1, 2, 3, 5, 40, 700]) for name in cost.symbols if name not in axes}
        policy = rng.choice(["", "", "unfused", "xla-gpu"])
        found.append(Asked(axes | sizes, len(found) % len(DEVICES), rng.choice(["", "", "bfloat16"]), policy))
    return found


@node
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda each: each.__name__)
def test_times_are_those_of_the_roofline(program):
    cost = cm.from_json(program().to_json())  # which can ask no partitioner, as a page cannot
    asked = points(cost, program.__name__)
    compared = bound = 0
    for each, here in zip(asked, on_the_page(cost, DEVICES, asked), strict=True):
        there = (cost.reprice(dtype=each.dtype) if each.dtype else cost).at(**each.point)
        try:
            priced = there.roofline(DEVICES[each.device], policy=each.policy or None)
        except CostModelError as error:
            assert here["word"] == ("no peak" if isinstance(error, MissingPeak) else "no link"), (each, error)
            continue
        compared += 1
        wanted = {"lower": priced.lower, "upper": priced.upper, "warm": priced.total.warm, "operations": priced.total.operations,
                  "bytes": priced.bytes, **({"predicted": priced.predicted} if priced.predicted is not None else {})}
        assert (here["predicted"] is None) == (priced.predicted is None)
        assert {name: here[name] for name in wanted} == pytest.approx(wanted, rel=1e-12), each
        sent = priced.communication
        assert (sent is None) == (here["communication"] is None), each
        if sent is None:
            continue
        bound += sent.binds
        told = here["communication"]
        assert told["laid"] == sent.laid and told["binds"] == sent.binds, each
        assert dict(told["lanes"]) == pytest.approx(dict(sent.lanes), rel=1e-12), each
        figures = {name: getattr(sent, name) for name in ("seconds", "compute", "exposed", "lower", "warm")}
        assert {name: told[name] for name in figures} == pytest.approx(figures, rel=1e-12, abs=1e-30), each
    assert compared >= 20 and bound >= 1


@node
def test_the_whole_script_is_javascript():
    text = page(tensor_parallel(), ["h100-sxm"])
    script = text[text.rindex("<script>") + len("<script>"):text.rindex("</script>")]
    done = subprocess.run(["node", "--check", "-"], input=script, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@node
def test_what_devices_cannot_share_evenly_is_outside_of_the_domain():
    cost = tensor_parallel()
    at = {"d": 512, "f": 512, "n": 511, "data": 2, "model": 4}
    (outside,) = on_the_page(cost, ["h100-sxm"], [Asked(at, 0, "", "")])
    assert outside == {"error": "outside the domain: data | n"}


def test_a_page_starts_where_a_batch_is_shared():
    """A batch of one is no device's."""
    cost = cm.analyze(jnp.tanh, (n, 8), mesh={"data": 6}, in_shardings=P("data"), verify=False)
    assert export(cost, ["h100-sxm"], {}, ()).data["start"] == {"data": 6, "n": 6}


def test_what_a_page_does_not_know_of_a_mesh_it_says():
    text = page(tensor_parallel(), ["h100-sxm"])
    assert "what is sent is what the partitioner does over the mesh data=2 x model=4" in text
    assert "Over a mesh of these sizes the partitioner was not asked" in text


def test_a_mistaken_topology_is_an_error():
    with pytest.raises(CostModelError, match="no axis of the mesh"):
        page(tensor_parallel(), [load("h100-sxm").laid({"dat": "InfiniBand"})])
