"""Formulas and tables as LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sympy import Expr, Integer

from costmodel.symbolic import printers
from costmodel.text import shown

if TYPE_CHECKING:
    from costmodel.pricing.core import Priced
    from costmodel.pricing.table import Table

_SPECIAL = str.maketrans({"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
                          "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "…": r"\ldots{}", "×": r"$\times$"})


def summary_latex(cost: Priced) -> str:
    r"""The headline metrics as an ``align*`` environment, with \text labels (amsmath)."""
    lines = [rf"\text{{{_text(label)}}} &= {_math(value)}\ \text{{{_text(unit)}}}" for label, value, unit in cost.headline()]
    return "\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}"


def table_latex(table: Table) -> str:
    """The table as a ``tabular`` with booktabs rules; the conventions follow as comments."""
    columns = "l" + "r" * len(table.columns)
    head = " & ".join(["", *(_text(f"{name} [{unit}]") for name, unit in table.columns)])
    body = []
    for row in table.rows:
        label = r"\quad " * (not row.repeats) + _text(row.label) + (f" ×{row.repeats}" if row.repeats > 1 else "")
        body.append(" & ".join([label, *(f"${_math(c)}$" for c in row.cells)]) + r" \\")
    total = " & ".join(["total", *(f"${_math(c)}$" for c in table.total)])
    notes = "\n".join(f"% {shown(note)}" for note in table.notes)
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head + r" \\", r"\midrule", *body, r"\midrule",
                      total + r" \\", r"\bottomrule", r"\end{tabular}", notes])


def _text(text: str) -> str:
    """A text that LaTeX prints as it is. A bracket or a star at its start would be an argument of the line break before it."""
    escaped = shown(text).translate(_SPECIAL)
    return "{}" * text.startswith(("[", "*")) + escaped


def _math(value: Any) -> str:
    expr = value if isinstance(value, Expr) else Integer(value) if value == int(value) else None
    if expr is None:
        return f"{float(value):g}"
    return f"{int(expr):,}".replace(",", r"\,") if expr.is_Integer else printers.latex(expr)
