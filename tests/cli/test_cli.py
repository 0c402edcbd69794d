"""The command line: what it prints is what the library computes, help is cheap, and mistakes end in one line."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import costmodel as cm
from costmodel.cli import main
from costmodel.hardware import load
from costmodel.models import zoo

ROOT = Path(cm.__file__).parents[1]
MLP_AT = "n=1,d=784,a=300,b=100,c=10"
HEAVY = ("jax", "sympy", "numpy", "rich", "flax", "costmodel.cost")
USER_MODULE = '''
import flax.linen as nn
import jax.numpy as jnp

class Net(nn.Module):
    @nn.compact
    def __call__(self, x, twice=False):
        x = nn.Dense(10)(x)
        return nn.Dense(10)(x) if twice else x

class NeedsArguments(nn.Module):
    width: int

    def __call__(self, x):
        return x

def product(x, y):
    return jnp.tanh(x) @ y

def doubles_single_examples(x):
    return x * 2 if x.shape[0] == 1 else x + 0

def symbols_only(x):
    if isinstance(x.shape[0], int):
        raise ValueError("an integer")
    return x * 2

number = 3
'''


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A terminal 200 wide, no devices of the user, and a user's own module in the working directory."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "own_models.py").write_text(USER_MODULE, encoding="utf-8")
    (tmp_path / "broken_models.py").write_text("import nothing_of_that_name", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def succeed(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def process(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "costmodel", *arguments], capture_output=True, text=True, **options)


def every_command(group: click.Group = main, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, command in group.commands.items():
        found += every_command(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


# -- help ---------------------------------------------------------------------------------------------------------------------


def test_help_of_every_command_imports_click_only() -> None:
    script = f"""
import sys
from costmodel.cli import main
for path in {every_command()!r}:
    try:
        main([*path, "--help"])
    except SystemExit as end:
        assert not end.code, path
