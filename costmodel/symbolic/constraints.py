"""Constraints on dimensions as users write them: ``"g | c_i, h >= k, s <= 2048"``. Parsed here, never evaluated as code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from costmodel.errors import DomainError

_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Inequality:
    """``greater`` >= ``smaller``, both sums of products; ``text`` is how the user wrote it."""

    text: str
    greater: str
    smaller: str

    @property
    def names(self) -> set[str]:
        """The symbols in it."""
        return {*_NAME.findall(self.greater), *_NAME.findall(self.smaller)}


@dataclass
class Constraints:
    """A parsed ``where``: divisors and bounds by name, and what relates several."""

    divisors: dict[str, list[int | str]] = field(default_factory=dict)
    lower: dict[str, int] = field(default_factory=dict)
    upper: dict[str, int] = field(default_factory=dict)
    inequalities: list[Inequality] = field(default_factory=list)

    @property
    def bounded(self) -> set[str]:
        """The names that a clause is about which says what a name is by itself."""
        return set(self.divisors) | set(self.lower) | set(self.upper)


def parse(where: str) -> Constraints:
    """The clauses of a comma-separated text. Raises DomainError for one that is not of a known form."""
    found = Constraints()
    for text in filter(None, (clause.strip() for clause in where.split(","))):
        match = re.fullmatch(r"([^|<>=]+?)\s*(\||>=|<=)\s*([^|<>=]+)", text)
        if not match:
            raise DomainError(f"constraint {text!r} is not of the form 'g | c', 'a >= b' or 'a <= b'")
        left, operator, right = (part.strip() for part in match.groups())
        if operator == "|":
            _divides(found, text, left, right)
        else:
            _is_at_least(found, text, *((left, right) if operator == ">=" else (right, left)))
    return found


def _divides(found: Constraints, text: str, divisor: str, name: str) -> None:
    if not _NAME.fullmatch(name) or not (_NAME.fullmatch(divisor) or divisor.isdigit()):
        raise DomainError(f"constraint {text!r}: write 'integer | name' or 'name | name'")
    if divisor.isdigit() and int(divisor) == 0:
        raise DomainError(f"constraint {text!r}: 0 divides no size; write an integer of at least 1")
    found.divisors.setdefault(name, []).append(int(divisor) if divisor.isdigit() else divisor)


def _is_at_least(found: Constraints, text: str, greater: str, smaller: str) -> None:
    if _NAME.fullmatch(greater) and smaller.isdigit():
        found.lower[greater] = max(found.lower.get(greater, 1), int(smaller))
    elif _NAME.fullmatch(smaller) and greater.isdigit():
        found.upper[smaller] = min(found.upper.get(smaller, int(greater)), int(greater))
    else:
        found.inequalities.append(Inequality(text, greater, smaller))


def arithmetic(text: str, value_of: Callable[[str], Any], clause: str) -> Any:
    """Value of a sum of products of integers and names, e.g. ``2*p + 1``; ``value_of`` gives a name's."""
    if not re.fullmatch(r"\s*[+-]?[^+-]+([+-][^+-]+)*", text):
        raise DomainError(f"constraint {clause!r}: {text!r} is not a sum of products")
    total: Any = 0
    for sign, term in re.findall(r"([+-]?)\s*([^+-]+)", text):
        product: Any = 1
        for factor in _factors(term, value_of, clause):
            product = product * factor
        total = total - product if sign == "-" else total + product
    return total


def _factors(term: str, value_of: Callable[[str], Any], clause: str) -> Iterator[Any]:
    for factor in (f.strip() for f in term.split("*")):
        if factor.isdigit():
            yield int(factor)
        elif _NAME.fullmatch(factor):
            yield value_of(factor)
        else:
            raise DomainError(f"constraint {clause!r}: {factor!r} is neither an integer nor a name")
