"""A Pallas kernel without an estimate costs its body as often as its grid has places, and is marked as bounded."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

import costmodel as cm
from costmodel.rules import scoped

N, M, K = cm.symbols("n m k")
n, m, k = cm.dims("n m k", multiple_of=16)


def tiles(x_ref, y_ref, out_ref):
    @pl.when(pl.program_id(2) == 0)
    def _():
        out_ref[...] = jnp.zeros_like(out_ref)

    out_ref[...] += x_ref[...] @ y_ref[...]


def matmul(x, y, tile=16):
    (rows, depth), columns = x.shape, y.shape[1]
    return pl.pallas_call(
        tiles, grid=(rows // tile, columns // tile, depth // tile), out_shape=jax.ShapeDtypeStruct((rows, columns), x.dtype),
        in_specs=[pl.BlockSpec((tile, tile), lambda i, j, p: (i, p)), pl.BlockSpec((tile, tile), lambda i, j, p: (p, j))],
        out_specs=pl.BlockSpec((tile, tile), lambda i, j, p: (i, j)))(x, y)


def rowwise(body, rows=8):
    """A kernel over blocks of rows."""
    def kernel(x_ref, out_ref):
        out_ref[...] = body(x_ref[...])

    def call(x):
        block = pl.BlockSpec((rows, x.shape[1]), lambda i: (i, 0))
        return pl.pallas_call(kernel, grid=(x.shape[0] // rows,), in_specs=[block], out_specs=block,
                              out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype))(x)
    return call


def test_a_product_by_tiles_is_the_product():
    """Every tile's product, and its sum into the result; operands and result cross the border once."""
    cost = cm.analyze(matmul, cm.spec((n, k)), cm.spec((k, m)))
    whole = cm.analyze(jnp.matmul, cm.spec((n, k)), cm.spec((k, m)))
    assert cost.macs == whole.macs == N * M * K
    assert cost.flops.expand() == 2 * N * M * K + N * M * K / 16
    assert [cost.bytes(form) for form in ("compulsory", "unfused", "xla-tpu")] == [
        whole.bytes(form) for form in ("compulsory", "unfused", "xla-tpu")]
    assert cost.live_peak() == whole.live_peak()
    (kernel,) = cost.kernels("xla-gpu")
    assert kernel.main.status == "bounded"
    cost.verify(n=32, m=48, k=64)


@pytest.mark.parametrize("body", [jax.nn.softmax, jnp.tanh, lambda x: x * x.sum(axis=1, keepdims=True),
                                  lambda x: lax.fori_loop(0, 5, lambda i, c: jnp.sin(c) * 2.0, x)])
def test_a_kernel_over_rows_costs_what_its_body_does_on_all_rows(body):
    cost, whole = (cm.analyze(f, cm.spec((n, 32))) for f in (rowwise(body), body))
    assert cost.transcendentals == whole.transcendentals
    assert cost.flops.expand() == whole.flops.expand()
    assert cost.bytes("unfused") == 2 * 4 * 32 * N


def test_the_dearest_branch_of_a_kernel_counts_in_every_place_of_the_grid():
    cost = cm.analyze(rowwise(lambda x: lax.cond(x[0, 0] > 0, jnp.exp, lambda x: x, x)), cm.spec((n, 32)))
    assert cost.transcendentals == 32 * N
    assert cost.flops == N / 8  # the comparison


def test_a_mapped_kernel_and_one_in_a_loop_run_as_often():
    single = cm.analyze(rowwise(jnp.sin), cm.spec((64, 32)))
    assert cm.analyze(jax.vmap(rowwise(jnp.sin)), cm.spec((7, 64, 32))).transcendentals == 7 * single.transcendentals
    looped = cm.analyze(lambda x: lax.fori_loop(0, 5, lambda i, c: rowwise(jnp.sin)(c), x), cm.spec((64, 32)))
    assert looped.transcendentals == 5 * single.transcendentals


def test_a_grid_that_the_data_decides_is_a_symbol():
    def kernel(x_ref, out_ref):
        out_ref[...] = jnp.sin(x_ref[...])

    def call(steps, x):
        block = pl.BlockSpec((8, 32), lambda i: (i, 0))
        return pl.pallas_call(kernel, grid=(steps,), in_specs=[block], out_specs=block,
                              out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype))(x)

    cost = cm.analyze(call, cm.spec((), "int32"), cm.spec((64, 32)))
    assert cost.transcendentals == 8 * 32 * cm.symbols("trips_0")


