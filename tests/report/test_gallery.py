"""The gallery's page and its script are of the same figures."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def gallery(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.delitem(sys.modules, "gallery", raising=False)
    import gallery

    return gallery


def test_the_page_shows_every_figure(gallery):
    shown = re.findall(r"\(gallery/(\w+)\.svg\)", (DOCS / "gallery.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(gallery.FIGURES)


@pytest.mark.slow
def test_every_figure_is_made(gallery, tmp_path):
    gallery.make(tmp_path)
    assert all((tmp_path / f"{name}.svg").stat().st_size > 5000 for name in gallery.FIGURES)
