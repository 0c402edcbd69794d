"""What tiles move: no tiling moves less than the bound, the best of them little more, and rooflines have it."""

from __future__ import annotations

import itertools
import math

import jax.numpy as jnp
import pytest
import sympy
from flax import linen as nn

import costmodel as cm
from costmodel.fusion import plan
from costmodel.pricing.blocking import Blocked, blocked, crossing

SIZES = [(24, 36, 48), (64, 64, 64), (7, 90, 31), (1, 64, 100)]


def product_traffic(m: int, n: int, k: int, rows: int, columns: int) -> tuple[int, int]:
    """(elements held, elements moved) where a tile of the result stays, and columns of one operand and rows of the other pass by:
    counted tile by tile."""
    moved = 0
    for top, left in itertools.product(range(0, m, rows), range(0, n, columns)):
        high, wide = min(rows, m - top), min(columns, n - left)
        moved += k * (high + wide) + high * wide
    return rows * columns + rows + columns, moved


@pytest.mark.parametrize("m, n, k", SIZES)
@pytest.mark.parametrize("words", [16, 100, 400, 3000])
def test_no_tiling_of_a_product_moves_less(m, n, k, words):
    found = [product_traffic(m, n, k, rows, columns) for rows in range(1, m + 1) for columns in range(1, n + 1)]
    best = min(moved for held, moved in found if held <= words)
    least = Blocked(sympy.Integer(m * n * k), 1, sympy.Integer(1)).least(m * n * k, words)
    assert max(least, m * k + k * n + m * n) <= best


def test_the_best_tiling_of_a_large_product_is_close():
    m = n = k = 600
    words = 1000
    best = min(product_traffic(m, n, k, rows, rows)[1] for rows in range(1, 31) if rows**2 + 2 * rows <= words)
    assert best <= 1.1 * Blocked(sympy.Integer(m * n * k), 1, sympy.Integer(1)).least(m * n * k, words)


def conv_traffic(size: int, ins: int, outs: int, taps: int, stride: int, tile: int, filters: int) -> tuple[int, int]:
    """The same of a convolution without padding: a tile of the image's outputs for some filters stays, channels pass one by one."""
    out = (size - taps) // stride + 1
    moved = 0
    for top, left, first in itertools.product(range(0, out, tile), range(0, out, tile), range(0, outs, filters)):
        high, wide, many = min(tile, out - top), min(tile, out - left), min(filters, outs - first)
        halo = ((high - 1) * stride + taps) * ((wide - 1) * stride + taps)
        moved += ins * (halo + taps**2 * many) + high * wide * many
    return tile**2 * filters + ((tile - 1) * stride + taps) ** 2 + taps**2 * filters, moved


@pytest.mark.parametrize("taps, stride", [(1, 1), (3, 1), (3, 2), (5, 1)])
@pytest.mark.parametrize("words", [64, 300, 1200])
def test_no_tiling_of_a_convolution_moves_less(taps, stride, words):
    size, ins, outs = 20, 24, 32
    found = [conv_traffic(size, ins, outs, taps, stride, tile, filters)
             for tile in range(1, size + 1) for filters in range(1, outs + 1)]
    best = min(moved for held, moved in found if held <= words)
    out = (size - taps) // stride + 1
    layer = nn.Conv(outs, (taps, taps), stride, padding="VALID", use_bias=False)
    bound = blocked(plan(cm.analyze(layer, (1, size, size, ins)).program, "layer")[0])
    assert bound is not None and bound.reuse == math.ceil(taps / stride) ** 2 and bound.macs == out**2 * ins * outs * taps**2
    assert bound.least(float(bound.macs), 4 * words) / 4 <= best


def test_small_memory_moves_more_and_the_closed_form_is_the_rooflines():
    m, n, k = cm.dims("m_near n_near k_near")
    cost = cm.analyze(jnp.matmul, (m, k), (k, n))
    at = {"m_near": 4096, "n_near": 4096, "k_near": 4096}
    far = cost.at(**at).roofline("h100-sxm", policy="layer")
    form = crossing(cost, "S")
    for room in (2**16, 2**20, 2**30):
        near = cost.at(**at).roofline("h100-sxm", policy="layer", near=room)
        moved = form.subs({s: {"S": room, **at}[s.name] for s in form.free_symbols})
        assert near.total.bytes == pytest.approx(float(moved), rel=1e-12)
        assert near.lower >= far.lower and (near.total.bytes > far.total.bytes) == (room < 2**30)
    assert cost.at(**at).roofline("h100-sxm", near="L2").near == 50e6


def test_only_what_reads_both_operands_and_writes_the_result_is_bounded():
    """What is added up where it is made is never written, and what is made of nothing is never read."""
    for function in (lambda x, y: (x @ y).sum(), lambda x, y: jnp.ones((64, 64)) @ x + y.sum()):
        kernels = plan(cm.analyze(function, (64, 16), (16, 32)).program, "ideal")
        assert all(blocked(kernel) is None for kernel in kernels)
    whole = plan(cm.analyze(lambda x, y: jnp.tanh(x @ y), (64, 16), (16, 32)).program, "ideal")
    assert [blocked(kernel) is None for kernel in whole] == [False]


def test_a_memory_that_is_not_there_is_named():
    cost = cm.analyze(jnp.matmul, (4, 4), (4, 4))
    with pytest.raises(cm.CostModelError, match="states no nearer memory 'SRAM'; it has L2"):
        cost.at().roofline("h100-sxm", near="SRAM")
    with pytest.raises(cm.CostModelError, match="give the bytes"):
        cost.at().roofline("h100-sxm", near=-1.0)


def test_what_has_no_tiles_refuses_it():
    with pytest.raises(cm.CostModelError, match="compulsory has none"):
        cm.analyze(jnp.matmul, (4, 4), (4, 4)).at().roofline("lecture", policy="compulsory", near=64)


@pytest.mark.parametrize("dtype, least", [("float32", 12), ("bfloat16", 6)])
def test_a_memory_without_room_for_the_least_tile_is_refused(dtype, least):
    cost = cm.analyze(jnp.matmul, cm.spec((64, 64), dtype), cm.spec((64, 64), dtype))
    assert cost.at().roofline("h100-sxm", near=least).lower > cost.at().roofline("h100-sxm").lower
    assert crossing(cost, least) > crossing(cost, 4096)
    for refused in (lambda: cost.at().roofline("h100-sxm", near=least - 1), lambda: crossing(cost, least - 1)):
        with pytest.raises(cm.CostModelError, match=f"at least {least} B"):
            refused()
