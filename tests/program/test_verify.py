"""A symbolic trace may branch otherwise than the program runs: jax calls an undecided ``==`` False. A concrete trace tells."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import lax

import costmodel as cm

N = cm.dims("n")
LONG = cm.dims("n", min=4)


class WithPositions(nn.Module):
    """A table of 16 positions, resized for any other length: at its native length there is nothing to resize."""

    @nn.compact
    def __call__(self, x):
        table = self.param("positions", nn.initializers.zeros, (16, x.shape[-1]))
        if x.shape[1] != 16:
            table = jax.image.resize(table, (x.shape[1], x.shape[-1]), "linear")
        return nn.Dense(8, name="head")(x + table)


def squeezed(x):
    """Sums the batch, unless there is only one of it."""
    if x.shape[0] == 1:
        return jnp.sin(x[0])
    return jnp.sin(x).sum(axis=0) * 2.0


# -- wrong branches ------------------------------------------------------------------------------------------------------------


def test_a_resize_that_the_native_size_skips_is_caught():
    cost = cm.analyze(WithPositions(), cm.spec((2, cm.dims("s"), 8)))
    cost.verify(s=20)
    with pytest.raises(cm.CostModelError, match=r"does not hold at s=16: at .* it has \w+") as caught:
        cost.verify(s=16)
    assert "analyse it with that dimension as an integer" in str(caught.value)
    assert cm.analyze(WithPositions(), cm.spec((2, 16, 8))).macs == 2 * 16 * 8 * 8


def test_a_branch_on_one_is_caught_by_verify_and_priced_by_evaluation():
    cost = cm.analyze(squeezed, cm.spec((N, 8)))
    cost.verify(n=2)
    with pytest.raises(cm.CostModelError, match="only the symbolic trace has mul"):
        cost.verify(n=1)
    alone = cm.analyze(squeezed, cm.spec((1, 8)))
    assert (cost.at(n=1).flops, cost.at(n=1).transcendentals) == (alone.flops, alone.transcendentals) == (0, 8)
    assert cost.at(n=2).transcendentals == 16
    assert cost.sweep(n=[1, 2], metrics=("transcendentals",)).transcendentals.values.tolist() == [8, 16]


SIZES = {
    "one size": (lambda x: x @ x if x.shape[0] == 8 else x * 2.0, 8, 9),
    "a set of sizes": (lambda x: x @ x if x.shape[0] in (8, 16) else x * 2.0, 16, 9),
    "even sizes": (lambda x: x @ x if x.shape[0] % 2 == 0 else x * 2.0, 6, 7),
}


@pytest.mark.parametrize("name", SIZES)
def test_what_an_undecided_equality_hides_is_priced_where_it_holds(name):
    function, special, other = SIZES[name]
    cost = cm.analyze(function, cm.spec((N,)))
    for n in (other, special, other + 2, special):
        assert cost.at(n=n).macs == cm.analyze(function, cm.spec((n,))).macs, n


def test_the_order_of_an_einsum_is_that_of_the_sizes():
    """jax chooses it by 8 in place of every symbol; Q·Kᵀ·V is cheaper from the right where the sequence is the longer side."""
    def attention(q, k, v):
        return jnp.einsum("qd,kd,kv->qv", q, k, v)

    def macs(length):
        return cm.analyze(attention, *[cm.spec((length, 64))] * 3).macs

    cost = cm.analyze(attention, *[cm.spec((N, 64))] * 3)
    for n in (4, 4096, 16, 512):
        assert cost.at(n=n).macs == macs(n) == min(2 * n * n * 64, 2 * n * 64 * 64)


def test_where_a_symbol_is_1_there_is_a_closed_form_in_the_others():
    """The product with one row is one with a vector; jax writes another sum. From the second such point on it is traced once,
    with m as a symbol."""
    traced = []

    def function(x):
        traced.append(x.shape)
        return jnp.tanh(x @ x.T).sum(axis=0)

    cost = cm.analyze(function, cm.spec(cm.dims("some others")))  # names of its own: what others asked of theirs is remembered
    for size in (5, 6, 7):
        alone = cm.analyze(function, cm.spec((1, size)))
        count = len(traced)
        at = cost.at(some=1, others=size)
        assert size < 7 or len(traced) == count
        for form in ("compulsory", "unfused", "xla-cpu", "xla-gpu", "ideal"):
            assert at.bytes(form) == alone.bytes(form)
        assert at.live_peak("xla-cpu") == alone.live_peak("xla-cpu") and at.flops == alone.flops


@pytest.mark.parametrize("verify", [True, False])
def test_where_a_model_asks_for_a_size_there_is_a_closed_form_in_the_others(verify):
    function, shapes = counted_traces(lambda x: x @ x.T if x.shape[0] == 224 else jnp.sin(x))
    name, other = f"asked_{verify}", f"other_{verify}"
    cost = cm.analyze(function, cm.dims(f"{name} {other}"), verify=verify)
    for size in (1009, 1013, 1019, 1021):
        assert cost.at(**{name: 224, other: size}).macs == 224 * 224 * size
    assert len(shapes) == 4 and shapes[1:3] == [(224, 1009), (224, 1013)]  # the last is symbolic, and no other is needed


@pytest.mark.parametrize("sizes", [(5, 5), (1, 1), (1, 4), (4, 1)])
def test_kernels_are_compared_where_dimensions_are_1_or_the_same(sizes):
    """What a kernel may take in, or write over, is told by shapes; some are alike at such sizes alone."""
    def function(x):
        y = jnp.tanh(x @ x.T)
        return (y @ x + jnp.sin(x)).sum(axis=0) @ y[:, :1].sum(axis=1) if x.shape[0] == x.shape[1] else jnp.sin(y @ x).sum(axis=0)

    n, m = cm.dims("n m")
    cost, alone = cm.analyze(function, cm.spec((n, m))), cm.analyze(function, cm.spec(sizes))
    cost.at(n=6, m=7)
    at = cost.at(n=sizes[0], m=sizes[1])
    for policy in ("unfused", "layer", "eager", "xla-cpu", "xla-gpu", "xla-tpu", "ideal"):
        assert (at.bytes(policy), at.live_peak(policy)) == (alone.bytes(policy), alone.live_peak(policy)), policy


def test_a_sweep_over_more_points_than_are_traced_goes_through_a_region_in_closed_form():
    n, m = cm.dims("n m")
    cost = cm.analyze(lambda x: jnp.tanh(x @ x.T), cm.spec((n, m)))
    swept = cost.sweep(n=[1], m=range(2, 400), metrics=("flops",))
    assert swept.flops.sel(n=1, m=[2, 399]).values.tolist() == [4, 2 * 399]


def counted_traces(function):
    """The function, and the shapes of its first argument in every trace."""
    shapes = []

    def traced(x, *others):
        shapes.append(x.shape)
        return function(x, *others)

    return traced, shapes


def test_without_verification_only_what_may_be_another_program_is_traced_again(capsys):
    """The symbols are traced once; n = 1, which the model asks for, is another program, and its region has a closed form."""
    function, shapes = counted_traces(squeezed)
    n, m = cm.dims("n_again m_again")
    cost = cm.analyze(function, cm.spec((n, m)), verify=False)
    assert cost.at(n_again=2, m_again=8).transcendentals == 16 and shapes == [(n, m)] and not capsys.readouterr().err
    for size in (1009, 1013, 1019, 1021):
        at = cost.at(n_again=1, m_again=size)
        assert (at.transcendentals, at.flops, at.doubts) == (size, 0, ())
    assert shapes[1:] == [(1, 1009), (1, 1013), (1, m)]
    assert capsys.readouterr().err == (
        "costmodel: the model may be another program where n_again == 1: there it is traced again, once in each region\n")


def closing_over(size):
    """A model whose size stands in it, so that no integer can take its place."""
    return lambda x: x @ x.T if x.shape[0] == 224 else jnp.roll(x * size, 2, 1)


def test_what_cannot_be_traced_again_is_said_once_where_it_may_be_wrong(capsys):
    """Formulas without a trace are wrong at few sizes, and these are known."""
    h = cm.dims("h_told", multiple_of=32)
    cost = cm.analyze(closing_over(h), (h, cm.dims("w_told")), verify=False)
    assert cost.at(h_told=192, w_told=7).doubts == () and not capsys.readouterr().err
    at = cost.at(h_told=224, w_told=2)
    assert at.doubts == ("h_told == 224", "w_told == 2") and "not verified where h_told == 224, w_told == 2" in str(at)
    assert capsys.readouterr().err == (
        "costmodel: verification is off, and the model may be another program where h_told == 224, w_told == 2: turn it on, or "
        "analyse the model with that size as an integer\n")
    cost.at(h_told=224, w_told=1)
    assert not capsys.readouterr().err


def test_where_arrays_happen_to_be_alike_is_a_doubt_without_verification():
    n, m = cm.dims("n_alike m_alike")
    cost = cm.analyze(lambda x: jnp.sin(x), (n, m), verify=False)
    assert cost.at(n_alike=7, m_alike=7).doubts == ("m_alike == n_alike",)


def test_a_sweep_without_verification_takes_other_regions_too(capsys):
    """As points do, and with a trace for the region: 300 points with n = 1, one of which is compared."""
    function, shapes = counted_traces(squeezed)
    n, m = cm.dims("n_swept m_swept")
    cost = cm.analyze(function, cm.spec((n, m)), verify=False)
    sizes = range(5001, 5301)
    cost.sweep(n_swept=[2, 3], m_swept=sizes, metrics=("flops",))
    assert not capsys.readouterr().err and len(shapes) == 1
    swept = cost.sweep(n_swept=[1, 2], m_swept=sizes, metrics=("flops", "transcendentals"))
    assert "another program where n_swept == 1:" in capsys.readouterr().err and shapes[1:] == [(1, 5001), (1, m)]
    assert (swept.flops.sel(n_swept=1) == 0).all() and (swept.transcendentals.sel(n_swept=1) == sizes).all()


def test_a_sweep_says_where_a_model_cannot_be_traced_again(capsys):
    h = cm.dims("h_swept")
    cost = cm.analyze(closing_over(h), (h, 8), verify=False)
    cost.sweep(h_swept=[2, 3], metrics=("flops",))
    assert not capsys.readouterr().err
    cost.sweep(h_swept=[224, 225], metrics=("flops",))
    assert "verification is off, and the model may be another program where h_swept == 224:" in capsys.readouterr().err


def test_a_saved_cost_says_what_it_cannot_trace():
    """What was traced before is with it."""
    n = cm.dims("n_filed")
    cost = cm.analyze(squeezed, cm.spec((n, 8)), verify=False)
    saved = cm.from_json(cost.to_json())
    assert (saved.at(n_filed=1).flops, saved.at(n_filed=1).doubts) == (8, ("n_filed == 1",))  # the symbolic program's products
    cost.at(n_filed=1)
    saved = cm.from_json(cost.to_json())
    assert (saved.at(n_filed=1).flops, saved.at(n_filed=1).doubts, saved.at(n_filed=2).doubts) == (0, (), ())


def test_what_is_verified_has_no_doubts(capsys):
    cost = cm.analyze(squeezed, (cm.dims("n_sure"), 8))
    assert cost.at(n_sure=1).doubts == () and not capsys.readouterr().err


def linear_attention(q, k, v):
    return jnp.einsum("qd,kd,kv->qv", q, k, v)


def test_an_order_that_cannot_be_traced_again_is_said(capsys):
    n = cm.dims("n_order")
    cost = cm.analyze(lambda q, k, v: linear_attention(q, k, v) * n, *[cm.spec((n, 64))] * 3, verify=False)
    assert cost.at(n_order=4).doubts == ()
    assert cost.at(n_order=4096).doubts == ("the order of an einsum is another one",)
    assert "the order of an einsum" in capsys.readouterr().err


@pytest.mark.parametrize("verify", [True, False])
def test_an_order_is_another_region_only_where_it_is_another_one(verify):
    """Q·(Kᵀ·V) is n·d·d twice, (Q·Kᵀ)·V is n·n·d twice: they meet where n is d. Sizes of each order are compared once, but for
    one that jax's memory asks for by chance: the other order has forms of its own."""
    function, shapes = counted_traces(linear_attention)
    n = cm.dims(f"n_met_{verify}")
    cost = cm.analyze(function, *[cm.spec((n, 16))] * 3, verify=verify)
    for size in (5, 4, 3, 2, 12, 40, 41):
        assert cost.at(**{str(n): size}).macs == min(2 * size * size * 16, 2 * size * 16 * 16)
    assert (40, 16) in shapes and (41, 16) not in shapes and len(shapes) <= 5
    swept = cost.sweep(**{str(n): range(2, 50)}, metrics=("macs",))
    assert swept.macs.values.tolist() == [min(2 * s * s * 16, 2 * s * 16 * 16) for s in range(2, 50)]


