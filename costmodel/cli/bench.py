"""Commands that set a prediction beside what machines and compilers do."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click

from costmodel.cli.forms import PICTURE, end, forms, give
from costmodel.cli.options import PRECISION, model_options, say, say_verified
from costmodel.errors import CostModelError

if TYPE_CHECKING:
    from costmodel.arguments import Asked


@click.command()
@model_options
@forms
@click.option("--hw", default="local", show_default=True, metavar="NAME", help="The device to compare with.")
@click.option("--repeat", type=int, default=20, show_default=True, help="Timed runs.")
@click.option("--by", type=click.Choice(["kind"]), help="Also run each kind's kernels alone: what explains the difference.")
@click.option("--policies", is_flag=True, help="Also the bounds under other fusion policies than the device's.")
@click.option("--baselines", is_flag=True, help="Also simpler predictors: raw roofline, one factor, e + t0.")
@PRECISION
@click.option("--save", metavar="FILE", help="Append the result, with all samples, to a file of JSON lines.")
@PICTURE
def check(asked: Asked, hw: str, repeat: int, by: str | None, policies: bool, baselines: bool, precision: str | None,
          save: str | None, form: str | None, output: str | None) -> None:
    """Run MODEL on this machine: its time beside what is predicted, and the bounds."""
    from costmodel.bench import check as measured

    answer = asked.answer(quoted=True)
    result = measured(answer.cost, answer.at, hw, repeat=repeat, by_kind=by == "kind", precision=precision)
    if save:  # before anything is printed, since who reads it may go away
        result.save(save)
    if output:
        result.plot(output)
    give(result, form, lambda: result.text(policies=policies, baselines=baselines))
    end(answer, form, output)


@click.command()
@functools.partial(model_options, needed=False)
@click.option("--compiler", metavar="NAME", help="xla-cpu, cuda-a100 or -h100, tpu-v4, -v5e, -v5p or -v6e; with --mesh xla-cpu or "
              "tpu-v5e (default: xla-cpu).")
@click.option("--all", "every", is_flag=True, help="With --mesh: all programs of costmodel.bench.mesh; MODEL can name one.")
@click.option("--policy", metavar="NAME", help="The fusion policy to compare with (default: the one that stands for the compiler).")
@click.option("--train", type=click.Choice(["sgd", "adamw"]), help="A training step with this optimizer; its memory is donated.")
@click.option("--save", metavar="FILE", help="Append the judgement, with all kernels, to a file of JSON lines.")
def judge(asked: Asked, compiler: str | None, every: bool, policy: str | None, train: str | None, save: str | None) -> None:
    """Compile MODEL, without the device, and compare the compiler's kernels, bytes and memory with ours; with --mesh, what one
    device of the mesh sends and holds."""
    from costmodel.bench.compilers import prepare
    from costmodel.rules.work import DONATED_BY_TRAINING

    if not asked.model and not every:
        raise CostModelError("name a MODEL to judge, or give --mesh data=2,model=4 --all")
    if not asked.mesh and (every or compiler is None):
        raise CostModelError("--all needs --mesh, e.g. --mesh data=2,model=4" if every else "give --compiler, e.g. xla-cpu")
    prepare(compiler or "xla-cpu")  # before jax starts
    if asked.mesh:
        _judge_over_mesh(asked, compiler or "xla-cpu", every, train, save)
        return
    from costmodel.bench.judge import judge as compiled

    assert compiler is not None
    answer = asked.answer(quoted=True, train=train)
    result = compiled(answer.cost, answer.at, compiler, policy=policy, donate=DONATED_BY_TRAINING if train else ())
    if save:  # before anything is printed, since who reads it may go away
        result.save(save)
    say(str(result))
    say_verified(answer)


def _judge_over_mesh(asked: Asked, compiler: str, every: bool, train: str | None, save: str | None) -> None:
    """A zoo model or a program of :mod:`costmodel.bench.mesh` over a mesh, or all of those."""
    from costmodel.arguments import point
    from costmodel.bench.mesh.judge import judge_over_mesh, judge_program, summary
    from costmodel.bench.mesh.programs import programs

    known, judged = programs(), []
    for name in known if every else [asked.model]:
        if name in known:
            sizes = point((asked.mesh or "",), "--mesh")
            judged.append(judge_program(known[name], sizes, compiler, point(asked.points)))
        else:
            answer = asked.answer(quoted=True, train=train)
            judged.append(judge_over_mesh(answer.cost, answer.at, compiler))
        if save:
            judged[-1].save(save)
        say(str(judged[-1]))
    if every:
        say(summary(judged))
