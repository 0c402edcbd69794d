"""A user's rule for a primitive or for a jitted function: as good as a built-in one, checked, and gone when its context is."""

from __future__ import annotations

import itertools

import jax
import jax.extend
import jax.numpy as jnp
import pytest
from jax import lax
from sympy import Integer

import costmodel as cm
from costmodel.rules import lookup, multiply_accumulate, registered, scoped, transcendental, vector
from costmodel.rules.attention import attention_pairs, fused_attention
from costmodel.rules.work import OpKind
from costmodel.symbolic.forms import evaluate

N = cm.dims("n")
X = cm.spec((N, 8))
n = cm.symbols("n")


@pytest.fixture(autouse=True)
def registry_put_back():
    """What a test registers for the whole process is forgotten after it."""
    before = registered()
    with scoped({}):
        yield
    assert registered() == before


def new_primitive(name):
    made = jax.extend.core.Primitive(name)
    made.def_abstract_eval(lambda x: x)
    return made.bind


cube = new_primitive("cube_of_a_test")


@jax.jit
def kernel(x, w):
    """Stands for a hand-written kernel."""
    return jnp.tanh(x @ w)


# -- registering ---------------------------------------------------------------------------------------------------------------


def test_a_primitive_without_a_rule_says_how_to_register_one():
    with pytest.raises(cm.UnknownPrimitive, match=r"@cm.rule\('cube_of_a_test'\)"):
        cm.analyze(cube, X)


def test_a_rule_for_a_primitive():
    @cm.rule("cube_of_a_test")
    def cube_rule(eqn, **_):
        return eqn.work(vector("mul", eqn.operand.dtype, 2 * eqn.out.size))

    cost = cm.analyze(lambda x: cube(x) + 1.0, X)
    assert cost.flops == 3 * 8 * n
    assert cost.bytes("unfused") == 4 * 8 * n * 4
    cost.verify(n=3)


def test_a_rule_for_a_jitted_function_stands_for_its_body():
    inside = cm.analyze(kernel, X, cm.spec((8, 8)))
    with scoped({"kernel": lambda eqn, **_: eqn.work(multiply_accumulate("float32", eqn.out.size * 8))}):
        outside = cm.analyze(kernel, X, cm.spec((8, 8)))
        looped = cm.analyze(lambda x, w: lax.scan(lambda c, _: (kernel(c, w), None), x, length=5)[0], X, cm.spec((8, 8)))
    assert inside.macs == outside.macs == 64 * n
    assert (inside.transcendentals, outside.transcendentals) == (8 * n, 0)
    assert looped.macs == 5 * 64 * n
    assert [e.primitive for e in outside.program] == ["kernel"]
    assert cm.analyze(kernel, X, cm.spec((8, 8))).transcendentals == 8 * n


def test_a_rule_sees_shapes_and_parameters():
    seen = []

    def sine(eqn, **params):
        seen.append((eqn.primitive, eqn.operand.shape, eqn.out.dtype, set(params)))
        return eqn.work(transcendental("sin", eqn.operand.dtype, 4 * eqn.out.size))

    with scoped({"sin": sine}):
        cost = cm.analyze(jnp.sin, X)
    assert cost.transcendentals == 32 * n
    assert seen[0][:3] == ("sin", (n, 8), "float32")
    assert cm.analyze(jnp.sin, X).transcendentals == 8 * n


def test_a_context_that_fails_puts_the_rules_back():
    before = lookup("sin")
    with pytest.raises(ZeroDivisionError), scoped({"sin": lambda eqn, **_: eqn.work()}):
        raise ZeroDivisionError
    assert lookup("sin") is before


def test_names_are_registered_once():
    with pytest.raises(cm.CostModelError, match=r"'dot_general' has a rule already .*scoped"):
        cm.rule("dot_general")(lambda eqn, **_: eqn.work())
    cm.rule("mine")(lambda eqn, **_: eqn.work())
    with pytest.raises(cm.CostModelError, match="'mine' has a rule already"):
        cm.rule("mine")(lambda eqn, **_: eqn.work())


def test_a_built_in_rule_is_not_taken_for_a_jitted_function_of_that_name():
    @jax.jit
    def sort(x):
        return x @ x

    assert cm.analyze(sort, cm.spec((8, 8))).macs == 8**3


