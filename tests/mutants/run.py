"""Changes to the code, one at a time, that the tests that own it must notice: ``make mutants``.

table.toml has the changes. Each is made in a temporary copy, where its tests run; one that they pass survives. Survivors are
listed, and an error unless the table says why they may live.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("table.toml")
COPIED = ("costmodel", "zoo", "tests", "pyproject.toml")
LIMIT = 300  # seconds; a change that makes a loop endless is noticed, too


@dataclass(frozen=True)
class Mutant:
    """A change to the code: ``old`` becomes ``new`` in ``file``; ``tests`` own what it breaks. ``survives`` says why no test can
    notice it, if none can."""

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str = ""


def mutants(text: str) -> tuple[Mutant, ...]:
    """The mutants of a table. Raises TypeError for a key that a mutant does not have or lacks."""
    return tuple(Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in tomllib.loads(text)["mutant"])


def problem(mutant: Mutant, root: Path = ROOT) -> str:
    """Why a mutant cannot be made, or nothing: its text must stand once in its file, and its tests must be there."""
    path = root / mutant.file
    times = path.read_text(encoding="utf-8").count(mutant.old) if path.is_file() else 0
    if times != 1:
        return f"{mutant.what}: its text stands {times} times in {mutant.file}, not once"
    for test in mutant.tests:
        file, _, name = test.partition("::")
        source = (root / file).read_text(encoding="utf-8") if (root / file).is_file() else ""
        if not source or (name and f"def {name.partition('[')[0]}(" not in source):
            return f"{mutant.what}: there is no test {test}"
    return ""


def copied(into: Path) -> Path:
    """A copy of the project in which to change things."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, into / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, into / name)
    return into


def exit_code(project: Path, tests: Iterable[str], *, limit: float | None = LIMIT) -> int:
    """pytest's exit code for these tests of a copy: 0 if all pass, 1 if one fails or they take too long. Without a limit it says
    what it does."""
    env = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *dict.fromkeys(tests)]
    try:
        done = subprocess.run(command, cwd=project, env=env, capture_output=limit is not None, timeout=limit, check=False)
        return done.returncode
    except subprocess.TimeoutExpired:
        return 1


def exit_code_of(mutant: Mutant, project: Path) -> int:
    """The same with the change made, which is taken back afterwards."""
    path = project / mutant.file
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        return exit_code(project, mutant.tests)
    finally:
        path.write_text(before, encoding="utf-8")


def run(chosen: Iterable[Mutant], jobs: int) -> Iterator[tuple[Mutant, int, float]]:
    """(mutant, pytest's exit code, seconds) of each, in order."""
    with ExitStack() as stack:
        projects: queue.Queue[Path] = queue.Queue()
        for _ in range(jobs):
            projects.put(copied(Path(stack.enter_context(tempfile.TemporaryDirectory()))))

        def made(mutant: Mutant) -> tuple[Mutant, int, float]:
            project, start = projects.get(), time.perf_counter()
            try:
                return mutant, exit_code_of(mutant, project), time.perf_counter() - start
            finally:
                projects.put(project)

        yield from stack.enter_context(ThreadPoolExecutor(jobs)).map(made, chosen)


def verdict(mutant: Mutant, code: int) -> str:
    """What became of a mutant, in a word or two; "noticed" and "survives, as it may" are right, anything else is not."""
    if code not in (0, 1):
        return f"did not run: pytest ends with {code}"
    if code == 1:
        return "noticed, though the table says why not" if mutant.survives else "noticed"
    return "survives, as it may" if mutant.survives else "SURVIVES"


def report(results: Iterable[tuple[Mutant, int, float]]) -> list[str]:
    """A line for each mutant as it comes; returns those of what is not right."""
    wrong = []
    for mutant, code, seconds in results:
        said = verdict(mutant, code)
        line = f"{said}: {mutant.what} ({mutant.file}, {seconds:.0f} s)" + (f": {mutant.survives}" if mutant.survives else "")
        print(line, flush=True)
        if said not in ("noticed", "survives, as it may"):
            wrong.append(line)
    return wrong


def unchanged(chosen: Iterable[Mutant]) -> int:
    """pytest's exit code of all their tests without any change: a test that fails anyway notices nothing."""
    with tempfile.TemporaryDirectory() as folder:
        return exit_code(copied(Path(folder)), (test for mutant in chosen for test in mutant.tests), limit=None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("words", nargs="*", help="only mutants whose description or file has one of these")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    options = parser.parse_args()
    table = mutants(TABLE.read_text(encoding="utf-8"))
    chosen = [m for m in table if not options.words or any(word in f"{m.file}: {m.what}" for word in options.words)]
    wrong = [text for mutant in chosen if (text := problem(mutant))]
    if not wrong and (code := unchanged(chosen)):
        wrong = [f"without any change pytest ends with {code}"]
    start = time.perf_counter()
    wrong = wrong or report(run(chosen, options.jobs))
    print(f"\n{len(chosen)} mutants in {time.perf_counter() - start:.0f} s;",
          "all noticed, but for those named" if not wrong else "\n".join(["not right:", *wrong]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
