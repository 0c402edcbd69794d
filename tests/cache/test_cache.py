"""The cache of derivations: what it gives is what a fresh derivation gives, and nothing that it gives is older than its model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import pytest
from click.testing import CliRunner

import costmodel as cm
from costmodel.arguments import Asked
from costmodel.cache import circumstances, derivations, folder, sources
from costmodel.cli import main
from costmodel.fusion.registry import Policy, policy
from costmodel.fusion.registry import scoped as policy_scoped
from costmodel.pricing.kept import kept, restored
from costmodel.program.kept import kept_data, kept_from
from costmodel.rules import Eqn, scoped, vector

MODULE = '''
import jax.numpy as jnp
from cached_helper import WIDTH

def single(x):
    """Another program where there is one example."""
    y = x.reshape(-1, 8) if x.shape[0] == 1 else x @ jnp.ones((8, WIDTH))
    return jnp.tanh(y)

def layers(x, twice=False):
    y = jnp.tanh(x) @ jnp.ones((8, WIDTH))
    return jnp.exp(y) if twice else y
'''
CALL = ("cached_model:single", "--input", "u,8")
LAYERS = ("cached_model:layers", "--input", "u,8")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of its own, and a model with a helper in the working directory."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("COSTMODEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("costmodel.cache.sources._imported", {})
    for name, module in list(sys.modules.items()):  # what other tests of this process wrote and imported, which is not believed
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and os.path.isfile(file) and os.stat(file).st_mtime_ns > sources._STARTED:
            monkeypatch.delitem(sys.modules, name)
    (tmp_path / "cached_model.py").write_text(MODULE)
    (tmp_path / "cached_helper.py").write_text("WIDTH = 4\n")
    monkeypatch.chdir(tmp_path)
    yield
    forget()


def forget() -> None:
    """The modules are imported anew, as in another process."""
    for name in ("cached_model", "cached_helper", "cached_other"):
        sys.modules.pop(name, None)


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every derivation and with every concrete trace."""
    found: list[str] = []
    derive, trace = Asked._derive, cm.Cost._concrete

    def noted(asked: Asked, train: str | None) -> derivations.Derived:
        found.append("derived")
        return derive(asked, train)

    def traced(cost: cm.Cost, env: object) -> object:
        found.append("traced")
        return trace(cost, env)  # type: ignore[arg-type]

    monkeypatch.setattr(Asked, "_derive", noted)
    monkeypatch.setattr(cm.Cost, "_concrete", traced)
    return found


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 0, result.output
    forget()
    return result.output


def files() -> list[Path]:
    return [path for path, _ in folder.kept()]


