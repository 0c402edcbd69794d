"""Symbolic dimensions as users declare them.

A dimension made here may be used in shapes and as a module's attribute. Its domain is part of it: with ``multiple_of=32`` jax
traces in a fresh variable h' with h = 32·h', so that every division by a power of two is exact, and results are given back
in h. Evaluation binds h, checks the domain, and computes in integers only.

>>> n, h, w = dims("n h w")
>>> h, w = dims("h w", multiple_of=32)
>>> c_i, c_o, g = dims("c_i c_o g", where="g | c_i, g | c_o")
>>> expression(h // 4 * w), expression(c_i // g)
(h*w/4, c_i/g)
"""

from __future__ import annotations

import builtins
import keyword
import math
import re
from typing import Any

from costmodel.errors import DomainError
from costmodel.surface import brief, named
from costmodel.symbolic.constraints import Constraints, Inequality, arithmetic, parse
from costmodel.symbolic.domain import Domain, Relation, Variable, declare, declared, relate
from costmodel.symbolic.forms import RUN_TIME, Expr, symbol
from costmodel.symbolic.translate import internal

# The dimensions of every declaration of the process: the same declaration returns the same ones.
_made: dict[tuple[Any, ...], tuple[Any, ...]] = {}


def dims(names: str, *, multiple_of: int = 1, min: int = 1, max: int | None = None, where: str = "") -> Any:
    """Symbolic dimensions by name: integers ≥ ``min`` (default 1).

    names:       separated by spaces or commas. One name returns one dimension, several a tuple.
    multiple_of: every name is a multiple of this integer.
    min, max:    inclusive bounds of every name.
    where:       further constraints, comma-separated: ``"g | c_i"`` (g divides c_i), ``"32 | h"``, ``"h >= k"``, ``"s <= 2048"``.

    The same declaration returns the same dimensions. Raises DomainError for a name that is no identifier or is given twice, or a
    clause that does not parse.
    """
    if not isinstance(names, str) or not isinstance(where, str):
        raise DomainError("dims takes names and constraints as text: cm.dims('n h', where='h >= 3')")
    for name, bound in (("multiple_of", multiple_of), ("min", min), ("max", max)):
        if not (bound is None and name == "max") and (isinstance(bound, bool) or not hasattr(bound, "__index__")):
            raise DomainError(f"{name}={bound!r} must be an integer")
    wanted = tuple(names.replace(",", " ").split())
    key = (wanted, multiple_of, min, max, "".join(where.split()))
    if key not in _made:
        _check(wanted, multiple_of, min)
        _made[key] = _Declaration(wanted, multiple_of, min, max, where).dimensions()
    made = _made[key]
    return made[0] if len(made) == 1 else made


def symbols(names: str) -> Any:
    """The sympy symbols in which results are written, for comparing and substituting.

    >>> n, h = symbols("n h")
    """
    made = tuple(symbol(name) for name in named("text of symbols", names, "n h").replace(",", " ").split())
    return made[0] if len(made) == 1 else made


def expression(dim: Any) -> Expr:
    """A jax dimension as sympy in the user's symbols."""
    try:
        expr = internal(dim)
    except (TypeError, ValueError):
        raise DomainError(f"{brief(dim)} is no dimension: give one of cm.dims(...), or what is computed from them") from None
    return Domain.of(expr).in_user_symbols(expr)


def _check(names: tuple[str, ...], multiple_of: int, lower: int) -> None:
    """Raises DomainError for names that cannot name dimensions, and for bounds that no size has."""
    if not names:
        raise DomainError("dims needs a name: cm.dims('n'), or several, cm.dims('n h w')")
    for name in names:
        if RUN_TIME.fullmatch(name):
            raise DomainError(f"{name!r} names a quantity that is known at run time; call your dimension otherwise")
        if not name.isidentifier() or keyword.iskeyword(name) or "__" in name:
            raise DomainError(f"{name!r} cannot name a dimension: use letters, digits and single underscores")
        if names.count(name) > 1:
            raise DomainError(f"{name} is named twice in {' '.join(names)!r}; what has the same size is the same dimension")
    if multiple_of < 1 or lower < 1:
        raise DomainError(f"multiple_of={multiple_of} and min={lower} must be at least 1")


