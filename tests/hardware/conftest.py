"""Fixtures of the hardware tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from .toy import GOOD, MEASURED


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(GOOD + MEASURED, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_user_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine that runs the tests may have devices of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "costmodel" / "hardware"
