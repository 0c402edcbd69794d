"""A cost as JSON and back, loss-free. Files are data: nothing in them is evaluated, names are checked, types are checked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from costmodel.errors import CostModelError
from costmodel.program.fit.saved import SavedFit, fit_data, fit_from
from costmodel.program.regions import Key, Regions, Signature
from costmodel.program.sound import check_program
from costmodel.rules import STATUSES
from costmodel.rules.branches import Branches, Side
from costmodel.rules.params import FAMILIES, Params, Precision
from costmodel.rules.traits import Trait
from costmodel.rules.work import BITS, ENGINES, ORIGINS, Array, CostTable, Equation, OpKind, Part, Value, Work
from costmodel.symbolic.domain import Domain, Multiple, Relation, Variable
from costmodel.symbolic.forms import Expr
from costmodel.symbolic.tree import MAX_DIGITS, from_tree, from_trees, to_tree
from costmodel.text import shown

if TYPE_CHECKING:
    from costmodel.program.fit.result import Fit

FORMAT = "costmodel-cost-8"
MAX_TEXT = 2_500_000  # characters; the largest model of the zoo has 650 000
MOST_SIDES = 1024  # of a branch: what a damaged file may ask for


@dataclass(frozen=True)
class Saved:
    """What a file holds of a cost: its program, its domain, its name, where it was compared with concrete traces, and the programs
    that hold at points where those were other ones."""

    program: CostTable
    domain: Domain
    name: str
    regions: Regions
    elsewhere: tuple[tuple[Key, Saved], ...] = ()
    fitted: Fit | SavedFit | None = None


def to_json(cost: Saved, indent: int | None = None) -> str:
    """JSON text of a cost: its domain and its equations, with every distinct expression, array and kind stored once."""
    return json.dumps(data_of(cost), indent=indent, separators=None if indent else (",", ":"))


def data_of(cost: Saved, *, whole: bool = False) -> dict[str, Any]:
    """What :func:`to_json` writes, as JSON's dicts and lists. ``whole``: with all that is known of its regions, which is worth
    something only to who can trace the model again."""
    writer = _Writer()
    equations = [writer.equation(e) for e in cost.program]
    program = {
        "equations": equations,
        "inputs": [writer.value(v) for v in cost.program.inputs],
        "outputs": [writer.value(v) for v in cost.program.outputs],
        "dead": [list(d) for d in cost.program.dead],
        "carried": [[writer.value(a), writer.value(b)] for a, b in cost.program.carried],
        "branches": cost.program.branches,
    }
    domain = {
        "variables": [{"name": v.name, "symbol": v.symbol, "divisor": writer.expr(v.divisor), "lower": v.lower, "upper": v.upper,
                       "default": v.default}
                      for v in cost.domain.variables],
        "relations": [{"text": r.text, "difference": writer.expr(r.difference)} for r in cost.domain.relations],
        "multiples": [[writer.expr(m.part), writer.expr(m.whole)] for m in cost.domain.multiples],
    }
    elsewhere = [[dict(point), data_of(there)] for point, there in cost.elsewhere]
    regions = writer.regions(cost.regions, whole)
    return {"format": FORMAT, "name": cost.name, "domain": domain, "regions": regions, "program": program,
            "values": writer.values, "arrays": writer.arrays, "kinds": writer.kinds, "expressions": writer.exprs,
            "elsewhere": elsewhere, "fitted": None if cost.fitted is None else fit_data(cost.fitted, writer.expr)}


def from_json(text: str, limit: int = MAX_TEXT) -> Saved:
    """The cost that :func:`to_json` wrote, of at most ``limit`` characters, so that no file takes long. Raises CostModelError,
    saying what is wrong, for anything else."""
    data = parsed(text, limit)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise CostModelError(f"not a cost: expected format {FORMAT!r}; write it with cost.to_json()")
    with refusals("a damaged cost file", "write it anew with cost.to_json()"):
        return saved_from(data)


@contextlib.contextmanager
def refusals(what: str, instead: str) -> Iterator[None]:
    """Turns whatever is raised by reading data that is no cost into a line for the user: what it is, and what to do instead."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise CostModelError(f"{what}: {type(error).__name__}: {shown(str(error), 200)}; {instead}") from error


