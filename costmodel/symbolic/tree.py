"""Expressions as small JSON trees: loss-free, readable by other languages, and never text that is evaluated.

An integer is a number, a symbol its name, everything else a list that opens with its head:

>>> from costmodel.symbolic.forms import CeilDiv, symbol
>>> n, h = symbol("n"), symbol("h")
>>> to_tree(3*n*CeilDiv(h, 32) - 2**60)
['add', ['int', '-1152921504606846976'], ['mul', 3, 'n', ['ceil_div', 'h', 32]]]
>>> from_tree(['mul', ['rational', 1, 2], ['pow', 'h', 2]])
h**2/2
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence
from typing import Any

from sympy import Add, Expr, Function, Integer, Mul, Pow, Rational, Symbol

from costmodel.errors import CostModelError
from costmodel.symbolic.extent import MAX_BITS, MAX_DEPTH, MAX_NODES, extent
from costmodel.symbolic.forms import CeilDiv, CeilLog2, FloorDiv, PeakMax, symbol
from costmodel.symbolic.taps import TapCount

# The largest integer up to which JavaScript, and any reader that keeps numbers as doubles, tells all integers apart.
MAX_NUMBER = 2**53 - 1
# Digits of the largest integer that is read.
MAX_DIGITS = len(str(2**MAX_BITS))
# Nodes of all trees of a table. Every program that was met needs 390.
MAX_TABLE_NODES = 100_000
MAX_NAME = 200

_HEADS: dict[type[Expr], str] = {
    Add: "add", Mul: "mul", Pow: "pow", FloorDiv: "floor_div", CeilDiv: "ceil_div", PeakMax: "peak_max", TapCount: "tap_count",
    CeilLog2: "ceil_log2",
}
_FORMS = {head: form for form, head in _HEADS.items()}
_ARITY = {"add": None, "mul": None, "peak_max": None, "pow": 2, "floor_div": 2, "ceil_div": 2, "tap_count": 8, "ceil_log2": 1,
          "int": 1, "rational": 2}  # None: two or more


def to_tree(expr: Expr) -> Any:
    """``expr`` as nested lists, strings and integers that ``json`` writes as they are.

    Raises CostModelError for anything that is not one of costmodel's forms, and for what :func:`from_tree` would not read.
    """
    tree = _write(expr, 0, _Budget(MAX_NODES))
    extent(expr)
    return tree


def from_tree(tree: Any) -> Expr:
    """The expression of a tree, exactly as it was: nothing is re-evaluated, so ``from_tree(to_tree(e)) == e``.

    Raises CostModelError for an unknown head, a wrong number of arguments, a name that is no identifier, and for what is too large:
    in nodes, levels, digits, exponents, or in the terms and values that it would come to (:mod:`.extent`).
    """
    return from_trees([tree])[0]


def from_trees(trees: Sequence[Any]) -> list[Expr]:
    """The expressions of a table of trees, which also has no more than ``MAX_TABLE_NODES`` nodes in all."""
    left, exprs = _Budget(MAX_TABLE_NODES), []
    for tree in trees:
        expr = _read(tree, 0, left.part(MAX_NODES))
        extent(expr)
        exprs.append(expr)
    return exprs


class _Budget:
    """Nodes that may still be written or read, of an expression and of the table that it is in."""

    def __init__(self, nodes: int, whole: _Budget | None = None) -> None:
        self.bound, self.left, self.whole = nodes, nodes, whole

    def part(self, nodes: int) -> _Budget:
        """The budget of one expression of the table."""
        return _Budget(nodes, self)

    def spend(self, depth: int) -> None:
        """One node, so deep. Raises CostModelError where that is too much."""
        self.left -= 1
        if self.left < 0:
            raise CostModelError(f"{'expression tree' if self.whole else 'table of expressions'} of more than {self.bound} nodes")
        if depth > MAX_DEPTH:
            raise CostModelError(f"expression tree nests deeper than {MAX_DEPTH} levels")
        if self.whole is not None:
            self.whole.spend(0)


def _write(expr: Expr, depth: int, left: _Budget) -> Any:
    left.spend(depth)
    if isinstance(expr, Integer):
        return _write_integer(int(expr))
    if isinstance(expr, Rational):
        return ["rational", _write_integer(int(expr.p)), _write_integer(int(expr.q))]
    if isinstance(expr, Symbol):
        if expr != symbol(_name(expr.name)):
            raise CostModelError(f"symbol {expr.name} was not made by costmodel's own symbol(): it would not read back the same")
        return expr.name
    head = _HEADS.get(type(expr))
    if head is None or (head == "pow" and not expr.args[1].is_Integer):
        raise CostModelError(f"{str(expr)[:60]!r} ({type(expr).__name__}) is not one of costmodel's forms")
    return [head, *(_write(arg, depth + 1, left) for arg in expr.args)]


def _write_integer(value: int) -> Any:
    if abs(value) <= MAX_NUMBER:
        return value
    if value.bit_length() > MAX_BITS:
        raise CostModelError(f"integer of {value.bit_length()} bits; the bound is {MAX_BITS}")
    return ["int", str(value)]


def _read(tree: Any, depth: int, left: _Budget) -> Expr:
    left.spend(depth)
    if isinstance(tree, int) and not isinstance(tree, bool):
        return Integer(_bounded(tree))
    if isinstance(tree, str):
        return symbol(_name(tree))
    if not isinstance(tree, list) or not tree or not isinstance(tree[0], str):
        raise CostModelError(f"expression tree has {str(tree)[:60]!r} where an integer, a name or [head, ...] belongs")
    head, *args = tree
    if head not in _ARITY:
        raise CostModelError(f"expression tree has the unknown head {head[:60]!r}; known are {', '.join(_ARITY)}")
    arity = _ARITY[head]
    if len(args) != arity if arity else len(args) < 2:
        raise CostModelError(f"expression tree: {head} takes {arity or 'two or more'} arguments, not {len(args)}")
    if head == "int":
        return Integer(_decimal(args[0]))
    parts = [_read(arg, depth + 1, left) for arg in args]
    if head == "rational":
        return _rational(*parts)
    return _rebuild(head, parts)


def _rebuild(head: str, args: list[Expr]) -> Expr:
    """The node itself, without the constructors that would bring its arguments into canonical form again."""
    form = _FORMS[head]
    if form in (Add, Mul):
        return form._from_args(args)
    if form is Pow:
        if not args[1].is_Integer:
            raise CostModelError(f"expression tree: the exponent of pow, {_told(args[1])}, is not an integer")
        return Pow(*args, evaluate=False)
    if form in (FloorDiv, CeilDiv) and args[1].is_Integer and args[1] <= 0:
        raise CostModelError(f"expression tree: {head} by {args[1]}; a divisor is positive")
    return Function.__new__(form, *args, evaluate=False)


def _told(expr: Expr) -> str:
    """An expression in a message: printing a large one takes its time."""
    return str(expr)[:60] if not expr.args else f"a {type(expr).__name__}"


def _rational(numerator: Expr, denominator: Expr) -> Expr:
    if not (numerator.is_Integer and denominator.is_Integer and denominator > 0):
        raise CostModelError("expression tree: rational takes an integer and a positive integer")
    return Rational(int(numerator), int(denominator))


def _decimal(text: Any) -> int:
    if not isinstance(text, str) or len(text) > MAX_DIGITS or not re.fullmatch(r"-?[0-9]+", text):
        raise CostModelError(f"expression tree: int takes the decimal digits of an integer, not {str(text)[:60]!r}")
    return _bounded(int(text))


def _bounded(value: int) -> int:
    if value.bit_length() > MAX_BITS:
        raise CostModelError(f"expression tree: integer of {value.bit_length()} bits; the bound is {MAX_BITS}")
    return value


def _name(text: str) -> str:
    if len(text) > MAX_NAME or not text.isidentifier() or keyword.iskeyword(text):
        raise CostModelError(f"expression tree: {text[:60]!r} is not a name of a symbol")
    return text


class Interner:
    """A growing list of distinct trees: a cost table names each expression by its index, so that what thousands of
    equations share is written once."""

    def __init__(self) -> None:
        self.trees: list[Any] = []
        self._index: dict[Expr, int] = {}

    def ref(self, expr: Expr) -> int:
        """Index of ``expr`` in ``trees``, which grows if the expression is new."""
        index = self._index.get(expr)
        if index is None:
            index = self._index[expr] = len(self.trees)
            self.trees.append(to_tree(expr))
        return index


def pack(exprs: Iterable[Expr]) -> tuple[list[Any], list[int]]:
    """(distinct trees, index of each expression among them).

    >>> n, h = symbol("n"), symbol("h")
    >>> pack([n*h, n, n*h])
    ([['mul', 'h', 'n'], 'n'], [0, 1, 0])
    """
    interner = Interner()
    refs = [interner.ref(expr) for expr in exprs]
    return interner.trees, refs


def unpack(trees: Sequence[Any], refs: Iterable[int]) -> list[Expr]:
    """The expressions that ``pack`` was given. Raises CostModelError for an index that is not in the table."""
    table = from_trees(trees)
    refs = list(refs)
    for ref in refs:
        if isinstance(ref, bool) or not isinstance(ref, int) or not 0 <= ref < len(table):
            raise CostModelError(f"expression table has {len(table)} entries and none at {str(ref)[:60]!r}")
    return [table[ref] for ref in refs]


__all__ = ["Interner", "from_tree", "from_trees", "pack", "to_tree", "unpack"]
