"""The command that writes a live page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from costmodel.cli.options import model_options, say, say_verified
from costmodel.errors import CostModelError

if TYPE_CHECKING:
    from costmodel.arguments import Asked


@click.command()
@model_options
@click.option("--hw", "names", metavar="NAME[,NAME…]", help="Devices that the page offers, the first one chosen (default: all).")
@click.option("--train", type=click.Choice(["sgd", "adamw"]), help="A training step with this optimizer.")
@click.option("-o", "--output", metavar="FILE", help="The .html file to write (default: MODEL.html).")
def page(asked: Asked, names: str | None, train: str | None, output: str | None) -> None:
    """Write MODEL as a live page: one file, no network, with sliders for every symbol, device, type and policy.

    It starts at --at, or where publications quote the model.
    """
    from costmodel.hardware import load
    from costmodel.report.page import write_page

    path = output or f"{asked.model.rpartition(':')[2]}.html"
    if not path.lower().endswith((".html", ".htm")):
        raise CostModelError(f"a page is an .html file, and {path!r} is none: give -o FILE.html")
    devices = [load(name.strip()) for name in (names or "").split(",") if name.strip()]
    if names is not None and not devices:
        raise CostModelError("--hw names no device; `costmodel hw list` shows all")
    answer = asked.answer(quoted=True, train=train)
    size = write_page(path, answer.cost, devices, answer.at, [answer.verified] if answer.verified else [])
    say(f"written to {path}: {size / 1000:.0f} kB, opens in any browser")
    say_verified(answer)
