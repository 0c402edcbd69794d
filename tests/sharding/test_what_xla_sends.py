"""Programs that a hostile user writes: what XLA for processors sends of each, in bytes of one device by kind (jaxlib 0.10.2, a mesh
of 2 x 4), and what we say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import costmodel as cm
from costmodel.bench.mesh.judge import judge_over_mesh, sent

OVER = AbstractMesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
n, d, h, w, c = cm.dims("n d h w c", where="8 | n, 8 | d, 8 | h, 8 | w, 8 | c")
POINT = {"n": 64, "d": 128, "h": 32, "w": 16, "c": 16}
IMAGE, ROWS = P("data", "model"), P("data", "model")
Case = tuple[Callable[..., Any], tuple[Any, ...], Any, Any, dict[str, int]]
CASES: dict[str, Case] = {}


def case(function: Callable[..., Any], shapes: Any, into: Any, out: Any, **bytes: int) -> None:
    CASES[f"{len(CASES)} {'-'.join(bytes) or 'nothing'}"] = (
        function, tuple(s if isinstance(s, jax.ShapeDtypeStruct) else cm.spec(s) for s in shapes), into, out,
        {kind.replace("_", "-"): count for kind, count in bytes.items()})


def conv(x: Any, k: Any, stride: int = 1, padding: Any = "SAME", apart: int = 1) -> Any:
    return lax.conv_general_dilated(x, k, (stride, stride), padding, rhs_dilation=(apart, apart),
                                    dimension_numbers=("NHWC", "HWIO", "NHWC"))


def squared(f: Callable[..., Any]) -> Callable[..., Any]:
    return jax.grad(lambda *args: (f(*args) ** 2).sum(), argnums=(0, 1))


def on(x: Any, *axes: Any) -> Any:
    return lax.with_sharding_constraint(x, NamedSharding(OVER, P(*axes)))


def looped(q: Any, k: Any, v: Any) -> Any:
    """Every iteration takes all columns of k, which none changes, and of what the last one made."""
    def step(v: Any, _: Any) -> tuple[Any, None]:
        return jax.nn.softmax(q @ k) @ v, None

    return lax.scan(step, v, None, length=2)[0]


image, small = (8, h, w, c), (3, 3, c, 32)
# Windows whose taps lie apart reach further; of an image that is spread out the rows between are nobody's.
case(lambda x, k: conv(x, k, padding=[(2, 2)] * 2, apart=2), (image, small), (IMAGE, P()), IMAGE, collective_permute=12288)
case(lambda x, k: conv(x, k, stride=2), (image, (5, 5, c, 32)), (IMAGE, P()), IMAGE, collective_permute=9216)
case(lambda x, k: lax.conv_transpose(x, k, (2, 2), "SAME"), (image, (4, 4, c, 32)), (IMAGE, P()), IMAGE, collective_permute=6144)
case(lambda x, k: lax.conv_transpose(x, k, (2, 2), "SAME"), (image, small), (IMAGE, P()), IMAGE, collective_permute=3072)
case(squared(lambda k, x: conv(x, k, 2)), (small, image), (P(), IMAGE), (P(), IMAGE), collective_permute=9216, all_reduce=46080)
case(squared(lambda k, x: conv(x, k, 1, [(2, 2)] * 2, 2)), (small, image), (P(), IMAGE), (P(), IMAGE), collective_permute=49152,
     all_reduce=46080)
case(squared(lambda k, x: conv(x, k, 2, [(2, 1)] * 2, 2)), (small, image), (P(), IMAGE), (P(), IMAGE), collective_permute=24576,
     all_reduce=46080)
# What XLA does not share it computes whole on every device.
case(lambda x: jnp.abs(jnp.fft.fft(x, axis=1)), ((n, 128),), (P("data"),), P("data"), all_gather=32768)
case(lambda x: jnp.abs(jnp.fft.fft(x, axis=1)), ((n, 128),), (ROWS,), ROWS, all_gather=57344)
case(lambda x: jnp.abs(jnp.fft.rfft(x, axis=1)), ((n, 128),), (P("data"),), P("data"), all_gather=16384)
case(lambda x: lax.top_k(x, 4), ((n, d),), (ROWS,), (P("data"), P("data")), all_gather=28672)
case(lambda x: lax.top_k(x, 4), ((n, d),), (P("data"),), (P("data"), P("data")), all_gather=16384)
case(lambda x, i: lax.dynamic_slice_in_dim(x, i, 4, 0), ((n, d), cm.spec((), "int32")), (P("model"), P()), P(), all_gather=24576)
case(lambda x, i: lax.dynamic_slice_in_dim(x, i, 8, 0), ((n, d), cm.spec((), "int32")), (P("model"), P()), P("model"),
     all_gather=24576)
case(lambda x, i: lax.dynamic_slice_in_dim(x, i, 4, 0), ((n, d), cm.spec((), "int32")), (P(None, "model"), P()), P(None, "model"))
# What is summed over two shared dimensions is reduced once for each.
case(lambda x: x.mean(), ((n, d),), (ROWS,), P(), all_reduce=10)
case(lambda x: x.max((0, 1)), ((n, d, 8),), (ROWS,), P(), all_reduce=80)
# Parts of an axis, in two exchanges; sorted along a shared dimension; k of the loop is gathered before it.
case(lambda x: on(on(x, "data", "model").T, "data", "model"), ((n, d),), (ROWS,), ROWS, collective_permute=4096, all_to_all=2048)
case(lambda x: jnp.sort(x, axis=0), ((n, d),), (ROWS,), ROWS, all_to_all=4096)
case(looped, ((n, d), (d, n), (n, d)), (P("model"), P(None, "model"), P("model")), P("model"), all_gather=73728)
# Rows of a table that devices share along the same axes: the rows go to the table's devices, or the table to the rows', whichever
# needs less memory; of equal ones the indices turn the scale.
both, places = P(("data", "model")), cm.spec((n,), "int32")
case(lambda i, u: jnp.zeros((128, 128)).at[i].add(u), (places, (n, 128)), (both, both), both, all_gather=28896)
case(lambda i, u: jnp.zeros((64, 128)).at[i].add(u), (places, (n, 128)), (both, both), both, all_reduce=57344)
case(lambda t, i, u: t.at[i].add(u), ((64, 128), places, (n, 128)), (both, both, both), both, all_gather=28672, all_reduce=57344)
case(lambda t, i: t[i], ((128, 128), places), (both, both), both, all_gather=224, all_reduce=57344)
case(lambda t, i: t[i], ((64, 128), places), (both, both), both, all_gather=28672)
# A place is reduced together with the value there: of both every device's are gathered, and reduced on each.
case(lambda x: jnp.argmax(x, 1), ((n, d),), (ROWS,), None, all_gather=768)
case(lambda x: jnp.argmax(x, 0), ((n, d),), (ROWS,), None, all_gather=256)
case(lambda x: jnp.argmin(x), ((n, d),), (ROWS,), None, all_gather=12296)
case(lambda x: (jnp.max(x, 1), jnp.argmax(x, 1)), ((n, d),), (ROWS,), None, all_reduce=192, all_gather=768)
case(lambda x: jax.nn.one_hot(jnp.argmax(x, 1), 16), ((n, d),), (ROWS,), None, all_gather=768)


def cost_of(name: str) -> cm.Cost:
    function, specs, into, out, _ = CASES[name]
    return cm.analyze(function, *specs, mesh={"data": 2, "model": 4}, in_shardings=into, out_shardings=out, verify=False)


@pytest.mark.parametrize("name", CASES)
def test_a_device_sends_what_xla_says(name):
    cost = cost_of(name)
    found = sent(cost.at(**{symbol: size for symbol, size in POINT.items() if symbol in cost.symbols}), "xla-cpu")
    assert {kind: total for kind, (_, total) in found.items()} == CASES[name][-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_xla_says_so(name):
    cost = cost_of(name)
    found = judge_over_mesh(cost, {symbol: size for symbol, size in POINT.items() if symbol in cost.symbols})
    assert {kind: total for kind, (_, total) in found.theirs.collectives.items()} == CASES[name][-1]


def test_a_table_that_other_devices_have_copies_of_is_doubted():
    with pytest.warns(UserWarning, match="scatter-add at .*other devices have copies"):
        cm.analyze(lambda i, u: jnp.zeros((128, 128)).at[i].add(u), places, (n, 128), mesh={"data": 2, "model": 4},
                   in_shardings=(P("data"), P("data")), out_shardings=P("data"))


def test_a_sum_along_a_shared_dimension_is_doubted():
    with pytest.warns(UserWarning, match="cumsum at .*gathers the operand first"):
        cm.analyze(lambda x: jnp.cumsum(x, 0), (n, d), mesh={"data": 2, "model": 4}, in_shardings=ROWS, out_shardings=ROWS)
