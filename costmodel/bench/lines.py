"""Files of JSON lines, to which every result appends one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from costmodel.files import append_line


def append(path: str | Path, record: Mapping[str, Any]) -> None:
    """Append a record. Raises CostModelError where the file cannot be written."""
    append_line(path, json.dumps(record))
