"""A sweep is the value at each point, labelled; its times are the roofline's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from small_nets import small

import costmodel as cm
from costmodel.errors import CostModelError, DomainError

pytest.importorskip("xarray")


GRIDS = {
    "resnet18": {"n": [1, 8], "h": [64, 96, 224], "w": "h"},
    "mlp": {"n": range(1, 5), "a": [3, 7], "b": 5, "c": 4, "d": [2]},
    "conv2d_strided": {"n": 2, "c_i": [3], "c_o": [4, 8], "h": [16, 17, 31], "w": 20, "k_h": [3], "k_w": 3, "p": 1, "s": [1, 2, 3]},
}


@pytest.mark.parametrize("name", GRIDS)
def test_every_point_of_a_grid_is_the_value_there(cost_of, name):
    cost = cost_of(name)
    grid = GRIDS[name]
    data = cost.sweep(**grid, metrics=["macs", "flops", "params", "bytes:unfused", "activations:peak"],
                      hardware=["h100-sxm", "lecture"])
    axes = {k: list(v) for k, v in grid.items() if not isinstance(v, int | str)}
    for values in itertools.product(*axes.values()):
        at = dict(zip(axes, values, strict=True))
        point = {k: at[v] if isinstance(v, str) else at.get(k, v) for k, v in grid.items()}
        here = cost.at(**point)
        row = data.sel(at)
        assert int(row.macs) == here.macs and int(row.flops) == here.flops and int(row.params) == here.params
        assert int(row.bytes_unfused) == here.bytes("unfused") and int(row.activations_peak) == here.activations("peak")
        for device in ("h100-sxm", "lecture"):
            roofline = here.roofline(device)
            assert np.isclose(float(row.time_lower.sel(hardware=device)), roofline.lower, rtol=1e-12)
            assert np.isclose(float(row.time_upper.sel(hardware=device)), roofline.upper, rtol=1e-12)
    assert data.macs.attrs["unit"] == "MAC" and "dense" in data.macs.attrs["convention"]


def test_what_binds_is_the_rooflines_also_at_a_ridge():
    m = cm.dims("m")
    cost = cm.analyze(lambda a, b: a @ b, cm.spec((m, m)), cm.spec((m, m)))
    data = cost.sweep(m=[287, 288, 289], hardware=["lecture"], metrics=[])
    assert data.bound.values.tolist() == [["memory", "memory", "compute"]]
    assert [cost.roofline("lecture", m=size).bound for size in (287, 288, 289)] == ["memory", "memory", "compute"]


def test_a_grid_too_large_for_int64_does_not_wrap():
    n, d = cm.dims("n d")
    cost = cm.analyze(lambda x, w: x @ w, cm.spec((n, d)), cm.spec((d, d)))
    data = cost.sweep(n=[10**7, 10**8], d=[10**6], metrics=["macs"])
    assert data.macs.dtype == np.float64 and np.isclose(float(data.macs[1, 0]), 1e20)


@pytest.mark.parametrize(("grid", "message"), [
    ({"n": [1, 2], "h": [64, 65], "w": 64}, "h=65 is outside its domain 32 | h"),
    ({"n": [1, 2], "h": [64]}, "unbound symbol w"),
    ({"n": [1, 2], "h": [64], "w": 64, "q": 3}, "unknown symbol q"),
    ({"n": [], "h": [64], "w": 64}, "the grid of n is empty"),
    ({"n": [2], "h": [64], "w": "v"}, "follows a symbol that has no values"),
])
def test_a_grid_outside_the_domain_is_refused(cost_of, grid, message):
    with pytest.raises(DomainError, match=message.replace("|", r"\|")):
        cost_of("resnet18").sweep(**grid)


def test_an_unknown_metric_or_form_is_refused(cost_of):
    for name, message in (("speed", "unknown metric"), ("bytes:fast", "no form of bytes"), ("params:dense", "no form of params")):
        with pytest.raises(CostModelError, match=message):
            cost_of("resnet18").sweep(n=[2], h=[64], w=64, metrics=[name])


# -- binding, axis by axis ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1.5, 2.0, "3x", True, None, np.float64(2.0), np.bool_(True)])
def test_what_is_no_integer_is_refused_as_at_a_point(cost_of, value):
    cost = cost_of("resnet18")
    grids = [{"n": [1, value], "h": [64], "w": "h"}] + ([{"n": value, "h": [64], "w": "h"}] if value != "3x" else [])
    for grid in grids:
        with pytest.raises(DomainError, match="is not an integer"):
            cost.sweep(**grid)
    if value != "3x":
        with pytest.raises(DomainError, match="is not an integer"):
            cost.at(n=value, h=64, w=64)
    with pytest.raises(DomainError, match="is not an integer"):
        cost.sweep(n=np.array([1.0, 2.0]), h=64, w=64)


def test_numpy_integers_of_every_kind_are_integers(cost_of):
    cost = cost_of("resnet18")
    for values in (np.array([1, 4], dtype=np.uint8), np.array([1, 4], dtype=np.uint64), range(1, 5, 3), (np.int32(1), 4)):
        assert cost.sweep(n=values, h=np.int64(64), w="h").macs.values.tolist() == [cost.at(n=n, h=64, w=64).macs for n in (1, 4)]


def sizes(bound: str = ""):
    """A product of an m-by-k and a k-by-n matrix, under relations."""
    m, k, n = cm.dims("m k n", where=bound) if bound else cm.dims("m k n")
    return cm.analyze(lambda a, b: a @ b, cm.spec((m, k)), cm.spec((k, n)))


@pytest.mark.parametrize(("grid", "message"), [
    ({"m": [4, 5, 9], "k": [1, 2, 6], "n": [3, 5]}, "k=6, m=4, n=3 is outside the domain m >= k"),
    ({"m": [1, 2], "k": 1, "n": [3, 4]}, None),
])
def test_a_relation_is_asked_of_every_point(grid, message):
    cost = sizes("m >= k")
    if message is None:
        assert cost.sweep(**grid).macs.values.tolist() == [[3, 4], [6, 8]]
    else:
        with pytest.raises(DomainError, match=message):
            cost.sweep(**grid)


@pytest.mark.parametrize("huge", [2**62, 2**63, 10**30])
def test_symbols_of_any_size(huge):
    """Where 64 bits are too few a result is the exact one, rounded once."""
    cost = sizes()
    data = cost.sweep(m=[1, huge], k=[3, huge + 1], n=7, metrics=["macs", "bytes:unfused"])
    for i, m in enumerate((1, huge)):
        for j, k in enumerate((3, huge + 1)):
            point = cost.at(m=m, k=k, n=7)
            assert data.macs.values[i, j] == float(point.macs) and data.bytes_unfused.values[i, j] == float(point.bytes("unfused"))
    assert data.macs.dtype == np.float64
    assert cost.sweep(m=[1, 2], k=3, n=7, metrics=["macs"]).macs.dtype == np.int64


def test_a_large_grid_of_large_values_is_within_rounding():
    cost = sizes()
    m = np.arange(2**40, 2**40 + 300)
    k = m + 300  # never equal
    data = cost.sweep(m=m, k=k, n=[3], metrics=["macs"])
    assert np.allclose(data.macs.values[:, :, 0], 3*m[:, np.newaxis].astype(float)*k, rtol=1e-15)


def test_branches_times_are_the_points():
    """Of the sides of a cond each bound takes its longest."""
    import jax

    n, d = cm.dims("n d")
    cost = cm.analyze(lambda x, w: jax.lax.cond(x[0, 0] > 0, lambda: (x @ w).sum(), lambda: jax.numpy.exp(x).sum()),
                      cm.spec((n, d)), cm.spec((d, d)))
    data = cost.sweep(n=[2, 64, 4096], d=[4, 100, 3000], hardware=["h100-sxm", "lecture"], metrics=[])
    for (i, n_), (j, d_), (k, name) in itertools.product(enumerate((2, 64, 4096)), enumerate((4, 100, 3000)),
                                                         enumerate(("h100-sxm", "lecture"))):
        roofline = cost.roofline(name, n=n_, d=d_)
        assert np.isclose(data.time_lower.values[k, i, j], roofline.lower, rtol=1e-12)
        assert np.isclose(data.time_upper.values[k, i, j], roofline.upper, rtol=1e-12)
        assert data.bound.values[k, i, j] == roofline.bound


def test_chunks_give_what_the_whole_gives(monkeypatch):
    from costmodel.pricing.grid import job

    cost = small()
    grid = {"n": range(1, 9), "h": range(32, 200, 32), "w": [64, 96, 128]}
    options = {"metrics": ["macs", "live_peak", "intensity"], "hardware": ["h100-sxm", "lecture"]}
    whole = cost.sweep(**grid, **options)
    monkeypatch.setattr(job, "_NARROW", 1)
    monkeypatch.setattr(job.Job.chunk_lengths, "__defaults__", (7,))
    assert whole.identical(cost.sweep(**grid, **options))


def test_points_of_another_program_have_its_figures():
    """A model that does something else at n = 1, which no symbolic trace sees."""
    n, d = cm.dims("n d")

    def model(x, w):
        return x @ w if x.shape[0] == 1 else (x @ w) @ w

    cost = cm.analyze(model, cm.spec((n, d)), cm.spec((d, d)))
    data = cost.sweep(n=[1, 2, 3], d=[4, 5], metrics=["macs"], hardware=["lecture"])
    assert data.macs.values.tolist() == [[16, 25], [64, 100], [96, 150]]
    assert np.isclose(data.time_lower.values[0, 0, 1], cost.roofline("lecture", n=1, d=5).lower, rtol=1e-12)


def test_a_point_at_which_nothing_is_left_takes_no_time():
    """x[1:] of one element is empty: the other points are those of their rooflines all the same."""
    cost = cm.analyze(lambda x: x[1:] * 2, (cm.dims("n"),))
    data = cost.sweep(n=range(1, 5), metrics=(), hardware=("h100-sxm", "lecture"))
    for device in ("h100-sxm", "lecture"):
        here = data.sel(hardware=device)
        assert here.time_upper[0] == here.time_lower[0] == 0 and here.throughput[0] == np.inf and here.bound[0] == "nothing"
        for n in (2, 3, 4):
            roofline = cost.roofline(device, n=n)
            assert np.isclose(float(here.time_upper.sel(n=n)), roofline.upper, rtol=1e-12)
            assert np.isclose(float(here.throughput.sel(n=n)), roofline.throughput[0], rtol=1e-12)
            assert here.bound.sel(n=n) == roofline.bound
    with pytest.raises(CostModelError, match="has no elements"):
        cost.roofline("h100-sxm", n=1)
    with pytest.raises(CostModelError, match="hands its inputs on"):
        cm.analyze(lambda x: x, (cm.dims("n"),)).sweep(n=[1, 2], metrics=(), hardware="h100-sxm")
