"""The bench runs what was counted, keeps every sample, and puts the roofline's own bounds beside them."""

from __future__ import annotations

import dataclasses
import json
import statistics
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import costmodel as cm
from costmodel.bench import CheckResult, Prediction, check
from costmodel.bench.calls import drawn, xla_figures
from costmodel.bench.kinds import alone
from costmodel.errors import CostModelError
from costmodel.hardware import Calibration, Hardware, Quantity, load

MLP_AT = {"n": 64, "d": 256, "a": 128, "b": 64, "c": 10}


@pytest.fixture(autouse=True)
def no_user_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "costmodel" / "hardware"


@pytest.fixture(scope="module")
def cost() -> cm.Cost:
    return cm.model("mlp").analyze()


@pytest.fixture(scope="module")
def device() -> Hardware:
    """A device that has every peak, taken for the machine that runs the tests."""
    return dataclasses.replace(load("h100-sxm"), name="local", kind="cpu")


@pytest.fixture(scope="module")
def result(cost: cm.Cost, device: Hardware) -> CheckResult:
    return check(cost, MLP_AT, device, repeat=7, warmup=1)


def test_every_sample_is_kept(result: CheckResult) -> None:
    assert len(result.samples) == 7 and min(result.samples) > 0 and result.compile_seconds > 0
    assert result.median == statistics.median(result.samples)
    assert min(result.samples) <= result.quartiles[0] <= result.median <= result.quartiles[2] <= max(result.samples)


def test_the_bounds_are_those_of_the_roofline(result: CheckResult, cost: cm.Cost, device: Hardware) -> None:
    assert [p.policy for p in result.predictions] == ["unfused", "layer", device.fusion]
    for p in result.predictions:
        bounds = cost.roofline(device, policy=p.policy, **MLP_AT)
        assert (p.lower, p.upper, p.flops, p.attainable) == (bounds.lower, bounds.upper, bounds.flops, bounds.attainable)
        assert result.achieved(p) == p.flops / result.median


def test_xla_counts_the_same_program(result: CheckResult, cost: cm.Cost) -> None:
    assert result.xla["flops"] == pytest.approx(cost.at(**MLP_AT).flops, rel=0.01)
    assert result.xla["bytes accessed"] >= float(cost.at(**MLP_AT).bytes("compulsory"))


def test_it_says_on_what_it_ran(result: CheckResult) -> None:
    assert result.environment["jax"] == jax.__version__ and result.environment["platform"] == jax.devices()[0].platform
    assert {"machine", "cpus", "device", "date"} <= set(result.environment)


def test_the_text_has_measured_beside_predicted(result: CheckResult) -> None:
    text = str(result)
    assert all(word in text for word in ("median", "least", "policy 'xla-gpu'", "attainable", "XLA's own", "ran on", "compiled in"))
    assert result.own.verdict(result.median) in text and "unfused" not in text and "calibrated on" in text
    more = result.text(policies=True, baselines=True)
    assert "unfused" in more and "raw roofline" in more and "e + t0" in more


def test_one_story_of_a_calibrated_device(cost: cm.Cost, device: Hardware) -> None:
    one = Quantity(0.5, "1", "s", measured=True)
    found = Calibration("xla-gpu", one, Quantity(1e-6, "s", "s"), 0.2, 4, 2, "2026-01-01", "v", Quantity(1e-5, "s", "s"),
                        {"dot": Quantity(0.25, "1", "s")})
    told = check(cost, MLP_AT, dataclasses.replace(device, calibration={"xla-gpu": found}), repeat=3, warmup=1, by_kind=True)
    own, kernels = told.own, sum(kind.kernels for kind in told.kinds)
    busy = told.own.upper  # the device states no launch overhead
    assert own.baselines["raw roofline"] == own.lower and own.baselines["by kind"] == own.predicted
    assert own.baselines["one factor"] == pytest.approx(2 * busy)
    assert own.baselines["e + t0"] == pytest.approx(2 * busy + 1e-6 * kernels + 1e-5)
    text = told.text(baselines=True)
    assert "90 % between" in text and "calibrated on 4 runs, ±16 %" in text and "e + t0" in text and "together" in text
    assert json.loads(json.dumps(told.to_record()))["kinds"][0]["kind"] == told.kinds[0].kind


def test_kernels_run_alone_by_kind() -> None:
    def program(x, w, v):
        y = jnp.tanh(x @ w).sum(-1, keepdims=True) + jnp.sort(x, -1)
        return jax.lax.scan(lambda c, _: (c @ v, None), y, None, length=3)[0]

    found = {kind.kind: kind for kind in alone(cm.analyze(program, (n, 64), (64, 8), (64, 64)), {"n": 32}, "unfused", repeat=2)}
    assert found["dot"].kernels == 4 and found["dot"].failed == 0  # one, and one an iteration
    assert {"elementwise", "reduce", "sort"} <= set(found) and all(kind.seconds >= 0 for kind in found.values())
    noise = cm.analyze(lambda k, x: x + jax.random.normal(k, x.shape), jax.eval_shape(lambda: jax.random.key(0)), cm.spec((n, 8)))
    keys = alone(noise, {"n": 3}, "unfused", repeat=1)
    assert sum(kind.failed for kind in keys) > 0


@pytest.mark.parametrize("seconds, words", [(0.5, "2.00x faster"), (1.0, "0% of the way"), (2.0, "50% of the way"),
                                            (3.0, "100% of the way"), (6.0, "2.00x the upper bound")])
def test_a_verdict_says_where_the_time_fell(seconds: float, words: str) -> None:
    assert words in Prediction("layer", lower=1.0, upper=3.0, flops=10, bytes=10.0).verdict(seconds)


