"""What people ask, against brute force, published answers and laws; every answer is checked at the next value too."""

from __future__ import annotations

import dataclasses
from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import costmodel as cm
from costmodel import solve
from costmodel.errors import CostModelError, DomainError
from costmodel.hardware import Hardware, MissingPeak, Quantity, load
from costmodel.solve.line import first_true, line_of
from costmodel.solve.speed import rate_of
from zoo.llama import LLAMA_7B, Config, Layer, Llama, rotation

H100 = load("h100-sxm")
WEIGHTS = 6_738_415_616  # elements of LLaMA-7B
KV_A_TOKEN = 524_288  # bytes in float16: 2 · 32 layers · 4096 · 2


class Decoder(nn.Module):
    """One decoding step of a LLaMA with a cache a layer, each updated in place."""

    config: Config

    @nn.compact
    def __call__(self, tokens, caches):
        c = self.config
        x = nn.Embed(c.vocabulary, c.width, name="embed")(tokens)
        rotary = rotation(jnp.arange(1) + (caches[0][0].shape[1] - 1), c.head_width, c.rope_base)
        new = []
        for i, old in enumerate(caches):
            x, updated = Layer(c, name=f"layer_{i}")(x, rotary, old)
            new.append(updated)
        return nn.Dense(c.vocabulary, use_bias=False, name="head")(nn.RMSNorm(name="norm")(x)), new


@pytest.fixture(scope="module")
def decode() -> cm.Cost:
    """LLaMA-7B's decoding step in float16, of b sequences with t positions each."""
    b, t = cm.dims("b t", where="t >= 2")
    caches = [(cm.spec((b, t, 32, 128)),) * 2] * LLAMA_7B.layers
    cost = cm.analyze(Decoder(LLAMA_7B), cm.spec((b, 1), "int32"), caches).reprice("float16")
    assert cost.params == WEIGHTS
    return cost


@cache
def without_cache() -> cm.Cost:
    """LLaMA-7B on one position of b sequences, in float16."""
    b = cm.dims("b")
    return cm.analyze(Llama(dataclasses.replace(LLAMA_7B, scan=True)), cm.spec((b, 1), "int32")).reprice("float16")


# -- LLaMA-7B on an H100 ------------------------------------------------------------------------------------------------------


def test_decoding_one_sequence_is_memory_bound(decode):
    roofline = decode.roofline(H100, b=1, t=4096)
    assert roofline.bound == "memory" and {row.bound for row in roofline.rows if row.kind == "dot"} == {"memory"}
    table = 32000 * 4096  # of the embedding one row is read
    assert roofline.lower >= 2 * (WEIGHTS - table) / H100.bandwidth.value


@pytest.mark.parametrize(("memory", "sequences"),
                         [(80 * 10**9, 30), ("80GB", 30), ("h100-sxm", 30), ("80GiB", 33), (80 * 2**30, 33)])
def test_sequences_that_fit(decode, memory, sequences):
    """Weights and the cache of 4096 positions; GB and GiB are told apart."""
    fit = solve.max_fit(decode, "b", memory, at={"t": 4096}, uses="weights+cache")
    assert (fit.answer, fit.next) == (sequences, sequences + 1)
    a_sequence = KV_A_TOKEN * 4096 + 4  # and the token itself
    assert (fit.used, fit.next_used) == tuple(2 * WEIGHTS + b * a_sequence for b in (sequences, sequences + 1))
    assert fit.used <= fit.capacity < fit.next_used and fit.maximal
    t = cm.symbols("t")
    assert fit.formula.xreplace({t: 4096}) == sequences
    assert fit.formula.xreplace({t: 8192}) == (fit.capacity - 2 * WEIGHTS) // (2 * a_sequence - 4)


def test_contexts_that_fit(decode):
    fit = solve.max_fit(decode, "t", "80GB", at={"b": 8}, uses="weights+cache")
    assert fit.answer == (80 * 10**9 - 2 * WEIGHTS - 8 * 4) // (8 * KV_A_TOKEN)


def test_linear_layers_cross_at_the_ridge():
    """A batch of b reads the weights once: b FLOP a byte in float16. What else is read once moves it by less than one."""
    assert H100.ridge_point("matrix", "float16") == pytest.approx(295.3, abs=0.1)
    found = solve.crossover(without_cache(), "b", H100, policy="compulsory")
    assert found.answer == 296 and found.intensity > found.ridge
    layer = solve.crossover(without_cache(), "b", H100, policy="layer", kind="dot")
    assert layer.answer > 296  # activations between kernels are traffic too


