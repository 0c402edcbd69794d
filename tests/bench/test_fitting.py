"""Calibrations from runs: exact where the runs are, judged by measurements that others made."""

import math
from pathlib import Path

import numpy as np
import pytest
from sympy import Symbol

from costmodel.bench import micro
from costmodel.bench.calibrate import FLOOR
from costmodel.bench.fitting import Fit, by_kind, calibration, fit, left_out, spread
from costmodel.bench.products import CHIPS, Measured, beaten, fit_products, held_out, launched, load_products, load_programs
from costmodel.bench.runs import Busy, Run, busy, load_runs
from costmodel.errors import CostModelError
from costmodel.hardware import load
from costmodel.pricing.tiles import Products

MEASUREMENTS = Path(__file__).parents[2] / "docs" / "measurements" / "runs"


def made(seconds: float, kernels: float, kind: str = "dot") -> Busy:
    return Busy({kind: seconds}, kernels, seconds / 2, seconds, seconds / 2)


def run(model: str, seconds: float) -> Run:
    return Run("", model, "inference", (), seconds, "eager", "highest", model, "s", "v")


def test_a_fit_finds_the_numbers_that_made_the_runs() -> None:
    truth = Fit(0.8, 6e-6, 0.0, {})
    busys = [made(s, n) for s, n in ((1e-3, 100), (2e-3, 900), (5e-3, 50), (1e-4, 300))]
    found = fit([(truth.predicted(b), b) for b in busys])
    assert found.reached == pytest.approx(0.8, rel=1e-4) and found.launch == pytest.approx(6e-6, rel=1e-4)


def test_a_fit_finds_what_a_call_takes_and_keeps_kinds_relative() -> None:
    truth = Fit(0.5, 6e-6, 2e-4, {"dot": 0.5, "copy": 1.0})
    busys = [Busy({"dot": a, "copy": b, "sort": c}, n, 0, 0, 0)
             for a, b, c, n in ((1e-3, 1e-3, 0, 100), (2e-3, 0, 1e-4, 900), (5e-4, 4e-3, 0, 50), (1e-4, 0, 2e-3, 300))]
    found = fit([(truth.predicted(b), b) for b in busys], call=True, kinds={"dot": 1.0, "copy": 2.0})
    assert found.call == pytest.approx(2e-4, rel=1e-3)
    assert found.kinds == {"dot": pytest.approx(0.5, rel=1e-3), "copy": pytest.approx(1.0, rel=1e-3)}


def test_long_runs_alone_leave_the_launch_to_what_is_believed() -> None:
    assert fit([(10.0, made(8.0, 10))]).launch == pytest.approx(6e-6, rel=1e-3)


def test_no_family_is_predicted_by_itself() -> None:
    runs, busys = [run("a", 1.0), run("a", 2.0), run("b", 8.0)], [made(1.0, 1), made(2.0, 1), made(2.0, 1)]
    predicted = left_out(runs, busys)
    assert predicted == [pytest.approx(4.0, rel=1e-3), pytest.approx(8.0, rel=1e-3), pytest.approx(2.0, rel=1e-3)]
    assert left_out(runs[:2], busys[:2]) == [None, None]


def test_a_calibration_of_one_model_is_as_uncertain_as_models_differ() -> None:
    assert spread([0.0], 1) == pytest.approx(0.1 * math.sqrt(2 / 3))
    assert spread([0.02] * 50, 50) < 0.03
    low, high = calibration([run("a", 1.0)], [made(0.8, 1)], "eager", "2026-01-01").interval
    assert low == pytest.approx(1 / high) and 1.1 < high < 1.2


def test_a_kind_reaches_the_median_of_its_long_runs() -> None:
    runs = [(1.0, made(0.5, 1, "conv")), (1.0, made(0.7, 1, "conv")), (1.0, made(0.6, 1, "conv")), (1e-6, made(1e-9, 1, "copy"))]
    assert by_kind(runs, 1e-3) == {"conv": pytest.approx(0.6)}


