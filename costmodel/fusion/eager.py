"""The kernels of an eager framework such as PyTorch: one kernel a call of its operator library (ATen).

* Softmax, a normalisation (with the statistics that it updates), GELU by the error function, SiLU, a clamp and dropout are one
  kernel each, and one backward; a layer normalisation's gain and bias are a second one (:mod:`~costmodel.fusion.composites`,
  :mod:`~costmodel.fusion.derivatives`). Any other arithmetic is a kernel an equation, GELU by tanh therefore eight.
* A product or convolution adds its bias. Its backward pass is two products, and the bias' sum a kernel.
* Transpositions, slices, splits and broadcasts are strides, and none; what strides cannot express is a copy, as heads for a batched
  product are (:mod:`~costmodel.fusion.strides`). Changes of type are kernels.
* Constants and what is computed of them alone, such as a causal mask, are made once, not in every call.
* What is only computed for the backward pass is computed there, when it is needed. Softmax and ReLU keep their result for it, not
  what they read.
* Nothing is written over: a result gets memory of its own.

A program has no equation for what the framework does beside it: adding a gradient to ``.grad`` (a kernel a parameter, where
gradients are accumulated), deriving random keys (a count on the host). One value a line that a composite keeps, such as the sum in
softmax, is written and read, where PyTorch computes it from the result.
"""

from __future__ import annotations

import graphlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from costmodel.fusion.activations import derives_keys
from costmodel.fusion.compiler import written
from costmodel.fusion.composites import composites, lone_functions
from costmodel.fusion.cotangents import Derivative, summed
from costmodel.fusion.derivatives import derivatives
from costmodel.fusion.graph import Graph
from costmodel.fusion.kernel import Kernel
from costmodel.fusion.predicates import arithmetic, computes, loop, product, reduction
from costmodel.fusion.reading import Composite, Reading, same_array
from costmodel.fusion.registry import Policy, register
from costmodel.fusion.strides import Laid, laid_out, strided
from costmodel.rules.params import Contraction, Convolution
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation, Value
from costmodel.trace.words import Phase

_ADD, _MAX = frozenset({"add"}), frozenset({"max"})
_COMPARISONS = frozenset({"gt", "ge", "lt", "le", "eq", "ne"})


@dataclass(eq=False)
class Call:
    """Equations that run as one kernel. ``late`` says that it runs just before what needs it. The derivative ``of`` a composite
    does not read what is as large as its array in the calls ``again``, but computes it itself."""

    members: dict[Equation, None]
    of: Composite | None = None
    again: tuple[Call, ...] = ()
    late: bool = False
    inside: dict[Equation, None] = field(default_factory=dict)  # the members, and moves and what else it computes for itself
    roots: dict[Equation, None] = field(default_factory=dict)  # whose results others need


def _eager(table: CostTable) -> tuple[Kernel, ...]:
    laid = laid_out(table)
    reading = Reading(Graph(laid.table))
    found = composites(reading)
    backward = derivatives(reading, [*found, *lone_functions(reading)])
    kept = _from_results(summed(laid.table, reading, backward), reading, backward)
    return _Calls(Reading(Graph(kept)), laid, found, backward).kernels()


def _from_results(table: CostTable, reading: Reading, backward: list[Derivative]) -> CostTable:
    """The program with derivatives that read a result where the framework keeps that, and not what was there before: softmax's
    instead of the exponentials, ReLU's instead of its operand."""
    instead: dict[Equation, dict[Value, Value]] = {}
    for d in backward:
        if d.composite.output is not None:
            inner, result = d.composite.output
            instead.update((e, {inner: result}) for e in d.members)
    rectified = {operand: e.outs[0] for e in reading.graph.equations if computes(e, _MAX) and reading.forward(e)
                 and e not in reading.taken and (operand := reading.unary(e)) is not None}
    for e in reading.residual:
        if computes(e, _COMPARISONS) and (operand := reading.unary(e)) is not None and operand in rectified:
            instead[e] = {operand: rectified[operand]}
    replaced = {e: replace(e, ins=tuple(other.get(reading.source(v), v) for v in e.ins)) for e, other in instead.items()}
    for d in backward:
        d.members = {replaced.get(e, e): None for e in d.members}
    return replace(table, equations=tuple(replaced.get(e, e) for e in table))