def test_attention_over_a_cache_keeps_decoding_memory_bound(decode):
    """Every sequence brings its own cache: the intensity tends to the FLOPs of one sequence over the bytes of its cache."""
    found = solve.crossover(decode, "b", H100, at={"t": 4096}, policy="compulsory")
    assert found.answer is None and found.ridge == pytest.approx(295.8, abs=0.1)
    assert round(found.limit, 1) == 7.2
    t = cm.symbols("t")
    assert float(found.asymptote.xreplace({t: 4096})) == found.limit
    # By hand: 2 FLOP a weight that is multiplied, and scores and mixing of 4·L·d·t; the cache is read once.
    flops = 2 * (WEIGHTS - 32000 * 4096) + 4 * 32 * 4096 * 4096
    assert found.limit == pytest.approx(flops / (KV_A_TOKEN * 4096), rel=2e-3)
    assert decode.roofline(H100, b=10**6, t=4096).bound == "memory"


def test_short_contexts_do_turn_compute_bound(decode):
    found = solve.crossover(decode, "b", H100, at={"t": 16}, policy="compulsory")
    assert found.answer is not None and found.limit > 296


def test_a_longer_context_turns_decoding_memory_bound(decode):
    """Along the context only traffic grows: what is compute-bound at a large batch and a short cache does not stay so."""
    found = solve.crossover(decode, "t", H100, at={"b": 1024}, policy="compulsory")
    assert found.becomes == "memory" and found.answer > 2 and found.limit == pytest.approx(1, rel=0.1)
    before, there = (solve.crossover(decode, "b", H100, at={"t": t}, policy="compulsory") for t in (found.answer - 1, found.answer))
    assert before.answer <= 1024 and (there.answer is None or there.answer > 1024)


def test_a_domain_may_end_before_the_ridge():
    n = cm.dims("n", max=100)
    cost = cm.analyze(nn.Dense(1000, use_bias=False), cm.spec((n, 1000)))
    found = solve.crossover(cost, "n", "lecture")
    assert found.answer is None and found.last == 100 and "memory-bound up to 100" in str(found)
    assert solve.crossover(cost, "n", scaled(load("lecture"), bandwidth=2)).answer is not None


def test_tokens_a_second_against_batch_and_context(decode):
    pytest.importorskip("xarray")
    data = decode.sweep(b=[1, 8, 64], t=[1024, 4096], hardware=["h100-sxm"], metrics=[])
    speed = data.throughput.sel(hardware="h100-sxm")
    for b in (1, 8, 64):
        for t in (1024, 4096):
            assert float(speed.sel(b=b, t=t)) == pytest.approx(decode.roofline(H100, b=b, t=t).throughput[0])
    assert (speed.diff("b") > 0).all() and (speed.diff("t") < 0).all()
    assert set(data.bound.values.ravel()) == {"memory"}


# -- microcontrollers ---------------------------------------------------------------------------------------------------------


def test_mcunet_fits_its_microcontroller(cost_of):
    point = cost_of("mcunet_in3").reprice("int8").at(n=1, h=176, w=176)
    sram, flash = solve.fits(point, "stm32f746", uses="activations:mcunet-inplace")
    assert sram.ok and flash.ok and (sram.capacity, flash.capacity) == (320 * 2**10, 2**20)
    assert sram.used == point.activations("mcunet-inplace") and flash.used >= point.params == 737_408
    assert all(need.ok for need in solve.fits(point, "320kB", flash="1MB", uses="activations:mcunet-inplace"))


def test_mobilenet_v2_does_not(cost_of):
    point = cost_of("mobilenet_v2").reprice("int8").at(n=1, h=224, w=224)
    (sram,) = solve.fits(point, "320kB", uses="activations:mcunet")
    assert not sram.ok and sram.used == 1_705_984 and round(sram.ratio, 1) == 5.3
    assert "5.33x, does not fit" in str(sram)


def test_alexnet_in_int8_is_61_megabytes(cost_of):
    cost = cost_of("alexnet")
    assert round(cost.at(**dict.fromkeys(cost.symbols, 224) | {"n": 1}).model_size(bits=8) / 1e6) == 61
    assert solve.capacity("61MB") == 61_000_000


