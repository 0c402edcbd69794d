"""TOML of people who may mean harm: what would keep the parser busy is refused before it is read."""

from __future__ import annotations

import re
import tomllib
from typing import Any

MAX_BYTES = 500_000  # a shipped file has 5000, a measured one as many for its samples
MAX_LEVELS = 30  # of a dotted key: the parser's time grows with their square
MAX_BITS = 1000  # of an integer

# Texts, which may hold anything, and comments. One that is not closed goes to the end: nothing is looked at twice.
_TEXT = re.compile(r"""
    \"{3} (?: [^"\\] | \\. | "(?!"") )* (?:\"{3})?
  | '{3} .*? (?: '{3} | \Z )
  | " (?: [^"\\\n] | \\. )* "?
  | ' [^'\n]* '?
  | \# [^\n]*
""", re.DOTALL | re.VERBOSE)
_BETWEEN_KEYS = re.compile(r"[^\w.\-]+")


def parse_toml(raw: bytes) -> dict[str, Any]:
    """The tables of a TOML text in UTF-8. Raises ValueError, and RecursionError for what nests too deeply."""
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    text = raw.decode("utf-8").replace("\r\n", "\n")
    keys = _BETWEEN_KEYS.split(_TEXT.sub("_", text).replace(" ", "").replace("\t", ""))
    if any(key.count(".") > MAX_LEVELS for key in keys):
        raise ValueError(f"a key of more than {MAX_LEVELS} levels")
    data = tomllib.loads(text)
    _check(data)
    return data


def _check(data: dict[str, Any]) -> None:
    """Raises ValueError for an integer too long to be printed."""
    left: list[Any] = [data]
    while left:
        part = left.pop()
        if isinstance(part, dict | list):
            left += part.values() if isinstance(part, dict) else part
        elif isinstance(part, int) and part.bit_length() > MAX_BITS:
            raise ValueError(f"an integer of {part.bit_length()} bits; the bound is {MAX_BITS}")


# What other files of the room use.
__all__ = ["MAX_BYTES", "parse_toml"]
