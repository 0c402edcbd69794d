"""Commands that price a model on devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from costmodel.cli.options import model_options, say_verified, width
from costmodel.errors import CostModelError

if TYPE_CHECKING:
    from costmodel.arguments import Asked


@click.command()
@model_options
@click.option("--hw", "devices", required=True, metavar="NAME[,NAME…]", help="Devices of `costmodel hw list`, or .toml files.")
@click.option("--policy", default="layer", show_default=True, metavar="layer|unfused", help="Which operations share a kernel.")
@click.option("--dtype", help="Price all floating-point arithmetic and arrays in this type, e.g. bfloat16.")
def roofline(asked: Asked, devices: str, policy: str, dtype: str | None) -> None:
    """Time bounds of MODEL's layers on devices, and what binds them. Without --at: at the point that publications quote."""
    from costmodel.hardware import load
    from costmodel.report.terminal import render_roofline
    from costmodel.roofline import roofline as bounds

    names = [name.strip() for name in devices.split(",") if name.strip()]
    if not names:
        raise CostModelError("--hw names no device; `costmodel hw list` shows all")
    wanted = [load(name) for name in names]  # before the model, which takes longer
    answer = asked.answer(quoted=True)
    point = (answer.cost.reprice(dtype=dtype) if dtype else answer.cost).at(**answer.at)
    priced = [bounds(point, device, policy=policy) for device in wanted]
    click.echo("\n\n".join(render_roofline(each, width()) for each in priced))
    say_verified(answer)
