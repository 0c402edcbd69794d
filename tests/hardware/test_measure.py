"""This machine can be measured in seconds, and the figures are of a possible machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, load, machine, write

jax = pytest.importorskip("jax")

from costmodel.hardware.measure import _FLOAT32, _MATRIX, _admit, _evaluation, measure  # noqa: E402
from costmodel.hardware.probes import BLOCK, Probe  # noqa: E402


@pytest.fixture(scope="module")
def local() -> Hardware:
    return measure(seconds=0.5)


def test_a_short_measurement_is_complete(local: Hardware) -> None:
    assert local.name == "local" and local.measured
    assert {("matrix", "float32"), ("vector", "float32")} <= set(local.peaks)
    assert all(quantity.measured and quantity.source for quantity in local.peaks.values())
    assert local.peak("matrix", "float32") > 1e8 and local.bandwidth.value > 1e8
    assert local.peak("transcendental", "float32") < local.peak("vector", "float32")
    assert local.bandwidth.doubt


def test_it_says_on_what_and_how_it_was_measured(local: Hardware) -> None:
    run = local.measurement
    assert run is not None and run.versions["jax"] == jax.__version__
    assert {"backend", "device", "cpu", "cpus"} <= set(run.environment) and run.date and run.machine
    assert all(len(samples) >= 1 for samples in run.samples.values())
    # The budget holds, but for the first sample of each probe and the one that was under way at its end.
    firsts = [samples[0] for samples in run.samples.values()]
    assert sum(map(sum, run.samples.values())) <= 0.5 + sum(firsts) + max(map(max, run.samples.values()))


def test_it_is_written_as_the_users_local(local: Hardware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    write(local, tmp_path / "costmodel" / "hardware" / "local.toml")
    assert load("local") == local


def test_a_time_that_is_not_positive_is_refused() -> None:
    with pytest.raises(CostModelError, match="positive time"):
        measure(seconds=0)


def test_the_figure_of_a_probe_is_the_least_median_of_whole_blocks() -> None:
    probe = Probe("f", "s", 10.0, lambda: 0)
    probe.samples = [5.0, 4.0, 9.0, 4.0, 5.0, *[2.0, 2.0, 8.0, 1.0, 9.0], 0.5]
    assert len(probe.samples) % BLOCK == 1
    assert probe.seconds == 2.0 and probe.rate == 5.0
    probe.samples = [3.0, 1.0]
    assert probe.seconds == 2.0


def test_an_evaluation_is_what_it_adds_to_the_kernel_where_it_occurs() -> None:
    def probe(family: str, seconds: float) -> Probe:
        return Probe(family, "s", 100.0, lambda: 0, [seconds])

    bare = [probe("exp: without", t) for t in (1.0, 1.0, 5.0)]
    assert _evaluation("exp", [probe("exp", 3.0), probe("exp", 2.0), probe("exp", 4.0), *bare]) == pytest.approx(0.01)
    assert _evaluation("exp", [probe("exp", 3.0), probe("exp", 2.0)]) == pytest.approx(0.02)  # alone


def test_what_a_backend_refuses_is_noted_and_left_out() -> None:
    def broken():
        yield Probe("works", "small", 1.0, lambda: 0)
        raise ValueError("no such type\nand more")

    refused: dict[str, str] = {}
    probes = _admit(iter([("matrix odd", broken)]), 1.0, refused)
    assert [probe.family for probe in probes] == ["works"]
    assert refused == {"matrix odd": "no such type"}


def test_sizes_too_slow_for_their_share_are_left_out() -> None:
    def growing():
        for size in (1.0, 1e9):
            yield Probe("f", f"{size}", size, lambda: sum(range(1000)))

    assert [probe.work for probe in _admit(iter([("f", growing)]), 1.0, {})] == [1.0]


def test_the_machine_describes_itself(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU @ 1 GHz\n")
    assert machine.cpu_model(tmp_path / "cpuinfo") == "Some CPU @ 1 GHz"
    for index, level, size in ((0, 1, "32K"), (1, 3, "16M"), (2, 2, "512K")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "level").write_text(f"{level}\n")
        (tmp_path / f"index{index}" / "size").write_text(f"{size}\n")
    assert machine.last_level_cache(tmp_path) == 16 * 2**20
    assert machine.last_level_cache(tmp_path / "none") is None
    assert machine.cpu_count() >= 1
    memory = machine.memory()
    assert memory is None or memory > 2**26


@pytest.mark.parametrize("kind", _MATRIX)
def test_each_kind_of_device_measures_what_its_float32_policy_needs(kind: str) -> None:
    assert {how.dtype for how in _FLOAT32[kind]} <= {name for name, _, _ in _MATRIX[kind]}
