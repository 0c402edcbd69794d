"""In which form a result is given: text for people, a file's text for a program, a picture. One place for every command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from costmodel.cli.options import one_form, result_alone, say, width
from costmodel.errors import CostModelError
from costmodel.files import PICTURES

if TYPE_CHECKING:
    from costmodel.arguments import Answer
    from costmodel.sheets import Result

_FORMS = (
    click.option("--csv", "as_csv", is_flag=True, help="The result as CSV."),
    click.option("--json", "as_json", is_flag=True, help="The result as JSON."),
    click.option("--latex", "as_latex", is_flag=True, help="The result as LaTeX (booktabs)."),
    click.option("--markdown", "as_markdown", is_flag=True, help="The result as a markdown table."),
)
PICTURE = click.option("-o", "--output", metavar="FILE", callback=lambda _, __, path: picture(path),
                       help="Also draw it, as .svg, .png or .pdf (extra `plot`).")


def forms(command: Callable[..., None]) -> Callable[..., None]:
    """Options that ask for another form than text; the command gets the one asked for as ``form``, None for text. While it works,
    what a model prints goes to stderr: stdout is the result's alone."""
    @functools.wraps(command)
    def formed(*asked: Any, as_csv: bool, as_json: bool, as_latex: bool, as_markdown: bool, **options: Any) -> None:
        form = one_form({"as_csv": as_csv, "as_json": as_json, "as_latex": as_latex, "as_markdown": as_markdown})
        with result_alone():
            command(*asked, form=form, **options)

    decorated: Callable[..., None] = formed
    for decorate in reversed(_FORMS):
        decorated = decorate(decorated)
    return decorated


def give(result: Result, form: str | None, text: Callable[[], str] | None = None, **how: Any) -> None:
    """Prints a result in a form; ``text`` makes what people read, if that is more than its sheet; ``how`` are the sheet's
    options."""
    if form is None:
        say(text() if text else result.text(width(), **how))
    else:
        say(getattr(result, f"to_{form}")(**how).removesuffix("\n"))


def end(answer: Answer | None, form: str | None, drawn: str | None = None) -> None:
    """What is said after a result: how it was verified, and where it was drawn; on stderr where stdout is for another program."""
    lines = [*([answer.verified] if answer and answer.verified else []), *([f"drawn in {drawn}"] if drawn else [])]
    for line in lines:
        click.echo(line, err=True) if form else say(line)


def picture(path: str | None) -> str | None:
    """The name of a picture's file. Raises CostModelError for one of another kind, before anything is computed."""
    if path and Path(path).suffix.lower() not in PICTURES:
        raise CostModelError(f"-o {path} names no kind of picture: end it in {', '.join(PICTURES)}")
    return path
