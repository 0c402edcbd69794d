"""Reductions, stores, Dask and figures of devices as axes: everything against the sweep of single points."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from small_nets import small

import costmodel as cm
from costmodel.errors import CostModelError
from costmodel.hardware import load, read
from costmodel.pricing.grid.answers import front

xr = pytest.importorskip("xarray")

GRID = {"n": range(1, 9), "h": range(32, 257, 32), "w": "h"}
OPTIONS = {"metrics": ("macs", "live_peak"), "hardware": ("h100-sxm", "lecture")}


@pytest.fixture(scope="module")
def network():
    return small()


@pytest.fixture(scope="module")
def whole(network):
    return network.sweep(**GRID, **OPTIONS)


# -- answers ------------------------------------------------------------------------------------------------------------------


def test_the_best_batch_at_each_resolution(network, whole):
    found = network.sweep(**GRID, **OPTIONS, best=("throughput", "n"))
    assert found.throughput.dims == ("hardware", "h")
    assert np.array_equal(found.throughput, whole.throughput.max("n"))
    assert np.array_equal(found.n, whole.n.values[whole.throughput.argmax("n")])
    at = whole.throughput.argmax("n")
    assert np.array_equal(found.macs, whole.macs.isel(n=at)) and np.array_equal(found.bound, whole.bound.isel(n=at))


def test_the_best_of_all_that_fits(network, whole):
    limit = float(np.median(whole.live_peak))
    found = network.sweep(**GRID, **OPTIONS, best="throughput", where=f"live_peak <= {limit}, n >= 2")
    allowed = whole.throughput.where((whole.live_peak <= limit) & (whole.n >= 2))
    assert float(found.throughput) == float(allowed.max())
    place = {name: found[name].item() for name in ("hardware", "n", "h")}
    assert float(whole.throughput.sel(place)) == float(allowed.max())


def test_nothing_that_fits_is_told_so(network):
    found = network.sweep(**GRID, **OPTIONS, best=("time", "n"), where="live_peak <= 1kB")
    assert np.isnan(found.time_upper).all() and (found.bound == "").all()


def dominated(rows: list[tuple[float, ...]], row: tuple[float, ...]) -> bool:
    return any(all(a <= b for a, b in zip(other, row, strict=True)) and other != row for other in rows)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_front_is_what_nothing_beats(width):
    random = np.random.default_rng(0)
    for size in (0, 1, 7, 200):
        rows = random.integers(0, 12, (size, width))
        wanted = {tuple(row) for row in rows.tolist() if not dominated(list(map(tuple, rows.tolist())), tuple(row))}
        kept = rows[front(rows.astype(float))].tolist()
        assert len(kept) == len(wanted) and {tuple(row) for row in kept} == wanted


@pytest.mark.parametrize("criteria", [("time", "memory"), ("time", "live_peak", "max macs"), ("energy", "throughput")])
def test_a_pareto_front(network, criteria, monkeypatch):
    from costmodel.pricing.grid import job

    devices = {**OPTIONS, "hardware": ("h100-sxm", "a100-sxm-80gb")}
    data = network.sweep(**GRID, **{**devices, "metrics": ("macs", "live_peak", "energy")})
    names = {"time": "time_upper", "memory": "live_peak", "max macs": "macs"}
    columns = [np.broadcast_to((-1 if c in ("max macs", "throughput") else 1) * data[names.get(c, c)].values, (2, 8, 8)).ravel()
               for c in criteria]
    rows = list(zip(*(c.tolist() for c in columns), strict=True))
    wanted = {row for row in rows if not dominated(rows, row)}
    monkeypatch.setattr(job, "_NARROW", 1)
    monkeypatch.setattr(job.Job.chunk_lengths, "__defaults__", (13,))
    found = network.sweep(**GRID, **{**devices, "metrics": ("macs", "live_peak", "energy")}, pareto=criteria)
    got = list(zip(*(((-1 if c in ("max macs", "throughput") else 1) * found[names.get(c, c)].values).tolist() for c in criteria),
                   strict=True))
    assert sorted(got) == sorted(wanted)
    for i in range(found.sizes["point"]):
        place = {name: found[name].values[i].item() for name in ("hardware", "n", "h")}
        assert data.macs.sel(n=place["n"], h=place["h"]).item() == found.macs.values[i]
        assert data.time_upper.sel(place).item() == found.time_upper.values[i]


def test_where_alone_says_where(network, whole):
    found = network.sweep(**GRID, **OPTIONS, where="live_peak <= 3MB, time < 1ms")
    assert found.meets.dims == ("hardware", "n", "h")
    assert np.array_equal(found.meets, (whole.live_peak.values <= 3e6) & (whole.time_upper.values < 1e-3))
    assert 0 < int(found.meets.sum()) < found.meets.size


@pytest.mark.parametrize(("options", "message"), [
    ({"best": "speed"}, "unknown metric"),
    ({"best": ("time", "q")}, "the axes of this sweep are hardware, n, h"),
    ({"where": "live_peak 80GB"}, "is no condition"),
    ({"where": "live_peak <= 80 parsec"}, "is no quantity"),
    ({"best": "time", "pareto": ("time", "macs")}, "ask for one"),
    ({"out": "sweep.csv2"}, "end it in .zarr or .parquet"),
    ({"vary": {"bandwith": [1e12]}}, "it has bandwidth, "),
    ({"vary": {"bandwidth": [-1.0]}}, "positive numbers"),
    ({"vary": {"energy.DRAM": [1e-12]}}, "h100-sxm states no energies"),
    ({"vary": {"bandwidth": ["1GB"]}}, "'1GB' is in B, and B/s is meant here"),
    ({"chunks": {"q": 3}}, "the axes are n, h"),
    ({"backend": "torch", "out": "a.zarr"}, "is 'numpy' or 'jax'"),
])
def test_what_cannot_be_asked(network, options, message):
    with pytest.raises(CostModelError, match=message):
        network.sweep(**GRID, **OPTIONS, **options)


# -- figures of devices -------------------------------------------------------------------------------------------------------


def changed(device, *, bandwidth=None, **peaks):
    made = device if bandwidth is None else replace(device, bandwidth=replace(device.bandwidth, value=bandwidth))
    for name, value in peaks.items():
        key = tuple(name.split("__"))
        made = replace(made, peaks={**made.peaks, key: replace(made.peaks[key], value=value)})
    return made


def test_figures_are_those_of_the_device_that_has_them(network):
    device = load("h100-sxm")
    bandwidths, peaks = [1e12, 3.35e12, 40e12], [50e12, 989.4e12]
    n, d = cm.dims("n d")  # not compared with a concrete trace before
    fresh = cm.analyze(lambda x, w: x @ w, cm.spec((n, d)), cm.spec((d, d)))
    assert fresh.sweep(n=[1, 2], d=[1, 3], metrics=(), hardware=device, vary={"bandwidth": [1e12]}).time_lower.shape == (1, 2, 2, 1)
    cost = network.reprice("bfloat16")
    data = cost.sweep(n=[1, 64], h=[64, 224], w="h", metrics=(), hardware=device,
                      vary={"bandwidth": bandwidths, "matrix.bfloat16": ["50TFLOP/s", peaks[1]]})
    assert data.time_lower.dims == ("hardware", "n", "h", "bandwidth", "matrix_bfloat16")
    for (a, n), (b, h), (c, wide), (d, peak) in itertools.product(*map(enumerate, ([1, 64], [64, 224], bandwidths, peaks))):
        roofline = cost.roofline(changed(device, bandwidth=wide, matrix__bfloat16=peak), n=n, h=h, w=h)
        assert np.isclose(data.time_lower.values[0, a, b, c, d], roofline.lower, rtol=1e-12)
        assert np.isclose(data.time_upper.values[0, a, b, c, d], roofline.upper, rtol=1e-12)
        assert data.bound.values[0, a, b, c, d] == roofline.bound


def test_a_capacity_is_an_axis_for_conditions(network, whole):
    sizes = ["1MB", "3MB", 80e9]
    found = network.sweep(**GRID, metrics=("live_peak",), hardware="h100-sxm", vary={"capacity": sizes},
                          where="live_peak <= capacity")
    assert found.meets.dims == ("n", "h", "capacity") and found.capacity.values.tolist() == [1e6, 3e6, 80e9]
    for i, size in enumerate((1e6, 3e6, 80e9)):
        assert np.array_equal(found.meets.values[..., i], whole.live_peak.values <= size)
    assert np.array_equal(found.time_upper.values, np.broadcast_to(whole.time_upper.values[:1, ..., None], (1, 8, 8, 3)))
    best = network.sweep(**GRID, hardware="h100-sxm", vary={"capacity": sizes}, metrics=(), where="live_peak <= capacity",
                         best=("max n", "n", "h"))
    assert best.sizes["capacity"] == 3


def test_energies_are_axes():
    """Against the energy of the device with other figures in its table."""
    table = read("horowitz-45nm")
    device = replace(load("h100-sxm"), energies=table)
    n, d = cm.dims("n d")
    cost = cm.analyze(lambda x, w: x @ w + x, cm.spec((n, d)), cm.spec((d, d)), verify=False)
    grid, main = {"n": [2, 64], "d": [8, 100]}, f"energy.{table.main}"
    bytes_, adds = [1e-12, 5e-10], [1e-12, 7e-12]
    data = cost.sweep(**grid, metrics=("energy",), hardware=device, vary={main: bytes_, "energy.add.float32": adds})
    assert data.energy.dims == ("hardware", "n", "d", main.replace(".", "_"), "energy_add_float32")
    for (i, n), (j, d), (k, byte), (m, add) in itertools.product(*map(enumerate, ([2, 64], [8, 100], bytes_, adds))):
        memory = {**table.memory, table.main: replace(table.memory[table.main], value=byte)}
        operations = {**table.operations, ("add", "float32"): replace(table.operations["add", "float32"], value=add)}
        wanted = cost.at(n=n, d=d).energy(replace(device, energies=replace(table, memory=memory, operations=operations))).total
        assert np.isclose(data.energy.values[0, i, j, k, m], float(wanted), rtol=1e-12)
    with pytest.raises(CostModelError, match=r"states no 'energy\.tape'; it has energy"):
        cost.sweep(**grid, hardware=device, vary={"energy.tape": [1e-12]})
    with pytest.raises(CostModelError, match="'1pJ/B' is in J/B, and J is meant here"):
        cost.sweep(**grid, hardware=device, vary={"energy.add.float32": ["1pJ/B"]})


def test_time_as_a_closed_form(network):
    import sympy

    device, at = load("h100-sxm"), {"n": 8, "h": 224, "w": 224}
    for bound in ("lower", "upper"):
        form = network.time(device, free=("bandwidth",), bound=bound)
        assert {str(s) for s in form.free_symbols} == {"n", "h", "w", "bandwidth"}
        for wide in (5e11, 3.35e12, 1e15):
            values = {s: {**at, "bandwidth": sympy.Integer(int(wide))}[s.name] for s in form.free_symbols}
            wanted = getattr(network.roofline(changed(device, bandwidth=wide), **at), bound)
            assert np.isclose(float(form.xreplace({s: sympy.Integer(v) for s, v in values.items()}).doit()), wanted, rtol=1e-12)
    with pytest.raises(CostModelError, match="states no figure 'speed'"):
        network.time(device, free=("speed",))


# -- stores -------------------------------------------------------------------------------------------------------------------


def test_a_zarr_store_is_the_sweep(network, whole, tmp_path):
    pytest.importorskip("zarr")
    found = network.sweep(**GRID, **OPTIONS, out=str(tmp_path / "a.zarr"))
    for name in ("macs", "live_peak", "time_lower", "time_upper", "throughput"):
        assert np.array_equal(found[name].values, whole[name].values) and found[name].dims == whole[name].dims
        assert found[name].attrs == whole[name].attrs
    meanings = np.array(found.bound.attrs["flag_meanings"].split())
    assert np.array_equal(meanings[found.bound.values], whole.bound.values)
    assert found.n.values.tolist() == list(GRID["n"]) and found.hardware.values.tolist() == list(OPTIONS["hardware"])
    again = network.sweep(**GRID, **OPTIONS, out=str(tmp_path / "a.zarr"))
    assert again.identical(found)
    with pytest.raises(CostModelError, match="holds another sweep"):
        network.sweep(**{**GRID, "n": [1]}, **OPTIONS, out=str(tmp_path / "a.zarr"))


def test_a_parquet_folder_is_the_sweep(network, whole, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = network.sweep(**GRID, **OPTIONS, where="n >= 3", out=str(tmp_path / "a.parquet"))
    table = pd.concat(map(pd.read_parquet, sorted((tmp_path / "a.parquet").glob("*.parquet"))))
    assert path == str(tmp_path / "a.parquet") and len(table) == 2 * 6 * 8
    for row in table.itertuples():
        at = {"hardware": row.hardware, "n": row.n, "h": row.h}
        assert row.time_lower == whole.time_lower.sel(at).item() and row.bound == whole.bound.sel(at).item()
    assert json.loads((tmp_path / "a.parquet" / "manifest.json").read_text())["complete"] is True


SLOW = """
import sys, time
import costmodel as cm
from costmodel.pricing.grid import job, store
n, d = cm.dims("n d")
cost = cm.analyze(lambda x, w: x @ w, cm.spec((n, d)), cm.spec((d, d)), verify=False)
chunk = job.Job.chunk
def slowly(self, slices, into=None):
    time.sleep(0.1)
    print("block", flush=True)
    return chunk(self, slices, into)
