"""The built documentation in a browser: `make docs browser`."""

from __future__ import annotations

from pathlib import Path

import browser
import pytest

BUILT = Path(__file__).parents[1] / "docs" / "_build" / "html"
WIDE = "[...document.querySelectorAll('pre')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 60))"


@pytest.mark.browser
@pytest.mark.skipif(not (BUILT / "index.html").exists(), reason="the documentation is not built: make docs")
@pytest.mark.skipif(browser.found() is None, reason="there is no browser: make browser installs one")
def test_no_code_scrolls_sideways_at_1280_pixels():
    pages = [page for page in sorted(BUILT.rglob("*.html")) if page.stem not in ("genindex", "search", "py-modindex")]
    assert len(pages) >= 25
    with browser.Browser(1280, 900) as tab:
        for page in pages:
            tab.open(page.as_uri())
            assert tab.run(WIDE) == [], page.name
            assert tab.run("document.documentElement.scrollWidth") <= 1280, page.name
