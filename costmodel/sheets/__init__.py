"""Sheets: what a result has to say, as rows and columns, and one renderer for each form: terminal, CSV, JSON, LaTeX, markdown,
HTML, pandas. They know nothing of what they show."""

from costmodel.sheets.facts import Drawn, Facts, facts, facts_chart, heads
from costmodel.sheets.result import OneSheet, Result, joined
from costmodel.sheets.sheet import Amount, Column, Line, Sheet

# What other rooms may use.
__all__ = [
    "Amount",
    "Column",
    "Drawn",
    "Facts",
    "Line",
    "OneSheet",
    "Result",
    "Sheet",
    "facts",
    "facts_chart",
    "heads",
    "html",
    "joined",
    "latex",
]
