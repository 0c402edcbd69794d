"""What compilers change in a program before they fuse it: copies into another layout, and movement taken out of loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from sympy import Expr

from costmodel.fusion.graph import Graph, views
from costmodel.fusion.predicates import almost_unary, arithmetic, dear, product
from costmodel.rules.branches import Branch
from costmodel.rules.params import Along, Contraction, Convolution, Largest, Permutation, Places, Reduction
from costmodel.rules.traits import Trait, traits_of
from costmodel.rules.work import Array, CostTable, Equation, Value, Work, is_floating
from costmodel.symbolic.forms import ONE, ZERO, FloorDiv, ceil_div, minimum

_TILE = 16  # elements of a line
_COPY, _ELEMENTWISE, _WINDOW, _VIEW = (traits_of(trait) for trait in (Trait.COPY, Trait.ELEMENTWISE, Trait.WINDOW, Trait.VIEW))
_MOVE, _SORT, _CONSTANT, _JOIN = (traits_of(trait) for trait in (Trait.MOVE, Trait.SORT, Trait.CONSTANT, Trait.CONCATENATE))


def copied(user: Equation, ins: tuple[Value, ...], made: Value, read: tuple[Expr, ...], traits: frozenset[Trait]) -> Equation:
    """A copy of operands into an array of its own, for one user: so many elements of each are read."""
    return replace(user, primitive="copy", ins=ins, outs=(made,), rule="copy", status="free", detail="",
                   work=Work((), read, (made.array.size,)), traits=traits, params=None)


def relaid(table: CostTable, operands: Callable[[Equation], Iterable[int]]) -> CostTable:
    """The program with a copy before each equation's ``operands`` (by position) that the backend wants in another layout."""
    equations: list[Equation] = []
    for e in table:
        for position in operands(e):
            value = e.ins[position]
            made = Value(value.array)
            equations.append(copied(e, (value,), made, (value.array.size,), _COPY))
            e = replace(e, ins=(*e.ins[:position], made, *e.ins[position + 1:]))
        equations.append(e)
    return replace(table, equations=tuple(equations))


def each_way(table: CostTable) -> CostTable:
    """The program in which a constant array that products sum over in different ways is there once for each: what repeats a number
    is made transposed (XLA, AlgebraicSimplifier)."""
    made = {out: e for e in table for out in e.outs if Trait.CONSTANT in e.traits and out.array.size != 1}
    root = views(table)
    known: dict[Value, dict[object, Value]] = {}  # by the axes that are summed, the array
    equations: list[Equation] = []
    for e in table:
        for position, operand in enumerate(e.ins[:2] if isinstance(e.params, Contraction) else ()):
            v = root(operand)
            if v not in made or made[v].loops != e.loops or v.array != operand.array:
                continue
            ways = known.setdefault(v, {})
            way = e.params.contracting[position], e.params.batch[position]  # type: ignore[union-attr]
            if way not in ways:
                ways[way] = Value(v.array) if ways else v
                equations += [replace(made[v], outs=(ways[way],))] if ways[way] is not v else []
            e = replace(e, ins=(*e.ins[:position], ways[way], *e.ins[position + 1:]))
        equations.append(e)
    return replace(table, equations=tuple(equations))


def hoisted(table: CostTable) -> CostTable:
    """The program with movement that every iteration of a loop repeats done once, before it (XLA, WhileLoopInvariantCodeMotion)."""
    times: dict[tuple[int, ...], Expr] = {(): ONE}
    for e in table:
        times.setdefault(e.loops, e.times)
    made_in: dict[Value, tuple[int, ...]] = {}
    varies = {v for v, _ in table.carried}  # with every iteration
    before: dict[int, list[Equation]] = {}  # by loop, in the order in which they start
    stay: list[Equation | int] = []  # a number is where that loop starts
    for e in table:
        for loop in e.loops:
            if loop not in before:
                before[loop] = []
                stay.append(loop)
        view = Trait.VIEW in e.traits
        if view and any(v in varies for v in e.ins):
            varies.update(e.outs)
        needed = max((made_in.get(v, ()) for v in e.ins), key=len, default=())
        still = e.loops and e.ins and e.has(Trait.COPY, Trait.VIEW) and not any(v in varies for v in e.ins)
        if still and view:
            made_in.update((out, needed) for out in e.outs)  # another name of what is there
        elif still and len(needed) < len(e.loops) and needed in times:
            before[e.loops[len(needed)]].append(replace(e, loops=needed, times=times[needed]))
            made_in.update((out, needed) for out in e.outs)
            continue
        else:
            made_in.update((out, e.loops) for out in e.outs)
        stay.append(e)
    equations = [e for place in stay for e in (before[place] if isinstance(place, int) else (place,))]
    return replace(table, equations=tuple(equations))


