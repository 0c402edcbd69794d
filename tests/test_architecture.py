"""The shape of the code: imports flow one way, the package is lazy, private jax stays in one file, nothing evaluates text.

Every check is a function of source texts, so that each is shown to fail on a text that breaks it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import costmodel

ROOT = Path(costmodel.__file__).parent

# The house, from the ground up: a file imports from its own room and from rooms below it, whenever and for whatever purpose.
ROOMS = ("errors", "surface", "text", "files", "collector", "_jax_compat", "_flax_compat", "hardware", "symbolic", "pictures",
         "sheets", "trace", "rules", "program", "fusion", "memory", "sharding", "pricing", "solve", "report", "face", "cost",
         "points", "finding", "inputs", "models", "cache", "arguments", "bench", "cli", "__main__")
RANK = {name: rank for rank, name in enumerate(ROOMS)}


def sources() -> dict[str, str]:
    """The package's files: dotted name below ``costmodel`` -> text."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


SOURCES = sources()


def offers(text: str) -> set[str]:
    """The names in a room's ``__all__``."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


# What other rooms may use of a room, where it has several files.
OFFERS = {name: offers(text) for name, text in SOURCES.items() if name in RANK and any(f.startswith(f"{name}.") for f in SOURCES)}


def imports(text: str) -> Iterator[str]:
    """The dotted name behind every import: at the top, inside a function, or for type checkers only."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used in costmodel"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: str) -> str:
    """The room of ``costmodel.rules.window.reduce_window``: rules. What the package itself offers has none."""
    name = module.split(".")[1] if module.startswith("costmodel.") else ""
    return name if name in RANK else ""


def wrong_imports(file: str, text: str) -> list[str]:
    """Imports from a room above, of zoo, and of what only the package's table of contents offers."""
    own = file.split(".")[0]
    found = []
    for module in imports(text):
        if module.split(".")[0] == "zoo":
            found.append(f"{file} imports zoo")
        elif module.split(".")[0] == "costmodel" and not room(module):
            if own not in ("cli", "__main__"):
                found.append(f"{file} imports {module} through the package: name the file that has it")
        elif room(module) and RANK[room(module)] > RANK[own]:
            found.append(f"{file} imports {module}, from a room above")
    return found


def hidden_imports(file: str, text: str) -> list[str]:
    """Imports from another room of what that room does not offer: its ``__all__`` names them, files or what its files define."""
    own = file.split(".")[0]
    found = []
    for module in imports(text):
        parts = module.split(".")
        if room(module) not in ("", own) and parts[1] in OFFERS and len(parts) > 2 and parts[2] not in OFFERS[parts[1]]:
            found.append(f"{file} imports {module}, which costmodel/{parts[1]}/__init__.py does not offer")
    return found


def private_jax(file: str, text: str) -> list[str]:
    return [f"{file} imports {module}" for module in imports(text)
            if file != "_jax_compat" and (module.startswith("jax._src") or module.startswith("jax.interpreters"))]


# Text that becomes code or a formula. printers.compile runs what it has itself printed from known forms.
EVALUATES = {"eval", "exec", "sympify", "parse_expr", "lambdify"}
EVALUATION_ALLOWED = {("symbolic.printers", "exec")}