class _Calls:
    """Gathers a program's equations into calls; ``home`` is the call of an equation, None for what is done by strides."""

    def __init__(self, reading: Reading, laid: Laid, found: list[Composite], backward: list[Derivative]) -> None:
        self.reading, self.graph = reading, reading.graph
        self.copied, self.turned = laid.copied, laid.turned
        self.calls: list[Call] = []
        self.home: dict[Equation, Call] = {}
        made = {c: self._call((*c.members, *self._repeated(c))) for c in found}
        of_array: dict[Composite, Call] = {}
        for d in backward:
            call = self._call(d.members)
            if d.composite.mask is None:
                call.of = d.composite
                call.again = tuple(c for c in (made.get(d.composite), of_array.get(d.composite)) if c is not None)
            of_array[d.composite] = call
        for e in self.graph.equations:
            if e in self.home or self._free(e):
                continue
            if (maker := self._returns(e)) is not None:
                self.home[e] = self.home[maker]
                self.home[e].members[e] = None
            else:
                self._call(self._alone(e), late=e in reading.residual)

    def _call(self, members: Iterable[Equation], late: bool = False) -> Call:
        call = Call(dict.fromkeys(members), late=late)
        self.home.update(dict.fromkeys(call.members, call))
        self.calls.append(call)
        return call

    def _repeated(self, c: Composite) -> Iterator[Equation]:
        """Copies of one value a line inside a composite."""
        for e in c.members:
            for v in e.ins:
                while (move := self.graph.maker(v)) is not None and Trait.BROADCAST in move.traits:
                    if move in self.copied and self.reading.maker(v) in c.members:
                        yield move
                    v = move.ins[0]

    # -- what is no call ---------------------------------------------------------------------------------------------------------

    def _free(self, e: Equation) -> bool:
        """Whether an equation is computed by those that use it: by strides, or because the framework does not have it."""
        if e in self.copied or e in self.turned or self.graph.is_result(e):
            return False
        users = self.graph.users(e)
        if any(Trait.BRANCH_RESULT in u.traits or (at == 0 and Trait.IN_PLACE in u.traits) for u, at in users):
            return False
        if Trait.CONSTANT in e.traits:
            return True
        if not all(u.runs_with(e) for u, _ in users):
            return False
        for_convolutions = bool(users) and same_array(e) and all(isinstance(u.params, Convolution) for u, _ in users)
        return strided(e) or e in self.reading.constants or derives_keys(e) or self._is_mask(e) or for_convolutions

    def _returns(self, e: Equation) -> Equation | None:
        """The equation whose only use is that its result is returned in another order of axes: as strides."""
        if Trait.TRANSPOSE not in e.traits or e in self.copied or not self.graph.is_result(e):
            return None
        made = self.graph.maker(e.ins[0])
        if made not in self.home or len(self.graph.users(made)) > 1 or self.graph.is_result(made) or not made.runs_with(e):
            return None
        return made

    def _is_mask(self, e: Equation) -> bool:
        """What only the backward pass needs, and is known from comparisons: where a maximum was taken."""
        if e not in self.reading.residual or not arithmetic(e):
            return False
        return e.outs[0].array.dtype == "bool" or all(self._from_mask(v) for v in e.ins)

    def _from_mask(self, value: Value) -> bool:
        made = self.reading.maker(value)
        return self.reading.constant(value) or (made is not None and self._is_mask(made))

    def _alone(self, e: Equation) -> list[Equation]:
        """An equation, with the bias that a product adds to itself, and the transposition that is a product's result."""
        found = [e]
        if not (product(e) or isinstance(e.params, Convolution)):
            return found
        while len(users := self.graph.users(found[-1])) == 1 and not self.graph.is_result(found[-1]):
            user = users[0][0]
            if user in self.home or not user.runs_with(e) or not (user in self.turned or self._adds_bias(e, user)):
                break
            found.append(user)
        return found

    def _adds_bias(self, e: Equation, user: Equation) -> bool:
        """Adds something that is given, one value for each of the features that the product makes."""
        if not (arithmetic(user) and computes(user, _ADD)) or user.outs[0].array != e.outs[0].array:
            return False
        others = [v for v in user.ins if self.graph.maker(v) is not e]
        if len(others) != 1 or self.reading.constant(others[0]):
            return False
        along = self.reading.along(others[0], len(user.outs[0].array.shape))
        made = self.reading.maker(others[0])
        before = made is None or self.graph.index.get(made, len(self.graph.index)) < self.graph.index[e]
        return bool(along) and before and along <= self._features(e)

    def _features(self, e: Equation) -> set[int]:
        """The axes of a product's result that its weights have; none for a product of batches."""
        if isinstance(e.params, Convolution):
            return {e.params.result[1]}
        if not isinstance(e.params, Contraction) or e.params.batch[0]:
            return set()
        rows = len(e.ins[0].array.shape) - len(e.params.contracting[0])
        return set(range(rows)) if e.ins[0].origin == "parameter" else set(range(rows, len(e.outs[0].array.shape)))


    # -- kernels -----------------------------------------------------------------------------------------------------------------

    def kernels(self) -> tuple[Kernel, ...]:
        order = self._ordered()
        return written(self.graph, [(c.roots, c.inside) for c in order])

    def _ordered(self) -> list[Call]:
        """The calls in an order in which they can run. One that waits for another that waits for it falls apart."""
        while True:
            needs = self._connect()
            try:
                graphlib.TopologicalSorter(needs).prepare()
                return self._in_order(needs)
            except graphlib.CycleError as error:
                self._untie(list(dict.fromkeys(error.args[1])))

    def _untie(self, calls: list[Call]) -> None:
        """Calls that wait for each other: a derivative takes in what is between its equations, if that is arithmetic; other calls
        fall apart."""
        into = next((c for c in calls if c.of is not None), None)
        between = [c for c in calls if c is not into]
        if into is not None and all(len(c.members) == 1 and _between(e, into) for c in between for e in c.members):
            for c in between:
                self.calls.remove(c)
                into.members.update(c.members)
                self.home.update(dict.fromkeys(c.members, into))
            return
        for call in calls:
            self._fall_apart(call)

    def _fall_apart(self, call: Call) -> None:
        if len(call.members) == 1:
            return
        self.calls.remove(call)
        for e in call.members:
            del self.home[e]
        for e in call.members:
            if not self._free(e):
                self._call([e])

    def _connect(self) -> dict[Call, dict[Call, None]]:
        """What each call needs of others, and so what it computes itself and what they write."""
        for call in self.calls:
            call.inside, call.roots = dict(call.members), {e: None for e in call.members if self.graph.is_result(e)}
        needs: dict[Call, dict[Call, None]] = {}
        for call in self.calls:
            needs[call] = {}
            for made in self._outside(call):
                needs[call][self.home[made]] = None
                self.home[made].roots[made] = None
        for call in self.calls:
            if not call.roots:
                call.roots = {e: None for e in call.members if not any(u in call.members for u, _ in self.graph.users(e))}
        return needs

    def _outside(self, call: Call) -> Iterator[Equation]:
        """The equations of other calls whose results a call reads."""
        pending = list(call.members)
        while pending:
            e = pending.pop()
            for at, v in enumerate(e.ins):
                made = self.graph.maker(v)
                if made is None or made in call.inside or not self._touches(e, at):
                    continue
                home = self.home.get(made)
                large = call.of is not None and made is not call.of.result and made.outs[0].array.size == call.of.full.array.size
                if home is None or (large and home in call.again):
                    call.inside[made] = None
                    pending.append(made)
                else:
                    yield made

    def _touches(self, e: Equation, at: int) -> bool:
        return e.work.read[at] != 0 or (at == 0 and Trait.IN_PLACE in e.traits) or Trait.BRANCH_RESULT in e.traits

    def _in_order(self, needs: dict[Call, dict[Call, None]]) -> list[Call]:
        index = self.graph.index
        users: dict[Call, list[Call]] = {c: [] for c in self.calls}
        waits = {c: len(needs[c]) for c in self.calls}
        for c, before in needs.items():
            for other in before:
                users[other].append(c)
        key: dict[Call, tuple[int, ...]] = {c: (max(index[e] for e in c.members),) for c in self.calls}
        for c in sorted((c for c in self.calls if c.late), key=lambda c: key[c], reverse=True):
            key[c] = min((key[u] for u in users[c]), default=key[c])[:1] + key[c]
        ready = [(key[c], i, c) for i, c in enumerate(self.calls) if waits[c] == 0]
        heapq.heapify(ready)
        order: list[Call] = []
        number = {c: i for i, c in enumerate(self.calls)}
        while ready:
            _, _, c = heapq.heappop(ready)
            order.append(c)
            for user in users[c]:
                waits[user] -= 1
                if waits[user] == 0:
                    heapq.heappush(ready, (key[user], number[user], user))
        return order


def _between(e: Equation, call: Call) -> bool:
    return e.phase == Phase.BACKWARD and (loop(e) or reduction(e)) and all(e.runs_with(m) for m in call.members)


EAGER = register(Policy(name="eager", summary="an eager framework (PyTorch): a kernel a call, composite functions in one",
                        kernels=_eager))
