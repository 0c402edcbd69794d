"""The walks of the documentation, command by command, from nothing but the installed wheel: ``make walks``.

A walk is a page of ``docs`` with a console block. Each line ``$ command`` of these is run by a shell, in one empty folder a page;
what the page prints below it must be what the command prints, as in a doctest: ``...`` stands for anything, runs of blanks are
alike. A command with nothing below it must end well. Python blocks are doctests of the page, in the same folder.
"""

from __future__ import annotations

import argparse
import doctest
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LIMIT = 300  # seconds a command


@dataclass(frozen=True)
class Step:
    """A command of a page, the line it stands on, and what it prints (nothing: whatever it likes)."""

    line: int
    command: str
    printed: str


def steps(text: str) -> Iterator[Step]:
    """The commands of a page's console blocks, in order. A command that ends in a backslash goes on in the next line."""
    inside, found = False, None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            if found is not None:
                yield found
            inside, found = line == "```console", None
        elif inside and line.startswith("$ "):
            if found is not None:
                yield found
            found = Step(number, line[2:], "")
        elif found is not None:
            if found.command.endswith("\\"):
                found = Step(found.line, f"{found.command[:-1]}{line}", "")
            else:
                found = Step(found.line, found.command, f"{found.printed}{line}\n")
    if found is not None:
        yield found


def problem(step: Step, folder: Path, env: Mapping[str, str]) -> str:
    """Why a command does not do what its page says, or nothing."""
    try:
        ran = subprocess.run(step.command, shell=True, cwd=folder, env=dict(env), capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"took more than {LIMIT} s"
    if ran.returncode:
        return f"ended with {ran.returncode}: {ran.stderr.strip() or ran.stdout.strip()}"
    if step.printed and not doctest.OutputChecker().check_output(step.printed, ran.stdout, FLAGS):
        return f"printed\n{ran.stdout}instead of\n{step.printed}"
    return ""


def walk(page: Path, folder: Path, env: Mapping[str, str], python: Path) -> list[str]:
    """What is wrong with a page: its commands, then its Python."""
    text = page.read_text(encoding="utf-8")
    wrong = []
    for step in steps(text):
        found = problem(step, folder, env)
        print(f"{'FAILED' if found else 'ok':6}  {page.name}:{step.line}  {step.command}", flush=True)
        wrong += [f"{page.name}:{step.line}: {step.command}\n{found}"] if found else []
    if ">>> " in text:
        check = f"import doctest, sys; sys.exit(doctest.testfile({str(page)!r}, module_relative=False, optionflags={FLAGS}).failed)"
        found = problem(Step(1, f"{python} -c \"{check}\"", ""), folder, env)
        print(f"{'FAILED' if found else 'ok':6}  {page.name}  its Python", flush=True)
        wrong += [f"{page.name}: {found}"] if found else []
    return wrong


def installed(folder: Path) -> Path:
    """The interpreter of a fresh environment with the wheel of this checkout and what pictures and sweeps need."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([str(python), *pip[1:], "install", f"{wheel}[plot,sweep]"], check=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", type=Path, help="pages to walk (default: all)")
    parser.add_argument("--here", action="store_true", help="with the environment that runs this, not with a wheel in a fresh one")
    options = parser.parse_args()
    pages = options.pages or [page for page in sorted((ROOT / "docs").glob("*.md")) if any(steps(page.read_text(encoding="utf-8")))]
    wrong = [] if pages else ["there are no walks"]
    with tempfile.TemporaryDirectory() as temporary:
        python = Path(sys.executable) if options.here else installed(Path(temporary))
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env |= {"PATH": f"{python.parent}{os.pathsep}{env['PATH']}", "COLUMNS": "132", "XDG_CACHE_HOME": f"{temporary}/cache"}
        for page in pages:
            folder = Path(temporary) / page.stem
            folder.mkdir()
            wrong += walk(page.resolve(), folder, env, python)
    print("\n\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
