"""The schema of a device file: TOML table in, :class:`Hardware` out, and every violation named by file and key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

from costmodel.hardware.model import (
    ENGINES,
    PRECISIONS,
    Hardware,
    HardwareFileError,
    Level,
    Measurement,
    Passes,
    Quantity,
)

KINDS = ("gpu", "tpu", "cpu", "mcu", "example")

# unit -> (base unit, factor); decimal, so that 66.9 TFLOP/s is 66.9e12 FLOP/s to the last bit
UNITS: Mapping[str, tuple[str, Decimal]] = {
    "FLOP/s": ("FLOP/s", Decimal("1")),
    "GFLOP/s": ("FLOP/s", Decimal("1e9")),
    "TFLOP/s": ("FLOP/s", Decimal("1e12")),
    "OP/s": ("OP/s", Decimal("1")),
    "GOP/s": ("OP/s", Decimal("1e9")),
    "TOP/s": ("OP/s", Decimal("1e12")),
    "B/s": ("B/s", Decimal("1")),
    "GB/s": ("B/s", Decimal("1e9")),
    "TB/s": ("B/s", Decimal("1e12")),
    "B": ("B", Decimal("1")),
    "kB": ("B", Decimal("1e3")),
    "MB": ("B", Decimal("1e6")),
    "GB": ("B", Decimal("1e9")),
    "KiB": ("B", Decimal("1024")),
    "MiB": ("B", Decimal("1048576")),
    "GiB": ("B", Decimal("1073741824")),
    "s": ("s", Decimal("1")),
    "us": ("s", Decimal("1e-6")),
    "ns": ("s", Decimal("1e-9")),
    "W": ("W", Decimal("1")),
    "FLOP": ("FLOP", Decimal("1")),
}

# base unit -> least and greatest value that a real device can have; a slip of a unit's prefix falls outside
PLAUSIBLE: Mapping[str, tuple[float, float]] = {
    "FLOP/s": (1e6, 1e18),
    "OP/s": (1e6, 1e18),
    "B/s": (1e6, 1e15),
    "B": (1e3, 1e15),
    "s": (1e-10, 1.0),
    "W": (1e-4, 1e5),
    "FLOP": (0.1, 1e5),
}

FLOATS = ("float64", "float32", "tf32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")
INTEGERS = ("int64", "uint64", "int32", "uint32", "int16", "uint16", "int8", "uint8", "int4", "uint4", "bool")

_MEASUREMENT = ("machine", "date", "versions", "environment", "samples")
_SCALARS = {"launch_overhead": "s", "call_overhead": "s", "power": "W", "transcendental_weight": "FLOP"}
_FIGURES = ("peaks", "memory", "levels", *_SCALARS)


class _Table:
    """A table of a device file that knows where it stands, so that each complaint names file and key."""

    def __init__(self, data: Mapping[str, Any], file: str, path: str = "") -> None:
        self.data, self.file, self.path = data, file, path

    def fail(self, key: str, expectation: str) -> NoReturn:
        raise HardwareFileError(f"{self.file}: {self.where(key)}: {expectation}")

    def where(self, key: str) -> str:
        return ".".join(part for part in (self.path, key) if part)

    def only(self, *known: str) -> None:
        for key in self.data:
            if key not in known:
                self.fail(key, f"unknown key; expected one of {', '.join(known)}")

    def table(self, key: str, *, required: bool = False) -> _Table:
        value = self.data.get(key)
        if value is None and required:
            self.fail(key, "missing table")
        if value is not None and not isinstance(value, dict):
            self.fail(key, "expected a table")
        return _Table(value or {}, self.file, self.where(key))

    def text(self, key: str, default: str | None = None) -> str:
        value = self.data.get(key, default)
        if not isinstance(value, str) or (default is None and not value.strip()):
            self.fail(key, "expected a text that is not empty" if key in self.data else "missing")
        return value

    def texts(self, key: str) -> dict[str, str]:
        inner = self.table(key)
        return {name: inner.text(name) for name in inner.data}

    def quantity(self, key: str, *bases: str, measured: bool = False, required: bool = False) -> Quantity | None:
        if key not in self.data:
            if required:
                self.fail(key, "missing; expected { value = …, unit = …, source = … }")
            return None
        inner = self.table(key)
        inner.only("value", "unit", "source", "doubt")
        value, unit = inner.data.get("value"), inner.text("unit")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            inner.fail("value", "expected a number" if "value" in inner.data else "missing")
        if unit not in UNITS:
            inner.fail("unit", f"unknown unit {unit!r}; expected one of {', '.join(UNITS)}")
        base, factor = UNITS[unit]
        if base not in bases:
            inner.fail("unit", f"{unit!r} does not measure this; expected {' or '.join(bases)} or a multiple")
        low, high = PLAUSIBLE[base]
        if not value > 0:
            inner.fail("value", f"{value} is not positive")
        scaled = float(Decimal(repr(value)) * factor)
        if not low <= scaled <= high:
            inner.fail("value", f"{value} {unit} is not plausible; expected {low:g} to {high:g} {base}")
        return Quantity(scaled, base, inner.text("source"), inner.text("doubt", ""), measured)


def parse(data: Mapping[str, Any], file: str) -> Hardware:
    """The device that the TOML table ``data`` describes; ``file`` is only named in errors.

    Figures of ``[measured]`` take the place of the same figures of ``[datasheet]``.
    Raises :class:`HardwareFileError`.
    """
    root = _Table(data, file)
    root.only("name", "title", "kind", "year", "datasheet", "policy", "measured")
    name, kind, year = root.text("name"), root.text("kind"), data.get("year")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        root.fail("name", f"{name!r}: expected lower-case letters, digits, '-', '_' and '.'")
    if kind not in KINDS:
        root.fail("kind", f"{kind!r}; expected one of {', '.join(KINDS)}")
    if year is not None and (isinstance(year, bool) or not isinstance(year, int) or not 1950 <= year <= 2100):
        root.fail("year", f"{year!r}; expected the year of release")
    if "datasheet" not in data and "measured" not in data:
        root.fail("datasheet", "missing table (and there is no [measured] either)")

    figures = _figures(root.table("datasheet"), (), measured=False)
    figures |= _figures(root.table("measured"), _MEASUREMENT, measured=True)
    peaks = {key: value for key, value in figures.items() if isinstance(key, tuple)}
    if not peaks:
        root.fail("datasheet.peaks", "missing; expected at least one peak")
    if "bandwidth" not in figures:
        root.fail("datasheet.memory.bandwidth", "missing")

    policy = root.table("policy", required=True)
    float32 = _float32_policy(policy, peaks)
    runs_as, vector_source = _vector_policy(policy.table("vector_runs_as"), peaks)
    weight = policy.quantity("transcendental_weight", "FLOP")
    figures.setdefault("transcendental_weight", weight)
    if figures["transcendental_weight"] is None:
        policy.fail("transcendental_weight", "missing; expected { value = …, unit = 'FLOP', source = … }")
    return Hardware(
        name=name,
        title=root.text("title"),
        kind=kind,
        year=year,
        peaks=peaks,
        bandwidth=figures["bandwidth"],
        float32=float32,
        float32_source=policy.text("source"),
        weight=figures["transcendental_weight"],
        capacity=figures.get("capacity"),
        launch_overhead=figures.get("launch_overhead"),
        call_overhead=figures.get("call_overhead"),
        power=figures.get("power"),
        levels=figures.get("levels", ()),
        vector_runs_as=runs_as,
        vector_source=vector_source,
        measurement=_measurement(root.table("measured")) if "measured" in data else None,
    )


def _figures(table: _Table, extra: tuple[str, ...], *, measured: bool) -> dict[Any, Any]:
    """The figures present in one section: peaks under (engine, dtype), everything else under its name."""
    table.only(*_FIGURES, *extra)
    found: dict[Any, Any] = {}
    peaks = table.table("peaks")
    peaks.only(*ENGINES)
    for engine in ENGINES:
        of_engine = peaks.table(engine)
        of_engine.only(*FLOATS, *INTEGERS)
        for dtype in of_engine.data:
            base = "FLOP/s" if dtype in FLOATS else "OP/s"
            found[engine, dtype] = of_engine.quantity(dtype, base, measured=measured)
    memory = table.table("memory")
    memory.only("bandwidth", "capacity")
    found["bandwidth"] = memory.quantity("bandwidth", "B/s", measured=measured)
    found["capacity"] = memory.quantity("capacity", "B", measured=measured)
    for key, base in _SCALARS.items():
        found[key] = table.quantity(key, base, measured=measured)
    if "levels" in table.data:
        found["levels"] = _levels(table, measured=measured)
    return {key: value for key, value in found.items() if value is not None}


def _levels(table: _Table, *, measured: bool) -> tuple[Level, ...]:
    entries = table.data["levels"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        table.fail("levels", f"expected [[{table.where('levels')}]] tables")
    levels = []
    for index, entry in enumerate(entries):
        level = _Table(entry, table.file, f"{table.where('levels')}[{index}]")
        level.only("name", "capacity", "bandwidth")
        capacity = level.quantity("capacity", "B", measured=measured, required=True)
        assert capacity is not None
        levels.append(Level(level.text("name"), capacity, level.quantity("bandwidth", "B/s", measured=measured)))
    return tuple(levels)


def _float32_policy(policy: _Table, peaks: Mapping[tuple[str, str], Quantity]) -> dict[str, Passes]:
    keys = {precision: f"float32_{precision.lower()}" for precision in PRECISIONS}
    policy.only(*keys.values(), "source", "vector_runs_as", "transcendental_weight")
    found = {}
    for precision, key in keys.items():
        if isinstance(policy.data.get(key), dict):
            inner = policy.table(key)
            inner.only("dtype", "passes")
            dtype, passes = inner.text("dtype"), inner.data.get("passes", 1)
            if isinstance(passes, bool) or not isinstance(passes, int) or passes < 1:
                inner.fail("passes", f"{passes!r}; expected a positive integer")
        else:
            dtype, passes = policy.text(key), 1
        if dtype not in FLOATS:
            policy.fail(key, f"unknown type {dtype!r}; expected one of {', '.join(FLOATS)}")
        if any(engine == "matrix" and other in FLOATS for engine, other in peaks) and ("matrix", dtype) not in peaks:
            policy.fail(key, f"{dtype!r} has no matrix peak on this device")
        found[precision] = Passes(dtype, passes)
    return found


def _vector_policy(table: _Table, peaks: Mapping[tuple[str, str], Quantity]) -> tuple[dict[str, str], str]:
    table.only("source", *FLOATS, *INTEGERS)
    runs_as = {dtype: table.text(dtype) for dtype in table.data if dtype != "source"}
    for dtype, target in runs_as.items():
        if ("vector", target) not in peaks:
            table.fail(dtype, f"{target!r} has no vector peak on this device")
        if ("vector", dtype) in peaks:
            table.fail(dtype, "has a vector peak of its own")
    return runs_as, table.text("source") if table.data else ""


def _measurement(table: _Table) -> Measurement:
    raw = table.table("samples")
    samples = {}
    for probe, values in raw.data.items():
        if not isinstance(values, list) or not all(isinstance(value, float) and value > 0 for value in values):
            raw.fail(probe, "expected a list of positive seconds")
        samples[probe] = tuple(values)
    return Measurement(
        table.text("machine"), table.text("date"), table.texts("versions"), table.texts("environment"), samples
    )
