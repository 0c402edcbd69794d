"""Commands about devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from costmodel.cli.forms import PICTURE, end, forms, give
from costmodel.cli.options import columns, help_if_alone
from costmodel.errors import CostModelError
from costmodel.text import shown

if TYPE_CHECKING:
    from costmodel.hardware import Calibration, Energies, Hardware, Quantity


_DOUBT = "; doubt: "
MULTIPLIES = ("dot", "conv", "grouped conv", "depthwise conv")  # kinds whose work is multiply-accumulates


@click.group("hw", invoke_without_command=True)
@click.pass_context
def hw(context: click.Context) -> None:
    """Devices: what is known of them, and this machine."""
    help_if_alone(context)


@hw.command("list")
@forms
@PICTURE
def hw_list(form: str | None, output: str | None) -> None:
    """The devices, those shipped and the user's own, and the tables of energies; -o draws their ridge points."""
    from costmodel.hardware import available, energy_tables, read
    from costmodel.sheets import Column, Line, OneSheet, Sheet

    rows = [(name, _summary(read(name))) for name in (*available(), *energy_tables())]
    if output:
        from costmodel.pictures import Bars

        drawn = [(name, row[5]) for name, row in rows if row[5] is not None]
        drawn.sort(key=lambda each: each[1])
        Bars("Ridge points: below it memory binds, above it arithmetic", "ridge point of the best dense matrix peak", "FLOP/B",
             tuple(name for name, _ in drawn), (("", tuple(value for _, value in drawn)),)).save(output)
    columns = (Column("name"), Column("kind", style="text"), Column("year", style="text"),
               Column("best dense matrix peak", "FLOP/s", "si"), Column("of type", style="text"), Column("bandwidth", "B/s", "si"),
               Column("capacity", "B", "si"), Column("ridge point", "FLOP/B", "rate"), Column("title", style="text"))
    lines = [Line(name, (kind, year, peak, dtype, bandwidth, capacity, ridge, title))
             for name, (kind, year, peak, dtype, bandwidth, ridge, capacity, title) in rows]
    give(OneSheet(Sheet("", columns, tuple(lines))), form)
    end(None, form, output)


def _summary(found: Hardware | Energies) -> tuple[Any, ...]:
    """(kind, year, best peak, its type, bandwidth, ridge point, capacity, title), None for what is not stated."""
    from costmodel.hardware import Energies

    year = str(found.year or "")
    if isinstance(found, Energies):
        return "energy", year, None, "", None, None, None, found.title
    peaks = {dtype: q for (engine, dtype), q in found.peaks.items() if engine == "matrix" and q.unit == "FLOP/s"}
    bandwidth, capacity = found.bandwidth.value, found.capacity.value if found.capacity else None
    if not peaks:
        return found.kind, year, None, "none", bandwidth, None, capacity, found.title
    best = max(peaks, key=lambda dtype: peaks[dtype].value)
    return found.kind, year, peaks[best].value, best, bandwidth, peaks[best].value / bandwidth, capacity, found.title


@hw.command("show")
@click.argument("device")
@PICTURE
def hw_show(device: str, output: str | None) -> None:
    """All figures of a device or a table of energies (a name or a .toml file), each with its source; -o draws its rooflines."""
    from costmodel.hardware import Energies, read

    found = read(device)
    if output:
        from costmodel.pictures import device_roofs

        if isinstance(found, Energies):
            raise CostModelError(f"{found.name} is a table of energies and has no roofline: give a device with -o")
        device_roofs([found]).save(output)
    if isinstance(found, Energies):
        click.echo(f"{found.name}: {shown(found.title)} (energies)")
        click.echo(_with_notes([("figure", "value", "source"), *_energies(found)]))
        return
    click.echo(f"{found.name}: {shown(found.title)} ({found.kind}{f', {found.year}' if found.year else ''})")
    if found.measurement:
        click.echo(shown(f"measured on {found.measurement.machine}, {found.measurement.date}"))
    click.echo(_with_notes(list(_figures(found))))
    policy = [f"{name} {how.dtype}" + (f" x{how.passes}" if how.passes > 1 else "") for name, how in found.float32.items()]
    click.echo(f"float32 contractions run as: {', '.join(policy)} ({shown(found.float32_source)})")
    if found.vector_runs_as:
        runs_as = ", ".join(f"{dtype} as {to}" for dtype, to in found.vector_runs_as.items())
        click.echo(f"on the vector engine: {runs_as} ({shown(found.vector_source)})")
    click.echo(f"fusion policy: {shown(found.fusion)}")


def _with_notes(rows: list[tuple[str, ...]]) -> str:
    """The rows as columns; a source that several figures have stands once, below, by a number in its place."""
    sources = Counter(row[-1].split(_DOUBT)[0] for row in rows)
    numbers = {source: f"[{i}]" for i, source in enumerate((s for s, times in sources.items() if times > 1), start=1)}

    def short(row: tuple[str, ...]) -> tuple[str, ...]:
        source, *doubt = row[-1].split(_DOUBT)
        return *row[:-1], _DOUBT.join([numbers.get(source, source), *doubt])

    return "\n".join([columns(list(map(short, rows))), *(f"{number} {source}" for source, number in numbers.items())])


