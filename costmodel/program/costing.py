"""One inlined equation to one costed equation: look up its rule, apply it, check what it returns."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError, UnknownPrimitive
from costmodel.program.raw import Raw, is_immediate
from costmodel.rules import Eqn, Rule, lookup
from costmodel.rules.params import Params
from costmodel.rules.traits import NO_TRAITS, Trait, traits_of
from costmodel.rules.work import ENGINES, Equation, OpKind, Value, Work
from costmodel.surface import said
from costmodel.symbolic.domain import Domain
from costmodel.symbolic.forms import ZERO, lower_bound
from costmodel.symbolic.translate import internal

_NONE: Set[Value] = frozenset()
_FOLDED = traits_of(Trait.CONSTANT)


class Costing:
    """Costs the equations of one program. What a rule says of a primitive, arrays and parameters is remembered: a deep network
    has a few dozen different equations."""

    def __init__(self, domain: Domain, unknown: str) -> None:
        self.domain, self.unknown = domain, unknown
        self._known: dict[Hashable, _Costed] = {}

    def equation(self, index: int, r: Raw, *, folded: bool = False, constants: Set[Value] = _NONE) -> Equation:
        """Apply the rule of ``r``'s primitive. ``folded`` says that the compiler knows its result, so that it costs nothing;
        ``constants`` are such results, which are not read from memory either.

        Raises UnknownPrimitive without a rule (unless ``unknown="warn"``), CostModelError for a rule whose work is not one: see
        :func:`_checked`.
        """
        if folded:
            nothing = _Costed(_nothing(r), "shape constant", "free", detail(r), _FOLDED)
            return _equation(index, r, nothing, nothing.work, nothing.status)
        key = (r.primitive, tuple(v.array for v in r.ins), tuple(v.array for v in r.outs), parameter_key(r.params))
        costed = self._known.get(key)
        if costed is None:
            costed = self._known[key] = self._cost(r)
        work = costed.work
        if any(is_immediate(v) or v in constants for v in r.ins):
            read = tuple(ZERO if is_immediate(v) or v in constants else e for v, e in zip(r.ins, work.read, strict=True))
            work = Work(work.ops, read, work.written)
        status = "bounded" if r.bounded and costed.status == "exact" else costed.status
        return _equation(index, r, costed, work, status)

    def _cost(self, r: Raw) -> _Costed:
        view = Eqn(r.primitive, tuple(v.array for v in r.ins), tuple(v.array for v in r.outs), self.domain.assumptions)
        found = lookup(r.primitive)
        if found is None:
            if self.unknown != "warn":
                raise UnknownPrimitive(unknown_message(r, view))
            return _Costed(_nothing(r), "", "unknown", detail(r))
        try:
            work = _apply(found, view, r)
        except UnknownPrimitive as refusal:  # a rule may decline what it cannot see into
            if self.unknown != "warn":
                raise UnknownPrimitive(f"{refusal} (at {'/'.join(r.path) or 'the top level'})") from None
            return _Costed(_nothing(r), found.name, "unknown", detail(r))
        if not found.builtin:
            work = _checked(work, found, r, self.domain)
        if len(work.read) != len(r.ins) or len(work.written) != len(r.outs):
            raise CostModelError(f"rule {found.name} of primitive {r.primitive!r} states {len(work.read)} reads and "
                                 f"{len(work.written)} writes for {len(r.ins)} operands and {len(r.outs)} results")
        params = None if found.family is None else found.family(r.params)
        return _Costed(work, found.name, found.status, detail(r), found.traits, params)


@dataclass(frozen=True)
class _Costed:
    """What is the same for every equation of a primitive on such arrays with such parameters."""

    work: Work
    rule: str
    status: str
    detail: str
    traits: frozenset[Trait] = NO_TRAITS
    params: Params | None = None


_PLAIN = frozenset({int, str, bool, float, type(None)})


def parameter_key(parameter: Any) -> Hashable:
    """A parameter as a dictionary's key. Dimensions are compared as expressions, for jax's own equality may run its decision
    procedure; what cannot be hashed is itself alone."""
    if type(parameter) in _PLAIN:
        return parameter
    if compat.is_symbolic(parameter):
        return internal(parameter)
    if isinstance(parameter, tuple | list):
        return (type(parameter), *map(parameter_key, parameter))
    if isinstance(parameter, Mapping):
        return tuple((name, parameter_key(value)) for name, value in parameter.items())
    try:
        hash(parameter)
    except TypeError:
        return id(parameter)
    return parameter


def _apply(found: Rule, view: Eqn, r: Raw) -> Work:
    try:
        return found.function(view, **r.params)
    except CostModelError:
        raise
    except Exception as error:  # a user's rule may fail in any way
        raise CostModelError(f"rule {found.name} of {r.primitive!r} failed: {type(error).__name__}: {error} "
                             f"(parameters: {', '.join(r.params) or 'none'})") from error


def _checked(work: Work, found: Rule, r: Raw, domain: Domain) -> Work:
    """A user's work with plain integers made exact. Raises CostModelError for what is no Work, an unknown engine, a count that is
    no exact expression, is surely negative, or has a symbol that the program does not have."""
    where = f"rule {found.name} of {r.primitive!r}"
    if not isinstance(work, Work):
        raise CostModelError(f"{where} returns {type(work).__name__}; return eqn.work(...)")
    known = {v.name for v in domain.variables}

    def exact(what: str, count: object) -> Expr:
        expr = sympy.Integer(count) if isinstance(count, int) else count if isinstance(count, Expr) else None
        if expr is None or expr.has(sympy.Float):
            raise CostModelError(f"{where} counts {count!r} {what}; a count is an integer or an expression of eqn's shapes")
        strange = sorted({s.name for s in expr.free_symbols} - known)
        if strange:
            raise CostModelError(f"{where} counts {expr} {what}, but the program has no {', '.join(strange)}; use eqn's shapes")
        if lower_bound(-expr, domain.assumptions) > 0:
            raise CostModelError(f"{where} counts {expr} {what}; a count is never negative")
        return expr

    def operation(kind: OpKind, dense: object, valid: object) -> tuple[OpKind, Expr, Expr]:
        if not isinstance(kind, OpKind):
            raise CostModelError(f"{where} counts operations of {kind!r}; use vector, transcendental or multiply_accumulate")
        if kind.engine not in ENGINES:
            raise CostModelError(f"{where} runs on {kind.engine!r}; the engines are {', '.join(ENGINES)}")
        return kind, exact(kind.name, dense), exact(kind.name, valid)

    return Work(tuple(operation(*op) for op in work.ops), tuple(exact("elements read", e) for e in work.read),
                tuple(exact("elements written", e) for e in work.written))


def _nothing(r: Raw) -> Work:
    return Work((), (ZERO,) * len(r.ins), (ZERO,) * len(r.outs))


def _equation(index: int, r: Raw, c: _Costed, work: Work, status: str) -> Equation:
    return Equation(index, r.primitive, r.path, r.phase, r.times, r.ins, r.outs, work, c.detail, c.rule, status, r.loops,
                    c.traits, c.params, r.branch, r.part)


def unknown_message(r: Raw, view: Eqn) -> str:
    """What is said of an equation whose primitive has no rule."""
    where = "/".join(r.path) or "the top level"
    shapes = ", ".join(map(str, view.ins))
    return (f"primitive {r.primitive!r} at {where} on ({shapes}) has no cost rule; "
            + said(f"register one with @cm.rule({r.primitive!r}), or pass unknown=\"warn\" to leave it out and be told",
                   "register one in the file of the model, as docs/extending.md shows"))


# Parameters worth showing when an equation is explained; the rest is plumbing.
SHOWN = ("dimension_numbers", "window_strides", "padding", "lhs_dilation", "rhs_dilation", "feature_group_count",
         "batch_group_count", "padded", "window_dimensions", "axes", "dimension", "axis", "y", "precision", "permutation",
         "new_sizes")


# Specifications of a convolution's operands and result by rank: (batch, features, space …) of (n, space, c), the kernel's
# (output, input, space …) of (space, input, output), as Flax has them.
_CHANNELS_LAST = {rank: ((0, rank - 1, *range(1, rank - 1)), (rank - 1, rank - 2, *range(rank - 2)),
                         (0, rank - 1, *range(1, rank - 1))) for rank in range(3, 8)}


def detail(r: Raw) -> str:
    """The parameters that decide the cost, as text."""
    shown = []
    for key in SHOWN:
        value = r.params.get(key)
        if value is None or (key in ("feature_group_count", "batch_group_count") and str(value) == "1"):
            continue
        if key.endswith("dilation") and all(str(v) == "1" for v in value):
            continue
        if key == "dimension_numbers" and hasattr(value, "_fields"):
            if tuple(value[:3]) == _CHANNELS_LAST.get(len(value[0])):
                continue
            value = tuple(value[:3])
        shown.append(f"{key}={value}".replace(" ", ""))
    return " ".join(shown)
