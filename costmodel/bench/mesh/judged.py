"""Stored judgements of sharded programs, made anew or written as a table.

``python -m costmodel.bench.mesh.judged make xla-cpu tests/data/sharding`` compiles them all for the mesh data=2 x model=4;
``… page tests/data/sharding docs/sharding.md`` writes the tables between the page's marks.
"""

from __future__ import annotations

import json
import statistics
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costmodel.bench.compilers import prepare, target
from costmodel.bench.mesh.compile import compile_over, from_record
from costmodel.bench.mesh.programs import SIZES, Program, programs
from costmodel.errors import CostModelError
from costmodel.files import write_text

if TYPE_CHECKING:
    from costmodel.bench.mesh.judge import OverMesh

# The floating-point type that a compiler is given: a TPU's sends float32 as bfloat16 where a product asks for no more.
DTYPES = {"xla-cpu": "float32", "tpu-v5e": "bfloat16"}
HALVES = ("developed", "held out", "second")
CLOSE = {"xla-cpu": 0.01, "tpu-v5e": 0.02}
_START, _END = "<!-- judged -->", "<!-- end of judged -->"


def load(folder: str | Path, compiler: str) -> dict[str, Any]:
    """A compiler's records by program; none where nothing is stored."""
    path = Path(folder) / f"{compiler}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def make(compiler: str, folder: str | Path, only: Sequence[str] = ()) -> Iterator[str]:
    """Compile the programs and store what came of each; yields a line for each."""
    records = load(folder, compiler)
    for name, program in programs().items():
        if only and name not in only:
            continue
        try:
            records[name] = compile_over(program.at(SIZES, DTYPES[compiler]), compiler).to_record()
        except CostModelError as refusal:
            records[name] = {"compiler": compiler, "refused": str(refusal)}
        lines = [f"{json.dumps(each)}: {json.dumps(records[each])}" for each in programs() if each in records]
        write_text(Path(folder) / f"{compiler}.json", "{\n" + ",\n".join(lines) + "\n}\n")
        yield f"{name}: {records[name]}"


def explanations(folder: str | Path) -> dict[tuple[str, str, str], str]:
    """Why a row is over its limit, by compiler, program and figure (``wire`` or ``peak``), of ``explained.toml``."""
    rows = tomllib.loads((Path(folder) / "explained.toml").read_text(encoding="utf-8")).get("row", [])
    return {(row["compiler"], name, row["figure"]): row["why"] for row in rows for name in row["programs"]}


def judged(folder: str | Path, compiler: str, only: Sequence[str] = ()) -> dict[str, OverMesh]:
    """Our figures beside the stored ones."""
    from costmodel.bench.mesh.judge import compare

    records = load(folder, compiler)
    return {name: compare(at_its_point(program, DTYPES[compiler]), from_record(records[name]))
            for name, program in programs().items() if (not only or name in only) and "collectives" in records.get(name, {})}


def at_its_point(program: Program, dtype: str) -> Any:
    """One device's cost of a program at its point, from the forms in its sizes."""
    return program.analyze(SIZES, dtype).at(**program.point)


def close(j: OverMesh) -> bool:
    """Whether the bytes on the wire are the compiler's, to what counts as equal there."""
    return abs(j.wire_ratio - 1) <= CLOSE[j.theirs.compiler]


# -- the tables -----------------------------------------------------------------------------------------------------------------


def page(folder: str | Path, text: str) -> str:
    """The page with its tables written anew. Raises CostModelError for a page without the marks."""
    before, start, rest = text.partition(_START)
    _, end, after = rest.partition(_END)
    if not start or not end:
        raise CostModelError(f"the page has no {_START} and {_END} to write between")
    parts = [section(folder, compiler) for compiler in DTYPES if load(folder, compiler)]
    return "".join((before, start, "\n\n", "\n".join(parts), "\n", end, after))


def section(folder: str | Path, compiler: str) -> str:
    """A compiler's tables: how many agree in each half, and a row a program."""
    found, why, records = judged(folder, compiler), explanations(folder), load(folder, compiler)
    first = next(iter(found.values())).theirs
    versions = ", ".join(f"{name} {version}" for name, version in first.versions.items())
    lines = [f"### {compiler}, {DTYPES[compiler]}", "",
             f"{versions}; `make judge-mesh COMPILER={compiler}` makes the records anew.", "",
             f"| half | programs | wire within {CLOSE[compiler]:.0%} | worst not warned of | peak within 10 % | lowest, highest |",
             "|---|---|---|---|---|---|"]
    by_half = {half: {n: j for n, j in found.items() if programs()[n].half == half} for half in HALVES}
    lines += [_summary(half, rows) for half, rows in by_half.items() if rows]
    head = ["program", "family", "half", "wire", "ours", "ours/theirs", "arguments", "peak", "ours/theirs", "remarks"]
    lines += ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [_row(programs()[name], j, why) for name, j in found.items()]
    refused = [f"* {name}: {r['refused']}" for name, r in records.items() if "refused" in r]
    return "\n".join([*lines, *(["", "Not compiled:", "", *refused] if refused else []), ""])


def _summary(half: str, rows: Mapping[str, OverMesh]) -> str:
    worst = max((abs(j.wire_ratio - 1), j.wire_ratio) for j in rows.values() if not j.doubtful)[1]
    peaks = [j.peak_ratio for j in rows.values()]
    near = f"{sum(abs(p - 1) <= 0.1 for p in peaks)} (median {statistics.median(peaks):.2f})"
    return (f"| {half} | {len(rows)} | {sum(map(close, rows.values()))} | {worst:.3f} | {near} | "
            f"{min(peaks):.2f}, {max(peaks):.2f} |")


def over(j: OverMesh) -> tuple[str, ...]:
    """The figures that need an explanation: bytes on the wire that differ, a peak below 0.85."""
    return (*(() if close(j) else ("wire",)), *(("peak",) if j.peak_ratio < 0.85 else ()))


def _row(program: Program, j: OverMesh, why: Mapping[tuple[str, str, str], str]) -> str:
    compiler = j.theirs.compiler
    told = [*(f"warned: {line}" for line in j.doubtful),
            *(why.get((compiler, program.name, figure), "not explained") for figure in over(j))]
    arguments = "equal" if j.argument == j.theirs.argument else f"{j.argument / j.theirs.argument:.3f}"
    cells = [program.name, program.family, program.half, f"{j.theirs.wire:,.0f}", f"{j.wire:,.0f}", f"{j.wire_ratio:.3f}",
             arguments, f"{j.theirs.peak:,}", f"{j.peak_ratio:.2f}", "; ".join(told)]
    return "| " + " | ".join(cells) + " |"


def main(arguments: Sequence[str]) -> None:
    """What `python -m costmodel.bench.mesh.judged` does: `make COMPILER FOLDER [NAME …]`, or `page FOLDER PAGE`."""
    if arguments[:1] == ["make"] and len(arguments) >= 3:
        target(arguments[1])
        for line in make(arguments[1], arguments[2], arguments[3:]):
            print(line, flush=True)
    elif arguments[:1] == ["page"] and len(arguments) == 3:
        path = Path(arguments[2])
        write_text(path, page(arguments[1], path.read_text(encoding="utf-8")))
    else:
        raise SystemExit("give `make COMPILER FOLDER [NAME …]` or `page FOLDER PAGE`")


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"] and len(sys.argv) > 2:
        prepare(sys.argv[2])
    main(sys.argv[1:])