job.Job.chunk = slowly
job.Job.chunk_lengths = lambda self, most=None: (2, 16)
cost.sweep(n=range(2, 66), d=range(2, 18), metrics=("macs",), hardware=("lecture",), out=sys.argv[1])
"""


@pytest.mark.parametrize("kind", ["zarr", pytest.param("parquet", marks=pytest.mark.slow)])
def test_a_killed_run_is_resumed(tmp_path, kind):
    pytest.importorskip({"zarr": "zarr", "parquet": "pyarrow"}[kind])
    path = tmp_path / f"a.{kind}"
    run = [sys.executable, "-c", SLOW, str(path)]
    first = subprocess.Popen(run, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    for _ in range(6):
        assert first.stdout.readline() == "block\n"
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    before = {p: p.stat().st_mtime_ns for p in path.glob("block-*.parquet")}
    second = subprocess.run(run, capture_output=True, text=True, check=True).stdout.count("block")
    assert 32 - 7 <= second <= 32 - 5  # what was finished is kept
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())
    if kind == "zarr":
        data = xr.open_zarr(path, consolidated=False, chunks=None)
        assert np.array_equal(data.macs.values, np.arange(2, 66)[:, None] * np.arange(2, 18)**2)
        assert (data.time_lower.values > 0).all()
    else:
        pd = pytest.importorskip("pandas")
        table = pd.concat(map(pd.read_parquet, sorted(path.glob("*.parquet"))))
        assert len(table) == 64 * 16 and (table.macs == table.n * table.d**2).all()


# -- Dask and jax -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_a_lazy_sweep_is_the_sweep(network, whole, scheduler):
    pytest.importorskip("dask")
    lazy = network.sweep(**GRID, **OPTIONS, chunks={"n": 3, "h": 5})
    assert lazy.macs.chunks == ((3, 3, 2), (5, 3)) and lazy.time_lower.chunks == ((2,), (3, 3, 2), (5, 3))
    assert whole.identical(lazy.compute(scheduler=scheduler))


def test_nothing_but_data_goes_to_workers(network):
    """No sympy object is pickled: a worker gets the plan's text and arrays."""
    pickle = pytest.importorskip("cloudpickle")
    dask = pytest.importorskip("dask")
    lazy = network.sweep(**GRID, **OPTIONS, chunks=4)
    shipped = pickle.dumps(dict(dask.base.collections_to_expr([lazy]).__dask_graph__()) if hasattr(dask.base, "collections_to_expr")
                           else dict(lazy.__dask_graph__()))
    assert b"sympy" not in shipped and b"costmodel-sweep-1" in shipped


