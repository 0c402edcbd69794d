"""A cure is in the language of the surface: a command names options, Python names calls.

Held from both sides: what commands say to bad inputs (:mod:`test_bad_inputs` asks the same of each of its lines), and every text
that the package raises: Python's calls and keywords stand in it only where :func:`costmodel.surface.said` or ``option`` chooses.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import costmodel
from costmodel.surface import command_line, option, said

ROOT = Path(costmodel.__file__).parent
PYTHON = re.compile(r"\bcm\.|\breprice\(|\banalyze\w*\(|\banalyze_training\b|\.(?:at|plot|region|table|roofline|sweep|energy)\("
                    r"|\b[a-z_]+=(?:…|\.\.\.|['\"(\[{]|None|True|False)|\b[a-z_]{3,}=\{|\b[a-z]+=[ ,]")

RAISED = ("Error", "MissingPeak", "MissingEnergy", "UnknownHardware", "UnknownPrimitive")

# Texts of what no command calls, each with why.
PYTHONS_OWN = {
    "bench/mesh/judge.py": "`judge` asks for --mesh before", "cost.py": "options that no command has: unknown=, branches=",
    "face.py": "all_devices", "memory/buffers.py": "`show` makes a tuple of --donate", "pricing/blocking.py": "crossing",
    "pricing/elasticity.py": "no command has it", "pricing/metrics.py": "bits=, which no command has",
    "solve/compare.py": "`compare` asks at points", "solve/speed.py": "within=, which no command has",
    "solve/training.py": "`train` asks with the right cost", "pricing/grid/lazy.py": "chunks of a sweep, and its backend",
    "pricing/roofline.py": "rows of another roofline",
    "program/fit/result.py": "fit=, which --by-fit chooses among", "report/page/export.py": "branches=",
    "report/side_by_side.py": "`compare` is another table", "rules/__init__.py": "rules of one's own",
    "rules/attention.py": "a rule of one's own", "sharding/analysis.py": "--mesh is asked for before",
    "sharding/mesh.py": "--mesh is parsed before", "solve/fits.py": "`solve` asks with the right cost",
    "solve/plans.py": "`plan` takes a name", "symbolic/dimensions.py": "dims", "symbolic/receptive.py": "receptive_field",
    "trace/pure.py": "method=, which no command has", "trace/training.py": "functions, where `train` has names",
}


def raised(text: str) -> Iterator[tuple[int, str]]:
    """(line, literal text) of what exceptions are made with, without the arguments of said() and option()."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith(RAISED):
            for argument in node.args:
                yield node.lineno, "".join(literals(argument))


def literals(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("said", "option"):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.FormattedValue):
        yield "" if isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") in ("said", "option") else "{}"
    else:
        for child in ast.iter_child_nodes(node):
            yield from literals(child)


def test_what_is_raised_has_python_only_where_the_surface_chooses() -> None:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        lines = [f"{line}: {text}" for line, text in raised(path.read_text(encoding="utf-8")) if PYTHON.search(text)]
        if lines:
            found[name] = lines
    others = {name: lines for name, lines in found.items() if name not in PYTHONS_OWN}
    assert not others
    assert not PYTHONS_OWN.keys() - found.keys(), "these have no such text any more"


def test_the_scan_can_fail() -> None:
    text = 'raise CostModelError(f"{x} is none: use " + said("cm.f()", "--f") + " or cm.g()")'
    assert [PYTHON.search(found)[0] for _, found in raised(text)] == ["cm."]
    assert not PYTHON.search("".join(found for _, found in raised('raise CostModelError("use " + said("cm.f()", "--f"))')))


@pytest.mark.parametrize("text", ["price with reprice(dtype=…)", "see cm.spec", "analyze(..., verify=False)", "ask cost.at(n=1)",
                                  "depth=None is", "best=, pareto= and"])
def test_python_is_recognised(text: str) -> None:
    assert PYTHON.search(text)


@pytest.mark.parametrize("text", ["--at n=1,h=224", "write e.g. --kw train=false", "give weights=int8", "--where '32 | h'"])
def test_options_are_no_python(text: str) -> None:
    assert not PYTHON.search(text)


def test_the_surface_is_pythons_again_after_a_command() -> None:
    with pytest.raises(ZeroDivisionError), command_line():
        assert said("a", "b") == "b" and option("compute_dtype", "int8") == "--compute-dtype int8"
        raise ZeroDivisionError
    assert said("a", "b") == "a"