class _Declaration:
    """One call of :func:`dims`: makes the dimensions that it names, and those that its constraints name beside them."""

    def __init__(self, names: tuple[str, ...], multiple_of: int, lower: int, upper: int | None, where: str) -> None:
        self.names, self.multiple_of, self.lower, self.upper, self.where = names, multiple_of, lower, upper, where
        self.constraints: Constraints = parse(where)
        self.related = set().union(*(i.names for i in self.constraints.inequalities))
        self.made: dict[str, Any] = {}

    def dimensions(self) -> tuple[Any, ...]:
        result = tuple(self.dimension(name) for name in self.names)
        unknown = self.constraints.bounded - set(self.names)
        if unknown:
            raise DomainError(f"constraint {self.where!r} is about {', '.join(sorted(unknown))}, which this call does not declare")
        for inequality in self.constraints.inequalities:
            self.relate(inequality)
        return result

    def dimension(self, name: str, above: tuple[str, ...] = ()) -> Any:
        """The dimension ``name``, which divides those ``above``."""
        if name not in self.made:
            if name in above:
                raise DomainError(f"constraint {self.where!r}: {name} divides itself")
            self.made[name] = self.make(name, (*above, name)) if name in self.names else dims(name)
        return self.made[name]

    def make(self, name: str, above: tuple[str, ...]) -> Any:
        factors = self.constraints.divisors.get(name, [])
        integer = math.lcm(self.multiple_of, *(f for f in factors if isinstance(f, int)))
        named = [self.dimension(f, above) for f in factors if isinstance(f, str)]
        if len(named) > 1 or (named and integer > 1):
            raise DomainError(f"{name}: several divisors must all be integers; write the common multiple as one name")
        low = builtins.max(self.lower, self.constraints.lower.get(name, 1))
        uppers = [bound for bound in (self.upper, self.constraints.upper.get(name)) if bound is not None]
        return _variable(name, named[0] if named else integer, low, builtins.min(uppers, default=None), fresh=name in self.related)

    def relate(self, inequality: Inequality) -> None:
        """Tell jax and the domain of an inequality."""
        from costmodel import _jax_compat as compat

        # One among plain shared variables only would hold for every other user of those names.
        if not inequality.names & set(self.names):
            raise DomainError(f"constraint {inequality.text!r} is about none of the dimensions that this call declares")
        greater, smaller = (arithmetic(side, self.dimension, inequality.text) for side in (inequality.greater, inequality.smaller))
        compat.constrain(greater, smaller, inequality.text)
        relate(Relation(inequality.text, internal(greater) - internal(smaller)))


def _variable(name: str, divisor: Any, low: int, high: int | None, *, fresh: bool) -> Any:
    """A jax dimension for ``name``; the plain variable is shared, any special domain gets a variable of its own."""
    from costmodel import _jax_compat as compat  # a rule's example declares dimensions, and rules are loaded without jax

    least = -(-low // divisor) * divisor if isinstance(divisor, int) else low
    if high is not None and least > high:
        raise DomainError(f"{name} has no value: it is at least {least} and at most {high}")
    plain = isinstance(divisor, int) and divisor == 1
    if plain and low == 1 and high is None and not fresh:
        declare(Variable(name, name))
        return compat.variable(name)
    own = _unused(name if plain else f"{name}_div_{divisor if isinstance(divisor, int) else internal(divisor)}")
    declare(Variable(own, name, internal(divisor), low, high))
    dim = compat.variable(own)
    if isinstance(divisor, int):
        if least > divisor:
            compat.constrain(dim, least // divisor)
        if high is not None:
            compat.constrain(high // divisor, dim)
    return divisor * dim


def _unused(base: str) -> str:
    """A name for jax that no variable has yet."""
    base = re.sub(r"\W", "_", base)
    suffix = 1
    while declared(f"{base}__{suffix}") is not None:
        suffix += 1
    return f"{base}__{suffix}"
