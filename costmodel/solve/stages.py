"""What the parts of a stack do in a step of one device, as closed forms: per micro-batch, and per step.

The parts are a layer of each kind of recomputation and the two ends. A kernel belongs to the part that its main equation is in, one
of no module to the part that made what it reads (gradients that are cast); what is in the optimizer's update, casts of
parameters, and what is sent over ``data`` is done once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy as np
from sympy import Expr, Integer

from costmodel.errors import CostModelError
from costmodel.fusion import Kernel
from costmodel.memory.saved import residuals
from costmodel.pricing.collectives import axes_of, sent
from costmodel.pricing.products import sizes_of
from costmodel.pricing.workload import Formulas
from costmodel.rules.params import Contraction
from costmodel.rules.work import BITS, Value, total
from costmodel.solve.stack import Stack
from costmodel.symbolic.forms import symbol
from costmodel.symbolic.quotients import over_common_denominator
from costmodel.trace.words import Origin, Phase

FIRST, LAST = "first", "last"
POLICY = "xla-gpu"  # its kernels move within a few per cent of the bytes that Megatron's fused ones do
DATA, MODEL = "data", "model"
MANY = Integer(10**9)  # parameters, beside which what an optimizer does once is nothing


@dataclass(frozen=True)
class OverModel:
    """A collective over ``model``, and the bytes that a device sends in it."""

    kind: str
    bytes: Any


@dataclass(frozen=True)
class Product:
    """Products of m x k by k x n matrices, ``count`` at once, in a type."""

    count: Any
    m: Any
    n: Any
    k: Any
    dtype: str


@dataclass(frozen=True)
class Part:
    """What one device does of a part for a micro-batch, forward and backward; expressions, numbers or arrays.

    moved:     bytes across the borders of its kernels that are no products.
    kernels:   how many it has, products too.
    kept:      bytes that wait for its backward pass, without copies of parameters.
    params:    elements of parameters; ``gradients`` their bytes as they are summed over ``data``, once a step.
    shared:    bytes that a device sends to sum gradients over ``model``, once a step: of what each has, of tokens of its own.
    """

    products: tuple[Product, ...]
    sent: tuple[OverModel, ...]
    moved: Any
    kernels: int
    kept: Any
    params: Any
    gradients: Any
    shared: Any


class Stages:
    """The parts of a stack: of each kind of recomputation a layer, and the two ends, "first" and "last".

    compiled: what a compiled program computes again is only what the backward pass reads; a framework that is not compiled runs the
    whole forward pass of what it did not keep, its last product too.
    """

    def __init__(self, stack: Stack, sequence_parallel: bool, compiled: bool = True) -> None:
        self.stack, self.sequence_parallel, self.compiled = stack, sequence_parallel, compiled
        self.cost = stack.training(sequence_parallel)
        kept, params = self._by_home(self._residuals()), self._by_home(self._parameters())
        self.forms = {name: _part(kernels, total(kept[name]), total(params[name]), self._batch)
                      for name, kernels in self._kernels.items()}
        for name, part in self.forms.items():
            if self._batch & {s.name for s in part.gradients.free_symbols}:
                raise CostModelError(f"{stack.name} sends of every sequence over data in its part {name!r}, so that it cannot be "
                                     "composed of micro-batches: constrain what is shared there")

    def _home(self, path: tuple[str, ...]) -> str:
        found = next((how for how, module in self.stack.layers_of.items() if path[:1] == (module,)), None)
        return found or (FIRST if path[:1] == (self.stack.first,) else LAST)

    def _by_home(self, found: Iterator[tuple[tuple[str, ...], Any]]) -> dict[str, list[Any]]:
        homes: dict[str, list[Any]] = {name: [] for name in (*self.stack.layers_of, FIRST, LAST)}
        for path, each in found:
            homes[self._home(path)].append(each)
        return homes

    @cached_property
    def _kernels(self) -> dict[str, list[Kernel]]:
        found = self._by_home((self._owner(k), k) for k in self.cost.kernels(POLICY) if not self._is_cast(k))
        return found if self.compiled else {name: _whole_again(kernels) for name, kernels in found.items()}

    @staticmethod
    def _is_cast(kernel: Kernel) -> bool:
        return not kernel.path and all(v.origin == Origin.PARAMETER for v, _ in kernel.reads)

    def _owner(self, kernel: Kernel) -> tuple[str, ...]:
        """The module of a kernel, else of what made what it reads."""
        made = (self._makers[v] for v, _ in kernel.reads if v in self._makers)
        return kernel.path or next((path for path in made if path), ())

    @cached_property
    def _makers(self) -> dict[Value, tuple[str, ...]]:
        return {out: e.path for e in self.cost.program for out in e.outs}

    def _residuals(self) -> Iterator[tuple[tuple[str, ...], Expr]]:
        """What depends on the batch; the rest are copies of parameters, which are there anyway."""
        for value, path in residuals(self.cost.program):
            if self._batch & {s.name for s in value.bytes.free_symbols}:
                yield path, value.bytes

    @cached_property
    def _batch(self) -> set[str]:
        return {v.name for v in self.cost.domain.variables if v.symbol == self.stack.batch}

    def _parameters(self) -> Iterator[tuple[tuple[str, ...], Expr]]:
        for value in self.cost.program.parameters:
            yield tuple(value.name.split("/")), value.array.size

    @cached_property
    def parameter(self) -> Parameter:
        """What is moved and held for a parameter, of many."""
        cost = self.stack.update()
        moved = total(k.bytes for k in cost.kernels(POLICY) if k.main.phase == Phase.UPDATE)
        wide, state, count = (cost.price(name) for name in ("model_size", "optimizer_state", "params"))
        many = dict.fromkeys(count.free_symbols, MANY)
        update, held, kept = (float((e / count).xreplace(many)) for e in (moved, wide, state))
        copy = min(BITS[p.dtype] for part in self.forms.values() for p in part.products) / 8
        return Parameter(update + held + copy, copy, held, held, kept)

    @cached_property
    def _compiled(self) -> Callable[[Mapping[Any, np.ndarray]], list[np.ndarray]]:
        return _compiled(list(_leaves(self.forms)))

    def at(self, microbatch: np.ndarray, model: int, **sizes: int) -> dict[str, Part]:
        """The parts for micro-batches of so many sequences, as arrays over them, on ``model`` devices; ``sizes`` take the place of
        the stack's own."""
        given = {**self.stack.at, **sizes, self.stack.batch: 2 * microbatch, DATA: 2, MODEL: model}
        env = {symbol(v.name): np.broadcast_to(np.asarray(given[v.symbol]) // int(v.divisor), microbatch.shape)
               for v in self.cost.domain.variables}
        values = iter(self._compiled(env))
        return {name: _with_leaves(part, values) for name, part in self.forms.items()}


@dataclass(frozen=True)
class Parameter:
    """Bytes for each parameter: moved by the optimizer in a step, and held as copy for products, gradient, master and state."""

    update: float
    copy: float
    gradient: float
    master: float
    state: float


def _whole_again(kernels: list[Kernel]) -> list[Kernel]:
    """The kernels with all forward ones of what is computed again, in place of those that the backward pass reads."""
    again = [k.path for k in kernels if k.main.phase == Phase.RECOMPUTE]
    scope = tuple(names[0] for names in takewhile(lambda names: len(set(names)) == 1, zip(*again, strict=False)))
    forward = [k for k in kernels if k.main.phase == Phase.FORWARD and k.path[:len(scope)] == scope] if again else []
    return [k for k in kernels if k.main.phase != Phase.RECOMPUTE] + forward


def _part(kernels: list[Kernel], kept: Expr, params: Expr, batch: set[str]) -> Part:
    """A part of its kernels. What is sent over ``data`` are gradients, of each of which one of two devices sends as much as it
    has; so is what is sent over ``model`` whatever the ``batch``, and is summed over micro-batches before, as Megatron does."""
    products, over_model, moved, gradients, shared = [], [], [], [], []
    for kernel in kernels:
        over = {axis for e in kernel.equations for axis in axes_of(e)}
        exchanges = [(kind.name, size * e.times) for e in kernel.equations for kind, size in sent(e)]
        if DATA in over:
            gradients += [size.xreplace({symbol(DATA): Integer(2)}) for _, size in exchanges]
        elif over and not any(batch & {s.name for s in size.free_symbols} for _, size in exchanges):
            shared += [size for _, size in exchanges]
        elif over:
            over_model += [OverModel(kind, size) for kind, size in exchanges]
        elif isinstance(kernel.main.params, Contraction):
            products.append(_product(kernel))
        else:
            moved.append(kernel.bytes * kernel.times)
    count = len(products) + len(over_model) + len(moved)
    return Part(tuple(products), tuple(over_model), total(moved), count, kept, params, total(gradients), total(shared))


def _product(kernel: Kernel) -> Product:
    dot = kernel.main
    m, n, k, batch = sizes_of(dot)
    return Product(dot.times * batch, m, n, k, dot.ins[0].array.dtype)


def _compiled(exprs: list[Expr]) -> Callable[[Mapping[Any, np.ndarray]], list[np.ndarray]]:
    """A function of arrays, compiled once: a share of a ring need not be whole, its fraction's two parts are."""
    formulas = Formulas([part for e in exprs for part in over_common_denominator(e)])

    def values(env: Mapping[Any, np.ndarray]) -> list[np.ndarray]:
        found = formulas.on(env)
        shape = next(iter(env.values())).shape
        return [np.broadcast_to(above / below, shape) for above, below in zip(found[::2], found[1::2], strict=True)]

    return values


def _leaves(forms: Mapping[str, Part]) -> Iterator[Expr]:
    for part in forms.values():
        for p in part.products:
            yield from (p.count, p.m, p.n, p.k)
        yield from (s.bytes for s in part.sent)
        yield from (part.moved, part.kept, part.params, part.gradients, part.shared)


def _with_leaves(part: Part, values: Iterator[np.ndarray]) -> Part:
    """The part with numbers for its expressions, in the order of :func:`_leaves`."""
    products = tuple(Product(next(values), next(values), next(values), next(values), p.dtype) for p in part.products)
    over_model = tuple(OverModel(s.kind, next(values)) for s in part.sent)
    return Part(products, over_model, next(values), part.kernels, next(values), next(values), next(values), next(values))
