"""Where jax keeps the order in which it contracts an einsum: what every other order costs more, in closed form.

jax asks opt_einsum, which for up to four operands tries every order, pair by pair, and takes the first of those with the fewest
operations (``paths.optimal``, the choice of ``auto`` up to there): as many as the indices of a pair have combinations, twice that
where an index is summed over (``helpers.flop_count``). For more operands it is guided by sizes on its way.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from sympy import Expr, Mul

from costmodel.symbolic.forms import ONE, ZERO
from costmodel.trace.undecided import Order

_ALL_ARE_TRIED = 4  # operands
Indices = frozenset[str]
Path = tuple[tuple[int, int], ...]  # places of pairs; what a pair gives is put behind the others


def margins(order: Order) -> tuple[Expr, ...] | None:
    """How many operations more than the program's each other order takes, in internal symbols: where all are above zero jax chooses
    the program's order, and elsewhere perhaps another one. None where that is not known."""
    from opt_einsum.parser import parse_einsum_input  # type: ignore[import-untyped]

    shapes = iter(order.shapes)
    given = [_Shaped(tuple(next(shapes))) if x is None else x for x in order.operands]
    terms, result, _ = parse_einsum_input(given)
    operands = terms.split(",")
    if len(operands) > _ALL_ARE_TRIED or order.options.get("optimize") not in ("auto", "optimal", True):
        return None
    sizes: dict[str, Expr] = {}
    for letters, shape in zip(operands, order.shapes, strict=True):
        sizes |= {letter: size for letter, size in zip(letters, shape, strict=True) if sizes.get(letter, ONE) == ONE}
    met: dict[tuple[Indices, Indices], set[tuple[Indices, bool]]] = {}
    costs = dict(_paths(tuple(map(frozenset, operands)), frozenset(result), sizes, met))
    if any(len(ways) > 1 for ways in met.values()):
        return None  # opt_einsum remembers a pair by its indices, whatever is left beside it
    own = tuple(tuple(sorted(pair)) for pair, *_ in order.assumed()[len(operands):])
    if own not in costs:
        return None
    return tuple(dict.fromkeys(d for cost in costs.values() if (d := (cost - costs[own]).expand()) != ZERO))


class _Shaped:
    """An operand as opt_einsum's parser wants one."""

    def __init__(self, shape: tuple[Expr, ...]) -> None:
        self.shape = shape


def _paths(operands: Sequence[Indices], result: Indices, sizes: dict[str, Expr],
           met: dict[tuple[Indices, Indices], set[tuple[Indices, bool]]]) -> Iterator[tuple[Path, Expr]]:
    """Every order of contractions by pairs, with its operations; and what each pair that is ``met`` gives, and whether it sums."""
    if len(operands) == 1:
        yield (), ZERO
    for i, j in itertools.combinations(range(len(operands)), 2):
        rest = (*operands[:i], *operands[i + 1:j], *operands[j + 1:])
        kept, either = result.union(*rest), operands[i] | operands[j]
        sums = bool(operands[i] & operands[j] - kept)
        met.setdefault((operands[i], operands[j]), set()).add((either & kept, sums))
        here = Mul(*(sizes[letter] for letter in either)) * (2 if sums else 1)
        for path, cost in _paths((*rest, either & kept), result, sizes, met):
            yield ((i, j), *path), here + cost
