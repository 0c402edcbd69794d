"""At which surface the user is: who calls Python is told what to call, who types a command is told what to type."""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from costmodel.errors import CostModelError

_typed: ContextVar[bool] = ContextVar("typed", default=False)
_remarks: ContextVar[list[str] | None] = ContextVar("remarks", default=None)


def said(called: str, typed: str) -> str:
    """The first, of Python, or the second where a command line asked.

    >>> said("dtype='int8'", "--dtype int8")
    "dtype='int8'"
    >>> with command_line():
    ...     said("dtype='int8'", "--dtype int8")
    '--dtype int8'
    """
    return typed if _typed.get() else called


def option(name: str, value: object = None, flag: str | None = None) -> str:
    """An argument with its value as the user gave it; ``flag``: the option's name, where it is another one.

    >>> option("near", -1), option("dtype", "int8")
    ('near=-1', "dtype='int8'")
    >>> with command_line():
    ...     option("remat", "dot"), option("near")
    ('--remat dot', '--near')
    """
    typed = flag or "--" + name.replace("_", "-")
    value_typed = repr(value) if value == "" or " " in str(value) else str(value)
    return said(f"{name}={'' if value is None else repr(value)}", typed if value is None else f"{typed} {value_typed}")


def levels(depth: int | None) -> int | None:
    """Levels of modules to go down to, None for all. Raises CostModelError for what is no number of levels.

    >>> levels(2), levels(None)
    (2, None)
    >>> levels(0)
    Traceback (most recent call last):
    costmodel.errors.CostModelError: depth=0 must be an integer of at least 1
    """
    if depth is None or (isinstance(depth, int) and not isinstance(depth, bool) and depth >= 1):
        return depth
    raise CostModelError(f"{option('depth', depth)} must be an integer of at least 1")


def brief(value: object) -> str:
    """A value as a message has it: on one line, and not long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def named(what: str, value: object, such_as: str) -> str:
    """A name that was asked for. Raises CostModelError for what is no text.

    >>> named("metric", "macs", "flops")
    'macs'
    >>> named("metric", 3, "flops")
    Traceback (most recent call last):
    costmodel.errors.CostModelError: 3 is no metric: give its name as text, as 'flops'
    """
    if isinstance(value, str):
        return str(value)
    raise CostModelError(f"{brief(value)} is no {what}: give its name as text, as {such_as!r}")


def point(value: object, name: str = "at") -> dict[str, Any]:
    """Values of symbols by name. Raises CostModelError for what is none of these.

    >>> point({"n": 3}), point(None)
    ({'n': 3}, {})
    """
    if value is None:
        return {}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return dict(value)
    raise CostModelError(f"{name}={brief(value)} must give symbols by name, as {name}={{'n': 8}}")


def number(value: object, what: str, such_as: str) -> float:
    """A real number that is no NaN. Raises CostModelError for anything else.

    >>> number(0.05, "part", "0.05")
    0.05
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value):
        return float(value)
    raise CostModelError(f"{brief(value)} is no {what}: give a number, as {such_as}")


@contextmanager
def command_line() -> Iterator[None]:
    """While it lasts, a command line asks. Remarks are said at its end: not before an error, which is one line."""
    typed, remarks = _typed.set(True), _remarks.set([])
    try:
        yield
        for remark in _remarks.get() or ():
            print(f"costmodel: {remark}", file=sys.stderr)
    finally:
        _typed.reset(typed)
        _remarks.reset(remarks)


def remark(text: str) -> None:
    """Say on stderr what all figures of a command are, once it has given them; where none asked, at once."""
    remarks = _remarks.get()
    if remarks is None:
        print(f"costmodel: {text}", file=sys.stderr)
    else:
        remarks.append(text)
