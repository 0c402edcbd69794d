"""The command about a training step of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from costmodel.cli.forms import PICTURE, end, forms, give, say
from costmodel.cli.options import PRECISION, model_options, width

if TYPE_CHECKING:
    from costmodel.arguments import Asked
    from costmodel.hardware import Hardware


@click.command()
@model_options
@forms
@click.option("--optimizer", type=click.Choice(["adamw", "sgd"]), default="adamw", show_default=True,
              help="Of optax; sgd has momentum.")
@click.option("--hw", "names", metavar="NAME[,NAME…]", default="", help="Devices of `costmodel hw list`, or .toml files.")
@click.option("--fit", metavar="SIZE", help="Also the largest batch in a memory of this size, e.g. 24GB.")
@click.option("--policy", metavar="NAME", help="Which operations share a kernel (default: the device's own, or unfused).")
@PRECISION
@PICTURE
def train(asked: Asked, optimizer: str, names: str, fit: str | None, policy: str | None, precision: str | None, form: str | None,
          output: str | None) -> None:
    """A training step of MODEL: its phases, what its memory holds, the largest batch that fits, and its time on devices.

    The loss is the mean of squares of the model's first result. Without --at: at the point that publications quote. In another
    form than text, and as a picture, it is the memory that is given.
    """
    from costmodel.cli.price import devices_named
    from costmodel.solve import capacity, largest_batch, step_memory
    from costmodel.text import si

    found = devices_named(names, precision) if names else []
    room = capacity(fit) if fit else None  # before the model, which takes longer
    answer = asked.answer(quoted=True, train=optimizer)
    cost, point = answer.cost, answer.cost.at(**answer.at)
    own = {device.name: policy or device.fusion for device in found}
    memory = step_memory(cost, answer.at, next(iter(own.values()), policy or "unfused"))
    if output:
        memory.plot(output)
    if form is None:
        say(f"{point.table(by='phase').text(width())}\n")
    give(memory, form)
    if form is None:
        sizes: list[tuple[int | Hardware, str]] = [(room, policy or "unfused")] if room else []
        sizes += [(device, own[device.name]) for device in found if device.capacity is not None]
        for where, used in sizes:
            say(str(largest_batch(cost, where, answer.at, used)))
        for device in found:
            line = point.roofline(device, policy=policy)
            fast, slow = line.throughput
            likely = f", predicted {si(line.predicted, 's')} ({line.basis})" if line.predicted is not None else ""
            say(f"{device.name}: {si(line.lower, 's')} to {si(line.upper, 's')} a step{likely}; {slow:.4g} to {fast:.4g} "
                f"{line.item}/s, {line.bound}-bound, policy {own[device.name]!r}")
    end(answer, form, output)
