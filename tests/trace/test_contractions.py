"""Where an einsum keeps its order, beside the orders that jax chooses with integers."""

from __future__ import annotations

import random

import jax.numpy as jnp
import pytest

import costmodel as cm
from costmodel.symbolic.forms import evaluate
from costmodel.trace.contractions import margins
from costmodel.trace.undecided import Order

EINSUMS = ["bqd,bkd,bkv->bqv", "nd,dr,re->ne", "ab,bc,cd,de->ae", "bhqk,bkhd,hdo->bqo", "abc,cd,ad->b",
           "...ab,bc,...cd->...ad"]


@pytest.mark.parametrize("text", EINSUMS)
def test_where_all_margins_are_above_zero_the_order_is_the_programs(text):
    rng, names = random.Random(text), "uvwxyz"
    letters = sorted(set(text.split("->")[0]) - set(",."))
    dims = dict(zip(letters, cm.dims(" ".join(f"{names[i % 6]}{i}" for i in range(len(letters)))) if len(letters) > 1
                    else (cm.dims("u0"),), strict=True))
    shapes = [tuple(dims[letter] for letter in term.replace("...", "")) for term in text.split("->")[0].split(",")]
    cost = cm.analyze(lambda *arrays: jnp.einsum(text, *arrays), *(cm.spec(shape) for shape in shapes), verify=False)
    order: Order = cost.compared.orders[0]
    found, kept = margins(order), 0
    assert found is not None
    for _ in range(200):
        env = cost.domain.bind({name: rng.choice((1, 2, 3, 7, 8, 9, 30, 100)) for name in cost.symbols})
        same = order.at(env)[-1] == order.assumed()[-1] and order.at(env) == order.assumed()
        if all(evaluate(d, env) > 0 for d in found):
            kept += 1
            assert same, env
        elif not same:
            assert any(evaluate(d, env) <= 0 for d in found)
        if any(evaluate(d, env) < 0 for d in found):
            assert not same, env
    assert kept > 10 or not found


def test_more_operands_are_not_told():
    n = cm.dims("n")
    cost = cm.analyze(lambda *arrays: jnp.einsum("ab,bc,cd,de,ef->af", *arrays), *[cm.spec((n, n))] * 5, verify=False)
    assert margins(cost.compared.orders[0]) is None


@pytest.mark.parametrize("text", ["i,i,ij->j", "ab,ab,ab->"])
def test_a_pair_that_is_met_twice_is_not_told(text):
    """opt_einsum takes what such a pair costs from where it met it first."""
    n = cm.dims("n")
    cost = cm.analyze(lambda *arrays: jnp.einsum(text, *arrays), *[cm.spec((n,) * len(t)) for t in text.split("->")[0].split(",")],
                      verify=False)
    assert margins(cost.compared.orders[0]) is None