print("LOADED", [name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stdout + done.stderr


def test_devices_are_listed_without_what_formulas_and_arrays_need() -> None:
    script = f"""
import sys
from costmodel.cli import main
for form in ((), ("--csv",), ("--json",), ("--markdown",)):
    try:
        main(["hw", "list", *form])
    except SystemExit as end:
        assert not end.code, form
print("LOADED", [name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stdout[-200:] + done.stderr


def test_the_check_of_imports_can_fail() -> None:
    done = subprocess.run([sys.executable, "-c", f"import sys, numpy; print([n for n in {HEAVY!r} if n in sys.modules])"],
                          capture_output=True, text=True)
    assert done.stdout.strip() == "['numpy']"


@pytest.mark.parametrize("group", [(), ("hw",)])
def test_a_group_alone_prints_its_help(group: tuple[str, ...]) -> None:
    assert succeed(*group) == succeed(*group, "--help")


def test_version() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"costmodel {cm.__version__}")


# -- show ---------------------------------------------------------------------------------------------------------------------


def test_show_prints_closed_forms_table_coverage_and_verification() -> None:
    out = succeed("show", "mlp")
    cost = cm.model("mlp").analyze()
    assert str(cost.params).replace("*", "·") in out and str(cost.bytes("compulsory")).replace("*", "·") in out
    assert all(row.label in out for row in cost.table().rows)
    assert str(cost.coverage) in out and str(cost.domain) in out
    assert out.splitlines()[-1] == "verified against a concrete trace at n=1, d=784, a=300, b=100, c=10"


def test_show_at_a_point_prints_formulas_and_integers() -> None:
    out = succeed("show", "mlp", "--at", MLP_AT)
    assert "a·b·n + a·d·n + b·c·n = 266,200 MAC" in out
    assert "470,700" in out and "2·a·d·n + a·n " not in out  # the table's cells are numbers


def test_points_may_be_given_in_parts() -> None:
    assert succeed("show", "mlp", "--at", "n=1, d=784", "--at", "a=300,b=100,c=10") == succeed("show", "mlp", "--at", MLP_AT)


def test_json_without_a_point_is_loss_free() -> None:
    cost, back = cm.model("mlp").analyze(), cm.from_json(succeed("show", "mlp", "--json"))
    assert (back.macs, back.params, back.domain) == (cost.macs, cost.params, cost.domain)
    assert back.at(n=1, d=784, a=300, b=100, c=10).flops == 533_210  # n=1 was verified, and that is stored too


def test_json_at_a_point_has_values_and_units() -> None:
    data = json.loads(succeed("show", "linear", "--at", "n=2,c_i=3,c_o=5", "--json"))
    assert data["at"] == {"n": 2, "c_i": 3, "c_o": 5} and data["model"] == "linear"
    assert data["macs_dense"] == {"value": 30, "unit": "MAC"}
    assert data["bytes_compulsory"] == {"value": 4 * (6 + 15 + 10), "unit": "B"}


def test_what_another_program_reads_has_no_other_lines() -> None:
    result = run("show", "mlp", "--csv")
    assert result.stderr.startswith("verified") and "verified" not in result.stdout


def test_csv_rows_sum_to_the_total() -> None:
    rows = list(csv.DictReader(io.StringIO(succeed("show", "mlp", "--at", MLP_AT, "--by", "layer", "--csv"))))
    for column in list(rows[0])[3:]:
        assert sum(float(r[column]) for r in rows[:-1]) == pytest.approx(float(rows[-1][column]), abs=1e-9)


def test_latex_has_the_formulas_and_the_table() -> None:
    out = succeed("show", "gemm", "--latex")
    assert r"\begin{align*}" in out and r"\begin{tabular}" in out


def test_valid_taps_are_shown_beside_dense_ones() -> None:
    out = succeed("show", "conv2d_padded", "--taps", "valid", "--no-verify")
    assert "MACs (dense taps)" in out and "MACs (valid taps)" in out


def test_a_model_of_the_users_own() -> None:
    out = succeed("show", "own_models:Net", "--input", "n,d", "--kw", "twice=true")
    assert "10·d·n + 100·n MAC" in out and out.splitlines()[-1].startswith("verified against a concrete trace at ")
    assert "k·m·n MAC" in succeed("show", "own_models:product", "--input", "n,k", "--input", "k,m:float32")


def test_where_is_the_domain() -> None:
    assert "8 | n" in succeed("show", "own_models:Net", "--input", "n,16", "--where", "8 | n, n >= 16")
    assert "k >= 16" in succeed("show", "gemm", "--where", "k >= 16", "--no-verify")


def test_keywords_are_data_and_never_evaluated(surroundings: Path) -> None:
    result = run("show", "own_models:Net", "--input", "n,16", "--kw", "twice=open('made','w')")
    assert result.exit_code == 0 and "260·n MAC" in result.stdout  # a text, which is true
    assert not (surroundings / "made").exists()


def test_a_wrong_closed_form_is_never_printed() -> None:
    result = run("show", "own_models:doubles_single_examples", "--input", "n,3", "--at", "n=1")
    assert result.exit_code == 0 and "another program than with symbols at n=1" in result.stdout + result.stderr
    alone = run("show", "own_models:doubles_single_examples", "--input", "1,3")
    total = next(line for line in alone.stdout.splitlines() if line.strip().startswith("total")).split()
    assert next(line for line in result.stdout.splitlines() if line.strip().startswith("total")).split() == total


def test_what_could_not_be_verified_says_so() -> None:
    assert "NOT verified" in succeed("show", "own_models:symbols_only", "--input", "n,3")
    assert "verif" not in succeed("show", "own_models:symbols_only", "--input", "n,3", "--no-verify")
    assert "traced with integers only" in succeed("show", "own_models:product", "--input", "2,3", "--input", "3,4")


# -- the other commands -------------------------------------------------------------------------------------------------------


def test_explain_gives_rule_formula_and_number() -> None:
    out = succeed("explain", "mlp", "linear1", "--at", MLP_AT)
    assert "rule dot_general" in out and "a*d*n = 235,200" in out
    assert "linear2" not in out and "tanh" in succeed("explain", "own_models:product", "--input", "n,k", "--input", "k,m")


def test_roofline_for_each_device_at_the_quoted_point() -> None:
    out = succeed("roofline", "mlp", "--hw", "h100-sxm, tpu-v5e", "--dtype", "bfloat16")
    assert load("h100-sxm").title in out and load("tpu-v5e").title in out
    assert "n=1, d=784, a=300, b=100, c=10" in out and "mlp in bfloat16" in out


def test_roofline_at_a_point_and_a_policy() -> None:
    out = succeed("roofline", "gemm", "--hw", "lecture", "--at", "m=64,n=64,k=64", "--policy", "unfused")
    assert "'unfused'" in out and "m=64, n=64, k=64" in out


def test_check_measures_and_saves(tmp_path: Path) -> None:
    saved = tmp_path / "checks.jsonl"
    for _ in range(2):
        out = succeed("check", "linear", "--at", "n=2,c_i=8,c_o=8", "--hw", "h100-sxm", "--repeat", "3", "--save", str(saved))
    assert "measured       median" in out and "lower" in out and "ran on" in out
    records = [json.loads(line) for line in saved.read_text().splitlines()]
    assert [len(record["samples"]) for record in records] == [3, 3]


def test_list_has_every_model_with_its_published_figures() -> None:
    lines = succeed("list").splitlines()[1:]
    for line, entry in zip(lines, zoo().values(), strict=True):
        assert line.split()[0] == entry.name and line.split()[-1] == str(len(entry.published)) and entry.inputs[0] in line


def test_devices_are_listed_and_shown_with_their_sources() -> None:
    listed, device = succeed("hw", "list"), load("h100-sxm")
    assert all(name in listed for name in ("h100-sxm", "tpu-v5e", "lecture"))
    out = succeed("hw", "show", "h100-sxm")
    assert device.title in out and "tf32" in out
    assert all(quantity.source in out for quantity in (*device.peaks.values(), device.bandwidth))


def test_this_machine_is_measured_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def measured(seconds: float):
        asked.append(seconds)
        return dataclasses.replace(load("lecture"), name="local")

    monkeypatch.setattr("costmodel.hardware.measure.measure", measured)
    out = succeed("hw", "measure", "--seconds", "2")
    written = tmp_path / "config" / "costmodel" / "hardware" / "local.toml"
    assert asked == [2.0] and str(written) in out and load("local").name == "local"
    succeed("hw", "measure", "--output", str(tmp_path / "other.toml"))
    assert load(tmp_path / "other.toml") == load("local")
    failed = run("hw", "measure", "--output", str(tmp_path))
    assert failed.exit_code == 2 and "--output" in one_line(failed)


# -- mistakes -----------------------------------------------------------------------------------------------------------------


def one_line(result: Result) -> str:
    assert "Traceback" not in result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("costmodel: ")
    return line


NET = ("own_models:Net", "--input", "n,d")
MISTAKES = {
    "no such command": (("shwo",), "costmodel --help"),
    "no such option": (("show", "mlp", "--depht", "1"), "--depth"),
    "no model": (("show",), "show --help"),
    "an option before the command": (("--depth", "1"), "costmodel --help"),
    "depth is no integer": (("show", "mlp", "--depth", "one"), "show --help"),
    "unknown model": (("show", "resnet5"), "did you mean resnet50"),
    "module that does not exist": (("show", "no_models:Net", "--input", "n,d"), "run from the folder that holds it"),
    "module that does not import": (("show", "broken_models:Net", "--input", "n,d"), "nothing_of_that_name"),
    "attribute missing": (("show", "own_models:Nett", "--input", "n,d"), "did you mean Net"),
    "class that needs arguments": (("show", "own_models:NeedsArguments", "--input", "n,d"), "give an instance"),
    "not a model": (("show", "own_models:number", "--input", "n"), "neither a Flax module nor a function"),
    "model without inputs": (("show", "own_models:Net"), "--input 'n,h,w,3:float32'"),
    "input malformed": (("show", "own_models:Net", "--input", "n,h.5"), "'n,h,w,3:float32'"),
    "input of no dtype": (("show", "own_models:Net", "--input", "n,d:float33"), "bfloat16"),
    "input named by a keyword": (("show", "own_models:Net", "--input", "n,for"), "use letters"),
    "model that does not trace": (("show", "own_models:product", "--input", "n,k", "--input", "j,m"), "check --input"),
    "unknown keyword argument": (("show", *NET, "--kw", "thrice=true"), "check --input, --where, --kw, --rng and --mutable"),
    "keyword malformed": (("show", *NET, "--kw", "twice"), "--kw train=false"),
    "where malformed": (("show", *NET, "--where", "n <> 3"), "'a >= b'"),
    "where about nothing": (("show", *NET, "--where", "3 | q"), "does not declare"),
    "at malformed": (("show", "mlp", "--at", "n=1,h"), "--at n=1,h=224,w=224"),
    "at empty": (("show", "mlp", "--at", ","), "--at n=1,h=224,w=224"),
    "at is no integer": (("show", "mlp", "--at", "n=1.5"), "is not an integer"),
    "at gives a symbol twice": (("show", "mlp", "--at", "n=1,n=2"), "one value"),
    "unknown symbol": (("show", "mlp", "--at", MLP_AT + ",h=2"), "the symbols here are a, b, c, d, n"),
    "symbol called as a Python argument": (("show", "mlp", "--at", "self=1"), "the symbols here are a, b, c, d, n"),
    "unbound symbol": (("explain", "mlp", "linear1", "--at", "n=1"), "give each a value, as --at a=INT,b=INT,c=INT,d=INT"),
    "no point where one is needed": (("roofline", *NET, "--hw", "lecture"), "give each a value, as --at d=INT,n=INT"),
    "below the domain": (("show", "mlp", "--at", MLP_AT.replace("n=1", "n=0")), "n >= 1"),
    "no multiple": (("show", *NET, "--where", "8 | n", "--at", "n=12,d=1"), "8 | n"),
    "unknown layer": (("explain", "mlp", "linear7"), "did you mean linear"),
    "unknown rows": (("show", "mlp", "--by", "rows"), "module, layer, kernel, op"),
    "no depth": (("show", "mlp", "--depth", "0"), "at least 1"),
    "unknown device": (("roofline", "mlp", "--hw", "h200"), "did you mean h200-sxm"),
    "unknown device shown": (("hw", "show", "h200"), "did you mean h200-sxm"),
    "this machine was not measured": (("roofline", "mlp", "--hw", "local"), "costmodel hw measure"),
    "no device": (("roofline", "mlp", "--hw", ","), "costmodel hw list"),
    "unknown policy": (("roofline", "mlp", "--hw", "h100-sxm", "--policy", "magic"), "unfused, layer"),
    "unknown dtype": (("roofline", "mlp", "--hw", "h100-sxm", "--dtype", "float33"), "bfloat16"),
    "device without that peak": (("roofline", "mlp", "--hw", "lecture", "--dtype", "float64"), "it has: float32"),
    "no runs": (("check", "mlp", "--hw", "h100-sxm", "--repeat", "0"), "at least 1"),
    "no time to measure": (("hw", "measure", "--seconds", "0"), "positive time"),
}


@pytest.mark.parametrize("arguments, next_step", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_ends_in_one_line_with_the_next_step(arguments: tuple[str, ...], next_step: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and result.stdout == "" and next_step in one_line(result)


def test_a_mistake_in_a_process_of_its_own() -> None:
    done = process("show", "resnet5")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("costmodel.models.zoo", lambda: 1 / 0)
    result = run("list")
    assert result.exit_code == 1 and isinstance(result.exception, ZeroDivisionError)


def test_a_reader_that_went_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run([sys.executable, "-m", "costmodel", "hw", "list"], stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert done.stderr == ""


def test_an_interrupt_ends_with_130_and_no_traceback(surroundings: Path) -> None:
    # Under nohup or behind a shell's `&` a process is born deaf to Ctrl-C, and Python leaves it so.
    code = "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nos.kill(os.getpid(), signal.SIGINT)\n"
    (surroundings / "interrupting.py").write_text(code, encoding="utf-8")
    done = process("show", "interrupting:net", "--input", "n")
    assert done.returncode == 130 and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("show", "mlp", "--no-cache"), ("hw", "list")])
@pytest.mark.parametrize("seconds", [0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1])
def test_an_interrupt_at_any_moment_of_a_command(command: tuple[str, ...], seconds: float) -> None:
    """From the first moment that is ours; Python and the script of an installation are a few hundredths of a second before."""
    code = ("import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); sys.path.insert(0, '.'); "
            "import costmodel.__main__ as ours; listens = ours.listen(); print('here', flush=True); ours.run(listens)")
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, *command], **streams) as done:
        assert done.stdout is not None and done.stderr is not None
        assert done.stdout.readline() == "here\n"
        time.sleep(seconds)
        done.send_signal(signal.SIGINT)
        out, errors = done.communicate(timeout=60)
    assert errors.strip() == ""
    assert done.returncode == 130 or (done.returncode == 0 and out)  # it was done before


def test_the_script_of_an_installation_listens_first() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"costmodel": "costmodel.__main__:run"}
    code = "import sys, costmodel.__main__; print(len({'click', 'typing', 'costmodel.cli'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "0\n"


@pytest.mark.parametrize("module", ["whole", "1-whole"])
def test_a_model_without_symbols_says_so(module, tmp_path, monkeypatch) -> None:
    (tmp_path / f"{module}.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.chdir(tmp_path)
    out = CliRunner().invoke(main, ["show", f"{module}:double", "--input", "4:float32"]).stdout
    assert out.splitlines()[0].endswith("domain: no symbols")
