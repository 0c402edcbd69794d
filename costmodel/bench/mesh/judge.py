"""What one device of a mesh sends and holds, as a compiler partitioned the program and as we say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costmodel.bench.compilers import target
from costmodel.bench.lines import append
from costmodel.bench.mesh.compile import Partitioned, compile_over
from costmodel.errors import CostModelError
from costmodel.sheets import Column, Line, OneSheet, Sheet

if TYPE_CHECKING:
    from costmodel.bench.mesh.programs import Program
    from costmodel.cost import Cost, CostAt

FORMAT = "costmodel-mesh-judgement-1"

# Our kinds of exchange by XLA's name. XLA for processors has no reduce-scatter: it makes the all-reduce, which sends twice as much.
_KINDS = {"all_gather": "all-gather", "all_reduce": "all-reduce", "reduce_scatter": "reduce-scatter", "all_to_all": "all-to-all",
          "permute": "collective-permute", "halo": "collective-permute"}
_WHOLE_SUMS = ("xla-cpu",)


@dataclass(frozen=True)
class OverMesh:
    """A program at a point over a mesh, by a compiler and by us. All sizes in bytes, of one device.

    ours:     collectives by XLA's kinds: how many run, and the bytes that a device sends in them.
    argument, output, peak: our arguments, results and live peak.
    doubtful: what is known to be sent otherwise by this compiler, a line each.
    """

    name: str
    point: Mapping[str, int]
    theirs: Partitioned
    ours: Mapping[str, tuple[int, float]]
    argument: int
    output: int
    peak: int
    doubtful: tuple[str, ...] = ()

    @property
    def wire(self) -> float:
        """Bytes that a device sends by our account."""
        return sum(sent for _, sent in self.ours.values())

    @property
    def wire_ratio(self) -> float:
        """Ours over theirs; 1 where neither sends anything."""
        return self.wire / self.theirs.wire if self.theirs.wire else 1.0 if not self.wire else float("inf")

    @property
    def peak_ratio(self) -> float:
        """Ours over theirs; below 1 promises a fit that does not hold."""
        return self.peak / self.theirs.peak

    def to_record(self) -> dict[str, Any]:
        """As plain data."""
        return {"format": FORMAT, "name": self.name, "point": dict(self.point), "ours": dict(self.ours), "argument": self.argument,
                "output": self.output, "peak": self.peak, "doubtful": list(self.doubtful), "theirs": self.theirs.to_record()}

    def save(self, path: str) -> None:
        """Append the record to a file of JSON lines. Raises CostModelError where that cannot be written."""
        append(path, self.to_record())

    def __str__(self) -> str:
        return render(self)


def judge_over_mesh(cost: Cost, values: Mapping[str, int], compiler: str = "xla-cpu") -> OverMesh:
    """Compile a sharded program at a point for all devices of its mesh, and set what it sends and holds beside ours.

    Raises CostModelError for a cost of one device or without a model, a point outside the domain, or what the compiler refuses.
    """
    target(compiler)
    if cost.sharded is None:
        raise CostModelError(f"{cost.name} is of one device, or from a file: analyse it with mesh=… and judge that")
    given = {**cost.domain.defaults, **values}
    there = cost.sharded.at(cost.domain, cost.domain.bind(given))
    return compare(cost.at(**given), compile_over(there, compiler))


def judge_program(program: Program, mesh: Mapping[str, int], compiler: str = "xla-cpu", point: Mapping[str, int] | None = None,
                  dtype: str = "float32") -> OverMesh:
    """The judgement of a program by name, where no point is given at its own."""
    strange = sorted(set(point or {}) - set(program.point))
    if strange:
        raise CostModelError(f"{program.name} has no size {', '.join(strange)}: its sizes are {', '.join(program.point)}")
    values = {**program.point, **(point or {})}
    return compare(program.analyze(mesh, dtype).at(**values), compile_over(program.at(mesh, dtype, **values), compiler))


def compare(at: CostAt, theirs: Partitioned) -> OverMesh:
    """The judgement by a program that is compiled already."""
    found = target(theirs.compiler)
    argument, output = (int(sum(at.evaluate(v.bytes) for v in side)) for side in (at.program.inputs, at.program.outputs))
    peak = int(at.live_peak(policy=found["policy"], order=found["order"]))
    sharded = at.cost.sharded
    return OverMesh(at.name, dict(at.values), theirs, sent(at, theirs.compiler), argument, output, peak,
                    () if sharded is None else sharded.doubts)


def sent(at: CostAt, compiler: str) -> dict[str, tuple[int, float]]:
    """What a device sends, by XLA's kinds, as the compiler makes them."""
    kinds: dict[str, tuple[int, float]] = {}
    for row in at.collectives():
        kind, total = _KINDS.get(row.kind, row.kind), float(row.total)
        if kind == "reduce-scatter" and compiler in _WHOLE_SUMS:
            kind, total = "all-reduce", 2 * total
        if total:
            count, before = kinds.get(kind, (0, 0.0))
            kinds[kind] = count + int(row.times), before + total
    return kinds


def render(j: OverMesh) -> str:
    """Collectives by kind, and memory, as a table."""
    theirs = j.theirs
    at = ", ".join(f"{k}={v}" for k, v in j.point.items() if k not in theirs.mesh)
    mesh = " x ".join(f"{k}={v}" for k, v in theirs.mesh.items())
    versions = ", ".join(f"{name} {version}" for name, version in theirs.versions.items())
    sent_each = [(kind, *theirs.collectives.get(kind, (0, 0.0)), j.ours.get(kind, (0, 0.0))[1])
                 for kind in sorted({*theirs.collectives, *j.ours})]
    held = (("sent in all", theirs.wire, j.wire), ("arguments", theirs.argument, j.argument), ("results", theirs.output, j.output),
            ("temporaries", theirs.temporary, j.peak - j.argument - j.output), ("live peak", theirs.peak, j.peak))
    rows = (*(Line(kind, (a, count, b, _ratio(b, a))) for kind, count, a, b in sent_each),
            *(Line(label, (a, None, b, _ratio(b, a))) for label, a, b in held))
    columns = (Column("one device's bytes"), Column("compiler", "B", "si"), Column("runs"), Column("costmodel", "B", "si"),
               Column("ours/theirs"))
    head = (f"{j.name} at {at or 'its fixed shapes'}, one device of the mesh {mesh}\n"
            f"compiled by {theirs.compiler} ({versions}), and by costmodel\n\n")
    return head + OneSheet(Sheet("", columns, rows, (), tuple(f"note: {line}" for line in j.doubtful))).text()


def summary(judged: Sequence[OverMesh]) -> str:
    """Of several judgements, a row each: bytes sent and live peak, ours over theirs."""
    columns = (Column("program"), Column("sent, compiler", "B", "si"), Column("costmodel", "B", "si"), Column("ours/theirs"),
               Column("peak, ours/theirs"))
    rows = tuple(Line(j.name, (j.theirs.wire, j.wire, f"{j.wire_ratio:.3f}", f"{j.peak_ratio:.2f}")) for j in judged)
    return OneSheet(Sheet("", columns, rows)).text()


def _ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.3f}" if theirs else "-"
