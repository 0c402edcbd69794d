"""Commands that price: what they print is what the library computes, and mistakes end in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from costmodel import solve
from costmodel.cli import main
from costmodel.hardware import load
from costmodel.models import model
from costmodel.pricing.sweep import _milestones
from costmodel.symbolic.plain import cell
from costmodel.text import si

AT = {"h": 224, "w": 224}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


def succeed(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


# -- roofline -----------------------------------------------------------------------------------------------------------------


def test_a_range_gives_a_table_over_it(cost_of) -> None:
    out = succeed("roofline", "resnet18", "--hw", "lecture,tpu-v5e", "--at", "n=1..20,h=224,w=224")
    for device in ("lecture", "tpu-v5e"):
        part = out[out.index(load(device).title):]
        for n in (1, 2, 4, 8, 16, 20):
            roofline = cost_of("resnet18").roofline(device, n=n, **AT)
            line = next(line for line in part.splitlines() if line.split()[:1] == [str(n)])
            most, least = roofline.throughput
            for text in (si(roofline.lower, "s"), si(roofline.upper, "s"), f"{most:.4g}", f"{least:.4g}", roofline.bound):
                assert text in line


def test_a_range_keeps_to_the_domain_and_to_what_is_quoted() -> None:
    out = succeed("roofline", "resnet18", "--hw", "lecture", "--at", "h=40..120,w=64")
    rows = [line.split()[0] for line in out.splitlines() if line.strip() and line.split()[0].isdigit()]
    assert rows == ["64", "96"] and "resnet18 at n=1, w=64" in out


def test_rows_of_a_range_double_and_mark_changes() -> None:
    assert _milestones(range(1, 11), ["memory"] * 10) == [0, 1, 3, 7, 9]
    assert _milestones(range(1, 11), ["memory"] * 5 + ["compute"] * 5) == [0, 1, 3, 5, 7, 9]
    assert _milestones([32, 64, 96], ["memory"] * 3) == [0, 1, 2]


def test_rows_by_module_and_kind() -> None:
    out = succeed("roofline", "resnet18", "--hw", "h100-sxm", "--by", "module", "--depth", "1")
    assert "layer1_0" in out and "layer1_0/conv1" not in out and "time follows bandwidth" in out
    assert "23 kernels" in succeed("roofline", "resnet18", "--hw", "h100-sxm", "--by", "kind", "--policy", "layer")
    assert "'unfused'" in succeed("roofline", "mlp", "--hw", "h100-sxm", "--by", "equation")


def test_the_default_policy_is_the_devices_own() -> None:
    for device in ("h100-sxm", "tpu-v5e", "lecture"):
        assert f"policy '{load(device).fusion}'" in succeed("roofline", "mlp", "--hw", device)


def test_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "roof.svg"
    assert f"drawn in {path}" in succeed("roofline", "mlp", "--hw", "h100-sxm,lecture", "-o", str(path))
    assert "<svg" in path.read_text(encoding="utf-8")


# -- solve --------------------------------------------------------------------------------------------------------------------


def test_what_fits() -> None:
    out = succeed("solve", "llama_7b_decode", "--over", "b", "--fit", "80GB", "--uses", "weights+cache", "--at", "t=4096",
                  "--dtype", "float16", "--no-verify")
    assert "llama_7b_decode in float16 at t=4096" in out and "80GB: b = 30: 77,901,340,792 of 80,000,000,000 B; b = 31 takes" in out


def test_whether_it_fits() -> None:
    out = succeed("solve", "mcunet_in3", "--fit", "stm32f746", "--uses", "activations:mcunet-inplace", "--dtype", "int8",
                  "--no-verify")
    assert out.splitlines()[1:] == ["activations:mcunet-inplace: 309.76 kB of 327.68 kB, 0.95x, fits",
                                    "weights: 752.78 kB of 1.05 MB, 0.72x, fits"]


def test_questions_of_time(cost_of) -> None:
    cost, lecture = cost_of("resnet18"), load("lecture")
    out = succeed("solve", "resnet18", "--over", "n", "--hw", "lecture", "--latency", "10ms", "--saturation", "--crossover")
    for answer in (solve.max_batch(cost, "n", lecture, "10ms", at=AT), solve.saturation(cost, "n", lecture, at=AT),
                   solve.crossover(cost, "n", lecture, at=AT)):
        assert f"lecture: {answer}" in out
    assert "resnet18 at h=224, w=224" in out and "verified against a concrete trace" in out


def test_devices_for_a_latency() -> None:
    out = succeed("solve", "resnet18", "--latency", "1ms", "--hw", "lecture,h100-sxm")
    lines = out.splitlines()
    assert "resnet18 at n=1, h=224, w=224" in out
    assert [line.split(":")[0] for line in lines[1:3]] == ["h100-sxm", "lecture"] and "too slow" in lines[2]


# -- compare ------------------------------------------------------------------------------------------------------------------


def test_two_models_side_by_side() -> None:
    """AlexNet has five times ResNet-18's parameters and two fifths of its operations."""
    names = ("resnet18", "alexnet")
    out = succeed("compare", *names, "--hw", "lecture")
    points = [model(name).analyze().at(**model(name).at) for name in names]
    rooflines = [point.roofline("lecture") for point in points]
    expected = {
        "parameters": [cell(point.params) for point in points], "MACs": [cell(point.macs) for point in points],
        "time on lecture, at least": [si(roofline.lower, "s") for roofline in rooflines],
    }
    for label, cells in expected.items():
        (line,) = [line for line in out.splitlines() if line.lstrip().startswith(f"{label} [")]
        assert all(text in line for text in cells)
    ratios = {"parameters": points[1].params / points[0].params, "MACs": points[1].macs / points[0].macs}
    for label, ratio in ratios.items():
        assert [line.split()[-1] for line in out.splitlines() if line.lstrip().startswith(f"{label} [")] == [f"{ratio:.3g}"]
    assert 5 < ratios["parameters"] < 6 and 0.35 < ratios["MACs"] < 0.45


