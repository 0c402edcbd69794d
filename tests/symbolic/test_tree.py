"""Trees lose nothing and trust nothing."""

from __future__ import annotations

import json
import random

import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_forms import random_form
from sympy import Add, Integer, Mul, Pow, Rational

from costmodel.errors import CostModelError
from costmodel.symbolic.extent import MAX_DEPTH, extent
from costmodel.symbolic.forms import CeilDiv, FloorDiv, PeakMax, symbol
from costmodel.symbolic.tree import Interner, from_tree, pack, to_tree, unpack

n, h, g = symbol("n"), symbol("h"), symbol("g")
exactly = settings(deadline=None, derandomize=True, max_examples=400)


def round_trip(expr):
    return from_tree(json.loads(json.dumps(to_tree(expr))))


@exactly
@given(st.randoms(use_true_random=False))
def test_a_round_trip_is_the_identity(rng):
    expr, _ = random_form(rng, 4, taps=True)
    try:
        extent(expr)
    except CostModelError:  # too large to be read: a power of a power of a sum
        assume(False)
    assert round_trip(expr) == expr
    assert sympy.srepr(round_trip(expr)) == sympy.srepr(expr)  # the order of the arguments, too


@pytest.mark.parametrize("expr", [
    Integer(0), Integer(-7), Integer(2**53), Integer(-10**300), Rational(-3, 7), Rational(10**40, 3), n * h / g, n / (h + g) ** 2,
    FloorDiv(h - 1, g) + CeilDiv(h, 32), PeakMax(n * h, n**2, 3 * g), symbol("h_div_32__1"),
], ids=str)
def test_every_kind_of_node_comes_back(expr):
    assert round_trip(expr) == expr


def test_what_is_not_evaluated_stays_so():
    for expr in (Mul(2, h + 1, evaluate=False), Add(h, 1, h, evaluate=False), Pow(h, 1, evaluate=False)):
        assert sympy.srepr(round_trip(expr)) == sympy.srepr(expr)


def test_symbols_come_back_as_the_ones_of_this_process():
    assert round_trip(n) is n


@exactly
@given(st.integers())
def test_integers_that_doubles_confuse_are_written_in_decimal(value):
    tree = to_tree(Integer(value))
    assert tree == value if abs(value) < 2**53 else tree == ["int", str(value)]
    assert from_tree(tree) == value


def endless() -> list:
    tree: list = ["add", 1]
    tree.append(tree)
    return tree


def nested_powers(exponent: int) -> list:
    tree: list = ["pow", 3, exponent]
    for _ in range(40):
        tree = ["pow", tree, exponent]
    return tree


def doubled(head: str, times: int) -> list:
    """A tree of 2**times leaves in so many lists."""
    tree: list = [head, "n", 1]
    for _ in range(times):
        tree = [head, tree, tree]
    return tree


