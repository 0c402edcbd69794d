"""Fixtures of the acceptance tests: every zoo model is analysed once a session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import zoo
from costmodel import Cost, ModelEntry

ENTRIES: dict[str, ModelEntry] = {entry.name: entry for entry in zoo.models()}


@pytest.fixture(scope="session")
def cost_of() -> Callable[[str], Cost]:
    """The symbolic cost of a zoo model by name, traced when first asked for."""
    known: dict[str, Cost] = {}

    def get(name: str) -> Cost:
        if name not in known:
            known[name] = ENTRIES[name].analyze()
        return known[name]

    return get


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with an argument ``entry`` runs for every model of the zoo."""
    if "entry" in metafunc.fixturenames:
        metafunc.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
