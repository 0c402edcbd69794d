"""Optimised HLO, read kernel by kernel: XLA's own total is met where it counts what we count, and what is touched where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from costmodel.bench import hlo
from costmodel.bench.hlo_kernels import kernels
from costmodel.errors import CostModelError

FOLDER = Path(__file__).parents[1] / "data" / "compilers"
X, W = (64, 96), (96, 128)


def compiled(function: Any, *shapes: Any) -> tuple[hlo.Module, float]:
    """The program as XLA optimises it for this machine's processor, and XLA's own ``bytes accessed``."""
    specs = [jax.ShapeDtypeStruct(s, "float32") if isinstance(s, tuple) else s for s in shapes]
    program = jax.jit(function).lower(*specs).compile()
    return hlo.parse(program.as_text()), program.cost_analysis()["bytes accessed"]


def beyond(module: hlo.Module, xlas: float) -> float:
    """What XLA counts beyond its rule for kernels, in bytes for each element of each tuple: a pointer, which is 8 bytes (4 from jax
    0.12 on); 0 where there is no tuple."""
    visited = [module.entry, *(module.called(i, part) for i in module.entry.instructions.values() if i.opcode == "while"
                               for part in ("condition", "body"))]
    elements = sum(len(i.operands) for c in visited for i in c.instructions.values() if i.opcode == "tuple")
    more = xlas - sum(k.stated for k in kernels(module))
    return more / elements if elements else more


def logical(module: hlo.Module) -> float:
    return sum(k.bytes * k.times for k in kernels(module))


def network(w: jax.Array, k: jax.Array, x: jax.Array) -> jax.Array:
    x = lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    x = lax.reduce_window(jnp.maximum(x, 0), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return jax.nn.softmax(x.mean((1, 2)) @ w)


def halves(x: jax.Array) -> jax.Array:
    return x[:, :64] @ x[:, 64:].T


INDEX = jax.ShapeDtypeStruct((5,), "int32")
POSITION = jax.ShapeDtypeStruct((), "int32")
WHOLE = {
    "elementwise": (lambda x: jnp.exp(x) * 2 + 1, X),
    "two dots": (lambda w, x: jnp.tanh(x @ w) @ w.T, W, X),
    "layer norm": (lambda x: (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-6), X),
    "attention": (lambda q, k: jax.nn.softmax(q @ k.T) @ k, X, X),
    "cache": (lambda cache, new, at: lax.dynamic_update_slice(cache, new, (at, 0)), X, (1, 96), POSITION),
    "gradient": (jax.grad(lambda w, x: (jnp.tanh(x @ w) ** 2).sum()), W, X),
    "two results": (lambda x: (x + 1, x.sum(0)), X),
    "sort": (lambda x: jnp.sort(x, axis=0), X),
}


@pytest.mark.parametrize("name", WHOLE)
def test_logical_bytes_are_xlas_where_everything_is_touched(name):
    function, *shapes = WHOLE[name]
    module, xlas = compiled(function, *shapes)
    assert logical(module) == sum(k.stated for k in kernels(module))
    assert beyond(module, xlas) in (0, 4, 8)


PARTS = {
    "gather": (lambda table, i: table[i], (1000, 96), INDEX),
    "scatter": (lambda table, i: table.at[i].add(1.0), (1000, 96), INDEX),
    "split": (lambda w, b, x: halves(x @ w + b), W, (128,), X),
    "cache, read": (lambda cache, new, at: lax.dynamic_update_slice(cache, new, (at, 0)) * 2.0, X, (1, 96), POSITION),
    "network": (network, (32, 10), (3, 3, 4, 32), (2, 16, 16, 4)),
    "scan": (lambda w, xs: lax.scan(lambda c, x: (jnp.tanh(c @ w + x),) * 2, xs[0], xs), (96, 96), (7, 4, 96)),
    "while": (lambda x: lax.fori_loop(0, 5, lambda i, c: jnp.sin(c) + i, x), X),
}


@pytest.mark.parametrize("name", PARTS)
def test_xlas_rule_is_known_where_it_counts_otherwise(name):
    function, *shapes = PARTS[name]
    module, xlas = compiled(function, *shapes)
    assert beyond(module, xlas) in (0, 4, 8)
    assert logical(module) != sum(k.stated for k in kernels(module))


def test_a_loop_runs_as_often_as_it_says():
    """The body of a scan is counted so many times as it has steps; XLA counts it once."""
    def rnn(w, xs):
        return lax.scan(lambda c, x: (jnp.tanh(c @ w + x), None), jnp.zeros((4, 96)), xs)[0]

    dots = {}
    for steps in (7, 70):
        module, _ = compiled(rnn, (96, 96), (steps, 4, 96))
        dots_only = [k for k in kernels(module) if k.kind == "dot"]
        assert [k.times for k in dots_only] == [steps]
        dots[steps] = sum(k.bytes * k.times for k in dots_only)
    assert dots[70] == 10 * dots[7] >= 70 * 4 * (96 * 96 + 2 * 4 * 96)


# -- what is touched ----------------------------------------------------------------------------------------------------------


def module(body: str, entry: str) -> hlo.Module:
    return hlo.parse(f"HloModule m\n\n%f {body}\n}}\n\nENTRY %main {entry}\n}}\n")


ROWS = """(p0: f32[1000,8], p1: s32[5,1]) -> f32[5,8] {
  %p0 = f32[1000,8]{1,0} parameter(0)
  %p1 = s32[5,1]{1,0} parameter(1)
  %scaled = f32[1000,8]{1,0} multiply(%p0, %p0)
  ROOT %rows = f32[5,8]{1,0} gather(%scaled, %p1), offset_dims={1}, metadata={op_name="jit(f)/embed/gather"}"""
ROWS_ENTRY = """(a: f32[1000,8], b: s32[5,1]) -> f32[5,8] {
  %a = f32[1000,8]{1,0} parameter(0)
  %b = s32[5,1]{1,0} parameter(1)
  ROOT %fusion = f32[5,8]{1,0} fusion(%a, %b), kind=kLoop, calls=%f"""


def test_a_gather_touches_its_rows_through_what_stands_before_it():
    (kernel,) = kernels(module(ROWS, ROWS_ENTRY))
    assert (kernel.kind, kernel.op_name) == ("gather", "jit(f)/embed/gather")
    assert kernel.bytes == 4 * (5 * 8 + 5 * 8 + 5)
    assert kernel.stated == 4 * (1000 * 8 + 5 + 5 * 8)


UPDATE = """(p0: f32[100,8], p1: f32[1,8], p2: s32[]) -> f32[100,8] {{
  %p0 = f32[100,8]{{1,0}} parameter(0)
  %p1 = f32[1,8]{{1,0}} parameter(1)
  %p2 = s32[] parameter(2)
  %zero = s32[] constant(0)
  %same = f32[100,8]{{1,0}} {view}(%p0)
  ROOT %new = f32[100,8]{{1,0}} dynamic-update-slice(%same, %p1, %p2, %zero)"""
UPDATE_ENTRY = """(a: f32[100,8], b: f32[1,8], c: s32[]) -> f32[100,8] {
  %a = f32[100,8]{1,0} parameter(0)
  %b = f32[1,8]{1,0} parameter(1)
  %c = s32[] parameter(2)
  ROOT %fusion = f32[100,8]{1,0} fusion(%a, %b, %c), kind=kLoop, calls=%f"""


@pytest.mark.parametrize(("view", "elements"), [("bitcast", 8 + 8 + 1), ("negate", 8 + 1 + 100 * 8 + 100 * 8)])
def test_an_update_in_place_touches_what_it_writes(view, elements):
    """Into a parameter's memory it writes the update alone; of anything computed it writes the whole."""
    (kernel,) = kernels(module(UPDATE.format(view=view), UPDATE_ENTRY))
    assert (kernel.kind, kernel.bytes) == ("update", 4 * elements)


LIBRARY = """ENTRY %main (x: f32[8,16], w: f32[16,4]) -> f32[8,4] {
  %x = f32[8,16]{1,0} parameter(0)
  %w = f32[16,4]{1,0} parameter(1)
  %call = (f32[8,4]{1,0}, s8[4096]{0}) custom-call(%x, %w), custom_call_target="__cublas$gemm"
  ROOT %y = f32[8,4]{1,0} get-tuple-element(%call), index=0
}
"""


def test_a_library_call_moves_its_operands_and_result_and_no_workspace():
    (kernel,) = kernels(hlo.parse(LIBRARY))
    assert (kernel.kind, kernel.bytes, kernel.stated) == ("dot", 4 * (8 * 16 + 16 * 4 + 8 * 4), -1)


CONVOLUTION = """ENTRY %main (x: f32[1,8,8,6], w: f32[3,3,{inputs},6]) -> f32[1,8,8,6] {{
  %x = f32[1,8,8,6]{{3,2,1,0}} parameter(0)
  %w = f32[3,3,{inputs},6]{{3,2,1,0}} parameter(1)
  ROOT %y = f32[1,8,8,6]{{3,2,1,0}} convolution(%x, %w), window={{size=3x3}}, dim_labels=b01f_01io->b01f{rest}
}}
"""


@pytest.mark.parametrize(("inputs", "rest", "kind"), [
    (6, "", "conv"), (3, ", feature_group_count=2", "conv"), (1, ", feature_group_count=6", "depthwise conv"),
    (6, ', metadata={op_name="jit(f)/dot_general"}', "dot")])
def test_kinds_of_convolutions(inputs, rest, kind):
    (kernel,) = kernels(hlo.parse(CONVOLUTION.format(inputs=inputs, rest=rest)))
    assert kernel.kind == kind


BRANCHES = """%small (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %n = f32[8]{0} negate(%p)
}

%large (p.1: f32[8]) -> f32[8] {
  %p.1 = f32[8]{0} parameter(0)
  %m = f32[8]{0} negate(%p.1)
  ROOT %n.1 = f32[8]{0} negate(%m)
}

ENTRY %main (i: s32[], x: f32[8]) -> f32[8] {
  %i = s32[] parameter(0)
  %x = f32[8]{0} parameter(1)
  ROOT %c = f32[8]{0} conditional(%i, %x, %x), branch_computations={%small, %large}
}
"""


def test_the_dearer_branch_counts():
    assert [k.name for k in kernels(hlo.parse(BRANCHES))] == ["m", "n.1"]


# -- a TPU's memory spaces ----------------------------------------------------------------------------------------------------


def test_the_main_memory_of_a_tpu():
    """An LSTM of 64 steps and width 256 as the compiler for a TPU v5e leaves it: the weights cross the main memory's border once,
    not once a step; so do biases and inputs; each step writes its output. What is left are loop counters."""
    found = kernels(hlo.parse((FOLDER / "lstm_layer.tpu-v5e.hlo").read_text(encoding="utf-8")))
    weights, biases, inputs, outputs = 8 * 256 * 256, 4 * 256, 64 * 256, 64 * 256
    main = sum(k.main * k.times for k in found)
    assert 0 <= main - 4 * (weights + biases + inputs + outputs) < 64 * 32
    assert {k.times for k in found} == {1, 64}  # the bound stands in the loop's condition only
    assert sum(k.bytes * k.times for k in found) > 64 * 4 * weights  # on the chip they are read at every step
    assert [k.main for k in found if k.kind == "prefetch"] == [4 * 256, *[4 * 256 * 256] * 4]


COPIES = """ENTRY %main (x: f32[8,16], y: f32[8,16]) -> (f32[8,16], f32[8,16]) {
  %x = f32[8,16]{1,0} parameter(0)
  %y = f32[8,16]{1,0} parameter(1)
  %in = f32[8,16]{0,1} copy(%x)
  %on = f32[8,16]{0,1:S(1)} copy(%y)
  %sum = f32[8,16]{0,1} add(%in, %on)
  %again = f32[8,16]{1,0:S(1)} copy(%sum)
  %twice = f32[8,16]{1,0} add(%again, %again)
  %out = f32[8,16]{0,1} copy(%twice)
  %off = f32[8,16]{0,1} copy(%again)
  ROOT %results = (f32[8,16]{0,1}, f32[8,16]{0,1}) tuple(%out, %off)
}
"""


def test_copies_of_arguments_and_results_into_another_layout_are_told_apart():
    found = {k.name: k for k in kernels(hlo.parse(COPIES))}
    assert {k.kind for k in found.values()} == {"copy", "entry copy", "elementwise"}
    assert {name for name, k in found.items() if k.kind == "entry copy"} == {"in", "out"}
    for name in ("on", "off"):
        assert found[name].main == found[name].bytes / 2 == 4 * 8 * 16
    assert found["twice"].bytes == 2 * 4 * 8 * 16  # an operand that stands there twice is read once


# -- text that is none --------------------------------------------------------------------------------------------------------


FUSED = "HloModule m\n\n%f (x: f32[]) -> f32[] {\n  ROOT %x = f32[] parameter(0)\n}\n"


@pytest.mark.parametrize("text", ["", "module @jit_f {\n}\n", FUSED])
def test_what_is_no_optimised_hlo_is_said_to_be_none(text):
    with pytest.raises(CostModelError, match="no optimised HLO: no entry computation"):
        hlo.parse(text)
