"""The schema of device files accepts a good file and names file and key of every fault."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from costmodel.errors import CostModelError
from costmodel.hardware import HardwareFileError, MissingPeak, UnknownHardware, check, load, template, write
from costmodel.hardware.calibration import KERNELS
from costmodel.hardware.schema import UNITS

from .toy import GOOD, MEASURED

# (what is replaced in GOOD + MEASURED, by what, fragments of the message)
BROKEN = [
    ('name = "toy"', 'name = "Toy One"', ["name", "lower-case"]),
    ('title = "A toy"', "", ["title", "missing"]),
    ('title = "A toy"', 'title = " "', ["title", "not empty"]),
    ('title = "A toy"', 'titel = "A toy"', ["titel", "unknown key", "title"]),
    ('kind = "cpu"', 'kind = "fpga"', ["kind", "'fpga'", "gpu, tpu, cpu, mcu"]),
    ("year = 2020", "year = 20", ["year", "20", "release"]),
    ("[datasheet.peaks.matrix]", "[datasheet.peaks.tensor]", ["datasheet.peaks.tensor", "unknown key", "matrix"]),
    ("int8 = { value = 4,", "int9 = { value = 4,", ["datasheet.peaks.matrix.int9", "unknown key"]),
    ('value = 4, unit = "TOP/s"', 'value = 4, unit = "TFLOP/s"', ["matrix.int8.unit", "'TFLOP/s'", "expected OP/s"]),
    ('value = 50, unit = "GB/s"', 'value = 50, unit = "Gbit/s"', ["memory.bandwidth.unit", "unknown unit 'Gbit/s'"]),
    ('value = 50, unit = "GB/s"', "value = 50", ["memory.bandwidth.unit", "missing"]),
    ('value = 50, unit = "GB/s"', 'unit = "GB/s"', ["memory.bandwidth.value", "missing"]),
    ('value = 50, unit = "GB/s"', 'value = "50", unit = "GB/s"', ["memory.bandwidth.value", "expected a number"]),
    ('value = 50, unit = "GB/s"', 'value = true, unit = "GB/s"', ["memory.bandwidth.value", "expected a number"]),
    ('value = 50, unit = "GB/s"', 'value = -50, unit = "GB/s"', ["memory.bandwidth.value", "-50 is not positive"]),
    ('value = 50, unit = "GB/s"', 'value = 0, unit = "GB/s"', ["memory.bandwidth.value", "0 is not positive"]),
    ('value = 50, unit = "GB/s"', 'value = nan, unit = "GB/s"', ["memory.bandwidth.value", "not positive"]),
    ('value = 50, unit = "GB/s"', 'value = 1001, unit = "TB/s"', ["memory.bandwidth.value", "not plausible", "1e+15"]),
    ('value = 1, unit = "TFLOP/s"', 'value = 1.1e6, unit = "TFLOP/s"', ["matrix.float32", "not plausible", "1e+18"]),
    ('value = 1, unit = "TFLOP/s"', 'value = 1, unit = "FLOP/s"', ["matrix.float32", "not plausible"]),
    ('value = 1, unit = "TFLOP/s"', 'value = inf, unit = "TFLOP/s"', ["matrix.float32", "not plausible"]),
    ('value = 2, unit = "us", source = "s"', 'value = 2, unit = "us"', ["launch_overhead.source", "missing"]),
    (
        'value = 2, unit = "us", source = "s"',
        'value = 2, unit = "us", source = ""',
        ["launch_overhead.source", "empty"],
    ),
    ('value = 65, unit = "W"', 'value = 65, unit = "s"', ["datasheet.power.unit", "'s'", "expected W"]),
    ('value = 65, unit = "W", source = "s"', 'value = 65, unit = "W", src = "s"', ["power.src", "unknown key"]),
    ('power = { value = 65, unit = "W", source = "s" }', "power = 65", ["datasheet.power", "expected a table"]),
    ('bandwidth = { value = 50, unit = "GB/s", source = "s" }', "", ["datasheet.memory.bandwidth", "missing"]),
    ("[datasheet.memory]", "[datasheet.ram]", ["datasheet.ram", "unknown key"]),
    (
        '[[datasheet.levels]]\nname = "L2"',
        '[datasheet.levels]\nname = "L2"',
        ["datasheet.levels", "[[datasheet.levels]]"],
    ),
    ('capacity = { value = 512, unit = "KiB", source = "s" }', "", ["datasheet.levels[0].capacity", "missing"]),
    ('name = "L2"', "", ["datasheet.levels[0].name", "missing"]),
    ("[policy]\nsource", "[policy]\nsauce", ["policy.sauce", "unknown key"]),
    ('fusion = "unfused"', "fusion = 1", ["policy.fusion", "expected a text"]),
    ('value = 2, unit = "TFLOP/s"', 'value = 1, unit = "TFLOP/s"', ["sparse.matrix.float32", "not above the dense peak"]),
    ('value = 1, unit = "TFLOP/s"', 'value = 2, unit = "TFLOP/s"', ["sparse.matrix.float32", "is that one sparse?"]),
    ("[datasheet.sparse.matrix]\nfloat32", "[datasheet.sparse.matrix]\ntf32", ["sparse.matrix.tf32", "no dense peak"]),
    ("[datasheet.sparse.matrix]", "[datasheet.sparse.tensor]", ["datasheet.sparse.tensor", "unknown key"]),
    ('direction = "both ways"', 'direction = "up"', ["datasheet.links[0].direction", "'up'", "each way, both ways"]),
    ('direction = "both ways"', "", ["datasheet.links[0].direction", "missing", "each way, both ways"]),
    ('value = 20, unit = "GB/s"', 'value = 20, unit = "GB"', ["datasheet.links[0].bandwidth.unit", "expected B/s"]),
    ('topology = "torus"', 'topology = "tree"', ["datasheet.links[0].topology", "'tree'", "torus, ring, full, switch"]),
    ('topology = "torus"', 'topology = "ring"', ["datasheet.links[0].axes", "is of a torus"]),
    ("domain = 64", "domain = 1", ["datasheet.links[0].domain", "from 2"]),
    ('wraparound = 4\nsource = "s"', "wraparound = 4", ["datasheet.links[0].source", "missing"]),
    ("[[datasheet.links]]", "[datasheet.links]", ["datasheet.links", "[[datasheet.links]]"]),
    ('"depthwise conv" = {', '"convolution" = {', ["calibration.unfused.kinds.convolution", "unknown key", "depthwise conv"]),
    ("runs = 4", "runs = 0", ["calibration.unfused.runs", "0; expected how many"]),
    ("runs = 4", "", ["calibration.unfused.runs", "expected how many"]),
    ("spread = 0.1", "spread = 7.5", ["calibration.unfused.spread", "7.5; expected a number from 0.001 to 3"]),
    ('date = "2026-01-01"', "", ["calibration.unfused.date", "missing"]),
    ("value = 0.25", "value = 125", ["calibration.unfused.kinds.depthwise conv.value", "not plausible", "to 100 1"]),
    ('efficiency = { value = 0.5, unit = "1", source = "fitted" }', "", ["calibration.unfused.efficiency", "missing"]),
    ('main = "RAM"', 'main = "ROM"', ["energy.main", "'ROM'", "RAM, near by"]),
    ('value = 64, unit = "pJ/32bit"', 'value = 64, unit = "pJ"', ["energy.memory.RAM.unit", "expected J/B"]),
    ('value = 64, unit = "pJ/32bit"', 'value = 64e7, unit = "pJ/32bit"', ["energy.memory.RAM.value", "not plausible"]),
    ('value = 3, unit = "pJ"', 'value = -3, unit = "pJ"', ["energy.operations.float32.mul.value", "-3 is not positive"]),
    ('value = 3, unit = "pJ"', "value = 3", ["energy.operations.float32.mul.unit", "missing"]),
    ("[energy.operations.float32]", "[energy.operations.fp32]", ["energy.operations.fp32", "unknown key", "float32"]),
    ("mac = { mul = 1, add = 1 }", "mac = { }", ["energy.composed.mac", "{ mul = 1, add = 1 }"]),
    ("mac = { mul = 1, add = 1 }", "mac = { mul = true }", ["energy.composed.mac", "how often"]),
    ("mac = { mul = 1, add = 1 }", "mac = 2", ["energy.composed.mac", "expected a table"]),
    ('[energy.composed]\nsource = "s"', "[energy.composed]", ["energy.composed.source", "missing"]),
    ('float64 = "float32"', 'float64 = "float16"', ["energy.runs_as.float64", "'float16'; expected one of float32"]),
    ("[energy]", "[energies]", ["energies", "unknown key", "energy"]),
    ('float32_default = "float32"', "", ["policy.float32_default", "missing"]),
    ('float32_default = "float32"', 'float32_default = "fp32"', ["policy.float32_default", "'fp32'; expected one of"]),
    (
        'float32_default = "float32"',
        'float32_default = "tf32"',
        ["policy.float32_default", "'tf32' has no matrix peak"],
    ),
    ("passes = 3", "passes = 0", ["policy.float32_high.passes", "positive integer"]),
    ('transcendental_weight = { value = 8, unit = "FLOP", source = "s" }', "", ["transcendental_weight", "missing"]),
    ('bfloat16 = "float32"', 'bfloat16 = "float16"', ["vector_runs_as.bfloat16", "'float16' has no vector peak"]),
    ('bfloat16 = "float32"', 'float32 = "float32"', ["vector_runs_as.float32", "peak of its own"]),
    ('source = "s"\nbfloat16', "bfloat16", ["policy.vector_runs_as.source", "missing"]),
    ('machine = "m"', "", ["measured.machine", "missing"]),
    ("[1.0, 2.0]", "[1.0, 0.0]", ["measured.samples.matrix float32", "positive seconds"]),
    ('title = "A toy"', "title = A toy", ["not a TOML file"]),
]


@pytest.mark.parametrize(("unit", "size"), [
    ("kB", 10**3), ("MB", 10**6), ("GB", 10**9), ("TB", 10**12), ("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30), ("TiB", 2**40)])
def test_units_of_memory_are_those_of_the_standard(unit: str, size: int) -> None:
    """IEC 80000-13: decimal and binary prefixes."""
    assert UNITS[unit] == ("B", size)


def test_the_good_file_is_good(toy: Path) -> None:
    device = load(toy)
    assert device.bandwidth.value == 50e9 and device.bandwidth.unit == "B/s"
    assert device.capacity is not None and device.capacity.value == 16 * 2**30
    assert device.launch_overhead is not None and device.launch_overhead.value == pytest.approx(2e-6)
    assert device.levels[0].capacity.value == 512 * 1024
    assert device.peaks["matrix", "int8"].doubt == "d"
    assert device.peak("vector", "bfloat16") == 500e9


def test_what_the_good_file_says_beside_the_roofline(toy: Path) -> None:
    device = load(toy)
    assert device.sparse["matrix", "float32"].value == 2e12 and device.peak("matrix", "int8") == 4e12
    assert [(link.name, link.one_way) for link in device.links] == [("wire", 10e9)]
    fitted = device.calibration["unfused"]
    assert fitted.of("depthwise conv") == 0.25 and fitted.of("dot") == 0.5 and fitted.launch.value == pytest.approx(3e-6)
    assert fitted.call is not None and fitted.call.value == pytest.approx(40e-6) and (fitted.runs, fitted.models) == (4, 2)
    assert device.energies is not None and device.energies.byte() == Fraction(16, 10**12)
    assert device.energies.operation("div", "float64") == Fraction(225, 10**13)
    assert device.fusion == "unfused"


def test_a_device_that_states_no_fusion_policy_has_that_of_its_kind(toy: Path) -> None:
    toy.write_text(GOOD.replace('fusion = "unfused"\n', ""), encoding="utf-8")
    assert load(toy).fusion == "xla-cpu"
    toy.write_text(GOOD.replace('fusion = "unfused"\n', "").replace('kind = "cpu"', 'kind = "mcu"'), encoding="utf-8")
    assert load(toy).fusion == "layer"


def test_everything_that_is_wrong_is_said_at_once(toy: Path) -> None:
    wrong = GOOD.replace('title = "A toy"', "").replace("value = 50,", "value = -50,").replace("[[datasheet.levels]]", "[[levels]]")
    toy.write_text(wrong.replace("passes = 3", "passes = 0"), encoding="utf-8")
    problems = check(toy)
    assert [problem.split(": ")[1] for problem in problems] == [
        "levels", "title", "datasheet.memory.bandwidth.value", "policy.float32_high.passes"]
    with pytest.raises(HardwareFileError, match=r"levels: unknown key.*\(and 3 more: `costmodel hw check` lists them\)$"):
        load(toy)
    toy.write_text(GOOD, encoding="utf-8")
    assert check(toy) == ()
    with pytest.raises(UnknownHardware, match="no device file"):
        check(toy.with_name("none.toml"))


def test_a_file_is_data(toy: Path, tmp_path: Path) -> None:
    """Text that would be code stays text."""
    toy.write_text(GOOD.replace('"A toy"', "'__import__(\"os\").mkdir(\"ran\")'"), encoding="utf-8")
    assert load(toy).title.startswith("__import__") and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", [None, "gpu", "npu", "mcu"])
def test_the_template_says_what_to_fill_in_and_is_right_once_filled_in(kind: str | None, tmp_path: Path) -> None:
    path = tmp_path / "chip.toml"
    path.write_text(template("chip", kind), encoding="utf-8")
    problems = check(path)
    assert len(problems) == template("chip", kind).count('"?"') - 1  # the comment at its top has one, too
    assert all("to be filled in" in problem for problem in problems)
    many = 800 if kind == "mcu" else 80  # of milliwatts
    filled = re.sub(r'value = "\?", unit = "(\w+)/?', lambda unit: unit[0].replace('"?"', str(many) if "W" in unit[1] else "8"),
                    template("chip", kind))
    for key, text in (("kind", '"gpu"'), ("year", "2026"), ("direction", '"each way"')):
        filled = filled.replace(f'{key} = "?"', f"{key} = {text}")
    filled = re.sub(r'(float32_\w+) = "\?"', r'\1 = "float32"', filled).replace('"?"', '"the data sheet"')
    path.write_text(filled, encoding="utf-8")
    assert check(path) == ()
    device = load(path)
    peak, bandwidth = (8e6, 8e6) if kind == "mcu" else (8e12, device.bandwidth.value)  # MOP/s and MB/s, or TOP/s
    assert device.peak("vector", "bool") == peak and device.bandwidth.value == bandwidth
    assert device.name == "chip" and device.kind == (kind or "gpu")
    assert device.fusion == ("xla-gpu" if kind in (None, "gpu") else "layer")
    with pytest.raises(HardwareFileError, match="no device's name"):
        template("My Chip")
    with pytest.raises(HardwareFileError, match="did you mean npu"):
        template("chip", "nqu")


def test_a_chip_of_integers_is_asked_for_no_float_and_refuses_one(tmp_path: Path) -> None:
    assert "float32" not in template("chip", "npu") and "bfloat16" not in template("chip", "npu")
    with pytest.raises(MissingPeak, match="float32"):
        load("coral-edge-tpu").peak("matrix", "float32")


def test_a_clock_that_lasts_lowers_the_peaks_and_not_the_bandwidth(toy: Path) -> None:
    fast = 'clock = { value = 2, unit = "GHz", source = "s" }'
    slow = '\n[sustained]\nclock = { value = 500, unit = "MHz", source = "s" }\n'
    toy.write_text(GOOD.replace("[datasheet]\n", f"[datasheet]\n{fast}\n") + slow, encoding="utf-8")
    device = load(toy)
    lasting = device.sustained()
    assert all(4 * lasting.peaks[key].value == peak.value for key, peak in device.peaks.items())
    assert (lasting.bandwidth, lasting.clock) == (device.bandwidth, device.lasting)
    assert load(write(device, toy)) == device
    with pytest.raises(CostModelError, match="no clock that lasts"):
        lasting.sustained()
    toy.write_text(GOOD + slow, encoding="utf-8")
    with pytest.raises(HardwareFileError, match=r"sustained\.clock: expected a clock in \[datasheet\]"):
        load(toy)


def test_an_accelerator_of_the_edge_is_not_faster_than_its_data_sheet_says_it_is() -> None:
    """Coral's data sheet: MobileNet v2 at almost 400 frames a second."""
    import costmodel as cm

    found = cm.model("mobilenet_v2").analyze(verify=False).reprice("int8").at(n=1, h=224, w=224).roofline("coral-edge-tpu")
    assert found.lower < 1 / 400 and found.hardware.kind == "npu" and not found.hardware.one_unit


