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

# A file imports from its own layer and from those before it, when it is imported itself.
LAYERS = (
    {"errors"},
    {"division", "_jax_compat"},
    {"forms"},
    {"quotients", "taps", "magnitude", "array_forms", "latex", "printers", "tree", "dims", "asymptotics"},
    {"work"},
    {"rules"},
    {"program", "trips", "costing", "branches", "pure", "trace", "walk"},
    {"fusion"},
    {"saved", "memory", "metrics"},
    {"cost", "training", "explain", "table", "verify", "serialize", "points", "models", "arguments", "hardware"},
    {"pricing"},
    {"roofline"},
    {"sweep", "solve", "compare", "energy"},
    {"report", "bench"},
    {"cli", "__main__"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

# What a function imports only when it is called may be of a later layer: results offer their tables, files and reports.
FACADES = {
    "cost": {"energy", "explain", "memory", "report", "roofline", "serialize", "sweep", "table", "verify"},
    "roofline": {"report"},
    "compare": {"report"},
    "energy": {"report"},
    "memory": {"report"},
    "table": {"report"},
}


def sources() -> dict[str, str]:
    """The package's files: dotted name below ``costmodel`` -> text."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


SOURCES = sources()


def imports(text: str) -> Iterator[tuple[str, str]]:
    """(module, when) of every import: ``eager``, ``lazy`` (inside a function) or ``types`` (for type checkers only)."""
    def visit(node: ast.AST, when: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name, when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used in costmodel"
            yield from ((f"{node.module}.{alias.name}", when) for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            when = "lazy"
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            when = "types"
        for child in ast.iter_child_nodes(node):
            yield from visit(child, when)

    return visit(ast.parse(text), "eager")


def part(module: str) -> str:
    """The layer's name of ``costmodel.rules.window.reduce_window``: rules. Names of the package itself have none."""
    name = module.split(".")[1] if module.startswith("costmodel.") else ""
    return name if name in RANK else ""


def wrong_imports(file: str, text: str) -> list[str]:
    name = file.split(".")[0]
    found = []
    for module, when in imports(text):
        if module.split(".")[0] == "zoo":
            found.append(f"{file} imports zoo")
        target = part(module)
        if not target or when == "types" or RANK[target] <= RANK[name]:
            continue
        if when == "eager" or target not in FACADES.get(name, set()):
            found.append(f"{file} imports {target} ({when}), a later layer")
    return found


def private_jax(file: str, text: str) -> list[str]:
    return [f"{file} imports {module}" for module, _ in imports(text)
            if file != "_jax_compat" and (module.startswith("jax._src") or module.startswith("jax.interpreters"))]


# Text that becomes code or a formula. printers.compile runs what it has itself printed from known forms.
EVALUATES = {"eval", "exec", "sympify", "parse_expr", "lambdify"}
EVALUATION_ALLOWED = {("printers", "exec")}


def evaluations(file: str, text: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in EVALUATES and (file, name) not in EVALUATION_ALLOWED:
                found.append(f"{file}:{node.lineno} calls {name}")
    return found


MODULES = sorted(name for name in SOURCES if name)


def test_every_file_has_a_layer():
    """A new file needs a place in LAYERS."""
    assert {name.split(".")[0] for name in MODULES} == set(RANK)


@pytest.mark.parametrize("file", [name for name in MODULES if name.split(".")[0] in RANK])
def test_imports_flow_one_way(file):
    assert wrong_imports(file, SOURCES[file]) == []


@pytest.mark.parametrize("file", MODULES)
def test_private_jax_is_in_one_file(file):
    assert private_jax(file, SOURCES[file]) == []


@pytest.mark.parametrize("file", MODULES)
def test_nothing_evaluates_text(file):
    assert evaluations(file, SOURCES[file]) == []


def test_eager_imports_have_no_cycle():
    eager = {file: {m for module, when in imports(text) if when == "eager" and (m := _file_of(module)) and m != file}
             for file, text in SOURCES.items() if file}
    done: set[str] = set()
    while ready := {file for file, needs in eager.items() if file not in done and needs <= done}:
        done |= ready
    assert done == set(eager), f"a cycle among {sorted(set(eager) - done)}"


def _file_of(module: str) -> str:
    """The file that an imported name is in; a package's own names are in its __init__."""
    parts = module.split(".")[1:] if module.startswith("costmodel.") else []
    while parts and ".".join(parts) not in SOURCES:
        parts.pop()
    return ".".join(parts)


RULE_FILES = [name for name in MODULES if name.startswith("rules.")]


@pytest.mark.parametrize("file", RULE_FILES)
def test_every_rule_file_has_a_golden_row(file):
    assert ">>> golden(" in SOURCES[file] or ">>> " in (ast.get_docstring(ast.parse(SOURCES[file])) or "")


# -- the package itself ------------------------------------------------------------------------------------------------------


def type_checking_names(text: str) -> dict[str, str]:
    """Public name -> file, as the block for type checkers has it."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom) and statement.module
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


def test_numpy_free_formulas():
    """The exact forms need sympy alone."""
    assert run("import sys, costmodel.forms; print(*{'jax', 'flax', 'zoo'} & set(sys.modules))").strip() == ""


@pytest.mark.parametrize("first", ["cm.symbols", "cm.analyze", "import costmodel.dims", "from costmodel.dims import dims"])
def test_a_public_name_is_the_same_whatever_is_imported_first(first):
    """``dims`` is a function and also the file that it is in."""
    assert run(f"import costmodel as cm; {first}; from costmodel import dims; print(cm.dims('n'), dims('n'))") == "n n\n"


# -- the checks can fail -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "text"), [
    ("forms", "from costmodel.dims import internal"),
    ("work", "from costmodel import metrics"),
    ("rules.window", "import costmodel.walk"),
    ("trace", "def f():\n    from costmodel.cost import analyze"),
    ("metrics", "class C:\n    from costmodel.cost import analyze"),
    ("cost", "import zoo"),
    ("cost", "def f():\n    from zoo.resnet import ResNet50"),
])
def test_a_wrong_import_is_caught(file, text):
    assert wrong_imports(file, text)


def test_right_imports_are_not():
    assert not wrong_imports("cost", "def f():\n    from costmodel.table import build")
    assert not wrong_imports("metrics", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from costmodel.cost import Cost")
    assert not wrong_imports("rules.window", "from costmodel.rules import rule")


def test_private_jax_and_evaluation_are_caught():
    assert private_jax("dims", "def f():\n    from jax._src.core import Jaxpr")
    assert private_jax("dims", "import jax._src.core")
    assert not private_jax("_jax_compat", "import jax._src.core")
    for text in ("eval('1')", "import sympy\nsympy.sympify(x)", "exec(x)", "parse_expr(t)", "builtins.eval(t)"):
        assert evaluations("cost", text)
    assert not evaluations("printers", "exec(text)")
    assert evaluations("printers", "eval(text)")


def test_a_forgotten_re_export_is_caught():
    changed = SOURCES[""].replace("    from costmodel.metrics import metric as metric\n", "")
    assert type_checking_names(changed) != costmodel._HOMES
