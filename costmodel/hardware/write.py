"""A device as TOML text: the inverse of the schema, for figures that were measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from costmodel.files import refusals, write_text
from costmodel.hardware.calibrated import Calibration, LinkCalibration, ProductCalibration
from costmodel.hardware.model import Energies, Hardware, Level, Link
from costmodel.hardware.quantity import Quantity


def write(hardware: Hardware | Energies, path: str | Path) -> Path:
    """Write ``hardware`` to the TOML file ``path``, making its folder; ``load(path)`` gives an equal device back.

    A datasheet figure that a measured one replaced is not in ``hardware`` any more, and so not in the file. Raises CostModelError
    where the file cannot be written.
    """
    target = Path(path)
    with refusals(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, dumps(hardware))
    return target


def dumps(hardware: Hardware | Energies) -> str:
    """The TOML text of ``hardware``, in base units."""
    lines = _energy_file(hardware) if isinstance(hardware, Energies) else _lines(hardware)
    return "\n".join(lines) + "\n"


def _energy_file(energies: Energies) -> Iterator[str]:
    yield from (f"name = {_text(energies.name)}", f"title = {_text(energies.title)}", 'kind = "energy"')
    if energies.year is not None:
        yield f"year = {energies.year}"
    yield from _energies(energies)


def _lines(hardware: Hardware) -> Iterator[str]:
    yield f"name = {_text(hardware.name)}"
    yield f"title = {_text(hardware.title)}"
    yield f"kind = {_text(hardware.kind)}"
    if hardware.year is not None:
        yield f"year = {hardware.year}"
    yield from ("", "[policy]", f"source = {_text(hardware.float32_source)}", f"fusion = {_text(hardware.fusion)}")
    for precision, how in hardware.float32.items():
        yield f"float32_{precision.lower()} = {{ dtype = {_text(how.dtype)}, passes = {how.passes} }}"
    if not hardware.weight.measured:
        yield f"transcendental_weight = {_quantity(hardware.weight)}"
    if hardware.vector_runs_as:
        yield from ("", "[policy.vector_runs_as]", f"source = {_text(hardware.vector_source)}")
        yield from (f"{dtype} = {_text(target)}" for dtype, target in hardware.vector_runs_as.items())
    yield from _section(hardware, measured=False)
    if hardware.lasting is not None:
        yield from ("", "[sustained]", f"clock = {_quantity(hardware.lasting)}")
    yield from _measurement(hardware)
    yield from _section(hardware, measured=True)
    for calibration in hardware.calibration.values():
        yield from calibration_lines(calibration)
    for collective in hardware.collectives:
        yield from collective_lines(collective)
    for product in hardware.products:
        yield from product_lines(product)
    if hardware.energies is not None:
        yield from _energies(hardware.energies)


def _measurement(hardware: Hardware) -> Iterator[str]:
    run = hardware.measurement
    if run is None:
        return
    yield from ("", "[measured]", f"machine = {_text(run.machine)}", f"date = {_text(run.date)}")
    for key, quantity in _scalars(hardware, measured=True):
        yield f"{key} = {_quantity(quantity)}"
    for title, texts in (("versions", run.versions), ("environment", run.environment)):
        yield from ("", f"[measured.{title}]")
        yield from (f"{_text(key)} = {_text(value)}" for key, value in texts.items())
    yield from ("", "[measured.samples] # seconds, in the order taken")
    for probe, values in run.samples.items():
        yield f"{_text(probe)} = [{', '.join(map(repr, values))}]"


def _section(hardware: Hardware, *, measured: bool) -> Iterator[str]:
    name = "measured" if measured else "datasheet"
    if not measured and (scalars := list(_scalars(hardware, measured=False))):
        yield from ("", f"[{name}]")
        yield from (f"{key} = {_quantity(quantity)}" for key, quantity in scalars)
    for table, figures in (("peaks", hardware.peaks), ("sparse", hardware.sparse)):
        for engine in dict.fromkeys(owner for owner, _ in figures):
            peaks = {d: q for (owner, d), q in figures.items() if owner == engine and q.measured == measured}
            if peaks:
                yield from ("", f"[{name}.{table}.{engine}]")
                yield from (f"{dtype} = {_quantity(quantity)}" for dtype, quantity in peaks.items())
    memory = {"bandwidth": hardware.bandwidth, "capacity": hardware.capacity}
    stated = [f"{key} = {_quantity(q)}" for key, q in memory.items() if q is not None and q.measured == measured]
    if stated:
        yield from ("", f"[{name}.memory]", *stated)
    yield from _levels(name, (level for level in hardware.levels if level.capacity.measured == measured))
    yield from _links(name, (link for link in hardware.links if link.bandwidth.measured == measured))


def _scalars(hardware: Hardware, *, measured: bool) -> Iterator[tuple[str, Quantity]]:
    for key in ("launch_overhead", "call_overhead", "power", "clock"):
        quantity = getattr(hardware, key)
        if quantity is not None and quantity.measured == measured:
            yield key, quantity
    if measured and hardware.weight.measured:
        yield "transcendental_weight", hardware.weight


def _levels(section: str, levels: Iterable[Level]) -> Iterator[str]:
    for level in levels:
        yield from ("", f"[[{section}.levels]]", f"name = {_text(level.name)}")
        yield f"capacity = {_quantity(level.capacity)}"
        if level.bandwidth is not None:
            yield f"bandwidth = {_quantity(level.bandwidth)}"


def _links(section: str, links: Iterable[Link]) -> Iterator[str]:
    for link in links:
        yield from ("", f"[[{section}.links]]", f"name = {_text(link.name)}", f"bandwidth = {_quantity(link.bandwidth)}")
        yield from (f"direction = {_text(link.direction)}", f"topology = {_text(link.topology)}")
        if link.kind:
            yield f"kind = {_text(link.kind)}"
        if link.latency is not None:
            yield f"latency = {_quantity(link.latency)}"
        numbers = (("axes", link.axes, 1), ("domain", link.domain, None), ("wraparound", link.wraparound, 1))
        yield from (f"{key} = {number}" for key, number, default in numbers if number != default)
        if link.source:
            yield f"source = {_text(link.source)}"


def calibration_lines(calibration: Calibration) -> Iterator[str]:
    """The table of a calibration, as a device file has it."""
    table = f"calibration.{_key(calibration.policy)}"
    yield from ("", f"[{table}]")
    for key, quantity in (("efficiency", calibration.efficiency), ("launch", calibration.launch), ("call", calibration.call),
                          ("power", calibration.power)):
        if quantity is not None:
            yield f"{key} = {_quantity(quantity)}"
    yield from (f"spread = {calibration.spread!r}", f"runs = {calibration.runs}", f"models = {calibration.models}",
                f"date = {_text(calibration.date)}", f"versions = {_text(calibration.versions)}")
    if calibration.kinds:
        yield from ("", f"[{table}.kinds]", *(f"{_key(kind)} = {_quantity(q)}" for kind, q in calibration.kinds.items()))


def collective_lines(found: LinkCalibration) -> Iterator[str]:
    """The table of a collective's calibration, as a device file has it."""
    yield from ("", "[[collectives]]", f"link = {_text(found.link)}", f"kind = {_text(found.kind)}", f"spread = {found.spread!r}",
                f"runs = {found.runs}", f"date = {_text(found.date)}", f"versions = {_text(found.versions)}")
    for protocol in found.protocols:
        yield from ("", "[[collectives.protocols]]")
        for key in ("launch", "step", "rate", "own"):
            if (quantity := getattr(protocol, key)) is not None:
                yield f"{key} = {_quantity(quantity)}"


