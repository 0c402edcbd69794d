"""Models whose depth or number of unrolled steps is a symbol: forms as written by hand, equal to concrete traces at depths and
points that no form was found from; and refusals of what has none."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import lax
from sympy import expand

import costmodel as cm
from costmodel.pricing.metrics import get
from costmodel.symbolic.forms import evaluate
from costmodel.trace.requests import request

N, L, S, T, W = cm.symbols("n L s t w")
n, depth, s, t, w = cm.dims("n L s t w")
slow = pytest.mark.slow


def layers(x, k, *, depth):
    for _ in range(int(depth)):
        x = jnp.tanh(x @ k)
    return x


def unrolled(x, k):  # a recurrent network without scan
    state = jnp.zeros((x.shape[0], 16))
    for i in range(x.shape[1]):
        state = jnp.tanh(x[:, i] @ k + state @ k)
    return state


def decoded(q):  # each step attends to all steps before it
    out = []
    for i in range(q.shape[1]):
        scores = jax.nn.softmax(jnp.einsum("bd,btd->bt", q[:, i], q[:, :i + 1]))
        out.append(jnp.einsum("bt,btd->bd", scores, q[:, :i + 1]))
    return jnp.stack(out, 1)


def every(x, k, wide, *, depth, period):  # an expensive layer among every few
    for i in range(int(depth)):
        x = jnp.tanh(x @ k)
        if i % period == period - 1:
            x = x @ wide @ wide.T
    return x


def quarter(x, k, *, depth):  # both an integer of a size and a depth
    return layers(x[:, :int(x.shape[1] * 0.25)], k, depth=depth)


class Mlp(nn.Module):
    layers: int
    width: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.layers):
            x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(3)(x)


class DenseNet(nn.Module):  # each layer sees the results of all before it
    layers: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.layers):
            x = jnp.concatenate([x, nn.relu(nn.Conv(12, (3, 3))(x))], -1)
        return nn.Dense(3)(x.mean((1, 2)))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=4)(y, y)
        return x + nn.Dense(32)(nn.gelu(nn.Dense(128)(nn.LayerNorm()(x))))


class Transformer(nn.Module):
    layers: int

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(32)(x)
        for _ in range(self.layers):
            x = Block()(x)
        return nn.Dense(10)(x.mean(1))


def of(function, **kw):
    return functools.partial(function, **kw)


FLOOR2, FLOOR5 = cm.FloorDiv(L, 2), cm.FloorDiv(L, 5)
# name -> (model, inputs, {metric: its form by hand})
MODELS = {
    "layers": (of(layers, depth=depth), [(n, 16), (16, 16)], {
        "macs": 256 * L * N, "transcendentals": 16 * L * N, "bytes:unfused": L * (4 * 64 * N + 1024),
        "live_peak": 3 * 64 * N + 1024}),
    "unrolled": (unrolled, [(n, s, 16), (16, 16)], {"macs": 512 * N * S, "flops": 2 * 512 * N * S + 16 * N * S}),
    "decoded": (decoded, [(n, s, 8)], {"macs": 2 * 8 * N * S * (S + 1) / 2}),
    "every second": (of(every, depth=depth, period=2), [(n, 16), (16, 16), (16, 64)], {"macs": 256 * L * N + 2048 * N * FLOOR2}),
    "every fifth": (of(every, depth=depth, period=5), [(n, 16), (16, 16), (16, 64)], {"macs": 256 * L * N + 2048 * N * FLOOR5}),
    "a quarter": (of(quarter, depth=depth), [(n, s, 16), (16, 16)], {"macs": 256 * L * N * cm.FloorDiv(S, 4)}),
    "depth and width": (Mlp(depth, w), [(n, 16)], {
        "params": 16 * W + W + (L - 1) * (W**2 + W) + 3 * W + 3, "macs": N * (16 * W + (L - 1) * W**2 + 3 * W)}),
    "densenet": (DenseNet(depth), [(n, t, t, 3)], {
        "params": L * (9 * 3 * 12 + 12) + 9 * 12 * 12 * L * (L - 1) / 2 + 3 * (3 + 12 * L) + 3,
        "macs": N * T**2 * (324 * L + 648 * L * (L - 1)) + 3 * N * (3 + 12 * L)}),
    "transformer": (Transformer(depth), [(n, s, 16)], {
        "params": L * (2 * 64 + 4 * (32 * 32 + 32) + 32 * 128 + 128 + 128 * 32 + 32) + 16 * 32 + 32 + 32 * 10 + 10,
        "macs": L * N * S * (4 * 32 * 32 + 2 * 32 * 128) + L * 2 * 32 * N * S**2 + 512 * N * S + 320 * N}),
}
HEAVY = {"transformer", "densenet", "a quarter"}
NO_FORM = {("every fifth", "compulsory")}  # up to four layers the wide weights are not read at all
NAMES = [pytest.param(name, marks=[slow] if name in HEAVY else []) for name in MODELS]


@functools.cache
def grown(name):
    model, inputs, _ = MODELS[name]
    return cm.analyze(model, *inputs)


def metric(cost, text):
    name, _, form = text.partition(":")
    return cost.metric(name, **({"form": form} if form else {}))


def concrete(name, point):
    """The counts of a model traced at integers from the start."""
    model, inputs, _ = MODELS[name]
    domain = grown(name).domain
    asked = request(model, *inputs).at(domain, domain.bind(point))
    return cm.analyze(asked.model, *asked.inputs, fit="never").at()


@pytest.mark.parametrize("name", NAMES)
def test_forms_in_the_depth_are_those_by_hand(name):
    for text, form in MODELS[name][2].items():
        assert expand(metric(grown(name), text) - form) == 0, (text, metric(grown(name), text))


@pytest.mark.parametrize("name", NAMES)
def test_forms_and_points_are_what_concrete_traces_have(name):
    cost = grown(name)
    depths = (2, 8) if name in HEAVY else (2, 3, 5, 8, 16, 19)
    for i, v in enumerate(depths):
        point = {x: v if x == cost.fitted.depth else 3 + 2 * i + k for k, x in enumerate(cost.symbols)}
        expected, there, env = concrete(name, point), cost.at(**point), cost.domain.bind(point)
        for m in ("params", "macs", "flops", "ops", "transcendentals"):
            assert there.metric(m) == expected.metric(m) == evaluate(cost.price(m), env), (m, point)
        for form in ("unfused", "compulsory", "layer", "xla-gpu"):
            assert there.bytes(form) == expected.bytes(form), (form, point)
            if (name, form) not in NO_FORM:
                assert evaluate(cost.price("bytes", form=form), env) == expected.bytes(form), (form, point)
        assert there.live_peak() == expected.live_peak(), point


def test_what_was_done_is_told(capsys):
    cost = cm.analyze(*MODELS["layers"][:1], *MODELS["layers"][1])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "fitted in L, with which the program grows" in said
    assert cost.fitted.symbols == ("L", "n") and cost.fitted.depths[:4] == (2, 3, 4, 5)
    assert len(cost.fitted.verified) >= 3 and min(p["L"] for p in cost.fitted.verified) > max(cost.fitted.depths)


# -- refusals ----------------------------------------------------------------------------------------------------------------


def doubled(x, *, depth):
    for _ in range(int(depth)):
        x = jnp.concatenate([x, x], -1)
    return x * 2.0


def layers_of_steps(x, k, *, depth):
    for _ in range(int(depth)):
        x = x + unrolled(x, k)[:, None]
    return x


@pytest.mark.parametrize(("model", "inputs", "reason"), [
    (of(doubled, depth=depth), [(n, 16)], "flops has no closed form in L: .*exponentially"),
    (of(layers_of_steps, depth=depth), [(n, s, 16), (16, 16)], "grows with L and s; give all but one"),
    (lambda x: lax.associative_scan(jnp.multiply, x, axis=1), [(n, s)], "structure changes with s"),
])
def test_what_has_no_form_is_refused_in_one_line(model, inputs, reason):
    with pytest.raises(cm.TraceError, match=reason) as refusal:
        cm.analyze(model, *inputs)
    assert "\n" not in str(refusal.value)


def test_a_form_that_fails_at_a_fresh_depth_is_refused():
    """Up to 22 layers a linear form holds; one of the fresh depths is deeper."""
    def capped(x, k, *, depth):
        return layers(x, k, depth=min(int(depth), 22))

    with pytest.raises(cm.TraceError, match="has no closed form in L: what it seems to follow gives"):
        cm.analyze(of(capped, depth=depth), (n, 16), (16, 16))


def test_beyond_what_was_verified_the_program_there_decides():
    def capped(x, k, *, depth):
        return layers(x, k, depth=min(int(depth), 40))

    cost = cm.analyze(of(capped, depth=depth), (n, 16), (16, 16))
    assert cost.at(n=3, L=40).macs == 40 * 3 * 256
    with pytest.raises(cm.DomainError, match="L=41, n=3 is outside of the fitted domain"):
        cost.at(n=3, L=41)
    assert cost.region(L=41).macs == 40 * 256 * N


def test_what_asks_for_a_program_is_told_to_choose_one():
    cost = grown("layers")
    for question in (lambda: cost.explain(""), lambda: cost.table(by="layer"), lambda: cost.live_profile(), lambda: cost.to_json(),
                     lambda: cost.kernels("layer"), lambda: cost.table(by="kernel", policy="layer")):
        with pytest.raises(cm.CostModelError, match=r"\.region\(L=…"):
            question()
    with pytest.raises(cm.DomainError, match="unbound symbol L"):
        cost.region(n=3)
    with pytest.raises(cm.DomainError, match="L=0 is outside"):
        cost.region(L=0)


# -- what else is asked ------------------------------------------------------------------------------------------------------


def test_one_depth_is_a_cost_in_the_other_symbols():
    twelve = grown("depth and width").region(L=12)
    assert twelve.params == expand(16 * W + W + 11 * (W**2 + W) + 3 * W + 3)
    assert twelve.table(by="layer").sum() == twelve.table(by="layer").total
    assert cm.from_json(twelve.to_json()).macs == twelve.macs


def test_modules_that_differ_in_integers_are_one_row():
    table = grown("depth and width").table()
    assert table.sum() == table.total
    rows = {row.label: row.cells for row in table.rows}
    assert rows["Dense_*"][0] == grown("depth and width").params and len(rows) == 2


@slow
def test_rows_of_a_transformer_are_those_by_hand():
    cost = grown("transformer")
    rows = {row.label: row.cells for row in cost.table(depth=2).rows}
    assert rows["Block_*/MultiHeadDotProductAttention_*"][:2] == (
        4 * (32 * 32 + 32) * L, L * N * S * 4 * 32 * 32 + 64 * L * N * S**2)
    assert rows["Block_*/Dense_*"][:2] == (L * (32 * 128 + 128 + 128 * 32 + 32), L * N * S * 2 * 32 * 128)
    assert cost.table(depth=2).sum() == cost.table(depth=2).total


def test_a_sweep_has_the_program_of_each_depth():
    found = grown("layers").sweep(L=[2, 3, 30], n=[1, 5], metrics=["macs", "bytes:unfused"], hardware=["h100-sxm"])
    assert found.macs.dims == ("L", "n") and int(found.macs.sel(L=30, n=5)) == 256 * 30 * 5
    assert int(found["bytes_unfused"].sel(L=3, n=5)) == 3 * (4 * 64 * 5 + 1024)
    assert found.time_lower.dims == ("hardware", "L", "n")
    assert int(grown("layers").sweep(L=4, n=[1, 5]).macs[1]) == 256 * 4 * 5
    with pytest.raises(cm.DomainError, match="values of its own"):
        grown("layers").sweep(L="n", n=[2, 5])


def test_another_type_has_forms_too():
    assert grown("layers").reprice("bf16").bytes("unfused") == 128 * L * N + 512 * L


def test_a_training_step_of_any_depth():
    cost = cm.analyze_training(Mlp(depth, 8), (n, 16), loss=lambda y: (y**2).sum())
    # forward, the gradient of every weight, and of every activation but the input
    assert expand(cost.macs - N * (3 * (128 + 64 * (L - 1) + 24) - 128)) == 0
    assert {row.label for row in cost.table(by="phase").rows} == {"forward", "backward"}


def test_headlines_print_with_the_depth():
    assert "256*L*n MAC" in str(grown("layers")) and "256 n L" in grown("layers").latex()


def test_an_interpolation_is_checked_before_it_is_believed():
    """Against what the concrete programs have: here one multiplication more than the sample."""
    parts = grown("layers").parts
    macs = get("macs").price
    assert parts.form("it", lambda cost: cost.price("macs"), macs) == 256 * L * N
    with pytest.raises(cm.CostModelError, match="it has no closed form in L: what it seems to follow gives"):
        parts.form("it", lambda cost: cost.price("macs"), lambda table: macs(table) + 1)
