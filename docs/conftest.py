"""A document's examples leave nothing behind: what they register is gone when they end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from costmodel.fusion.registry import policy, scoped


@pytest.fixture(autouse=True)
def _own_policies() -> Iterator[None]:
    with scoped(policy("unfused")):
        yield
