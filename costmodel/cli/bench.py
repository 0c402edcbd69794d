"""Commands that set a prediction beside what machines and compilers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from costmodel.cli.options import model_options, say_verified

if TYPE_CHECKING:
    from costmodel.arguments import Asked


@click.command()
@model_options
@click.option("--hw", default="local", show_default=True, metavar="NAME", help="The device to compare with.")
@click.option("--repeat", type=int, default=20, show_default=True, help="Timed runs.")
@click.option("--save", metavar="FILE", help="Append the result, with all samples, to a file of JSON lines.")
def check(asked: Asked, hw: str, repeat: int, save: str | None) -> None:
    """Run MODEL on this machine and compare its time with the roofline's bounds."""
    from costmodel.bench import check as measured

    answer = asked.answer(quoted=True)
    result = measured(answer.cost, answer.at, hw, repeat=repeat)
    click.echo(str(result))
    say_verified(answer)
    if save:
        result.save(save)