@pytest.mark.parametrize("verify", [True, False])
def test_an_order_that_jax_remembers_is_known_of_the_next_cost(verify):
    """Of a jitted function jax remembers the trace, and chooses no order in the second one."""
    n = cm.dims("n_jitted")
    function = jax.jit(lambda q, k, v: linear_attention(q, k, v) + 1.0)
    for _ in range(2):
        cost = cm.analyze(function, *[cm.spec((n, 64))] * 3, verify=verify)
        assert [cost.at(n_jitted=size).macs for size in (4, 4096)] == [2 * 4 * 4 * 64, 2 * 4096 * 64 * 64]


def test_orders_of_other_programs_are_looked_at_once():
    """What is asked of a symbol elsewhere concerns a program only if it is another one there."""
    n = cm.dims("n_elsewhere")
    cm.analyze(linear_attention, *[cm.spec((n, 64))] * 3)
    function, shapes = counted_traces(jnp.exp)
    cost = cm.analyze(function, (n, 3))
    swept = cost.sweep(n_elsewhere=range(2, 400), metrics=("transcendentals",))
    assert swept.transcendentals.values.tolist() == [3 * s for s in range(2, 400)] and len(shapes) <= 6


def test_a_loop_that_one_size_skips_is_caught():
    def function(x):
        return x if x.shape[0] == 5 else lax.while_loop(lambda c: c.sum() < 3, lambda c: c * 2, x)

    cost = cm.analyze(function, cm.spec((N,)))
    cost.verify(n=4, trips_0=3)
    with pytest.raises(cm.CostModelError, match="does not hold at n=5"):
        cost.verify(n=5, trips_0=3)


