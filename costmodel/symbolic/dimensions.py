"""Symbolic dimensions: the only bridge between jax's dimension expressions and sympy.

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

import keyword
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sympy

from costmodel import _jax_compat as compat
from costmodel.errors import DomainError
from costmodel.symbolic.forms import (
    ONE,
    RUN_TIME,
    Assumptions,
    Expr,
    PeakMax,
    Symbol,
    evaluate,
    lower_bound,
    minimum,
    symbol,
)
from costmodel.symbolic.periods import divide, merge_divisions

_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Variable:
    """A jax dimension variable: ``symbol`` (the user's name) = ``divisor`` · ``name`` (jax's name)."""

    name: str
    symbol: str
    divisor: Expr = ONE
    lower: int = 1
    upper: int | None = None

    @property
    def is_dimension(self) -> bool:
        """Whether it is a size, which is at least 1. What is decided at run time (a trip count, a branch's weight) may be 0."""
        return self.lower > 0


@dataclass(frozen=True)
class Relation:
    """``difference`` ≥ 0, in internal variables; ``text`` is how the user wrote it."""

    text: str
    difference: Expr


# The process's dimensions, keyed by internal name, and the relations among them. Grows only.
_variables: dict[str, Variable] = {}
_relations: list[Relation] = []
_declared: dict[tuple, tuple[Any, ...]] = {}


def dims(names: str, *, multiple_of: int = 1, min: int = 1, max: int | None = None, where: str = "") -> Any:
    """Symbolic dimensions by name: integers ≥ ``min`` (default 1).

    names:       separated by spaces or commas. One name returns one dimension, several a tuple.
    multiple_of: every name is a multiple of this integer.
    min, max:    inclusive bounds of every name.
    where:       further constraints, comma-separated: ``"g | c_i"`` (g divides c_i), ``"32 | h"``, ``"h >= k"``, ``"s <= 2048"``.

    The same declaration returns the same dimensions. Raises DomainError for a name that is no identifier, or a clause that
    does not parse.
    """
    wanted = names.replace(",", " ").split()
    key = (tuple(wanted), multiple_of, min, max, "".join(where.split()))
    if key not in _declared:
        _declared[key] = _declare(wanted, multiple_of, min, max, where)
    made = _declared[key]
    return made[0] if len(made) == 1 else made


def symbols(names: str) -> Any:
    """The sympy symbols in which results are written, for comparing and substituting.

    >>> n, h = symbols("n h")
    """
    made = tuple(symbol(name) for name in names.replace(",", " ").split())
    return made[0] if len(made) == 1 else made


@dataclass
class _Clauses:
    """A parsed ``where``: divisors and bounds by name, and relations left over."""

    divisors: dict[str, list[int | str]] = field(default_factory=dict)
    lower: dict[str, int] = field(default_factory=dict)
    upper: dict[str, int] = field(default_factory=dict)
    relations: list[tuple[str, str, str]] = field(default_factory=list)  # (text, greater side, smaller side)


def _parse(where: str) -> _Clauses:
    clauses = _Clauses()
    for text in filter(None, (clause.strip() for clause in where.split(","))):
        match = re.fullmatch(r"([^|<>=]+?)\s*(\||>=|<=)\s*([^|<>=]+)", text)
        if not match:
            raise DomainError(f"constraint {text!r} is not of the form 'g | c', 'a >= b' or 'a <= b'")
        left, operator, right = (part.strip() for part in match.groups())
        if operator == "|":
            if not _NAME.fullmatch(right) or not (_NAME.fullmatch(left) or left.isdigit()):
                raise DomainError(f"constraint {text!r}: write 'integer | name' or 'name | name'")
            clauses.divisors.setdefault(right, []).append(int(left) if left.isdigit() else left)
            continue
        greater, smaller = (left, right) if operator == ">=" else (right, left)
        if _NAME.fullmatch(greater) and smaller.isdigit():
            clauses.lower[greater] = builtin_max(clauses.lower.get(greater, 1), int(smaller))
        elif _NAME.fullmatch(smaller) and greater.isdigit():
            clauses.upper[smaller] = builtin_min(clauses.upper.get(smaller, int(greater)), int(greater))
        else:
            clauses.relations.append((text, greater, smaller))
    return clauses


builtin_max, builtin_min = max, min


def _declare(names: list[str], multiple_of: int, lower: int, upper: int | None, where: str) -> tuple[Any, ...]:
    for name in names:
        if RUN_TIME.fullmatch(name):
            raise DomainError(f"{name!r} names a quantity that is known at run time; call your dimension otherwise")
        if not name.isidentifier() or keyword.iskeyword(name) or "__" in name:
            raise DomainError(f"{name!r} cannot name a dimension: use letters, digits and single underscores")
    if multiple_of < 1 or lower < 1:
        raise DomainError(f"multiple_of={multiple_of} and min={lower} must be at least 1")
    clauses = _parse(where)
    related = {n for _, *sides in clauses.relations for side in sides for n in _NAME.findall(side)}
    made: dict[str, Any] = {}

    def make(name: str, pending: tuple[str, ...] = ()) -> Any:
        if name in made:
            return made[name]
        if name in pending:
            raise DomainError(f"constraint {where!r}: {name} divides itself")
        if name not in names:
            return made.setdefault(name, dims(name))
        factors = clauses.divisors.get(name, [])
        integer = math.lcm(multiple_of, *(f for f in factors if isinstance(f, int)))
        named = [make(f, (*pending, name)) for f in factors if isinstance(f, str)]
        if len(named) > 1 or (named and integer > 1):
            raise DomainError(f"{name}: several divisors must all be integers; write the common multiple as one name")
        low = builtin_max(lower, clauses.lower.get(name, 1))
        high = builtin_min((b for b in (upper, clauses.upper.get(name)) if b is not None), default=None)
        made[name] = _make(name, named[0] if named else integer, low, high, fresh=name in related)
        return made[name]

    result = tuple(make(name) for name in names)
    unknown = (set(clauses.divisors) | set(clauses.lower) | set(clauses.upper)) - set(names)
    if unknown:
        raise DomainError(f"constraint {where!r} is about {', '.join(sorted(unknown))}, which this call does not declare")
    for text, greater, smaller in clauses.relations:
        # A relation among plain shared variables only would hold for every other user of those names.
        if not {*_NAME.findall(greater), *_NAME.findall(smaller)} & set(names):
            raise DomainError(f"constraint {text!r} is about none of the dimensions that this call declares")
        greater_dim, smaller_dim = _arithmetic(greater, make, text), _arithmetic(smaller, make, text)
        compat.constrain(greater_dim, smaller_dim)
        _relations.append(Relation(text, internal(greater_dim) - internal(smaller_dim)))
    return result


def _make(name: str, divisor: Any, low: int, high: int | None, *, fresh: bool) -> Any:
    """A jax dimension for ``name``; the plain variable is shared, any special domain gets a variable of its own."""
    least = -(-low // divisor) * divisor if isinstance(divisor, int) else low
    if high is not None and least > high:
        raise DomainError(f"{name} has no value: it is at least {least} and at most {high}")
    plain = isinstance(divisor, int) and divisor == 1
    if plain and low == 1 and high is None and not fresh:
        _variables.setdefault(name, Variable(name, name))
        return compat.variable(name)
    base = name if plain else f"{name}_div_{divisor if isinstance(divisor, int) else internal(divisor)}"
    base = re.sub(r"\W", "_", base)
    suffix = 1
    while f"{base}__{suffix}" in _variables:
        suffix += 1
    made = Variable(f"{base}__{suffix}", name, internal(divisor), low, high)
    _variables[made.name] = made
    dim = compat.variable(made.name)
    if isinstance(divisor, int):
        if least > divisor:
            compat.constrain(dim, least // divisor)
        if high is not None:
            compat.constrain(high // divisor, dim)
    return divisor * dim


def _arithmetic(text: str, make, clause: str) -> Any:
    """Value of a sum of products of integers and names, e.g. ``2*p + 1``. Parsed here, never evaluated as code."""
    if not re.fullmatch(r"\s*[+-]?[^+-]+([+-][^+-]+)*", text):
        raise DomainError(f"constraint {clause!r}: {text!r} is not a sum of products")
    total: Any = 0
    for sign, term in re.findall(r"([+-]?)\s*([^+-]+)", text):
        product: Any = 1
        for factor in (f.strip() for f in term.split("*")):
            if factor.isdigit():
                product = product * int(factor)
            elif _NAME.fullmatch(factor):
                product = product * make(factor)
            else:
                raise DomainError(f"constraint {clause!r}: {factor!r} is neither an integer nor a name")
        total = total - product if sign == "-" else total + product
    return total




def internal(dim: Any) -> Expr:
    """A jax dimension (or an integer) as sympy over the internal variables, in canonical integer form; sympy as it is."""
    if isinstance(dim, Expr):
        return dim
    if not compat.is_symbolic(dim):
        return sympy.Integer(int(dim))
    if id(dim) in _translated_by_id and _translated_by_id[id(dim)][0] is dim:
        return _translated_by_id[id(dim)][1]
    terms = []
    for coefficient, factors in compat.dim_terms(dim):
        product = [sympy.Integer(coefficient)]
        for factor, exponent in factors:
            product.append((symbol(factor) if isinstance(factor, str) else _operation(*factor)) ** exponent)
        terms.append(sympy.Mul(*product))
    expr = merge_divisions(sympy.expand(sympy.Add(*terms)))
    _translated_by_id[id(dim)] = (dim, expr)
    return expr


# jax's own equality of dimensions may run its decision procedure, so translations are remembered by identity; the dimension
# is kept beside its translation, which keeps its id from being used again.
_translated_by_id: dict[int, tuple[Any, Expr]] = {}


def _operation(name: str, a: Any, b: Any) -> Expr:
    a, b = internal(a), internal(b)
    if name == "floordiv":
        return divide(a, b)
    if name == "mod":
        return sympy.expand(a - b * divide(a, b))
    if name == "max":
        greater = _greater(a, b)
        return PeakMax(a, b) if greater is None else greater
    if name == "min":
        greater = _greater(a, b)
        return minimum(a, b) if greater is None else a if greater is b else b
    raise NotImplementedError(f"jax dimension operation {name!r}")


def _greater(a: Expr, b: Expr) -> Expr | None:
    """Whichever of two is never below the other in their domain, or None where the domain leaves it open."""
    difference = a - b
    names = {s.name for s in difference.free_symbols}
    known = assumptions((_variables[name] for name in names if name in _variables),
                        (r for r in _relations if {s.name for s in r.difference.free_symbols} <= names))
    if lower_bound(difference, known) >= 0:
        return a
    return b if lower_bound(-difference, known) >= 0 else None


def expression(dim: Any) -> Expr:
    """A jax dimension as sympy in the user's symbols."""
    expr = internal(dim)
    return Domain.of(expr).in_user_symbols(expr)


def assumptions(variables: Iterable[Variable], relations: Iterable[Relation] = ()) -> Assumptions:
    """The bounds of variables, and what relates them, as rules use them."""
    variables = tuple(variables)
    lower = tuple((v.name, -(-v.lower // int(v.divisor))) for v in variables if v.divisor.is_Integer and v.lower > int(v.divisor))
    bounds = tuple(sympy.Integer(v.upper) - v.divisor * symbol(v.name) for v in variables if v.upper is not None)
    return Assumptions(lower, tuple(r.difference for r in relations) + bounds)


@dataclass(frozen=True)
class Domain:
    """The symbols of a result and the values that they may take."""

    variables: tuple[Variable, ...] = ()
    relations: tuple[Relation, ...] = ()

    @classmethod
    def of(cls, *exprs: Expr) -> Domain:
        """The domain of every symbol in the (internal) expressions, with what is known to relate them."""
        names = {s.name for expr in exprs for s in expr.free_symbols}
        while more := {s.name for name in names if name in _variables
                       for s in _variables[name].divisor.free_symbols} - names:
            names |= more
        variables = tuple(_variables.get(name, Variable(name, name)) for name in sorted(names))
        by_symbol: dict[str, Variable] = {}
        for v in variables:
            if by_symbol.setdefault(v.symbol, v) is not v:
                raise DomainError(f"two dimensions with different domains are both called {v.symbol}; rename one")
        relations = tuple(r for r in _relations if {s.name for s in r.difference.free_symbols} <= names)
        return cls(variables, relations)

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The user's names, sorted."""
        return tuple(sorted(v.symbol for v in self.variables))

    @cached_property
    def assumptions(self) -> Assumptions:
        """What rules may assume of the internal variables."""
        return assumptions(self.variables, self.relations)

    @cached_property
    def _user_expressions(self) -> dict[Symbol, Expr]:
        by_name = {v.name: v for v in self.variables}

        def user(v: Variable) -> Expr:
            divisor = v.divisor.xreplace({s: user(by_name[s.name]) for s in v.divisor.free_symbols})
            return symbol(v.symbol) / divisor

        return {symbol(v.name): user(v) for v in self.variables if v.name != v.symbol or v.divisor != 1}

    def in_user_symbols(self, expr: Expr) -> Expr:
        """An internal expression written in the user's symbols."""
        return sympy.expand(expr.xreplace(self._user_expressions)) if self._user_expressions else expr

    def bind(self, values: Mapping[str, int]) -> dict[Symbol, int]:
        """Integers for the internal variables. Raises DomainError naming each symbol that is unbound, unknown or outside."""
        unknown = sorted(set(values) - set(self.symbols))
        if unknown:
            raise DomainError(f"unknown symbol{'s' * (len(unknown) > 1)} {', '.join(unknown)}: "
                              f"the symbols here are {', '.join(self.symbols) or 'none'}")
        missing = sorted(set(self.symbols) - set(values))
        if missing:
            raise DomainError(f"unbound symbol{'s' * (len(missing) > 1)} {', '.join(missing)}: "
                              f"give a value for each of {', '.join(self.symbols)}")
        user = {}
        for name, value in values.items():
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise DomainError(f"{name}={value!r} is not an integer")
            user[name] = value.__index__()
        env: dict[Symbol, int] = {}
        pending = list(self.variables)
        while pending:
            v = pending.pop(0)
            if not v.divisor.free_symbols <= env.keys():
                pending.append(v)
                continue
            divisor, value = evaluate(v.divisor, env), user[v.symbol]
            if value < v.lower:
                raise DomainError(f"{v.symbol}={value} is outside its domain {v.symbol} >= {v.lower}")
            if v.upper is not None and value > v.upper:
                raise DomainError(f"{v.symbol}={value} is outside its domain {v.symbol} <= {v.upper}")
            if value % divisor:
                raise DomainError(f"{v.symbol}={value} is outside its domain {self._divisor_text(v)} | {v.symbol}")
            env[symbol(v.name)] = value // divisor
        for relation in self.relations:
            if evaluate(relation.difference, env) < 0:
                point = ", ".join(f"{k}={user[k]}" for k in sorted(user))
                raise DomainError(f"{point} is outside the domain {relation.text}")
        return env

    def _divisor_text(self, v: Variable) -> str:
        by_name = {w.name: w.symbol for w in self.variables}
        return str(v.divisor.xreplace({s: symbol(by_name[s.name]) for s in v.divisor.free_symbols}))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The domain, clause by clause, as a user would write it."""
        clauses = []
        for v in sorted(self.variables, key=lambda v: v.symbol):
            if v.divisor != 1:
                clauses.append(f"{self._divisor_text(v)} | {v.symbol}")
            if v.divisor == 1 or (v.divisor.is_Integer and v.lower > v.divisor):
                clauses.append(f"{v.symbol} >= {v.lower}")
            if v.upper is not None:
                clauses.append(f"{v.symbol} <= {v.upper}")
        return (*clauses, *(r.text for r in self.relations))

    def __str__(self) -> str:
        return ", ".join(self.texts)


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
