"""Worked questions of Austin et al., *How to Scale Your Model* (2025), each answered by the product on a device that carries the
question's own constants. The source drops (p - 1)/p: where it does, the limit of large axes is asked for."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest
import sympy
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

import costmodel as cm
from costmodel import solve
from costmodel.hardware import Hardware, Link, Quantity, load
from zoo import llama

FILE = Path(__file__).parent.parent / "data" / "scaling_questions.csv"
with FILE.open(encoding="utf-8") as opened:
    QUESTIONS = {row["id"]: row for row in csv.DictReader(opened)}

BF16, INT8 = "bfloat16", "int8"
ANSWERS: dict[str, Callable[[], float]] = {}


def answers(question: str) -> Callable[[Callable[[], float]], Callable[[], float]]:
    def register(answer: Callable[[], float]) -> Callable[[], float]:
        ANSWERS[question] = answer
        return answer
    return register


def given(value: float, unit: str) -> Quantity:
    return Quantity(value, unit, "the question")


def device(*, bfloat16: float = 1e14, int8: float = 1e14, memory: float = 1e12, wire: float = 4.5e10, axes: int = 2,
           closed: bool = True, hop: float | None = None) -> Hardware:
    """A device of these constants and no others; ``wire``: one way along one direction of an axis of its torus."""
    base = load("tpu-v5e")
    peaks = {**base.peaks, ("matrix", BF16): given(bfloat16, "FLOP/s"), ("matrix", INT8): given(int8, "OP/s")}
    ici = Link("ICI", given(2 * axes * wire, "B/s"), "each way", "ICI", "torus", None if hop is None else given(hop, "s"), axes,
               wraparound=1 if closed else 10**6)
    return dataclasses.replace(base, peaks=peaks, bandwidth=given(memory, "B/s"), links=(ici,), levels=())


V4P, V5P = partial(device, axes=3, memory=1.23e12), partial(device, axes=3, wire=9e10, bfloat16=4.59e14)


def shape(sizes: str, dtype: str = BF16):
    return cm.spec(cm.dims(sizes), dtype)


def product(one: str, other: str, dtype: str = BF16, **options):
    """The cost of a product of matrices of these dimensions."""
    def multiplied(x, w):
        return jnp.matmul(x, w, preferred_element_type=dtype)

    return cm.analyze(multiplied, shape(one, dtype), shape(other, dtype), verify=False, **options)


def alone(function, sizes: dict[str, int], into: P, out: P, *specs):
    """What one device of a mesh does in a function of its shard."""
    over = AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))
    mapped = jax.shard_map(function, mesh=over, in_specs=into, out_specs=out,
                           check_vma=False)
    return cm.analyze(mapped, *specs, verify=False)


def at(form, **values: int) -> float:
    """A closed form at a point."""
    return float(form.xreplace({s: sympy.Integer(values[s.name]) for s in form.free_symbols}))


# -- one device ---------------------------------------------------------------------------------------------------------------


@answers("roofline-q1")
def critical_batch() -> float:
    whole = product("b d", "d f", INT8)
    return solve.crossover(whole, "b", device(int8=3.94e14, memory=8.1e11), at={"d": 2**20, "f": 2**20}, policy="layer").answer


@answers("roofline-q4")
def intensity_of_a_batch_of_matrices() -> float:
    def multiplied(x, w):
        return jnp.einsum("bd,bdf->bf", x, w, preferred_element_type=jnp.int8)

    whole = cm.analyze(multiplied, shape("b d", INT8), shape("b d f", INT8), verify=False)
    return whole.roofline(device(), b=64, d=2**14, f=2**14, policy="layer").intensity


@answers("tpus-q6-flops")
def operations_of_eight_rows() -> float:
    whole = product("b d", "d f").roofline(device(bfloat16=1.97e14), b=8, d=2**17, f=2**17)
    return dict(whole.total.busy)["matrix"]


# -- what goes over the wire --------------------------------------------------------------------------------------------------


@answers("tpus-q5")
def across_a_slice() -> float:
    """From the first to the last of 4 x 4 chips, along both axes."""
    sent = alone(lambda x: jax.lax.ppermute(x, ("x", "y"), perm=[(0, 15)]), {"x": 4, "y": 4}, P(), P(),
                 cm.spec((8, 128, 8192), BF16))
    return sent.roofline(device(closed=False, hop=1e-6)).communication.seconds


@answers("tpus-q6-ici")
def gather_to_every_chip() -> float:
    """What each of 4 x 4 chips has of 16 GB goes to all: the 15 GB that one lacks come in by its two links."""
    gathered = alone(lambda x: jax.lax.all_gather(x, ("x", "y"), tiled=True), {"x": 4, "y": 4}, P(("x", "y")), P(),
                     cm.spec((16_000, 1_000_000), INT8))
    return gathered.roofline(device(closed=False)).communication.seconds


@answers("sharding-quiz2b")
def gather_along_a_line() -> float:
    gathered = alone(lambda x: jax.lax.all_gather(x, "y", tiled=True), {"y": 4}, P("y"), P(), cm.spec((2048, 8192), BF16))
    return gathered.roofline(device(closed=False)).communication.seconds


CUBE = {"x": 4, "y": 4, "z": 4}


@answers("sharding-q2a")
def gather_one_axis() -> float:
    gathered = cm.analyze(lambda x: x, shape("b d"), verify=False, mesh=CUBE, in_shardings=P("x", "y"), out_shardings=P(None, "y"))
    return at(gathered.communication(V4P(), large="x"), b=1024, d=4096, y=4)


@answers("sharding-q2c")
def sum_over_one_axis() -> float:
    summed = alone(lambda x: jax.lax.psum(x, "z"), CUBE, P(), P(), shape("b d"))
    return at(summed.communication(V4P(), large="z"), b=1024, d=4096)


@answers("sharding-q4")
def gather_first_or_sum_later() -> float:
    """Sending the partial products of D/X rows each, against computing all of the product with the gathered matrix."""
    summed = product("b d", "d f", mesh={"x": 16}, in_shardings=(P(None, "x"), P("x")), out_shardings=P())
    gathered = alone(lambda x, w: x @ jax.lax.all_gather(w, "x", tiled=True), {"x": 16}, (P(), P("x")), P(), shape("b d"),
                     shape("d f"))
    assert [row.kind for row in summed.collectives()] == ["all_reduce"]
    return float(solve.communication_bound(summed, "d", V5P(), large="x", computing=gathered).value)


@answers("training-fsdp")
def fully_sharded_parameters() -> float:
    """A matrix that is gathered for the tokens of each chip."""
    layer = product("n d", "d f", mesh={"data": 64}, in_shardings=(P("data"), P("data")), out_shardings=P("data"))
    assert [row.kind for row in layer.collectives()] == ["all_gather"]
    along_three = solve.communication_bound(layer, "n", V5P(), per="data", large="data", topology={"data": "ICI 3"})
    assert along_three.each == 850  # as the source says of three axes
    return float(solve.communication_bound(layer, "n", V5P(), per="data", large="data").each)


# -- what is held -------------------------------------------------------------------------------------------------------------


@answers("sharding-quiz1b")
def replicated_bytes() -> float:
    held = cm.analyze(lambda w: w, cm.spec((128, 2048), INT8), verify=False, params=0, mesh={"x": 2, "y": 8, "z": 2},
                      in_shardings=P(("x", "y")), out_shardings=P(("x", "y")))
    return held.at().all_devices.live_peak()


@answers("transformers-q2")
def operations_of_a_device() -> float:
    layer = product("b d", "d f", mesh={"x": 4, "y": 8, "z": 4}, in_shardings=(P("x", "y"), P("y")), out_shardings=P("x"))
    return 2 * layer.at(b=64, d=64, f=64).macs / (2 * 64**3)


LLAMA_HEADS = {"dtype": jnp.bfloat16, "scan": True}


@dataclasses.dataclass(frozen=True)
class Wide(llama.Config):
    """Heads of 256."""

    @property
    def head_width(self) -> int:
        return 256


def of(config: llama.Config):
    return cm.analyze(llama.Llama(config), shape("b s", "int32"), verify=False)


@answers("transformers-q1a")
def parameters_of_64_layers() -> float:
    return of(llama.Config(layers=64, width=4096, heads=32, kv_heads=32, hidden=4 * 4096, **LLAMA_HEADS)).params


@answers("inference-q1")
def parameters_with_grouped_queries() -> float:
    """Less the matrix of the head, which is the embedding's here."""
    untied = of(Wide(layers=64, width=4096, heads=32, kv_heads=8, hidden=16384, vocabulary=32128, **LLAMA_HEADS))
    return untied.params - 32128 * 4096


