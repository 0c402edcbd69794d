"""The regions of a grid are those that its points have one by one."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import costmodel as cm
from costmodel.pricing.grid import boundaries
from costmodel.pricing.grid.axes import Grid
from costmodel.pricing.grid.regions import _classes
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import FloorDiv, evaluate, symbol

N, H, W = (symbol(name) for name in "nhw")
BOUNDARIES = [N - 1, N - 3, H - 1, W - 2, N - H, H - W, N - W, 2*N - H - 1, N*H - 6, FloorDiv(H, 2) - W, N*H - W*W, N + 1]


def grid_of(values: dict[Any, list[int]], tied: bool) -> Grid:
    rank = 2 if tied else 3
    arrays = {s.name: np.array(v).reshape([-1 if j == i else 1 for j in range(rank)]) for i, (s, v) in enumerate(values.items())}
    axes = {s.name: np.array(v) for s, v in values.items()}
    if tied:
        arrays["w"] = arrays["h"]
    return Grid(Domain(), axes, arrays, arrays)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_every_point_is_in_its_region_once(seed, tied):
    rng = random.Random(seed)
    values = {s: rng.sample(range(1, 8), rng.randint(1, 6)) for s in ((N, H) if tied else (N, H, W))}
    chosen = rng.sample(BOUNDARIES, rng.randint(0, 6))
    grid = grid_of(values, tied)
    cost: Any = SimpleNamespace(origin=SimpleNamespace(compared=SimpleNamespace(boundaries=chosen, orders=())))
    found = {}
    for signature, members in _classes(cost, grid):
        places = list(members)
        assert len(places) == members.count > 0
        assert members.numbers(grid.shape).tolist() == sorted(np.ravel_multi_index(place, grid.shape) for place in places)
        assert not found.keys() & set(places)
        found |= dict.fromkeys(places, signature)
    wanted = {}
    for place in itertools.product(*(range(len(v)) for v in values.values())):
        env = {s: v[i] for (s, v), i in zip(values.items(), place, strict=True)}
        env = {**env, W: env[H]} if tied else env
        wanted[place] = frozenset(i for i, d in enumerate(chosen) if evaluate(d, env) == 0)
    assert found == wanted


def test_a_large_grid_is_not_looked_at_point_by_point():
    """10⁹ points, of which those on diagonals are listed."""
    side = list(range(1, 1001))
    cost: Any = SimpleNamespace(origin=SimpleNamespace(compared=SimpleNamespace(boundaries=[N - 1, N - H, H - W], orders=())))
    sizes = {signature: members.count for signature, members in _classes(cost, grid_of({N: side, H: side, W: side}, False))}
    assert sum(sizes.values()) == 10**9
    assert sizes[frozenset({1, 2})] == 999 and sizes[frozenset({0, 1, 2})] == 1 and sizes[frozenset({1})] == 999*999
    assert boundaries.MOST > 2 * 10**6


def test_a_second_sweep_traces_nothing():
    traces = []

    def model(x, w):
        traces.append(x.shape)
        return x @ w if x.shape[0] == 1 else (x @ w) @ w

    n, d = cm.dims("rows width")
    cost = cm.analyze(model, cm.spec((n, d)), cm.spec((d, d)))
    first = cost.sweep(rows=range(1, 5), width=range(1, 5), hardware="lecture")
    met = len(traces)
    assert first.identical(cost.sweep(rows=range(1, 5), width=range(1, 5), hardware="lecture")) and len(traces) == met


def test_a_region_whose_forms_do_not_reach_all_of_its_points_is_asked_point_by_point():
    """Least squares have one program where the shorter side is 1, of which the forms at (1, 1) do not hold at (2, 1)."""
    m, n = cm.dims("m n")
    cost = cm.analyze(lambda a, b: (jnp.linalg.pinv(a), jnp.linalg.lstsq(a, b)[0]), (m, n), (m, 2))
    found = cost.sweep(m=[1, 2, 5], n=[1, 4], metrics=["flops"])
    assert {(i, j): int(found.flops.sel(m=i, n=j)) for i in (1, 2, 5) for j in (1, 4)} == {
        (i, j): cost.at(m=i, n=j).flops for i in (1, 2, 5) for j in (1, 4)}
