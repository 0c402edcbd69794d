"""Dimensions keep their domain, and mean the same to jax and to sympy."""

from __future__ import annotations

import random

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import core

import costmodel as cm
from costmodel.errors import DomainError
from costmodel.symbolic.dimensions import dims, expression, symbols
from costmodel.symbolic.domain import Domain, Variable, merge, user_text
from costmodel.symbolic.forms import CeilDiv, FloorDiv, evaluate, lower_bound, symbol
from costmodel.symbolic.translate import internal


def domain_of(*made) -> Domain:
    return Domain.of(*(internal(dim) for dim in made))


def bound(*made, **values) -> dict[str, int]:
    return {s.name: value for s, value in domain_of(*made).bind(values).items()}


def test_the_same_declaration_is_the_same_object():
    assert dims("n") is dims("n") and dims("n h") == dims("n,h")
    assert dims("h", multiple_of=32) is dims("h", multiple_of=32)
    assert dims("c_i g", where="g | c_i") is dims("c_i g", where="g|c_i")
    assert dims("h", multiple_of=32) is not dims("h", multiple_of=16)


def test_one_name_is_a_dimension_and_several_are_a_tuple():
    n, h = dims("n h")
    assert expression(dims("n")) == symbol("n") == expression(n)
    assert symbols("n h") == (expression(n), expression(h))


@pytest.mark.parametrize("names, options, message", [
    ("1x", {}, "'1x' cannot name a dimension: use letters, digits and single underscores"),
    ("a__b", {}, "'a__b' cannot name a dimension: use letters, digits and single underscores"),
    ("lambda", {}, "'lambda' cannot name a dimension: use letters, digits and single underscores"),
    ("", {}, "dims needs a name: cm.dims('n'), or several, cm.dims('n h w')"),
    ("n n", {}, "n is named twice in 'n n'; what has the same size is the same dimension"),
    ("n,h,n", {"min": 2}, "n is named twice in 'n h n'; what has the same size is the same dimension"),
    ("x", {"multiple_of": 0}, "multiple_of=0 and min=1 must be at least 1"),
    ("x", {"min": 0}, "multiple_of=1 and min=0 must be at least 1"),
    ("x", {"min": 5, "max": 3}, "x has no value: it is at least 5 and at most 3"),
    ("x", {"multiple_of": 32, "max": 31}, "x has no value: it is at least 32 and at most 31"),
    ("x", {"where": "x ~ 3"}, "constraint 'x ~ 3' is not of the form 'g | c', 'a >= b' or 'a <= b'"),
    ("x", {"where": "y | 3"}, "constraint 'y | 3': write 'integer | name' or 'name | name'"),
    ("x", {"where": "3 | y"}, "constraint '3 | y' is about y, which this call does not declare"),
    ("x", {"where": "h >= w"}, "constraint 'h >= w' is about none of the dimensions that this call declares"),
    ("x", {"where": "x | x"}, "constraint 'x | x': x divides itself"),
    ("x y z", {"where": "y | x, z | x"},
     "x: several divisors must all be integers; write the common multiple as one name"),
    ("x", {"where": "x >= y.z"}, "constraint 'x >= y.z': 'y.z' is neither an integer nor a name"),
    ("x k", {"where": "x >= k--3"}, "constraint 'x >= k--3': 'k--3' is not a sum of products"),
    ("x k", {"where": "x >= k+"}, "constraint 'x >= k+': 'k+' is not a sum of products"),
])
def test_a_bad_declaration_says_what_to_write(names, options, message):
    with pytest.raises(DomainError) as caught:
        dims(names, **options)
    assert str(caught.value) == message


def test_a_constraint_does_not_leak_to_others_of_the_same_name():
    _, _ = dims("h k", where="h >= k")
    h, k = dims("h k")
    assert domain_of(h, k).texts == ("h >= 1", "k >= 1")
    assert bound(h, k, h=1, k=2) == {"h": 1, "k": 2}


