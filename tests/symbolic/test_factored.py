"""Factored expressions over a grid are, point by point, what exact evaluation gives."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from random_forms import random_form
from sympy import Rational

from costmodel.symbolic import blocks as blocks_module
from costmodel.symbolic.blocks import Blocks, block_slices, chunk_shape
from costmodel.symbolic.factored import Graph, Node, uses
from costmodel.symbolic.forms import CeilDiv, CeilLog2, FloorDiv, PeakMax, evaluate, symbol
from costmodel.symbolic.magnitude import magnitude_bound
from costmodel.symbolic.taps import TapCount

N, H, W, S, C = (symbol(name) for name in ("n", "h", "w", "s", "c_i"))
VALUES = {N: [1, 2, 5, 9], H: [1, 3, 8], W: [2, 7, 11, 30, 31]}
AXES = {"n": 0b001, "h": 0b010, "w": 0b100}
TIED = {"n": 0b01, "h": 0b10, "w": 0b10}


def on_grid(expr, *, real=False, exactly=False):
    """Values on the grid of n, h and w."""
    graph = Graph(AXES)
    node = graph.real(expr) if real else graph.whole(expr)
    env = {s.name: np.array(v, dtype=float if real else np.int64).reshape([-1 if i == j else 1 for j in range(3)])
           for i, (s, v) in enumerate(VALUES.items())}
    shape = tuple(map(len, VALUES.values()))
    if exactly:
        return Blocks([node]).exactly({name: a.astype(object) for name, a in env.items()}, shape)[0]
    return Blocks([node]).on(env, shape, float if real else np.int64)[0]


def brute(expr):
    shape = tuple(map(len, VALUES.values()))
    values = [evaluate(expr, dict(zip(VALUES, point, strict=True))) for point in itertools.product(*VALUES.values())]
    return np.array(values, dtype=object).reshape(shape)


EXPRESSIONS = {
    "a polynomial": 3*N*H**2*W + 2*N*H - 5*N + 7 - W*H,
    "a rational one that is whole": N*(H**2/2 + H/2) + W*(W + 1)*Rational(3, 2),
    "a product of sums": (N + 3)*(H - W)*(N*H + 1)**2,
    "forms": N*CeilDiv(H, 3)*FloorDiv(W - 20, 7) + CeilLog2(N*H + 1)*W,
    "a form over two axes": FloorDiv(N*H - W, 4)*N + CeilDiv(W, H),
    "maxima": PeakMax(N*H*W, 3*N**2 + W, 40*H) + PeakMax(H, W)*N,
    "taps": N*TapCount(H, 3, 2, 1, 1, 1, 1, 1) + TapCount(H, W, 2, 1, 2, 1, 1, 0),
    "a number": 5 + 0*N,
    "a symbol": W,
}


@pytest.mark.parametrize("name", EXPRESSIONS)
@pytest.mark.parametrize("block", [1, 7, 2**16])
def test_every_point_is_the_exact_value(name, block, monkeypatch):
    monkeypatch.setattr(blocks_module, "BLOCK", block)
    expr = EXPRESSIONS[name]
    assert np.array_equal(on_grid(expr), brute(expr))
    assert np.array_equal(on_grid(expr, exactly=True), brute(expr))
    if name != "taps":
        assert np.allclose(on_grid(expr, real=True), brute(expr).astype(float), rtol=1e-13)


@pytest.mark.parametrize("seed", range(60))
def test_random_expressions(seed):
    """Against the plain functions that they stand for."""
    expr, value = random_form(random.Random(seed), 4)
    expr = expr.xreplace({S: N, C: N})
    if magnitude_bound(expr, {s: max(v) for s, v in VALUES.items()}) >= 2**63:
        return
    wanted = [value({N: n, H: h, W: w, S: n, C: n}) for n, h, w in itertools.product(*VALUES.values())]
    assert on_grid(expr).ravel().tolist() == wanted


def test_a_quotient_of_symbols_is_a_fraction():
    expr = 3*N*H/W + Rational(1, 7)*H**2/N
    assert np.allclose(on_grid(expr, real=True), brute(expr).astype(float), rtol=1e-14)


def test_integers_of_any_size():
    expr = (N*10**30 + H)**3 - W
    assert np.array_equal(on_grid(expr, exactly=True), brute(expr))


def operations(node: Node, axes: int) -> int:
    """Of nodes that depend on all axes, each counted once."""
    return sum(len(n.args) - 1 for n in uses([node]) if n.args and n.axes == axes)


def test_a_point_takes_few_operations():
    """What a person would write: n·(a·h·w + b) + c over a grid of n and h = w is one product and one sum a point."""
    graph = Graph(TIED)
    assert operations(graph.whole(83410944*H*N*W + 2048000*N), 0b11) == 1
    assert operations(graph.whole(83410944*H*N*W + 2048000*N + 3), 0b11) == 2
    long = sum(k*H**(k % 5)*W**(k % 3) for k in range(1, 40))
    assert operations(graph.whole((N*long).expand() + long + 3*N), 0b11) == 2


def test_equal_nodes_are_one():
    graph = Graph(TIED)
    assert graph.whole(N*CeilDiv(H, 2)) is graph.whole(CeilDiv(H, 2)*N)
    assert uses([graph.whole(CeilDiv(H, 2) + N), graph.whole(CeilDiv(H, 2)*W)])[graph.whole(CeilDiv(H, 2))] == 2


@pytest.mark.parametrize("shape", [(), (5,), (3, 4, 5), (1, 7), (100, 1, 3)])
@pytest.mark.parametrize("most", [1, 4, 10, 1000])
def test_blocks_cover_a_grid_once(shape, most):
    seen = np.zeros(shape, dtype=int)
    for slices in block_slices(shape, most):
        assert seen[slices].size <= most
        seen[slices] += 1
    assert (seen == 1).all()
    assert np.prod(chunk_shape(shape, most)) <= max(most, 1)
