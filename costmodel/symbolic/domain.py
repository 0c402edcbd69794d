"""Domains: which values the symbols of a result may take, and what the process knows of every dimension that was declared in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import sympy

from costmodel.errors import DomainError
from costmodel.surface import said
from costmodel.symbolic.forms import ONE, Assumptions, Expr, Symbol, evaluate, symbol
from costmodel.text import did_you_mean


@dataclass(frozen=True)
class Variable:
    """A jax dimension variable: ``symbol`` (the user's name) = ``divisor`` · ``name`` (jax's name). ``default`` is its value where
    a point gives none: the size of a mesh's axis."""

    name: str
    symbol: str
    divisor: Expr = ONE
    lower: int = 1
    upper: int | None = None
    default: int | None = None

    @property
    def is_dimension(self) -> bool:
        """Whether it is a size, which is at least 1. What is decided at run time (a trip count, a branch's weight) may be 0."""
        return self.lower > 0

    def clauses(self, divisor: str) -> tuple[str, ...]:
        """What is known of it, as a user would write it; ``divisor`` is its divisor's text."""
        return (*([f"{divisor} | {self.symbol}"] if self.divisor != 1 else []),
                *([f"{self.symbol} >= {self.lower}"] if self.divisor == 1 or (self.divisor.is_Integer and self.lower > self.divisor)
                  else []),
                *([f"{self.symbol} <= {self.upper}"] if self.upper is not None else []))


@dataclass(frozen=True)
class Relation:
    """``difference`` ≥ 0, in internal variables; ``text`` is how the user wrote it."""

    text: str
    difference: Expr


@dataclass(frozen=True)
class Multiple:
    """``whole`` is a multiple of ``part``, both in internal variables: a dimension of the devices of a mesh that share it."""

    part: Expr
    whole: Expr

    def holds(self, env: Mapping[Symbol, int]) -> bool:
        """Whether the part divides the whole at a point."""
        return Fraction(evaluate(self.whole, env) / Fraction(evaluate(self.part, env))).denominator == 1


# The process's dimensions, by internal name, and the relations among them. They grow only, as jax's own scope does.
_variables: dict[str, Variable] = {}
_relations: list[Relation] = []


def declared(name: str) -> Variable | None:
    """The variable that jax calls ``name``, if there is one."""
    return _variables.get(name)


def declare(variable: Variable) -> None:
    """Make a variable known to the process; the first of a name stays."""
    _variables.setdefault(variable.name, variable)


def relate(relation: Relation) -> None:
    """Make a relation known to the process."""
    _relations.append(relation)