def every_pair(table: CostTable) -> CostTable:
    """The program with each convolution that has a group of its batch for every channel, as the gradient of a depthwise kernel is
    one, computed between all channels; then what is not on the diagonal is masked, and the rest summed (XLA,
    ConvolutionGroupConverter)."""
    equations: list[Equation] = []
    for e in table:
        if not isinstance(e.params, Convolution) or e.params.batch_groups in (1, 0) or (
                e.params.batch_groups != e.outs[0].array.shape[e.params.result[1]]):
            equations.append(e)
            continue
        pairs = Array((*e.outs[0].array.shape, e.outs[0].array.shape[-1]), e.outs[0].array.dtype)
        computed, masked = Value(pairs), Value(pairs)
        equations += [
            replace(e, outs=(computed,), work=replace(e.work, written=(pairs.size,))),
            replace(e, primitive="select_n", ins=(computed,), outs=(masked,), rule="select_n", detail="",
                    traits=_ELEMENTWISE, params=None,
                    work=Work((), (pairs.size,), (pairs.size,))),
            replace(e, primitive="reduce_window_sum", ins=(masked,), rule="reduce_window", detail="",
                    traits=_WINDOW, params=None,
                    work=Work((), (pairs.size,), (e.outs[0].array.size,)))]
    return replace(table, equations=tuple(equations))


def tiled(table: CostTable) -> CostTable:
    """The program with each cumulative operation as one over tiles, whose results are written, and a loop that puts them together
    (XLA, ReduceWindowRewriter)."""
    equations: list[Equation] = []
    for e in table:
        if Trait.CUMULATIVE not in e.traits or not isinstance(e.params, Along):
            equations.append(e)
            continue
        tiles = tuple(Value(_padded(out.array, e.params.axis)) for out in e.outs)
        equations.append(replace(e, outs=tiles))
        equations += [replace(e, ins=(tile,), outs=(out,), work=Work((), (out.array.size,), (out.array.size,)), traits=_MOVE,
                              params=None) for tile, out in zip(tiles, e.outs, strict=True)]
    return replace(table, equations=tuple(equations))


def _padded(array: Array, axis: int) -> Array:
    """An array whose lines are whole tiles, but for those that are no longer than one."""
    length = array.shape[axis]
    whole = length + several_tiles(length) * (_TILE * ceil_div(length, _TILE) - length)
    return Array((*array.shape[:axis], whole.expand(), *array.shape[axis + 1:]), array.dtype)


def several_tiles(length: Expr) -> Expr:
    """1 where a cumulative operation goes over lines of several tiles, else 0."""
    return minimum(ONE, FloorDiv(length - 1, _TILE))


def located(table: CostTable) -> CostTable:
    """The program with a place for each batched dimension joined to those of each gather and scatter; and with a scatter's places
    and constants in memory, and its updates, where they are cheaply computed for others, too, or in another order (XLA,
    BatchedGatherScatterNormalizer and ScatterSimplifier)."""
    if not any(e.has(Trait.SCATTER, Trait.GATHER) for e in table):
        return table
    graph = Graph(table)
    joined: dict[tuple[Value, Array, tuple[int, ...], Branch], Value] = {}
    equations: list[Equation] = []
    for e in table:
        if isinstance(e.params, Places) and len(e.ins) >= 2:
            places = e.ins[1]
            whole = Array((*places.array.shape[:-1], places.array.shape[-1] + e.params.batched), places.array.dtype)
            if e.params.batched and e.work.read[1] is not ZERO:
                key = graph.name(places), whole, e.loops, e.branch
                if key not in joined:
                    joined[key] = Value(whole)
                    equations.append(copied(e, (places,), joined[key], (e.work.read[1],), _JOIN))
                e = replace(e, ins=(e.ins[0], joined[key], *e.ins[2:]),
                            work=replace(e.work, read=(e.work.read[0], whole.size, *e.work.read[2:])))
        if Trait.SCATTER in e.traits and isinstance(e.params, Places) and len(e.ins) == 3:
            old, places, updates = e.ins
            if e.params.batched or e.work.read[1] is ZERO:
                places = _moved(equations, e, 1, whole)
            made = graph.maker(updates)
            if e.params.batched or (made is not None and arithmetic(made) and not dear(made) and almost_unary(graph, made)):
                updates = _moved(equations, e, 2, updates.array)
            e = replace(e, ins=(old, places, updates),
                        work=replace(e.work, read=(e.work.read[0], whole.size, updates.array.size)))
        equations.append(e)
    return replace(table, equations=tuple(equations))


def _moved(equations: list[Equation], user: Equation, operand: int, array: Array) -> Value:
    """What a loop of its own makes of an operand, for one user."""
    made = Value(array)
    equations.append(copied(user, (user.ins[operand],), made, (user.work.read[operand],), _MOVE))
    return made


