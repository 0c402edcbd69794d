"""The records that everything else reads: arrays, equations, work, and the table of them.

Frozen, free of jax, and made of integer expressions over the internal symbols of a domain. A rule states facts (how many
multiply-adds of which type on which engine, which elements are touched); prices are put on them later.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from sympy import Add, Expr, Integer, Mul, Rational

from costmodel.rules.branches import Branch, Branches, combined
from costmodel.rules.params import Params, Precision
from costmodel.rules.traits import NO_TRAITS, Trait
from costmodel.symbolic.forms import ONE, ZERO

T = TypeVar("T")
P = TypeVar("P")

ENGINES = ("matrix", "vector", "transcendental", "link")
ORIGINS = ("literal", "parameter", "optimizer", "buffer", "rng", "input", "equation")
DONATED_BY_TRAINING = ("parameter", "optimizer")  # of the inputs whose memory a training step gives up to its results

# Bits of one element, by jax's dtype name; what is not here is not costed silently.
BITS = {
    "bool": 8, "int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32,
    "uint32": 32, "int64": 64, "uint64": 64, "float4_e2m1fn": 4, "float8_e3m4": 8, "float8_e4m3": 8, "float8_e4m3fn": 8,
    "float8_e4m3b11fnuz": 8, "float8_e4m3fnuz": 8, "float8_e5m2": 8, "float8_e5m2fnuz": 8, "float8_e8m0fnu": 8,
    "float16": 16, "bfloat16": 16, "float32": 32, "float64": 64, "complex64": 64, "complex128": 128,
    "key<fry>": 64, "key<rbg>": 128, "key<urbg>": 128, "float0": 0, "semaphore": 32, "barrier_semaphore": 32, "dma_sem": 32,
}

DTYPE_ALIASES = {"fp32": "float32", "f32": "float32", "fp16": "float16", "f16": "float16", "bf16": "bfloat16", "fp64": "float64",
                 "fp8": "float8_e4m3fn"}


def is_floating(dtype: str) -> bool:
    """Whether the type is of real or complex floating-point numbers."""
    return dtype.startswith(("float", "bfloat", "complex"))


@dataclass(frozen=True)
class Array:
    """Shape (elements, symbolic) and dtype name of a value."""

    shape: tuple[Expr, ...]
    dtype: str

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # hashing a shape asks sympy for each dimension
        return hash((self.shape, self.dtype))

    @cached_property
    def size(self) -> Expr:
        """Number of elements."""
        return _size(self.shape)

    @property
    def bits(self) -> int:
        """Bits of one element."""
        return BITS[self.dtype]

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(str(d).replace(' ', '') for d in self.shape)}]"


@lru_cache(maxsize=65536)
def _size(shape: tuple[Expr, ...]) -> Expr:
    """The product of dimensions, remembered: a deep network has few different shapes."""
    return Mul(*shape).expand() if shape else ONE


@dataclass(frozen=True, eq=False)
class Value:
    """A value of the program; compared by identity. ``origin`` is one of :data:`ORIGINS`; ``name`` is the path of a parameter or
    input."""

    array: Array
    origin: str = "equation"
    name: str = ""

    @property
    def bytes(self) -> Expr:
        """Bytes of the whole array."""
        return self.array.size * Rational(self.array.bits, 8)

    @property
    def is_activation(self) -> bool:
        """Neither a constant nor a trained or stored array: something that depends on the data."""
        return self.origin in ("input", "equation")


@dataclass(frozen=True)
class OpKind:
    """One kind of operation: its name ("mac", "add", "exp" …), the engine that runs it, the type of its operands, the type
    it accumulates in, and the requested precision of both operands (contractions only)."""

    name: str
    engine: str
    dtype: str
    accumulate: str | None = None
    precision: Precision = (None, None)


@dataclass(frozen=True)
class Work:
    """What one equation does, once.

    ops:     (kind, dense count, valid count); the two differ only where a window overlaps padding.
    read:    elements touched of each operand.
    written: elements touched of each result.
    """

    ops: tuple[tuple[OpKind, Expr, Expr], ...]
    read: tuple[Expr, ...]
    written: tuple[Expr, ...]

    def count(self, select: Callable[[OpKind], bool], taps: str = "dense") -> Expr:
        """Σ of the selected operations, with padding taps (``dense``) or without (``valid``)."""
        column = {"dense": 1, "valid": 2}[taps]
        return Add(*(op[column] for op in self.ops if select(op[0])))


@dataclass(frozen=True)
class Part:
    """``kept`` of the ``all`` elements that there are along two axes: what a mask does not throw away."""

    kept: Expr
    all: Expr


UNCOUNTED = Part(Integer(-1), Integer(1))  # of an equation that applies a mask of positions without a closed form


@dataclass(frozen=True, eq=False)
class Equation:
    """One costed equation. ``path`` is its module, ``phase`` is "" or "backward", ``times`` how often it runs, ``status`` one of
    exact, bounded, free, ``loops`` the numbers of the loops whose body it is in and ``branch`` the sides of each ``cond`` that it
    is on, outermost first. ``traits`` say what it is and ``params`` are its family's parameters: passes ask for these. ``same``
    are earlier values that its results are equal to, if there are such. ``detail`` and ``rule``, the parameters and the rule's
    name, are text for people, and nothing else."""

    index: int
    primitive: str
    path: tuple[str, ...]
    phase: str
    times: Expr
    ins: tuple[Value, ...]
    outs: tuple[Value, ...]
    work: Work
    detail: str = ""
    rule: str = ""
    status: str = "exact"
    loops: tuple[int, ...] = ()
    traits: frozenset[Trait] = NO_TRAITS
    params: Params | None = None
    branch: Branch = ()
    part: Part | None = None
    same: tuple[Value, ...] = ()

    def has(self, *traits: Trait) -> bool:
        """Whether it has one of these traits."""
        return not self.traits.isdisjoint(traits)

    def of_values(self, value: Callable[[Value], Value]) -> Equation:
        """The same equation of other values."""
        return replace(self, ins=tuple(map(value, self.ins)), outs=tuple(map(value, self.outs)), same=tuple(map(value, self.same)))

    def runs_with(self, other: Equation) -> bool:
        """Whether it runs in the same loops, on the same branch, and as often."""
        return (self.loops, self.branch, self.times) == (other.loops, other.branch, other.times)

    @property
    def module(self) -> str:
        """The modules that it is in: "layer1_0/conv2"."""
        return "/".join(self.path)


@dataclass(frozen=True, eq=False)
class CostTable:
    """A program's equations in order, with its inputs and outputs. ``dead`` counts removed equations by primitive; ``carried``
    pairs what a loop's body receives with what it hands to its next iteration. All sides of a ``cond`` are among the equations;
    ``branches`` says what of them counts. ``axes`` are those of the mesh of which this is one device's program, outermost first,
    with the sizes that they have where a point gives none."""

    equations: tuple[Equation, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    dead: tuple[tuple[str, int], ...] = ()
    carried: tuple[tuple[Value, Value], ...] = ()
    branches: Branches = Branches.MAX
    axes: tuple[tuple[str, int], ...] = ()
    _known: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """``make()``, computed once for this table and kept as long as the table is."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def __iter__(self) -> Iterator[Equation]:
        return iter(self.equations)

    def filter_by(self, select: Callable[[Equation], bool]) -> CostTable:
        """The program with some of its equations only."""
        return replace(self, equations=tuple(e for e in self.equations if select(e)))

    def taking(self, sides: Mapping[int, int]) -> CostTable:
        """The program in which of these ``cond``s (by number) this side runs."""
        return self.filter_by(lambda e: all(sides.get(side.cond, side.which) == side.which for side in e.branch))

    def group_by(self, key: Callable[[Equation], object]) -> dict[object, CostTable]:
        """Tables by key, in order of first appearance."""
        groups: dict[object, list[Equation]] = {}
        for equation in self.equations:
            groups.setdefault(key(equation), []).append(equation)
        return {k: replace(self, equations=tuple(v)) for k, v in groups.items()}

    def sum(self, price: Callable[[Equation], Expr]) -> Expr:
        """Σ price · times over the equations that count. The price is one of their work: equal ones are priced once."""
        def add(equations: list[Equation]) -> Expr:
            alike: dict[tuple[Any, Expr], list[Equation]] = {}
            for e in equations:
                alike.setdefault((e.work.ops, e.times), []).append(e)
            return total(price(es[0]) * es[0].times * len(es) for es in alike.values())

        return self.combined(((e.branch, e) for e in self.equations), add)

    def combined(self, parts: Iterable[tuple[Branch, P]], add: Callable[[list[P]], Expr]) -> Expr:
        """Σ of parts that count, each on a branch: ``add`` of those on one side of each ``cond`` at a time."""
        return combined(parts, self.branches, add=add, join=total)

    @cached_property
    def made(self) -> frozenset[Value]:
        """What its equations make, as opposed to what it receives or closes over."""
        return frozenset(out for e in self.equations for out in e.outs)

    @cached_property
    def dimensions(self) -> tuple[Expr, ...]:
        """The different dimensions of its arrays that are no numbers."""
        arrays = dict.fromkeys(v.array for v in self._values)
        return tuple(dict.fromkeys(d for array in arrays for d in array.shape if not d.is_number))

    @property
    def _values(self) -> Iterator[Value]:
        return itertools.chain(self.inputs, (v for e in self.equations for v in (*e.ins, *e.outs)))

    @cached_property
    def almost_alike(self) -> tuple[Expr, ...]:
        """By how much two activations differ that differ in one dimension only: where that is nothing, one of them may be taken for
        the other, or take its place."""
        others: dict[tuple[int, tuple[Expr, ...]], list[Expr]] = {}
        for shape in dict.fromkeys(v.array.shape for v in self._values if v.is_activation):
            for axis, d in enumerate(shape):
                others.setdefault((axis, (*shape[:axis], *shape[axis + 1:])), []).append(d)
        found = (a - b for alike in others.values() for a, b in itertools.combinations(alike, 2))
        return tuple(d for d in dict.fromkeys(found) if not d.is_number)

    @cached_property
    def left_out(self) -> tuple[Expr, ...]:
        """By how much what only moves data makes a dimension larger or smaller, where that is no number: what a slice leaves out,
        what a pad or a concatenation adds. Where it is nothing the same equation takes all, and may be a view."""
        moving = (e for e in self.equations if not e.work.ops and not e.has(Trait.VIEW, Trait.TRANSPOSE))
        shapes = dict.fromkeys((v.array.shape, out.array.shape) for e in moving for v in e.ins for out in e.outs)
        alike = (pair for before, after in shapes if len(before) == len(after) for pair in zip(before, after, strict=True))
        found = ((a - b).expand() for a, b in alike)
        return tuple(d for d in dict.fromkeys(found) if not d.is_number)

    @cached_property
    def parameters(self) -> tuple[Value, ...]:
        """The inputs that are trainable parameters."""
        return tuple(v for v in self.inputs if v.origin == "parameter")

    @cached_property
    def buffers(self) -> tuple[Value, ...]:
        """The inputs that are state and not trained."""
        return tuple(v for v in self.inputs if v.origin == "buffer")