LLAMA3_70B = llama.Config(layers=80, width=8192, heads=64, kv_heads=8, hidden=28672, vocabulary=128256, **LLAMA_HEADS)


def adam_in_float32() -> optax.GradientTransformation:
    """Two moments in float32 for each parameter, whatever its own type."""
    def init(params):
        zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params)
        return zeros, zeros

    def update(gradients, state, params=None):
        first, second = state
        wide = jax.tree.map(lambda g: g.astype(jnp.float32), gradients)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, wide)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, wide)
        steps = jax.tree.map(lambda m, v, g: (-1e-3 * m / (jnp.sqrt(v) + 1e-8)).astype(g.dtype), first, second, gradients)
        return steps, (first, second)

    return optax.GradientTransformation(init, update)


@answers("training-q2a")
def parameters_and_moments() -> float:
    config = llama.Config(layers=40, width=5120, heads=40, kv_heads=40, hidden=13824, **LLAMA_HEADS)
    step = cm.analyze_training(llama.Llama(config), shape("b s", "int32"), loss=lambda y: y.mean(), optimizer=adam_in_float32(),
                               verify=False)
    return step.model_size() + step.metric("optimizer_state")


@answers("applied-inf-2")
def parameters_and_cache() -> float:
    """A step of decoding with a batch of 32 and 8192 positions, everything in int8."""
    c = LLAMA3_70B
    b, t = cm.dims("b t", where="t >= 2")
    cache = cm.spec((c.layers, b, t, c.kv_heads, c.head_width), BF16)
    step = cm.analyze(llama.Llama(c), cm.spec((b, 1), "int32"), cache, cache, verify=False).reprice(INT8)
    return solve.fits(step.at(b=32, t=8192), "1TB", uses="weights+cache")[0].used


