"""Fusion policies: against XLA's compiler for this machine, and laws that hold for every program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from jax import lax
from test_random_programs import BRIEF, PROGRAMS, SIZES, N, analyzed, run

import costmodel as cm
from costmodel.errors import CostModelError
from costmodel.fusion import plan, policies, rewritten
from costmodel.rules.work import CostTable
from costmodel.symbolic.forms import evaluate, symbol

COMPILERS = ("xla-cpu", "xla-gpu", "xla-tpu", "ideal")


def spec(*shape: int, dtype: str = "float32") -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


def layer_norm(x, scale, bias):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-6) * scale + bias


def root_mean_square(x, scale):
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * scale


def convolution(x, kernel, bias):
    channels_last = ("NHWC", "HWIO", "NHWC")
    return jax.nn.relu(lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=channels_last) + bias)


def residual(x, w):
    y = jnp.exp(x)
    return y + jnp.sin(y @ w)


# name -> function, inputs, kinds of the kernels that a GPU runs
PROGRAMS_OF_A_KIND: dict[str, tuple[Any, tuple[Any, ...], list[str]]] = {
    "a chain of operations": (lambda x, y: jnp.tanh(x * 2 + y) * x, (spec(64, 128), spec(64, 128)), ["elementwise"]),
    "a linear layer": (lambda x, w, b: jax.nn.relu(x @ w + b), (spec(64, 128), spec(128, 256), spec(256)), ["dot"]),
    "a masked product": (lambda x, w, mask: jnp.where(mask, x @ w, -1e9),  # a mask is no bias: one value an element
                         (spec(64, 128), spec(128, 256), spec(64, 256, dtype="bool")), ["dot", "elementwise"]),
    "a reshaped product": (lambda x, w: jax.nn.relu((x @ w).reshape(8, 8, 256)), (spec(64, 128), spec(128, 256)), ["dot"]),
    "two linear layers": (lambda x, w, v: jax.nn.relu(x @ w) @ v, (spec(64, 128), spec(128, 256), spec(256, 32)), ["dot", "dot"]),
    "root-mean-square normalisation": (root_mean_square, (spec(64, 128), spec(128)), ["reduce"]),
    "layer normalisation": (layer_norm, (spec(64, 128), spec(128), spec(128)), ["reduce", "reduce"]),
    "a residual": (residual, (spec(64, 128), spec(128, 128)), ["dot", "elementwise"]),
    "sums of columns": (lambda x: (x * x).sum(0), (spec(64, 128),), ["reduce"]),
    "two sums of lines": (lambda x: (x.sum(1), (x * x).sum(1)), (spec(64, 128),), ["reduce"]),
    "a convolution": (convolution, (spec(2, 16, 16, 8), spec(3, 3, 8, 16), spec(16)), ["copy", "conv"]),
    "pooling": (lambda x: lax.reduce_window(jnp.exp(x), -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"),
                (spec(2, 17, 17, 8),), ["window"]),
    "two halves": (lambda x: x[:, :64] * x[:, 64:], (spec(64, 128),), ["elementwise"]),
    "an exponential used twice": (lambda x: [(y := jnp.exp(x)) + 1, y * 2], (spec(64, 128),), []),
    "a sum that is a result and goes on": (lambda p, m, g: [(after := 0.9 * m + 0.1 * g), p - after], (spec(64, 128),) * 3, []),
    "a transposition": (lambda x: jnp.exp(x).T + 1, (spec(64, 128),), ["elementwise"]),
    "a gradient": (jax.grad(lambda w, x: jnp.tanh(x @ w).sum()), (spec(128, 64), spec(32, 128)), []),  # as jax has it
}


@pytest.mark.parametrize("name", PROGRAMS_OF_A_KIND)
def test_bytes_on_a_processor_are_what_xla_says_of_its_compiled_program(name):
    function, inputs, _ = PROGRAMS_OF_A_KIND[name]
    ours = float(cm.analyze(function, *inputs).bytes("xla-cpu"))
    theirs = jax.jit(function).lower(*inputs).compile().cost_analysis()["bytes accessed"]
    # XLA computes what is one value a line or a program (a mean's 1/n, a root of a variance) in kernels of their own.
    assert ours == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("name", [name for name, (_, _, kinds) in PROGRAMS_OF_A_KIND.items() if kinds])
def test_kernels_of_a_gpu(name):
    function, inputs, kinds = PROGRAMS_OF_A_KIND[name]
    assert [k.kind for k in cm.analyze(function, *inputs).kernels("xla-gpu")] == kinds


def test_softmax_is_one_pass_where_its_line_is_kept():
    b, h, n, d = cm.dims("b h n d")
    cost = cm.analyze(lambda x: jax.nn.softmax(x), cm.spec((b, h, n, d)))
    for policy in ("xla-cpu", "xla-gpu", "ideal"):
        assert cost.bytes(policy) == 8 * symbol("b") * symbol("h") * symbol("n") * symbol("d")


def test_a_gather_reads_what_it_takes():
    cost = cm.analyze(lambda table, rows: table[rows] * 2, spec(50000, 64), spec(16, dtype="int32"))
    for policy in COMPILERS:
        assert cost.bytes(policy) == 16 * 64 * 4 * 2 + 16 * 4


def test_an_update_in_place_is_what_it_writes():
    def update(cache, token, i):
        return lax.dynamic_update_slice(cache, token, (i, 0))

    cost = cm.analyze(update, spec(50000, 64), spec(1, 64), spec(dtype="int32"))
    for policy in policies():
        assert 2 * 256 <= cost.bytes(policy) < 3 * 256  # and where to: some scalars


def test_what_a_loop_does_not_change_is_moved_once():
    def body(carry, row):
        return carry + 1, row @ jnp.concatenate([carry, carry], axis=1)

    t, d = cm.dims("t d")
    cost = cm.analyze(lambda w, xs: lax.scan(body, w, xs)[1], cm.spec((d, d)), cm.spec((t, 8, d)))
    copies = [k for k in cost.kernels("xla-cpu") if any(e.primitive == "concatenate" for e in k.equations)]
    assert [k.times for k in copies] == [symbol("t")]

    def constant(w, xs):
        return lax.scan(lambda c, row: (c, row @ jnp.concatenate([w, w], axis=1)), 0.0, xs)[1]

    copies = [k for k in cm.analyze(constant, cm.spec((d, d)), cm.spec((t, 8, d))).kernels("xla-cpu")
              if any(e.primitive == "concatenate" for e in k.equations)]
    assert [k.times for k in copies] == [1]


def test_a_depthwise_gradient_on_a_processor_is_computed_for_every_pair_of_channels():
    def loss(kernel, x):
        return (lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
                                         feature_group_count=x.shape[-1]) ** 2).sum()

    gradient = cm.analyze(jax.grad(loss), spec(3, 3, 1, 32), spec(2, 8, 8, 32))
    pairs = 4 * 9 * 32 * 32
    assert any(written * 4 == pairs for k in gradient.kernels("xla-cpu") for _, written in k.writes)
    assert not any(written * 4 == pairs for k in gradient.kernels("xla-gpu") for _, written in k.writes)


def test_the_table_of_kernels_adds_up_to_the_policys_bytes():
    n, d = cm.dims("n d")
    cost = cm.analyze(layer_norm, cm.spec((n, d)), cm.spec((d,)), cm.spec((d,)))
    table = cost.table(by="kernel", policy="xla-gpu")
    assert table.sum() == table.total
    assert table.total[-2] + table.total[-1] == cost.bytes("xla-gpu")
    with pytest.raises(CostModelError, match="by='kernel' goes with policy="):
        cost.table(by="kernel")
    with pytest.raises(CostModelError, match="by='kernel' goes with policy="):
        cost.table(policy="xla-gpu")


def test_a_kernel_runs_as_often_as_its_equations():
    """XLA compiles a loop's body apart: what is made outside is not computed inside."""
    def loop(x, rows):
        outside = x * 2
        return lax.scan(lambda c, row: (c * outside + row, None), x, rows)[0]

    cost = cm.analyze(loop, cm.spec((8, 16)), cm.spec((cm.dims("t"), 8, 16)))
    for policy in policies():
        runs = {(k.times, e.times) for k in cost.kernels(policy) for e in (*k.equations, *k.again)}
        assert runs == {(1, 1), (symbol("t"), symbol("t"))}, policy