@pytest.mark.parametrize("values, message", [
    ({"c_i": 8, "g": 3, "h": 64, "k": 3}, "c_i=8 is outside its domain g | c_i"),
    ({"c_i": 8, "g": 4, "h": 60, "k": 3}, "h=60 is outside its domain 32 | h"),
    ({"c_i": 8, "g": 4, "h": 0, "k": 3}, "h=0 is outside its domain h >= 1"),
    ({"c_i": 8, "g": 4, "h": 4128, "k": 3}, "h=4128 is outside its domain h <= 4096"),
    ({"c_i": 8, "g": 4, "h": 64, "k": 2}, "k=2 is outside its domain k >= 3"),
    ({"c_i": 8, "g": 4, "h": 64, "k": 9}, "c_i=8, g=4, h=64, k=9 is outside the domain c_i >= k"),
    ({"c_i": 8, "g": 4, "h": 64}, "unbound symbol k: give a value for each of c_i, g, h, k"),
    ({"c_i": 8, "h": 64}, "unbound symbols g, k: give a value for each of c_i, g, h, k"),
    ({"z": 3, "y": 1}, "unknown symbols y, z: the symbols here are c_i, g, h, k"),
    ({"c_i": 8.0, "g": 4, "h": 64, "k": 3}, "c_i=8.0 is not an integer"),
    ({"c_i": 8, "g": 4, "h": 64, "k": True}, "k=True is not an integer"),
])
def test_a_value_outside_the_domain_is_named(values, message):
    h = dims("h", multiple_of=32, max=4096)
    c_i, k, g = dims("c_i k g", where="g | c_i, c_i >= k, k >= 3")
    with pytest.raises(DomainError) as caught:
        domain_of(h * c_i * k * g).bind(values)
    assert str(caught.value) == message


def test_both_ends_of_a_domain_are_inside():
    h, s = dims("h", multiple_of=32, min=64, max=4096), dims("s", where="s >= 2, s <= 9")
    for ends in ({"h": 64, "s": 2}, {"h": 4096, "s": 9}):
        assert domain_of(h, s).bind(ends)  # raises outside