def test_files_of_runs_are_refused_by_line(tmp_path: Path) -> None:
    for text, told in (("a,b\n", "no column model, at, seconds"), ("model,at,seconds\nm,n=1,x\n", ":2: seconds 'x' is no number"),
                       ("model,at,seconds,mode\nm,n=1,1,fast\n", ":2: expected a mode of inference or train")):
        (tmp_path / "runs.csv").write_text(text, encoding="utf-8")
        with pytest.raises(CostModelError, match=told):
            load_runs([tmp_path / "runs.csv"])
    (tmp_path / "runs.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(CostModelError, match=r":1: not a record of a run"):
        load_runs([tmp_path / "runs.jsonl"])


def test_the_stored_records_of_networks_are_runs() -> None:
    runs = load_runs([MEASUREMENTS / "h100-times-2026-11-26.jsonl"])
    assert len(runs) == 33 and {r.mode for r in runs} == {"inference"} and all(r.versions for r in runs)


def test_what_is_busy_in_a_run_is_the_roofline() -> None:
    import costmodel as cm

    device = load("h100-sxm").at_precision("highest")
    asked = Run("", "gemm", "inference", (("m", 512), ("n", 256), ("k", 128)), 1.0, "unfused", "highest", "", "")
    found = busy(asked, load("h100-sxm"))
    bounds = cm.model("gemm").analyze().at(m=512, n=256, k=128).roofline(device, policy="unfused")
    assert found.upper == bounds.upper == pytest.approx(sum(found.seconds.values())) and found.kernels == 1


# -- products -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def products() -> dict[str, Measured]:
    return load_products(MEASUREMENTS / "products-published.csv")


@pytest.mark.parametrize("device", CHIPS)
def test_products_of_held_out_shapes(products: dict[str, Measured], device: str) -> None:
    errors = np.abs(held_out(CHIPS[device], products[device]))
    assert len(errors) > 700 and np.median(errors) <= 0.08 and np.mean(errors <= 0.1) >= 0.65


def test_products_of_a_device_by_the_numbers_of_another(products: dict[str, Measured]) -> None:
    how, (chip, each) = fit_products(CHIPS["h100-sxm"], products["h100-sxm"]), (CHIPS["a100-sxm-80gb"], products["a100-sxm-80gb"])
    other = Products(chip, how.reached, how.memory, how.sums, how.start, how.launch, how.again, how.apart)
    assert np.median(np.abs(other.seconds(each.m, each.n, each.k) / each.seconds - 1)) <= 0.25


@pytest.mark.parametrize("device", CHIPS)
def test_no_product_is_faster_than_the_peak(products: dict[str, Measured], device: str) -> None:
    assert beaten(CHIPS[device], products[device]) == 0


def test_programs_of_products_on_another_card_are_predicted_by_their_shape() -> None:
    """No number was fitted to them; see docs/truth.md."""
    programs = launched(load_programs(MEASUREMENTS / "h100-products-2026-11-26.jsonl", "h100-sxm"))
    errors, flat = (np.abs([getattr(each, how) / each.seconds - 1 for each in programs]) for how in ("shaped", "flat"))
    assert len(programs) >= 24 and np.median(errors) <= 0.08 and np.mean(errors <= 0.1) >= 0.65
    assert np.median(errors) < 0.6 * np.median(flat)


def test_the_closed_form_of_a_product_is_what_is_evaluated(products: dict[str, Measured]) -> None:
    from dataclasses import replace

    each = products["h100-sxm"]
    how = fit_products(CHIPS["h100-sxm"], Measured(*(a[:40] for a in (each.m, each.n, each.k, each.seconds))))
    m, n, k = (Symbol(name, integer=True, positive=True) for name in "mnk")
    form = how.formula(m, n, k)
    for i in (0, 7, 500, 1400):
        at = {m: int(each.m[i]), n: int(each.n[i]), k: int(each.k[i])}
        one = how.seconds(*(a[i:i + 1] for a in (each.m, each.n, each.k)))
        assert float(form.subs(at)) == pytest.approx(float(one[0]), rel=1e-9)
    assert replace(how, launch=1.0).formula(1, 1, 1) > 1


# -- published latencies ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_transformers_are_predicted_from_the_other_model() -> None:
    from costmodel.bench.truth import by_device, is_amd

    groups = by_device(load_runs([MEASUREMENTS / "transformers-published.csv"]))
    for amd, mean in ((False, 0.07), (True, 0.08)):
        rows = [row for device, found in groups.items() if is_amd(device) == amd for row in found]
        errors = np.abs([row.error("predicted") for row in rows])
        assert errors.mean() <= mean and np.mean(errors <= 0.1) >= 0.75
        assert all(row.run.seconds >= row.busy.lower for row in rows)
        assert 0.80 <= np.mean([row.inside for row in rows]) <= 0.97


@pytest.mark.slow
def test_networks_of_an_h100_are_predicted_from_the_others() -> None:
    from costmodel.bench.truth import by_device

    rows = by_device(load_runs([MEASUREMENTS / "h100-times-2026-11-26.jsonl"]), "h100-sxm", call=True)["h100-sxm"]
    errors = np.abs([row.error("predicted") for row in rows])
    assert errors.mean() <= 0.2 and all(row.run.seconds >= row.busy.lower for row in rows)


def test_an_accelerators_microbenchmarks_of_convolutions_are_longer_than_a_call() -> None:
    """An H200 takes 68 microseconds for any call: what is not some times longer even at its peak says nothing of convolutions."""
    device = load("h200-sxm")
    peak = device.peak("matrix", "float32")
    found = [2 * at["n"] * at["h"] * at["w"] * at["c"] * at["f"] * at["k"] ** 2 / peak
             for name, at in micro.POINTS if name == "micro_conv"]
    assert sum(seconds > FLOOR * 68e-6 for seconds in found) >= 3
