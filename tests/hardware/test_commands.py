"""`costmodel hw list`, `show`, `check`, `new` and `wall`: every figure with its source, every mistake in a line of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from costmodel.cli import main
from costmodel.hardware import available, load, read

from .toy import GOOD, MEASURED


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, ("hw", *arguments))


def succeed(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_has_every_device_with_its_peak_bandwidth_and_ridge() -> None:
    lines = {line.split()[0]: line for line in succeed("list").splitlines() if line.strip()}
    assert {*available(), "horowitz-45nm"} == {name for name in lines if name[0].isalnum()} - {"name", "ridge"}
    for part in ("gpu", "2017", "125 TFLOP/s", "float16", "900 GB/s", "32 GB", "138.9", "NVIDIA V100"):
        assert part in lines["v100-sxm-32gb"]
    assert "4.61 TFLOP/s" in lines["lecture"] and "float32" in lines["lecture"] and " 48 " in lines["lecture"]
    assert "energy" in lines["horowitz-45nm"]


def test_a_device_is_shown_with_all_its_sources_and_sparse_peaks_are_marked() -> None:
    device, out = load("h100-sxm"), succeed("show", "h100-sxm")
    figures = [*device.peaks.values(), *device.sparse.values(), device.bandwidth, device.power, device.weight]
    figures += [level.capacity for level in device.levels] + [link.bandwidth for link in device.links]
    for quantity in figures:
        assert quantity is not None and quantity.source in out and quantity.doubt in out
    sparse = [line for line in out.splitlines() if "sparse: not used" in line]
    assert len(sparse) == len(device.sparse) == 5
    assert "NVLink4, both ways" in out and "fusion policy: xla-gpu" in out and "bool as int32" in out


def test_everything_that_a_file_of_the_user_says_is_shown(toy: Path) -> None:
    out = succeed("show", str(toy))
    for part in ("unfused: reached of the ceilings", "4 runs of 2 models, 2026-01-01",
                 "unfused, depthwise conv: reached", "0.25", "3 µs", "mul float32", "3 pJ", "RAM (main memory)",
                 "16 pJ/B", "1 mul + 1 add", "static power", "as float32", "wire, both ways", "measured on m"):
        assert part in out


def test_a_table_of_energies_is_shown_with_its_sources() -> None:
    out, table = succeed("show", "horowitz-45nm"), read("horowitz-45nm")
    assert "mul float32" in out and "3.7 pJ" in out and "DRAM (main memory)" in out and "160 pJ/B" in out
    assert all(quantity.source in out for quantity in (*table.operations.values(), *table.memory.values()))


def test_check_says_what_is_wrong_a_line_each(toy: Path, tmp_path: Path) -> None:
    assert succeed("check", str(toy)) == f"{toy}: right\n"
    bad = tmp_path / "bad.toml"
    wrong = (GOOD + MEASURED).replace('unit = "W", ', "").replace("value = 16", "value = -16").replace('name = "L2"', "L = 2")
    bad.write_text(wrong, encoding="utf-8")
    result = run("check", str(toy), str(bad))
    assert result.exit_code == 2 and "Traceback" not in result.output
    first, *problems = result.output.splitlines()
    assert first == f"{toy}: right"
    assert [line.split(": ")[:2] for line in problems] == [["bad.toml", key] for key in (
        "datasheet.memory.capacity.value", "datasheet.power.unit", "datasheet.levels[0].L", "datasheet.levels[0].name",
        "energy.static_power.unit")]
    for files in ((), ("none.toml",)):
        assert run("check", *files).exit_code == 2


def test_a_new_file_is_to_be_filled_in_and_none_is_overwritten(tmp_path: Path) -> None:
    assert "costmodel hw check chip.toml" in succeed("new", "chip")
    result = run("check", "chip.toml")
    assert result.exit_code == 2 and "datasheet.memory.bandwidth.value: to be filled in: a number in GB/s" in result.output
    (tmp_path / "chip.toml").write_text("mine", encoding="utf-8")
    assert run("new", "chip").exit_code == 2 and (tmp_path / "chip.toml").read_text(encoding="utf-8") == "mine"
    succeed("new", "chip", "-o", "other.toml")
    assert 'name = "chip"' in (tmp_path / "other.toml").read_text(encoding="utf-8")
    assert run("new", "My Chip").exit_code == 2


def test_the_memory_wall_is_drawn(tmp_path: Path) -> None:
    assert succeed("wall", "-o", "wall.png") == "drawn in wall.png\n"
    assert (tmp_path / "wall.png").read_bytes().startswith(b"\x89PNG")
    assert run("wall", "-o", "wall.txt").exit_code == 2