@dataclass(frozen=True)
class Domain:
    """The symbols of a result and the values that they may take."""

    variables: tuple[Variable, ...] = ()
    relations: tuple[Relation, ...] = ()
    multiples: tuple[Multiple, ...] = ()

    @classmethod
    def of(cls, *exprs: Expr) -> Domain:
        """The domain of every symbol in the (internal) expressions, with what is known to relate them. Raises DomainError for two
        domains under one name."""
        names = {s.name for expr in exprs for s in expr.free_symbols}
        while more := {s.name for name in names if name in _variables
                       for s in _variables[name].divisor.free_symbols} - names:
            names |= more
        variables = tuple(_variables.get(name, Variable(name, name)) for name in sorted(names))
        made = cls(variables, tuple(r for r in _relations if {s.name for s in r.difference.free_symbols} <= names))
        made._check_names()
        return made

    def _check_names(self) -> None:
        by_symbol: dict[str, Variable] = {}
        for v in self.variables:
            other = by_symbol.setdefault(v.symbol, v)
            if other is not v:
                raise DomainError(f"{v.symbol} was declared twice, as {self._declaration(other)} and as {self._declaration(v)}: "
                                  "declare it once and use that dimension everywhere, or rename one")

    def _declaration(self, v: Variable) -> str:
        """All that one variable's declaration said."""
        related = (r.text for r in _relations if symbol(v.name) in r.difference.free_symbols)
        return repr(", ".join((*v.clauses(self._divisor_text(v)), *related)))

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The user's names, sorted."""
        return tuple(sorted(v.symbol for v in self.variables))

    @cached_property
    def defaults(self) -> dict[str, int]:
        """The values of the symbols that a point need not give."""
        return {v.symbol: v.default for v in self.variables if v.default is not None}

    @cached_property
    def assumptions(self) -> Assumptions:
        """What rules may assume of the internal variables."""
        return _assumptions(self.variables, self.relations)

    @cached_property
    def ordered(self) -> tuple[Variable, ...]:
        """The variables, each after those that its divisor is made of. Raises DomainError where they divide each other."""
        found: dict[Symbol, Variable] = {}
        waiting = list(self.variables)
        while waiting:
            ready = [v for v in waiting if v.divisor.free_symbols <= found.keys()]
            if not ready:
                raise DomainError(f"{' and '.join(v.symbol for v in waiting)} divide each other, or a symbol that is not there")
            found |= {symbol(v.name): v for v in ready}
            waiting = [v for v in waiting if symbol(v.name) not in found]
        return tuple(found.values())

    @cached_property
    def _user_expressions(self) -> dict[Symbol, Expr]:
        user: dict[Symbol, Expr] = {}
        for v in self.ordered:
            user[symbol(v.name)] = symbol(v.symbol) / v.divisor.xreplace(user)
        return {name: expr for name, expr in user.items() if name != expr}

    def in_user_symbols(self, expr: Expr) -> Expr:
        """An internal expression written in the user's symbols."""
        return sympy.expand(expr.xreplace(self._user_expressions)) if self._user_expressions else expr

    def bind(self, values: Mapping[str, int]) -> dict[Symbol, int]:
        """Integers for the internal variables. Raises DomainError naming each symbol that is unbound, unknown or outside."""
        user = self._integers(values)
        env = self._bound(user)
        for relation in self.relations:
            if evaluate(relation.difference, env) < 0:
                point = ", ".join(f"{k}={user[k]}" for k in sorted(user))
                raise DomainError(f"{point} is outside the domain {relation.text}")
        for multiple in self.multiples:
            if not multiple.holds(env):
                point = ", ".join(f"{k}={user[k]}" for k in sorted(user))
                raise DomainError(f"{point} is outside the domain {self.text_of(multiple)}")
        return env

    def bind_some(self, values: Mapping[str, int]) -> dict[Symbol, int]:
        """Integers for the internal variables of some symbols; relations with others are not looked at. Raises DomainError as
        :meth:`bind` does, and where a symbol's divisor is left unbound."""
        rest = {name: 0 for name in self.symbols if name not in values}
        user = {name: value for name, value in self._integers({**rest, **values}).items() if name in values}
        return self._bound(user)

    def check_shared(self, env: Mapping[Symbol, int]) -> None:
        """Raises DomainError where some of the variables leave no whole part to each device of the axes' own sizes."""
        known = {**{symbol(v.name): v.default for v in self.variables if v.default is not None}, **env}
        for multiple in self.multiples:
            if (multiple.part.free_symbols | multiple.whole.free_symbols) <= known.keys() and not multiple.holds(known):
                point = ", ".join(f"{s.name}={v}" for s, v in known.items())
                raise DomainError(f"{point} is outside the domain {self.text_of(multiple)}")

    def where(self, relations: Iterable[Relation], env: Mapping[Symbol, int]) -> Domain:
        """This domain with relations in which some variables are integers. Raises DomainError where those leave no point."""
        fixed = [Relation(r.text, r.difference.xreplace({s: sympy.Integer(v) for s, v in env.items()})) for r in relations
                 if r.difference.free_symbols & env.keys()]
        outside = [r.text for r in fixed if r.difference.is_number and r.difference < 0]
        if outside:
            raise DomainError(f"{', '.join(f'{s.name}={v}' for s, v in env.items())} is outside the domain {outside[0]}")
        names = {v.name for v in self.variables}
        return replace(self, relations=(*self.relations, *(r for r in fixed if not r.difference.is_number
                                                           and {s.name for s in r.difference.free_symbols} <= names)))

    def _bound(self, user: Mapping[str, int]) -> dict[Symbol, int]:
        """The internal variables of these symbols, each checked against its own bounds and divisor."""
        env: dict[Symbol, int] = {}
        for v in self.ordered:
            if v.symbol not in user:
                continue
            if not v.divisor.free_symbols <= env.keys():
                raise DomainError(f"{v.symbol}={user[v.symbol]} needs a value for {self._divisor_text(v)}, which divides it")
            divisor, value = evaluate(v.divisor, env), user[v.symbol]
            if divisor < 1:
                raise DomainError(f"{v.symbol}={value}: its divisor {self._divisor_text(v)[:60]} is {str(divisor)[:20]} there, "
                                  "not at least 1")
            if value < v.lower:
                raise DomainError(f"{v.symbol}={value} is outside its domain {v.symbol} >= {v.lower}")
            if v.upper is not None and value > v.upper:
                raise DomainError(f"{v.symbol}={value} is outside its domain {v.symbol} <= {v.upper}")
            if value % divisor:
                raise DomainError(f"{v.symbol}={value} is outside its domain {self._divisor_text(v)} | {v.symbol}")
            env[symbol(v.name)] = value // divisor
        return env

    def text_of(self, multiple: Multiple) -> str:
        """A clause of the domain as a user would write it."""
        return f"{self.in_user_symbols(multiple.part)} | {self.in_user_symbols(multiple.whole)}"

    def _integers(self, values: Mapping[str, int]) -> dict[str, int]:
        """The values, one of every symbol, as Python integers."""
        unknown = sorted(set(values) - set(self.symbols))
        if unknown:
            near = did_you_mean(unknown[0], self.symbols)
            raise DomainError(f"unknown symbol{'s' * (len(unknown) > 1)} {', '.join(unknown)}:{near} "
                              f"the symbols here are {', '.join(self.symbols) or 'none'}")
        values = {**self.defaults, **values}
        missing = sorted(set(self.symbols) - set(values))
        if missing:
            raise DomainError(f"unbound symbol{'s' * (len(missing) > 1)} {', '.join(missing)}: "
                              + said(f"give a value for each of {', '.join(self.symbols)}",
                                     f"give {'it' if len(missing) == 1 else 'each'} a value, as --at "
                                     f"{','.join(f'{name}=INT' for name in missing)}"))
        return {name: integer(name, value) for name, value in values.items()}

    def check_names(self, names: Iterable[str]) -> None:
        """Raises DomainError, naming them, where these are not the symbols of the domain."""
        self._integers(dict.fromkeys(names, 1))

    def _divisor_text(self, v: Variable) -> str:
        by_name = {w.name: w.symbol for w in self.variables}
        return str(v.divisor.xreplace({s: symbol(by_name[s.name]) for s in v.divisor.free_symbols}))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The domain, clause by clause, as a user would write it."""
        own = sorted(self.variables, key=lambda v: v.symbol)
        clauses = (*(text for v in own for text in v.clauses(self._divisor_text(v))), *(r.text for r in self.relations),
                   *map(self.text_of, self.multiples))
        return tuple(dict.fromkeys(clauses))  # an equality is two relations

    def __str__(self) -> str:
        return ", ".join(self.texts)


def integer(name: str, value: Any) -> int:
    """A value of a symbol as a Python integer. Raises DomainError for anything else, a whole float too."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise DomainError(f"{name}={value!r} is not an integer")
    try:
        return value.__index__()
    except TypeError:  # an array, which says only then that it is none
        raise DomainError(f"{name}={value!r} is not an integer") from None


