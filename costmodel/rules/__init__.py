"""Rules: a primitive's name -> the work of one equation. One function a primitive (or a family that works alike).

To add a primitive, write one function in the file of its kind:

    @rule("my_primitive")
    def my_primitive(eqn, *, axis, **_):
        return eqn.work(vector("add", eqn.operand.dtype, eqn.operand.size - eqn.out.size))

It receives an :class:`Eqn` (shapes in sympy) and the equation's parameters, and returns a :class:`~costmodel.rules.work.Work`.
Its docstring says where the formula comes from and shows its golden row (:func:`golden`, :func:`touched`), which a test asks for.
What an equation reads and writes defaults to all of its operands and results. Registering a name twice raises.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from costmodel.errors import CostModelError
from costmodel.rules.params import Family, Precision
from costmodel.rules.traits import NO_TRAITS, Trait, traits_of
from costmodel.rules.work import Array, OpKind, Work
from costmodel.symbolic.dimensions import dims
from costmodel.symbolic.forms import ONE, POSITIVE, Assumptions, Expr
from costmodel.symbolic.translate import internal

Op = tuple[OpKind, Expr, Expr]


@dataclass(frozen=True)
class Eqn:
    """What a rule sees of an equation: operand and result arrays, and what the domain says of the symbols."""

    primitive: str
    ins: tuple[Array, ...]
    outs: tuple[Array, ...]
    assumptions: Assumptions = POSITIVE

    @property
    def operand(self) -> Array:
        """Its first operand."""
        return self.ins[0]

    @property
    def out(self) -> Array:
        """Its first result."""
        return self.outs[0]

    def work(self, *ops: Op, read: Sequence[Expr] | None = None, written: Sequence[Expr] | None = None) -> Work:
        """Work with these operations (those that count nothing are left out); touches everything unless told otherwise."""
        return Work(tuple(op for op in ops if op[1] != 0),
                    tuple(a.size for a in self.ins) if read is None else tuple(read),
                    tuple(a.size for a in self.outs) if written is None else tuple(written))


@dataclass(frozen=True)
class Rule:
    """A registered rule: its function, what its counts are (exact, bounded or free) and, if not exact, why; what its equations are
    (their traits) and the family of their parameters. ``builtin`` rules are for jax's primitives; any other may also be for a
    jitted function of that name. The name is for people."""

    name: str
    function: Callable[..., Work]
    status: str = "exact"
    why: str = ""
    builtin: bool = False
    traits: frozenset[Trait] = NO_TRAITS
    family: Family | None = None


_registry: dict[str, Rule] = {}

STATUSES = ("exact", "bounded", "free")


def _register(name: str, made: Rule) -> None:
    if made.status not in STATUSES:
        raise CostModelError(f"rule {made.name}: status={made.status!r} must be one of {', '.join(STATUSES)}")
    if made.status != "exact" and not made.why:
        raise CostModelError(f"rule {made.name}: a {made.status} rule needs why=\"…\"")
    if name in _registry:
        raise CostModelError(f"{name!r} has a rule already ({_registry[name].name}); use costmodel.rules.scoped to replace it "
                             "for a while")
    _registry[name] = made


def rule(*names: str, traits: str | Iterable[str] = (), params: Family | None = None, status: str = "exact",
         why: str = "") -> Callable[[Callable[..., Work]], Callable[..., Work]]:
    """Register the decorated function for these primitives, or for jitted functions of these names (a fused attention, a custom
    kernel), for the whole process.

    traits: what such an equation is (see :class:`~costmodel.rules.traits.Trait`): without any it is a kernel of its own.
    params: makes the typed parameters (:mod:`costmodel.rules.params`) of jax's.
    status: "bounded" or "free" needs a ``why``.

    A name that has a rule raises CostModelError.
    """
    made = traits_of(traits)

    def decorate(function: Callable[..., Work]) -> Callable[..., Work]:
        own = function.__module__.startswith(f"{__name__}.")
        if not own:
            _load()  # so that a clash with a built-in rule is found now, not when that rule is loaded
        for name in names:
            _register(name, Rule(getattr(function, "__name__", name), function, status, why, own, made, params))
        return function
    return decorate


@contextlib.contextmanager
def scoped(rules: Mapping[str, Callable[..., Work]], status: str = "exact", why: str = "",
           traits: str | Iterable[str] = ()) -> Iterator[None]:
    """Rules for primitives or jitted functions while the context lasts; they go before any registered ones."""
    made = traits_of(traits)
    with using({name: found for name, found in registered().items() if name not in rules}):
        for name, function in rules.items():
            _register(name, Rule(getattr(function, "__name__", name), function, status, why, traits=made))
        yield


@contextlib.contextmanager
def using(rules: Mapping[str, Rule]) -> Iterator[None]:
    """Exactly these rules while the context lasts, as :func:`registered` gave them at another time."""
    _load()
    before = dict(_registry)
    _registry.clear()
    _registry.update(rules)
    try:
        yield
    finally:
        _registry.clear()
        _registry.update(before)


def lookup(name: str) -> Rule | None:
    """The rule of a primitive, or None."""
    _load()
    return _registry.get(name)


def lookup_function(name: str) -> Rule | None:
    """The user's rule for a jitted function of that name, or None. A built-in rule is for a primitive only: ``jnp.sort`` is a
    jitted function called ``sort``, too."""
    found = lookup(name)
    return None if found is None or found.builtin else found


def registered() -> dict[str, Rule]:
    """Every registered rule by primitive name."""
    _load()
    return dict(_registry)


_loaded = False


def _load() -> None:
    """Import every file of this package once; each registers its rules."""
    global _loaded
    if not _loaded:
        _loaded = True
        for file in pkgutil.iter_modules(__path__):
            importlib.import_module(f"{__name__}.{file.name}")


# -- operations, as rules write them ------------------------------------------------------------------------------------------

_REAL_PART = {"complex64": "float32", "complex128": "float64"}


def real_dtype(dtype: str) -> str:
    """The type of the real arithmetic that a dtype's arithmetic is made of."""
    return _REAL_PART.get(dtype, dtype)