@pytest.mark.slow
def test_processes_and_a_cluster_give_the_same(network, whole, tmp_path):
    distributed = pytest.importorskip("distributed")
    lazy = network.sweep(**GRID, **OPTIONS, chunks={"n": 3})
    assert whole.identical(lazy.compute(scheduler="processes", num_workers=2))
    with (distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
          distributed.Client(cluster)):
        assert whole.identical(lazy.compute())
        stored = network.sweep(**GRID, **OPTIONS, chunks="auto", out=str(tmp_path / "a.zarr"))
    assert np.array_equal(stored.time_lower.values, whole.time_lower.values)


def test_jax_computes_the_same(network, whole):
    found = network.sweep(**GRID, **OPTIONS, backend="jax")
    assert np.array_equal(found.macs, whole.macs) and found.macs.dtype == np.int64
    assert np.allclose(found.time_lower, whole.time_lower, rtol=1e-12) and np.array_equal(found.bound, whole.bound)


def test_a_missing_library_is_named(network, tmp_path, monkeypatch):
    for name, options in (("zarr", {"out": str(tmp_path / "b.zarr")}), ("pyarrow", {"out": str(tmp_path / "b.parquet")}),
                          ("dask", {"chunks": 2})):
        monkeypatch.setitem(sys.modules, name, None)
        extra = {"pyarrow": "parquet"}.get(name, name)
        with pytest.raises(CostModelError, match=rf"pip install 'jax-costmodel\[{extra}\]'"):
            network.sweep(**GRID, **OPTIONS, **options)


def test_branches_in_a_lazy_sweep():
    import jax

    pytest.importorskip("dask")
    n, d = cm.dims("n d")
    cost = cm.analyze(lambda x, w: jax.lax.cond(x[0, 0] > 0, lambda: (x @ w).sum(), lambda: jax.numpy.exp(x).sum()),
                      cm.spec((n, d)), cm.spec((d, d)))
    grid = {"n": [2, 64, 4096], "d": [4, 100, 3000]}
    assert cost.sweep(**grid, hardware="lecture").identical(cost.sweep(**grid, hardware="lecture", chunks=1).compute())
