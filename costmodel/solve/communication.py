"""Where computing begins to take longer than sending: a value of a symbol, in closed form in the mesh's axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sympy import Expr, Integer, Max, Mul

from costmodel.errors import CostModelError, DomainError
from costmodel.hardware import Hardware, load
from costmodel.pricing.clock import clock
from costmodel.pricing.closed import in_the_limit, sending
from costmodel.pricing.core import Symbolic
from costmodel.pricing.workload import policy_of
from costmodel.symbolic.forms import symbol as symbol_of
from costmodel.text import did_you_mean

_UNITS = ("matrix", "compute", "vector")


@dataclass(frozen=True)
class CommunicationBound:
    """Below ``value`` of a symbol sending takes longer than computing, if each goes on by itself; an expression in what is left
    unbound. ``each``: the same for one of the devices along the axes ``per``."""

    symbol: str
    value: Expr
    per: tuple[str, ...] = ()

    @property
    def each(self) -> Expr:
        """How many of the symbol each device has, along the axes that share it."""
        return (self.value / Mul(*map(symbol_of, self.per))).expand()

    def __str__(self) -> str:
        share = f", which is {_number(self.each)} for each device along {', '.join(self.per)}" if self.per else ""
        return f"communication binds below {self.symbol} = {_number(self.value)}{share}"


def _number(value: Expr) -> str:
    return f"{float(value):.4g}" if value.is_number else str(value)


def communication_bound(cost: Symbolic, symbol: str, device: str | Hardware, *, at: Mapping[str, int] | None = None,
                        per: str | Sequence[str] = (), large: str | Sequence[str] = (), computing: Symbolic | None = None,
                        topology: Mapping[str, str] | None = None, policy: str | None = None) -> CommunicationBound:
    """The value of a symbol below which a sharded program sends for longer than it computes (its contractions, at the peak of
    their unit; memory apart).

    at:        values of other symbols; axes of the mesh that are in neither stay symbols.
    per:       axes that share the symbol: the value is told for one device along them, too.
    large:     axes of which the limit is taken: (p - 1)/p is 1 then.
    computing: another program, whose computing counts instead: where sending this one's data beats computing that.
    topology:  which links the axes are laid on.

    Raises DomainError for an unknown symbol; CostModelError where nothing is sent, or the times are not linear in the symbol.
    """
    found = load(device) if isinstance(device, str) else device
    found = found.laid(topology) if topology else found
    if symbol not in cost.symbols:
        raise DomainError(f"{symbol} is no symbol here:{did_you_mean(symbol, cost.symbols)} there are {', '.join(cost.symbols)}")
    axes, limits = _names(per), _names(large)
    unknown, bound = symbol_of(symbol), {symbol_of(name): Integer(value) for name, value in (at or {}).items()}
    lanes = [in_the_limit(lane.subs(bound), limits) for lane in sending(cost, found, policy).values()]
    if not lanes:
        raise CostModelError(f"{cost.name} sends nothing to other devices")
    busy = _computing(cost if computing is None else computing, found, policy).subs(bound)
    if computing is not None:
        busy = in_the_limit(busy, limits)
    values = [_crossing(busy, lane, unknown, limits) for lane in dict.fromkeys(lanes)]
    return CommunicationBound(symbol, values[0] if len(values) == 1 else Max(*values), axes)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(given.replace(",", " ").split()) if isinstance(given, str) else tuple(given)


def _computing(cost: Symbolic, device: Hardware, policy: str | None) -> Expr:
    whole = clock(cost.program, device, policy_of(device, policy))
    found = {unit: cost.evaluate(whole.busy(unit)) for unit in _UNITS if unit in whole.units}
    if not found:
        raise CostModelError(f"{cost.name} computes nothing")
    return next(iter(found.values()))


def _crossing(busy: Expr, lane: Expr, unknown: Expr, large: Sequence[str]) -> Expr:
    difference = (busy - lane).expand()
    slope, constant = difference.coeff(unknown, 1), difference.coeff(unknown, 0)
    if slope == 0 or (difference - slope * unknown - constant).expand() != 0:
        raise CostModelError(f"sending and computing do not cross along {unknown}: their difference is {difference}")
    return (-constant / slope).expand()