def test_branches_that_exclude_each_other_share_no_kernel():
    def program(p, x):
        return lax.cond(p, lambda a: jnp.sin(a) * 2, jnp.cos, x * 2)

    cost = cm.analyze(program, spec(dtype="bool"), spec(16, 8), branches="mean")
    for policy in policies():
        assert sum(e.work.count(lambda _: True) * e.times for k in cost.kernels(policy) for e in k.equations) == cost.program.sum(
            lambda e: e.work.count(lambda _: True)), policy


def test_a_part_of_a_product_still_needs_its_operands():
    for columns in (64, 65):  # as large as the result, or not
        cost = cm.analyze(lambda x, w: (x @ w)[:1], spec(64, 64), spec(64, columns))
        for policy in COMPILERS:
            assert cost.bytes(policy) >= 4 * (64 * 64 + 64 * columns + columns), policy


def test_parts_that_overlap_are_read_once():
    cost = cm.analyze(lambda x: (lambda e: e[:, :48] * e[:, 16:])(x + 1), spec(256, 64))
    for policy in COMPILERS:
        assert cost.bytes(policy) == 4 * 256 * (64 + 48), policy


def test_a_grouped_gradient_is_not_that_of_a_depthwise_one():
    def loss(kernel, x):
        return (lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
                                         feature_group_count=4) ** 2).sum()

    gradient = cm.analyze(jax.grad(loss), spec(3, 3, 4, 32), spec(2, 8, 8, 16))
    assert max(written for k in gradient.kernels("xla-cpu") for _, written in k.writes) <= 3 * 3 * 16 * 32