def test_a_loop_that_only_one_size_has_is_caught():
    def function(x):
        return lax.while_loop(lambda c: c.sum() < 3, lambda c: c * 2, x) if x.shape[0] == 5 else x

    cost = cm.analyze(function, cm.spec((N,)))
    with pytest.raises(cm.CostModelError, match="only a concrete trace has trips_0"):
        cost.verify(n=5)


def test_the_first_equation_that_differs_is_named():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(8, name="first")(x)
            return nn.Dense(8 if x.shape[0] == 3 else 16, name="second")(x)

    cost = cm.analyze(Net(), cm.spec((N, 4)))
    cost.verify(n=2)
    with pytest.raises(cm.CostModelError, match="at second it has dot_general 384 mac, a concrete trace has dot_general 192 mac"):
        cost.verify(n=3)


def test_results_of_another_shape_are_caught_where_nothing_is_counted():
    cost = cm.analyze(lambda x: x if x.shape[0] == 3 else x[:2], cm.spec((LONG,)))
    cost.verify(n=5)
    assert cost.at(n=5).flops == 0
    cost = cm.analyze(lambda x: x[:3] if x.shape[0] == 6 else x[:2], cm.spec((LONG,)))
    with pytest.raises(cm.CostModelError, match="results have shapes"):
        cost.verify(n=6)


