"""Options that several commands share, and how they print."""

from __future__ import annotations

import contextlib
import functools
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from costmodel.errors import CostModelError
from costmodel.text import shown

if TYPE_CHECKING:
    from costmodel.arguments import Answer

NO_CACHE = click.option("--no-cache", "cached", is_flag=True, flag_value=False, default=True,
                        help="Derive it anew, and keep nothing; see `costmodel cache info`.")
_MODEL = (
    click.option("--input", "inputs", multiple=True, metavar="SHAPE[:DTYPE]",
                 help="One an argument of the call, e.g. 'n,h,w,3:float32'; names become symbols. A pytree as JSON of shapes, "
                      "a .json file of it, or a function that returns it, as module:function."),
    click.option("--where", metavar="CLAUSES", help="The symbols' domain, e.g. '32 | h, k <= h'."),
    click.option("--kw", "keywords", multiple=True, metavar="NAME=VALUE", help="Keyword argument of the call, e.g. train=false."),
    click.option("--at", "points", multiple=True, metavar="NAME=INT,…", help="A value for each symbol, e.g. n=1,h=224,w=224."),
    click.option("--rng", "rngs", multiple=True, metavar="NAME", help="A random stream the call needs, e.g. dropout."),
    click.option("--params", type=click.IntRange(min=0), metavar="INT",
                 help="Of a plain function: which --input holds the parameters, 0 for the first."),
    click.option("--mutable", multiple=True, metavar="COLLECTION", help="A collection the call updates, e.g. batch_stats."),
    click.option("--by-fit", "by_fit", type=click.Choice(["auto", "never", "always"]), default="auto", show_default=True,
                 help="Exact forms from concrete traces where jax refuses the symbols."),
    click.option("--skip-masked", is_flag=True, help="Attention's operations at the effective length of its mask."),
    click.option("--mesh", metavar="AXIS=INT,…",
                 help="Analyse one device of a mesh, e.g. data=8,model=4; parameters as Flax's metadata says."),
    click.option("--shard", "shards", multiple=True, metavar="AXIS,…",
                 help="One an input: the mesh's axis of each dimension, - for none, a+b for two; a single one is of all inputs."),
    click.option("--shard-rules", "shard_rules", multiple=True, metavar="PATTERN=AXIS,…",
                 help="Parameters' partitions by path or logical axis, the first that fits: '*/up/kernel=-,model; embed=data'."),
    NO_CACHE,
    click.option("--verify/--no-verify", default=True, help="Compare with a concrete trace at one point (default: yes)."),
)


def model_options(command: Callable[..., None], needed: bool = True) -> Callable[..., None]:
    """The arguments that say which model, gathered into one :class:`~costmodel.arguments.Asked`; ``needed``: one must be named."""
    @functools.wraps(command)
    def gathered(model: str, inputs: tuple[str, ...], where: str | None, keywords: tuple[str, ...], points: tuple[str, ...],
                 rngs: tuple[str, ...], params: int | None, mutable: tuple[str, ...], by_fit: str, skip_masked: bool,
                 mesh: str | None, shards: tuple[str, ...], shard_rules: tuple[str, ...], cached: bool, verify: bool,
                 **options: Any) -> None:
        from costmodel.arguments import Asked
        from costmodel.cache.derivations import Cache

        cache = Cache(cached)
        with result_alone():
            command(Asked(model, inputs, where, keywords, points, verify, rngs, mutable, by_fit, skip_masked, mesh, shards,
                          shard_rules, params, cache), **options)
        cache.keep()  # what points of the command's own told

    decorated: Callable[..., None] = gathered
    which = click.argument("model") if needed else click.argument("model", required=False, default="")
    for decorate in reversed((which, *_MODEL)):
        decorated = decorate(decorated)
    return decorated


DTYPE = click.option("--dtype", metavar="TYPE|ROLE=TYPE,…",
                      help="Price floating-point numbers in this type, e.g. bf16, or by role: weights=int8,activations=bf16.")
PRECISION = click.option("--precision", type=click.Choice(["highest", "high", "default"]),
                         help="What float32 contractions that ask for none run at (default: the device's policy).")


def width() -> int:
    """Columns of the terminal; 200 where the output is no terminal."""
    return shutil.get_terminal_size((200, 24)).columns


@contextlib.contextmanager
def result_alone() -> Iterator[None]:
    """Sends to stderr what is printed by others than :func:`say`, such as a model: stdout is the result's alone."""
    click.get_current_context().meta.setdefault("costmodel.stdout", sys.stdout)
    with contextlib.redirect_stdout(sys.stderr):
        yield


def say(text: str, *, nl: bool = True) -> None:
    """Prints on the stdout that the command was started with."""
    out = click.get_current_context().meta.get("costmodel.stdout", sys.stdout)
    if out is not None:  # closed by who started it
        click.echo(text, file=out, nl=nl)


def one_form(forms: Mapping[str, bool]) -> str | None:
    """Which of the flags ``as_json``, ``as_csv`` … was given, without its ``as_``. Raises CostModelError for more than one."""
    given = [name.removeprefix("as_") for name, wanted in forms.items() if wanted]
    if len(given) > 1:
        raise CostModelError(f"{' and '.join(f'--{name}' for name in given)} are different forms of one result: give one of them")
    return given[0] if given else None


def say_verified(answer: Answer) -> None:
    """Prints how the answer was verified, if it was to be."""
    if answer.verified:
        say(answer.verified)


def help_if_alone(context: click.Context) -> None:
    """Prints a group's help where no command of it was given."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def columns(rows: list[tuple[str, ...]]) -> str:
    """Rows as lines, what others chose in them as text."""
    rows = [tuple(map(shown, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)
