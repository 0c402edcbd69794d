"""Formulas and sheets as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sympy import Expr

from costmodel.sheets.sheet import Amount, Column, Sheet
from costmodel.symbolic.latex import latex
from costmodel.symbolic.naming import named
from costmodel.symbolic.plain import shortest
from costmodel.text import shown

_SPECIAL = str.maketrans({"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
                          "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "…": r"\ldots{}", "×": r"$\times$",
                          "→": r"$\to$", "≤": r"$\le$", "≥": r"$\ge$", "⌈": r"$\lceil$", "⌉": r"$\rceil$", "⌊": r"$\lfloor$",
                          "⌋": r"$\rfloor$", "·": r"$\cdot$", "µ": r"$\mu$", "–": "--", "−": r"$-$"})


def equations(lines: Iterable[tuple[str, Any, str]]) -> str:
    r"""(label, value, unit) as an ``align*`` environment, with \text labels (amsmath). A form that stands in several of them, such
    as the rows of a convolution's output, is written once under a name of its own, h_o, below."""
    found = [(label, value, unit) for label, value, unit in lines]
    definitions, values = named([shortest(value) if isinstance(value, Expr) else value for _, value, _ in found])
    out = [rf"\text{{{_text(label)}}} &= {_math(value)}\ \text{{{_text(unit)}}}"
           for (label, _, unit), value in zip(found, values, strict=True)]
    out += [rf"{latex(name)} &= {latex(form)}" for name, form in definitions.items()]
    return "\\begin{align*}\n" + " \\\\\n".join(out) + "\n\\end{align*}"


def to_latex(sheet: Sheet) -> str:
    """The sheet as a ``tabular`` with booktabs rules; names of forms and the conventions follow as comments."""
    columns = "".join("l" if i == 0 or column.style == "text" else "r" for i, column in enumerate(sheet.columns))
    heads = " & ".join(_text("" if i == 0 else column.head if column.style != "si" else column.name)
                       for i, column in enumerate(sheet.columns))
    forms = [shortest(value) for line in sheet.lines for value in line.cells if isinstance(value, Expr)]
    definitions, values = named(forms)
    short = dict(zip((v for line in sheet.lines for v in line.cells if isinstance(v, Expr)), values, strict=True))
    rows = [r"\quad " * (not line.counts) + _text(line.told) + " & " + " & ".join(_cells(sheet.columns[1:], line.cells, short))
            for line in sheet.lines]
    body, total = (rows[:-1], [r"\midrule", rows[-1] + r" \\"]) if sheet.total else (rows, [])
    notes = [f"% ${latex(name)} = {latex(form)}$" for name, form in definitions.items()] + [f"% {shown(n)}" for n in sheet.notes]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", heads + r" \\", r"\midrule", *(row + r" \\" for row in body),
                      *total, r"\bottomrule", r"\end{tabular}", *notes])


def _cells(columns: Sequence[Column], cells: Sequence[Any], short: dict[Expr, Expr]) -> Iterable[str]:
    for column, value in zip(columns, cells, strict=True):
        if isinstance(value, str | Amount) or value is None or column.style != "exact":
            yield _text(column.shown(value))
        else:
            yield f"${_math(short.get(value, value) if isinstance(value, Expr) else value)}$"


def _text(text: str) -> str:
    """A text that LaTeX prints as it is. A bracket or a star at its start would be an argument of the line break before it."""
    escaped = shown(text).translate(_SPECIAL)
    return "{}" * text.startswith(("[", "*")) + escaped


def _math(value: Any) -> str:
    if isinstance(value, Expr) and not value.is_Integer:
        return latex(value)
    return f"{int(value):,}".replace(",", r"\,") if value == int(value) else f"{float(value):g}"
