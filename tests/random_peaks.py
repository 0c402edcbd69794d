"""What XLA for processors allocates for random programs, stored, so that our live peaks are scored without compiling anything.

``python tests/random_peaks.py 0 760`` compiles the programs of these seeds and writes :data:`STORED` anew (two minutes for 400).

XLA decides by size in a few places: its library takes reductions of 4 096 elements and more, and each temporary starts at a
multiple of 64 bytes. Policies never look at sizes; they say what is done with arrays that are not small. So every program has
:data:`ELEMENTS` in its input, or more.
"""

from __future__ import annotations

import csv
import hashlib
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from random_programs import Program, program

import costmodel as cm

STORED = Path(__file__).parent / "data" / "random_peaks.csv"
ELEMENTS = 2**14
COLUMNS = ("seed", "program", "jax", "argument", "output", "temporary")


@dataclass(frozen=True)
class Allocated:
    """Bytes that XLA allocates for a program. ``digest`` is of the program, ``jax`` the version that compiled it."""

    seed: int
    digest: str
    jax: str
    argument: int
    output: int
    temporary: int

    @property
    def total(self) -> int:
        return self.argument + self.output + self.temporary


def digest(p: Program) -> str:
    """Changes with the program, and where it is compiled."""
    return hashlib.sha256(f"{p} at {point(p)}".encode()).hexdigest()[:12]


def point(p: Program) -> dict[str, int]:
    """Two primes, such that the input has :data:`ELEMENTS` at least."""
    known = math.prod(d for d in p.shape if isinstance(d, int))
    unknown = sum(isinstance(d, str) for d in p.shape)
    least = max(37, math.ceil((ELEMENTS / known) ** (1 / unknown)))
    primes = [n for n in range(least, least + 100) if all(n % d for d in range(2, math.isqrt(n) + 1))][:8]
    chosen = np.random.default_rng((p.seed, 2)).choice(primes, 2, replace=False)
    return dict(zip(p.names, map(int, chosen), strict=False))


def stored() -> list[Allocated]:
    """The programs of the file."""
    with STORED.open(encoding="utf-8") as file:
        return [Allocated(int(seed), of, version, *map(int, sizes)) for seed, of, version, *sizes in list(csv.reader(file))[1:]]


def ratio(found: Allocated) -> float:
    """Our live peak over what XLA allocates."""
    p = program(found.seed)
    cost = cm.analyze(p, *p.inputs(point(p)), params=1, verify=False)
    return float(cost.live_peak("xla-cpu", order="breadth") / found.total)


def _compiled(seeds: Iterable[int]) -> Iterator[Allocated]:
    """Leaves out what cannot be compiled. Arguments that are not used are arguments."""
    for seed in seeds:
        p = program(seed)
        try:
            compiled = jax.jit(p, keep_unused=True).lower(*p.inputs(point(p))).compile()
        except (TypeError, jax.errors.JaxRuntimeError) as refusal:  # what jax does not differentiate, or XLA does not compile
            print(f"{p}: {str(refusal)[:100]}", file=sys.stderr)
            continue
        sizes = compiled.memory_analysis()
        yield Allocated(seed, digest(p), jax.__version__, sizes.argument_size_in_bytes,
                        sizes.output_size_in_bytes - sizes.alias_size_in_bytes, sizes.temp_size_in_bytes)


if __name__ == "__main__":
    with STORED.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for found in _compiled(range(int(sys.argv[1]), int(sys.argv[2]))):
            writer.writerow((found.seed, found.digest, found.jax, found.argument, found.output, found.temporary))
