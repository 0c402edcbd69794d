"""Expressions over the axes of a grid, factored so that next to nothing is computed at every point.

A node knows the axes that it depends on. Sums are collected by the outermost axis with the fewest distinct factors on it, and what
is left stands on fewer axes: of ``n*(a*h*w + b)`` over a grid of n and h = w the parenthesis is computed once an h, and a point
takes one multiplication. Equal nodes are one. See :mod:`.blocks` for their values.

>>> from costmodel.symbolic.forms import symbol
>>> n, h = symbol("n"), symbol("h")
>>> graph = Graph({"n": 0b01, "h": 0b10})
>>> print(graph.whole(3*n*h**2 + 2*n*h + 5*n + 7))
(7 + (5 + (2 + 3*h)*h)*n)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sympy import Add, Expr, Integer, Mul, Pow, Rational, Symbol

from costmodel.errors import CostModelError
from costmodel.symbolic.forms import CeilDiv, CeilLog2, FloorDiv, PeakMax
from costmodel.symbolic.quotients import over_common_denominator
from costmodel.symbolic.taps import TapCount

_FORMS = {FloorDiv: "floor_div", CeilDiv: "ceil_div", PeakMax: "maximum", TapCount: "tap_count", CeilLog2: "ceil_log2"}
_SIGNS = {"add": " + ", "mul": "*", "floor_div": " // ", "divide": "/", "pow": "**"}


@dataclass(frozen=True, eq=False)
class Node:
    """An operation on other nodes; compared by identity.

    op:   "constant", "symbol", "add", "mul", "pow", "floor_div", "ceil_div", "divide", "maximum", "minimum", "tap_count",
          "ceil_log2", or "pick" (of n keys and n values, the value whose key is greatest; the first of equals).
    leaf: the number of a constant, the name of a symbol, the exponent of a power.
    axes: the axes it depends on, as bits: the outermost is bit 0.
    """

    op: str
    args: tuple[Node, ...] = ()
    leaf: Any = None
    axes: int = 0
    number: int = field(default=0, repr=False)

    def __str__(self) -> str:
        if not self.args:
            return str(self.leaf)
        texts = [*map(str, self.args), *([str(self.leaf)] if self.op == "pow" else [])]
        sign = _SIGNS.get(self.op)
        if self.op == "mul":
            return "*".join(texts)
        return f"({sign.join(texts)})" if sign else f"{self.op}({', '.join(texts)})"


# A product of powers of nodes, by their numbers, and its coefficient.
_Powers = tuple[tuple[Node, int], ...]
_Terms = list[tuple[Any, _Powers]]


class Graph:
    """Nodes of expressions over some axes; ``axes`` has those of each symbol, by name."""

    def __init__(self, axes: Mapping[str, int]) -> None:
        self.axes = axes
        self._nodes: dict[tuple[Any, ...], Node] = {}
        self._written: dict[tuple[Expr, bool], Node] = {}

    def whole(self, expr: Expr) -> Node:
        """An expression that is an integer under its domain, in integers: a division leaves no remainder."""
        return self._write(expr, False)

    def real(self, expr: Expr) -> Node:
        """An expression in floating point, of which symbols may stand in denominators."""
        return self._write(expr, True)

    def node(self, op: str, *args: Node, leaf: Any = None, axes: int = 0) -> Node:
        """The node of an operation; the same one whenever it is asked for."""
        key = (op, args, leaf, type(leaf))
        if key not in self._nodes:
            for arg in args:
                axes |= arg.axes
            self._nodes[key] = Node(op, args, leaf, axes, len(self._nodes))
        return self._nodes[key]

    def constant(self, value: Any) -> Node:
        """The node of a number."""
        return self.node("constant", leaf=value)

    def sum(self, nodes: Sequence[Node]) -> Node:
        """Their sum; what depends on fewer axes is added first."""
        nodes = sorted(nodes, key=lambda node: (bin(node.axes).count("1"), node.number))
        return self.node("add", *nodes) if len(nodes) > 1 else nodes[0] if nodes else self.constant(0)

    def _write(self, expr: Expr, real: bool) -> Node:
        key = (expr, real)
        if key not in self._written:
            self._written[key] = self._made(expr, real)
        return self._written[key]

    def _made(self, expr: Expr, real: bool) -> Node:
        if isinstance(expr, Symbol):
            return self._symbol(expr)
        if isinstance(expr, Integer):
            return self.constant(float(expr) if real else int(expr))
        form = _FORMS.get(type(expr))
        if form is not None:  # a maximum of fractions is one too; the arguments of the others are integers
            return self.node(form, *(self._write(arg, real) for arg in expr.args))
        if not isinstance(expr, Add | Mul | Pow | Rational) or (isinstance(expr, Pow) and not expr.args[1].is_Integer):
            raise CostModelError(f"{str(expr)[:60]!r} ({type(expr).__name__}) is not one of costmodel's forms")
        if real:
            return self._collected(self._terms(expr, True))
        numerator, denominator = over_common_denominator(expr)
        above = self._collected(self._terms(numerator, False))
        return above if denominator == 1 else self.node("floor_div", above, self._write(denominator, False))

    def _symbol(self, symbol: Symbol) -> Node:
        if symbol.name not in self.axes:
            raise CostModelError(f"the expression contains {symbol.name}, which is not among the symbols given "
                                 f"({', '.join(self.axes) or 'none'})")
        return self.node("symbol", leaf=symbol.name, axes=self.axes[symbol.name])

    def _terms(self, expr: Expr, real: bool) -> _Terms:
        found: dict[_Powers, Any] = {}
        for term in Add.make_args(expr):
            coefficient, powers = self._term(term, real)
            found[powers] = found.get(powers, 0) + coefficient
        return [(coefficient, powers) for powers, coefficient in found.items() if coefficient != 0]

    def _term(self, term: Expr, real: bool) -> tuple[Any, _Powers]:
        coefficient: Any = 1.0 if real else 1
        powers: Counter[Node] = Counter()
        for factor in Mul.make_args(term):
            if factor.is_Rational:
                coefficient *= float(factor) if real else int(factor)
            elif isinstance(factor, Pow):
                powers[self._write(factor.args[0], real)] += int(factor.args[1])
            else:
                powers[self._write(factor, real)] += 1
        return coefficient, tuple(sorted(powers.items(), key=lambda item: item[0].number))

    def _collected(self, terms: _Terms) -> Node:
        """The sum of products, factored."""
        if len(terms) < 2:
            return self._product(*terms[0]) if terms else self.constant(0)
        axes = 0
        for _, powers in terms:
            axes |= _axes(powers)
        if bin(axes).count("1") < 2:
            return self._horner(terms)
        bits = [1 << i for i in range(axes.bit_length()) if axes >> i & 1]
        axis = min(bits, key=lambda bit: len({_on(powers, bit) for _, powers in terms}))
        groups: dict[_Powers, _Terms] = defaultdict(list)
        for coefficient, powers in terms:
            groups[_on(powers, axis)].append((coefficient, tuple(p for p in powers if not p[0].axes & axis)))
        return self.sum([self._times(self._collected(rest), self._product(1, powers) if powers else None)
                         for powers, rest in groups.items()])

    def _horner(self, terms: _Terms) -> Node:
        """A sum on one axis: what most of its terms share is taken out of them."""
        shared = Counter(node for _, powers in terms for node, power in powers if power > 0)
        if not shared or len(terms) < 2 or max(shared.values()) < 2:
            return self.sum([self._product(*term) for term in terms])
        most = max(shared, key=lambda node: (shared[node], -node.number))
        inside, outside = [], []
        for coefficient, powers in terms:
            if dict(powers).get(most, 0) > 0:
                inside.append((coefficient, tuple((n, p - (n is most)) for n, p in powers if n is not most or p > 1)))
            else:
                outside.append((coefficient, powers))
        taken = self._times(self._horner(inside), most)
        return self.sum([taken, *([self._horner(outside)] if outside else [])])

    def _times(self, node: Node, factor: Node | None) -> Node:
        if factor is None:
            return node
        if node.op == "constant" and node.leaf == 1:
            return factor
        return self.node("mul", node, factor)

    def _product(self, coefficient: Any, powers: _Powers) -> Node:
        """A product, what stands on the inner axes first."""
        parts = [self.node("pow", node, leaf=power) if power != 1 else node for node, power in powers]
        parts.sort(key=lambda node: (-(node.axes & -node.axes), node.axes, node.number))
        if not parts:
            return self.constant(coefficient)
        if coefficient != 1:
            parts.insert(0, self.constant(coefficient))
        product = parts[0]
        for part in parts[1:]:
            product = self.node("mul", product, part)
        return product


def _axes(powers: _Powers) -> int:
    axes = 0
    for node, _ in powers:
        axes |= node.axes
    return axes


def _on(powers: _Powers, axis: int) -> _Powers:
    """What of a product depends on an axis."""
    return tuple(p for p in powers if p[0].axes & axis)


def uses(outputs: Sequence[Node]) -> Mapping[Node, int]:
    """How often each node below the outputs is used, by others or as an output."""
    counts: Counter[Node] = Counter(outputs)
    waiting, seen = list(dict.fromkeys(outputs)), set(outputs)
    while waiting:
        for arg in waiting.pop().args:
            counts[arg] += 1
            if arg not in seen:
                seen.add(arg)
                waiting.append(arg)
    return counts

