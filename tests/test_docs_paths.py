"""Files that the pages name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMED = re.compile(r"`((?:\w[\w.-]*/)+\w[\w.-]*\.(?:py|toml|md|csv|jsonl|ipynb))`")
# What stands in front of a path in the text of a page, if anything does.
FROM = ("", "costmodel", "tests", "docs", "zoo", "tests/data")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    assert [path for path in named if not any((ROOT / start / path).exists() for start in FROM)] == []
