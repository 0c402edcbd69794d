"""A cost as JSON: the round trip is the identity, and nothing but a sound file is read."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import costmodel as cm

METRICS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ("params", "buffers", "model_size", "flops", "ops", "transcendentals")),
    *(("macs", {"taps": taps}) for taps in ("dense", "valid")),
    *(("bytes", {"form": form}) for form in ("compulsory", "unfused", "layer")),
    *(("activations", {"rule": rule}) for rule in ("total", "peak")),
]


def test_the_round_trip_is_the_identity(entry, cost_of):
    cost = cost_of(entry.name)
    cost.at(**entry.at)  # where n = 1: a point that is to be read from a file has been verified before
    text = cost.to_json()
    again = cm.from_json(text)
    assert again.to_json() == text
    assert again.domain == cost.domain
    for name, options in METRICS:
        assert again.metric(name, **options) == cost.metric(name, **options), (name, options)
    here, there = cost.at(**entry.at), again.at(**entry.at)
    for name, options in METRICS:
        assert there.metric(name, **options) == here.metric(name, **options), (name, options)
    assert str(again.coverage) == str(cost.coverage)


@pytest.mark.parametrize("name", ["conv2d_strided", "mlp", "mobilenet_v2_nnx"])
def test_tables_and_explanations_survive(name, cost_of):
    cost = cost_of(name)
    again = cm.from_json(cost.to_json(indent=1))
    for by in ("module", "layer", "op"):
        assert again.table(by=by) == cost.table(by=by)
    assert str(again.explain("")) == str(cost.explain(""))


def test_what_is_read_is_data_and_never_run(tmp_path):
    """The text that sympify would run stays a name, and is refused as one."""
    n = cm.dims("n")
    marker = tmp_path / "executed"
    data = json.loads(cm.analyze(lambda x: x + 1.0, (n,)).to_json())
    data["expressions"] = [f"__import__('pathlib').Path({str(marker)!r}).touch()" for _ in data["expressions"]]
    with pytest.raises(cm.CostModelError):
        cm.from_json(json.dumps(data))
    assert not marker.exists()


def test_a_point_not_verified_before_saving_is_refused_with_the_way_out():
    n = cm.dims("n")
    saved = cm.analyze(lambda x: x + 1.0, (n, 3)).to_json()
    with pytest.raises(cm.DomainError, match="n=1"):
        cm.from_json(saved).at(n=1)
    assert cm.from_json(saved).at(n=2).flops == 6
    with pytest.raises(cm.CostModelError, match="verify"):
        cm.from_json(saved).verify(n=2)


# -- damaged files -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound() -> str:
    n, h = cm.dims("n h", where="h >= 3, 2 | n")
    return cm.analyze(lambda x, w: jax_conv(x, w), (n, h, 4), (3, 4, 8), params=1).to_json()


def jax_conv(x, w):
    from jax import lax

    return lax.conv_general_dilated(x, w, (2,), "VALID", dimension_numbers=("NHC", "HIO", "NHC")) * 2.0


def damage(text: str, path: tuple[Any, ...], value: Any) -> str:
    """The file with the node at ``path`` replaced."""
    data = json.loads(text)
    node = data
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return json.dumps(data)


DAMAGES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "unknown format": (("format",), "costmodel-cost-0"),
    "program is a list": (("program",), []),
    "equation index out of range": (("program", "inputs"), [999]),
    "negative index": (("program", "inputs"), [-1]),
    "index is text": (("program", "inputs"), ["0"]),
    "expression of an unknown head": (("expressions", 0), ["sqrt", "n"]),
    "expression is code": (("expressions", 0), "print(1)"),
    "expression is a fraction": (("expressions", 0), 0.5),
    "expression is null": (("expressions", 0), None),
    "unknown dtype": (("arrays", 0, 1), "float33"),
    "dtype is a number": (("arrays", 0, 1), 32),
    "array shape is a number": (("arrays", 0, 0), 5),
    "value of an unknown origin": (("values", 0, 1), "nowhere"),
    "kind of an unknown engine": (("kinds", 0, 1), "quantum"),
    "kind of an unknown dtype": (("kinds", 0, 2), "float33"),
    "equation is short": (("program", "equations", 0), ["add"]),
    "equation without work": (("program", "equations", 0, 6), []),
    "module path is a number": (("program", "equations", 0, 1), 5),
    "unknown status": (("program", "equations", 0, 9), "perhaps"),
    "dead is a number": (("program", "dead"), 3),
    "variable without a divisor": (("domain", "variables", 0), {"name": "n", "symbol": "n"}),
    "lower bound is text": (("domain", "variables", 0, "lower"), "one"),
    "variables is null": (("domain", "variables"), None),
    "a symbol without a variable": (("domain", "variables"), []),
    "regions are a number": (("regions",), 1),
    "name is null": (("name",), None),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_an_error_in_one_line(kind, sound):
    with pytest.raises(cm.CostModelError) as raised:
        cm.from_json(damage(sound, *DAMAGES[kind]))
    assert "\n" not in str(raised.value)


NO_COSTS = ["", "{", "null", "[]", "3", '"cost"', "{}", '{"format": "costmodel-cost-2"}', "[" * 100_000, "NaN"]


@pytest.mark.parametrize("text", NO_COSTS, ids=range(len(NO_COSTS)))
def test_what_is_no_cost_is_an_error_in_one_line(text):
    with pytest.raises(cm.CostModelError) as raised:
        cm.from_json(text)
    assert "\n" not in str(raised.value)


def test_a_cut_file_is_an_error(sound):
    draw = random.Random(1)
    for _ in range(50):
        with pytest.raises(cm.CostModelError):
            cm.from_json(sound[:draw.randrange(len(sound))])


def nodes(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every node of a JSON tree below its root."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [found for key, child in children for found in ((*path, key), *nodes(child, (*path, key)))]


@given(st.data())
@settings(max_examples=80, derandomize=True, deadline=None)
def test_any_single_fault_is_refused_or_harmless(data):
    """Whatever one node is replaced by, reading and pricing raise nothing but CostModelError."""
    n = cm.dims("n")
    text = cm.analyze(lambda x: (x * 2.0).sum(), (n, 4)).to_json()
    path = data.draw(st.sampled_from(nodes(json.loads(text))))
    value = data.draw(st.one_of(st.none(), st.integers(-3, 3), st.just(10**30), st.text(max_size=3), st.just([]), st.just({}),
                                st.just(0.5), st.booleans(), st.just(["add", 1, "n"])))
    try:
        cost = cm.from_json(damage(text, path, value))
        str(cost)
        for by in ("module", "layer", "op"):
            cost.table(by=by)
        str(cost.at(**dict.fromkeys(cost.symbols, 4)))
    except cm.CostModelError as error:
        assert "\n" not in str(error)
