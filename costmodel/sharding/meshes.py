"""A program of ``shard_map`` with the sizes of its mesh's axes as symbols: traced over several meshes, and joined where each of its
numbers is one form in them.

Every dimension is traced as a multiple of all axes, so that any of them may share it; which ones must divide it is read off the
forms afterwards: what is a size is a whole number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from sympy import Expr, Integer, Symbol

from costmodel import _jax_compat as compat
from costmodel.errors import CostModelError
from costmodel.program.inline import inline
from costmodel.program.raw import Raw, RawProgram
from costmodel.rules.work import Array, Value
from costmodel.sharding.laurent import NoForm, Sizes, joined, meshes_for
from costmodel.sharding.mesh import Mesh
from costmodel.symbolic.domain import Domain, Multiple
from costmodel.symbolic.forms import symbol
from costmodel.symbolic.translate import internal
from costmodel.trace.requests import Traceable, Traced


@dataclass(frozen=True)
class Dimensions(Mapping[Symbol, Any]):
    """Each symbol, as ``times`` jax's variable of its name; a request's own ``at`` puts them in its place."""

    times: int

    def __getitem__(self, key: Symbol) -> Any:
        return self.times * compat.variable(key.name)

    def __iter__(self) -> Iterator[Symbol]:
        return iter(())

    def __len__(self) -> int:
        return 0


def traced_at(request: Traceable, sizes: Sizes, times: int) -> Traced:
    """The request over a mesh of these sizes, every dimension a multiple of ``times``."""
    with compat.axes_resized(sizes):
        return request.at(Domain(), Dimensions(times)).run()


def in_dimensions(program: RawProgram, times: int) -> RawProgram:
    """A program that was traced with every dimension as a multiple, in the dimensions themselves."""
    known: dict[Expr, Expr] = {}

    def restored(expr: Expr) -> Expr:
        if expr not in known:
            known[expr] = expr.xreplace({s: s / Integer(times) for s in expr.free_symbols}).expand()
        return known[expr]

    def array(v: Value) -> Array:
        return Array(tuple(map(restored, v.array.shape)), v.array.dtype)

    def equation(r: Raw) -> Raw:
        return replace(r, times=restored(r.times), params={k: _mapped(p, restored) for k, p in r.params.items()})

    made = program.rewritten(array, equation)
    return replace(made, integers={v: restored(i) for v, i in made.integers.items()})


def _mapped(parameter: Any, change: Any) -> Any:
    """A parameter with its symbolic dimensions changed."""
    if compat.is_symbolic(parameter) or isinstance(parameter, Expr):
        return change(internal(parameter))
    if isinstance(parameter, tuple) and not hasattr(parameter, "_fields"):
        return tuple(_mapped(p, change) for p in parameter)
    return parameter


def over_meshes(request: Traceable, mesh: Mesh) -> RawProgram:
    """The program of one device in the axes' symbols. Raises NoForm where there is none."""
    programs, meshes = [], list(meshes_for(mesh.names))
    for sizes in meshes:
        times = prod(sizes.values()) * mesh.devices  # jax looks at the user's own mesh first
        try:
            program = inline(traced_at(request, sizes, times))
        except CostModelError as error:
            raise NoForm(f"no trace over a mesh of {sizes}: {error}") from error
        programs.append(in_dimensions(program, times))
    return _Join(programs, meshes).program(mesh)


class _Join:
    """Programs of the same structure, at several meshes, as one."""

    def __init__(self, programs: Sequence[RawProgram], meshes: Sequence[Sizes]) -> None:
        self.programs, self.meshes = programs, meshes
        self.arrays: dict[Value, Array] = {}
        self.same: list[dict[Value, Value]] = [{} for _ in programs]  # of the first program, in each

    def program(self, mesh: Mesh) -> RawProgram:
        first = self.programs[0]
        self._values([p.inputs for p in self.programs])
        equations = {}
        for rs in self._zipped([p.equations for p in self.programs]):
            equations[rs[0]] = self._equation(rs)
        self._values([p.outputs for p in self.programs])
        made = first.rewritten(lambda v: self.arrays.get(v, v.array), equations.__getitem__)
        return replace(made, mesh=mesh.sizes)

    def _zipped(self, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
        if len({len(row) for row in rows}) != 1:
            raise NoForm("the program has another structure over another mesh")
        return zip(*rows, strict=True)

    def _values(self, rows: Sequence[Sequence[Value]]) -> None:
        for values in self._zipped(rows):
            first = values[0]
            if any(self.same[i].setdefault(first, v) is not v for i, v in enumerate(values)):
                raise NoForm("another value is used over another mesh")
            if first not in self.arrays:
                shapes = [v.array.shape for v in values]
                self.arrays[first] = Array(tuple(self._joined(dims) for dims in self._zipped(shapes)), first.array.dtype)

    def _joined(self, exprs: Sequence[Expr]) -> Expr:
        return joined(exprs, self.meshes)

    def _equation(self, rs: Sequence[Raw]) -> Raw:
        first = rs[0]
        if len({(r.primitive, r.path, r.phase, r.loops, r.branch) for r in rs}) != 1:
            raise NoForm(f"{first.primitive} is another operation over another mesh")
        self._values([r.ins for r in rs])
        self._values([r.outs for r in rs])
        names = [name for name in first.params if name in rs[1].params]
        params = {name: self._parameter([r.params[name] for r in rs], name) for name in names}
        return replace(first, times=self._joined([r.times for r in rs]), params=params)

    def _parameter(self, values: Sequence[Any], name: str) -> Any:
        first = values[0]
        if name == "axis_sizes":
            return {axis: symbol(axis) for axis in first}
        if name in ("perm", "axis_index_groups") and first is not None:
            raise NoForm(f"the program names devices one by one ({name})")
        if _is_number(first) and all(map(_is_number, values)):
            form = self._joined([internal(v) for v in values])
            return int(form) if form.is_Integer else form
        if isinstance(first, tuple) and not hasattr(first, "_fields"):
            return tuple(self._parameter(parts, name) for parts in self._zipped(values))
        return first


def _is_number(x: Any) -> bool:
    return not isinstance(x, bool) and (isinstance(x, int | Expr) or compat.is_symbolic(x))


def multiples(program: RawProgram) -> tuple[Multiple, ...]:
    """What the sizes of a program of one device demand: each is a whole number."""
    found: dict[Multiple, None] = {}
    for dim in {d: None for v in _all_values(program) for d in v.array.shape}:
        above, below = dim.together().as_numer_denom()
        if below != 1:
            found[Multiple(below, above)] = None
    return tuple(found)


def _all_values(program: RawProgram) -> Iterator[Value]:
    yield from program.inputs
    for r in program.equations:
        yield from r.outs