def product_lines(found: ProductCalibration) -> Iterator[str]:
    """The table of a calibration of products, as a device file has it."""
    yield from ("", "[[products]]", f"dtype = {_text(found.dtype)}", f"multiprocessors = {found.multiprocessors}",
                f"source = {_text(found.source)}",
                f"reached = [{', '.join(map(repr, found.reached))}]")
    yield from (f"{key} = {_quantity(getattr(found, key))}" for key in ("memory", "sums", "start", "launch", "again", "apart"))
    yield from (f"spread = {found.spread!r}", f"runs = {found.runs}", f"date = {_text(found.date)}",
                f"versions = {_text(found.versions)}")


def _energies(energies: Energies) -> Iterator[str]:
    yield from ("", "[energy]", f"main = {_text(energies.main)}")
    if energies.static_power is not None:
        yield f"static_power = {_quantity(energies.static_power)}"
    for dtype in dict.fromkeys(dtype for _, dtype in energies.operations):
        yield from ("", f"[energy.operations.{dtype}]")
        yield from (f"{_key(name)} = {_quantity(q)}" for (name, of), q in energies.operations.items() if of == dtype)
    yield from ("", "[energy.memory]", *(f"{_key(name)} = {_quantity(q)}" for name, q in energies.memory.items()))
    composed = {name: f"{{ {', '.join(f'{_key(part)} = {times!r}' for part, times in parts.items())} }}"
                for name, parts in energies.composed.items()}
    for table, entries in (("composed", composed), ("runs_as", {d: _text(to) for d, to in energies.runs_as.items()})):
        if entries:
            yield from ("", f"[energy.{table}]")
            yield from (f"{key.split()[1]} = {_text(note)}" for key, note in energies.notes.items() if key.startswith(table))
            yield from (f"{_key(name)} = {value}" for name, value in entries.items())


def _quantity(quantity: Quantity) -> str:
    doubt = f", doubt = {_text(quantity.doubt)}" if quantity.doubt else ""
    value = f"value = {quantity.value!r}, unit = {_text(quantity.unit)}"
    return f"{{ {value}, source = {_text(quantity.source)}{doubt} }}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
