"""Stored judgements: the zoo as several compilers compiled it, made anew or written as a page.

``python -m costmodel.bench.judged make xla-cpu tests/data/compilers`` compiles what is not stored yet with the versions that are
installed; ``python -m costmodel.bench.judged page tests/data/compilers > docs/compilers.md`` writes the page.
"""

from __future__ import annotations

import json
import statistics
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costmodel.bench.compilers import compile_for, from_record, installed, prepare, target, targets
from costmodel.errors import CostModelError
from costmodel.files import write_text
from costmodel.rules.work import DONATED_BY_TRAINING

if TYPE_CHECKING:
    from costmodel.bench.judge import Judgement
    from costmodel.cost import Cost

# Largest error that needs no explanation: of bytes to both sides, of the live peak below (a promise to fit that does not hold).
BYTES_LIMIT = 0.30
PEAK_LIMIT = -0.15


@dataclass(frozen=True)
class Program:
    """A zoo model at a point, or with an ``optimizer`` (sgd, adamw) its training step. ``half`` is development or held out;
    ``where`` is a domain in place of the model's own."""

    model: str
    point: Mapping[str, int] = field(hash=False)
    half: str
    optimizer: str | None = None
    where: str | None = None

    @property
    def name(self) -> str:
        """The model, and its optimizer where it is a training step."""
        return f"{self.model}, {self.optimizer} step" if self.optimizer else self.model

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.name} at {self.at}"

    @property
    def at(self) -> str:
        """The point as text: "n=1, h=224"."""
        return ", ".join(f"{k}={v}" for k, v in self.point.items())

    @property
    def donated(self) -> tuple[str, ...]:
        """The roles of arguments whose memory results may take."""
        return DONATED_BY_TRAINING if self.optimizer else ()

    def analyze(self) -> Cost:
        """The symbolic cost of the model or of its training step."""
        from costmodel.models import model

        entry = model(self.model).with_inputs((), self.where)
        return entry.analyze_step(self.optimizer) if self.optimizer else entry.analyze()


def programs(folder: str | Path) -> list[Program]:
    """The programs of ``programs.toml``, each at each of its points."""
    listed = tomllib.loads((Path(folder) / "programs.toml").read_text(encoding="utf-8"))["program"]
    return [Program(p["model"], point, p["half"], p.get("optimizer"), p.get("where")) for p in listed for point in p["points"]]


def explanations(folder: str | Path) -> dict[tuple[str, str, str], str]:
    """Why a row is over its limit, by compiler, program and figure (``bytes`` or ``peak``), of ``explained.toml``."""
    rows = tomllib.loads((Path(folder) / "explained.toml").read_text(encoding="utf-8")).get("row", [])
    return {(compiler, program, row["figure"]): row["why"]
            for row in rows for compiler in row["compilers"] for program in row["programs"]}


# -- records ------------------------------------------------------------------------------------------------------------------


def load(folder: str | Path, compiler: str) -> dict[str, dict[str, Any]]:
    """A compiler's records by program; none where nothing is stored. Raises CostModelError for a line that is none."""
    path = Path(folder) / f"{compiler}.jsonl"
    if not path.exists():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            found[record["program"]] = record
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise CostModelError(f"{path}:{number}: not a record of a compiled program: {error!r}") from None
    return found


