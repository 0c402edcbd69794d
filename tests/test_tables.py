"""Tables are laid out as rich lays them out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.tables import Grid, _by_rich, grid, printed, titled

WORDS = st.text(st.sampled_from("ab·7–×[]:\\é宽\u0301-"), max_size=9)
CELLS = st.lists(WORDS, max_size=3).map(" ".join)
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    names = draw(st.lists(st.lists(WORDS, min_size=1, max_size=2).map("\n".join), min_size=1, max_size=4, unique=True))
    out = grid(*names, left=tuple(draw(st.lists(st.sampled_from(names), unique=True))), caption=draw(TEXTS))
    for _ in range(draw(st.integers(0, 4))):
        out.add_row(*(draw(CELLS) for _ in names))
        if draw(st.booleans()):
            out.add_section()
    return out


@given(grids(), TEXTS, TEXTS, st.integers(12, 90))
def test_a_table_is_what_rich_draws(table, title, below, width):
    shown = titled(title, table, below)
    assert printed(shown, width) == "\n".join(line.rstrip() for line in _by_rich(shown, width))


def test_what_fits_needs_no_rich(monkeypatch):
    monkeypatch.setattr("costmodel.tables._by_rich", lambda *_: pytest.fail("rich is asked"))
    table = grid("name", "bytes\n[B]", left=("name",), caption="of one run")
    table.add_row("a", "12")
    table.add_section()
    table.add_row("total", "12")
    assert printed(titled("title", table, "words " * 60 + "end"), 100).splitlines()[:8] == [
        "title", "", "  name    bytes", "            [B]", " ───────────────", "  a          12", "", "  total      12"]
