"""All data of the page: a JSON object of plain numbers, names and places, and the functions that evaluate its closed forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Expr

from costmodel.errors import CostModelError
from costmodel.hardware import Hardware, Standing
from costmodel.pricing import metrics
from costmodel.pricing.core import Symbolic
from costmodel.pricing.rate import BATCH
from costmodel.pricing.topology import on_links
from costmodel.report.page.devices import TYPES, bits, devices, exported, predictions
from costmodel.report.page.forms import Forms
from costmodel.report.page.formulas import headline_formulas, module_formulas
from costmodel.report.page.places import Places
from costmodel.report.page.program import Program
from costmodel.report.page.region import region
from costmodel.report.page.settled import settle
from costmodel.report.page.start import start
from costmodel.rules.branches import Branches
from costmodel.rules.types import Types, retype
from costmodel.rules.work import CostTable, is_floating
from costmodel.symbolic.forms import symbol


@dataclass(frozen=True)
class Exported:
    """``data`` is what JSON can say; ``functions`` is JavaScript text whose names are all ours; ``forms`` and ``lines`` are the
    expressions, in internal symbols, that its functions of these names return."""

    data: dict[str, Any]
    functions: str
    forms: Sequence[Expr]
    lines: Sequence[Expr]


def export(cost: Symbolic, hardware: Sequence[str | Hardware], at: Mapping[str, int], notes: Sequence[str]) -> Exported:
    """The data of a cost's page; arguments as for :func:`costmodel.report.page.page`."""
    if cost.program.branches is Branches.MIN and any(e.branch for e in cost.program):
        raise CostModelError("a page counts the most that branches take: analyze with branches='max', 'mean' or 'symbol'")
    point, axes = start(cost.domain, {**cost.domain.defaults, **at}), dict(cost.program.axes)
    wanted = [on_links(device, cost.name, axes, device.topology) for device in devices(hardware)]
    settle(cost, point)
    forms, lines, texts, stands = Forms(), Forms(), Places[str](), Places[Standing]()
    program = Program(cost, forms)
    data = program.exported()
    symbols = [symbol(v.name) for v in cost.domain.ordered]
    headline = _headline(cost, lines)
    domain = _domain(cost, bounds := Forms())
    data |= {
        "name": cost.name, "domain": domain, "start": point, "headline": headline, "types": TYPES,
        "floating": [name for name in (*data["dtypes"], *TYPES) if is_floating(name)], "bits": bits(data["dtypes"]),
        "devices": exported(wanted, list(program.kinds), texts, stands), "texts": list(texts),
        "stands": predictions(stands), "device": _chosen(wanted), "batch": BATCH,
        "mesh": [[axis, [v.name for v in cost.domain.ordered].index(axis)] for axis in axes],
        "partitioned": _partitioned(cost, point),
        "formulas": headline_formulas(cost), "parts": module_formulas(cost), "notes": [*notes, str(cost.coverage), *_doubts(cost)],
    }
    functions = []
    for name, each in (("forms", forms), ("lines", lines), ("bounds", bounds)):
        text, data[f"{name}Below"] = each.written(name, symbols)
        functions.append(text)
    return Exported(data, "\n".join(functions), tuple(forms), tuple(lines))


def _chosen(found: Sequence[Hardware]) -> int:
    names = [device.name for device in found]
    return names.index("h100-sxm") if names[0] != "h100-sxm" and len(names) > 12 and "h100-sxm" in names else 0


def _headline(cost: Symbolic, lines: Forms) -> dict[str, Any]:
    """Places of the metrics that are closed forms whatever is chosen; of compulsory bytes those as traced, and with every floating
    element in 16 and in 8 bits, between which they are linear."""
    plain = {"params": {}, "buffers": {}, "macs": {}, "flops": {}, "ops": {}, "transcendentals": {},
             "activations": {"rule": "total"}, "activations_peak": {}}
    found: dict[str, Any] = {name: lines.add(cost.price(name, **options)) for name, options in plain.items()}
    narrow = [_compulsory(retype(cost.program, Types.of(to))) for to in ("float16", "int8")]
    found["compulsory"] = lines.all([cost.price("bytes", form="compulsory"), *narrow])
    return found


def _compulsory(table: CostTable) -> Expr:
    return metrics.get("bytes").price(table, form="compulsory")


def _domain(cost: Symbolic, bounds: Forms) -> dict[str, Any]:
    """The variables in the order of the functions' arguments, each with its divisor; relations that must not be negative; what must
    divide what; and the boundaries at which the program may be another one, with those that a concrete trace settled."""
    regions = cost.origin.compared
    return {
        "variables": [{"name": v.symbol, "divisor": bounds.add(v.divisor), "lower": v.lower, "upper": v.upper}
                      for v in cost.domain.ordered],
        "relations": [[r.text, bounds.add(r.difference)] for r in cost.domain.relations],
        "multiples": [[cost.domain.text_of(m), bounds.add(m.part), bounds.add(m.whole)] for m in cost.domain.multiples],
        "boundaries": bounds.all(regions.boundaries[:regions.own]), "text": str(cost.domain),
        "same": sorted(map(sorted, regions.own_of(regions.same))), "region": region(cost, bounds),
    }


def _partitioned(cost: Symbolic, point: Mapping[str, int]) -> list[list[int]]:
    """The sizes of the mesh at which the partitioner was asked: its own and, where the model is there to ask for, the start's."""
    own = [size for _, size in cost.program.axes]
    there = [] if cost.origin.request is None else [point[axis] for axis, _ in cost.program.axes]
    return [own, there] if there not in ([], own) else [own]


def _doubts(cost: Symbolic) -> list[str]:
    regions = cost.origin.compared
    found = []
    if regions.by_order:
        found.append("jax chooses the order of an einsum by its sizes, and these forms have one order at all of them")
    if cost.fitted is not None:
        found.append(f"{cost.fitted}; where the program is another one cost.at(…) has its forms, and this file has not")
    elif cost.mesh is not None:
        found.append(f"what is sent is what the partitioner does over the mesh {cost.mesh}; cost.at(…) asks it at every point, and "
                     "this file cannot")
    return found