def test_the_policies_of_devices_are_those_of_fusion() -> None:
    from costmodel.fusion import policies
    from costmodel.hardware import available

    assert {load(name).fusion for name in available()} <= set(policies())


def test_the_kernels_of_calibrations_are_those_of_fusion() -> None:
    from costmodel.fusion.kernel import KINDS

    assert set(KERNELS) == set(KINDS)


@pytest.mark.parametrize(("old", "new", "fragments"), BROKEN, ids=[" ".join(row[2]) for row in BROKEN])
def test_the_schema_refuses(toy: Path, old: str, new: str, fragments: list[str]) -> None:
    text = GOOD + MEASURED
    assert old in text, "the mutation must change something"
    toy.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(HardwareFileError) as caught:
        load(toy)
    for fragment in ["toy.toml", *fragments]:
        assert fragment in str(caught.value)


def test_a_file_without_figures_is_refused(toy: Path) -> None:
    toy.write_text('name = "toy"\ntitle = "t"\nkind = "cpu"\n', encoding="utf-8")
    with pytest.raises(HardwareFileError, match=r"toy\.toml: datasheet: missing table"):
        load(toy)
    toy.write_text('name = "toy"\ntitle = "t"\nkind = "cpu"\n[datasheet]\n', encoding="utf-8")
    with pytest.raises(HardwareFileError, match=r"datasheet\.peaks: missing"):
        load(toy)