def sorted_first(table: CostTable) -> CostTable:
    """The program in which all is sorted where the largest values are asked for without their places (XLA, TopkDecomposer), or
    are integers: only of floats are the largest a call of their own (XLA, TopkRewriter)."""
    used = {v for e in table for v in e.ins} | set(table.outputs)
    equations: list[Equation] = []
    for e in table:
        if not isinstance(e.params, Largest) or len(e.outs) != 2 or (
                e.outs[1] in used and is_floating(e.ins[0].array.dtype)):
            equations.append(e)
            continue
        whole, size = e.ins[0].array, e.outs[0].array.size
        wanted = e.outs if e.outs[1] in used else e.outs[:1]
        ordered = tuple(Value(Array(whole.shape, out.array.dtype)) for out in wanted)
        ins = e.ins
        if len(wanted) > 1:
            places = Value(ordered[1].array)
            equations.append(replace(e, primitive="iota", ins=(), outs=(places,), rule="iota", detail="", traits=_CONSTANT,
                                     params=None, work=Work((), (), (whole.size,))))
            ins = (*ins, places)
        equations.append(replace(e, ins=ins, outs=ordered, traits=_SORT, params=Along(e.params.axis),
                                 work=Work(e.work.ops, (whole.size,) * len(ins), (whole.size,) * len(ordered))))
        equations += [replace(e, ins=(each,), outs=(out,), traits=_MOVE, params=None, work=Work((), (size,), (size,)))
                      for each, out in zip(ordered, wanted, strict=True)]
    return replace(table, equations=tuple(equations))


def put_back(table: CostTable) -> CostTable:
    """The program in which what was joined and is split again at the same places is what it was (XLA, AlgebraicSimplifier on slices
    of concatenations)."""
    joined: dict[Value, Equation] = {}
    whole: dict[Equation, Equation] = {}  # what is split -> what was joined there
    needed = {*table.outputs, *(after for _, after in table.carried)}
    for e in table:
        if isinstance(e.params, Along) and Trait.CONCATENATE in e.traits:
            joined[e.outs[0]] = e
        found = joined.get(e.ins[0]) if isinstance(e.params, Along) and len(e.ins) == 1 else None
        if (found is not None and found.runs_with(e) and found.params == e.params
                and [v.array for v in found.ins] == [v.array for v in e.outs]):
            whole[e] = found
        else:
            needed.update(e.ins)
    if not whole:
        return table
    nowhere = {e for e in whole.values() if e.outs[0] not in needed}
    root, results = views(table), set(table.outputs)
    equations: list[Equation] = []
    for e in table:
        if e in whole:
            for part, out in zip(whole[e].ins, e.outs, strict=True):
                if out in results and root(part) not in table.made:  # what was received is no result
                    equations.append(copied(e, (part,), out, (part.array.size,), _COPY))
                else:
                    equations.append(replace(e, ins=(part,), outs=(out,), work=Work((), (ZERO,), (ZERO,)), traits=_VIEW,
                                             params=None))
        elif e not in nowhere:
            equations.append(e)
    return replace(table, equations=tuple(equations))


def moved_units(table: CostTable) -> CostTable:
    """The program in which a transposition that only moves dimensions of 1 is a copy where it moves them past another such
    dimension that stays between others, as softmax of a single head does: XLA's LayoutAssignment gives its operand another layout
    then, and not where all dimensions of 1 move or stand outside (found by experiment with jax 0.10). What a reduction gave has
    any layout."""
    root = views(table)
    reduced = {out for e in table if isinstance(e.params, Reduction) for out in e.outs}

    def copy(e: Equation) -> Equation:
        size = e.outs[0].array.size
        return replace(e, traits=_COPY, params=None, work=Work((), (size,), (size,)))

    return replace(table, equations=tuple(copy(e) if _moves_past_ones(e) and root(e.ins[0]) not in reduced else e for e in table))


def _moves_past_ones(e: Equation) -> bool:
    if not isinstance(e.params, Permutation) or Trait.VIEW not in e.traits:
        return False
    shape, axes = e.ins[0].array.shape, e.params.axes
    long = [d != 1 for d in shape]
    before = {axis: sum(long[:axis]) for axis, several in enumerate(long) if not several}
    after = {axis: sum(long[d] for d in axes[:place]) for place, axis in enumerate(axes) if not long[axis]}
    return any(before[axis] == after[axis] and 0 < before[axis] < sum(long) for axis in before)


def as_is(table: CostTable) -> CostTable:
    """The program unchanged."""
    return table


def transposed(graph: Graph, anchor: Equation, consumer: Equation, operand: int) -> bool:
    """The transpose of a product is the product of its operands in the other order (XLA, AlgebraicSimplifier)."""
    return product(anchor) and Trait.TRANSPOSE in consumer.traits


def only_transposes(graph: Graph, members: Iterable[Equation]) -> bool:
    """Whether all of these equations transpose."""
    return all(Trait.TRANSPOSE in e.traits for e in members)
