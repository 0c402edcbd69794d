"""Commands about predictions: calibrating a device, and what a measured time means."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import click

from costmodel.cli.options import PRECISION, model_options, say, say_verified
from costmodel.errors import CostModelError

if TYPE_CHECKING:
    from costmodel.arguments import Asked


@click.command()
@click.argument("device", default="local")
@click.option("--from", "files", multiple=True, metavar="FILE", help="Measured runs: records as JSON lines, or a CSV file.")
@click.option("--seconds", default=240.0, show_default=True, help="How long to measure here, without --from.")
@click.option("--save", metavar="FILE", help="Where the records of what is measured here go (default: beside the device's file).")
@click.option("--output", "-o", metavar="FILE", help="The device file (default: the user's own of that name); - prints the tables.")
@click.option("--apart", default=80.0, show_default=True, help="Seconds between two runs of a network, which must agree.")
@click.option("--software", default="", metavar="NAME", help="Which runs of the files count, where several programs ran them.")
def calibrate(device: str, files: tuple[str, ...], seconds: float, save: str | None, output: str | None, apart: float,
              software: str) -> None:
    """Fit how much of its ceilings DEVICE reaches, and the seconds a kernel: from files, or measured on this machine."""
    from costmodel.bench.calibrate import calibrated, device_of, measure_here, own_file, programs_here
    from costmodel.bench.runs import load_runs
    from costmodel.hardware import write
    from costmodel.hardware.measure import check_seconds
    from costmodel.hardware.write import calibration_lines

    if not files:  # before this machine is measured for its ceilings
        check_seconds(seconds)
        if not 0 <= apart < math.inf:
            raise CostModelError(f"--apart is {apart}: give the seconds between two runs, such as 80")
    found = device_of(device)
    if files:
        runs, doubt = load_runs(files), ""
    elif device != "local":
        raise CostModelError(f"{device} is calibrated --from files of runs on it; without them this machine is, as `local`")
    else:
        target = save or own_file(found).with_suffix(".jsonl")
        seen = sys.stderr.isatty()  # a bar for people, lines for a file
        with click.progressbar(length=len(programs_here(found)), label="programs timed", file=sys.stderr) as bar:
            runs, doubt = measure_here(found, target, seconds, lambda line: None if seen else click.echo(line, err=True),
                                       lambda: bar.update(1), apart)
    result = calibrated(found, runs, lambda line: click.echo(line, err=output == "-"), software)
    if doubt:
        click.echo(f"doubtful: {doubt}; run it again when the machine is quiet", err=True)
    if output == "-":
        click.echo("\n".join(line for each in result.calibration.values() for line in calibration_lines(each)))
        return
    path = write(result, output or own_file(result))
    click.echo(f"{result.title}: written to {path}")


@click.command()
@model_options
@click.option("--hw", "name", required=True, metavar="NAME", help="A device of `costmodel hw list`, or a .toml file.")
@click.option("--time", "seconds", required=True, metavar="TIME", help="A measured time of one call, e.g. 3.2ms.")
@click.option("--dtype", help="The type whose peak counts, e.g. bfloat16 (default: the one that does most of the products).")
@PRECISION
@click.option("--train", is_flag=True, help="TIME is of a training step: forward and backward.")
def mfu(asked: Asked, name: str, seconds: str, dtype: str | None, precision: str | None, train: bool) -> None:
    """What part of a device's peak MODEL uses by a measured time: by exact counts, and by the convention of 6N + 12·L·H·Q·T."""
    from costmodel.bench.mfu import utilisation
    from costmodel.hardware import load
    from costmodel.solve import seconds_of

    device = load(name)
    device = device.at_precision(precision) if precision else device
    answer = asked.answer(quoted=True)
    say(str(utilisation(answer.cost.at(**answer.at), device, seconds_of(seconds), dtype, train=train)))
    say_verified(answer)