@answers("tpus-q1")
def reading_all_weights() -> float:
    """The lower bound of a step of decoding, with the matrices of 2e11 parameters shared by 32 chips."""
    step = product("b d", "d f", mesh={"model": 32}, in_shardings=(P(), P(None, "model")), out_shardings=P(None, "model"))
    return step.roofline(V4P(), b=1, d=200_000, f=1_000_000).lower


@answers("inference-quiz1")
def a_step_of_four_sequences() -> float:
    """30e9 parameters and a cache of 819 MB a sequence, all in int8 and shared by 16 chips."""
    def step(x, w, q, cache):
        return (jnp.matmul(x, w, preferred_element_type=jnp.int8),
                jnp.einsum("bh,bth->bt", q, cache, preferred_element_type=jnp.int8))

    cost = cm.analyze(step, shape("b d", INT8), shape("d f", INT8), shape("b h", INT8), shape("b t h", INT8), verify=False,
                      mesh={"model": 16}, in_shardings=(P(), P(None, "model"), P(), P(None, "model")),
                      out_shardings=P(None, "model"))
    return cost.roofline(device(memory=8.1e11, int8=3.94e14), b=4, d=30_000, f=1_000_000, t=800_000, h=1024).lower


@answers("applied-train-4")
def a_training_step_of_70b() -> float:
    """Parameters, moments, and four results a layer for each of four million tokens."""
    c, names = LLAMA3_70B, ("queries", "attended", "mixed")
    width, keys = c.width, c.kv_heads * c.head_width
    layer = {"q": (width, width), "k": (width, keys), "v": (width, keys), "o": (width, width), "gate": (width, c.hidden),
             "up": (width, c.hidden), "down": (c.hidden, width)}
    params = {"layers": {name: cm.spec((c.layers, *sizes), BF16) for name, sizes in layer.items()},
              "embed": cm.spec((c.vocabulary, width), BF16), "head": cm.spec((width, c.vocabulary), BF16)}

    def block(x, w):
        q = checkpoint_name(x @ w["q"], "queries")
        mixed = q * jnp.tile((x @ w["k"]) * (x @ w["v"]), c.heads // c.kv_heads)  # what attention keeps is what goes into it
        y = x + checkpoint_name(checkpoint_name(mixed, "attended") @ w["o"], "mixed")
        return y + (jax.nn.silu(y @ w["gate"]) * (y @ w["up"])) @ w["down"]

    saving = jax.checkpoint(block, policy=jax.checkpoint_policies.save_only_these_names(*names))

    def model(w, tokens):
        x, _ = jax.lax.scan(lambda x, layer: (saving(x, layer), None), w["embed"][tokens], w["layers"])
        return x @ w["head"]

    step = cm.analyze_training(model, params, cm.spec((cm.dims("n"),), "int32"), loss=lambda y: y.mean(),
                               optimizer=adam_in_float32(), params=0, verify=False).at(n=4_000_000)
    return step.model_size() + step.metric("optimizer_state") + 1.0 * step.saved()


@pytest.mark.parametrize("question", QUESTIONS)
def test_worked_questions(question):
    asked = QUESTIONS[question]
    answer = float(asked["answer"])
    assert ANSWERS[question]() == pytest.approx(answer, rel=float(asked["relative_tolerance"]), abs=0)


def test_every_question_is_answered():
    assert len(QUESTIONS) == 19 and set(ANSWERS) == set(QUESTIONS)