def test_results_are_appended_as_lines_of_json(result: CheckResult, tmp_path: Path) -> None:
    path = tmp_path / "checks.jsonl"
    result.save(path)
    result.save(path)
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == second and tuple(first["samples"]) == result.samples and first["point"] == MLP_AT
    with pytest.raises(cm.CostModelError, match="another file"):
        result.save(tmp_path)


# -- models of every kind -----------------------------------------------------------------------------------------------------


class Normalised(linen.Module):
    @linen.compact
    def __call__(self, x, train: bool = True):
        return linen.BatchNorm(use_running_average=not train)(linen.Dense(4)(x))


def lookup(table, i):
    return table[i].astype(jnp.bfloat16) * 2


n, = (cm.dims("n"),)
KINDS = {
    "linen": lambda: cm.analyze(Normalised(), cm.spec((n, 8)), kwargs={"train": False}),
    "linen, updating": lambda: cm.analyze(Normalised(), cm.spec((n, 8)), mutable=("batch_stats",)),
    "nnx": lambda: cm.analyze(cm.abstract(lambda: nnx.Linear(8, 4, rngs=nnx.Rngs(0))), cm.spec((n, 8))),
    "function": lambda: cm.analyze(jnp.matmul, cm.spec((n, 8), "bfloat16"), cm.spec((8, 4), "bfloat16")),
    "function, integers": lambda: cm.analyze(lookup, cm.spec((16, 4)), cm.spec((n,), "int32"), params=0),
    "keyword arrays": lambda: cm.analyze(lambda x, *, y: x + y, cm.spec((n, 8)), kwargs={"y": cm.spec((n, 8))}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_every_kind_run(kind: str, device: Hardware) -> None:
    assert check(KINDS[kind](), {"n": 3}, device, repeat=1, warmup=0).median > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float8_e4m3fn", "complex64", "int8", "uint32", "bool"])
@pytest.mark.parametrize("role", ["parameter", "buffer", "input"])
def test_values_are_ordinary_numbers(dtype: str, role: str) -> None:
    value = drawn(role, jax.ShapeDtypeStruct((32, 8), dtype), np.random.default_rng(0))
    assert (value.shape, value.dtype) == ((32, 8), jnp.dtype(dtype))
    wide = np.asarray(value).astype(complex)
    assert np.isfinite(wide).all() and abs(wide).max() < 10
    if role == "buffer" and jnp.issubdtype(dtype, np.inexact):
        assert wide.real.min() > 0  # a variance


def test_random_keys_are_real_keys() -> None:
    aval = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 3))
    for wanted in (aval, jax.eval_shape(lambda: jax.random.key(0))):
        key = drawn("rng", wanted, np.random.default_rng(0))
        assert (key.shape, key.dtype) == (wanted.shape, wanted.dtype)


# -- this machine -------------------------------------------------------------------------------------------------------------


def test_a_machine_that_was_not_measured_is_measured_once(cost: cm.Cost, device: Hardware, no_user_devices: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("costmodel.hardware.measure.measure", lambda seconds: asked.append(seconds) or device)
    first, second = (check(cost, MLP_AT, repeat=1) for _ in range(2))
    assert len(asked) == 1 and (no_user_devices / "local.toml").is_file()
    assert "written to" in str(first) and not second.notes and first.hardware == "local"


def test_bounds_for_another_kind_of_device_are_marked(cost: cm.Cost, device: Hardware) -> None:
    elsewhere = dataclasses.replace(device, kind="mcu")
    assert "the bounds are for a mcu" in str(check(cost, MLP_AT, elsewhere, repeat=1))


def test_a_backend_without_an_analysis_has_no_figures() -> None:
    class Silent:
        def cost_analysis(self):
            raise NotImplementedError

    assert xla_figures(Silent()) == {}


# -- mistakes -----------------------------------------------------------------------------------------------------------------


def test_mistakes_are_named(cost: cm.Cost, device: Hardware) -> None:
    with pytest.raises(cm.CostModelError, match="repeat=0 must be at least 1"):
        check(cost, MLP_AT, device, repeat=0)
    with pytest.raises(cm.DomainError, match="unbound symbols a, b, c, d"):
        check(cost, {"n": 1}, device)
    with pytest.raises(cm.CostModelError, match="unknown device"):
        check(cost, MLP_AT, "none such")
    with pytest.raises(cm.CostModelError, match="a fresh analysis"):
        check(cm.from_json(cost.to_json()), MLP_AT, device)
    with pytest.raises(cm.CostModelError, match="nothing that takes time"):
        check(cm.analyze(lambda x: x, cm.spec((n, 2))), {"n": 3}, dataclasses.replace(device, launch_overhead=None))


@pytest.mark.skipif(jax.devices()[0].platform != "cpu", reason="other devices refuse an allocation themselves")
def test_a_program_too_large_for_the_machine_is_refused_before_it_runs(cost: cm.Cost, device: Hardware) -> None:
    with pytest.raises(cm.CostModelError, match="smaller point"):
        check(cost, {**MLP_AT, "n": 10**12}, device)


def test_the_page_of_measurements_is_what_the_records_say() -> None:
    from costmodel.bench.records import load_records, markdown

    docs = Path(__file__).parents[2] / "docs"
    records = load_records(sorted(docs.glob("measurements/*.jsonl")))
    assert (docs / "measured.md").read_text(encoding="utf-8") == markdown(records)
    assert markdown(records[1:]) != markdown(records)


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    from costmodel.bench.records import load_records

    (tmp_path / "records.jsonl").write_text('{"format": "other"}\n', encoding="utf-8")
    with pytest.raises(CostModelError, match=r"records.jsonl:1: not a record of a check"):
        load_records([tmp_path / "records.jsonl"])