def test_a_model_beside_itself_is_the_same() -> None:
    out = succeed("compare", "mlp", "mlp", "--at", "n=2,d=3,a=4,b=5,c=6")
    assert all(line.split()[-1] == "1" for line in out.splitlines() if line.rstrip().endswith("1") and "[" in line)
    assert "n=2" in out


# -- mistakes -----------------------------------------------------------------------------------------------------------------

MISTAKES = {
    "two ranges": (("roofline", "mlp", "--hw", "lecture", "--at", "n=1..4,d=1..4"), "not one range"),
    "a range that runs down": (("roofline", "mlp", "--hw", "lecture", "--at", "n=4..1"), "FIRST is above LAST"),
    "a range outside the domain": (("roofline", "resnet18", "--hw", "lecture", "--at", "h=1..31"), "no value from 1 to 31"),
    "a range of an unknown symbol": (("roofline", "mlp", "--hw", "lecture", "--at", "q=1..4"), "solve for one of"),
    "a picture of a range": (("roofline", "mlp", "--hw", "lecture", "--at", "n=1..4", "-o", "a.svg"), "without a range"),
    "a picture of no kind": (("roofline", "mlp", "--hw", "lecture", "-o", "a.doc"), ".svg, .png"),
    "rows by nothing": (("roofline", "mlp", "--hw", "lecture", "--by", "colour"), "kernel, module, kind or equation"),
    "no question": (("solve", "mlp", "--over", "n"), "ask for --fit SIZE"),
    "no symbol": (("solve", "mlp", "--saturation", "--hw", "lecture"), "--over n"),
    "no device": (("solve", "mlp", "--over", "n", "--crossover"), "costmodel hw list"),
    "no size": (("solve", "mlp", "--over", "n", "--fit", "1GO"), "write 80GB"),
    "no time": (("solve", "mlp", "--latency", "soon"), "write 50ms"),
    "an unknown symbol to solve for": (("solve", "mlp", "--over", "q", "--fit", "1GB"), "solve for one of"),
    "an unknown model to compare": (("compare", "mlp", "mpl"), "did you mean mlp"),
}


@pytest.mark.parametrize("arguments, next_step", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_ends_in_one_line_with_the_next_step(arguments: tuple[str, ...], next_step: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1 and next_step in result.stderr, result.output
