"""How long `costmodel --help` takes: what imports click only is there at once.

    python -m pytest -s -m benchmark tests/benchmarks/test_help_speed.py

That it imports neither jax nor sympy is a test of `tests/cli`.
"""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

REPETITIONS = 10
MAX_SECONDS = 0.25


def seconds(*arguments: str) -> float:
    """One run in a fresh process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "costmodel", *arguments], capture_output=True, check=True)
    return time.perf_counter() - start


@pytest.mark.benchmark
@pytest.mark.parametrize("path", [(), ("show",)], ids=["costmodel", "costmodel show"])
def test_help_is_quick(path):
    """The best of several: other load on the machine only adds time."""
    best = min(seconds(*path, "--help") for _ in range(REPETITIONS))
    print(f"\n{' '.join(('costmodel', *path))} --help: {best:.3f} s")
    assert best < MAX_SECONDS
