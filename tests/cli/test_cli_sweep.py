"""The command ``sweep`` prints, writes and draws what ``cost.sweep`` gives."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from conftest import ENTRIES

from costmodel.cli import main

xr = pytest.importorskip("xarray")

SWEEP = ("sweep", "mlp", "--no-verify", "--over", "n=1..64*2,a=3..9:3", "--at", "b=5,c=4,d=2", "--metrics", "macs,params")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_table_of_points(cost_of):
    code, out = run(*SWEEP, "--hw", "lecture")
    cost = cost_of("mlp")
    assert code == 0
    point = cost.at(n=64, a=9, b=5, c=4, d=2)
    row = next(line for line in out.splitlines() if line.split()[:3] == ["lecture", "64", "9"])
    assert point.roofline("lecture").bound in row and f"{point.params}" in row
    assert out.count("lecture") == 7 * 3


def test_a_long_sweep_shows_its_ends_and_says_so():
    code, out = run(*SWEEP[:3], "--over", "n=1..200,a=1..200", *SWEEP[5:])
    rows = [line.split() for line in out.splitlines() if line[:12].strip().split(" ")[0].isdigit()]
    assert code == 0 and 4 <= len(rows) <= 32 and "of 40,000 points" in out


def test_files(tmp_path, cost_of):
    cost = cost_of("mlp")
    wanted = cost.sweep(n=[1, 2, 4, 8, 16, 32, 64], a=[3, 6, 9], b=5, c=4, d=2, metrics=("macs", "params"))
    code, _ = run(*SWEEP, "-o", str(tmp_path / "a.csv"))
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert code == 0 and lines[0] == "n,a,macs,params" and len(lines) == 22
    assert lines[-1] == f"64,9,{int(wanted.macs[-1, -1])},{int(wanted.params[-1, -1])}"
    pytest.importorskip("zarr")
    assert run(*SWEEP, "-o", str(tmp_path / "a.zarr"))[0] == 0
    assert (xr.open_zarr(tmp_path / "a.zarr", consolidated=False, chunks=None).macs.values == wanted.macs.values).all()
    pytest.importorskip("scipy")
    assert run(*SWEEP, "-o", str(tmp_path / "a.nc"))[0] == 0
    assert (xr.open_dataset(tmp_path / "a.nc").macs.values == wanted.macs.values).all()


@pytest.mark.parametrize(("over", "at", "suffix"), [
    ("n=1..64", "a=3,b=5,c=4,d=2", "svg"), ("n=1..64,a=3..9", "b=5,c=4,d=2", "png")])
def test_pictures(tmp_path, over, at, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"a.{suffix}"
    code, out = run("sweep", "mlp", "--no-verify", "--over", over, "--at", at, "--hw", "lecture,h100-sxm", "-o",
                    str(path))
    assert code == 0 and f"written to {path}" in out and path.stat().st_size > 5000


def test_answers_on_the_command_line():
    code, out = run("sweep", "resnet18", "--no-verify", "--over", "n=1..16,h=64..256", "--tie", "w=h", "--hw", "h100-sxm", "--best",
                    "throughput,n", "--keep", "live_peak <= 100MB")
    cost = ENTRIES["resnet18"].analyze(verify=False)
    data = cost.sweep(n=range(1, 17), h=range(64, 257, 32), w="h", hardware="h100-sxm", metrics=("live_peak",),
                      best=("throughput", "n"), where="live_peak <= 100MB")
    rows = [line.split() for line in out.splitlines() if line.strip().startswith("h100-sxm")]
    assert code == 0 and [row[1] for row in rows] == list(map(str, data.h.values))
    assert all(str(int(n)) in row for n, row in zip(data.n.values[0], rows, strict=True))


@pytest.mark.parametrize("hardware", ["h100-sxm", "h100-sxm,lecture"])
@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",), ("--markdown",), ("--latex",)])
def test_one_answer_over_one_axis(hardware, form):
    """Of one device it has no axis left, its names neither."""
    code, out = run("sweep", "mlp", "--no-verify", "--over", "n=1..64*2", "--at", "a=3,b=5,c=4,d=2", "--hw", hardware, "--best",
                    "throughput", "--keep", "live_peak <= 1MB", *form)
    assert code == 0 and "64" in out and "h100-sxm" in out


def test_a_figure_of_the_device_is_an_axis():
    code, out = run("sweep", "resnet18", "--no-verify", "--over", "n=1|8", "--at", "h=64,w=64", "--hw", "h100-sxm", "--vary",
                    "bandwidth=1TB/s..4TB/s:4")
    assert code == 0 and sum(line.strip().startswith("h100-sxm") for line in out.splitlines()) == 8


@pytest.mark.parametrize(("arguments", "message"), [
    (("--over", "n"), "is not of the form NAME=FIRST..LAST"),
    (("--over", "n=4..1"), "has no value"),
    (("--over", "n=1..4*1"), "a factor is at least 2"),
    (("--over", "n=1,n=2"), "gives n twice"),
    (("--over", "n=1..4", "--tie", "w"), "is not of the form NAME=NAME"),
    (("--over", "n=1..4", "--vary", "bandwidth=1TB/s..4TB/s"), "is not of the form NAME=LEAST..MOST:COUNT"),
    (("--over", "n=1..4", "-o", "a.xlsx"), "end it in .zarr"),
    (("--over", "q=1..4"), "unknown symbol q"),
    (("--over", "n=1..4", "--hw", "h200x"), "unknown device"),
])
def test_what_is_malformed(arguments, message):
    code, out = run("sweep", "mlp", "--no-verify", "--at", "a=1,b=1,c=1,d=1", *arguments)
    assert code == 2 and message in out and "Traceback" not in out


def test_what_is_filled_in_is_said_and_no_value_is_given_twice():
    code, out = run("sweep", "resnet18", "--no-verify", "--over", "n=1..4", "--at", "h=64")
    assert code == 0 and "at h=64, w=224" in out.splitlines()[0]
    code, out = run("sweep", "resnet18", "--no-verify", "--over", "n=1..4", "--at", "n=2")
    assert code == 2 and "--at gives n=2" in out
    code, out = run("sweep", "resnet18", "--no-verify", "--over", "h=64..128", "--tie", "w=h", "--at", "w=64")
    assert code == 2 and "--tie gives w" in out


@pytest.mark.parametrize("answer", [(), ("--best", "time"), ("--best", "throughput,n"), ("--pareto", "macs,live_peak"),
                                    ("--best", "time", "-o", "a.png"), ("--csv",)])
def test_conditions_that_no_point_meets_are_one_line(answer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out = run(*SWEEP, "--hw", "lecture", "--keep", "live_peak <= 1B", *answer)
    assert code == 2 and out.startswith("costmodel: no point of this sweep meets live_peak <= 1B") and not list(tmp_path.iterdir())


def test_a_picture_of_one_answer_says_that_no_axis_is_left(tmp_path):
    code, out = run(*SWEEP, "--hw", "lecture", "--best", "time", "-o", str(tmp_path / "a.png"))
    assert code == 2 and "none is left: write .csv" in out


def test_figures_of_devices_have_their_units():
    code, out = run(*SWEEP, "--hw", "lecture", "--vary", "bandwidth=1TB/s|2TB/s")
    rows = [line.split() for line in out.splitlines() if line.startswith(" lecture")]
    assert code == 0 and {(row[3], row[4]) for row in rows} == {("1", "TB/s"), ("2", "TB/s")}
    assert "throughput: at best, by time_lower" in out


def test_sizes_beyond_64_bits_are_shown():
    code, out = run("sweep", "mlp", "--no-verify", "--over", f"n={10**20}", "--at", "a=1,b=1,c=1,d=1")
    assert code == 0 and str(10**20) in out


def test_every_part_of_a_narrow_table_says_of_which_point_a_row_is():
    result = CliRunner(env={"COLUMNS": "60"}).invoke(main, [*SWEEP, "--hw", "lecture"])
    heads = [line.split() for line in result.output.splitlines() if line.startswith(" hardware")]
    assert result.exit_code == 0 and len(heads) > 1 and all(head[:3] == ["hardware", "n", "a"] for head in heads)