def evaluations(file: str, text: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in EVALUATES and (file, name) not in EVALUATION_ALLOWED:
                found.append(f"{file}:{node.lineno} calls {name}")
    return found


def writes(file: str, text: str) -> list[str]:
    """Calls that write a file themselves: ``open`` for more than reading, and what pathlib offers."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and file != "files":
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            texts = [a.value for a in (*node.args, *(k.value for k in node.keywords)) if isinstance(a, ast.Constant)]
            modes = {m for m in texts if isinstance(m, str) and set(m) <= set("rwaxbt+") and set(m) & set("wax+")}
            of_pathlib = isinstance(node.func, ast.Attribute) and name in ("write_text", "write_bytes")
            if of_pathlib or (name == "open" and modes):
                found.append(f"{file}:{node.lineno} calls {name}: use costmodel.files")
    return found


MODULES = sorted(name for name in SOURCES if name)


def test_every_file_has_a_room():
    """A new room needs a place in ROOMS."""
    assert {name.split(".")[0] for name in MODULES} <= set(RANK)


@pytest.mark.parametrize("file", MODULES)
def test_imports_flow_one_way(file):
    assert wrong_imports(file, SOURCES[file]) == []


@pytest.mark.parametrize("file", MODULES)
def test_a_room_is_entered_by_its_door(file):
    assert hidden_imports(file, SOURCES[file]) == []


@pytest.mark.parametrize("file", MODULES)
def test_private_jax_is_in_one_file(file):
    assert private_jax(file, SOURCES[file]) == []


@pytest.mark.parametrize("file", MODULES)
def test_nothing_evaluates_text(file):
    assert evaluations(file, SOURCES[file]) == []


@pytest.mark.parametrize("file", MODULES)
def test_what_writes_files_is_in_one_file(file):
    assert writes(file, SOURCES[file]) == []


def in_a_circle(texts: dict[str, str]) -> set[str]:
    """The files that import each other, directly or not; imports inside functions and for type checkers count."""
    needs = {file: {m for module in imports(text) if (m := _file_of(module)) and m != file} for file, text in texts.items() if file}
    done: set[str] = set()
    while ready := {file for file in needs if file not in done and needs[file] <= done}:
        done |= ready
    return set(needs) - done


def test_no_files_import_each_other_in_a_circle():
    assert in_a_circle(SOURCES) == set()


def _file_of(module: str) -> str:
    """The file that an imported name is in; a package's own names are in its __init__."""
    parts = module.split(".")[1:] if module.startswith("costmodel.") else []
    while parts and ".".join(parts) not in SOURCES:
        parts.pop()
    return ".".join(parts)


# -- the package itself ------------------------------------------------------------------------------------------------------


def type_checking_names(text: str) -> dict[str, str]:
    """Public name -> file, as the block for type checkers has it."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom) and statement.module
                if statement.module == "typing":
                    continue
                for alias in statement.names:
                    assert alias.asname == alias.name, f"{alias.name} is not re-exported: write 'as {alias.name}'"
                    found[alias.name] = statement.module.removeprefix("costmodel").removeprefix(".")
    return found


def test_the_table_of_contents_agrees_with_what_type_checkers_read():
    assert type_checking_names(SOURCES[""]) == costmodel._HOMES
    assert costmodel.__all__ == sorted(costmodel._HOMES)


def test_every_public_name_is_there():
    for name in costmodel.__all__:
        assert getattr(costmodel, name) is not None
        assert name in dir(costmodel)
    with pytest.raises(AttributeError, match="nosuch"):
        _ = costmodel.nosuch


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("module", ["costmodel", "costmodel.cli", "costmodel.errors", "costmodel.hardware"])
def test_importing_is_lazy(module):
    heavy = run(f"import sys, {module}; print(*{{'jax', 'sympy', 'flax', 'numpy', 'matplotlib', 'xarray'}} & set(sys.modules))")
    assert heavy.strip() == ""


def test_what_prices_needs_no_jax():
    """A cost from a file or from the cache is priced, swept and solved for without it."""
    code = ("import sys, costmodel.arguments, costmodel.solve, costmodel.pricing.sweep, costmodel.pricing.energy, costmodel.rules, "
            "costmodel.fusion; costmodel.rules.registered(), costmodel.fusion.policies(); "
            "print(*{'jax', 'jaxlib', 'flax', 'zoo'} & set(sys.modules))")
    assert run(code).strip() == ""


def test_numpy_free_formulas():
    """The exact forms need sympy alone."""
    assert run("import sys, costmodel.symbolic.forms; print(*{'jax', 'flax', 'zoo'} & set(sys.modules))").strip() == ""


# -- the checks can fail -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "text"), [
    ("symbolic.forms", "from costmodel.program.walk import walk"),
    ("rules.work", "from costmodel.pricing import metrics"),
    ("rules.window", "import costmodel.program.walk"),
    ("trace.requests", "def f():\n    from costmodel.cost import analyze"),
    ("pricing.metrics", "class C:\n    from costmodel.cost import analyze"),
    ("pricing.metrics", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from costmodel.cost import Cost"),
    ("pricing.metrics", "from costmodel import Cost"),
    ("pricing.metrics", "import costmodel as cm"),
    ("cost", "import zoo"),
    ("cost", "def f():\n    from zoo.resnet import ResNet50"),
])
def test_a_wrong_import_is_caught(file, text):
    assert wrong_imports(file, text)


def test_right_imports_are_not():
    assert not wrong_imports("cost", "def f():\n    from costmodel.pricing.table import build")
    assert not wrong_imports("rules.window", "from costmodel.rules import rule")


def test_a_circle_is_caught():
    """Also one that only type checkers would see."""
    lazy = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from costmodel.solve.line import Line"
    assert "symbolic.forms" in in_a_circle({**SOURCES, "symbolic.forms": lazy})


def test_a_back_door_is_caught():
    assert hidden_imports("solve.fits", "from costmodel.fusion.ynnpack import clusters")
    assert not hidden_imports("fusion.policies", "from costmodel.fusion.ynnpack import clusters")


def test_private_jax_and_evaluation_are_caught():
    assert private_jax("dims", "def f():\n    from jax._src.core import Jaxpr")
    assert private_jax("dims", "import jax._src.core")
    assert not private_jax("_jax_compat", "import jax._src.core")
    for text in ("eval('1')", "import sympy\nsympy.sympify(x)", "exec(x)", "parse_expr(t)", "builtins.eval(t)"):
        assert evaluations("cost", text)
    assert not evaluations("symbolic.printers", "exec(text)")
    assert evaluations("symbolic.printers", "eval(text)")


def test_a_file_written_by_hand_is_caught():
    for text in ("open(path, 'w')", "with open(path, mode='xb') as f: pass", "Path(p).open('a', encoding='utf-8')",
                 "path.write_text('')", "path.write_bytes(b'')"):
        assert writes("cost", text)
    for text in ("open(path)", "path.open(encoding='utf-8', newline='')", "open(path, 'rb')", "write_text(path, '')"):
        assert not writes("cost", text)


def test_a_forgotten_re_export_is_caught():
    changed = SOURCES[""].replace("    from costmodel.pricing.metrics import metric as metric\n", "")
    assert type_checking_names(changed) != costmodel._HOMES