def saved_from(data: dict[str, Any], *, whole: bool = False) -> Saved:
    """The cost of which :func:`data_of` gave this. Raises as :func:`refusals` has it for anything else."""
    return _Reader(data, whole).cost()


def parsed(text: str, limit: int) -> Any:
    """What the JSON text says. Raises CostModelError for what is none, is too long, or says one thing twice."""
    if len(text) > limit:
        raise CostModelError(f"a text of {len(text)} characters is more than {limit}: if you trust where it is from, give limit=")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_number, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise CostModelError(f"not JSON: {shown(str(error), 200)}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:60]!r} is there twice in one object")
    return found


def _number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits; the bound is {MAX_DIGITS}")
    return int(digits)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


class _Writer:
    """Numbers what is stored, each distinct thing once."""

    def __init__(self) -> None:
        self.exprs: list[Any] = []
        self.arrays: list[Any] = []
        self.kinds: list[Any] = []
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def _number(self, key: Any, store: list[Any], make) -> int:
        if key not in self._numbers:
            item = make()
            store.append(item)
            self._numbers[key] = len(store) - 1
        return self._numbers[key]

    def expr(self, expr: Expr) -> int:
        return self._number(("expr", expr), self.exprs, lambda: to_tree(expr))

    def regions(self, regions: Regions, whole: bool) -> dict[str, Any]:
        flags = {"stand_ins": regions.by_order, "checked": regions.checked,
                 "everywhere": regions.everywhere}
        if whole:
            return {"boundaries": [self.expr(b) for b in regions.boundaries], "same": sorted(map(sorted, regions.same)),
                    "own": regions.own, "counted": sorted(map(sorted, regions.counted)),
                    "points": [dict(point) for point in sorted(regions.points)], **flags}
        places = regions.boundaries[:regions.own]
        same = regions.own_of(regions.same | regions.counted)
        return {"boundaries": [self.expr(b) for b in places], "same": sorted(map(sorted, same)), **flags}

    def array(self, a: Array) -> int:
        return self._number(("array", a), self.arrays, lambda: [[self.expr(d) for d in a.shape], a.dtype])

    def value(self, v: Value) -> int:
        return self._number(("value", id(v)), self.values, lambda: [self.array(v.array), v.origin, v.name])

    def kind(self, k: OpKind) -> int:
        return self._number(("kind", k), self.kinds, lambda: [k.name, k.engine, k.dtype, k.accumulate, list(k.precision)])

    def equation(self, e: Equation) -> list[Any]:
        work = [[[self.kind(k), self.expr(d), self.expr(v)] for k, d, v in e.work.ops], [self.expr(x) for x in e.work.read],
                [self.expr(x) for x in e.work.written]]
        return [e.primitive, list(e.path), e.phase, self.expr(e.times), [self.value(v) for v in e.ins],
                [self.value(v) for v in e.outs], work, e.detail, e.rule, e.status, list(e.loops),
                sorted(e.traits), self.params(e.params), [list(side) for side in e.branch],
                None if e.part is None else [self.expr(e.part.kept), self.expr(e.part.all)], [self.value(v) for v in e.same]]

    def params(self, params: Params | None) -> list[Any] | None:
        if params is None:
            return None
        return [type(params).__name__, *(self._field(getattr(params, f.name)) for f in fields(params))]

    def _field(self, value: Any) -> Any:
        if isinstance(value, Expr):
            return {"expression": self.expr(value)}
        return [self._field(part) for part in value] if isinstance(value, tuple) else value


