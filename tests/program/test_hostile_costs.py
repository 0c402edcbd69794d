"""A cost file that means harm gets an answer or a line, within seconds and megabytes."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from hostile import ODD, answered, mutated, touched, with_texts
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

import costmodel as cm


def _tower(base: Any, exponent: int, times: int) -> list[Any]:
    tree = ["pow", base, exponent]
    for _ in range(times):
        tree = ["pow", tree, exponent]
    return tree


EXPRESSIONS: list[Any] = [
    ["pow", 9, 387420489], ["pow", ["add", "n_", 1], 3000], _tower("n_", 16, 30), _tower(3, -16, 30),
    ["pow", ["add", "n_", "h_", 1], 16],
    ["mul", *[["add", "n_", i] for i in range(200)]], ["add", *[["mul", i, "n_"] for i in range(2000)]],
    ["tap_count", "n_", 10**9, 3, 1, 10**9 - 1, 0, 0, 1], ["tap_count", 10**15, "n_", "n_", 2, "n_", 5, 5, 0],
    ["tap_count", "n_", 3, ["add", "n_", -4], 1, 1, 0, 0, 1], ["floor_div", 7, ["add", "n_", -4]],
    ["ceil_div", "n_", ["add", "n_", -12]],
    ["pow", ["add", "n_", -4], -1], ["peak_max", *[["mul", i, ["pow", "n_", 2]] for i in range(64)]], ["peak_max", *["n_"] * 70],
    ["ceil_log2", ["add", "n_", -20]], ["mul", -1, "n_"], ["add", 3, ["mul", -1, "n_"]], ["int", "9" * 300], ["rational", 1, 3],
    ["add", ["mul", ["pow", "n_", 16], ["pow", "h_", 16]], ["pow", "n_", 15]],
    ["floor_div", ["floor_div", ["floor_div", ["pow", ["add", "n_", 1], 12], 3], 5], ["add", "n_", 1]],
]


def _programs() -> list[Any]:
    n, h = cm.dims("n h", where="h >= 3, 2 | n")
    m, d, k = cm.dims("m d k", where="k | d, m <= 512")

    def conv(x, w):
        return jax.nn.relu(jax.lax.conv_general_dilated(x, w, (2,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"))).sum()

    def scanned(x, w):
        return jax.lax.scan(lambda c, row: (jnp.tanh(c @ w), row.sum()), x, jnp.ones((5, 3)))

    def branching(x):
        return jax.lax.cond(x.sum() > 0, lambda y: jnp.exp(y).sum(), lambda y: (y * y).sum(), x)

    costs = [cm.analyze(conv, (n, h, 4), (3, 4, 8), params=1), cm.analyze(scanned, (n, 8), (8, 8), params=1),
             cm.analyze(branching, (n, h)), cm.analyze(lambda x, w: jax.nn.softmax(x @ w), (m, d), (d, d)),
             cm.analyze(lambda x: x.reshape(m, k, d // k).sum(1), (m, d))]
    return [_renamed(json.loads(cost.to_json())) for cost in costs]


def _renamed(program: Any) -> Any:
    """With n_ for the program's variable of the symbol n: what the process calls it depends on what was traced before."""
    names = {v["name"]: f"{v['symbol']}_" for v in program["domain"]["variables"]}

    def renamed(tree: Any) -> Any:
        return [tree[0], *map(renamed, tree[1:])] if isinstance(tree, list) else names.get(tree, tree)

    variables = [{**v, "name": names[v["name"]]} for v in program["domain"]["variables"]]
    return {**program, "expressions": [renamed(tree) for tree in program["expressions"]],
            "domain": {**program["domain"], "variables": variables}}


@pytest.fixture(scope="module")
def programs() -> list[Any]:
    return _programs()


POINT = {"h": 14, "m": 10, "d": 24, "k": 4}  # where no program is another one


