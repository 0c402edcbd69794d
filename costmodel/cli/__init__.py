"""The command line: parses, calls, prints. Every import but click's stands inside a command, so that help costs nothing.

One file a group of commands, each of which is listed at the end. An error that the user can mend is one line on stderr and exit
code 2; any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import errno
import sys
from typing import Any

import click

from costmodel import __version__, collector
from costmodel.cli import bench, cache, calibrate, hw, lecture, model, page, plan, price, sweep, train
from costmodel.cli.options import help_if_alone
from costmodel.errors import CostModelError
from costmodel.surface import command_line
from costmodel.text import shown

INTERRUPTED = 130  # 128 + SIGINT, as a shell has it


class _OneLineErrors(click.Group):
    """Ends a mendable error, a usage error too, with one line; an interrupt with 130. click sees to broken pipes."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not args and not kwargs:  # the command line of this process
            collector.at_end()
        return super().__call__(*args, **kwargs)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            with collector.rare(), command_line():
                code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except CostModelError as error:
            code = _complain(str(error))
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            code = _complain(error.format_message() + (f" See `{context.command_path} --help`" if context else ""))
        except click.Abort:
            code = INTERRUPTED
        except OSError as error:  # of a file it was told where it was written
            if error.errno != errno.ENOSPC or error.filename is not None:
                raise
            code = _complain("the output cannot be written: no space is left there")
        sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> int:
    click.echo(f"costmodel: {shown(' '.join(message.split()))}", err=True)
    return 2


@click.group("costmodel", cls=_OneLineErrors, invoke_without_command=True)
@click.version_option(__version__, message="costmodel %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """What does a neural network cost, and why? Closed forms from one symbolic trace of an unmodified model.

    MODEL is a name that `costmodel list` shows, or package.module:attribute.
    """
    help_if_alone(context)


class _Text(click.types.StringParamType):
    """Text that says something: an option with nothing after it would be left out in silence."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "" and param is not None and ctx is not None and param.name is not None \
                and ctx.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{param.opts[0]} is empty: give it a value, or leave it out.", ctx)
        return super().convert(value, param, ctx)


def _refuse_empty(command: click.Command) -> None:
    """Makes every option of a command and of those below it refuse "", but --where, which may take a model's domain away."""
    for param in command.params:
        if isinstance(param, click.Option) and isinstance(param.type, click.types.StringParamType) and param.name != "where":
            param.type = _Text()
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        _refuse_empty(each)


for command in (model.show, model.explain, price.roofline, sweep.sweep, price.energy, price.solve, plan.plan, price.compare,
                bench.check, bench.judge, calibrate.calibrate, calibrate.mfu, page.page, model.list_models, hw.hw, cache.cache,
                train.train, lecture.lecture):
    _refuse_empty(command)
    main.add_command(command)

# What other rooms may use.
__all__ = [
    "main",
]