def vector(name: str, dtype: str, count: Expr) -> Op:
    """``count`` operations of the vector engine. A complex one is given in real operations by its rule."""
    return OpKind(name, "vector", real_dtype(dtype)), count, count


def transcendental(name: str, dtype: str, count: Expr) -> Op:
    """``count`` evaluations of a special function."""
    return OpKind(name, "transcendental", real_dtype(dtype)), count, count


def multiply_accumulate(dtype: str, dense: Expr, valid: Expr | None = None, accumulate: str | None = None,
                        precision: Precision = (None, None)) -> Op:
    """Multiply-accumulates of the matrix engine; a complex one is 4 real ones."""
    factor = 4 if dtype in _REAL_PART else 1
    kind = OpKind("mac", "matrix", real_dtype(dtype), accumulate and real_dtype(accumulate), precision)
    return kind, factor * dense, factor * (dense if valid is None else valid)


# -- golden rows: what a rule says of arrays of named dimensions, as each rule's doctest prints it ----------------------------


def golden(primitive: str, *operands: str, out: str | Sequence[str] | None = None, dtype: str = "float32", **params: Any) -> str:
    """The operations of a primitive, as text; in brackets those that fall on no padding, where these are fewer.

    operands: shapes of named dimensions, ``"n h//2 2*c"``, where needed with a type: ``"int32[n 1]"``; ``dtype`` is that of others.
    out:      the results' shapes; by default the matrix product's for a dot and the first operand's otherwise.

    >>> golden("add", "n c", "n c")
    'c*n add'
    """
    work = _worked(primitive, operands, out, dtype, params)
    return ", ".join(f"{dense} {kind.name}" + ("" if dense == valid else f" ({valid})") for kind, dense, valid in work.ops)


def touched(primitive: str, *operands: str, out: str | Sequence[str] | None = None, dtype: str = "float32", **params: Any) -> str:
    """The elements of each operand that a primitive reads and those of each result that it writes; arguments as of :func:`golden`.

    >>> touched("reshape", "n c", out="c n"), touched("slice", "n c", out="1 c")
    ('reads 0; writes 0', 'reads c; writes c')
    """
    work = _worked(primitive, operands, out, dtype, params)
    reads, writes = (", ".join(map(str, elements)) or "nothing" for elements in (work.read, work.written))
    return f"reads {reads}; writes {writes}"


def _worked(primitive: str, operands: Sequence[str], out: str | Sequence[str] | None, dtype: str,
            params: Mapping[str, Any]) -> Work:
    found = lookup(primitive)
    if found is None:
        raise CostModelError(f"primitive {primitive!r} has no rule")
    ins = tuple(_array(text, dtype) for text in operands)
    outs = [_array(text, dtype) for text in ((out,) if isinstance(out, str) else out or ())]
    if out is None:
        outs = [_product(ins, params["dimension_numbers"]) if primitive == "dot_general" else ins[0]]
    return found.function(Eqn(primitive, ins, tuple(outs)), **params)


def _array(text: str, dtype: str) -> Array:
    """``"n h//2 2*c"`` or ``"int32[n 1]"`` as an array."""
    kind, _, shape = text.removesuffix("]").rpartition("[")
    return Array(tuple(map(_dimension, shape.split())), kind or dtype)


def _dimension(text: str) -> Expr:
    if "//" in text:
        name, divisor = text.split("//")
        return internal(dims(name) // int(divisor))
    return prod((internal(int(part) if part.isdigit() else dims(part)) for part in text.split("*")), start=ONE)


def _product(ins: Sequence[Array], dimension_numbers: Any) -> Array:
    """The result of a ``dot_general``: batch dimensions, then what is left of each operand."""
    contracted, batch = dimension_numbers
    left = [d for a, used, shared in zip(ins, contracted, batch, strict=True)
            for i, d in enumerate(a.shape) if i not in (*used, *shared)]
    return Array((*(ins[0].shape[d] for d in batch[0]), *left), ins[0].dtype)


# What other rooms may use.
__all__ = [
    "STATUSES",
    "Eqn",
    "Rule",
    "branches",
    "golden",
    "lookup",
    "lookup_function",
    "multiply_accumulate",
    "params",
    "registered",
    "rule",
    "scoped",
    "touched",
    "traits",
    "transcendental",
    "types",
    "using",
    "vector",
    "work",
]
