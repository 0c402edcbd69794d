"""Why a layer costs what it costs: equation -> rule -> formula -> number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from costmodel.errors import CostModelError
from costmodel.pricing.core import Point, Priced
from costmodel.rules.branches import told
from costmodel.rules.work import Equation
from costmodel.surface import named
from costmodel.symbolic.plain import cell
from costmodel.text import did_you_mean, shown


@dataclass(frozen=True)
class Line:
    """One equation: its text, the rule that costed it, its operations as formulas, and (at a point) their values."""

    module: str
    equation: str
    rule: str
    formulas: tuple[tuple[str, Any], ...]
    values: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Explanation:
    """The equations of a module (``path``), one line of text, rule and formulas each."""

    path: str
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        out = [shown(self.path) or "the whole program"]
        for line in self.lines:
            out += [f"  {shown(line.equation)}", f"    rule {shown(line.rule)}" + ("" if line.formulas else ": no arithmetic")]
            values = dict(line.values)
            for name, formula in line.formulas:
                out.append(f"    {shown(name)} = {formula}" + (f" = {cell(values[name])}" if name in values else ""))
        return "\n".join(out)


def explain(cost: Priced, path: str) -> Explanation:
    """Explain the module ``path`` ("layer1_0/conv2") and everything below it. Raises CostModelError for an unknown path."""
    path = named("layer", path, "layer1_0/conv2")
    wanted = tuple(p for p in path.split("/") if p not in ("", "~"))  # Haiku's own paths have a ~, which is no level
    program = cost.formulas.program if isinstance(cost, Point) else cost.program
    equations = [e for e in program if e.path[:len(wanted)] == wanted]
    if not equations:
        known = sorted({"/".join(e.path[:d]) for e in program for d in range(1, len(e.path) + 1)})
        some = ", ".join(known[:3]) or "none: it is a function without modules"
        near = did_you_mean(path, known, cutoff=0.3) or f" its layers are {some}"
        raise CostModelError(f"no layer {path!r} in {shown(cost.name)};{shown(near)}")
    return Explanation(path, tuple(_line(cost, e) for e in equations))


def _line(cost: Priced, e: Equation) -> Line:
    symbolic = cost.formulas if isinstance(cost, Point) else cost

    def show(values) -> str:
        return ", ".join(f"{v.array.dtype}[{','.join(str(symbolic.evaluate(d)) for d in v.array.shape)}]" for v in values)

    quantities = [(f"{kind.name} ({kind.engine}, {kind.dtype})", dense * e.times) for kind, dense, _ in e.work.ops]
    quantities += [(f"{kind.name}, valid taps only", valid * e.times) for kind, dense, valid in e.work.ops if valid != dense]
    quantities += [("elements read", sum(e.work.read) * e.times), ("elements written", sum(e.work.written) * e.times)]
    quantities = [(name, expr) for name, expr in quantities if expr != 0]
    text = f"{show(e.outs)} = {e.primitive}({show(e.ins)})" + (f" {e.detail}" if e.detail else "")
    values = tuple((name, cost.evaluate(expr)) for name, expr in quantities) if isinstance(cost, Point) else ()
    formulas = tuple((name, symbolic.evaluate(expr)) for name, expr in quantities)
    if e.branch:
        text += f" on {told(e.branch)}"
    return Line(e.module, text, f"{e.rule} [{e.status}]", formulas, values)
