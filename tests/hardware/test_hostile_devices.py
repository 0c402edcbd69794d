"""A device file that means harm gets an answer or a line, within seconds and megabytes."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hostile import ODD, answered, mutated, touched
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

import costmodel as cm
from costmodel.hardware import Hardware, HardwareFileError, check, load, read, write

from .toy import GOOD, MEASURED

RAW = {"@deep@": "[" * 3000 + "]" * 3000, "@digits@": "9" * 5000, "@hex@": "0x" + "f" * 50_000,
       "@dots@": ".".join(["a"] * 5000) + " = 1",
       "@quoted@": ".".join(['"a,"'] * 5000) + " = 1", "@tables@": "{a=" * 2000 + "1" + "}" * 2000,
       "@nan@": "nan", "@date@": "2020-01-01",
       "@raw@": '"\x1b[31m"', "@many@": "[" + "1, " * 100_000 + "]"}


def toml(value: Any) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(str(key), ensure_ascii=True)} = {toml(v)}" for key, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return RAW.get(value, json.dumps(value))
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    return {None: '"?"', True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else _digits(value)


def _digits(value: int) -> str:
    return hex(value) if value > 10**4000 else str(value)


def text_of(tree: dict[str, Any]) -> str:
    return "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in tree.items())


@pytest.fixture(scope="module")
def cost() -> cm.Cost:
    return cm.analyze(lambda x, w: x @ w, (cm.dims("n"), 64), (64, 64), params=1)


def ask(path: Path, cost: cm.Cost) -> None:
    """What people ask of a device file that they were given."""
    for problem in check(path):
        assert problem.isprintable() and len(problem) < 3000
    found = read(path)
    if isinstance(found, Hardware):
        str(cost.at(n=8).roofline(found))
        write(found, path.with_name("again.toml"))
    str(cost.at(n=8).energy(found))


def changed(data: Any, path: Path, cost: cm.Cost) -> None:
    sound, gently = tomllib.loads(GOOD + MEASURED), data.draw(st.booleans())
    tree = data.draw(touched(sound) if gently else mutated(sound, [*ODD, *RAW]))
    text = text_of(tree) if isinstance(tree, dict) else toml(tree)
    if data.draw(st.integers(0, 9)) == 0:
        text = text[:data.draw(st.integers(0, len(text)))]
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with answered() as said:
        ask(path, cost)
    event(f"{said[0]}, {'touched' if gently else 'mutated'}")


@given(data=st.data())
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_device_file_is_answered(data, tmp_path, cost):
    changed(data, tmp_path / "toy.toml", cost)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.explain})
def test_many_changed_device_files_are_answered(data, tmp_path, cost):
    changed(data, tmp_path / "toy.toml", cost)


def test_the_sound_file_is_read_in_this_form_too(tmp_path, cost):
    path = tmp_path / "toy.toml"
    path.write_text(text_of(tomllib.loads(GOOD + MEASURED)))
    assert check(path) == ()
    ask(path, cost)


HOSTILE = {
    "a deep list": ("x = " + "[" * 100_000, "recursion"),
    "a long header": ("[" + ".".join(["a"] * 30_000) + "]", "a key of more than 30 levels"),
    "a long quoted key": (".".join(['"a,"'] * 30_000) + " = 1", "a key of more than 30 levels"),
    "a long inline key": ("x = { " + " . ".join(["a"] * 30_000) + " = 1 }", "a key of more than 30 levels"),
    "a long integer": ("year = " + "9" * 5000, "4300"),
    "a long hexadecimal": ("year = 0x" + "f" * 5000, "an integer of 20000 bits; the bound is 1000"),
    "a key that moves the cursor": ('"\\u001b[2J" = 1\n' + GOOD, r"toy.toml: \x1b[2J: unknown key"),
    "unclosed texts": ('"\\' * 200_000, "not a TOML file"),
    "many bytes": ("#" * 500_001, "more than 500000 bytes"),
    "no UTF-8": ("\udcff", "not a TOML file"),
    "many problems": (GOOD.replace("[datasheet]\n", "[datasheet]\n" + "".join(f"a{i} = 1\n" for i in range(9000))), "unknown key"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_device_file_is_refused_by_one_line(tmp_path, kind):
    text, message = HOSTILE[kind]
    path = tmp_path / "toy.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with answered(), pytest.raises(HardwareFileError) as caught:
        load(path)
    assert message in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 1500


def test_keys_of_a_few_levels_and_texts_with_many_dots_are_fine(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text(GOOD.replace('"A toy"', f'"A toy{"." * 99}"') + MEASURED)
    assert load(path).title.endswith("....")
