"""The parts of a device file: units, and tables that name file and key of everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn

from costmodel.hardware.quantity import Quantity
from costmodel.text import shown

MAX_PROBLEMS = 100  # who has so many looks at the file
MAX_LINE = 1000
BLANK = "?"  # what a template has where its reader is to fill something in

# unit -> (base unit, factor); decimal, so that 66.9 TFLOP/s is 66.9e12 FLOP/s to the last bit
UNITS: Mapping[str, tuple[str, Decimal]] = {
    "FLOP/s": ("FLOP/s", Decimal("1")),
    "MFLOP/s": ("FLOP/s", Decimal("1e6")),
    "GFLOP/s": ("FLOP/s", Decimal("1e9")),
    "TFLOP/s": ("FLOP/s", Decimal("1e12")),
    "OP/s": ("OP/s", Decimal("1")),
    "MOP/s": ("OP/s", Decimal("1e6")),
    "GOP/s": ("OP/s", Decimal("1e9")),
    "TOP/s": ("OP/s", Decimal("1e12")),
    "B/s": ("B/s", Decimal("1")),
    "kB/s": ("B/s", Decimal("1e3")),
    "MB/s": ("B/s", Decimal("1e6")),
    "GB/s": ("B/s", Decimal("1e9")),
    "TB/s": ("B/s", Decimal("1e12")),
    "B": ("B", Decimal("1")),
    "kB": ("B", Decimal("1e3")),
    "MB": ("B", Decimal("1e6")),
    "GB": ("B", Decimal("1e9")),
    "KiB": ("B", Decimal("1024")),
    "MiB": ("B", Decimal("1048576")),
    "GiB": ("B", Decimal("1073741824")),
    "TB": ("B", Decimal("1e12")),
    "TiB": ("B", Decimal("1099511627776")),
    "s": ("s", Decimal("1")),
    "us": ("s", Decimal("1e-6")),
    "ns": ("s", Decimal("1e-9")),
    "mW": ("W", Decimal("1e-3")),
    "W": ("W", Decimal("1")),
    "Hz": ("Hz", Decimal("1")),
    "MHz": ("Hz", Decimal("1e6")),
    "GHz": ("Hz", Decimal("1e9")),
    "FLOP": ("FLOP", Decimal("1")),
    "J": ("J", Decimal("1")),
    "pJ": ("J", Decimal("1e-12")),
    "J/B": ("J/B", Decimal("1")),
    "pJ/B": ("J/B", Decimal("1e-12")),
    "pJ/32bit": ("J/B", Decimal("0.25e-12")),
    "1": ("1", Decimal("1")),
}

# base unit -> least and greatest value that a real device can have; a slip of a unit's prefix falls outside
PLAUSIBLE: Mapping[str, tuple[float, float]] = {
    "FLOP/s": (1e6, 1e18),
    "OP/s": (1e6, 1e18),
    "B/s": (1e6, 1e15),
    "B": (1e3, 1e15),
    "s": (1e-10, 1.0),
    "W": (1e-4, 1e5),
    "Hz": (1e4, 1e11),
    "FLOP": (0.1, 1e5),
    "J": (1e-17, 1e-6),
    "J/B": (1e-16, 1e-6),
    "1": (1e-4, 100.0),
}


class Refused(Exception):
    """A problem was noted that ends the reading of the table at hand."""


class Table:
    """A table of a device file that knows where it stands, so that each complaint names file and key; all tables of a file note
    their complaints in one list."""

    def __init__(self, data: Mapping[str, Any], file: str, path: str = "", problems: list[str] | None = None) -> None:
        self.data, self.file, self.path = data, file, path
        self.problems: list[str] = [] if problems is None else problems

    def note(self, key: str, expectation: str) -> None:
        """Add a problem: at this key something else was expected. Raises Refused where there are too many."""
        self.problems.append(shown(f"{self.file}: {self.where(key)}: {expectation}", MAX_LINE))
        if len(self.problems) >= MAX_PROBLEMS:
            raise Refused

    def fail(self, key: str, expectation: str) -> NoReturn:
        """Add a problem without which nothing else can be read. Raises Refused."""
        self.note(key, expectation)
        raise Refused

    def stop_if_wrong(self) -> None:
        """Raises Refused if there are any problems so far."""
        if self.problems:
            raise Refused

    def where(self, key: str) -> str:
        """The full name of a key: "datasheet.memory.bandwidth"."""
        return ".".join(part for part in (self.path, key) if part)

    def only(self, *known: str) -> None:
        """Note every key that is none of these."""
        for key in self.data:
            if key not in known:
                self.note(key, f"unknown key; expected one of {', '.join(known)}")

    def table(self, key: str, *, required: bool = False) -> Table:
        """The table under a key; an empty one where there is none. Raises Refused where one is required."""
        value = self.data.get(key)
        if value is None and required:
            self.fail(key, "missing table")
        if value is not None and not isinstance(value, dict):
            self.note(key, "expected a table")
            value = None
        return Table(value or {}, self.file, self.where(key), self.problems)

    def tables(self, key: str) -> list[Table]:
        """The entries of an array of tables."""
        entries = self.data.get(key, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self.note(key, f"expected [[{self.where(key)}]] tables")
            return []
        return [Table(entry, self.file, f"{self.where(key)}[{i}]", self.problems) for i, entry in enumerate(entries)]

    def text(self, key: str, default: str | None = None, among: Sequence[str] = ()) -> str:
        """A text; what is wrong with it is noted, and the text is then empty."""
        value = self.data.get(key, default)
        expected = f"one of {', '.join(among)}" if among else "a text that is not empty"
        if not isinstance(value, str) or (default is None and not value.strip()):
            self.note(key, f"expected {expected}" if key in self.data else f"missing; expected {expected}")
            return ""
        if value == BLANK:
            self.note(key, f"to be filled in: {expected}")
            return ""
        if among and value not in among and value != default:
            self.note(key, f"{value!r}; expected {expected}")
        return value

    def texts(self, key: str) -> dict[str, str]:
        """The texts of a table, by key."""
        inner = self.table(key)
        return {name: inner.text(name) for name in inner.data}

    def whole(self, key: str, low: int, high: int, what: str, default: int | None = None) -> int:
        """An integer between two bounds, or its default; ``what`` says what it is."""
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.note(key, f"to be filled in: {what}" if value == BLANK else f"{value!r}; expected {what}")
            return low
        return value

    def quantity(self, key: str, *bases: str, measured: bool = False, required: bool = False) -> Quantity | None:
        """The quantity under ``key``; None where there is none, or where something is wrong with it, which is noted."""
        if key not in self.data:
            if required:
                self.note(key, "missing; expected { value = …, unit = …, source = … }")
            return None
        inner, before = self.table(key), len(self.problems)
        if not isinstance(self.data[key], dict):
            return None
        inner.only("value", "unit", "source", "doubt")
        value, unit = inner.data.get("value"), inner.text("unit")
        source, doubt = inner.text("source"), inner.text("doubt", "")
        if value == BLANK:
            inner.note("value", f"to be filled in: a number in {unit}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            inner.note("value", "expected a number" if "value" in inner.data else "missing; expected a number")
        elif not value > 0:
            inner.note("value", f"{value} is not positive")
        if unit and unit not in UNITS:
            inner.note("unit", f"unknown unit {unit!r}; expected one of {', '.join(UNITS)}")
        elif unit and UNITS[unit][0] not in bases:
            inner.note("unit", f"{unit!r} does not measure this; expected {' or '.join(bases)} or a multiple")
        if len(self.problems) > before:
            return None
        base, factor = UNITS[unit]
        low, high = PLAUSIBLE[base]
        scaled = float(Decimal(repr(value)) * factor)
        if not low <= scaled <= high:
            inner.note("value", f"{value} {unit} is not plausible; expected {low:g} to {high:g} {base}")
            return None
        return Quantity(scaled, base, source, doubt, measured)