COMMANDS: list[tuple[str, ...]] = [
    ("show", *CALL), ("show", *CALL, "--at", "u=1"), ("show", *CALL, "--at", "u=1", "--json"), ("show", *CALL, "--by", "op"),
    ("show", *CALL, "--json"), ("explain", *CALL, ""), ("roofline", *CALL, "--hw", "lecture", "--at", "u=64"),
    ("roofline", *CALL, "--hw", "lecture", "--at", "u=1..64"), ("energy", *CALL, "--hw", "horowitz-45nm", "--at", "u=3"),
    ("solve", *CALL, "--over", "u", "--fit", "1MB"), ("solve", *CALL, "--over", "u", "--latency", "1ms", "--hw", "lecture"),
    ("sweep", *CALL, "--over", "u=1..64*2", "--hw", "lecture"), ("show", *CALL, "--skip-masked"),
    ("mfu", *CALL, "--hw", "lecture", "--time", "1ms", "--at", "u=2"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_second_call_says_the_same_and_traces_nothing(command, derived):
    fresh = run(*command, "--no-cache")
    assert files() == []
    first = run(*command)
    assert derived.count("derived") == 2
    before = list(derived)
    assert run(*command) == first == fresh
    assert derived == before


def test_what_was_not_traced_yet_is_traced_once(derived):
    """u = 1 is another program, and u = 2 this one: the model is imported again for the first of either."""
    run("show", *CALL, "--at", "u=2")
    assert derived == ["derived", "traced"]
    there = run("show", *CALL, "--at", "u=1")
    assert derived == ["derived", "traced", "traced"]
    assert "another program than with symbols" in there and there == run("show", *CALL, "--at", "u=1")
    assert run("show", *CALL, "--at", "u=2")
    assert derived == ["derived", "traced", "traced"]
    assert run("show", *CALL, "--at", "u=1", "--no-cache") == there


def test_what_a_command_traces_after_its_verification_is_kept(derived):
    run("sweep", *CALL, "--over", "u=1..5", "--no-verify")
    first = list(derived)
    assert first.count("traced") >= 2  # more where other programs of the process asked something of u
    run("sweep", *CALL, "--over", "u=1..5", "--no-verify")
    assert derived == first


# -- what makes a derivation invalid -------------------------------------------------------------------------------------------


def model_changed(patch: pytest.MonkeyPatch) -> None:
    Path("cached_model.py").write_text(MODULE.replace("jnp.tanh(x)", "jnp.exp(x)"))


def helper_changed(patch: pytest.MonkeyPatch) -> None:
    Path("cached_helper.py").write_text("WIDTH = 5\n")


def helper_replaced(patch: pytest.MonkeyPatch) -> None:
    """A package of the helper's name is imported before the file, which stays."""
    Path("cached_helper").mkdir()
    Path("cached_helper/__init__.py").write_text("WIDTH = 6\n")


def version_changed(patch: pytest.MonkeyPatch) -> None:
    known = circumstances.distributions()
    patch.setattr(circumstances, "distributions", lambda: [name.replace("flax-", "flax-9") for name in known])


def python_changed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys, "version", "3.99.0")


def environment_changed(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to=/nowhere")


def jax_variable_set(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("JAX_RANDOM_SEED_OFFSET", "7")


def path_changed(patch: pytest.MonkeyPatch) -> None:
    patch.syspath_prepend(os.path.abspath("elsewhere"))


CHANGES: list[Callable[[pytest.MonkeyPatch], None]] = [
    model_changed, helper_changed, helper_replaced, version_changed, python_changed, environment_changed, jax_variable_set,
    path_changed,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_derives_anew(change, derived, monkeypatch):
    run("show", *LAYERS)
    run("show", *LAYERS)
    assert derived.count("derived") == 1
    change(monkeypatch)
    after = run("show", *LAYERS)
    assert derived.count("derived") == 2
    assert after == run("show", *LAYERS, "--no-cache")


def test_a_change_of_the_model_changes_the_answer(monkeypatch):
    assert "32·u MAC" in run("show", *LAYERS)
    helper_changed(monkeypatch)
    assert "40·u MAC" in run("show", *LAYERS)
    helper_replaced(monkeypatch)
    assert "48·u MAC" in run("show", *LAYERS)


def test_a_file_found_first_derives_anew(derived, monkeypatch):
    Path("first").mkdir()
    monkeypatch.setenv("COSTMODEL_MODELS", os.path.abspath("first"))
    Path("cached_helper.py").rename("first/cached_helper.py")
    assert "32·u MAC" in run("show", *LAYERS)
    Path("cached_helper.py").write_text("WIDTH = 7\n")
    assert "56·u MAC" in run("show", *LAYERS) and derived.count("derived") == 2


@pytest.mark.parametrize("option", [("--kw", "twice=true"), ("--where", "2 | u"), ("--input", "u,8:bfloat16"),
                                    ("--by-fit", "always")], ids=" ".join)
def test_another_option_is_another_derivation(option, derived):
    run("show", *LAYERS)
    call = LAYERS[:1] if option[0] == "--input" else LAYERS
    assert run("show", *call, *option) == run("show", *call, *option, "--no-cache")
    assert derived.count("derived") == 3


def test_a_rule_of_the_user_derives_anew(derived):
    def halves(eqn: Eqn, **_: object) -> object:
        return eqn.work(vector("mine", "float32", eqn.out.size))

    def doubles(eqn: Eqn, **_: object) -> object:
        return eqn.work(vector("mine", "float32", 2*eqn.out.size))

    run("show", *LAYERS)
    for number, function in enumerate((halves, doubles), start=2):
        with scoped({"tanh": function}):
            text = run("explain", *LAYERS, "")
            assert derived.count("derived") == number and "mine" in text
            assert run("explain", *LAYERS, "") == text and derived.count("derived") == number
    run("show", *LAYERS)
    assert derived.count("derived") == 3


def test_a_rule_that_cannot_be_compared_keeps_nothing(derived):
    times = 3

    def closure(eqn: Eqn, **_: object) -> object:
        return eqn.work(vector("mine", "float32", times*eqn.out.size))

    with scoped({"tanh": closure}):
        run("show", *LAYERS)
        run("show", *LAYERS)
    assert derived.count("derived") == 2 and files() == []


def test_a_policy_of_the_user_derives_anew(derived):
    """Which kernels it makes was compared too."""
    def mine(table: object) -> object:
        return policy("unfused").kernels(table)  # type: ignore[arg-type]

    run("show", *LAYERS)
    with policy_scoped(Policy(name="mine", summary="", kernels=mine)):  # type: ignore[arg-type]
        run("show", *LAYERS)
    assert derived.count("derived") == 2


def test_a_setting_of_jax_derives_anew(derived):
    run("show", *LAYERS)
    with jax.enable_x64(True):
        run("show", *LAYERS)
        run("show", *LAYERS)
    assert derived.count("derived") == 2
    run("show", *LAYERS)
    assert derived.count("derived") == 2


def test_a_file_that_was_changed_after_its_import_is_not_kept(derived):
    """What was traced is not what the file says."""
    CliRunner().invoke(main, ["show", *LAYERS])
    Path("cached_model.py").write_text(MODULE.replace("jnp.tanh(x)", "jnp.exp(x)"))
    assert CliRunner().invoke(main, ["show", *LAYERS]).exit_code == 0  # imported as it was
    forget()
    assert run("show", *LAYERS) == run("show", *LAYERS, "--no-cache")
    assert derived.count("derived") == 4


# -- what is on the disk is not trusted ----------------------------------------------------------------------------------------


def cut(text: str) -> str:
    return text[:len(text)//2]


def other_format(text: str) -> str:
    return text.replace(derivations.FORMAT, "costmodel-derivation-0")


def other_request(text: str) -> str:
    return text.replace('"keywords":[]', '"keywords":["twice=true"]')


def wrong_reference(text: str) -> str:
    data = json.loads(text)
    data["kept"]["cost"]["program"]["equations"][0][3] = 10**6
    return json.dumps(data)


def negative_count(text: str) -> str:
    data = json.loads(text)
    data["kept"]["cost"]["expressions"] = [["mul", -3, "u"] if e == "u" else e for e in data["kept"]["cost"]["expressions"]]
    return json.dumps(data)


def no_regions(text: str) -> str:
    data = json.loads(text)
    del data["kept"]["cost"]["regions"]["counted"]
    return json.dumps(data)


def point_of_text(text: str) -> str:
    data = json.loads(text)
    data["kept"]["cost"]["regions"]["points"] = [{"u": "2"}]
    return json.dumps(data)


def twice_in_one_object(text: str) -> str:
    return text.replace('"format"', '"at":{},"format"', 1)


def large(text: str) -> str:
    return text + " " * derivations.MAX_TEXT


DAMAGES: list[Callable[[str], str]] = [
    cut, other_format, other_request, wrong_reference, negative_count, no_regions, point_of_text, twice_in_one_object, large,
    lambda text: "", lambda text: "[]", lambda text: "null", lambda text: '{"format": {}}', lambda text: "[" * 10**5,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_derived_anew(damage, derived):
    first = run("show", *LAYERS)
    (file,) = files()
    text = file.read_text()
    assert damage(text) != text
    file.write_text(damage(text))
    assert run("show", *LAYERS) == first and derived.count("derived") == 2
    assert run("show", *LAYERS) == first and derived.count("derived") == 2  # and written anew


def test_no_byte_of_a_file_is_trusted(derived):
    """A file of bytes that are no text."""
    first = run("show", *LAYERS)
    files()[0].write_bytes(b"\xff\xfe\x00")
    assert run("show", *LAYERS) == first and derived.count("derived") == 2


@pytest.mark.skipif(not hasattr(os, "chown") or os.getuid() != 0, reason="only root gives files away")
def test_a_file_of_somebody_else_is_derived_anew(derived):
    run("show", *LAYERS)
    os.chown(files()[0], 12345, -1)
    run("show", *LAYERS)
    assert derived.count("derived") == 2


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COSTMODEL_CACHE", str(tmp_path / "file"))
    result = CliRunner().invoke(main, ["show", *LAYERS])
    assert result.exit_code == 0 and "32·u MAC" in result.stdout
    assert result.stderr.count("\n") == 1 and "COSTMODEL_CACHE" in result.stderr and "--no-cache" in result.stderr


# -- the folder ----------------------------------------------------------------------------------------------------------------


def test_info_and_clear(tmp_path):
    assert "0 derivations, 0 B" in run("cache", "info")
    run("show", *LAYERS)
    (tmp_path / "cache" / "notes.txt").write_text("mine")
    told = run("cache", "info")
    assert str(tmp_path / "cache") in told and "1 derivation," in told and "256" in told
    assert "1 derivation removed" in run("cache", "clear") and files() == []
    assert (tmp_path / "cache" / "notes.txt").read_text() == "mine"
    assert "Usage" in run("cache")


def test_the_folder_does_not_grow_beyond_its_bound(monkeypatch):
    monkeypatch.setattr(folder, "MOST_FILES", 2)
    for divisor in (2, 3, 5):
        run("show", *LAYERS, "--where", f"{divisor} | u", "--no-verify")
    assert len(files()) == 2


def test_where_the_folder_is(tmp_path, monkeypatch):
    assert folder.folder() == tmp_path / "cache"
    monkeypatch.delenv("COSTMODEL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert folder.folder() == tmp_path / "xdg" / "costmodel"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the standard says to ignore
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder.folder() == tmp_path / ".cache" / "costmodel"


# -- neither jax nor flax ------------------------------------------------------------------------------------------------------

# The first call is of a child: what it imports, its parent does not.
SCRIPT = """
import os, sys
from costmodel.cli import main

def call(*arguments):
    try:
        main(list(arguments))
    except SystemExit as end:
        assert not end.code, end.code

commands = (["show"], ["roofline", "--hw", "lecture", "--at", "u=64"], ["solve", "--over", "u", "--fit", "1MB"],
            ["sweep", "--over", "u=2..64*2", "--hw", "lecture"])  # u = 8 is a boundary, which the first sweep traces
for command in commands:
    if os.fork() == 0:
        call(*command[:1], *sys.argv[1:], *command[1:])
        sys.stdout.flush()
        os._exit(0)
    assert os.wait()[1] == 0
for command in commands:
    call(*command[:1], *sys.argv[1:], *command[1:])
heavy = {"jax", "jaxlib", "flax", "optax", "zoo"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a child that is the same process needs fork")
def test_a_second_call_imports_neither_jax_nor_flax():
    done = subprocess.run([sys.executable, "-c", SCRIPT, *LAYERS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("verified against a concrete trace at u=") == 8


# -- what is kept --------------------------------------------------------------------------------------------------------------


def test_a_kept_cost_is_the_cost(cost_of):
    """Of every headline and peak, at points of the main program and of the one at n = 1, without a trace."""
    cost = cost_of("mlp")
    points = [{"n": n, "d": 784, "a": 300, "b": 100, "c": 10} for n in (1, 7)]
    wanted = [[cost.at(**point).headline(), cost.at(**point).live_peak()] for point in points]
    found = kept(cost)
    assert found is not None
    data = json.loads(json.dumps(kept_data(found)))
    assert kept_data(kept_from(data)) == data

    def never() -> object:
        raise AssertionError("the model is asked for")

    again = restored(cm.Cost, kept_from(data), never)
    assert again.headline() == cost.headline()
    assert [[again.at(**point).headline(), again.at(**point).live_peak()] for point in points] == wanted
    assert again.compared.boundaries == cost.compared.boundaries and again.compared.same == cost.compared.same


@pytest.mark.slow
def test_every_model_of_the_zoo_is_kept_or_fitted(entry):
    cost = entry.analyze()
    cost.at(**entry.at)
    found = kept(cost)
    if found is None:
        assert cost.fitted is not None
        return
    text = json.dumps(kept_data(found))
    assert len(text) < derivations.MAX_TEXT
    again = restored(cm.Cost, kept_from(json.loads(text)), lambda: entry.request())
    assert again.at(**entry.at).headline() == cost.at(**entry.at).headline()
    assert again.known.elsewhere.keys() == cost.known.elsewhere.keys()
