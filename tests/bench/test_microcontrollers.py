"""Costs of layers on microcontrollers carry over from one core to another, judged by latencies and joules that others measured."""

import csv
import dataclasses
from pathlib import Path

import pytest

import costmodel as cm
from costmodel.bench.calibrate import calibrated
from costmodel.bench.fitting import Fit
from costmodel.bench.microcontrollers import of_kinds, power, scaled, transferred
from costmodel.bench.runs import Busy, Run, busy, load_runs
from costmodel.errors import CostModelError
from costmodel.hardware import load

MEASUREMENTS = Path(__file__).parents[2] / "docs" / "measurements"


@pytest.fixture(scope="module")
def groups() -> dict[tuple[str, str, str], list[tuple[Run, Busy]]]:
    found: dict[tuple[str, str, str], list[tuple[Run, Busy]]] = {}
    for run in load_runs([MEASUREMENTS / "runs" / "mcu-published.csv"]):
        if run.software in ("X-CUBE-AI 9.0", "TinyEngine"):
            found.setdefault((run.software, run.device, run.dtype), []).append((run, busy(run, load(run.device))))
    return found


def error(rows: list[tuple[Run, Busy]], guesses: list[float]) -> float:
    return sum(abs(guess / run.seconds - 1) for (run, _), guess in zip(rows, guesses, strict=True)) / len(rows)


@pytest.mark.parametrize("device", ["nucleo-h7a3zi", "nucleo-u575zi"])
def test_costs_of_one_core_predict_another_with_one_factor(groups, device: str) -> None:
    rows = groups["X-CUBE-AI 9.0", device, "int8"]
    assert len(rows) == 4 and error(rows, transferred(groups, "X-CUBE-AI 9.0", device)[0]) <= 0.25


def test_mcunet_is_predicted_by_a_smaller_network_of_the_same_software(groups) -> None:
    rows = groups["TinyEngine", "stm32h743", "int8"]
    guesses, _ = transferred(groups, "TinyEngine", "stm32h743")
    (at,) = [i for i, (run, _) in enumerate(rows) if run.model == "mcunet_in3"]
    assert guesses[at] / rows[at][0].seconds == pytest.approx(1, abs=0.25)
    told = {run.model: run.seconds for run, _ in rows}
    slower = [(dataclasses.replace(r, seconds=2 * r.seconds) if r.model != "mcunet_in3" else r, b) for r, b in rows]
    assert transferred({**groups, ("TinyEngine", "stm32h743", "int8"): slower}, "TinyEngine", "stm32h743")[0][at] == pytest.approx(
        2 * guesses[at]), told  # by the other network alone


def test_no_network_is_faster_than_its_lower_bound(groups) -> None:
    assert all(run.seconds > b.lower for rows in groups.values() for run, b in rows)


def test_joules_are_watts_of_other_networks_times_predicted_seconds(groups) -> None:
    for device in ("nucleo-l4r5zi", "nucleo-h7a3zi", "nucleo-u575zi"):
        rows = groups["X-CUBE-AI 9.0", device, "int8"]
        guesses, _ = transferred(groups, "X-CUBE-AI 9.0", device)
        for (run, _), guess in zip(rows, guesses, strict=True):
            watts = power([r for r, _ in rows if r is not run])
            assert watts * guess == pytest.approx(run.joules, rel=0.25)


def test_the_shipped_calibrations_are_what_the_runs_give(groups) -> None:
    for software, device, _ in groups:
        shipped, runs = load(device), [run for run, _ in groups[software, device, "int8"]]
        found = calibrated(dataclasses.replace(shipped, calibration={}), runs, lambda line: None).calibration["layer"]
        assert dataclasses.replace(found, date="") == dataclasses.replace(shipped.calibration["layer"], date="")
    point = cm.model("tiny_ds_cnn").analyze(verify=False).reprice("int8").at(n=1, h=49, w=10)
    found = point.energy("nucleo-l4r5zi")
    assert float(found.total) == pytest.approx(0.04163 * point.roofline("nucleo-l4r5zi").predicted)
    assert float(found.total) == pytest.approx(1.820454e-3, rel=0.25) and "as drawn while programs ran" in str(found)


def test_runs_of_several_programs_are_not_mixed() -> None:
    runs = load_runs([MEASUREMENTS / "runs" / "mcu-published.csv"])
    with pytest.raises(CostModelError, match=r"say which, as --software 'X-CUBE-AI 9\.0'"):
        calibrated(load("nucleo-l4r5zi"), runs)
    with pytest.raises(CostModelError, match="no run is of nucleo-l4r5zi by Nothing"):
        calibrated(load("nucleo-l4r5zi"), runs, software="Nothing")


def test_a_fit_by_kinds_finds_what_made_the_runs() -> None:
    truth = Fit(0.5, 0.0, 0.0, {"dot": 0.5, "conv": 0.4, "depthwise conv": 0.1})
    busys = [Busy({"dot": a, "conv": b, "depthwise conv": c, "reduce": 1e-3}, 5, 0, 1, 0)
             for a, b, c in ((1, 0, 0), (0, 1, 0), (0.1, 3, 1), (0.1, 3, 2), (1, 1, 3), (0, 0, 1), (5, 1, 1)) for _ in range(40)]
    found = of_kinds([(truth.predicted(b), b) for b in busys])
    assert found.kinds == {kind: pytest.approx(e, rel=0.02) for kind, e in truth.kinds.items()}
    other, factor = scaled(found, [(2 * found.predicted(b), b) for b in busys])
    assert factor == pytest.approx(2) and other.predicted(busys[2]) == pytest.approx(2 * found.predicted(busys[2]))


def test_cycles_a_multiply_accumulate() -> None:
    device = load("nucleo-l4r5zi")
    cycles = device.cycles_a_mac(device.calibration["layer"], "conv", "int8")
    # ResNet-8 is convolutions: its measured time, clock and published MACs, of which 6 % fall on padding.
    assert cycles == pytest.approx(165.1255e-3 * 120e6 / 12501632, rel=0.1)
    assert load("stm32f746").cycles_a_mac(device.calibration["layer"], "conv", "int8") is None


def test_a_convolution_moves_what_timeloop_says_it_must() -> None:
    """The Eyeriss-like example of Timeloop: 3x3, stride 2, VALID, 3 to 32 channels on 225x225."""
    import jax

    with (MEASUREMENTS / "published" / "eyeriss-like.csv").open(encoding="utf-8", newline="") as file:
        published = {row["quantity"]: row["value"] for row in csv.DictReader(file)}
    places = ("NHWC", "HWIO", "NHWC")
    cost = cm.analyze(lambda x, w: jax.lax.conv_general_dilated(x, w, (2, 2), "VALID", dimension_numbers=places),
                      cm.spec((1, 225, 225, 3), "int16"), cm.spec((3, 3, 3, 32), "int16"), params=1)
    assert cost.macs == int(published["multiply-accumulates"])
    assert cost.bytes("compulsory") / 2 == int(published["words that must be moved"])
