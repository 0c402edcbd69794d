"""Three devices at a million points by a cluster of two processes, killed on the way and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ENTRIES

GRID = {"n": range(1, 1001), "h": range(32, 32001, 32), "w": "h"}
DEVICES = ("h100-sxm", "tpu-v5e", "a100-sxm-80gb")

SCRIPT = """
import sys
from distributed import Client, LocalCluster
from costmodel.pricing.grid import store
from zoo.resnet import MODELS

if __name__ == "__main__":
    store.write.__defaults__ = (2**15,)  # blocks enough to be killed between
    cost = next(m for m in MODELS if m.name == "resnet50").analyze(verify=False)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        cost.sweep(n=range(1, 1001), h=range(32, 32001, 32), w="h", hardware=("h100-sxm", "tpu-v5e", "a100-sxm-80gb"), metrics=(),
                   chunks="auto", out=sys.argv[1])
"""


@pytest.mark.slow
def test_a_cluster_that_is_killed_goes_on_and_gives_the_same(tmp_path):
    for name in ("distributed", "zarr", "xarray"):
        pytest.importorskip(name)
    import xarray as xr

    script, path = tmp_path / "run.py", tmp_path / "a.zarr"
    script.write_text(SCRIPT)
    finished = tmp_path / "a.zarr.blocks.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(script), str(path)]

    def blocks() -> list[int]:
        lines = finished.read_text().splitlines() if finished.is_file() else []
        return [json.loads(line)["block"] for line in lines if '"block"' in line]

    first = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(blocks()) < 3 and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(first.pid, signal.SIGKILL)  # its workers, too
    first.wait()
    kept = blocks()
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    every = blocks()
    assert 3 <= len(kept) < len(every) == len(set(every))  # what was finished is not computed again
    found = xr.open_zarr(path, consolidated=False, chunks=None)
    whole = ENTRIES["resnet50"].analyze(verify=False).sweep(**GRID, hardware=DEVICES, metrics=())
    for name in ("time_lower", "time_upper", "time_predicted", "throughput"):
        # But for a rounding: which points are priced by a program of their own is not the same in each process.
        assert np.allclose(found[name].values, whole[name].values, rtol=1e-14, atol=0, equal_nan=True), name
    assert np.array_equal(np.array(found.bound.attrs["flag_meanings"].split())[found.bound.values], whole.bound.values)
