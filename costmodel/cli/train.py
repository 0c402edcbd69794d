"""The command about a training step of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from costmodel.cli.forms import PICTURE, end, forms, give
from costmodel.cli.options import PRECISION, model_options, say, width
from costmodel.trace.recipe import LOSSES, OPTIMIZERS

if TYPE_CHECKING:
    from costmodel.arguments import Asked
    from costmodel.hardware import Hardware


@click.command()
@model_options
@forms
@click.option("--loss", metavar="NAME", default="squares", show_default=True,
              help=f"{', '.join(LOSSES)}, or loss(outputs, *targets) as module:function.")
@click.option("--target", "targets", multiple=True, metavar="SHAPE[:DTYPE]",
              help="One for each target of a loss of your own, as --input is written.")
@click.option("--optimizer", metavar="NAME", default="adamw", show_default=True,
              help=f"Of optax: {', '.join(OPTIMIZERS)}; sgd has momentum, none stops at the gradients.")
@click.option("--remat", metavar="POLICY", default="none", show_default=True,
              help="What is held for the backward pass, the rest being computed again: full (nothing), dots, dots-no-batch.")
@click.option("--microbatch", "microbatches", type=click.IntRange(1, 2**31 - 1), metavar="COUNT", default=1,
              help="Split the batch so many times and add up the gradients.")
@click.option("--compute-dtype", metavar="DTYPE", help="Cast parameters and inputs to this type for the passes, e.g. bfloat16.")
@click.option("--hw", "names", metavar="NAME[,NAME…]", default="", help="Devices of `costmodel hw list`, or .toml files.")
@click.option("--fit", metavar="SIZE", help="Also the largest batch in a memory of this size, e.g. 24GB.")
@click.option("--policy", metavar="NAME", help="Which operations share a kernel (default: the device's own, or unfused).")
@PRECISION
@PICTURE
def train(asked: Asked, loss: str, targets: tuple[str, ...], optimizer: str, remat: str, microbatches: int,
          compute_dtype: str | None, names: str, fit: str | None, policy: str | None, precision: str | None, form: str | None,
          output: str | None) -> None:
    """A training step of MODEL: its phases, what its memory holds, the largest batch that fits, and its time on devices.

    Without --at: at the point that publications quote. The memory is shown under the policy of each device. A picture is of the
    memory under the first one's.
    """
    from costmodel.cli.price import devices_named
    from costmodel.rules.work import DTYPE_ALIASES
    from costmodel.sheets import facts, joined
    from costmodel.solve import capacity, largest_batch, step_memory, step_time
    from costmodel.trace.recipe import Recipe

    found = devices_named(names, precision) if names else []
    room = capacity(fit) if fit else None  # before the model, which takes longer
    computed = compute_dtype and DTYPE_ALIASES.get(compute_dtype, compute_dtype)
    answer = asked.answer(quoted=True, train=Recipe(optimizer, loss, targets, remat, microbatches, computed))
    cost, point = answer.cost, answer.cost.at(**answer.at)
    own = {device.name: policy or device.fusion for device in found}
    memories = [step_memory(cost, answer.at, used) for used in dict.fromkeys(own.values()) or [policy or "unfused"]]
    if output:
        memories[0].plot(output)
    sizes: list[tuple[str, int | Hardware, str]] = [(fit or "", room, policy or "unfused")] if room else []
    sizes += [(device.name, device, own[device.name]) for device in found if device.capacity is not None]
    answers = [(name, largest_batch(cost, where, answer.at, used)) for name, where, used in sizes]
    times = [(device.name, step_time(point, device, policy)) for device in found]
    if form is None:
        say("\n".join([f"{point.table(by='phase').text(width())}\n", *(f"{each.text(width())}\n" for each in memories),
                       *(f"{name}: {each}" for name, each in answers), *(str(each) for _, each in times)]).removesuffix("\n"))
    else:
        parts = [(each.policy, each.sheet()) for each in memories]
        parts += [(what, facts(rows, what).sheet()) for what, rows in (("largest batch", answers), ("time", times)) if rows]
        whole = joined([sheet for _, sheet in parts], [name for name, _ in parts], "part")
        for i, each in enumerate(whole.parts if form in ("latex", "markdown") else (whole,)):  # people read a table at a time
            say("\n" * (i > 0), nl=False)
            give(each, form)
    end(answer, form, output)
