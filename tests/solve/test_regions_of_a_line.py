"""Where the bound flips and what throughput tends to, of models that write other programs at other sizes: judged by analyses of the
same models with integers, value by value."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import costmodel as cm
from costmodel import solve
from costmodel.hardware import Hardware, load
from costmodel.solve.crossovers import load_of


def fast_memory(factor: float) -> Hardware:
    device = load("lecture")
    return dataclasses.replace(device, bandwidth=dataclasses.replace(device.bandwidth, value=device.bandwidth.value * factor))


def three(q, k, v):
    """Contracted in another order where the middle dimension is large."""
    return jnp.einsum("bqd,bkd,bkv->bqv", q, k, v)


def deeper(x, w):
    """Another program where the batch is large: jax refuses its symbol."""
    for _ in range(3 if x.shape[0] > 20 else 1):
        x = x @ w + x
    return x


def alone(x, w):
    """Another program for a batch of one."""
    return x * 2 if x.shape[0] == 1 else x @ w @ w @ w


def of_three(s):
    return three, (3, s, 8), (3, s, 8), (3, s, 8)


def of_rows(f):
    return lambda n: (f, (n, 64), (64, 64))


def computes(cost: cm.Cost, device: Hardware, policy: str) -> bool:
    work = load_of(cost, policy)
    return work.compute(device, float) * device.bandwidth.value > float(work.bytes)


@pytest.mark.parametrize("policy", ["unfused", "compulsory"])
@pytest.mark.parametrize(("call", "factor"), [(of_three, 30), (of_three, 50), (of_three, 12), (of_rows(deeper), 8),
                                              (of_rows(deeper), 12), (of_rows(alone), 20), (of_rows(alone), 50)])
def test_the_bound_flips_where_the_programs_that_run_do(call, factor, policy, capsys):
    size, device, last = cm.dims("m"), fast_memory(factor), 48
    cost = cm.analyze(*call(cm.dims("m", max=last) if call is not of_three else size))
    binds = [computes(cm.analyze(*call(m)), device, policy) for m in range(1, last + 1)]
    flips = [m + 1 for m in range(1, last) if binds[m] != binds[m - 1]]
    if len(flips) > 1:
        with pytest.raises(cm.CostModelError, match="does not cross the ridge once"):
            solve.crossover(cost, "m", device, policy=policy)
        return
    found = solve.crossover(cost, "m", device, policy=policy)
    assert found.answer == (flips[0] if flips else 1 if binds[0] else None)
    assert found.becomes == ("compute" if binds[-1] else "memory")


def test_the_limit_is_that_of_the_program_at_large_values():
    cost, device = cm.analyze(*of_three(cm.dims("m"))), fast_memory(30)
    far = load_of(cm.analyze(*of_three(2**24)), "compulsory")
    found = solve.crossover(cost, "m", device, policy="compulsory")
    assert found.limit == pytest.approx(float(far.operations) / float(far.bytes), rel=1e-5) == float(found.asymptote)
    large = cm.analyze(*of_three(2**24)).at().roofline(device, policy="unfused").lower
    assert solve.saturation(cost, "m", device, policy="unfused").limit == pytest.approx(2**24 / large, rel=1e-3)


def test_an_einsum_of_another_order_has_forms_of_its_own():
    """They are exact: at other points of the region the integers' analysis says the same."""
    m = cm.dims("m")
    cost = cm.analyze(*of_three(m))
    s = cm.symbols("m")
    assert cost.macs == 48 * s**2 and cost.at(m=9).cost.macs == 384 * s
    for size in (8, 9, 13, 64, 1009):
        there, judge = cost.at(m=size), cm.analyze(*of_three(size))
        assert (there.macs, there.bytes("xla-gpu"), there.live_peak()) == (judge.macs, judge.bytes("xla-gpu"), judge.live_peak())
    assert cost.reprice("bf16").at(m=64).bytes("unfused") * 2 == cost.at(m=64).bytes("unfused")


def test_orders_of_other_programs_are_not_this_ones():
    """Of two models of the same symbols each has the orders of its own einsums."""
    m = cm.dims("m")
    cm.analyze(*of_three(m)).at(m=40)
    cost = cm.analyze(lambda x, a, b: jnp.einsum("nd,dr,re->ne", x, a, b), (40, 64), (64, m), (m, 64))
    jitted = cm.analyze(jax.jit(three), (3, m, 8), (3, m, 8), (3, m, 8))
    for size in (1, 3, 17, 40, 400):
        assert cost.at(m=size).macs == cm.analyze(lambda x, a, b: jnp.einsum("nd,dr,re->ne", x, a, b), (40, 64), (64, size),
                                                  (size, 64)).macs
        assert jitted.at(m=size).macs == cm.analyze(*of_three(size)).macs


def test_a_leading_term_is_that_of_the_program_at_large_values():
    """Of linear attention the products grow with the sequence, not with its square; of the deeper model three layers count."""
    m, n = cm.symbols("m n")
    attention = cm.analyze(*of_three(cm.dims("m")))
    layers = cm.analyze(*of_rows(deeper)(cm.dims("n")))
    for cost, name, symbol, call in ((attention, "m", m, of_three), (layers, "n", n, of_rows(deeper))):
        far = [cm.analyze(*call(size)).macs for size in (2**20, 2**21)]
        assert far[1] == 2 * far[0] and cost.leading_order(name, "macs") == far[0] // 2**20 * symbol
