"""The command that finds the fastest plans of training a model on so many devices."""

from __future__ import annotations

import click

from costmodel.cli.forms import PICTURE, end, forms, give
from costmodel.cli.options import say


@click.command()
@click.argument("model")
@click.option("--devices", type=int, required=True, metavar="INT", help="How many devices there are.")
@click.option("--hw", required=True, metavar="NAME", help="A device of `costmodel hw list`, or a .toml file.")
@click.option("--global-batch", type=int, required=True, metavar="INT", help="Sequences a step, on all devices together.")
@click.option("--count", type=int, default=10, show_default=True, metavar="INT", help="How many plans are shown.")
@click.option("--memory", metavar="SIZE", help="Memory of a device, e.g. 40GB (default: the device's own).")
@PICTURE
@forms
def plan(model: str, devices: int, hw: str, global_batch: int, count: int, memory: str | None, form: str | None,
         output: str | None) -> None:
    """The fastest (dp, tp, pp, micro-batch, recomputation, ZeRO level) of a training step of MODEL that fit.

    MODEL is a stack of layers, e.g. megatron_175b. Closed forms are evaluated over all factorizations of the devices. --json has
    what takes the time and the memory of each.
    """
    import json

    from costmodel import models, solve

    found = solve.plan(models.model(model), devices=devices, hw=hw, global_batch=global_batch, count=count, memory=memory)
    if output:
        found.plot(output)
    if form == "json":
        say(json.dumps(found.as_dict(), indent=1))
    else:
        give(found, form)
    end(None, form, output)