def _figures(device: Hardware) -> Iterator[tuple[str, ...]]:
    def ridge(quantity: Quantity) -> str:
        return f"{quantity.value / device.bandwidth.value:.4g} FLOP/B"

    yield "figure", "value", "ridge point", "source"
    for (engine, dtype), quantity in device.peaks.items():
        yield _figure(f"{engine} {dtype}", quantity, ridge(quantity))
    for (engine, dtype), quantity in device.sparse.items():
        yield _figure(f"{engine} {dtype}, sparse: not used", quantity, "")
    for label in ("bandwidth", "capacity", "launch_overhead", "call_overhead", "power", "clock", "weight"):
        if (quantity := getattr(device, label)) is not None:
            yield _figure("transcendental weight" if label == "weight" else label.replace("_", " "), quantity, "")
    if device.lasting is not None:
        yield _figure("sustained clock", device.lasting, "")
    for level in device.levels:
        yield _figure(f"{level.name} capacity", level.capacity, "")
        if level.bandwidth is not None:
            yield _figure(f"{level.name} bandwidth", level.bandwidth, "")
    for link in device.links:
        among = f"{link.topology} of {link.domain}" if link.domain else link.topology
        yield _figure(f"{link.name}, {link.direction}", link.bandwidth, among)
        if link.latency is not None:
            yield _figure(f"{link.name}, to the next device", link.latency, "")
    for policy, found in device.calibration.items():
        on = f"{found.runs} runs of {found.models} models, {found.date}, ±{100 * found.error:.0f} %"
        yield _figure(f"{policy}: reached of the ceilings", found.efficiency, on)
        yield from (_figure(f"{policy}, {kind}: reached", part, _cycles(device, found, kind)) for kind, part in found.kinds.items())
        yield _figure(f"{policy}: a kernel", found.launch, "")
        for label, part in (("a call", found.call), ("while it runs", found.power)):
            if part is not None:
                yield _figure(f"{policy}: {label}", part, "")
    for product in device.products:
        on = f"{product.runs} products, ±{100 * product.error:.0f} %"
        yield _figure(f"products of {product.dtype}, a wave of tiles", product.start, on)
        yield _figure(f"products of {product.dtype}: bandwidth reached", product.memory, "")
    if device.energies is not None:
        yield from ((label, value, "", source) for label, value, source in _energies(device.energies))


def _cycles(device: Hardware, found: Calibration, kind: str) -> str:
    cycles = device.cycles_a_mac(found, kind, "int8") if kind in MULTIPLIES else None
    return "" if cycles is None else f"{cycles:.3g} cycles a MAC in int8"


def _energies(energies: Energies) -> Iterator[tuple[str, ...]]:
    figures = {f"{name} {dtype}": quantity for (name, dtype), quantity in energies.operations.items()}
    figures |= {f"{name} (main memory)" if name == energies.main else name: q for name, q in energies.memory.items()}
    if energies.static_power is not None:
        figures["static power"] = energies.static_power
    yield from (_figure(label, quantity) for label, quantity in figures.items())
    for name, parts in energies.composed.items():
        value = " + ".join(f"{times:g} {part}" for part, times in parts.items())
        yield name, value, energies.notes["composed source"]
    for dtype, to in energies.runs_as.items():
        yield dtype, f"as {to}", energies.notes["runs_as source"]


def _figure(label: str, quantity: Quantity, *between: str) -> tuple[str, ...]:
    from costmodel.text import si

    doubt = f"{_DOUBT}{quantity.doubt}" if quantity.doubt else ""
    if quantity.unit == "1":
        value = f"{quantity.value:g}"
    elif quantity.unit in ("J", "J/B"):  # of one operation or byte: femtojoules to nanojoules, all in the unit of the field
        value = f"{quantity.value * 1e12:.4g} p{quantity.unit}"
    else:
        value = si(quantity.value, quantity.unit)
    return label, value, *between, quantity.source + doubt


@hw.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.pass_context
def hw_check(context: click.Context, files: tuple[str, ...]) -> None:
    """Check device files: a line for everything that is wrong, and exit status 2 if anything is."""
    from costmodel.hardware import check

    wrong = False
    for file in files:
        problems = check(file)
        click.echo("\n".join(problems) if problems else f"{file}: right")
        wrong = wrong or bool(problems)
    context.exit(2 if wrong else 0)


@hw.command("new")
@click.argument("name")
@click.option("--kind", metavar="KIND", help="gpu, tpu, cpu, npu, mcu or example; of an npu or mcu only integers are asked for.")
@click.option("--output", "-o", metavar="FILE", help="Where to write it (default: NAME.toml here).")
def hw_new(name: str, kind: str | None, output: str | None) -> None:
    """Write a device file to be filled in; `hw check` says what is missing."""
    from costmodel.files import write_text
    from costmodel.hardware import template

    text, path = template(name, kind), output or f"{name}.toml"
    try:
        write_text(path, text, new=True)
    except CostModelError as error:
        raise CostModelError(f"{error} with -o") from None
    click.echo(f"written to {path}: fill it in, then run `costmodel hw check {path}`")


@hw.command("wall")
@click.option("--output", "-o", default="wall.svg", show_default=True, metavar="FILE", help="A .svg, .png or .pdf file.")
def hw_wall(output: str) -> None:
    """Draw the memory wall: how peaks and bandwidths of accelerators grow over the years. Needs the extra `plot`."""
    from costmodel.pictures import plot_memory_wall

    plot_memory_wall(output)
    click.echo(f"drawn in {output}")


@hw.command("measure")
@click.option("--seconds", default=30.0, show_default=True, help="How long to measure, compilation apart.")
@click.option("--output", metavar="FILE", help="Where to write it (default: the user's device `local`).")
def hw_measure(seconds: float, output: str | None) -> None:
    """Measure this machine's ceilings and keep them as the device `local`."""
    from costmodel.hardware import user_directory, write
    from costmodel.hardware.measure import measure

    device = measure(seconds)
    path = output or user_directory() / "local.toml"
    try:
        write(device, path)
    except CostModelError as error:
        raise CostModelError(f"{error} with --output") from None
    click.echo(f"{device.title}: written to {path}")