def ask(text: str) -> None:
    """What people ask of a cost that they were given."""
    cost = cm.from_json(text)
    str(cost), repr(cost)
    for by in ("module", "op"):
        str(cost.table(by=by)), cost.table(by=by).to_csv()
    str(cost.explain(""))
    assert cm.from_json(cost.to_json()).symbols == cost.symbols
    point = cost.at(**{name: POINT.get(name, 12) for name in cost.symbols})
    str(point), point.bytes("xla-cpu"), point.live_peak()
    str(point.roofline("lecture"))


def check(programs: list[Any], data: Any) -> None:
    program = programs[data.draw(st.integers(0, len(programs) - 1))]
    gently = data.draw(st.booleans())
    tree = data.draw(touched(program) if gently else mutated(program, [*ODD, *EXPRESSIONS]))
    if data.draw(st.booleans()) and isinstance(tree.get("expressions"), list):
        place = data.draw(st.integers(0, 60)) % max(1, len(tree["expressions"]))
        tree["expressions"][place:place + 1] = [data.draw(st.sampled_from(EXPRESSIONS))]
    with answered() as said:
        ask(with_texts(json.dumps(tree)))
    event(f"{said[0]}, {'touched' if gently else 'mutated'}")


@given(st.data())
@settings(max_examples=50, derandomize=True, deadline=None)
def test_a_changed_cost_file_is_answered(programs, data):
    check(programs, data)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.explain})
def test_many_changed_cost_files_are_answered(programs, data):
    check(programs, data)


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda e: str(e)[:30])
def test_every_hostile_expression_is_answered_in_each_place(programs, expression):
    """In place of the program's first dimension, and of its last expression."""
    for place in (1, -1):
        tree = json.loads(json.dumps(programs[0]))
        tree["expressions"][place] = expression
        with answered():
            ask(json.dumps(tree))


def test_a_divisor_of_many_digits_is_answered_in_time(programs):
    """Factoring a sum with it took 17 s."""
    tree = json.loads(json.dumps(programs[0]))
    two = tree["expressions"].index(2)
    tree["expressions"][two] = ["int", "9" * 300]  # the convolution's stride, and what divides n
    tree["domain"]["variables"][1]["divisor"] = two
    tree["program"]["equations"][0][3] = 1  # how often it runs: a sum
    with answered():
        ask(json.dumps(tree))


def test_a_sound_file_is_read_and_asked(programs):
    for tree in programs:
        ask(json.dumps(tree))


def _changed(programs: list[Any], change: Any, which: int = 0) -> str:
    tree = json.loads(json.dumps(programs[which]))
    change(tree)
    return json.dumps(tree)


def _made_twice(tree: Any) -> None:
    tree["program"]["equations"].append(tree["program"]["equations"][-1])


def _made_late(tree: Any) -> None:
    tree["program"]["equations"].reverse()


def _shape(tree: Any, dimension: Any, rank: int) -> None:
    tree["expressions"].append(dimension)
    tree["arrays"][0][0] = [len(tree["expressions"]) - 1] * rank


def _count(tree: Any, count: Any) -> None:
    tree["expressions"].append(count)
    equation = next(e for e in tree["program"]["equations"] if e[6][0])
    equation[6][0][0][1] = len(tree["expressions"]) - 1


def _nested(tree: Any) -> None:
    tree["elsewhere"] = [[{}, {**tree, "elsewhere": [[{}, dict(tree)]]}]]


def _parameters(tree: Any, family: str, *values: Any) -> None:
    equation = next(e for e in tree["program"]["equations"] if e[12] and e[12][0] == family)
    equation[12][1:len(values) + 1] = values


