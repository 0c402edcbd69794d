"""Raw programs: what inlining gives, and that other passes can take one, change it, and have it counted."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from sympy import Integer, Rational

import costmodel as cm
from costmodel.cost import Cost
from costmodel.program.branches import weigh
from costmodel.program.inline import inline
from costmodel.program.raw import RawProgram
from costmodel.program.table import cost_table
from costmodel.rules.branches import Branches
from costmodel.rules.work import Array
from costmodel.symbolic.forms import symbol
from costmodel.trace.requests import request

METRICS = ("params", "macs", "flops", "ops", "transcendentals")
FORMS = ("compulsory", "unfused", "xla-cpu")


def program(function, *inputs) -> RawProgram:
    return inline(request(function, *inputs).run())


def prices(raw: RawProgram) -> dict:
    cost = Cost(*cost_table(raw))
    return {name: cost.metric(name) for name in METRICS} | {form: cost.bytes(form) for form in FORMS} | {"peak": cost.live_peak()}


def layers(x, w, depth):
    def layer(carry, _):
        return jax.nn.softmax(carry @ w, axis=-1) + carry, carry.sum(axis=0)

    return lax.scan(layer, x, length=depth)


def test_concrete_programs_at_symbolic_shapes_are_the_symbolic_program():
    """What a fit does: the sizes 7 and 11 stand for n and d, the trip count 5 for 5."""
    n, d = cm.dims("n d")
    symbolic = program(lambda x, w: layers(x, w, 5), cm.spec((n, d)), cm.spec((d, d)))
    concrete = program(lambda x, w: layers(x, w, 5), cm.spec((7, 11)), cm.spec((11, 11)))
    meaning = {Integer(7): symbol("n"), Integer(11): symbol("d")}
    rebuilt = concrete.rewritten(lambda v: Array(tuple(meaning.get(size, size) for size in v.array.shape), v.array.dtype))
    assert prices(rebuilt) == prices(symbolic) != prices(concrete)
    assert prices(concrete.rewritten(lambda v: v.array)) == prices(concrete)


def test_trip_counts_can_be_rewritten():
    shallow, deep = (program(lambda x, w, depth=depth: layers(x, w, depth)[0], cm.spec((7, 11)), cm.spec((11, 11)))
                     for depth in (5, 9))
    deeper = shallow.rewritten(lambda v: v.array, lambda r: dataclasses.replace(r, times=Integer(9)) if r.times == 5 else r)
    assert prices(deeper) == prices(deep)


def test_a_value_keeps_its_identity_when_it_is_rewritten():
    def branching(p, x):
        return lax.cond(p, lambda: lax.fori_loop(0, 3, lambda i, c: c * x, x), lambda: x + x)

    before = program(branching, cm.spec((), "bool"), cm.spec((4,)))
    after = before.rewritten(lambda v: v.array)

    def links(raw: RawProgram) -> list:
        order: dict = {}
        values = [*raw.inputs, *raw.outputs, *(v for r in raw.equations for v in (*r.ins, *r.outs)),
                  *(v for pair in raw.carried for v in pair), *(v for c in raw.conds for vs in (*c.results, c.outs) for v in vs)]
        return [order.setdefault(v, len(order)) for v in values]

    assert links(before) == links(after)
    assert not {*before.inputs, *before.outputs} & {*after.inputs, *after.outputs}


def test_every_branch_is_there_and_marked():
    def nested(i, p, x):
        return lax.switch(i, [jnp.sin, lambda x: lax.cond(p, jnp.cos, jnp.tan, x),
                              lambda x: lax.fori_loop(0, 3, lambda _, c: jnp.tanh(c), x)], x)

    raw = program(nested, cm.spec((), "int32"), cm.spec((), "bool"), cm.spec((4,)))
    where = {r.primitive: r.branch for r in raw.equations if r.primitive in ("sin", "cos", "tan", "tanh")}
    outer, inner = raw.conds[1].number, raw.conds[0].number  # inner ones first
    indices = {where["cos"][-1][1], where["tan"][-1][1]}
    assert where["sin"] == ((outer, 0, 3),) and where["tanh"] == ((outer, 2, 3),) and indices == {0, 1}
    assert where["cos"][0] == where["tan"][0] == (outer, 1, 3) and where["cos"][-1][0] == where["tan"][-1][0] == inner
    assert len(raw.conds[1].results) == 3
    assert {r.bounded for r in weigh(raw, Branches.MAX).equations if r.branch} == {True}
    weighed = weigh(raw, Branches.MEAN).equations
    assert {r.times for r in weighed if r.primitive in ("sin", "cos")} == {Rational(1, 3), Rational(1, 6)}


def test_nothing_is_changed_after_it_was_made():
    raw = program(lambda x: x + 1.0, cm.spec((4,)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        raw.equations[0].times = Integer(2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        raw.outputs = ()


def test_records_are_compared_by_identity():
    raw = program(lambda x: x + 1.0, cm.spec((4,)))
    twin = dataclasses.replace(raw.equations[0])
    assert twin != raw.equations[0] and len({twin, raw.equations[0]}) == 2


def test_the_condition_of_a_loop_is_never_dead():
    raw = program(lambda x: lax.while_loop(lambda c: c.sum() < 3.0, lambda c: c * 2.0, x), cm.spec((4,)))
    assert {r.primitive for r in raw.equations if r.effects} >= {"reduce_sum", "lt"}
    assert not any(r.effects for r in raw.equations if r.primitive == "mul")
