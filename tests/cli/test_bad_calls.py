"""Bad calls: whatever a user asks of Python that cannot be meant is an error of one line that says what to do.

A table: calls, with the words that the line must have.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import costmodel as cm
from costmodel import solve
from costmodel.hardware import energy_tables, load, template
from costmodel.models import model
from costmodel.solve.compare import compare

N, D = cm.dims("n d")


@cache
def dense() -> Any:
    return cm.analyze(nn.Dense(10), cm.spec((N, D)))


@cache
def integers() -> Any:
    return cm.analyze(jnp.matmul, cm.spec((N, D), "int16"), cm.spec((D, N), "int16"))


def squares(y: Any) -> Any:
    return (y**2).sum()


def step(**options: Any) -> Any:
    return cm.analyze_training(nn.Dense(10), (N, D), **{"loss": squares, **options})


INPUTS = "Analyse the program with inputs of"
CALLED: dict[str, tuple[Callable[[], Any], str]] = {
    "dims: a name twice": (lambda: cm.dims("n n"), "named twice"),
    "dims: no name": (lambda: cm.dims(""), "cm.dims('n')"),
    "dims: a keyword": (lambda: cm.dims("for"), "use letters"),
    "dims: no value": (lambda: cm.dims("n", min=4, max=2), "n has no value"),
    "dims: min of 0": (lambda: cm.dims("n", min=0), "at least 1"),
    "an input as text": (lambda: cm.analyze(squares, "n,3"), "cm.spec"),
    "a class": (lambda: cm.analyze(nn.Dense, (N, D)), "pass an instance"),
    "no model": (lambda: cm.analyze(3, (N, D)), "neither a Flax module nor a function"),
    "flax's own Module": (lambda: cm.analyze(nn.Module(), (N, D)), "has no __call__"),
    "nnx's own Module": (lambda: cm.analyze(nnx.Module(), (N, D)), "has no __call__"),
    "a symbol of two domains": (lambda: cm.analyze(jnp.add, (N,), (cm.dims("n", multiple_of=8),)), "declared twice"),
    "a point without a symbol": (lambda: dense().at(n=1), "give a value for each of d, n"),
    "a point with another symbol": (lambda: dense().at(nn=1, d=1), "did you mean n"),
    "a point that is no integer": (lambda: dense().at(n=1.5, d=1), "is not an integer"),
    "a metric": (lambda: dense().metric("flop"), "did you mean flops"),
    "a metric's option": (lambda: dense().metric("flops", tap="valid"), "did you mean taps"),
    "a metric without options": (lambda: dense().metric("params", rule="total"), "params has no option 'rule'"),
    "taps": (lambda: dense().metric("flops", taps="vlid"), "did you mean valid"),
    "a form of bytes": (lambda: dense().bytes("compulsive"), "did you mean compulsory"),
    "a rule of activations": (lambda: dense().activations("peek"), "did you mean peak"),
    "a rule of what is saved": (lambda: dense().saved("residual"), "did you mean residuals"),
    "an order": (lambda: dense().live_peak(order="memry"), "did you mean memory"),
    "donate as text": (lambda: dense().live_peak(donate="input"), "donate=('input',)"),
    "donate as text, of a metric": (lambda: dense().metric("live_peak", donate="input"), "donate=('input',)"),
    "donate as text, of a profile": (lambda: dense().at(n=1, d=1).live_profile(donate="input"), "donate=('input',)"),
    "donate nothing of that name": (lambda: dense().live_peak(donate=("inputs",)), "did you mean input"),
    "a phase": (lambda: dense().filter_phase("bakward"), "did you mean backward"),
    "a large symbol": (lambda: dense().leading_order("batch"), "the symbols here are d, n"),
    "a dtype": (lambda: dense().reprice("bflot16"), "did you mean bfloat16"),
    "a layer": (lambda: model("mlp").analyze(verify=False).explain("linear_1"), "did you mean linear1"),
    "a policy": (lambda: dense().kernels("xla_gpu"), "did you mean xla-gpu"),
    "rows": (lambda: dense().table(by="layers"), "did you mean layer"),
    "depth of kernels": (lambda: dense().at(n=1, d=1).roofline("lecture").by("kernel", 1), "by='module'"),
    "depth of 0": (lambda: dense().at(n=1, d=1).roofline("lecture").by("module", 0), "at least 1"),
    "integers that a device has no peak for": (lambda: integers().roofline("h100-sxm", n=8, d=8), INPUTS),
    "integers repriced": (lambda: integers().reprice("int8").roofline("h100-sxm", n=8, d=8), INPUTS),
    "floats that a device has no peak for": (lambda: dense().reprice("float64").roofline("lecture", n=8, d=8), "reprice(dtype=…)"),
    "a device": (lambda: load("a100"), "did you mean a100-pcie-40gb"),
    "energies as a device": (lambda: load(energy_tables()[0]), "energies only"),
    "a new device of an old name": (lambda: template("lecture"), "give another one"),
    "a symbol to solve for": (lambda: solve.max_fit(dense(), "m", "1GB"), "solve for one of"),
    "a symbol that is bound": (lambda: solve.max_fit(dense(), "n", "1GB", at={"n": 1, "d": 1}), "solve for one of"),
    "a sweep of another symbol": (lambda: dense().sweep(n=[1, 2], dd=[1]), "did you mean d"),
    "a sweep of nothing": (lambda: dense().sweep(n=[], d=[1]), "the grid of n is empty"),
    "a model": (lambda: model("resnet5"), "did you mean resnet50"),
    "what is unknown": (lambda: cm.analyze(squares, (N,), unknown="ignore"), "'warn'"),
    "branches": (lambda: cm.analyze(squares, (N,), branches="most"), "max"),
    "dims: no text": (lambda: cm.dims(3), "as text"),
    "dims: constraints that are no text": (lambda: cm.dims("n", where=3), "as text"),
    "dims: a bound as text": (lambda: cm.dims("n", min="4"), "min='4' must be an integer"),
    "dims: half a size": (lambda: cm.dims("n", min=2.5), "min=2.5 must be an integer"),
    "spec: text": (lambda: cm.spec("n,3"), "is no shape"), "spec: a size alone": (lambda: cm.spec(3), "3 is no shape"),
    "spec: half a size": (lambda: cm.spec((2.5,)), "is no shape"),
    "spec: a negative size": (lambda: cm.spec((-1, 3)), "is no shape"), "spec: no type": (lambda: cm.spec((2,), None), "no"),
    "a size of no bits": (lambda: dense().model_size(bits=0), "bits=0 must be"),
    "bits as text": (lambda: dense().model_size(bits="8"), "bits='8' must be"),
    "saturation within twice": (lambda: solve.saturation(dense(), "n", "lecture", at={"d": 3}, within=2), "between 0 and 1"),
    "a time that is none": (lambda: solve.max_batch(dense(), "n", "lecture", float("nan"), at={"d": 3}), "nan is no time"),
    "elasticities of formulas": (lambda: solve.elasticities(dense(), "lecture"), "at a point"),
    "formulas compared": (lambda: compare(dense(), dense()), "at points"),
    "the largest batch at a point": (lambda: solve.largest_batch(dense().at(n=1, d=1), "1GB", {}), "asked of formulas"),
    "blocks to depth 0": (lambda: dense().at(n=1, d=1).blocks(0), "depth=0 must be an integer of at least 1"),
    "blocks to depth text": (lambda: dense().at(n=1, d=1).blocks("all"), "depth='all' must be an integer"),
    "rows to half a depth": (lambda: dense().table(depth=1.5), "depth=1.5 must be an integer"),
    "energy to depth 0": (lambda: dense().at(n=1, d=1).energy("horowitz-45nm").by("module", 0), "depth=0 must be an integer"),
    "an axis of no mesh": (lambda: dense().wire_bytes("data"), "'data' is no axis of the mesh: the cost is of one device"),
    "a dtype that is none": (lambda: dense().reprice(8), "'8' is not a dtype"),
    "no dtype": (lambda: dense().reprice(None), "'None' is not a dtype"),
    "a device that is a number": (lambda: dense().sweep(n=[1], d=[1], hardware=[3]), "3 is no device"),
    "figures without values": (lambda: dense().sweep(n=[1], d=[1], hardware="lecture", vary=["bandwidth"]), "is no mapping"),
    "a bound beyond every number": (lambda: cm.dims("huge", min=10**400), "too large for jax"),
    "no device": (lambda: dense().at(n=1, d=1).roofline(3), "3 is no device"),
    "training in integers": (lambda: step(compute_dtype="int8"), "gradients need a floating type"),
    "training in 64 bits": (lambda: step(compute_dtype="float64"), "jax_enable_x64"),
    "inputs of 64 bits": (lambda: cm.analyze(squares, cm.spec((N,), "int64")), "jax_enable_x64"),
    "a loss by name": (lambda: step(loss="cross-entropy"), "is no function"),
    "a loss of more targets": (lambda: step(loss=lambda y, t: (y - t).sum()), "give targets=(…) for each"),
    "a loss of rows": (lambda: step(loss=lambda y: y), "take its mean or sum"),
    "a loss that is a pair": (lambda: step(loss=lambda y: (y.sum(), y)), "tuple"),
    "one target by itself": (lambda: step(loss=lambda y, t: (y - t).sum(), targets=cm.spec((N, 10))), "targets=(target,)"),
    "half a microbatch": (lambda: step(microbatches=2.5), "an integer of at least 1"),
    "a microbatch as text": (lambda: step(microbatches="2"), "an integer of at least 1"),
    "a fixed batch": (lambda: cm.analyze_training(nn.Dense(2), (9, D), loss=squares, microbatches=2), "does not divide a batch"),
    "remat: True": (lambda: step(remat=True), "choose one of none, full"),
    "remat: a list": (lambda: step(remat=["dots"]), "choose one of none, full"),
    "what is saved of a forward pass": (lambda: dense().saved(), "use analyze_training"),
    "side by side: nothing": (lambda: cm.side_by_side(), "one cost or more"),
    "side by side: no metrics": (lambda: cm.side_by_side(dense(), metrics=()), "their metrics by name"),
    "side by side: a name": (lambda: cm.side_by_side("mlp"), "is no cost"),
    "side by side: a list": (lambda: cm.side_by_side([dense(), dense()]), "each by itself"),
    "side by side: a number": (lambda: cm.side_by_side(dense(), metrics=[3]), "their metrics by name"),
    "side by side: a metric": (lambda: cm.side_by_side(dense(), metrics="mac"), "did you mean macs"),
    "params of a module": (lambda: cm.analyze(nn.Dense(2), (N, D), params=0), "has parameters of its own"),
    "text that is no cost": (lambda: cm.from_json("{}"), "cost"),
}


@pytest.mark.parametrize("call, words", CALLED.values(), ids=CALLED)
def test_what_is_called_wrong_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(cm.CostModelError) as raised:
        call()
    assert "\n" not in str(raised.value) and words in str(raised.value)


def test_what_is_meant_is_done() -> None:
    """Kin of what is refused above: one metric as text, no rematerialisation as None, halves of an even batch."""
    assert cm.side_by_side(dense(), metrics="macs").asked == ("macs",)
    assert dense().reprice(jnp.bfloat16).name == dense().reprice("bf16").name
    assert dense().at(n=jnp.int32(2), d=np.int64(3)).values == {"n": 2, "d": 3}
    assert step(remat=None).macs == step().macs
    assert dense().model_size(bits=np.int64(4)) == dense().model_size(bits=4)
    halves = step(microbatches=2)
    assert "2 | n" in halves.domain.texts and str(halves.domain).count("2 | n") == 1
    with pytest.raises(cm.CostModelError, match=r"n=9 is outside the domain 2 \| n"):
        halves.at(n=9, d=1)


def test_the_table_is_long_enough() -> None:
    assert len(CALLED) >= 40


def test_blocks_are_as_deep_as_asked() -> None:
    point = cm.analyze(nn.Sequential([nn.Dense(3), nn.Dense(2)]), cm.spec((N, D)), verify=False).at(n=2, d=2)
    assert [block.label for block in point.blocks(None).blocks] == [block.label for block in point.blocks(5).blocks]