WRONG: dict[str, tuple[Any, ...]] = {
    "a variable twice": (lambda t: t["domain"]["variables"].append(t["domain"]["variables"][0]), "is there 2 times"),
    "a symbol twice": (lambda t: [v.update(symbol="n") for v in t["domain"]["variables"]], "the symbol n is there 2 times"),
    "a symbol that is no name": (lambda t: t["domain"]["variables"][0].update(symbol="n + 1"), "is not a name"),
    "made twice": (_made_twice, "makes a value that is an input or was made before"),
    "made late": (_made_late, "makes a value that was used before"),
    "a negative count": (lambda t: _count(t, ["mul", -1, "h_"]), "a count is -"),
    "negative at a point": (lambda t: _count(t, ["add", 5, ["mul", -1, "h_"]]), "a count is -5 at"),
    "a negative dimension": (lambda t: _shape(t, ["add", -1, ["mul", -1, "h_"]], 1), "a count is -"),
    "many dead": (lambda t: t["program"].update(dead=[["add", -1]]), "the count -1 is negative"),
    "a shape that would be expanded": (lambda t: _shape(t, ["add", "h_", 1], 40), "terms, if expanded"),
    "a rank of a hundred": (lambda t: _shape(t, 1, 100), "an array of rank 100; the bound is 64"),
    "a size of a high degree": (lambda t: _shape(t, ["mul", ["pow", "h_", 16], ["pow", "n_", 16]], 1), "are 1000 and 768"),
    "a value of many bits": (lambda t: _shape(t, ["int", "9" * 300], 40), "bits where every symbol has 64"),
    "no value in the domain": (lambda t: t["domain"]["variables"][0].update(lower=9, upper=4), "at least 9 and at most 4"),
    "sides of two and of three": (lambda t: t["program"]["equations"][-2][13][0].__setitem__(2, 3), "cond 0 has 2 sides, and 3", 2),
    "a product over an axis twice": (lambda t: _parameters(t, "Contraction", [[1, 1], [0, 1]]),
                                     "does not fit operands of rank 2, 2", 3),
    "a filter of the batch": (lambda t: _parameters(t, "Convolution", [0, 0, 1]), "does not fit operands of rank 3, 3"),
    "a sum over an axis twice": (lambda t: _parameters(t, "Reduction", [0, 0]), "does not fit operands of rank"),
    "elsewhere of elsewhere": (_nested, "has no others"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_program_is_refused_by_one_line(programs, kind):
    change, message, *which = WRONG[kind]
    with pytest.raises(cm.CostModelError) as caught:
        cm.from_json(_changed(programs, change, *which))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [
    ('{"format": 1, "format": 2}', "the key 'format' is there twice"),
    ('{"format": NaN}', "NaN is no number"),
    ("[-Infinity]", "-Infinity is no number"),
    (f"[{'9' * 4400}]", "a number of 4400 digits; the bound is 302"),
    ("[" * 200_000, "not JSON"),
    (" " * 2_500_001, "a text of 2500001 characters is more than 2500000"),
], ids=range(6))
def test_what_json_allows_and_we_do_not(text, message):
    with pytest.raises(cm.CostModelError) as caught:
        cm.from_json(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_divisor_that_is_zero_at_a_point_is_one_line(programs):
    cost = cm.from_json(_changed(programs, lambda t: _count(t, ["floor_div", "h_", ["pow", ["add", "h_", -12], 2]])))
    with pytest.raises(cm.DomainError, match=r"divides by zero at .*h_=12") as caught:
        str(cost.at(n=4, h=12))
    assert "\n" not in str(caught.value)


def test_a_longer_file_is_read_where_it_is_trusted():
    n = cm.dims("n")
    text = cm.analyze(lambda x: x * 2, cm.spec((n, 3))).to_json()
    padded = text + " " * 2_500_000
    with pytest.raises(cm.CostModelError, match="give limit="):
        cm.from_json(padded)
    assert cm.from_json(padded, limit=len(padded)).flops == 3 * cm.symbols("n")


@pytest.mark.slow
def test_the_longest_file_of_equations_is_read_in_time(programs):
    """Every character that is allowed, spent on the cheapest equations."""
    tree = json.loads(json.dumps(programs[2]))
    first = tree["program"]["equations"][0]
    cheap = ["add", [], "", first[3], [], [], [[], [], []], "", "", "exact", [], [], None, [], *first[14:]]
    tree["program"]["equations"] = [cheap] * 5
    text = json.dumps(tree, separators=(",", ":"))
    one = json.dumps(tree["program"]["equations"][0], separators=(",", ":"))
    many = text.replace(one, ",".join([one] * ((2_500_000 - len(text)) // (len(one) + 1))), 1)
    with answered() as said:
        cm.from_json(many)
    assert said == ["an answer"]
