"""Commands about predictions: calibrating a device, and what a measured time means."""

from __future__ import annotations

import click

from costmodel.errors import CostModelError


@click.command()
@click.argument("device", default="local")
@click.option("--from", "files", multiple=True, metavar="FILE", help="Measured runs: records of JSON lines, or a CSV (docs/truth.md).")
@click.option("--seconds", default=240.0, show_default=True, help="How long to measure here, without --from.")
@click.option("--save", metavar="FILE", help="Where the records of what is measured here go (default: beside the device's file).")
@click.option("--output", "-o", metavar="FILE", help="The device file to write (default: the user's own of that name); - prints the tables.")
def calibrate(device: str, files: tuple[str, ...], seconds: float, save: str | None, output: str | None) -> None:
    """Fit how much of its ceilings DEVICE reaches, and the seconds a kernel: from files, or measured on this machine."""
    from costmodel.bench.calibrate import calibrated, device_of, measure_here, own_file
    from costmodel.bench.runs import load_runs
    from costmodel.hardware import write
    from costmodel.hardware.write import calibration_lines

    found = device_of(device)
    if files:
        runs, doubt = load_runs(files), ""
    elif device != "local":
        raise CostModelError(f"{device} is calibrated --from files of runs on it; without them this machine is, as `local`")
    else:
        target = save or own_file(found).with_suffix(".jsonl")
        runs, doubt = measure_here(found, target, seconds, lambda line: click.echo(line, err=True))
    result = calibrated(found, runs, lambda line: click.echo(line, err=output == "-"))
    if doubt:
        click.echo(f"doubtful: {doubt}; run it again when the machine is quiet", err=True)
    if output == "-":
        click.echo("\n".join(line for each in result.calibration.values() for line in calibration_lines(each)))
        return
    path = write(result, output or own_file(result))
    click.echo(f"{result.title}: written to {path}")