def store(folder: str | Path, compiler: str, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Make ``records`` the compiler's. Raises CostModelError where that cannot be; the old ones are then kept."""
    lines = [json.dumps(record, separators=(",", ":")) for record in records.values()]
    write_text(Path(folder) / f"{compiler}.jsonl", "".join(f"{line}\n" for line in lines))


def make(compiler: str, folder: str | Path, analyze: Callable[[Program], Cost]) -> Iterator[str]:
    """Compile what is not stored with the installed versions, and store it program by program; yields a line for each.

    A program that the compiler refuses is stored with the reason.
    """
    records = load(folder, compiler)
    for program in programs(folder):
        if records.get(program.key, {}).get("versions") == installed(compiler):
            continue
        cost = analyze(program)
        try:
            traced = cost.request.at(cost.domain, cost.domain.bind(program.point)).run()  # type: ignore[union-attr]
            found = compile_for(traced, compiler, program.donated).to_record()
            line = f"{found['memory']}"
        except CostModelError as error:
            line = str(error)
            found = {"compiler": compiler, "versions": installed(compiler), "refused": line}
        records[program.key] = {"program": program.key, **found}
        store(folder, compiler, {p.key: records[p.key] for p in programs(folder) if p.key in records})
        yield f"{program.key}: {line}"


# -- the page -----------------------------------------------------------------------------------------------------------------


def judged(folder: str | Path, compiler: str, analyze: Callable[[Program], Cost],
           only: Sequence[str] = ()) -> list[tuple[Program, Judgement]]:
    """Our figures beside the stored ones, for every program (or the models in ``only``) that the compiler did not refuse."""
    from costmodel.bench.judge import compare

    records = load(folder, compiler)
    asked = [p for p in programs(folder) if (not only or p.model in only) and "kernels" in records.get(p.key, {})]
    return [(p, compare(analyze(p), p.point, from_record(records[p.key]), donate=p.donated)) for p in asked]


def over(judgement: Judgement) -> tuple[str, ...]:
    """The figures whose error needs an explanation."""
    return (*(["bytes"] if abs(judgement.bytes_error) > BYTES_LIMIT else []),
            *(["peak"] if judgement.peak_error < PEAK_LIMIT else []))


_HEAD = """# Compilers as judges

Written by `python -m costmodel.bench.judged page tests/data/compilers` from the records in that folder, nothing by hand.
`make judge COMPILER=xla-cpu` makes a compiler's records anew; no device is needed, for a GPU or a TPU neither.

Each program was compiled, and XLA's optimised program read kernel by kernel. **Bytes** are the logical bytes of all its kernels:
elements touched of each operand and result, loops as often as they run. Where XLA's own analysis counts the same things it
gives the same number, to the rounding of its 32-bit sum; a remark says where it does not. On a TPU only the main memory counts;
copies of arguments and results into another layout are left out. **Live peak** is arguments + results + temporaries - results
in the place of arguments. Our figures are the closed forms at the point, under the policy that stands for the compiler.

What the compiler made of the `development` programs was read while the policies were written; of those `held out`, only the errors
were seen. An error is ours over the compiler's, less one. A row is explained where its bytes are more than 30 % off, or its peak
more than 15 % below.
"""


def markdown(folder: str | Path, analyze: Callable[[Program], Cost]) -> str:
    """The page: a section a compiler, with a row a program and medians."""
    why = explanations(folder)
    parts = [_HEAD]
    for compiler in targets():
        if rows := judged(folder, compiler, analyze):
            parts.append(section(compiler, rows, why, load(folder, compiler)))
    return "\n".join(parts)


def section(compiler: str, rows: Sequence[tuple[Program, Judgement]], why: Mapping[tuple[str, str, str], str],
            records: Mapping[str, Mapping[str, Any]]) -> str:
    """A compiler's table, and what it refused."""
    versions = ", ".join(f"{name} {version}" for name, version in rows[0][1].theirs.versions.items())
    head = ["program", "at", "half", "bytes", "ours", "error", "live peak", "ours", "error", "kernels", "ours", "remarks"]
    lines = [f"## {compiler}, against `{target(compiler)['policy']}`", "", f"{versions}. Bytes in MB.", "",
             "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [row_of(program, j, compiler, why) for program, j in rows]
    refused = [f"* {r['program']}: {r['refused']}" for r in records.values() if "refused" in r]
    return "\n".join([*lines, "", *summary(rows), *(["", "Not compiled:", "", *refused] if refused else []), ""])


def row_of(program: Program, j: Judgement, compiler: str, why: Mapping[tuple[str, str, str], str]) -> str:
    """One row of the table."""
    told = [why.get((compiler, program.key, figure), "not explained") + _by_kind(j) * (figure == "bytes") for figure in over(j)]
    borders = [f"with on-chip memory {_mb(j.theirs.borders)}, ours {_mb(j.borders)} ({j.borders_error:+.1%})"] * j.theirs.on_chip
    cells = [program.name, program.at, program.half, _mb(j.theirs.bytes), _mb(j.bytes), f"{j.bytes_error:+.1%}", _mb(j.theirs.peak),
             _mb(j.peak), f"{j.peak_error:+.1%}", str(j.theirs.kernels), str(j.kernels), "; ".join([*told, *borders, *j.notes])]
    return "| " + " | ".join(cells) + " |"


def summary(rows: Sequence[tuple[Program, Judgement]]) -> Iterator[str]:
    """Medians and worst errors, of all rows and of each half."""
    yield "| rows | bytes: median error | worst | live peak: median error | furthest below | furthest above |"
    yield "|---|---|---|---|---|---|"
    for half in ("development", "held out", ""):
        found = [j for program, j in rows if half in ("", program.half)]
        if not found:
            continue
        moved, peaks = [j.bytes_error for j in found], [j.peak_error for j in found]
        cells = [f"{half or 'all'} ({len(found)})", *(f"{x:.1%}" for x in (median(moved), max(map(abs, moved)), median(peaks))),
                 f"{min(peaks):+.1%}", f"{max(peaks):+.1%}"]
        yield "| " + " | ".join(cells) + " |"


def median(errors: Iterable[float]) -> float:
    """Median of absolute errors."""
    return statistics.median(map(abs, errors))


def _by_kind(j: Judgement) -> str:
    """The kinds of kernel that make most of the difference."""
    parts = [f"{d.name} {d.bytes / 1e6:+,.1f} MB" for d in j.by("kind")[:3] if abs(d.bytes) > 0.05 * abs(j.bytes - j.theirs.bytes)]
    return f" (by kind: {', '.join(parts)})"


def _mb(x: float) -> str:
    return f"{x / 1e6:,.1f}"


def analyzer() -> Callable[[Program], Cost]:
    """``Program.analyze``, once for all points."""
    known: dict[tuple[str | None, ...], Cost] = {}

    def analyze(program: Program) -> Cost:
        key = program.model, program.optimizer, program.where
        if key not in known:
            known[key] = program.analyze()
        return known[key]

    return analyze


def main(arguments: Sequence[str]) -> None:
    """What `python -m costmodel.bench.judged` does: `make COMPILER FOLDER`, or `page FOLDER`."""
    if arguments[:1] == ["make"] and len(arguments) == 3:
        prepare(arguments[1])
        for line in make(arguments[1], arguments[2], analyzer()):
            print(line, flush=True)
    elif arguments[:1] == ["page"] and len(arguments) == 2:
        print(markdown(arguments[1], analyzer()), end="")
    else:
        raise SystemExit("give `make COMPILER FOLDER` or `page FOLDER`")


if __name__ == "__main__":
    main(sys.argv[1:])
