"""Every rule shows in its own docstring what it counts on arrays of named dimensions; pytest runs it there."""

from __future__ import annotations

import ast
import doctest
import sys
from collections.abc import Callable, Iterator, Mapping

from costmodel.rules import Rule, golden, registered, touched
from costmodel.rules.work import Work

ROWS = {golden.__name__, touched.__name__}


def shown(function: Callable[..., Work]) -> Iterator[str]:
    """The primitives whose golden rows a rule's docstring has."""
    for example in doctest.DocTestParser().get_examples(function.__doc__ or ""):
        for node in ast.walk(ast.parse(example.source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ROWS and isinstance(node.args[0], ast.Constant):
                yield node.args[0].value


def is_run(function: Callable[..., Work]) -> bool:
    """Whether doctest finds it: it does not look inside functions."""
    return getattr(sys.modules[function.__module__], function.__name__, None) is function


def without_a_row(rules: Mapping[str, Rule]) -> list[str]:
    """The built-in rules that show no row of a primitive of theirs."""
    primitives: dict[Callable[..., Work], set[str]] = {}
    for primitive, rule in rules.items():
        if rule.builtin:
            primitives.setdefault(rule.function, set()).add(primitive)
    return [f.__name__ for f, own in primitives.items() if not (is_run(f) and own.intersection(shown(f)))]


def test_every_rule_has_a_golden_row_of_its_own():
    rules = registered()
    assert len({rule.function for rule in rules.values() if rule.builtin}) > 70
    assert without_a_row(rules) == []


def silent(eqn, **_):
    """As :func:`borrowed`: golden("add", "n")."""


def borrowed(eqn, **_):
    """
    >>> golden("mul", "n", "n")
    'n mul'
    """


def test_a_rule_without_one_is_found():
    def nested(eqn, **_):
        """
        >>> golden("add", "n", "n")
        'n add'
        """

    for function in (silent, borrowed, nested):
        rule = Rule(function.__name__, function, builtin=True)
        assert without_a_row({**registered(), "add": rule}) == [function.__name__]
    assert without_a_row({"mul": Rule("borrowed", borrowed, builtin=True)}) == []
    assert list(shown(silent)) == []


def test_rows_have_types_results_and_dimensions_of_several_factors():
    assert touched("concatenate", "bfloat16[n 2*c]", "n h//2", out=("int8[n]", "")) == "reads 2*c*n, n*FloorDiv(h, 2); writes n, 1"
    assert golden("add", "complex64[n]", "n") == "2*n add"
    assert golden("add", "n", "n", dtype="complex64") == "2*n add"
