"""Every device file loads, the published ridge points hold, and a peak is the device's own or an error."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from costmodel import hardware
from costmodel.errors import CostModelError
from costmodel.hardware import Energies, MissingPeak, UnknownHardware, load, read, write
from costmodel.hardware.years import growth

from .toy import GOOD

FOLDER = files("costmodel.hardware")
SHIPPED = sorted(entry.name for entry in FOLDER.iterdir() if entry.name.endswith(".toml"))
ENERGIES = sorted(entry.name for entry in FOLDER.joinpath("energies").iterdir() if entry.name.endswith(".toml"))


@pytest.mark.parametrize("file", SHIPPED)
def test_every_shipped_device_loads_under_its_own_name(file: str) -> None:
    device = load(file.removesuffix(".toml"))
    assert device.name == file.removesuffix(".toml")
    assert not device.measured
    integers_only = file == "coral-edge-tpu.toml"  # which has no unit for floating point at all
    dtype = "int8" if integers_only else "float32"
    assert device.peak("matrix", dtype) > 0 and device.peak("vector", dtype) > 0
    assert device.peak("transcendental", dtype) == device.peak("vector", dtype) / device.transcendental_weight
    # Masks and indices are in nearly every model: a device that cannot price them prices nothing.
    assert device.peak("vector", "bool") > 0 and device.peak("vector", "int32") > 0
    assert device.year or device.kind == "example"


def test_there_are_shipped_devices() -> None:
    assert {"lecture.toml", "h100-sxm.toml", "tpu-v5e.toml", "stm32f746.toml"} <= set(SHIPPED)
    assert hardware.available() == tuple(sorted(name.removesuffix(".toml") for name in SHIPPED))
    assert hardware.energy_tables() == tuple(name.removesuffix(".toml") for name in ENERGIES) == ("horowitz-45nm",)


# Numbers that are no figures: they count passes, parts and versions, or name a year.
COUNTS = ("year", "passes", "version", "runs", "models", "spread")  # a calibration's stand beside what was fitted


def unsourced(data: Any, key: str = "") -> Iterator[str]:
    """Keys of numbers that stand without a unit and a source."""
    if isinstance(data, dict) and "value" in data:
        if not all(isinstance(data.get(k), str) and data[k].strip() for k in ("unit", "source")):
            yield key
    elif isinstance(data, dict):
        sourced = bool(data.get("source"))  # the parts of what is composed, how many devices a link connects, and tiles have one
        for name, inner in data.items():
            if not (sourced and (key == "energy.composed" or (key == "datasheet.links" and isinstance(inner, int))
                                 or (key == "products" and isinstance(inner, int | list)))):
                yield from unsourced(inner, f"{key}.{name}".lstrip("."))
    elif isinstance(data, list):
        for inner in data:
            yield from unsourced(inner, key)
    elif isinstance(data, int | float) and key.split(".")[-1] not in COUNTS:
        yield key


@pytest.mark.parametrize("file", [*SHIPPED, *(f"energies/{name}" for name in ENERGIES)])
def test_every_number_has_a_unit_and_a_source(file: str) -> None:
    text = FOLDER.joinpath(file).read_text(encoding="utf-8")
    assert list(unsourced(tomllib.loads(text))) == []
    for broken in (text.replace(', source = "', ', said_by = "'), text.replace(', source = "', ', source = " ", was = "'),
                   text.replace(', unit = "', ', in = "'), text + "\n[more]\nfigure = 5\n"):
        assert list(unsourced(tomllib.loads(broken)))
    if "composed" in text:
        assert list(unsourced(tomllib.loads(text.replace("[energy.composed]\nsource", "[energy.composed]\nwas"))))


def test_the_devices_are_the_ones_of_the_field() -> None:
    families = {name.split("-")[0] for name in hardware.available()}
    assert {"v100", "t4", "a100", "l4", "l40s", "h100", "h200", "b200", "rtx", "jetson", "tpu", "mi250x", "mi300x", "apple",
            "raspberry", "stm32f746", "stm32h743", "opteron", "lecture"} <= families
    assert len(hardware.available()) >= 47


@pytest.mark.parametrize("file", SHIPPED)
def test_a_sparse_peak_is_never_used(file: str) -> None:
    device = load(file.removesuffix(".toml"))
    for (engine, dtype), quantity in device.sparse.items():
        assert device.peak(engine, dtype, "DEFAULT") < quantity.value
        assert 1.9 <= quantity.value / device.peaks[engine, dtype].value <= 2.1, "structured sparsity doubles the rate"


@pytest.mark.parametrize("file", SHIPPED)
def test_elementwise_work_never_runs_at_the_rate_of_matrix_units(file: str) -> None:
    device = load(file.removesuffix(".toml"))
    if device.kind in ("gpu", "tpu"):
        best = max(quantity.value for (engine, _), quantity in device.peaks.items() if engine == "matrix")
        assert all(q.value <= best for (engine, _), q in device.peaks.items() if engine == "vector")
        if device.sparse or device.kind == "tpu":
            assert 4 * device.peak("vector", "float32") <= best


def test_published_figures_of_links_are_per_direction_or_of_both() -> None:
    nvlink, infiniband = load("h100-sxm").links
    assert nvlink.direction == "both ways" and nvlink.one_way == 450e9
    assert (nvlink.domain, infiniband.domain, infiniband.one_way) == (8, None, 50e9)
    ici, _ = load("tpu-v4").links
    assert ici.direction == "each way" and ici.one_way == 300e9
    assert (ici.topology, ici.axes, ici.wraparound, ici.domain) == ("torus", 3, 4, 16**3)


def test_a_table_of_energies_is_no_device() -> None:
    table = read("horowitz-45nm")
    assert isinstance(table, Energies) and read("lecture") == load("lecture")
    with pytest.raises(UnknownHardware, match=r"horowitz-45nm states energies only.*cost\.energy"):
        load("horowitz-45nm")


def test_the_users_own_tables_of_energies_are_found(no_user_devices: Path) -> None:
    write(dataclasses.replace(read("horowitz-45nm"), name="mine"), no_user_devices / "energies" / "mine.toml")
    assert "mine" in hardware.energy_tables() and "mine" not in hardware.available()
    assert read("mine").name == "mine"


def test_the_memory_wall() -> None:
    """Peaks grow faster than bandwidths: over the generations of NVIDIA's and of Google's accelerators, and over all devices."""
    nvidia = [load(name) for name in ("v100-sxm-32gb", "a100-sxm-40gb", "h100-sxm", "b200-sxm")]
    google = [load(f"tpu-v{version}") for version in ("2", "3", "4", "5p", "6e", "7x")]
    every = [load(name) for name in hardware.available() if load(name).kind in ("gpu", "tpu", "cpu")]

    def peak(device: hardware.Hardware) -> float:
        return max(q.value for (engine, dtype), q in device.peaks.items() if engine == "matrix" and dtype in ("float64", "float32",
                   "float16", "bfloat16"))

    def bandwidth(device: hardware.Hardware) -> float:
        return device.bandwidth.value

    for devices in (nvidia, google, every):
        assert growth(devices, peak) > growth(devices, bandwidth) > 1
    # Without the matrix units there is no wall to see: the check can fail.
    assert not growth(nvidia, lambda device: device.peak("vector", "float32")) > 1.1 * growth(nvidia, bandwidth)


@pytest.mark.parametrize(
    ("name", "dtype", "ridge"),
    [
        ("lecture", "float32", 48),
        ("v100-sxm-32gb", "float16", 139),
        ("h100-sxm", "bfloat16", 295),
        ("h200-sxm", "bfloat16", 206),
        ("a100-sxm-80gb", "bfloat16", 153),
        ("mi300x", "bfloat16", 247),
        ("tpu-v4", "bfloat16", 229),
        ("tpu-v5e", "bfloat16", 241),
        ("tpu-v6e", "bfloat16", 560),
    ],
)
def test_published_ridge_points(name: str, dtype: str, ridge: int) -> None:
    assert round(load(name).ridge_point("matrix", dtype)) == ridge


def test_the_ridge_point_of_the_paper_that_named_it() -> None:
    """Williams, Waterman and Patterson, Roofline, CACM 52(4), 2009: 17.6 GFLOP/s over 15 GB/s."""
    assert round(load("opteron-x2").ridge_point("matrix", "float64"), 2) == 1.17


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


@pytest.mark.parametrize(
    ("name", "dtype", "algorithm", "peak"),
    [
        ("h100-sxm", "float32", "BF16_BF16_F32", 989.4e12),
        ("h100-sxm", "bfloat16", "BF16_BF16_F32", 989.4e12),
        ("h100-sxm", "float32", ("BF16_BF16_F32", "BF16_BF16_F32"), 989.4e12),
        ("h100-sxm", "float32", "BF16_BF16_F32_X9", 989.4e12 / 9),
        ("h100-sxm", "float32", "TF32_TF32_F32_X3", 494.7e12 / 3),
        ("h100-sxm", "float32", "F32_F32_F32", 66.9e12),
        ("h100-sxm", "float8_e4m3fn", "ANY_F8_ANY_F8_F32", 1978.9e12),
        ("tpu-v5e", "float32", "BF16_BF16_F32", 197e12),
        ("tpu-v5e", "float32", "BF16_BF16_F32_X6", 197e12 / 6),
    ],
)
def test_an_algorithm_names_the_type_that_is_multiplied(name: str, dtype: str, algorithm: object, peak: float) -> None:
    assert load(name).peak("matrix", dtype, algorithm) == pytest.approx(peak, rel=1e-12)


def test_every_algorithm_of_jax_is_understood_and_no_other_type_is_taken_for_one() -> None:
    jax = pytest.importorskip("jax")
    h100 = load("h100-sxm")
    for algorithm in jax.lax.DotAlgorithmPreset:
        if algorithm.name == "F64_F64_F64":
            with pytest.raises(MissingPeak, match=r"no matrix peak for float32 \(run as float64\)"):
                h100.peak("matrix", "float32", algorithm)
        else:
            assert h100.peak("matrix", "float32", algorithm) > 0
    with pytest.raises(MissingPeak, match="run as tf32"):
        load("tpu-v5e").peak("matrix", "float32", "TF32_TF32_F32")


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
    with pytest.raises(UnknownHardware, match=r"'h100'; did you mean h100-\w+.*available: a100-pcie-40gb, a100-pcie-80gb"):
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


@pytest.mark.parametrize("file", ENERGIES)
def test_writing_and_loading_gives_the_same_energies(file: str, tmp_path: Path) -> None:
    table = read(file.removesuffix(".toml"))
    assert read(write(table, tmp_path / file)) == table


def test_writing_keeps_measured_and_published_figures_apart(toy: Path, tmp_path: Path) -> None:
    device = load(toy)
    again = load(write(device, tmp_path / "again.toml"))
    assert again == device and hash(again) == hash(device)
    assert again.calibration and again.links and again.sparse and again.fusion == "unfused"
    assert again.energies is not None
    assert again.energies.notes == {"composed source": "s", "runs_as source": "s", "runs_as doubt": "d"}
    assert again.measurement is not None and again.measurement.samples == {"matrix float32": (1.0, 2.0)}


def test_awkward_text_survives_writing(toy: Path, tmp_path: Path) -> None:
    toy.write_text(GOOD.replace('"A toy"', r'"quote \" backslash \\ tab \t µ \u007f"'), encoding="utf-8")
    assert load(write(load(toy), tmp_path / "again.toml")).title == 'quote " backslash \\ tab \t µ \x7f'


def test_devices_are_read_without_jax_and_numpy() -> None:
    code = "import sys, costmodel.hardware as h; h.load('lecture'); sys.exit(bool({'jax', 'numpy'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
