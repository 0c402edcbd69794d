"""A cost as JSON and back, loss-free. Files are data: nothing in them is evaluated, names are checked, types are checked."""

from __future__ import annotations

import json
from typing import Any

from costmodel.cost import Cost
from costmodel.dims import Domain, Relation, Variable
from costmodel.errors import CostModelError
from costmodel.forms import Expr
from costmodel.tree import from_tree, to_tree
from costmodel.work import Array, CostTable, Equation, OpKind, Value, Work

FORMAT = "costmodel-cost-1"


def to_json(cost: Cost, indent: int | None = None) -> str:
    """JSON text of a cost: its domain and its equations, with every distinct expression, array and kind stored once."""
    writer = _Writer()
    equations = [writer.equation(e) for e in cost.program]
    program = {
        "equations": equations,
        "inputs": [writer.value(v) for v in cost.program.inputs],
        "outputs": [writer.value(v) for v in cost.program.outputs],
        "dead": [list(d) for d in cost.program.dead],
        "carried": [[writer.value(a), writer.value(b)] for a, b in cost.program.carried],
    }
    domain = {
        "variables": [{"name": v.name, "symbol": v.symbol, "divisor": writer.expr(v.divisor), "lower": v.lower, "upper": v.upper}
                      for v in cost.domain.variables],
        "relations": [{"text": r.text, "difference": writer.expr(r.difference)} for r in cost.domain.relations],
    }
    return json.dumps({"format": FORMAT, "name": cost.name, "domain": domain, "verified": sorted(cost.verified), "program": program,
                       "values": writer.values, "arrays": writer.arrays, "kinds": writer.kinds, "expressions": writer.exprs},
                      indent=indent, separators=None if indent else (",", ":"))


def from_json(text: str) -> Cost:
    """The cost that :func:`to_json` wrote. Raises CostModelError, saying what is wrong, for anything else."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise CostModelError(f"not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise CostModelError(f"not a cost: expected format {FORMAT!r}; write it with cost.to_json()")
    try:
        return _Reader(data).cost()
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CostModelError(f"a damaged cost file: {type(error).__name__}: {error}; write it anew with cost.to_json()") from error


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

    def array(self, a: Array) -> int:
        return self._number(("array", a), self.arrays, lambda: [[self.expr(d) for d in a.shape], a.dtype])

    def value(self, v: Value) -> int:
        return self._number(("value", id(v)), self.values, lambda: [self.array(v.array), v.origin, v.name])

    def kind(self, k: OpKind) -> int:
        return self._number(("kind", k), self.kinds, lambda: [k.name, k.engine, k.dtype, k.accumulate, k.precision])

    def equation(self, e: Equation) -> list[Any]:
        work = [[[self.kind(k), self.expr(d), self.expr(v)] for k, d, v in e.work.ops], [self.expr(x) for x in e.work.read],
                [self.expr(x) for x in e.work.written]]
        return [e.primitive, list(e.path), e.phase, self.expr(e.times), [self.value(v) for v in e.ins],
                [self.value(v) for v in e.outs], work, e.detail, e.rule, e.status]


class _Reader:
    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.exprs = [from_tree(t) for t in data["expressions"]]
        self.arrays = [Array(tuple(self.exprs[i] for i in shape), str(dtype)) for shape, dtype in data["arrays"]]
        self.values = [Value(self.arrays[a], str(origin), str(name)) for a, origin, name in data["values"]]
        self.kinds = [OpKind(*kind) for kind in data["kinds"]]

    def cost(self) -> Cost:
        domain, program = self.data["domain"], self.data["program"]
        variables = tuple(Variable(v["name"], v["symbol"], self.exprs[v["divisor"]], v["lower"], v["upper"])
                          for v in domain["variables"])
        relations = tuple(Relation(r["text"], self.exprs[r["difference"]]) for r in domain["relations"])
        table = CostTable(tuple(self.equation(i, e) for i, e in enumerate(program["equations"])),
                          tuple(self.values[i] for i in program["inputs"]), tuple(self.values[i] for i in program["outputs"]),
                          tuple((str(name), int(count)) for name, count in program["dead"]),
                          tuple((self.values[a], self.values[b]) for a, b in program["carried"]))
        return Cost(table, Domain(variables, relations), name=str(self.data["name"]), verified=self.data["verified"])

    def equation(self, index: int, e: list[Any]) -> Equation:
        primitive, path, phase, times, ins, outs, (ops, read, written), detail, rule, status = e
        work = Work(tuple((self.kinds[k], self.exprs[d], self.exprs[v]) for k, d, v in ops), tuple(self.exprs[x] for x in read),
                    tuple(self.exprs[x] for x in written))
        return Equation(index, primitive, tuple(path), phase, self.exprs[times], tuple(self.values[v] for v in ins),
                        tuple(self.values[v] for v in outs), work, detail, rule, status)
