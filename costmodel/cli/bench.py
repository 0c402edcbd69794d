"""Commands that set a prediction beside what machines and compilers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from costmodel.cli.forms import PICTURE, end, forms, give
from costmodel.cli.options import model_options, say_verified

if TYPE_CHECKING:
    from costmodel.arguments import Asked


@click.command()
@model_options
@forms
@click.option("--hw", default="local", show_default=True, metavar="NAME", help="The device to compare with.")
@click.option("--repeat", type=int, default=20, show_default=True, help="Timed runs.")
@click.option("--save", metavar="FILE", help="Append the result, with all samples, to a file of JSON lines.")
@PICTURE
def check(asked: Asked, hw: str, repeat: int, save: str | None, form: str | None, output: str | None) -> None:
    """Run MODEL on this machine and compare its time with the roofline's bounds."""
    from costmodel.bench import check as measured

    answer = asked.answer(quoted=True)
    result = measured(answer.cost, answer.at, hw, repeat=repeat)
    if save:  # before anything is printed, since who reads it may go away
        result.save(save)
    if output:
        result.plot(output)
    give(result, form)
    end(answer, form, output)


@click.command()
@model_options
@click.option("--compiler", required=True, metavar="NAME", help="xla-cpu, cuda-a100 or -h100, tpu-v4, -v5e, -v5p or -v6e.")
@click.option("--policy", metavar="NAME", help="The fusion policy to compare with (default: the one that stands for the compiler).")
@click.option("--train", type=click.Choice(["sgd", "adamw"]), help="A training step with this optimizer; its memory is donated.")
@click.option("--save", metavar="FILE", help="Append the judgement, with all kernels, to a file of JSON lines.")
def judge(asked: Asked, compiler: str, policy: str | None, train: str | None, save: str | None) -> None:
    """Compile MODEL, without the device, and compare the compiler's kernels, bytes and memory with ours."""
    from costmodel.bench.compilers import DONATED_BY_TRAINING, prepare
    from costmodel.bench.judge import judge as compiled

    prepare(compiler)  # before jax starts
    answer = asked.answer(quoted=True, train=train)
    result = compiled(answer.cost, answer.at, compiler, policy=policy, donate=DONATED_BY_TRAINING if train else ())
    if save:  # before anything is printed, since who reads it may go away
        result.save(save)
    click.echo(str(result))
    say_verified(answer)
