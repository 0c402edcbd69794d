"""What a model is called with, and what stands for a model: pytrees as JSON, files and factories; factories of NNX models."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from costmodel.cli import main

OWN = """
import jax
import jax.numpy as jnp
from flax import nnx
import costmodel as cm

def decode(batch):
    keys = jnp.concatenate([batch["cache"][0], batch["tokens"][:, None]], 1)
    return (keys @ jnp.swapaxes(keys, 1, 2)).sum()

def made(n, s):
    return {"tokens": jnp.zeros((n, 64)), "cache": [jnp.zeros((n, s, 64)), None]}

def abstract(n, s):
    return {"tokens": cm.spec((n, 64)), "cache": [cm.spec((n, s, 64)), None]}

def fails(n):
    return jnp.zeros(int(n))

class Net(nnx.Module):
    def __init__(self, rngs, width=10):
        self.layer = nnx.Linear(3, width, rngs=rngs)
    def __call__(self, x):
        return self.layer(x)

def make():
    return Net(nnx.Rngs(0), 7)

def a_module(x):
    return Net(nnx.Rngs(0))

def nothing():
    return 3

def broken():
    raise RuntimeError("no weights here")
"""
TREE = '{"tokens": "n,64", "cache": ["n,s,64:float32", null]}'


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "call.json").write_text(TREE, encoding="utf-8")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("own", None)
    yield tmp_path
    sys.modules.pop("own", None)


def show(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["show", *arguments, "--no-verify"])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("given", [TREE, "call.json", "own:made", "own:abstract"])
def test_a_pytree_is_json_a_file_or_what_a_factory_returns(given: str) -> None:
    """n·(s + 1)²·64 products of the keys of a cache of s and one token more."""
    out = show("own:decode", "--input", given, "--at", "n=2,s=9", "--json")
    assert json.loads(out)["macs_dense"]["value"] == 2 * (9 + 1) ** 2 * 64


def test_a_file_that_changed_is_read_again(own: Path) -> None:
    before = show("own:decode", "--input", "call.json", "--at", "n=2,s=9", "--json")
    (own / "call.json").write_text(TREE.replace("64", "32"), encoding="utf-8")
    after = show("own:decode", "--input", "call.json", "--at", "n=2,s=9", "--json")
    assert json.loads(before)["macs_dense"]["value"] == 2 * json.loads(after)["macs_dense"]["value"]


@pytest.mark.parametrize(("model", "width"), [("own:Net", 10), ("own:make", 7)])
def test_a_class_or_a_factory_of_nnx_modules_is_the_module(model: str, width: int) -> None:
    found = json.loads(show(model, "--input", "n,3", "--at", "n=5", "--json"))
    assert found["params"]["value"] == 3 * width + width and found["macs_dense"]["value"] == 5 * 3 * width


@pytest.mark.parametrize(("typed", "words"), [
    (("own:decode", "--input", "[1, 2]"), "shapes as text"), (("own:decode", "--input", "{"), "is no JSON"),
    (("own:decode", "--input", "[]"), "has no array"), (("own:decode", "--input", '{"a": "n", "a": "n"}'), "twice"),
    (("own:decode", "--input", '["n,,3"]'), "neither an integer nor"), (("own:decode", "--input", "none.json"), "cannot read"),
    (("own:decode", "--input", "bad.json"), "is no JSON"), (("own:decode", "--input", "own:fails"), "fails with symbols for n"),
    (("own:decode", "--input", "own:mde"), "did you mean made"), (("own:decode", "--input", "own:OWN"), "has no attribute"),
    (("own:a_module", "--input", "n"), "a function without parameters that returns it"),
    (("own:nothing", "--input", "n"), "which is no model"),
    (("own:broken", "--input", "n"), "RuntimeError: no weights here"),
])
def test_what_is_none_is_told_in_one_line(typed: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(main, ["show", *typed])
    (line,) = result.stderr.splitlines()
    assert result.exit_code == 2 and result.stdout == "" and words in line
