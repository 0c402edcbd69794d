"""Files of JSON lines, to which every result appends one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from costmodel.errors import CostModelError


def append(path: str | Path, record: Mapping[str, Any]) -> None:
    """Append a record. Raises CostModelError where the file cannot be written."""
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise CostModelError(f"cannot write {path}: {error.strerror}; save to another file") from None
