"""Why a layer costs what it costs: equation -> rule -> formula -> number."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costmodel.errors import CostModelError
from costmodel.work import Equation

if TYPE_CHECKING:
    from costmodel.cost import _Prices


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
    path: str
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        out = [self.path or "the whole program"]
        for line in self.lines:
            out += [f"  {line.equation}", f"    rule {line.rule}" + ("" if line.formulas else ": no arithmetic")]
            values = dict(line.values)
            for name, formula in line.formulas:
                out.append(f"    {name} = {formula}" + (f" = {values[name]:,}" if name in values else ""))
        return "\n".join(out)


def explain(cost: _Prices, path: str) -> Explanation:
    """Explain the module ``path`` ("layer1_0/conv2") and everything below it. Raises CostModelError for an unknown path."""
    wanted = tuple(p for p in path.split("/") if p)
    equations = [e for e in cost.program if e.path[:len(wanted)] == wanted]
    if not equations:
        known = sorted({"/".join(e.path[:d]) for e in cost.program for d in range(1, len(e.path) + 1)})
        near = difflib.get_close_matches(path, known, n=3, cutoff=0.3) or known[:3]
        raise CostModelError(f"no layer {path!r} in {cost.name}; did you mean {', '.join(near) or 'a function without modules'}?")
    return Explanation(path, tuple(_line(cost, e) for e in equations))


def _line(cost: _Prices, e: Equation) -> Line:
    from costmodel.cost import CostAt

    symbolic = cost.cost if isinstance(cost, CostAt) else cost

    def show(values) -> str:
        return ", ".join(f"{v.array.dtype}[{','.join(str(symbolic._value(d)) for d in v.array.shape)}]" for v in values)

    quantities = [(f"{kind.name} ({kind.engine}, {kind.dtype})", dense * e.times) for kind, dense, _ in e.work.ops]
    quantities += [(f"{kind.name}, valid taps only", valid * e.times) for kind, dense, valid in e.work.ops if valid != dense]
    quantities += [("elements read", sum(e.work.read) * e.times), ("elements written", sum(e.work.written) * e.times)]
    quantities = [(name, expr) for name, expr in quantities if expr != 0]
    text = f"{show(e.outs)} = {e.primitive}({show(e.ins)})" + (f" {e.detail}" if e.detail else "")
    values = tuple((name, cost._value(expr)) for name, expr in quantities) if isinstance(cost, CostAt) else ()
    return Line(e.module, text, f"{e.rule} [{e.status}]", tuple((name, symbolic._value(expr)) for name, expr in quantities), values)