class _Reader:
    """Rebuilds what _Writer stored. Every reference, name and type is checked, so that what was read can be priced."""

    def __init__(self, data: dict[str, Any], whole: bool = False) -> None:
        self.data, self.whole = data, whole
        self.exprs = from_trees(_list(data["expressions"]))
        self.arrays = [Array(tuple(_refer(self.exprs, i) for i in shape), _one_of(BITS, dtype)) for shape, dtype in data["arrays"]]
        self.values = [Value(_refer(self.arrays, a), _one_of(ORIGINS, origin), _text(name)) for a, origin, name in data["values"]]
        self.kinds = [OpKind(_text(name), _one_of(ENGINES, engine), _one_of(BITS, dtype),
                             None if accumulate is None else _one_of(BITS, accumulate),
                             _precision(precision))
                      for name, engine, dtype, accumulate, precision in data["kinds"]]

    def cost(self) -> Saved:
        domain, program = self.data["domain"], self.data["program"]
        variables = tuple(Variable(_name(v["name"]), _name(v["symbol"]), _refer(self.exprs, v["divisor"]), _integer(v["lower"]),
                                   None if v["upper"] is None else _integer(v["upper"]),
                                   None if v["default"] is None else _integer(v["default"])) for v in domain["variables"])
        _check_divisors(variables)
        relations = tuple(Relation(_text(r["text"]), _refer(self.exprs, r["difference"])) for r in domain["relations"])
        multiples = tuple(Multiple(_refer(self.exprs, part), _refer(self.exprs, whole)) for part, whole in domain["multiples"])
        unknown = {s.name for e in self.exprs for s in e.free_symbols} - {v.name for v in variables}
        if unknown:
            raise ValueError(f"no domain for {', '.join(sorted(unknown))}")
        table = CostTable(tuple(self.equation(i, e) for i, e in enumerate(program["equations"])),
                          self.values_at(program["inputs"]), self.values_at(program["outputs"]),
                          tuple((_text(name), _natural(count)) for name, count in program["dead"]),
                          tuple((_refer(self.values, a), _refer(self.values, b)) for a, b in program["carried"]),
                          Branches(_one_of(tuple(Branches), program["branches"])),
                          tuple((v.name, v.default) for v in variables if v.default is not None))
        if any(there["elsewhere"] for _, there in self.data["elsewhere"]):
            raise ValueError("a program that holds elsewhere has no others")
        elsewhere = tuple((key_from(point), _Reader(there).cost()) for point, there in self.data["elsewhere"])
        whole, regions = Domain(variables, relations, multiples), self.regions(self.data["regions"])
        check_program(table, whole, regions)
        return Saved(table, whole, _text(self.data["name"]), regions, elsewhere, self.fitted(whole))

    def fitted(self, domain: Domain) -> SavedFit | None:
        """What a fitted cost rests upon."""
        stored = self.data.get("fitted")
        return None if stored is None else fit_from(stored, domain, lambda place: _refer(self.exprs, place))

    def regions(self, stored: Any) -> Regions:
        boundaries = [_refer(self.exprs, i) for i in stored["boundaries"]]
        same = _signatures(stored["same"])
        flags = [stored[name] for name in ("stand_ins", "checked", "everywhere")]
        if not all(isinstance(flag, bool) for flag in flags):
            raise ValueError("stand_ins, checked and everywhere are true or false")
        if not self.whole:
            return Regions(boundaries, stand_ins=flags[0], checked=flags[1], same=same, everywhere=flags[2])
        return Regions(boundaries, stand_ins=flags[0], checked=flags[1], same=same, everywhere=flags[2],
                       own=_natural(stored["own"]), counted=_signatures(stored["counted"]), points=map(key_from, stored["points"]))

    def values_at(self, indices: Iterable[Any]) -> tuple[Value, ...]:
        return tuple(_refer(self.values, i) for i in indices)

    def equation(self, index: int, e: list[Any]) -> Equation:
        primitive, path, phase, times, ins, outs, (ops, read, written), detail, rule, *rest = e
        status, loops, traits, params, branch, part, same = rest
        work = Work(tuple((_refer(self.kinds, k), _refer(self.exprs, d), _refer(self.exprs, v)) for k, d, v in ops),
                    tuple(_refer(self.exprs, x) for x in read), tuple(_refer(self.exprs, x) for x in written))
        if (len(read), len(written)) != (len(ins), len(outs)):
            raise ValueError(f"equation {index} touches {len(read)} + {len(written)} values and has {len(ins)} + {len(outs)}")
        return Equation(index, _text(primitive), tuple(map(_text, path)), _text(phase), _refer(self.exprs, times),
                        self.values_at(ins), self.values_at(outs), work, _text(detail), _text(rule),
                        _one_of((*STATUSES, "unknown"), status),
                        tuple(map(_integer, loops)), frozenset(Trait(_one_of(tuple(Trait), trait)) for trait in traits),
                        self.params(params, tuple(len(self.values[v].array.shape) for v in (*ins, *outs))),
                        tuple(_side(side) for side in branch), self.part(part), self.values_at(same))

    def part(self, stored: Any) -> Part | None:
        if stored is None:
            return None
        kept, every = (_refer(self.exprs, i) for i in stored)
        if every == 0:
            raise ValueError("a part of no elements")
        return Part(kept, every)

    def params(self, stored: Any, ranks: Sequence[int]) -> Params | None:
        """Typed parameters; every field is what its family says, and axes are those of arrays of the equation."""
        if stored is None:
            return None
        name, *values = stored
        family = FAMILIES[_one_of(FAMILIES, name)]
        hints = _hints(family)  # type: ignore[arg-type]
        wanted = fields(family)
        if len(values) != len(wanted):
            raise ValueError(f"{name} has {len(wanted)} parameters, not {len(values)}")
        return family(*(self._field(value, hints[f.name], f"{name}.{f.name}", max(ranks, default=0))
                        for f, value in zip(wanted, values, strict=True)))

    def _field(self, value: Any, hint: Any, what: str, rank: int) -> Any:
        kinds, inner = get_args(hint), get_origin(hint)
        if inner is tuple and isinstance(value, list):
            parts = [kinds[0]] * len(value) if kinds[-1] is ... else kinds
            if len(parts) == len(value):
                return tuple(self._field(v, part, what, rank) for v, part in zip(value, parts, strict=True))
        elif hint is Expr and isinstance(value, dict):
            return _refer(self.exprs, value["expression"])
        elif hint is int and _integer(value) in range(rank):
            return value
        elif (hint is str or str in kinds) and isinstance(value, str):
            return value
        elif type(None) in kinds and value is None:
            return None
        raise ValueError(f"{what} is {str(value)[:60]!r}")