def skip_masked(table: CostTable) -> CostTable:
    """The same program where operations on what a mask throws away are not done. It still moves whole arrays."""
    def equation(e: Equation) -> Equation:
        if e.part is None or e.part == UNCOUNTED or not e.work.ops:
            return e
        return replace(e, part=None, work=replace(e.work, ops=tuple(
            (kind, _kept(e, dense), _kept(e, valid)) for kind, dense, valid in e.work.ops)))

    return replace(table, equations=tuple(map(equation, table.equations)))


def _kept(e: Equation, count: Expr) -> Expr:
    """Of a reduction each element but one a result is an operation, of anything else as many an element."""
    assert e.part is not None
    lines = e.outs[0].array.size if Trait.REDUCTION in e.traits else ZERO
    return ((count + lines) * e.part.kept / e.part.all - lines).expand()


def weighted(parts: Iterable[tuple[Value, Expr, Expr]]) -> Expr:
    """Bytes of many (value, elements of it, how often): equal ones are counted before they are added."""
    counts = Counter((v.array.bits, elements, times) for v, elements, times in parts)
    return total(elements * times * Rational(bits * count, 8) for (bits, elements, times), count in counts.items())


def total(terms: Iterable[Expr]) -> Expr:
    """Σ of many terms, added once and expanded once: adding one by one is quadratic."""
    added = Add(*terms)
    return added if added.is_Atom else added.expand()


