"""What jax decides from symbols without knowing: undecided equalities of dimensions, and orders of einsums.

``n == 8`` is silently False while n is a symbol, so a model may be another one where n is 8. Every such equality that jax or a
model asks is noted, for the whole process, since jax remembers what it has traced and does not ask again. Where the difference is
zero a cost has a *boundary*: it is compared with a concrete trace there. So it is where jax would contract an einsum of three
operands or more in another order than by the sizes that it put in place of the symbols.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sympy import Expr

from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import evaluate, lower_bound, symbol
from costmodel.symbolic.translate import internal


class Order:
    """The order of an einsum of three operands or more, which jax chose by a size that stands for every symbolic dimension.

    operands: as the einsum was given them, None for an array; ``shapes``: of the arrays; ``options``: of the choice; ``chosen_at``:
    the point at whose sizes it was chosen, where that was asked for (:func:`orders_as_at`).
    """

    def __init__(self, operands: Sequence[Any], shapes: Sequence[Sequence[Expr]], options: Mapping[str, Any],
                 chosen_at: Mapping[Any, int] | None = None) -> None:
        self.operands, self.shapes, self.options, self.chosen_at = operands, shapes, options, chosen_at
        self.names = frozenset(s.name for shape in shapes for d in shape for s in d.free_symbols)
        self.key = repr((operands, shapes, sorted(options.items())))
        self._known: dict[Any, Any] = {}

    def assumed(self) -> Any:
        """The order that the symbolic program has."""
        from costmodel import _jax_compat as compat

        if self.chosen_at is not None:
            return self.at(self.chosen_at)
        return self._of(tuple(tuple(int(d) if d.is_Integer else compat.STAND_IN for d in shape) for shape in self.shapes))

    def at(self, env: Mapping[Any, int]) -> Any:
        """The order that jax chooses at a point."""
        return self._of(tuple(tuple(int(evaluate(d, env)) for d in shape) for shape in self.shapes))

    def _of(self, sizes: tuple[tuple[int, ...], ...]) -> Any:
        from costmodel import _jax_compat as compat

        if sizes not in self._known:
            self._known[sizes] = compat.contractions(self.operands, sizes, self.options)
        return self._known[sizes]


@dataclass
class Noted:
    """What one trace met: ``differences`` that were asked to be zero, and ``orders`` of einsums, by what they are the same by."""

    differences: dict[Expr, None] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)


class _Asked(NamedTuple):
    """A difference that was asked to be zero, in the form in which it is a boundary, and its variables: found once, since every
    cost of the process looks for its own among all."""

    primitive: Expr
    names: frozenset[str]


_chosen_at: ContextVar[Mapping[Any, int] | None] = ContextVar("_chosen_at", default=None)
_differences: dict[Expr, _Asked] = {}  # of all traces of the process: its dimensions live as long
_orders: dict[str, Order] = {}


def forget() -> None:
    """Forget what traces of this process have asked. With ``jax.clear_caches()``, after which jax asks again, what follows is as in
    a process of its own."""
    _differences.clear()
    _orders.clear()


@contextlib.contextmanager
def orders_as_at(env: Mapping[Any, int]) -> Iterator[None]:
    """While it lasts, symbolic traces have the orders of einsums that jax chooses at a point."""
    from costmodel import _jax_compat as compat

    token = _chosen_at.set(env)
    try:
        with compat.einsums_ordered_by(lambda dim: int(evaluate(internal(dim), env))):
            yield
    finally:
        _chosen_at.reset(token)


@contextlib.contextmanager
def noted() -> Iterator[Noted]:
    """Notes what is undecided while it lasts, in this thread."""
    from costmodel import _jax_compat as compat  # the boundaries of a cost from a file need no jax

    found = Noted()

    def equality(a: Any, b: Any) -> None:
        difference = (internal(a) - internal(b)).expand()
        if difference not in _differences:
            _differences[difference] = _Asked(_primitive(difference), _names(difference))
        found.differences.setdefault(difference)

    def order(operands: Sequence[Any], options: Mapping[str, Any]) -> None:
        shapes = tuple(tuple(internal(d) for d in x.shape) for x in operands if hasattr(x, "shape"))
        made = Order(tuple(None if hasattr(x, "shape") else x for x in operands), shapes, options)
        usual = _orders.setdefault(made.key, made)
        at = _chosen_at.get()
        found.orders[made.key] = usual if at is None else Order(made.operands, shapes, options, at)

    with compat.undecided_noted(equality, order):
        yield found


def boundaries(domain: Domain, asked: Iterable[Expr] = (), inner: Iterable[Expr] = (),
               alike: Iterable[Expr] = ()) -> tuple[tuple[Expr, ...], int]:
    """Differences that are zero somewhere in the domain, where the program may be another one: each symbol at 1, and what its own
    trace ``asked``; each of the ``inner`` dimensions of its arrays at 1 and at 0, two symbols that are the same and two arrays that
    are ``alike`` (one may take the other's place then), and what other traces of the process asked of its symbols. And how many of
    the first two kinds there are."""
    sizes = [symbol(v.name) for v in domain.variables if v.is_dimension]
    names = frozenset(v.name for v in domain.variables)

    def primitive(differences: Iterable[Expr]) -> Iterator[Expr]:
        return (_primitive(d) for d in differences if d.free_symbols and _names(d) <= names)

    own = _inside(domain, primitive((*(s - 1 for s in sizes), *asked)))
    shapes = (*(d - size for d in inner for size in (1, 0)), *(a - b for a, b in itertools.combinations(sizes, 2)), *alike)
    others = (d.primitive for d in list(_differences.values()) if d.names and d.names <= names)
    return tuple(_inside(domain, (*own, *primitive(shapes), *others))), len(own)


def orders(domain: Domain, asked: Iterable[Order]) -> tuple[tuple[Order, ...], int]:
    """The orders of einsums that a program's own trace ``asked`` for, and those that other traces of the process asked for by its
    symbols, from which jax may have remembered parts of it. And how many of the first kind there are."""
    names = frozenset(v.name for v in domain.variables)
    own = {order.key: order for order in asked if order.names and order.names <= names}
    others = {order.key: order for order in list(_orders.values()) if order.names and order.names <= names}
    return tuple((own | {key: order for key, order in others.items() if key not in own}).values()), len(own)


def _names(difference: Expr) -> frozenset[str]:
    return frozenset(s.name for s in difference.free_symbols)


def _inside(domain: Domain, differences: Iterable[Expr]) -> list[Expr]:
    """Those of the primitive ``differences`` that are zero somewhere in the domain, each once."""
    return [d for d in dict.fromkeys(differences) if lower_bound(d, domain.assumptions) <= 0
            and lower_bound(-d, domain.assumptions) <= 0 and not _never_whole(d)]


def _primitive(difference: Expr) -> Expr:
    """The same zeros: without a common factor, and with a leading coefficient above zero."""
    _, rest = difference.as_content_primitive()
    rest = rest.expand()
    return -rest if rest.could_extract_minus_sign() else rest


def _never_whole(difference: Expr) -> bool:
    """a·x - c is zero at c/a only, which may be no integer."""
    (x,) = difference.free_symbols if len(difference.free_symbols) == 1 else (None,)
    if x is None or not difference.is_polynomial(x) or difference.as_poly(x).degree() != 1:
        return False
    slope, constant = difference.coeff(x, 1), difference.coeff(x, 0)
    return not (constant / slope).is_integer
