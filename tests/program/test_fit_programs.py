"""Programs that jax refuses to trace symbolically, by category of docs/limits.md: their fitted forms as written by hand, and equal
to concrete traces at points that no fit has seen."""

from __future__ import annotations

import ast
import functools
import itertools
import json
import math
import random
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from sympy import Integer

import costmodel as cm
import zoo
from costmodel.symbolic.forms import evaluate, minimum, symbol
from costmodel.trace.requests import request

N, S, T, H, W, A, B, C, E, G, L = cm.symbols("n s t h w a b c e g L")
n, s, t, h, w, a, b, c, e, g, depth = cm.dims("n s t h w a b c e g L")
NHWC = ("NHWC", "HWIO", "NHWC")
slow = pytest.mark.slow


def conv(x, k, stride=1, padding="SAME"):
    return lax.conv_general_dilated(x, k, (stride, stride), padding, dimension_numbers=NHWC)


def windows(x):  # pad to a multiple of 14, then attend within windows of 14, as ViTDet does
    size, length, channels = x.shape
    pad = -length % 14
    if pad > 0:
        x = jnp.pad(x, ((0, 0), (0, pad), (0, 0)))
    y = x.reshape(size, (length + pad) // 14, 14, channels)
    return jnp.einsum("bwtc,bwsc->bwts", y, y)


def square_grid(x, k):  # tokens to a grid of int(√tokens)
    size, tokens, channels = x.shape
    side = int(tokens**0.5)
    return conv(x.reshape(size, side, side, channels), k)


def kept_tokens(x, k):  # a masked autoencoder keeps a quarter
    return x[:, :int(x.shape[1] * 0.25)] @ k


def position_table(x, table):
    return (x + table[:x.shape[1]]) @ table.T


def resized(x):
    return jax.image.resize(x, (x.shape[0], 2 * x.shape[1], x.shape[2]), "bilinear")


def position_resize(x, table):
    if x.shape[1] != 14:
        table = jax.image.resize(table, (x.shape[1], x.shape[1], 8), "bicubic")
    return x + table


def padded_gradient(k, x):
    return jnp.sum(conv(x, k, 2, ((1, 1), (1, 1))) ** 2)


def shorter(x, y):
    k = min(x.shape[1], y.shape[1])
    return jnp.einsum("bsc,bsc->bs", x[:, :k], y[:, :k])


def local(x):
    return jnp.einsum("bsc,btc->bst", x, x[:, :min(x.shape[1], 16)])


def pairs(x):
    i, j = np.triu_indices(x.shape[1], 1)
    return x[:, i] * x[:, j]


def fourier(x, k):
    y = jnp.fft.rfft2(x, axes=(1, 2))
    m, q = min(12, y.shape[1]), min(12, y.shape[2])
    return jnp.einsum("bxyi,io->bxyo", y[:, :m, :q], k)


def chunks(q, k):
    size, length, channels = q.shape
    parts = q.reshape(size, length // 16, 16, channels).swapaxes(0, 1)
    return lax.map(lambda x: jnp.einsum("bsd,btd->bst", x, k), parts)


def capacity(x, router, k):
    room = math.ceil(1.25 * x.shape[0] / router.shape[1])
    dispatch = jnp.zeros((x.shape[0], router.shape[1], room)) + (x @ router)[..., None]
    return jnp.einsum("tec,td->ecd", dispatch, x) @ k


def repeated(x, k, *, length):
    return lax.scan(lambda carry, _: (jnp.tanh(carry @ k), carry.sum()), x, None, length=length)


def halved(x, k):
    return lax.scan(lambda carry, _: (carry @ k, None), x, None, length=x.shape[0] // 2)[0]


class Crop(nn.Module):
    """A U-Net whose skips are cropped to fit."""

    @nn.compact
    def __call__(self, x):
        wide = nn.Conv(8, (3, 3), use_bias=False)(x)
        deep = nn.Conv(16, (3, 3), strides=(2, 2), use_bias=False)(wide)
        up = nn.ConvTranspose(8, (2, 2), strides=(2, 2), use_bias=False)(deep)[:, :wide.shape[1], :wide.shape[2]]
        return nn.Conv(1, (1, 1), use_bias=False)(jnp.concatenate([up, wide], -1))


class Stem(nn.Module):
    @nn.compact
    def __call__(self, x):
        for features in (4, 6, 8):
            x = nn.relu(nn.Conv(features, (3, 3), strides=(2, 2), use_bias=False)(x))
        return nn.Dense(3)(x.reshape(x.shape[0], -1, 8).mean(1))


def gathered(x):  # every third row
    return x[np.arange(0, x.shape[0], 3)] * 2.0


def even_or_cut(x):
    return x[:x.shape[0] - x.shape[0] % 2].reshape(x.shape[0] // 2, 2, -1).sum(1)


def dimensional(x, k):
    return x @ k * float(x.shape[0])


def same_gradient(k, x):
    return jnp.sum(conv(x, k, 2) ** 2)


def positions(x, k):  # sinusoids from numpy
    table = np.sin(np.arange(x.shape[1])[:, None] / np.arange(1, 9))
    return (x + jnp.asarray(table, x.dtype)) @ k


def blocks(x, k):  # math.ceil of a size
    size, length, channels = x.shape
    count = math.ceil(length / 16)
    return jnp.pad(x, ((0, 0), (0, count * 16 - length), (0, 0))).reshape(size, count, 16, channels) @ k


def ramp(x, k):
    return (x @ k) * jnp.linspace(0.0, 1.0, x.shape[1])[:, None]


def more_than_one(x, k):
    return x @ k if x.shape[0] > 1 else jnp.tanh(x @ k)


def best_half(x, k):
    _, chosen = lax.top_k(x[..., 0], max(1, int(0.5 * x.shape[1])))
    return jnp.take_along_axis(x, chosen[..., None], 1) @ k


def lower_triangle(x):
    i, j = np.tril_indices(x.shape[1])
    return (x[:, i] * x[:, j]).sum(-1)


def first_part(x, k):
    return x[:, np.array_split(np.arange(x.shape[1]), 2)[0]] @ k


def heads(x, k, *, count):
    y = (x @ k).reshape(x.shape[0], x.shape[1], int(count), int(x.shape[-1] // count))
    return jnp.einsum("bshd,bthd->bhst", y, y)


def identity(x):
    return x @ np.eye(x.shape[-1], dtype=np.float32)


class Skips(nn.Module):
    """A U-Net whose skips are cropped where they have to be."""

    @nn.compact
    def __call__(self, x):
        wide = nn.Conv(8, (3, 3), use_bias=False)(x)
        up = nn.ConvTranspose(8, (2, 2), strides=(2, 2), use_bias=False)(nn.Conv(16, (3, 3), strides=(2, 2), use_bias=False)(wide))
        if up.shape[1] > wide.shape[1] or up.shape[2] > wide.shape[2]:
            up = up[:, :wide.shape[1], :wide.shape[2]]
        return nn.Conv(1, (1, 1), use_bias=False)(jnp.concatenate([up, wide], -1))


HALVED = cm.CeilDiv(H, 2) * cm.CeilDiv(W, 2)
ceil16 = cm.CeilDiv(5 * T, 4 * E)
ceil8 = 9 * N * sum(cost * cm.CeilDiv(H, 2**k) * cm.CeilDiv(W, 2**k) for k, cost in ((1, 12), (2, 24), (3, 48))) + 24 * N


def floor_half(x):
    return cm.FloorDiv(x, 2)


# name -> (model, inputs, metric, its form by hand or None)
PROGRAMS = {
    "int(n ** 0.5)": (square_grid, [(n, h * h, 8), (3, 3, 8, 16)], "macs", 9 * 8 * 16 * N * H**2),
    "int(ratio)": (kept_tokens, [(n, s, 16), (16, 16)], "macs", 256 * N * cm.FloorDiv(S, 4)),
    "padding to windows": (windows, [(n, s, 8)], "macs", 14 * 14 * 8 * N * cm.CeilDiv(S, 14)),
    "table of fixed size": (position_table, [(n, s, 8), (64, 8)], "macs", 512 * N * S),
    "einsum of three": (lambda x, y, z: jnp.einsum("ij,jk,kl->il", x, y, z), [(a, b), (b, 20), (20, a)], "macs",
                        20 * A * B + 20 * A**2),
    "resize": (resized, [(n, h, 8)], "macs", 16 * N * H**2),
    "resize to the grid": (position_resize, [(n, h, h, 8), (14, 14, 8)], "macs", 8 * 14 * 14 * H + 8 * 14 * H**2),
    "number of groups": (nn.GroupNorm(num_groups=g), [(n, h, h, g * c)], "params", 2 * C * G),
    "gradient of a strided convolution": (jax.grad(padded_gradient), [(3, 3, 4, 8), (n, h, w, 4)], "macs", 2 * 9 * 32 * N * HALVED),
    "gradient of a SAME convolution": (jax.grad(same_gradient), [(3, 3, 4, 8), (n, h, w, 4)], "macs", 2 * 9 * 32 * N * HALVED),
    "positions from numpy": (positions, [(n, s, 8), (8, 16)], "macs", 128 * N * S),
    "math.ceil(s / 16)": (blocks, [(n, s, 8), (8, 8)], "macs", 64 * 16 * N * cm.CeilDiv(S, 16)),
    "linspace": (ramp, [(n, s, 8), (8, 8)], "macs", 64 * N * S),
    "n > 1": (more_than_one, [(n, 8), (8, 8)], "macs", 64 * N),
    "top_k of a half": (best_half, [(n, s, 8), (8, 8)], "macs", 64 * N * cm.FloorDiv(S, 2)),
    "lower triangle": (lower_triangle, [(n, s, 8)], "flops", (8 + 7) * N * S * (S + 1) / 2),
    "array_split": (first_part, [(n, s, 8), (8, 8)], "macs", 64 * N * cm.CeilDiv(S, 2)),
    "number of heads": (functools.partial(heads, count=g), [(n, s, 8 * g), (8 * g, 8 * g)], "macs",
                        64 * N * S * G**2 + 8 * N * S**2 * G),
    "numpy's eye": (identity, [(n, s)], "macs", N * S**2),
    "width of Linen's attention": (nn.MultiHeadDotProductAttention(num_heads=g, use_bias=False), [(n, s, 8 * g)], "macs",
                                   4 * 64 * N * S * G**2 + 2 * 8 * N * S**2 * G),
    "skips at a free size": (Skips(), [(n, h, w, 3)], "macs", (8 * 27 + 16) * N * H * W + (9 + 4) * 128 * N * HALVED),
    "shorter of two": (shorter, [(n, s, 8), (n, t, 8)], "macs", None),
    "min(s, 16)": (local, [(n, s, 8)], "macs", 8 * N * S * minimum(S, 16)),
    "pairs": (pairs, [(n, s, 8)], "flops", 4 * N * S * (S - 1)),
    "Fourier modes": (fourier, [(n, h, w, 4), cm.spec((4, 4), "complex64")], "macs",
                      4 * 16 * N * minimum(H, 12) * minimum(floor_half(W) + 1, 12)),
    "chunks": (chunks, [(n, 16 * s, 8), (n, 16 * s, 8)], "macs", 2048 * N * S**2),
    "capacity of experts": (capacity, [(t, 8), (8, e), (e, 8, 8)], "macs", 8 * E * T + 8 * E * T * ceil16 + 64 * E * ceil16),
    "scan(length=L)": (functools.partial(repeated, length=depth), [(n, 16), (16, 16)], "macs", 256 * L * N),
    "scan(length=n // 2)": (halved, [(n, 16), (16, 16)], "macs", 256 * N * cm.FloorDiv(N, 2)),
    "cropped skips": (Crop(), [(n, h, w, 3)], "params", Integer(8 * 27 + 9 * 128 + 4 * 128 + 16)),
    "strides at a free size": (Stem(), [(n, h, w, 3)], "macs", ceil8),
    "every third row": (gathered, [(s, 8)], "flops", 8 * cm.CeilDiv(S, 3)),
    "cut to even": (even_or_cut, [(n, 8)], "flops", 8 * cm.FloorDiv(N, 2)),
    "float(n)": (dimensional, [(n, 8), (8, 8)], "macs", 64 * N),
}
# Of these jax traces the symbols by now; the fit must come to the same.
TRACED = {"resize", "resize to the grid", "chunks", "cropped skips", "strides at a free size"}
HEAVY = {"linspace", "positions from numpy", "array_split", "every third row", "float(n)", "gradient of a SAME convolution",
         "skips at a free size", "width of Linen's attention", "lower triangle", "strides at a free size",
         "cropped skips", "resize to the grid", "resize", "capacity of experts", "table of fixed size",
         "pairs", "Fourier modes", "gradient of a strided convolution", "number of groups", "chunks"}
METRICS = ("params", "macs", "flops", "transcendentals", "ops")


@functools.cache
def fitted(name):
    model, inputs, *_ = PROGRAMS[name]
    return cm.analyze(model, *inputs, fit="always")


def concrete(name, point):
    """The counts of a program traced at a point from the start."""
    model, inputs, *_ = PROGRAMS[name]
    domain = fitted(name).fitted.found.domain
    asked = request(model, *inputs).at(domain, domain.bind(point))
    return cm.analyze(asked.model, *asked.inputs, fit="never").at()


def inside(cost, count, seed=3):
    """Points of the fitted domain that the fit has not seen."""
    rng = random.Random(seed)
    seen = [*cost.fitted.points, *cost.fitted.verified]
    found = []
    while len(found) < count:
        point = {name: v + rng.choice((0, 12, 48, 96)) for name, v in rng.choice(seen).items()}
        if point in seen or point in found or any(v >= 900 for v in point.values()):
            continue
        try:
            there = cost.fitted.holds(cost.domain.bind({name: point[name] for name in cost.symbols}))
        except cm.DomainError:
            there = False  # it does not trace there
        (found if there else seen).append(point)
    return found


NAMES = [pytest.param(name, marks=[slow] if name in HEAVY else []) for name in PROGRAMS]


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_program_has_verified_closed_forms(name):
    *_, metric, form = PROGRAMS[name]
    cost = fitted(name)
    assert len(cost.fitted.verified) >= 6
    for point in inside(cost, 12) if form is not None else ():
        env = {symbol(name): v for name, v in point.items()}
        assert evaluate(cost.metric(metric), env) == evaluate(form, env), (cost.metric(metric), form, point)
    for point in inside(cost, 3):
        there, expected = cost.at(**{k: point[k] for k in cost.symbols}), concrete(name, point)
        for m in METRICS:
            assert there.metric(m) == expected.metric(m), (m, point)
        for policy in ("unfused", "compulsory", "layer"):
            assert there.bytes(policy) == expected.bytes(policy), (policy, point)
        assert there.live_peak() == expected.live_peak(), point


@pytest.mark.parametrize("name", [name for name in NAMES if name.values[0] not in TRACED])
def test_each_is_refused_or_wrong_without_a_fit(name):
    """A program whose symbolic trace is right everywhere does not belong among them."""
    model, inputs, *_ = PROGRAMS[name]
    try:
        cost = cm.analyze(model, *inputs, fit="never")
    except cm.CostModelError:
        return
    point = inside(fitted(name), 1)[0]
    with pytest.raises(cm.CostModelError):
        cost.verify(**{k: point[k] for k in cost.symbols})


def test_there_are_enough_of_them():
    assert len(PROGRAMS.keys() - TRACED) >= 20


@slow
@pytest.mark.parametrize("name", sorted(TRACED))
def test_what_jax_traces_by_now_is_the_same_by_a_fit(name):
    """Compared at 50 points of the structure that was fitted."""
    model, inputs, *_ = PROGRAMS[name]
    symbolic, fit = cm.analyze(model, *inputs, fit="never"), fitted(name)
    for point in inside(fit, 50):
        env = fit.domain.bind({k: point[k] for k in fit.symbols})
        for m in METRICS:
            assert evaluate(fit.price(m), env) == evaluate(symbolic.price(m), env), (m, point)


# -- traps -------------------------------------------------------------------------------------------------------------------

TRAPS = {
    "n > 4": (lambda x, k: x @ k if x.shape[0] > 4 else jnp.tanh(x @ k @ k.T), [(n, s, 8), (8, 6)], {"n": 3, "s": 9}, "n"),
    "native size": (lambda x, table: x + table if x.shape[1] == 224 else x * jax.image.resize(table, x.shape[1:], "linear"),
                    [(n, h, 8), (224, 8)], {"n": 2, "h": 224}, "h"),
    "n % 2": (lambda x: x.reshape(x.shape[0] // 2, 2, -1).sum(1) if x.shape[0] % 2 == 0 else jnp.cos(x), [(n, s)], None, "n"),
    "s <= 1024": (lambda x: jnp.einsum("bsd,btd->bst", x, x) if x.shape[1] <= 1024 else jnp.einsum("bsd,btd->bst", x, x[:, ::2]),
                  [(n, s, 4)], None, "s"),
    "s < t": (lambda x, y: (x @ x.T).sum() if x.shape[0] < y.shape[0] else jnp.tanh(y @ y.T).sum(), [(s, 8), (t, 8)], None, ""),
    "a table of sizes": (lambda x: x * {7: 2.0}.get(x.shape[0], 3.0) if x.shape[0] != 7 else jnp.tanh(x), [(n, s)],
                         {"n": 7, "s": 3}, "n"),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[slow] if name == "native size" else []) for name in TRAPS])
def test_a_trap_is_a_region_and_never_a_wrong_value(name):
    model, inputs, outside, about = TRAPS[name]
    cost = cm.analyze(model, *inputs, fit="always")
    if outside is not None:
        assert any(about in text for text in cost.fitted.conditions), cost.fitted.conditions
    main, other = list(cost.regions())[:2]
    assert main.condition != other.condition and main.cost.macs == cost.macs
    right = 0
    rng = random.Random(5)
    domain = cost.fitted.found.domain
    points = [{name: rng.randint(2, rng.choice((12, 300, 1400))) for name in cost.fitted.symbols} for _ in range(24)]
    for point in [*points, *([outside] if outside is not None else [])]:
        asked = request(model, *inputs).at(domain, domain.bind(point))
        expected = cm.analyze(asked.model, *asked.inputs, fit="never").at()
        there = {k: point[k] for k in cost.symbols}
        held = [region.cost for region in (main, other) if holds(region.cost, there)]
        assert len(held) == 1, (point, held)
        right += held[0] is main.cost
        for m in METRICS:
            assert cost.at(**there).metric(m) == held[0].at(**there).metric(m) == expected.metric(m), (m, point)
        assert cost.at(**there).bytes("unfused") == held[0].at(**there).bytes("unfused") == expected.bytes("unfused"), point
    assert 4 < right < 25


def holds(cost, point):
    """Whether a region has a point; asking it for another raises."""
    try:
        cost.at(**point)
    except cm.DomainError as refusal:
        assert "is outside of the fitted domain (it holds where" in str(refusal)
        return False
    return True


def swept(name):
    """A trap's cost, a grid through all regions, and the sweep over it."""
    model, inputs, outside, _ = TRAPS[name]
    cost = cm.analyze(model, *inputs, fit="always")
    middle = outside or {k: 1024 if name == "s <= 1024" and k == "s" else 6 for k in cost.symbols}
    grid = {k: [1, 2, *range(max(3, v - 3), v + 4), 2 * v + 11, 1500] for k, v in middle.items()}
    before = cost.fitted.traces
    return cost, grid, cost.sweep(**grid, metrics=["flops", "transcendentals", "bytes:unfused"]), cost.fitted.traces - before


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in ("n % 2", "s < t") else [slow]) for name in TRAPS])
def test_a_sweep_has_the_forms_of_each_region(name):
    """A grid through all regions: what concrete traces have at each point."""
    model, inputs, *_ = TRAPS[name]
    cost, grid, found, _ = swept(name)
    domain = cost.fitted.found.domain
    for point in random.Random(4).sample([dict(zip(grid, p, strict=True)) for p in itertools.product(*grid.values())], 20):
        asked = request(model, *inputs).at(domain, domain.bind(point))
        expected = cm.analyze(asked.model, *asked.inputs, fit="never").at()
        there = found.sel(**point)
        assert (int(there.flops), int(there.transcendentals), int(there.bytes_unfused)) == (
            expected.flops, expected.transcendentals, expected.bytes("unfused")), point


@slow
def test_a_sweep_through_regions_takes_few_traces():
    """In a process of its own: what jax remembers of other programs' questions makes more points that are looked at."""
    script = ("import sys; sys.path[:0] = sys.argv[1:]\n"
              "from test_fit_programs import TRAPS, swept\n"
              "print({name: swept(name)[-1] for name in TRAPS})")
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", script, str(folder), str(folder.parent)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    traces = ast.literal_eval(done.stdout.splitlines()[-1])
    assert traces.keys() == TRAPS.keys() and max(traces.values()) < 100, traces


# -- the face ----------------------------------------------------------------------------------------------------------------


def test_a_fit_is_told(capsys):
    cost = cm.analyze(kept_tokens, (n, s, 16), (16, 16))
    said = capsys.readouterr().err
    assert said.startswith("costmodel: fitted in n, s to ") and "verified at" in said and said.count("\n") == 1
    assert cost.fitted.symbols == ("n", "s") and "ConcretizationTypeError" in cost.fitted.reason
    assert cm.analyze(jnp.matmul, (n, s), (s, t)).fitted is None


def test_never_raises_and_an_unknown_word_is_told():
    with pytest.raises(cm.TraceError):
        cm.analyze(kept_tokens, (n, s, 16), (16, 16), fit="never")
    with pytest.raises(cm.CostModelError, match="'auto', 'never', 'always'"):
        cm.analyze(kept_tokens, (n, s, 16), (16, 16), fit="perhaps")


def test_a_mistake_of_the_users_stays_a_mistake():
    with pytest.raises(cm.TraceError, match="contracting"):
        cm.analyze(jnp.matmul, (n, s), (s + 1, t))


def test_a_symbolic_trace_has_a_time_limit(capsys):
    def slowly(x):
        if not isinstance(x.shape[0], int):
            while True:
                math.sqrt(2)
        return jnp.tanh(x)

    cost = cm.analyze(slowly, (n, s), trace_limit=0.5)
    assert cost.transcendentals == N * S and "longer than 0.5 s" in cost.fitted.reason


def test_logarithmic_depth_is_refused_by_name():
    with pytest.raises(cm.CostModelError, match="structure"):
        cm.analyze(lambda x: lax.associative_scan(jnp.multiply, x, axis=1), (n, s), fit="always")


def test_other_regions_have_their_own_forms():
    cost = cm.analyze(local, (n, s, 8), fit="always")
    other = cost.region(n=3, s=9)
    assert cost.macs == 128 * N * S and other.macs == 8 * N * S**2
    assert other.at(n=50, s=16).macs == 8 * 50 * 256
    with pytest.raises(cm.DomainError):
        other.at(n=50, s=18)


def test_what_a_fit_asks_is_found_by_no_later_trace():
    """jax remembers what it has traced: an answer given for one point must not decide for all."""
    @jax.jit
    def branching(x):
        return jnp.tanh(x) if x.shape[0] > 4 else x @ x.T

    assert cm.analyze(branching, (n, s), fit="always").fitted.conditions == ("n > 4",)
    with pytest.raises(cm.TraceError):
        cm.analyze(branching, (n, s), fit="never")


@slow
def test_a_region_of_one_size_has_forms_in_the_other_symbols():
    native = cm.analyze(TRAPS["native size"][0], (n, h, 8), (224, 8), fit="always").region(n=2, h=224)
    assert native.macs == 0 and native.at(n=700, h=224).flops == 700 * 224 * 8


def test_a_sweep_of_one_region_stays_within_it():
    cost = cm.analyze(TRAPS["n > 4"][0], (n, s, 8), (8, 6), fit="always")
    large, small = cost.regions()
    assert (large.condition, small.condition) == ("n > 4", "n <= 4")
    assert int(cost.sweep(n=[3, 9], s=[5, 300], metrics=["macs"]).macs[0, 1]) == 2 * 48 * 3 * 300
    assert int(large.cost.sweep(n=[6, 9], s=[5, 300], metrics=["macs"]).macs[1, 1]) == 48 * 9 * 300
    with pytest.raises(cm.DomainError, match="outside of the fitted domain"):
        large.cost.sweep(n=[4, 9], s=[5], metrics=["macs"])
    assert "where n <= 4" in str(cost.regions()) and "fitted where n > 4; .regions()" in str(cost)


def test_a_sweep_prices_each_region_on_hardware():
    cost = cm.analyze(TRAPS["n > 4"][0], (n, s, 8), (8, 6), fit="always")
    found = cost.sweep(n=[2, 3, 8], s=[64], metrics=[], hardware=["h100-sxm"])
    for v in (2, 3, 8):
        assert found.time_lower.sel(n=v).item() == pytest.approx(cost.at(n=v, s=64).roofline("h100-sxm").lower, rel=1e-12)


# -- regions of a symbolic trace ---------------------------------------------------------------------------------------------


def native(x, table):
    return x + table if x.shape[1] == 224 else x * jax.image.resize(table, x.shape[1:], "linear")


def test_a_symbolic_cost_has_regions_where_a_symbol_is_compared_with():
    cost = cm.analyze(native, (n, h, 8), (224, 8))
    assert cost.fitted is None
    by = {region.condition: region.cost for region in cost.regions()}
    assert by["h == 224"].flops == 224 * 8 * N and by["h == 224"].at(n=700).flops == 700 * 224 * 8
    assert any("h != 224" in condition for condition in by)


def test_one_is_a_region_of_its_own():
    """Of a scan over batches: the carry of one row is moved otherwise, in closed form in all other symbols."""
    entry = next(e for e in zoo.models() if e.name == "lstm_layer")
    cost = entry.analyze(fit="never")
    one = {region.condition: region.cost for region in cost.regions()}["b == 1"]
    assert one.symbols == ("d", "s") and one.macs == 8 * cm.symbols("d")**2 * S
    for d, length in ((4, 3), (32, 17)):
        assert one.at(d=d, s=length).bytes("unfused") == cost.at(b=1, d=d, s=length).bytes("unfused")
    assert cost.region(b=1).bytes("unfused") == one.bytes("unfused") != cost.bytes("unfused").subs(cm.symbols("b"), 1)


def test_a_sweep_uses_the_program_of_one_where_a_size_is_one():
    entry = next(e for e in zoo.models() if e.name == "lstm_layer")
    cost = entry.analyze(fit="never")
    found = cost.sweep(b=[1, 2], d=range(8, 142), s=[1, 8], metrics=["bytes:unfused"])  # 268 points where b is 1
    for point in ({"b": 1, "d": 9, "s": 8}, {"b": 1, "d": 100, "s": 8}, {"b": 2, "d": 64, "s": 1}, {"b": 1, "d": 12, "s": 1}):
        asked = cost.request.at(cost.domain, cost.domain.bind(point))
        expected = cm.analyze(asked.model, *asked.inputs, fit="never").at().bytes("unfused")
        assert int(found.bytes_unfused.sel(**point)) == expected, point


def test_a_region_keeps_what_relates_its_symbols():
    entry = next(e for e in zoo.models() if e.name == "max_pool")
    wide = entry.analyze(fit="never").region(h=9)
    with pytest.raises(cm.DomainError):
        wide.at(c=1, n=1, s=1, w=20, k=10)
    with pytest.raises(cm.DomainError, match="outside"):
        entry.analyze(fit="never").region(h=0)
    with pytest.raises(cm.DomainError, match="unknown symbol q"):
        wide.region(q=1)


# -- files -------------------------------------------------------------------------------------------------------------------


def again(cost):
    return cm.from_json(cost.to_json())


def test_a_fitted_cost_from_a_file_says_what_it_rests_upon(capsys):
    cost = cm.analyze(position_table, (n, s, 8), (64, 8), fit="always")
    loaded = again(cost)
    for name in ("symbols", "points", "elsewhere", "reason", "conditions"):
        assert getattr(loaded.fitted, name) == getattr(cost.fitted, name), name
    assert set(map(str, loaded.fitted.verified)) >= set(map(str, cost.fitted.verified))
    assert loaded.macs == cost.macs and again(loaded).to_json() == loaded.to_json()
    low, high = loaded.fitted.box["n"]
    assert low <= min(p["n"] for p in cost.fitted.points) and high >= max(p["n"] for p in cost.fitted.verified)
    capsys.readouterr()
    assert loaded.at(**cost.fitted.verified[0]).macs == cost.at(**cost.fitted.verified[0]).macs
    assert "not verified here" not in str(loaded.at(**cost.fitted.points[0])) and capsys.readouterr().err == ""


def test_outside_of_what_was_verified_a_file_says_so(capsys):
    loaded = again(cm.analyze(TRAPS["n > 4"][0], (n, s, 8), (8, 6), fit="always"))
    far = loaded.at(n=9, s=10**6)
    said = capsys.readouterr().err
    assert far.macs == 48 * 9 * 10**6 and "not verified here" in str(far)
    assert said.startswith("costmodel: n=9, s=1000000 is not verified here") and said.count("\n") == 1
    loaded.at(n=9, s=10**7)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", [name for name in TRAPS if name != "native size"])
def test_in_another_region_a_file_raises(name):
    model, inputs, _, _ = TRAPS[name]
    cost = cm.analyze(model, *inputs, fit="always")
    loaded = again(cost)
    for point in cost.fitted.elsewhere[:12]:
        with pytest.raises(cm.DomainError, match="not verified"):
            loaded.at(**{k: point[k] for k in loaded.symbols})
    with pytest.raises(cm.DomainError, match="not verified"):
        loaded.sweep(**{k: sorted({p[k] for p in cost.fitted.elsewhere})[:8] for k in loaded.symbols}, metrics=["macs"])


def test_a_point_of_another_region_is_kept_if_it_was_evaluated():
    cost = cm.analyze(TRAPS["n > 4"][0], (n, s, 8), (8, 6), fit="always")
    assert cost.at(n=3, s=9).macs == 2 * 48 * 3 * 9 == again(cost).at(n=3, s=9).macs


def test_where_nothing_tells_regions_apart_a_file_knows_only_its_points():
    """An integer of a size may do anything: where another structure was met, only what was traced is believed."""
    def odd(x):
        return jnp.tanh(x) if int(x.shape[0]) % 2 else x.reshape(x.shape[0] // 2, 2, -1).sum(1)

    cost = cm.analyze(odd, (n, s), fit="always")
    loaded, known = again(cost), cost.fitted.points[0]
    assert loaded.at(**known).flops == cost.at(**known).flops
    with pytest.raises(cm.DomainError, match="not verified here"):
        loaded.at(n=known["n"] + 400, s=known["s"] + 1)


def test_another_type_and_a_region_are_saved_too():
    cost = cm.analyze(TRAPS["n > 4"][0], (n, s, 8), (8, 6), fit="always")
    assert again(cost.reprice("bf16")).bytes("unfused") == cost.reprice("bf16").bytes("unfused")
    small = cost.region(n=3, s=9)
    assert again(small).macs == small.macs and again(small).fitted.conditions == small.fitted.conditions == ("n <= 4",)
    with pytest.raises(cm.DomainError, match="not verified here"):
        again(small).at(n=9, s=9)
    assert cost.reprice("bf16").regions()[1].cost.bytes("unfused") == small.reprice("bf16").bytes("unfused")


@pytest.mark.parametrize(("part", "value"), [
    ("names", []), ("names", ["n", "n"]), ("names", ["q", "s"]), ("points", []), ("points", [[1]]), ("points", [[1, 0]]),
    ("points", [[1, 2.5]]), ("verified", 3), ("tests", [[10**6, True]]), ("tests", [[0, 1]]), ("told_apart", 1), ("reason", 7),
    ("conditions", [1])])
def test_a_damaged_fit_is_refused_in_one_line(part, value):
    data = json.loads(cm.analyze(TRAPS["n > 4"][0], (n, s, 8), (8, 6), fit="always").to_json())
    data["fitted"][part] = value
    with pytest.raises(cm.CostModelError, match="damaged cost file"):
        cm.from_json(json.dumps(data))


@pytest.mark.parametrize("name", ["gemm", "conv1d", "max_pool", *(pytest.param(name, marks=slow) for name in (
    "mlp", "conv2d_strided", "conv2d_grouped", "avg_pool", "layer_norm", "pad_zero", "transformer_block", "lstm_layer",
    "moe_layer"))])
def test_a_model_that_traces_symbolically_gets_the_same_by_a_fit(name):
    """Compared at 50 points; counts have the identical form."""
    entry = next(e for e in zoo.models() if e.name == name)
    symbolic, fit = entry.analyze(fit="never"), entry.analyze(fit="always")
    for m in METRICS:
        assert (symbolic.metric(m) - fit.metric(m)).expand() == 0, m
    points = random.Random(2).choices([*fit.fitted.points, *fit.fitted.verified], k=50)
    for point in points:
        env = {symbol(v.name): point[v.symbol] // int(v.divisor.subs({symbol(k): x for k, x in point.items()}))
               for v in fit.fitted.found.domain.variables}
        for form in ("unfused", "compulsory", "layer"):
            ours, theirs = fit.price("bytes", form=form), symbolic.price("bytes", form=form)
            assert evaluate(ours, env) == evaluate(theirs, env), (form, point)
        assert evaluate(fit.price("live_peak"), env) == evaluate(symbolic.price("live_peak"), env), point