def test_what_two_loops_do_not_change_is_moved_once():
    def nested(w, xs):
        def inner(c, x):
            return c + (x @ jnp.concatenate([w.reshape(4, 8)] * 2, axis=1)).sum(), None

        return lax.scan(lambda c, x: (lax.scan(inner, c, x)[0], None), 0.0, xs)[0]

    kernels = cm.analyze(nested, spec(32), spec(3, 5, 2, 4)).kernels("xla-cpu")
    assert [k.times for k in kernels if any(e.primitive == "concatenate" for e in k.equations)] == [1]


def test_an_unknown_policy_is_named():
    with pytest.raises(CostModelError, match=r"unknown form of bytes 'best'; choose one of compulsory, unfused, layer, eager"):
        cm.analyze(jnp.sin, spec(3)).bytes("best")
    with pytest.raises(CostModelError, match="unknown fusion policy 'best'"):
        cm.analyze(jnp.sin, spec(3)).kernels("best")


# -- laws ---------------------------------------------------------------------------------------------------------------------


def check_order(table: CostTable, policy: str) -> None:
    """Every kernel reads what was there before it: inputs, constants, what a loop carries, and what earlier kernels wrote."""
    made_by_equations = {id(v) for e in table for v in e.outs}
    there = {id(v) for v, _ in table.carried}
    for kernel in plan(table, policy):
        for value, _ in kernel.reads:
            fresh = id(value) in made_by_equations and id(value) not in there
            maker = next((e for e in table if any(v is value for v in e.outs)), None)
            assert not fresh or maker.rule in ("branch_result", "view", "constant", "shape constant"), (policy, kernel.kind, maker)
        there |= {id(v) for v, _ in kernel.writes}


@BRIEF
@given(PROGRAMS, SIZES)
def test_kernels_read_what_was_written(program, sizes):
    cost = analyzed(run(program))
    for policy in policies():
        check_order(cost.program, policy)


@BRIEF
@given(PROGRAMS)
def test_every_operation_belongs_to_one_kernel(program):
    cost = analyzed(run(program))
    for policy in policies():
        counted = sum(e.work.count(lambda _: True) * e.times for k in cost.kernels(policy) for e in k.equations)
        # A compiler computes once what the program has twice, and not what changes nothing.
        assert (counted - rewritten(cost.program, policy).sum(lambda e: e.work.count(lambda _: True))).expand() == 0
        if policy != "xla-cpu":
            assert (counted - cost.program.sum(lambda e: e.work.count(lambda _: True))).expand() == 0


@BRIEF
@given(PROGRAMS, SIZES)
def test_kernels_of_a_formula_are_kernels_of_a_program(program, sizes):
    symbolic = analyzed(run(program))
    at = symbolic.at(**{name: value for name, value in zip(("n", "m"), sizes, strict=True) if name in symbolic.symbols})
    concrete = cm.analyze(run(program), cm.spec(sizes))
    for policy in policies():
        assert at.bytes(policy) == concrete.at().bytes(policy), policy


@BRIEF
@given(PROGRAMS, SIZES)
def test_fusing_saves_and_never_below_what_must_be_moved(program, sizes):
    cost = analyzed(run(program))
    env = cost.domain.bind({name: value for name, value in zip(("n", "m"), sizes, strict=True) if name in cost.symbols})
    size = {form: evaluate(cost.price("bytes", form=form), env) for form in ("compulsory", *policies())}
    assert size["ideal"] <= size["unfused"]
    assert size["compulsory"] <= min(size.values())


def test_the_order_of_kernels_can_be_found_wrong():
    x = cm.analyze(lambda x: jnp.sin(x @ x) @ x, cm.spec((N, N)))
    backwards = CostTable(x.program.equations[::-1], x.program.inputs, x.program.outputs)
    with pytest.raises(AssertionError):
        check_order(backwards, "unfused")


@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_joined_and_split_again_is_copied_where_it_is_a_result(axis):
    """XLA's module is one copy: it reads and writes the array once."""
    def half(x):
        return jnp.split(jnp.concatenate([x, x], axis), 2, axis)[1]

    n, m = cm.dims("n m")
    cost = cm.analyze(half, (n, m))
    at = cost.at(n=37, m=101)
    compiled = jax.jit(half).lower(jax.ShapeDtypeStruct((37, 101), "float32")).compile().cost_analysis()
    assert at.bytes("xla-cpu") == at.bytes("compulsory") == compiled["bytes accessed"] == 8 * 37 * 101
