"""The schema of a device file: TOML table in, :class:`Hardware` out, and every violation named by file and key.

A file of kind "energy" states energies only, and gives an :class:`Energies`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from costmodel.hardware.calibration import calibrations, link_calibrations, product_calibrations
from costmodel.hardware.fields import UNITS as UNITS
from costmodel.hardware.fields import Refused, Table
from costmodel.hardware.model import (
    ENGINES,
    FUSION,
    PRECISIONS,
    Energies,
    Hardware,
    HardwareFileError,
    Level,
    Link,
    Measurement,
    Passes,
)
from costmodel.hardware.quantity import Quantity

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
ENERGY = "energy"  # the kind of a file that states energies only
KINDS = (*FUSION, ENERGY)
DIRECTIONS = ("each way", "both ways")
LINKS = ("ICI", "NVLink", "NVSwitch", "Infinity Fabric", "PCIe", "InfiniBand", "Ethernet", "DCN")
TOPOLOGIES = ("torus", "ring", "full", "switch")
_LARGEST = 10**6  # devices, and the axes of a torus: what a file may say at most

FLOATS = ("float64", "float32", "tf32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")
INTEGERS = ("int64", "uint64", "int32", "uint32", "int16", "uint16", "int8", "uint8", "int4", "uint4", "bool")

_DEVICE_FILE = ("name", "title", "kind", "year", "datasheet", "measured", "sustained", "calibration", "collectives", "products",
                "energy", "policy")
_PRECISION_KEYS = {precision: f"float32_{precision.lower()}" for precision in PRECISIONS}
_ENERGY_FILE = ("name", "title", "kind", "year", "energy")
_NOTES = ("source", "doubt")
_MEASUREMENT = ("machine", "date", "versions", "environment", "samples")
_SCALARS = {"launch_overhead": "s", "call_overhead": "s", "power": "W", "clock": "Hz", "transcendental_weight": "FLOP"}
_FIGURES = ("peaks", "memory", "levels", *_SCALARS)


def parse(data: Mapping[str, Any], file: str) -> Hardware | Energies:
    """The device (or the energies alone) that the TOML table ``data`` describes; ``file`` is only named in errors.

    Figures of ``[measured]`` take the place of the same figures of ``[datasheet]``.
    Raises :class:`HardwareFileError` with everything that is wrong.
    """
    root = Table(data, file)
    try:
        root.only(*(_ENERGY_FILE if data.get("kind") == ENERGY else _DEVICE_FILE))
        name, kind = root.text("name"), root.text("kind", among=KINDS)
        if name and not NAME.fullmatch(name):
            root.note("name", f"{name!r}: expected lower-case letters, digits, '-', '_' and '.'")
        year = root.whole("year", 1950, 2100, "the year of release") if "year" in data else None
        found = _energy_file(root, name, year) if kind == ENERGY else _device(root, name, kind, year)
        root.stop_if_wrong()
    except Refused:
        raise HardwareFileError(*root.problems) from None
    return found


def _energy_file(root: Table, name: str, year: int | None) -> Energies:
    return _energies(root.table("energy", required=True), name, root.text("title"), year)


def _device(root: Table, name: str, kind: str, year: int | None) -> Hardware:
    data, title = root.data, root.text("title")
    if "datasheet" not in data and "measured" not in data:
        root.fail("datasheet", "missing table (and there is no [measured] either)")
    datasheet, measured = root.table("datasheet"), root.table("measured")
    stated = _figures(datasheet, ("sparse", "links"), measured=False)
    figures = stated | _figures(measured, _MEASUREMENT, measured=True)
    peaks = {key: value for key, value in figures.items() if isinstance(key, tuple)}
    sparse = _peaks(datasheet.table("sparse"), measured=False)
    links = _links(datasheet)
    _needed(root, "datasheet.peaks", peaks, "at least one peak")
    _needed(root, "datasheet.memory.bandwidth", "bandwidth" in figures, "{ value = …, unit = …, source = … }")
    energies = _energies(root.table("energy"), name, title, year) if "energy" in data else None
    calibration = calibrations(root.table("calibration"))
    collectives = link_calibrations(root, [link.name for link in links])
    products = product_calibrations(root, [dtype for engine, dtype in peaks if engine == "matrix"])
    sustained = root.table("sustained")
    sustained.only("clock")
    lasting = sustained.quantity("clock", "Hz", required="sustained" in data)
    if lasting is not None and not ("clock" in figures and lasting.value <= figures["clock"].value):
        sustained.note("clock", "expected a clock in [datasheet] beside it that is not below")
    measurement = _measurement(measured) if "measured" in data else None
    policy = root.table("policy", required=True)
    policy.only(*_PRECISION_KEYS.values(), "source", "vector_runs_as", "transcendental_weight", "fusion")
    weight = figures.get("transcendental_weight") or policy.quantity("transcendental_weight", "FLOP")
    _needed(root, "policy.transcendental_weight", weight, "{ value = …, unit = 'FLOP', source = … }")
    source, fusion = policy.text("source"), policy.text("fusion", "")
    float32 = _float32_policy(policy, peaks)
    runs_as, vector_source = _vector_policy(policy.table("vector_runs_as"))
    root.stop_if_wrong()
    # What follows compares figures with each other: it makes sense of figures that are right in themselves.
    _float32_on_matrix(policy, float32, peaks)
    _runs_on_vector(policy.table("vector_runs_as"), runs_as, peaks)
    _sparse_above_dense(datasheet.table("sparse"), sparse, peaks | stated)
    root.stop_if_wrong()
    assert weight is not None
    return Hardware(
        name=name,
        title=title,
        kind=kind,
        year=year,
        peaks=peaks,
        bandwidth=figures["bandwidth"],
        float32=float32,
        float32_source=source,
        weight=weight,
        capacity=figures.get("capacity"),
        launch_overhead=figures.get("launch_overhead"),
        call_overhead=figures.get("call_overhead"),
        power=figures.get("power"),
        clock=figures.get("clock"),
        lasting=lasting,
        levels=figures.get("levels", ()),
        vector_runs_as=runs_as,
        vector_source=vector_source,
        measurement=measurement,
        sparse=sparse,
        links=links,
        energies=energies,
        calibration=calibration,
        collectives=collectives,
        products=products,
        fusion=fusion,
    )


def _needed(root: Table, key: str, there: object, expected: str) -> None:
    if not there and not any(key in problem for problem in root.problems):
        root.note(key, f"missing; expected {expected}")


def _sparse_above_dense(table: Table, sparse: Mapping[tuple[str, str], Quantity], dense_peaks: Mapping[Any, Any]) -> None:
    for (engine, dtype), quantity in sparse.items():
        dense = dense_peaks.get((engine, dtype))
        if dense is None:
            table.note(f"{engine}.{dtype}", "has no dense peak beside it")
        elif dense.value >= quantity.value:
            table.note(f"{engine}.{dtype}", f"{quantity.value:g} is not above the dense peak {dense.value:g}: is that one sparse?")


def _figures(table: Table, extra: tuple[str, ...], *, measured: bool) -> dict[Any, Any]:
    """The figures present in one section: peaks under (engine, dtype), everything else under its name."""
    table.only(*_FIGURES, *extra)
    found: dict[Any, Any] = {}
    found |= _peaks(table.table("peaks"), measured=measured)
    memory = table.table("memory")
    memory.only("bandwidth", "capacity")
    found["bandwidth"] = memory.quantity("bandwidth", "B/s", measured=measured)
    found["capacity"] = memory.quantity("capacity", "B", measured=measured)
    for key, base in _SCALARS.items():
        found[key] = table.quantity(key, base, measured=measured)
    if "levels" in table.data:
        found["levels"] = _levels(table, measured=measured)
    return {key: value for key, value in found.items() if value is not None}


def _peaks(table: Table, *, measured: bool) -> dict[tuple[str, str], Quantity]:
    table.only(*ENGINES)
    found = {}
    for engine in ENGINES:
        of_engine = table.table(engine)
        of_engine.only(*FLOATS, *INTEGERS)
        for dtype in of_engine.data:
            peak = of_engine.quantity(dtype, "FLOP/s" if dtype in FLOATS else "OP/s", measured=measured)
            if peak is not None:
                found[engine, dtype] = peak
    return found


def _levels(table: Table, *, measured: bool) -> tuple[Level, ...]:
    levels = []
    for level in table.tables("levels"):
        level.only("name", "capacity", "bandwidth")
        name, capacity = level.text("name"), level.quantity("capacity", "B", measured=measured, required=True)
        bandwidth = level.quantity("bandwidth", "B/s", measured=measured)
        if capacity is not None:
            levels.append(Level(name, capacity, bandwidth))
    return tuple(levels)


def _links(table: Table) -> tuple[Link, ...]:
    links = []
    for link in table.tables("links"):
        link.only("name", "bandwidth", "direction", "kind", "topology", "latency", "axes", "domain", "wraparound", "source")
        name, bandwidth = link.text("name"), link.quantity("bandwidth", "B/s", required=True)
        direction, kind = link.text("direction", among=DIRECTIONS), link.text("kind", "", among=LINKS)
        topology, latency = link.text("topology", "switch", among=TOPOLOGIES), link.quantity("latency", "s")
        axes = link.whole("axes", 1, 6, "the axes of a torus, from 1 to 6", 1)
        domain = link.whole("domain", 2, _LARGEST, "how many devices it connects, from 2") if "domain" in link.data else None
        wraparound = link.whole("wraparound", 1, _LARGEST, "devices along an axis of a torus, from 1", 1)
        source = link.text("source", None if {"axes", "domain", "wraparound"} & set(link.data) else "")
        if topology == "full" and domain is None:
            link.note("domain", "missing; a full topology connects so many devices, each to each")
        if topology != "torus" and (axes > 1 or wraparound > 1):
            link.note("axes" if axes > 1 else "wraparound", f"is of a torus; the topology is {topology}")
        if bandwidth is not None:
            links.append(Link(name, bandwidth, direction, kind, topology, latency, axes, domain, wraparound, source))
    return tuple(links)


def _energies(table: Table, name: str, title: str, year: int | None) -> Energies:
    table.only("main", "static_power", "operations", "memory", "composed", "runs_as")
    memory, by_type = table.table("memory", required=True), table.table("operations", required=True)
    joules = {key: memory.quantity(key, "J/B") for key in memory.data}
    operations: dict[tuple[str, str], Quantity | None] = {}
    for dtype in by_type.data:
        entries = by_type.table(dtype)
        operations |= {(operation, dtype): entries.quantity(operation, "J") for operation in entries.data}
    by_type.only(*FLOATS, *INTEGERS)
    main = table.text("main", among=tuple(memory.data))
    composed, runs_as = table.table("composed"), table.table("runs_as")
    parts = {key: _parts(composed, key) for key in composed.data if key not in _NOTES}
    types = {key: runs_as.text(key, among=tuple(by_type.data)) for key in runs_as.data if key not in _NOTES}
    notes = {f"{t.path.split('.')[-1]} {key}": t.text(key, "" if key == "doubt" else None)
             for t in (composed, runs_as) if t.data for key in _NOTES if key == "source" or key in t.data}
    return Energies(name, title, year, {key: q for key, q in operations.items() if q}, {key: q for key, q in joules.items() if q},
                    main, parts, types, table.quantity("static_power", "W"), notes)


def _parts(table: Table, key: str) -> dict[str, float]:
    parts = table.table(key).data
    if not parts or not all(type(times) in (int, float) and times > 0 for times in parts.values()):
        table.note(key, "expected how often which operations, as in { mul = 1, add = 1 }")
    return dict(parts)


def _float32_policy(policy: Table, peaks: Mapping[tuple[str, str], Quantity]) -> dict[str, Passes]:
    """What float32 contractions run as; where a device multiplies integers only, as nothing else, and so not at all."""
    floats = any(engine == "matrix" and dtype in FLOATS for engine, dtype in peaks)
    found = {}
    for precision, key in _PRECISION_KEYS.items():
        if isinstance(policy.data.get(key), dict):
            inner = policy.table(key)
            inner.only("dtype", "passes")
            dtype, passes = inner.text("dtype", among=FLOATS), inner.whole("passes", 1, 100, "a positive integer", 1)
        else:
            dtype, passes = policy.text(key, None if floats else "float32", among=FLOATS), 1
        found[precision] = Passes(dtype, passes)
    return found


def _float32_on_matrix(policy: Table, float32: Mapping[str, Passes], peaks: Mapping[tuple[str, str], Quantity]) -> None:
    on_matrix = [dtype for engine, dtype in peaks if engine == "matrix" and dtype in FLOATS]
    for precision, how in float32.items():
        if on_matrix and how.dtype not in on_matrix:
            policy.note(_PRECISION_KEYS[precision], f"{how.dtype!r} has no matrix peak on this device")


def _vector_policy(table: Table) -> tuple[dict[str, str], str]:
    table.only("source", *FLOATS, *INTEGERS)
    runs_as = {dtype: table.text(dtype) for dtype in table.data if dtype != "source"}
    return runs_as, table.text("source") if table.data else ""


def _runs_on_vector(table: Table, runs_as: Mapping[str, str], peaks: Mapping[tuple[str, str], Quantity]) -> None:
    for dtype, target in runs_as.items():
        if ("vector", target) not in peaks:
            table.note(dtype, f"{target!r} has no vector peak on this device")
        if ("vector", dtype) in peaks:
            table.note(dtype, "has a vector peak of its own")


def _measurement(table: Table) -> Measurement:
    raw = table.table("samples")
    samples = {}
    for probe, values in raw.data.items():
        if not isinstance(values, list) or not all(isinstance(value, float) and value > 0 for value in values):
            raw.note(probe, "expected a list of positive seconds")
        else:
            samples[probe] = tuple(values)
    return Measurement(
        table.text("machine"), table.text("date"), table.texts("versions"), table.texts("environment"), samples
    )