@pytest.mark.parametrize("status", ["bounded", "free"])
def test_what_is_not_exact_must_say_why(status):
    with pytest.raises(cm.CostModelError, match=f"a {status} rule needs why="):
        cm.rule("mine", status=status)(lambda eqn, **_: eqn.work())
    cm.rule("cube_of_a_test", status=status, why="a test")(lambda eqn, **_: eqn.work())
    assert cm.analyze(cube, X).coverage.count(status) == 1
    with pytest.raises(cm.CostModelError, match="status='guessed' must be one of"):
        cm.rule("other", status="guessed")(lambda eqn, **_: eqn.work())


# -- checked -------------------------------------------------------------------------------------------------------------------

WRONG = {
    # name: (rule, what the error says)
    "no work": (lambda eqn, **_: 3, "returns int; return eqn.work"),
    "nothing": (lambda eqn, **_: None, "returns NoneType"),
    "reads": (lambda eqn, **_: eqn.work(read=[]), "states 0 reads and 1 writes for 1 operands and 1 results"),
    "writes": (lambda eqn, **_: eqn.work(written=[1, 1]), "states 1 reads and 2 writes"),
    "negative": (lambda eqn, **_: eqn.work(vector("mul", "float32", -eqn.out.size)), r"counts -8\*n mul; a count is never neg"),
    "negative reads": (lambda eqn, **_: eqn.work(read=[-1]), "counts -1 elements read; a count is never negative"),
    "symbol": (lambda eqn, **_: eqn.work(vector("mul", "float32", cm.symbols("q") * eqn.out.size)), "the program has no q"),
    "floating point": (lambda eqn, **_: eqn.work(vector("mul", "float32", 0.5 * eqn.out.size)), "a count is an integer or an expr"),
    "float": (lambda eqn, **_: eqn.work(vector("mul", "float32", 2.5)), "counts 2.5 mul"),
    "text": (lambda eqn, **_: eqn.work(vector("mul", "float32", "n")), "counts 'n' mul"),
    "kind": (lambda eqn, **_: eqn.work(("mul", 1, 1)), "counts operations of 'mul'"),
    "engine": (lambda eqn, **_: eqn.work((OpKind("mul", "gpu", "float32"), 1, 1)), "runs on 'gpu'; the engines are matrix"),
    "parameters": (lambda eqn: eqn.work(), "unexpected keyword argument"),
    "shape": (lambda eqn, **_: eqn.work(vector("mul", "float32", eqn.ins[1].size)), "failed: IndexError"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_one_clear_error(name):
    rule, message = WRONG[name]
    with scoped({"tanh": rule}), pytest.raises(cm.CostModelError, match=message) as caught:
        cm.analyze(lambda x: jax.jit(lambda x: jnp.tanh(x))(x), X)
    assert "'tanh'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plain_integers_are_counts():
    with scoped({"tanh": lambda eqn, **_: eqn.work(vector("mul", "float32", 7), read=[3], written=[2])}):
        cost = cm.analyze(jnp.tanh, X)
    assert cost.flops == 7
    assert cost.bytes("unfused") == 4 * 5


def test_a_rule_may_decline():
    def decline(eqn, **_):
        raise cm.UnknownPrimitive("this kernel has no estimate on odd sizes")

    with scoped({"tanh": decline}):
        with pytest.raises(cm.UnknownPrimitive, match="odd sizes"):
            cm.analyze(jnp.tanh, X)
        with pytest.warns(UserWarning, match="UNKNOWN: tanh x1"):
            assert cm.analyze(lambda x: jnp.tanh(x) + 1.0, X, unknown="warn").flops == 8 * n


# -- fused attention -----------------------------------------------------------------------------------------------------------


@jax.jit
def attention(q, k, v):
    scores = jnp.einsum("bshd,bthd->bhst", q, k)
    return jnp.einsum("bhst,bthd->bshd", jax.nn.softmax(scores), v)


def arrays(*, batch=2, queries="s", keys="t", heads=4, depth=16):
    queries, keys = (cm.dims(d) if isinstance(d, str) else d for d in (queries, keys))
    return cm.spec((batch, queries, heads, depth)), cm.spec((batch, keys, heads, depth)), cm.spec((batch, keys, heads, depth))


def fused(causal=False, **shapes):
    with scoped({"attention": fused_attention(causal)}):
        return cm.analyze(attention, *arrays(**shapes))


def test_fused_attention_does_the_same_work_and_moves_far_less():
    plain, kernel_ = cm.analyze(attention, *arrays()), fused()
    s, t = cm.symbols("s t")
    assert plain.macs == kernel_.macs == 2 * 2 * 4 * 16 * s * t
    assert kernel_.transcendentals == plain.transcendentals == 2 * 4 * s * t
    assert kernel_.bytes("unfused") == plain.bytes("compulsory") == 4 * 2 * 4 * 16 * (2 * s + 2 * t)
    at = {"s": 1024, "t": 1024}
    assert 20 * kernel_.at(**at).bytes("unfused") < plain.at(**at).bytes("unfused")


def test_the_softmax_of_a_fused_kernel_by_hand():
    """A row of t scores: t - 1 comparisons for its maximum, t differences, t exponentials, t - 1 additions; then one division for
    each of the 16 elements of its result."""
    s, t = cm.symbols("s t")
    kernel_ = fused()
    assert (kernel_.flops - 2 * kernel_.macs - 2 * 4 * s * ((t - 1) + t + (t - 1) + 16)).expand() == 0


def test_pairs_of_a_causal_mask_are_those_counted_one_by_one():
    for queries in range(1, 8):
        for keys in range(1, 8):
            kept = sum(1 for i in range(queries) for j in range(keys) if j <= i + keys - queries)
            assert attention_pairs(Integer(queries), Integer(keys), causal=True) == kept
            assert fused(causal=True, queries=queries, keys=keys).macs == 2 * 2 * 4 * 16 * kept


def test_pairs_of_a_sliding_window_are_those_counted_one_by_one():
    for queries, keys, window in itertools.product(range(1, 7), range(1, 7), range(1, 9)):
        kept = sum(1 for i in range(queries) for j in range(keys) if i + keys - queries - window < j <= i + keys - queries)
        assert attention_pairs(Integer(queries), Integer(keys), causal=True, window=window) == kept
    s = cm.symbols("s")
    form = attention_pairs(s, s, causal=True, window=5)
    assert [evaluate(form, {s: length}) for length in (1, 4, 5, 9)] == [1, 10, 15, 5 * 9 - 10]


@pytest.mark.parametrize("window", [1, 3, 20])
def test_pairs_of_a_sliding_window_are_those_that_jax_keeps(window):
    """With the identity as values, attention returns its probabilities: those of kept pairs are not zero."""
    ones, identity = jnp.ones((1, 9, 1, 9)), jnp.eye(9)[None, :, None]
    probabilities = jax.nn.dot_product_attention(ones, ones, identity, is_causal=True, local_window_size=(window - 1, 0))
    assert int((probabilities > 0).sum()) == attention_pairs(Integer(9), Integer(9), causal=True, window=window)


def test_a_window_is_of_a_causal_mask():
    for options in ({"window": 4}, {"causal": True, "window": 0}):
        with pytest.raises(cm.CostModelError, match="at least 1, and needs causal=True"):
            fused_attention(**options)


def test_causal_attention_is_about_half():
    cost = fused(causal=True, keys="s")
    s = cm.symbols("s")
    assert (cost.macs - 2 * 2 * 4 * 16 * s * (s + 1) / 2).expand() == 0
    assert cost.at(s=1024).macs == 2 * 2 * 4 * 16 * 1024 * 1025 // 2
    assert cost.bytes("unfused") == fused(keys="s").bytes("unfused")


def test_fused_attention_in_a_gradient_is_the_forward_program_only():
    """A derivative goes through the function's body: there the rule stands for no call of that name."""
    with scoped({"attention": fused_attention()}):
        cost = cm.analyze(lambda *a: jax.vjp(attention, *a)[0], *arrays())
    s, t = cm.symbols("s t")
    assert cost.macs == 2 * 2 * 4 * 16 * s * t


def test_fused_attention_refuses_other_shapes():
    with scoped({"kernel": fused_attention()}), pytest.raises(cm.CostModelError, match="expects q, k, v of four dimensions"):
        cm.analyze(kernel, X, cm.spec((8, 8)))