def test_binding_gives_the_internal_variables():
    h, (c_i, g) = dims("h", multiple_of=32), dims("c_i g", where="g | c_i")
    values = domain_of(h, c_i).bind({"h": 64, "c_i": 12, "g": 4})
    assert evaluate(internal(h * c_i), values) == 64 * 12
    assert evaluate(internal(c_i // g), values) == 3


def test_multiples_divide_exactly():
    h, w = dims("h w", multiple_of=32)
    assert expression(h // 4 * w) == symbol("h") * symbol("w") / 4
    size = h
    for _ in range(5):
        size = (size - 1) // 2 + 1
    assert expression(size) == symbol("h") / 32
    plain = dims("h")
    for _ in range(5):
        plain = (plain - 1) // 2 + 1
    assert expression(plain) == CeilDiv(symbol("h"), 32)


def test_one_name_divides_another():
    c_i, c_o, g = dims("c_i c_o g", where="g | c_i, g | c_o")
    assert expression(c_i // g * c_o) == symbol("c_i") * symbol("c_o") / symbol("g")
    assert c_i % g == 0


def test_divisors_combine_to_their_least_common_multiple():
    assert domain_of(dims("x", multiple_of=4, where="6 | x, x >= 13, x <= 100")).texts == ("12 | x", "x >= 13", "x <= 100")


def test_relations_reach_jax_and_the_rules():
    h, k, p = dims("h k p", where="h + 2*p >= k, k >= 2")
    assert h + 2 * p - k >= 0  # jax decides it
    domain = domain_of(h, k, p)
    assert lower_bound(internal(h + 2 * p - k), domain.assumptions) == 0
    assert lower_bound(internal(h - k), domain.assumptions) < 0  # and only it
    assert domain.texts == ("h >= 1", "k >= 2", "p >= 1", "h + 2*p >= k")


def test_bounds_reach_jax_and_the_rules():
    s = dims("s", min=16, max=2048)
    assert s <= 2048 and s >= 16
    assert lower_bound(2048 - internal(s), domain_of(s).assumptions) == 0
    assert lower_bound(internal(s), domain_of(s).assumptions) == 16


def test_dimensions_of_several_calls_mix_in_one_shape():
    n, h, (c_i, g) = dims("n"), dims("h", multiple_of=4), dims("c_i g", where="g | c_i")

    def grouped(x):
        return jnp.sum(x.reshape(n, h // 4, 4, g, c_i // g), axis=2)

    traced = jax.eval_shape(grouped, jax.ShapeDtypeStruct((n, h, c_i), "float32"))
    assert [str(expression(d)) for d in traced.shape] == ["n", "h/4", "g", "c_i/g"]
    assert str(merge([domain_of(n, h), domain_of(c_i)])) == "g | c_i, g >= 1, 4 | h, n >= 1"


def test_two_domains_under_one_name_are_refused():
    with pytest.raises(DomainError) as caught:
        domain_of(dims("h"), dims("h", multiple_of=32))
    assert str(caught.value) == ("h was declared twice, as 'h >= 1' and as '32 | h': declare it once and use that dimension "
                                 "everywhere, or rename one")


def test_two_domains_that_a_relation_tells_apart_are_shown_with_it():
    with pytest.raises(DomainError, match=r"as 'h >= 1' and as 'h >= 1, h >= k'"):
        domain_of(dims("h"), dims("h k", where="h >= k")[0])


@pytest.mark.parametrize("function", [
    lambda h, fixed: cm.analyze(jnp.add, (h,), (fixed,)),
    lambda h, fixed: cm.analyze(nn.Dense(fixed), (3, h)),
    lambda h, fixed: cm.analyze(lambda x: x + jnp.ones(fixed), (h,)),
    lambda h, fixed: cm.analyze(lambda x: x + jnp.ones(h), (fixed,)),
], ids=["inputs", "a width", "a constant", "an input"])
def test_two_domains_under_one_name_are_told_while_tracing_too(function):
    """jax's own message would be that (h,) does not fit (h,)."""
    with pytest.raises(DomainError, match=r"^h was declared twice, as .* or rename one$"):
        function(dims("h"), dims("h", multiple_of=32))


def test_variables_are_ordered_by_what_divides_them():
    c, _, _ = dims("c b a", where="b | c, a | b")
    domain = domain_of(c)
    assert [v.symbol for v in domain.ordered] == ["a", "b", "c"]
    assert evaluate(internal(c), domain.bind({"a": 2, "b": 6, "c": 18})) == 18
    with pytest.raises(DomainError, match="x and y divide each other"):
        Domain((Variable("x", "x", symbol("y")), Variable("y", "y", symbol("x")))).bind({"x": 1, "y": 1})


def test_messages_of_jax_name_the_users_symbols():
    h, k = dims("h", multiple_of=32), dims("k x", where="k >= x")[0]
    assert user_text(f"cannot divide {h} by {k}") == "cannot divide h by k"


def random_arithmetic(rng: random.Random, depth: int):
    """A function of (variables) that only uses what both jax dimensions and integers understand."""
    kind = rng.random()
    if depth == 0 or kind < 0.2:
        i, constant = rng.randrange(3), rng.randint(1, 9)
        return (lambda v: v[i]) if rng.random() < 0.75 else (lambda v: constant)
    a, b = random_arithmetic(rng, depth - 1), random_arithmetic(rng, depth - 1)
    d, i, factor = rng.choice((2, 3, 4, 7)), rng.randrange(3), rng.randint(-2, 3)
    if kind < 0.45:
        return lambda v: a(v) + factor * b(v)
    if kind < 0.6:
        return lambda v: a(v) * b(v)
    if kind < 0.75:
        return lambda v: a(v) // d
    if kind < 0.82:
        return lambda v: a(v) // v[i]
    if kind < 0.9:
        return lambda v: a(v) % d
    return (lambda v: core.max_dim(a(v), b(v))) if kind < 0.95 else (lambda v: core.min_dim(a(v), b(v)))


def test_a_jax_dimension_and_its_expression_have_the_same_values():
    rng, compared, opaque = random.Random(1), 0, 0
    made = (dims("n"), dims("h", multiple_of=4), dims("w", min=3))
    for _ in range(400):
        arithmetic = random_arithmetic(rng, rng.randint(1, 4))
        dim = arithmetic(made)
        expr = expression(dim)
        inner, domain = internal(dim), domain_of(*made)
        opaque += inner.has(FloorDiv, CeilDiv)
        for _ in range(5):
            n, h, w = rng.randint(1, 50), 4 * rng.randint(1, 30), rng.randint(3, 70)
            value = arithmetic((n, h, w))
            assert evaluate(inner, domain.bind({"n": n, "h": h, "w": w})) == value, (dim, inner)
            assert evaluate(expr, {symbol("n"): n, symbol("h"): h, symbol("w"): w}) == value, (dim, expr)
            compared += 1
    assert compared == 2000 and opaque > 100


def test_a_contradiction_is_refused_and_forgotten():
    """jax keeps all constraints of a process in one scope: one that cannot hold would end every trace after it."""
    for where in ("p >= q, q >= p + 1", "p >= q, q >= 2*p"):
        with pytest.raises(DomainError, match=r"^the constraint 'q >= .*' cannot hold beside the others$"):
            cm.dims("p q", where=where)
    p, q = cm.dims("p q", where="p >= q, q >= p")
    assert str(cm.analyze(lambda x: x[1:] * 2, (p, q)).flops) == "p*q - q"
    p, q = cm.dims("p q")
    assert cm.analyze(lambda x: x[1:] * 2, (p, q), fit="never").flops == cm.analyze(lambda x: x[1:] + 2, (p, q), fit="never").flops
