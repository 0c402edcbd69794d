"""Loops, branches, calls and derivatives cost what their iterations, taken branches and bodies cost; dead code costs nothing."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import io_callback
from jax.experimental import pallas as pl
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import PartitionSpec

import costmodel as cm

D = 16
DOT = D**3
X = cm.spec((D, D))
FLAG = cm.spec((), "bool")
INTEGER = cm.spec((), "int32")
L, N, M = cm.symbols("l n m")


def dot(x):
    return x @ x


def identity(x):
    return x


def prices(cost):
    return {name: cost.metric(name) for name in ("macs", "flops", "ops", "transcendentals")}


# -- scan ----------------------------------------------------------------------------------------------------------------------


def body(carry, x):
    carry = jnp.sin(carry @ x)
    return carry, carry.sum(axis=0)


def unrolled(carry, xs):
    ys = []
    for i in range(xs.shape[0]):
        carry, y = body(carry, xs[i])
        ys.append(y)
    return carry, jnp.stack(ys)


BODY = cm.analyze(body, X, X)


@pytest.mark.parametrize("unroll", [1, 2, 3, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_its_length_times_its_body(unroll, reverse):
    cost = cm.analyze(lambda c, xs: lax.scan(body, c, xs, unroll=unroll, reverse=reverse), X, cm.spec((10, D, D)))
    assert prices(cost) == {name: 10 * value for name, value in prices(BODY).items()}


def test_scan_equals_the_loop_written_out():
    scanned = cm.analyze(lambda c, xs: lax.scan(body, c, xs), X, cm.spec((10, D, D)))
    assert prices(scanned) == prices(cm.analyze(unrolled, X, cm.spec((10, D, D))))


def test_scan_of_symbolic_length():
    length = cm.dims("l")
    cost = cm.analyze(lambda c, xs: lax.scan(body, c, xs), X, cm.spec((length, D, D)))
    assert prices(cost) == {name: L * value for name, value in prices(BODY).items()}
    # The body's own traffic, the slice of xs that each iteration reads and the body reads again, and the row that it stacks.
    stacked = cm.analyze(body, X, X).bytes("unfused") + 4 * (2 * D * D) + 4 * (2 * D)
    assert cost.bytes("unfused") == L * stacked
    assert cost.bytes("compulsory") == 4 * (D * D + L * D * D) + 4 * (D * D + L * D)


def test_an_iteration_reads_its_slice_not_the_whole_array():
    cost = cm.analyze(lambda xs: lax.scan(lambda c, x: (c + x, None), jnp.zeros((D,)), xs)[0], cm.spec((1000, D)))
    assert cost.bytes("unfused") < 1000 * 4 * D * 7


def test_nested_scans_multiply():
    def inner(c):
        return lax.scan(lambda d, _: (d @ d, None), c, length=3)[0]

    cost = cm.analyze(lambda x: lax.scan(lambda c, _: (inner(c), None), x, length=5)[0], X)
    assert cost.macs == 15 * DOT


# -- derivatives ---------------------------------------------------------------------------------------------------------------


def test_gradient_of_a_dot_is_two_more_dots():
    m, n, k = cm.dims("m n k")
    forward = cm.analyze(jnp.matmul, (m, k), (k, n))
    backward = cm.analyze(jax.grad(lambda a, b: (a @ b).sum(), (0, 1)), (m, k), (k, n))
    both = cm.analyze(jax.value_and_grad(lambda a, b: (a @ b).sum(), (0, 1)), (m, k), (k, n))
    assert backward.macs == 2 * forward.macs
    assert both.macs == 3 * forward.macs


@pytest.mark.parametrize("length", [10, "l"])
def test_gradient_of_a_scan_is_three_times_its_dots(length):
    times = cm.dims(length) if isinstance(length, str) else length
    function = jax.grad(lambda x, xs: lax.scan(lambda c, a: (c @ a, None), x, xs)[0].sum(), (0, 1))
    cost = cm.analyze(function, X, cm.spec((times, D, D)))
    assert cost.macs == 3 * DOT * (L if length == "l" else 10)


def test_gradient_of_a_scan_of_a_checkpointed_body_runs_its_dots_four_times():
    def loss(x, xs):
        return lax.scan(jax.checkpoint(lambda c, a: (jnp.sin(c @ a), None)), x, xs)[0].sum()

    assert cm.analyze(jax.grad(loss, (0, 1)), X, cm.spec((10, D, D))).macs == 4 * 10 * DOT


def test_forward_derivative_of_a_dot_is_two_more_dots():
    cost = cm.analyze(lambda a, b: jax.jvp(jnp.matmul, (a, b), (a, b)), X, X)
    assert cost.macs == 3 * DOT


def block(x, w):
    """Two dots, two sines; the first dot has a name that a policy may save."""
    inner = checkpoint_name(x @ w, "inner")
    return jnp.sin(jnp.sin(inner) @ w)


def twice(policy):
    step = block if policy is None else jax.checkpoint(block, policy=policy)
    return jax.value_and_grad(lambda x, w: step(step(x, w), w).sum())


POLICIES = jax.checkpoint_policies
REMAT = {
    # name: (policy, dots, sines and cosines). Forward 4 and 4, backward (for x) 4 and 4; the rest is recomputed.
    "none": (None, 8, 8),
    "everything": (POLICIES.everything_saveable, 8, 8),
    # Both dots of each block again, and the sine between them; the outer sine's value is not needed.
    "nothing": (POLICIES.nothing_saveable, 12, 10),
    "dots": (POLICIES.dots_saveable, 8, 8),
    "names": (POLICIES.save_only_these_names("inner"), 10, 10),
    "offload": (POLICIES.save_and_offload_only_these_names(names_which_can_be_saved=["inner"], names_which_can_be_offloaded=[],
                                                           offload_src="device", offload_dst="pinned_host"), 10, 10),
}


@pytest.mark.parametrize("name", REMAT)
def test_recomputation_is_counted_as_its_policy_says(name):
    policy, dots, sines = REMAT[name]
    cost = cm.analyze(twice(policy), X, X)
    assert cost.macs == dots * DOT
    assert cost.transcendentals == sines * D * D


def test_recomputation_does_not_change_results():
    x, w = (jax.random.normal(jax.random.key(i), (D, D)) / D for i in range(2))
    value, gradient = twice(None)(x, w)
    for policy, *_ in REMAT.values():
        other = twice(policy)(x, w)
        np.testing.assert_allclose(other[0], value, rtol=1e-5)
        np.testing.assert_allclose(other[1], gradient, rtol=1e-5)


@jax.custom_jvp
def with_jvp(x):
    return jnp.sin(x @ x)


@with_jvp.defjvp
def _with_jvp_rule(primals, tangents):
    return with_jvp(*primals), 2.0 * tangents[0]


@jax.custom_vjp
def with_vjp(x):
    return jnp.sin(x @ x)


with_vjp.defvjp(lambda x: (with_vjp(x), x), lambda x, g: (g @ x @ x @ x,))


@pytest.mark.parametrize("function, forward, backward", [(with_jvp, 1, 0), (with_vjp, 1, 3)])
def test_custom_derivatives_cost_what_they_compute(function, forward, backward):
    assert cm.analyze(function, X).macs == forward * DOT
    assert cm.analyze(jax.grad(lambda x: function(x).sum()), X).macs == backward * DOT
    assert cm.analyze(jax.value_and_grad(lambda x: function(x).sum()), X).macs == (forward + backward) * DOT


# -- loops that count ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lower, upper, trips", [(0, 10, 10), (3, 10, 7), (5, 5, 0), (7, 3, 0), (-2, 4, 6)])
def test_fori_loop_between_integers(lower, upper, trips):
    cost = cm.analyze(lambda x: lax.fori_loop(lower, upper, lambda i, c: c @ c, x), X)
    assert cost.macs == trips * DOT
    assert cost.ops == 0  # a loop's own counter is not work


SHAPED = {
    # name: (bounds of y [n m], trips)
    "0 to n": (lambda n, m: (0, n), N),
    "2 to n": (lambda n, m: (2, n), cm.PeakMax(0, N - 2)),
    "n to n·m + 3": (lambda n, m: (n, n * m + 3), N * M - N + 3),
    "0 to n//2": (lambda n, m: (0, n // 2), cm.FloorDiv(N, 2)),
    "-n to n": (lambda n, m: (-n, n), 2 * N),
}


@pytest.mark.parametrize("name", SHAPED)
def test_fori_loop_between_functions_of_shapes(name):
    bounds, trips = SHAPED[name]
    n, m = cm.dims("n m")

    def function(x, y):
        return lax.fori_loop(*bounds(*y.shape), lambda i, c: c @ c, x), y.sum(), y.reshape(-1)

    cost = cm.analyze(function, X, cm.spec((n, m)))
    assert (cost.macs - DOT * trips).expand() == 0
    for point in ({"n": 2, "m": 3}, {"n": 5, "m": 2}, {"n": 1, "m": 1}):
        cost.verify(**point)
        assert cost.at(**point).macs == DOT * max(0, len(range(*bounds(point["n"], point["m"]))))


def counting(start, condition, step):
    return lambda x, y: lax.while_loop(lambda s: condition(s[0], y.shape[0]), lambda s: (s[0] + step, s[1] @ s[1]), (start, x))[1]


WHILES = {
    "steps of 3": (counting(1, lambda i, n: i < n, 3), lambda n: len(range(1, n, 3))),
    "inclusive": (counting(1, lambda i, n: i <= n, 3), lambda n: len(range(1, n + 1, 3))),
    "bound first": (counting(0, lambda i, n: lax.gt(jnp.asarray(n), i), 2), lambda n: len(range(0, n, 2))),
    "downwards": (counting(10, lambda i, n: i > 0, -1), lambda n: 10),
    "downwards, inclusive": (counting(10, lambda i, n: i >= 0, -3), lambda n: 4),
    "downwards to n": (counting(20, lambda i, n: i > n, -3), lambda n: len(range(20, n, -3))),
    "bound of two terms": (counting(0, lambda i, n: i < 2 * n + 1, 1), lambda n: 2 * n + 1),
}


@pytest.mark.parametrize("name", WHILES)
def test_while_loop_that_counts_has_a_derived_trip_count(name):
    function, trips = WHILES[name]
    cost = cm.analyze(function, X, cm.spec((cm.dims("n"),)))
    assert not any(s.startswith("trips") for s in cost.symbols)
    symbols = cost.symbols
    for n in (1, 2, 3, 7, 30):
        assert cost.at(**dict.fromkeys(symbols, n)).macs == DOT * trips(n)


def test_a_condition_runs_once_more_than_the_body():
    """As often as jax evaluates it where it runs the loop in Python."""
    evaluated = []

    def condition(c):
        evaluated.append(c)
        return (c @ c).sum() < 1e6

    def double(x):
        return lax.while_loop(condition, lambda c: c + c, x)

    cost = cm.analyze(double, X)
    evaluated.clear()
    with jax.disable_jit():
        double(jnp.ones((D, D)))
    trips = len(evaluated) - 1
    assert trips == 4  # 16·16·16·4**trips is above a million
    assert cost.at(trips_0=trips).macs == len(evaluated) * DOT
    assert cost.at(trips_0=trips).flops == len(evaluated) * (2 * DOT + D * D - 1 + 1) + trips * D * D


NOT_COUNTED = {
    "data": lambda x, y: lax.while_loop(lambda c: c.sum() < 3, dot, x),
    "either of two conditions": lambda x, y: lax.while_loop(lambda s: (s[0] < 9) | (s[1].sum() < 3),
                                                            lambda s: (s[0] + 1, s[1] @ s[1]), (0, x))[1],
    "two conditions of the data": lambda x, y: lax.while_loop(lambda c: (c.min() < 9) & (c.sum() < 3), dot, x),
    "bound is data": lambda x, y: lax.fori_loop(0, y, lambda i, c: c @ c, x),
    "step is data": lambda x, y: lax.while_loop(lambda s: s[0] < 9, lambda s: (s[0] + y, s[1] @ s[1]), (0, x))[1],
    "counter is scaled": lambda x, y: lax.while_loop(lambda s: s[0] < 9, lambda s: (s[0] * 2, s[1] @ s[1]), (1, x))[1],
    "wrong direction": lambda x, y: lax.while_loop(lambda s: s[0] < 9, lambda s: (s[0] - 1, s[1] @ s[1]), (0, x))[1],
    "floating point": lambda x, y: lax.while_loop(lambda s: s[0] < 9.0, lambda s: (s[0] + 0.5, s[1] @ s[1]), (0.0, x))[1],
}


@pytest.mark.parametrize("name", NOT_COUNTED)
def test_any_other_trip_count_stays_a_symbol(name):
    cost = cm.analyze(NOT_COUNTED[name], X, INTEGER)
    assert cost.macs == DOT * cm.symbols("trips_0")
    assert cost.at(trips_0=0).macs == 0
    cost.verify(trips_0=4)
    with pytest.raises(cm.DomainError, match="trips_0"):
        cost.at()


def test_a_scalar_loop_is_work():
    """Nothing it starts from is data, yet no compiler knows what an iteration computes."""
    cost = cm.analyze(lambda y: lax.fori_loop(0, y.shape[0], lambda i, c: c * 1.5 + 2.0, 1.0), cm.spec((cm.dims("n"),)))
    assert cost.flops == 2 * N


def test_loops_nest_in_each_other():
    def inner(c):
        return lax.while_loop(lambda d: d.sum() < 3, dot, c)

    cost = cm.analyze(lambda x: lax.scan(lambda c, _: (inner(c), None), x, length=5)[0], X)
    assert cost.macs == 5 * DOT * cm.symbols("trips_0")
    cost = cm.analyze(lambda x: lax.while_loop(lambda c: c.sum() < 3, lambda c: inner(c) @ c, x), X)
    outer, inside = cm.symbols("trips_0 trips_1")
    assert (cost.macs - DOT * (outer * inside + outer)).expand() == 0


@pytest.mark.parametrize("n", [1, 2, 3, 8, 10, 17])
def test_associative_scan_counts_its_recursion(n):
    def additions(n):  # pairs, the rest of the prefixes, and the sums by which jax interleaves the two
        return 0 if n < 2 else n // 2 + additions(n // 2) + (n - 1) // 2 + n

    assert cm.analyze(lambda x: lax.associative_scan(jnp.add, x), cm.spec((n,))).flops == additions(n)


# -- branches ------------------------------------------------------------------------------------------------------------------

SWITCH = [dot, identity, lambda x: dot(dot(x)), lambda x: jnp.sin(x)]


@pytest.mark.parametrize("branches, dots, sines", [("max", 8, 4), ("min", 0, 0), ("mean", 3, 1)])
def test_switch(branches, dots, sines):
    """Four branches with 1, 0, 2 and 0 dots and one sine."""
    cost = cm.analyze(lambda i, x: lax.switch(i, SWITCH, x), INTEGER, X, branches=branches)
    assert 4 * cost.macs == dots * DOT
    assert 4 * cost.transcendentals == sines * D * D


def test_switch_with_weights_takes_one_branch_at_most():
    cost = cm.analyze(lambda i, x: lax.switch(i, SWITCH, x), INTEGER, X, branches="symbol")
    weights = [dict.fromkeys(("taken_0", "taken_1", "taken_2"), 0) for _ in range(4)]
    for i, weight in enumerate(weights[1:]):
        weight[f"taken_{i}"] = 1
    assert [cost.at(**w).macs for w in weights] == [DOT, 0, 2 * DOT, 0]
    assert [cost.at(**w).transcendentals for w in weights] == [0, 0, 0, D * D]
    with pytest.raises(cm.DomainError, match=r"taken_0 \+ taken_1"):
        cost.at(taken_0=1, taken_1=1, taken_2=0)


def test_dearest_branch_may_change_with_the_size():
    def function(p, x):
        return lax.cond(p, lambda x: (x * x).sum(), lambda x: x[0] * 100.0 + 1.0 + 2.0, x)

    cost = cm.analyze(function, FLAG, cm.spec((cm.dims("n"),)))
    assert [cost.at(n=n).flops for n in (1, 2, 3, 50)] == [3, 3, 5, 99]


def test_branches_inside_loops_and_loops_inside_branches():
    cost = cm.analyze(lambda p, x: lax.scan(lambda c, _: (lax.cond(p, dot, identity, c), None), x, length=5)[0], FLAG, X)
    assert cost.macs == 5 * DOT
    cost = cm.analyze(lambda p, x: lax.cond(p, lambda x: lax.scan(lambda c, _: (c @ c, None), x, length=5)[0], dot, x), FLAG, X)
    assert cost.macs == 5 * DOT
    assert all(e.status == "bounded" for e in cost.program if e.primitive == "dot_general")


def test_a_mapped_branch_computes_both_sides():
    cost = cm.analyze(jax.vmap(lambda p, x: lax.cond(p, dot, lambda x: x @ x @ x, x)), cm.spec((7,), "bool"), cm.spec((7, D, D)))
    assert cost.macs == 7 * 3 * DOT


# -- calls ---------------------------------------------------------------------------------------------------------------------


def devices(n=1):
    return jax.make_mesh((n,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))


def sharded(f):
    return jax.shard_map(f, mesh=devices(), in_specs=PartitionSpec(), out_specs=PartitionSpec())


def partitioned(f):
    made = custom_partitioning(f)
    made.def_partition(partition=lambda mesh, args, result: (mesh, f, result.sharding, (args[0].sharding,)),
                       infer_sharding_from_operands=lambda mesh, args, result: args[0].sharding, sharding_rule="i j -> i j")
    return made


def with_rules(f):
    jvp, vjp = jax.custom_jvp(f), jax.custom_vjp(f)
    jvp.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
    vjp.defvjp(lambda x: (f(x), None), lambda _, g: (g,))
    return jvp, vjp


CALLS = {
    "jit": jax.jit,
    "nested jit": lambda f: jax.jit(jax.jit(f)),
    "checkpoint": jax.checkpoint,
    "shard_map": sharded,
    "custom_partitioning": partitioned,
    "custom_jvp": lambda f: with_rules(f)[0],
    "custom_vjp": lambda f: with_rules(f)[1],
    "eval_jaxpr": lambda f: lambda x: jax.extend.core.jaxpr_as_fun(jax.make_jaxpr(f)(jnp.ones((D, D))))(x)[0],
    "named_call": jax.named_call,
    "cond of equal branches": lambda f: functools.partial(lax.cond, True, f, f),
}


def work(x):
    return jnp.sin(x @ x) + 1.0


@pytest.mark.parametrize("name", CALLS)
def test_a_call_costs_its_body(name):
    assert prices(cm.analyze(CALLS[name](work), X)) == prices(cm.analyze(work, X))


def test_every_device_of_a_mesh_does_its_share():
    n = cm.dims("n")
    cost = cm.analyze(sharded(dot), cm.spec((n, n)))
    assert cost.macs == N**3


def test_custom_linear_solve_runs_its_solver():
    cost = cm.analyze(lambda b: lax.custom_linear_solve(lambda v: 2 * v, b, lambda mv, b: b / 2), X)
    assert cost.flops == D * D


# -- dead code -----------------------------------------------------------------------------------------------------------------

DEAD = {
    # What is dropped has the only dots, so that none may be left.
    "unused result of scan": lambda x, p: lax.scan(lambda c, _: (jnp.sin(c), c @ c), x, length=9)[0],
    "unused carry of scan": lambda x, p: lax.scan(lambda c, _: ((jnp.sin(c[0]), c[1] @ c[1]), None), (x, x), length=9)[0][0],
    "input scanned over but not used": lambda x, p: lax.scan(lambda c, a: (jnp.sin(c), None), x, jnp.stack([x @ x, x]))[0],
    "unused carry of while": lambda x, p: lax.while_loop(lambda s: s[0].sum() < 3, lambda s: (s[0] + 1, s[1] @ s[1]), (x, x))[0],
    "unused result of a branch": lambda x, p: lax.cond(p, lambda x: (x @ x, jnp.sin(x)), lambda x: (x, x), x)[1],
    "unused branch": lambda x, p: (lax.cond(p, dot, identity, x), x)[1],
    "condition of an unused branch": lambda x, p: (lax.cond((x @ x).sum() > 0, jnp.sin, identity, x), x)[1],
    "unused result of jit": lambda x, p: jax.jit(lambda x: (x @ x, jnp.sin(x)))(x)[1],
    "unused result of checkpoint": lambda x, p: jax.checkpoint(lambda x: (x @ x, jnp.sin(x)))(x)[1],
    "through all of them": lambda x, p: lax.scan(
        lambda c, _: (jnp.sin(c), lax.cond(p, jax.jit(lambda c: lax.fori_loop(0, 3, lambda i, d: d @ d, c)), identity, c)),
        x, length=9)[0],
}


@pytest.mark.parametrize("name", DEAD)
def test_dead_code_costs_nothing_and_is_listed(name):
    cost = cm.analyze(DEAD[name], X, FLAG)
    assert cost.macs == 0
    assert dict(cost.program.dead)["dot_general"] >= 1
    assert "dead" in str(cost.coverage)


def test_a_carry_that_another_carry_uses_is_alive():
    cost = cm.analyze(lambda x: lax.scan(lambda c, _: ((jnp.sin(c[0]) + c[1], c[1] @ c[1]), None), (x, x), length=9)[0][0], X)
    assert cost.macs == 9 * DOT


# -- what only tells ----------------------------------------------------------------------------------------------------------


def printing(x):
    jax.debug.print("{}", x)
    return x


def debugging(x):
    jax.debug.callback(print, x)
    return x


TELLING = {"debug.print": printing, "debug.callback": debugging, "checkpoint_name": lambda x: checkpoint_name(x, "here")}


@pytest.mark.parametrize("around", [identity, jax.jit, jax.checkpoint,
                                    lambda f: lambda x: lax.scan(lambda c, _: (f(c), None), x, length=3)[0],
                                    lambda f: lambda x: lax.fori_loop(0, jnp.int32(x.sum()), lambda i, c: f(c), x)])
@pytest.mark.parametrize("name", TELLING)
def test_telling_is_free_and_listed(name, around):
    def told(tell):
        return cm.analyze(lambda x: around(lambda y: jnp.sin(tell(y)))(x @ x), X)

    cost, without = told(TELLING[name]), told(identity)
    assert prices(cost) == prices(without)
    assert [cost.bytes(p) for p in ("compulsory", "unfused", "ideal")] == [
        without.bytes(p) for p in ("compulsory", "unfused", "ideal")]
    assert cost.live_peak() == without.live_peak()
    assert len(cost.kernels("xla-gpu")) == len(without.kernels("xla-gpu"))
    (told_of,) = set(cost.coverage.by_status["free"]) - set(without.coverage.by_status.get("free", ()))
    assert told_of in ("debug_print", "debug_callback", "name")


def test_what_is_computed_to_be_told_is_counted():
    cost = cm.analyze(lambda x: (jax.debug.print("{}", (x @ x).sum()), x)[1], X)
    assert (cost.macs, cost.flops) == (DOT, 2 * DOT + D * D - 1)


# -- bad programs: one clear error each ----------------------------------------------------------------------------------------


def kernel(x_ref, o_ref):
    o_ref[...] = x_ref[...] * 2.0


OUT = jax.ShapeDtypeStruct((D, D), jnp.float32)
ESTIMATE = pl.CostEstimate(flops=256, transcendentals=3, bytes_accessed=2048)

REFUSED = {
    # name: (function of X, error, what its message names)
    "pure_callback": (lambda x: jax.pure_callback(np.sin, OUT, x), cm.UnknownPrimitive, "pure_callback runs Python on the host"),
    "io_callback": (lambda x: io_callback(np.sin, OUT, x), cm.UnknownPrimitive, "io_callback runs Python on the host"),
    "callback in a loop": (lambda x: lax.scan(lambda c, _: (jax.pure_callback(np.sin, OUT, c), None), x, length=3)[0],
                           cm.UnknownPrimitive, "pure_callback"),
    "foreign function": (lambda x: jax.ffi.ffi_call("some_kernel", OUT)(x), cm.UnknownPrimitive, "ffi_call calls foreign code"),
    "int(data)": (lambda x: jnp.zeros(int(x.sum())), cm.TraceError, "makes a Python value of its data"),
    "if data": (lambda x: x if x.sum() > 0 else -x, cm.TraceError, "makes a Python value of its data"),
    "numpy on data": (lambda x: np.sin(np.asarray(x)), cm.TraceError, "makes a Python value of its data"),
    "shapes": (lambda x: x @ x[:3], cm.TraceError, "contracting dimensions"),
    "no array": (lambda x: "text", cm.TraceError, "not a valid JAX type"),
}

SYMBOLIC = {
    "int(n)": (lambda x: jnp.zeros(int(x.shape[0])), "of a dimension: leave it out, and divide by `//`"),
    "range(n)": (lambda x: sum(x[i] for i in range(x.shape[0])), "give the dimension as an integer"),
    "if n > 1": (lambda x: x if x.shape[0] > 1 else -x, "'n' > '1' is inconclusive"),
    "length=n": (lambda x: lax.scan(lambda c, _: (c, None), x, length=x.shape[0] // 2)[0], "give"),
}


def is_one_line(message):
    return "\n" not in message and len(message) < 500


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_costed_is_one_clear_error(name):
    function, error, message = REFUSED[name]
    with pytest.raises(error, match=message) as caught:
        cm.analyze(function, X)
    assert is_one_line(str(caught.value))


@pytest.mark.parametrize("name", SYMBOLIC)
def test_what_needs_an_integer_says_so(name):
    function, message = SYMBOLIC[name]
    with pytest.raises(cm.TraceError, match=message) as caught:
        cm.analyze(function, cm.spec((cm.dims("n"),)), fit="never")
    assert is_one_line(str(caught.value))


def test_a_kernels_own_estimate_is_used():
    cost = cm.analyze(lambda x: pl.pallas_call(kernel, out_shape=OUT, cost_estimate=ESTIMATE)(x), X)
    assert (cost.flops, cost.transcendentals) == (256, 3)
    assert [e.status for e in cost.program] == ["bounded"]


def test_refusals_can_be_left_out_and_are_then_told():
    with pytest.warns(UserWarning, match="UNKNOWN: pure_callback x1"):
        cost = cm.analyze(lambda x: jax.pure_callback(np.sin, OUT, x @ x), X, unknown="warn")
    assert cost.macs == DOT
    assert sum(cost.coverage.unknown.values()) == 1


def test_a_reshape_whose_sizes_cannot_be_equal_is_an_error():
    """jax does not check it where a dimension is symbolic."""
    n = cm.dims("n")
    with pytest.raises(cm.CostModelError, match=r"turns n elements into 2\*n"):
        cm.analyze(lambda x: lax.reshape(x, (2, x.shape[0])), cm.spec((n,)))


def test_a_reshape_that_holds_for_some_sizes_restricts_the_domain_to_them():
    cost = cm.analyze(lambda x: lax.reshape(x, (x.shape[0] // 2, 2)) * 2.0, cm.spec((cm.dims("n"),)))
    assert cost.at(n=6).flops == 6
    with pytest.raises(cm.DomainError, match=r"2 \| n"):
        cost.at(n=7)


def test_a_mapped_loop_has_the_cap_of_its_lanes():
    """It runs until all lanes have stopped, and each stops at the cap: trips are counted in a run of lanes that stop there."""
    b, n = cm.dims("b n")

    def capped(x):
        return jax.lax.while_loop(lambda c: (c[0] < 20) & (jnp.max(c[1]) < 1e9), lambda c: (c[0] + 1, jnp.sin(c[1])), (0, x))

    once, twice = (cm.analyze(f, shape) for f, shape in ((jax.vmap(capped), (b, 3)), (jax.vmap(jax.vmap(capped)), (n, b, 3))))
    trips, _ = jax.vmap(capped)(jnp.ones((4, 3)))
    assert once.at(b=4).transcendentals == 4 * 3 * int(trips.max()) == 240 and once.symbols == ("b",)
    assert twice.at(b=4, n=5).transcendentals == 1200 and once.coverage.count("bounded")