# -- the largest that fits ----------------------------------------------------------------------------------------------------


def convolution(where: str = "") -> cm.Cost:
    n, h = cm.dims("n h", where=where)
    return cm.analyze(nn.Conv(4, (3, 3), padding=1, use_bias=False), cm.spec((n, h, h, 2)))


COSTS = {"any": convolution(), "multiples": convolution("8 | h"), "bounded": convolution("h >= 5, h <= 40, n <= 12")}
coefficients = st.lists(st.integers(0, 50), min_size=5, max_size=5)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(COSTS)), st.sampled_from(["n", "h"]), st.integers(5, 12), coefficients, st.integers(1, 4000))
def test_the_answer_is_the_largest_that_brute_force_finds(kind, over, other, parts, room):
    cost = COSTS[kind]
    at = {"h": 8 * other if kind == "multiples" else other} if over == "n" else {"n": other}
    linear, square, product, ceiling, constant = parts

    def used(n, h, ceil_div):
        return linear * n + square * h**2 + product * n * h + ceiling * ceil_div(n + h, 3) + constant

    points = [{**at, over: v} for v in range(1, 300)]
    sizes = {p[over]: used(p["n"], p["h"], lambda a, b: -(-a // b)) for p in points if inside(cost, p)}
    assume(min(sizes.values()) < max(sizes.values()) and (kind == "bounded" or max(sizes.values()) > room))
    largest = max((v for v, size in sizes.items() if size <= room), default=None)
    fit = solve.max_fit(cost, over, room, at=at, uses=used(*cm.symbols("n h"), cm.CeilDiv))
    assert fit.answer == largest and fit.maximal
    assert fit.used == (None if largest is None else sizes[largest])
    after = [v for v in sizes if v > (largest or 0)]
    assert (fit.next, fit.next_used) == ((after[0], sizes[after[0]]) if after else (None, None))


def inside(cost: cm.Cost, point: dict[str, int]) -> bool:
    try:
        cost.domain.bind(point)
    except DomainError:
        return False
    return True


@given(st.integers(-50, 50), st.integers(0, 300), st.integers(0, 400))
def test_the_search_finds_the_first_that_holds(first, length, change):
    found = first_true(lambda i: i >= first + change, first, first + length)
    assert found == (first + change if change <= length else None)


def test_resolutions_keep_to_the_domain(cost_of):
    fit = solve.max_fit(cost_of("resnet18"), "h", "1GiB", at={"n": 1, "w": 224}, uses="live_peak")
    assert fit.answer % 32 == 0 and fit.next == fit.answer + 32
    here, there = (cost_of("resnet18").at(n=1, h=h, w=224).live_peak() for h in (fit.answer, fit.next))
    assert (here, there) == (fit.used, fit.next_used) and here <= 2**30 < there


def test_relations_bound_the_answer():
    s, t = cm.dims("s t", where="s <= t, t <= 100")
    cost = cm.analyze(lambda x, y: jnp.sin(x).sum() + y.sum(), cm.spec((s,)), cm.spec((t,)))
    assert solve.max_fit(cost, "s", "1kB", at={"t": 10}, uses="weights+cache").answer == 10
    assert solve.max_fit(cost, "t", "1GB", at={"s": 10}, uses="weights+cache").answer == 100
    assert line_of(cost, "t", {"s": 10}).first == 10


def test_a_use_that_may_fall_again_is_said_so():
    n = cm.symbols("n")
    fit = solve.max_fit(COSTS["any"], "n", 100, at={"h": 4}, uses=n**2 - 3 * n + 10)
    assert fit.answer == 11 and not fit.maximal and "not excluded" in str(fit)


@pytest.mark.parametrize(("call", "message"), [
    (lambda c: solve.max_fit(c, "n", "80GO", at={"h": 4}), "write 80GB"),
    (lambda c: solve.max_fit(c, "n", "h1000", at={"h": 4}), "unknown device"),
    (lambda c: solve.max_fit(c, "n", "lecture", at={"h": 4}), "states no capacity"),
    (lambda c: solve.max_fit(c, "k", "1GB", at={"h": 4}), "solve for one of n"),
    (lambda c: solve.max_fit(c, "n", "1GB", at={"h": 4, "n": 1}), "since all are bound"),
    (lambda c: solve.max_fit(c, "n", "1GB"), "unbound symbol h"),
    (lambda c: solve.max_fit(c, "n", "1GB", at={"h": 4, "w": 4}), "unknown symbol w"),
    (lambda c: solve.max_fit(c, "n", "1GB", at={"h": 4}, uses="weights"), "does not depend on n"),
    (lambda c: solve.max_fit(c, "n", "1GB", at={"h": 4}, uses="macs"), "not in bytes"),
    (lambda c: solve.max_fit(c, "n", "1GB", at={"h": 4}, uses="bytes:fast"), "no form of bytes"),
    (lambda c: solve.max_fit(c, "n", "1GB", at={"h": 4}, uses="speed"), "unknown metric"),
    (lambda c: solve.max_fit(c, "n", "1GB", at={"h": 4}, uses=cm.symbols("q")), "unknown symbol q"),
    (lambda c: solve.max_fit(c, "n", 1000, at={"h": 4}, uses=100 - cm.symbols("n")), "falls when n grows"),
    (lambda c: solve.crossover(c, "n", "lecture", at={"h": 4}, kind="sort"), "there are conv"),
    (lambda c: solve.crossover(c, "n", "lecture", at={"h": 4}, layer="conv"), "no kernel of"),
    (lambda c: solve.crossover(c, "n", "lecture", at={"h": 4}, layer="x", policy="compulsory"), "whole program's"),
    (lambda c: solve.crossover(cm.analyze(lambda x: x.T, cm.spec((cm.dims("n"), 3))), "n", "lecture"), "has no intensity"),
    (lambda c: solve.max_batch(c, "n", "lecture", "5 minutes", at={"h": 4}), "write 50ms"),
    (lambda c: solve.max_batch(c, "n", "lecture", "5ms", at={"h": 4}, bound="middle"), "lower or upper"),
    (lambda c: solve.saturation(c, "h", "lecture", at={"n": 4}), "grows faster than h"),
])
def test_a_question_without_an_answer_says_what_to_ask(call, message):
    with pytest.raises(CostModelError, match=message):
        call(COSTS["any"])


# -- crossovers, latency, saturation ------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0.05, 20))
def test_a_crossover_is_where_the_roofline_turns(depth, width, factor):
    n = cm.dims("n")
    cost = cm.analyze(jnp.matmul, cm.spec((n, depth)), cm.spec((depth, width)))
    device = scaled(load("lecture"), bandwidth=factor)
    found = solve.crossover(cost, "n", device)
    # 2·n·k·m / (4·(n·k + k·m + n·m)) tends to k·m / (2·(k + m)).
    assert found.limit == pytest.approx(depth * width / (2 * (depth + width)))
    if found.answer is None:
        assert found.limit <= found.ridge * (1 + 1e-9) and cost.roofline(device, n=10**9).bound == "memory"
    else:
        assert cost.roofline(device, n=found.answer).bound == "compute"
        assert found.answer == 1 or cost.roofline(device, n=found.answer - 1).bound == "memory"


def scaled(device: Hardware, launch: float = 0.0, **factors: float) -> Hardware:
    def times(q: Quantity, by: float) -> Quantity:
        return dataclasses.replace(q, value=q.value * by)

    peaks = {key: times(q, factors.get(key[0], 1.0)) for key, q in device.peaks.items()}
    return dataclasses.replace(device, peaks=peaks, bandwidth=times(device.bandwidth, factors.get("bandwidth", 1.0)),
                               launch_overhead=Quantity(launch, "s", "assumed") if launch else None)


@pytest.mark.parametrize("latency", ["2ms", "10ms", 0.05])
@pytest.mark.parametrize("bound", ["lower", "upper"])
def test_the_largest_batch_within_a_latency(cost_of, latency, bound):
    cost, at = cost_of("resnet18"), {"h": 224, "w": 224}
    found = solve.max_batch(cost, "n", "lecture", latency, at=at, bound=bound)
    times = {n: getattr(cost.roofline("lecture", n=n, **at), bound) for n in (found.answer, found.next)}
    assert times[found.answer] == pytest.approx(found.seconds) and times[found.next] == pytest.approx(found.next_seconds)
    assert found.seconds <= found.latency < found.next_seconds and found.next == found.answer + 1
    assert found.throughput == pytest.approx(found.answer / found.seconds)


def test_no_batch_within_a_latency(cost_of):
    found = solve.max_batch(cost_of("resnet18"), "n", "lecture", "1us", at={"h": 224, "w": 224})
    assert found.answer is None and found.next == 1 and found.next_seconds > 1e-6 and "no n is within" in str(found)


@pytest.mark.parametrize("device", [load("lecture"), scaled(load("lecture"), launch=1e-3), load("tpu-v5e")])
def test_the_batch_that_saturates(cost_of, device):
    cost, at = cost_of("resnet18"), {"h": 224, "w": 224}
    found = solve.saturation(cost, "n", device, at=at)
    assert found.limit == pytest.approx(cost.roofline(device, n=10**7, **at).throughput[0], rel=1e-3)
    speed = {n: cost.roofline(device, n=n, **at).throughput[0] for n in (found.answer, found.answer - 1) if n}
    assert speed.pop(found.answer) == pytest.approx(found.throughput) and found.throughput >= 0.95 * found.limit
    assert all(slower < 0.95 * found.limit for slower in speed.values())


def test_saturation_over_the_length_of_a_loop():
    """Each iteration launches its kernels anew: so does the limit."""
    n = cm.dims("n")
    cost = cm.analyze(lambda w, xs: jax.lax.scan(lambda c, x: (c @ w + x, None), xs[0], xs)[0], (16, 16), (n, 4, 16))
    device = scaled(load("lecture"), launch=1e-3)
    found = solve.saturation(cost, "n", device)
    assert found.limit == pytest.approx(cost.roofline(device, n=10**7).throughput[0], rel=1e-3) and found.limit < 1000


def test_the_smallest_device_for_a_latency(cost_of):
    point = cost_of("resnet18").at(n=8, h=224, w=224)
    among = ["lecture", "tpu-v5e", "h100-sxm", "stm32f746"]
    found = solve.devices_for(point, "5ms", among=among)
    assert {c.device.name for c in found} == set(among)
    good = [c for c in found if not c.reason]
    assert good and all(c.upper <= 0.005 for c in good) and [c.upper for c in good] == sorted((c.upper for c in good), reverse=True)
    reasons = {c.device.name: c.reason for c in found if c.reason}
    assert "of 327.68 kB" in reasons["stm32f746"] and "too slow" in reasons["lecture"]
    (half,) = solve.devices_for(cost_of("resnet18").reprice("bf16").at(n=8, h=224, w=224), "5ms", among=["lecture"])
    assert "no matrix peak for bfloat16" in half.reason and "not priced" in str(half)


# -- what to buy --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", ["lower", "upper"])
@pytest.mark.parametrize("device", ["lecture", "h100-sxm", "tpu-v5e"])
def test_elasticities_sum_to_one_and_are_derivatives(cost_of, device, bound):
    """Finite differences of the time, one figure of the device at a time."""
    point = cost_of("resnet18").at(n=16, h=224, w=224)
    device = scaled(load(device), launch=1e-5)
    found = solve.elasticities(point, device, bound=bound)
    assert sum(found.values()) == pytest.approx(1)
    step = 1e-7
    base = getattr(point.roofline(device), bound)
    for name in ("bandwidth", "matrix", "vector"):
        faster = getattr(point.roofline(scaled(device, launch=1e-5, **{name: 1 + step})), bound)
        assert (base - faster) / base / step == pytest.approx(found[name], abs=1e-4), name
    less = getattr(point.roofline(scaled(device, launch=1e-5 * (1 - step))), bound)
    assert (base - less) / base / step == pytest.approx(found["launch"], abs=1e-4)


def test_at_a_ridge_one_resource_binds():
    """A square product of 288 has the intensity of the lecture's ridge, 48: the memory is taken to bind, and nothing besides."""
    point = cm.analyze(jnp.matmul, (288, 288), (288, 288)).at()
    assert solve.elasticities(point, "lecture") == {"bandwidth": 1, "matrix": 0, "launch": 0}
    found = solve.elasticities(point, "lecture", bound="upper")
    assert found["bandwidth"] == pytest.approx(0.5) == found["matrix"]


def test_a_missing_peak_is_an_error_where_one_device_is_asked_for(cost_of):
    with pytest.raises(MissingPeak):
        solve.crossover(cost_of("mlp").reprice("bf16"), "n", "lecture", at=dict.fromkeys("abcd", 8))


def test_whether_a_model_fits_counts_its_weights(cost_of):
    (need,) = solve.fits(cost_of("resnet18").at(n=1, h=224, w=224), "32MB")
    assert need.what == "live_peak" and not need.ok


def test_a_throughput_over_another_symbol_than_the_batch_is_not_in_items():
    assert (rate_of("n"), rate_of("h")) == ("items/s", "h/s")


@pytest.mark.parametrize("memory", [0, -5, 1.5e9, None])
def test_what_is_no_memory_is_refused(cost_of, memory):
    with pytest.raises(CostModelError, match="memory"):
        solve.max_fit(cost_of("resnet18"), "n", memory, at={"h": 224, "w": 224})


def test_a_value_at_which_nothing_is_done_is_no_division_by_zero():
    """x[1:] of one row is empty. From a file the forms are evaluated there; a program that is traced there has no kernel at all."""
    n = cm.dims("n")
    cost = cm.analyze(lambda x: x[1:] * x[:-1], (n, 8), verify=False)
    saved = cm.from_json(cost.to_json())
    assert solve.crossover(cost, "n", "lecture").answer is None
    assert solve.saturation(cost, "n", "lecture").throughput == float("inf")
    assert set(solve.elasticities(saved.at(n=1), "lecture").values()) == {0.0}
    assert cost.sweep(n=[1, 2], hardware=["lecture"]).throughput.values[0, 0] == float("inf")


@pytest.mark.parametrize("memory, missing", [("24", "unit"), ("0", "unit"), ("GB", "number"), ("0GB", "holds nothing"),
                                             ("0.2B", "holds nothing")])
def test_a_size_that_is_none_is_told(cost_of, memory, missing):
    cost = cost_of("mlp")
    at = dict(zip(cost.symbols, (3, 5, 4, 2, 1), strict=False))
    for ask in (lambda: solve.capacity(memory), lambda: solve.fits(cost.at(**at), memory)):
        with pytest.raises(CostModelError, match=missing):
            ask()


@pytest.mark.parametrize("name", ["nano", "inferentia"])
def test_a_device_may_be_called_as_what_begins_like_no_number(name):
    with pytest.raises(CostModelError, match=f"unknown device '{name}'"):
        solve.capacity(name)


def test_a_latency_that_reads_as_the_time_is_told_too():
    assert "n = 547: 10 ms of 10 ms" in str(solve.Within("n", 10.00001e-3, 547, 10e-3, None, None))


def test_a_time_that_reads_as_the_latency_has_more_digits():
    found = solve.Within("n", 10e-3, 547, 9.99991e-3, 548, 10.00003e-3)
    assert "n = 547: 9.9999 ms of 10 ms" in str(found) and "n = 548 takes 10.00003 ms" in str(found)


def test_what_fits_is_asked_of_the_program_that_runs_there():
    """An einsum of three operands is contracted in another order where s is large: the first program's formula does not hold."""
    n, s = cm.dims("n s")

    def attend(q, k, v):
        return jnp.einsum("bqd,bkd,bkv->bqv", q, k, v) / jnp.einsum("bqd,bkd->bq", q, k)[..., None]

    cost = cm.analyze(attend, (n, s, 8), (n, s, 8), (n, s, 8))
    held = {value: cost.at(n=3, s=value).live_peak() for value in range(1, 64)}
    for room in (5_000, 10_096, 20_716):
        found = solve.max_fit(cost, "s", room, at={"n": 3})
        assert found.answer == max(value for value, bytes_ in held.items() if bytes_ <= room)
        assert (found.used, found.next_used) == (held[found.answer], held[found.next])


def attention_of_three():
    """An einsum of three operands is contracted in another order where s is large: the first program's formula does not hold."""
    n, s = cm.dims("n s")
    return cm.analyze(lambda q, k, v: jnp.einsum("bqd,bkd,bkv->bqv", q, k, v), (n, s, 8), (n, s, 8), (n, s, 8))


@pytest.mark.parametrize("bound", ["upper", "lower"])
def test_what_is_within_a_latency_is_asked_of_the_program_that_runs_there(bound):
    cost, device = attention_of_three(), cm.hardware.load("h100-sxm")
    seconds = {s: getattr(cost.at(n=64, s=s).roofline(device), bound) for s in range(1, 64)}
    for latency in (seconds[9] * 1.001, seconds[20] * 1.001, seconds[40] * 1.001):
        found = solve.max_batch(cost, "s", device, latency, at={"n": 64}, bound=bound)
        assert found.answer == max(s for s, taken in seconds.items() if taken <= latency)