# -- what may differ and still be the same -------------------------------------------------------------------------------------

SLICES = {
    "rows 1:": lambda x: x[1:], "first row": lambda x: x[0], "last row": lambda x: x[-1], "last two": lambda x: x[-2:],
    "columns 1:": lambda x: x[:, 1:], "first column": lambda x: x[:, 0], "last column": lambda x: x[:, -1],
    "every second column": lambda x: x[:, ::2], "all but one": lambda x: x[:, :-1], "of a new axis": lambda x: x[:, None, 1],
    "lax": lambda x: lax.slice_in_dim(x, 0, 2, axis=1), "update": lambda x: x.at[:, 0].set(1.0),
    "add": lambda x: x.at[:, 1:].add(1.0), "split": lambda x: jnp.split(x, 2, axis=1)[1],
}


@pytest.mark.parametrize("name", SLICES)
def test_a_slice_counts_the_same_as_the_gather_that_it_becomes(name):
    """A symbolic dimension anywhere turns static slices into gathers; both touch the same elements."""
    function = SLICES[name]
    symbolic, concrete = cm.analyze(function, cm.spec((LONG, 8))), cm.analyze(function, cm.spec((6, 8)))
    symbolic.verify(n=6)
    for metric in ("macs", "flops", "ops", "transcendentals"):
        assert symbolic.at(n=6).metric(metric) == concrete.metric(metric)
    for form in ("compulsory", "unfused", "layer"):
        assert symbolic.at(n=6).bytes(form) == concrete.bytes(form)


