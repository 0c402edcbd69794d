"""Commands about devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from costmodel.cli.options import columns, help_if_alone
from costmodel.errors import CostModelError

if TYPE_CHECKING:
    from costmodel.hardware import Hardware, Quantity


@click.group("hw", invoke_without_command=True)
@click.pass_context
def hw(context: click.Context) -> None:
    """Devices: what is known of them, and this machine."""
    help_if_alone(context)


@hw.command("list")
def hw_list() -> None:
    """The devices: those shipped, and the user's own."""
    from costmodel.hardware import available, load

    devices = map(load, available())
    click.echo(columns([("name", "kind", "title"), *((d.name, d.kind, d.title) for d in devices)]))


@hw.command("show")
@click.argument("device")
def hw_show(device: str) -> None:
    """Peaks, memory and policies of a device (a name or a .toml file), each with its source."""
    from costmodel.hardware import load

    found = load(device)
    click.echo(f"{found.name}: {found.title} ({found.kind})")
    if found.measurement:
        click.echo(f"measured on {found.measurement.machine}, {found.measurement.date}")
    click.echo(columns(list(_figures(found))))
    policy = [f"{name} {how.dtype}" + (f" x{how.passes}" if how.passes > 1 else "") for name, how in found.float32.items()]
    click.echo(f"float32 contractions run as: {', '.join(policy)} ({found.float32_source})")


def _figures(device: Hardware) -> Iterator[tuple[str, ...]]:
    from costmodel.report.terminal import si

    def row(label: str, quantity: Quantity, ridge: str = "") -> tuple[str, ...]:
        doubt = f"; doubt: {quantity.doubt}" if quantity.doubt else ""
        return label, si(quantity.value, quantity.unit), ridge, quantity.source + doubt

    yield "figure", "value", "ridge point", "source"
    for (engine, dtype), quantity in device.peaks.items():
        yield row(f"{engine} {dtype}", quantity, f"{quantity.value / device.bandwidth.value:.4g} FLOP/B")
    for label in ("bandwidth", "capacity", "launch_overhead", "call_overhead", "power", "weight"):
        if (quantity := getattr(device, label)) is not None:
            yield row("transcendental weight" if label == "weight" else label.replace("_", " "), quantity)


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
    except OSError as error:
        raise CostModelError(f"cannot write {path}: {error.strerror}; give another file with --output") from None
    click.echo(f"{device.title}: written to {path}")
