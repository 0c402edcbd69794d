"""Every device file loads, the published ridge points hold, and a peak is the device's own or an error."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from costmodel import hardware
from costmodel.errors import CostModelError
from costmodel.hardware import MissingPeak, UnknownHardware, load, write

from .toy import GOOD

SHIPPED = sorted(entry.name for entry in files("costmodel.hardware").iterdir() if entry.name.endswith(".toml"))


@pytest.mark.parametrize("file", SHIPPED)
def test_every_shipped_device_loads_under_its_own_name(file: str) -> None:
    device = load(file.removesuffix(".toml"))
    assert device.name == file.removesuffix(".toml")
    assert not device.measured
    assert device.peak("matrix", "float32") > 0 and device.peak("vector", "float32") > 0
    assert device.peak("transcendental", "float32") == device.peak("vector", "float32") / device.transcendental_weight
    # Masks and indices are in nearly every model: a device that cannot price them prices nothing.
    assert device.peak("vector", "bool") > 0 and device.peak("vector", "int32") > 0
    assert device.year or device.kind == "example"


def test_there_are_shipped_devices() -> None:
    assert {"lecture.toml", "h100-sxm.toml", "tpu-v5e.toml", "stm32f746.toml"} <= set(SHIPPED)
    assert hardware.available() == tuple(name.removesuffix(".toml") for name in SHIPPED)


@pytest.mark.parametrize(
    ("name", "dtype", "ridge"),
    [
        ("lecture", "float32", 48),
        ("h100-sxm", "bfloat16", 295),
        ("h200-sxm", "bfloat16", 206),
        ("a100-sxm-80gb", "bfloat16", 153),
        ("tpu-v5e", "bfloat16", 241),
    ],
)
def test_published_ridge_points(name: str, dtype: str, ridge: int) -> None:
    assert round(load(name).ridge_point("matrix", dtype)) == ridge


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        ("h100-sxm", None, 494.7e12),
        ("h100-sxm", "HIGH", 494.7e12),
        ("h100-sxm", "HIGHEST", 66.9e12),
        ("h100-sxm", ("DEFAULT", "HIGHEST"), 66.9e12),
        ("h100-sxm", "tensorfloat32", 494.7e12),
        ("tpu-v5e", "default", 197e12),
        ("tpu-v5e", "HIGH", 197e12 / 3),
        ("tpu-v5e", "HIGHEST", 197e12 / 6),
        ("stm32f746", None, 0.432e9),
        ("stm32f746", "HIGHEST", 0.432e9),
    ],
)
def test_what_float32_means_is_the_policy_of_the_device(name: str, precision: object, peak: float) -> None:
    assert load(name).peak("matrix", "float32", precision) == pytest.approx(peak, rel=1e-12)


def test_precision_and_types_of_jax_are_understood() -> None:
    jax = pytest.importorskip("jax")
    h100 = load("h100-sxm")
    assert h100.peak("matrix", jax.numpy.float32, jax.lax.Precision.HIGHEST) == 66.9e12
    assert h100.peak("matrix", jax.numpy.dtype("bfloat16")) == 989.4e12
    assert h100.default_precision == {"float32": "tf32"}
    with pytest.raises(CostModelError, match="precision 'somehow' is not priced"):
        h100.peak("matrix", "float32", "somehow")


def test_precision_changes_nothing_but_float32_contractions() -> None:
    h100 = load("h100-sxm")
    assert h100.peak("matrix", "bfloat16", "HIGHEST") == h100.peak("matrix", "bfloat16")
    assert h100.peak("vector", "float32", "DEFAULT") == 66.9e12


def test_a_missing_peak_is_an_error_that_says_what_there_is() -> None:
    with pytest.raises(MissingPeak) as caught:
        load("a100-sxm-80gb").peak("matrix", "float8_e4m3fn")
    message = str(caught.value)
    for part in (
        "a100-sxm-80gb",
        "matrix",
        "float8_e4m3fn",
        "bfloat16, float16, float32, int8, tf32",
        "reprice(dtype=…)",
    ):
        assert part in message
    assert "\n" not in message
    with pytest.raises(MissingPeak, match="float64"):
        load("h100-sxm").peak("transcendental", "float64")
    with pytest.raises(MissingPeak, match="engine 'memory'"):
        load("h100-sxm").peak("memory", "float32")


def test_measured_figures_go_before_the_datasheet(toy: Path) -> None:
    device = load(toy)
    assert device.measured and device.peaks["matrix", "float32"].measured
    assert device.peak("matrix", "float32") == 800e9
    assert device.peak("matrix", "int8") == 4e12 and not device.peaks["matrix", "int8"].measured
    toy.write_text(GOOD, encoding="utf-8")
    assert not load(toy).measured and load(toy).peak("matrix", "float32") == 1e12


def test_unknown_names_list_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UnknownHardware, match=r"'h100'; did you mean h100-sxm.*available: a100-sxm-80gb, h100-sxm"):
        load("h100")
    with pytest.raises(UnknownHardware, match="hw measure"):
        load("local")
    with pytest.raises(UnknownHardware, match="no device file"):
        load(tmp_path / "none.toml")


def test_the_users_own_devices_are_found_and_go_first(no_user_devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_user_devices.mkdir(parents=True)
    (no_user_devices / "toy.toml").write_text(GOOD, encoding="utf-8")
    (no_user_devices / "lecture.toml").write_text(GOOD.replace("toy", "lecture"), encoding="utf-8")
    assert "toy" in hardware.available()
    assert load("toy").title == "A toy"
    assert load("lecture").title == "A lecture"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/is/ignored")
    assert hardware.user_directory() == Path.home() / ".config" / "costmodel" / "hardware"


@pytest.mark.parametrize("file", SHIPPED)
def test_writing_and_loading_gives_the_same_device(file: str, tmp_path: Path) -> None:
    device = load(file.removesuffix(".toml"))
    assert load(write(device, tmp_path / "deep" / file)) == device


def test_writing_keeps_measured_and_published_figures_apart(toy: Path, tmp_path: Path) -> None:
    device = load(toy)
    again = load(write(device, tmp_path / "again.toml"))
    assert again == device and hash(again) == hash(device)
    assert again.measurement is not None and again.measurement.samples == {"matrix float32": (1.0, 2.0)}


def test_awkward_text_survives_writing(toy: Path, tmp_path: Path) -> None:
    toy.write_text(GOOD.replace('"A toy"', r'"quote \" backslash \\ tab \t µ \u007f"'), encoding="utf-8")
    assert load(write(load(toy), tmp_path / "again.toml")).title == 'quote " backslash \\ tab \t µ \x7f'


def test_devices_are_read_without_jax_and_numpy() -> None:
    code = "import sys, costmodel.hardware as h; h.load('lecture'); sys.exit(bool({'jax', 'numpy'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