@pytest.mark.parametrize("start, step", [(0, 1), (1, 1), (0, 2), (1, 3)])
def test_a_range_counts_the_same_as_its_concrete_trace(start, step):
    """Where its length is symbolic, jax computes start + step · iota, step 1 and start 0 too."""
    def function(x):
        return x.sum() + jnp.arange(start, x.shape[0], step, dtype=jnp.float32).sum()

    cost = cm.analyze(function, cm.spec((LONG,)))
    for n in (4, 5, 9):
        cost.verify(n=n)


@pytest.mark.parametrize("name", SLICES)
def test_a_gradient_of_a_slice_counts_the_same_as_that_of_the_gather(name):
    function = jax.grad(lambda x: (SLICES[name](x) ** 2).sum())
    symbolic, concrete = cm.analyze(function, cm.spec((LONG, 8))), cm.analyze(function, cm.spec((6, 8)))
    symbolic.verify(n=6)
    for metric in ("macs", "flops", "ops", "transcendentals"):
        assert symbolic.at(n=6).metric(metric) == concrete.metric(metric)
    assert symbolic.at(n=6).bytes("compulsory") == concrete.bytes("compulsory")


def test_an_index_of_data_is_read():
    cost = cm.analyze(lambda x, i: x[i], cm.spec((LONG, 8)), cm.spec((3,), "int32"))
    assert cost.bytes("compulsory") == 4 * (3 * 8 + 3 + 3 * 8)


RESHAPES = {
    "merge": lambda x: x.reshape(-1), "split heads": lambda x: x.reshape(x.shape[0], 2, 4),
    "merge and split": lambda x: x.reshape(x.shape[0] * 2, 4), "flatten": lambda x: x.reshape(x.shape[0], -1),
}


@pytest.mark.parametrize("name", RESHAPES)
def test_reshapes_keep_their_total(name):
    cost = cm.analyze(lambda x: RESHAPES[name](x) * 2.0, cm.spec((LONG, 8)))
    cost.verify(n=6)
    assert cost.flops == 8 * cm.symbols("n")
    assert not cost.domain.relations


def test_a_mean_divides_by_a_number_that_follows_from_shapes():
    cost = cm.analyze(lambda x: x.mean(), cm.spec((N, 8)))
    cost.verify(n=3)
    assert cost.flops == 8 * cm.symbols("n")  # sums, and one division


# -- when it is done -----------------------------------------------------------------------------------------------------------


def test_one_is_verified_once():
    traces = []

    def function(x):
        traces.append(x.shape)
        return x * 2.0

    cost = cm.analyze(function, cm.spec((cm.dims("once"),)))  # a name of its own: what others asked of theirs is remembered
    for _ in range(3):
        assert cost.at(once=1).flops == 1
    assert len(traces) == 2
    for n in (97, 101, 103):  # on no boundary: once for all
        cost.at(once=n)
    assert len(traces) == 3


def test_trip_counts_of_one_need_no_concrete_trace():
    cost = cm.analyze(lambda x: lax.while_loop(lambda c: c.sum() < 3, lambda c: c * 2, x), cm.spec((4,)))
    assert cost.at(trips_0=1).flops == 4 + 2 * 4


def test_a_saved_cost_says_what_it_cannot_verify():
    saved = cm.from_json(cm.analyze(lambda x: x * 2.0, cm.spec((N,))).to_json())
    assert saved.at(n=3).flops == 3
    with pytest.raises(cm.CostModelError, match="verify before saving"):
        saved.verify(n=3)
    with pytest.raises(cm.DomainError, match="n=1 was not verified"):
        saved.at(n=1)


def test_a_symbol_inside_the_function_cannot_be_verified():
    cost = cm.analyze(lambda x: jnp.broadcast_to(x, (N, 3)) * 2.0, cm.spec((3,)))
    assert cost.flops == 3 * cm.symbols("n")
    with pytest.raises(cm.CostModelError, match="n cannot be replaced by an integer"):
        cost.verify(n=2)