def assumed(expr: Expr) -> Assumptions:
    """What the process knows of the symbols of an internal expression."""
    names = {s.name for s in expr.free_symbols}
    return _assumptions([_variables[name] for name in names if name in _variables],
                        [r for r in _relations if {s.name for s in r.difference.free_symbols} <= names])


def _assumptions(variables: Sequence[Variable], relations: Sequence[Relation]) -> Assumptions:
    """The bounds of variables, and what relates them, as rules use them."""
    lower = tuple((v.name, -(-v.lower // int(v.divisor))) for v in variables if v.divisor.is_Integer and v.lower > int(v.divisor))
    bounds = tuple(sympy.Integer(v.upper) - v.divisor * symbol(v.name) for v in variables if v.upper is not None)
    return Assumptions(lower, tuple(r.difference for r in relations) + bounds)


def merge(domains: Iterable[Domain]) -> Domain:
    """One domain over all symbols of several."""
    return Domain.of(*(symbol(v.name) for domain in domains for v in domain.variables))


def user_text(text: str) -> str:
    """A message of jax with its internal variable names replaced by what the user wrote."""
    for name, v in _variables.items():
        if v.name != v.symbol and name in text:
            divisor = str(v.divisor)
            quotient = v.symbol if divisor == "1" else f"({v.symbol}/{divisor})"
            text = re.sub(rf"\b{divisor}\*{name}\b", v.symbol, text) if divisor != "1" else text
            text = re.sub(rf"\b{name}\b", quotient, text)
    return text


def variables_in(text: str) -> tuple[Variable, ...]:
    """The variables that a message of jax names."""
    return tuple(v for name, v in _variables.items() if name in text and re.search(rf"\b{name}\b", text))