def test_a_loop_in_a_kernel_that_the_data_bounds_has_a_symbol_of_its_own():
    def call(x):
        inner = rowwise(lambda x: lax.while_loop(lambda c: c.sum() < 5, jnp.sin, x))
        return inner(lax.while_loop(lambda c: c.sum() < 3, jnp.exp, x))

    cost = cm.analyze(call, cm.spec((64, 32)))
    assert cost.transcendentals == 64 * 32 * (cm.symbols("trips_0") + cm.symbols("trips_1"))


def test_memory_of_a_kernels_own_is_on_the_chip():
    def kernel(x_ref, out_ref):
        def inside(scratch):
            scratch[...] = jnp.sin(x_ref[...])
            out_ref[...] = scratch[...] + x_ref[...]

        pl.run_scoped(inside, pltpu.VMEM((64, 32), jnp.float32))

    cost = cm.analyze(lambda x: pl.pallas_call(kernel, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype))(x), cm.spec((64, 32)))
    assert (cost.transcendentals, cost.flops) == (64 * 32, 64 * 32)
    assert cost.bytes("unfused") == 2 * 4 * 64 * 32


def test_copies_that_a_kernel_starts_itself_are_its_operands_and_results():
    def kernel(x_hbm, out_hbm):
        def inside(scratch, done):
            into = pltpu.make_async_copy(x_hbm, scratch, done)
            into.start()
            into.wait()
            scratch[...] = jnp.sin(scratch[...])
            out = pltpu.make_async_copy(scratch, out_hbm, done)
            out.start()
            out.wait()

        pl.run_scoped(inside, pltpu.VMEM((64, 32), jnp.float32), pltpu.SemaphoreType.DMA)

    anywhere = pl.BlockSpec(memory_space=pl.ANY)
    cost = cm.analyze(lambda x: pl.pallas_call(kernel, in_specs=[anywhere], out_specs=anywhere,
                                               out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype))(x), cm.spec((64, 32)))
    assert (cost.transcendentals, cost.bytes("unfused")) == (64 * 32, 2 * 4 * 64 * 32)


def test_a_few_blocks_of_a_large_table_are_read():
    def kernel(table_ref, out_ref):
        out_ref[...] = table_ref[...] * 2.0

    def call(table):
        return pl.pallas_call(kernel, grid=(3,), in_specs=[pl.BlockSpec((8, 128), lambda i: (5 * i, 0))],
                              out_specs=pl.BlockSpec((8, 128), lambda i: (i, 0)),
                              out_shape=jax.ShapeDtypeStruct((24, 128), table.dtype))(table)

    assert cm.analyze(call, cm.spec((8000, 128))).bytes("unfused") == 2 * 4 * 24 * 128


def test_jaxs_own_attention_kernel_does_the_two_products():
    attention = pytest.importorskip("jax.experimental.pallas.ops.gpu.attention", reason="jax's Triton kernels")
    batch, length, heads, depth = 2, 128, 4, 64
    q = cm.spec((batch, length, heads, depth), "float16")
    cost = cm.analyze(lambda q, k, v: attention.mha(q, k, v, None), q, q, q)
    assert cost.macs == 2 * batch * heads * length**2 * depth
    assert cost.bytes("unfused") == 4 * 2 * batch * heads * length * depth


def test_what_a_body_has_no_rule_for_is_named():
    invented = jax.extend.core.Primitive("invented_by_a_kernel")
    invented.def_abstract_eval(lambda x: x)
    with pytest.raises(cm.UnknownPrimitive, match=r"invented_by_a_kernel.*inside a pallas_call: give it a pl.CostEstimate"):
        cm.analyze(rowwise(lambda x: invented.bind(x)), cm.spec((64, 32)))
    with pytest.warns(UserWarning, match="UNKNOWN: pallas_call x1"):
        cm.analyze(rowwise(lambda x: invented.bind(x)), cm.spec((64, 32)), unknown="warn")


def test_a_users_rule_goes_before_the_body():
    with scoped({"pallas_call": lambda eqn, **_: eqn.work(read=[1])}):
        cost = cm.analyze(rowwise(jnp.sin), cm.spec((64, 32)))
    assert cost.transcendentals == 0
