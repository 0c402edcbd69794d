"""A sweep is the value at each point, labelled; its times are the roofline's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

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
