"""The schema of device files accepts a good file and names file and key of every fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from costmodel.hardware import HardwareFileError, load

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
    ('float32_default = "float32"', "", ["policy.float32_default", "missing"]),
    ('float32_default = "float32"', 'float32_default = "fp32"', ["policy.float32_default", "unknown type 'fp32'"]),
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


def test_the_good_file_is_good(toy: Path) -> None:
    device = load(toy)
    assert device.bandwidth.value == 50e9 and device.bandwidth.unit == "B/s"
    assert device.capacity is not None and device.capacity.value == 16 * 2**30
    assert device.launch_overhead is not None and device.launch_overhead.value == pytest.approx(2e-6)
    assert device.levels[0].capacity.value == 512 * 1024
    assert device.peaks["matrix", "int8"].doubt == "d"
    assert device.peak("vector", "bfloat16") == 500e9


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
