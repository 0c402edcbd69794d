"""Commands about the cache of derivations."""

from __future__ import annotations

import click

from costmodel.cli.options import help_if_alone


@click.group("cache", invoke_without_command=True)
@click.pass_context
def cache(context: click.Context) -> None:
    """Derivations kept on disk, so that what is asked of a model again needs no trace."""
    help_if_alone(context)


@cache.command("info")
def info() -> None:
    """Where they are, how many there are, and how large."""
    from costmodel.cache.folder import MOST_BYTES, MOST_FILES, MOVED, folder, kept
    from costmodel.text import si

    found = kept()
    click.echo(f"{folder()}: {_derivations(len(found))}, {si(sum(size for _, size in found), 'B')}; at most {MOST_FILES} and "
               f"{si(MOST_BYTES, 'B')} are kept. {MOVED} names another folder.")


@cache.command("clear")
def clear() -> None:
    """Remove them all."""
    from costmodel.cache.folder import clear as remove
    from costmodel.cache.folder import folder

    number, _ = remove()
    click.echo(f"{folder()}: {_derivations(number)} removed")


def _derivations(count: int) -> str:
    return f"{count} derivation{'s' * (count != 1)}"