@pytest.mark.parametrize("tree, message", [
    (["eval", "1"], "unknown head 'eval'"),
    (["add", 1], "add takes two or more arguments, not 1"),
    (["pow", "h", 1, 2], "pow takes 2 arguments, not 3"),
    (["tap_count", 1, 2], "tap_count takes 8 arguments, not 2"),
    (["pow", "h", "n"], "the exponent of pow, n, is not an integer"),
    (["rational", 1, 0], "rational takes an integer and a positive integer"),
    (["rational", 1, "h"], "rational takes an integer and a positive integer"),
    (["floor_div", "h", 0], "floor_div by 0"),
    (["ceil_div", "h", -2], "ceil_div by -2"),
    (["int", "0x10"], "decimal digits"),
    (["int", "1_0"], "decimal digits"),
    (["int", 3], "decimal digits"),
    (["int", "9" * 5000], "decimal digits"),
    ("__import__('os')", "is not a name"),
    ("h + 1", "is not a name"),
    ("", "is not a name"),
    ("lambda", "is not a name"),
    (1.5, "1.5"),
    (float("nan"), "nan"),
    (True, "True"),
    (None, "None"),
    ([], "where an integer, a name or"),
    ([["add"], 1, 2], "where an integer, a name or"),
    ({"add": [1, 2]}, "where an integer, a name or"),
    (["int", "9" * 302], "integer of 1004 bits; the bound is 1000"),
    (2**1000, "integer of 1001 bits; the bound is 1000"),
    ("n" * 201, "is not a name"),
    (["pow", "n", 17], "the exponent 17; the bound is 16"),
    (["pow", "n", ["int", "-99999999999999999999"]], "the exponent -2**66; the bound is 16"),
    (["pow", 9, 387420489], "the exponent 387420489; the bound is 16"),
    (["pow", ["add", "n", 1], 3000], "the exponent 3000; the bound is 16"),
    (["pow", ["add", "n", "h", "g", 1], 16], "terms, if expanded; the bound is 20000"),
    (["mul", *[["add", "n", "h"]] * 8], "expression of 65536 terms, if expanded; the bound is 20000"),
    (["floor_div", ["mul", *[["add", "n", "h"]] * 8], 2], "terms, if expanded; the bound is 20000"),
    (nested_powers(16), "bits where every symbol has 64; the bound is 10000"),
    (nested_powers(-16), "bits where every symbol has 64; the bound is 10000"),
    (["add", *[["rational", 1, 2**900 + i] for i in range(12)]], "bits where every symbol has 64; the bound is 10000"),
    (["peak_max", *[["add", "n", i] for i in range(65)]], "a PeakMax of 65 arguments; the bound is 64"),
    (["add", *["n"] * 10_000], "expression tree of more than 10000 nodes"),
    (doubled("mul", 20), "expression tree of more than 10000 nodes"),
    (endless(), f"deeper than {MAX_DEPTH} levels"),
], ids=lambda value: str(value)[:24])
def test_a_bad_tree_is_an_error_of_one_line(tree, message):
    with pytest.raises(CostModelError) as caught:
        from_tree(tree)
    assert message in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("expr", [
    sympy.sin(h), sympy.floor(h / 2), sympy.Symbol("h"), h**n, sympy.sqrt(h), sympy.Float(0.5), sympy.pi,
], ids=str)
def test_what_a_tree_cannot_hold_is_refused(expr):
    with pytest.raises(CostModelError):
        to_tree(expr)


def test_an_expression_that_nests_too_deeply_is_refused():
    deep = h
    for _ in range(MAX_DEPTH + 1):
        deep = Pow(deep, 2, evaluate=False)
    with pytest.raises(CostModelError, match="nests deeper"):
        to_tree(deep)


def test_a_packed_table_shares_what_repeats():
    rng = random.Random(1)
    distinct = list(dict.fromkeys(random_form(rng, 3, taps=True)[0] for _ in range(60)))
    exprs = [rng.choice(distinct) for _ in range(4000)]
    trees, refs = json.loads(json.dumps(pack(exprs)))
    assert len(trees) <= len(distinct) and len(refs) == 4000
    assert unpack(trees, refs) == exprs


def test_an_interner_gives_equal_expressions_one_index():
    interner = Interner()
    assert [interner.ref(e) for e in (n * h, n, h * n, FloorDiv(FloorDiv(h, 2), 2), FloorDiv(h, 4))] == [0, 1, 0, 2, 2]
    assert len(interner.trees) == 3


def test_a_table_has_a_bound_of_its_own():
    large = ["add", *["n"] * 9_000]
    assert len(unpack([large] * 11, [0])) == 1
    with pytest.raises(CostModelError, match="table of expressions of more than 100000 nodes"):
        unpack([large] * 12, [0])


@pytest.mark.parametrize("expr", [
    Pow(n, 17), Integer(2**1000), PeakMax(*(n**i * h**(40 - i) for i in range(1, 16))) ** 16,
    Add(*(symbol(f"s{i}") for i in range(10_001))),
    Pow(n + h + g + 1, 16, evaluate=False),
], ids=lambda expr: str(expr)[:20])
def test_what_would_not_be_read_is_not_written(expr):
    with pytest.raises(CostModelError, match=r"bound|more than"):
        to_tree(expr)


def test_what_is_expanded_has_no_more_terms_than_were_told():
    """Every unknown at its least value and something more, as proofs have it."""
    rng = random.Random(5)
    for _ in range(200):
        expr, _ = random_form(rng, 4)
        atoms = expr.atoms(sympy.Symbol, sympy.Function)
        shifted = expr.xreplace({a: sympy.Dummy() + 1 for a in atoms})
        assert len(Add.make_args(sympy.expand(shifted))) <= extent(expr).terms, expr


@pytest.mark.parametrize("ref", [-1, 2, 1.0, "0", True])
def test_an_index_outside_the_table_is_refused(ref):
    with pytest.raises(CostModelError, match="2 entries"):
        unpack(["n", "h"], [ref])