def _signatures(stored: Any) -> list[Signature]:
    return [frozenset(map(_integer, signature)) for signature in _list(stored)]


def key_from(point: Any) -> Key:
    """A point, from an object of its symbols' values."""
    return tuple(sorted((_text(name), _integer(value)) for name, value in point.items()))


@cache
def _hints(family: type[Params]) -> dict[str, Any]:
    return get_type_hints(family)


def _check_divisors(variables: Iterable[Variable]) -> None:
    """Raises ValueError for a divisor that is not at least 1, or that needs its own symbol."""
    left = {v.name: v.divisor for v in variables}
    for name, divisor in left.items():
        if divisor.is_number and not (divisor.is_Integer and divisor >= 1):
            raise ValueError(f"the divisor of {name} is {str(divisor)[:60]}, not an integer of at least 1")
    while left:
        ready = [name for name, divisor in left.items() if not {s.name for s in divisor.free_symbols} & left.keys()]
        if not ready:
            raise ValueError(f"the divisors of {', '.join(sorted(left))} need each other")
        for name in ready:
            del left[name]


def _refer(store: Sequence[Any], index: Any) -> Any:
    if _integer(index) not in range(len(store)):
        raise ValueError(f"reference {index} is outside the {len(store)} stored")
    return store[index]


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{str(value)[:60]!r} is no integer")
    return value


def _natural(value: Any) -> int:
    if _integer(value) < 0:
        raise ValueError(f"the count {value} is negative")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{str(value)[:60]!r} is no list")
    return value


def _name(value: Any) -> str:
    """A name that an expression may have."""
    return from_tree(_text(value)).name


def _side(stored: Any) -> Side:
    cond, which, of = map(_integer, stored)
    if not 0 <= which < of <= MOST_SIDES:
        raise ValueError(f"branch {which} of {of}")
    return Side(cond, which, of)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:60]!r} is no text")
    return value


def _precision(pair: Any) -> Precision:
    left, right = (None if p is None else _text(p) for p in pair)
    return left, right


def _one_of(known: Iterable[str], value: Any) -> str:
    if _text(value) not in known:
        raise ValueError(f"{value[:60]!r} is none of {', '.join(known)}")
    return value
