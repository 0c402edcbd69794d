"""What fits: the largest batch, resolution or context in a memory, and whether a model fits a device."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import sympy
from sympy import Expr, Integer

from costmodel.errors import CostModelError, DomainError
from costmodel.hardware import Hardware, load
from costmodel.hardware.schema import UNITS
from costmodel.pricing.core import Point, Symbolic
from costmodel.pricing.workload import metrics
from costmodel.rules.work import total
from costmodel.sheets import Column, Drawn, Facts, heads
from costmodel.solve.line import DOUBLINGS, first_true, grows, line_of, linear
from costmodel.surface import named
from costmodel.symbolic.domain import Variable
from costmodel.symbolic.forms import evaluate, floor_div
from costmodel.symbolic.forms import symbol as internal_symbol
from costmodel.text import did_you_mean

_SIZES = {unit: factor for unit, (base, factor) in UNITS.items() if base == "B"}
# Text that means a size and is none: a sign, an exponent, no finite number. A device may be called nano.
_NO_SIZE = re.compile(r"(?i)[-+].*|\.?\d[\d.e+-]*\s*[kmgt]?i?b|(?:nan|inf(?:inity)?)\s*(?:[kmgt]?i?b)?")
# Uses of memory that are values the program receives, by their origins.
_RECEIVED = {"weights": ("parameter", "buffer"), "weights+cache": ("parameter", "buffer", "input")}


@dataclass(frozen=True)
class Fit(Facts):
    """The largest value of a symbol whose memory fits.

    answer:     the value; None where not even the least one fits.
    used:       bytes at the answer, exactly (None without one); ``capacity`` is what there is.
    next:       the next value of the domain; None where the domain ends with the answer.
    next_used:  bytes there, more than the capacity.
    formula:    the answer in the other symbols, where the use is linear in this one; the domain's bounds apart.
    maximal:    no larger value fits; False where that could not be proved because the use may fall again further up.
    smaller:    (value, bytes) of a quarter and a half of the answer, for the picture.
    """

    ASKED = "largest that fits"
    HEADS = heads(capacity=Column("capacity", "B"), answer=Column("largest"), used=Column("memory there", "B"),
                  next=Column("next value"), next_used=Column("memory there, too much", "B"), formula=Column("closed form"),
                  maximal=Column("none larger fits"))

    symbol: str
    capacity: int
    answer: int | None
    used: int | None
    next: int | None
    next_used: int | None
    formula: Expr | None
    maximal: bool
    smaller: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    def drawn(self) -> Drawn:
        """Bytes at a quarter of the answer, at half of it, there and at the next value, beside what there is."""
        values = [(f"{self.symbol} = {value}", float(used)) for value, used in self.smaller]
        values += [(f"{self.symbol} = {self.answer}", float(self.used))] if self.used is not None else []
        values += [(f"{self.symbol} = {self.next}, too large", float(self.next_used))] if self.next_used is not None else []
        return Drawn("What fits", "memory", "B", tuple(values), (("capacity", float(self.capacity)),))

    def __str__(self) -> str:
        parts = []
        if self.answer is not None and self.used is not None:
            parts.append(f"{self.symbol} = {self.answer}: {self.used:,} of {self.capacity:,} B")
        else:
            parts.append(f"no {self.symbol} fits in {self.capacity:,} B")
        if self.next is not None and self.next_used is not None:
            parts.append(f"{self.symbol} = {self.next} takes {self.next_used:,} B")
        else:
            parts.append("the domain ends there")
        return "; ".join(parts) + ("" if self.maximal else "; a larger one that fits again is not excluded")


def max_fit(cost: Symbolic, symbol: str, memory: int | str | Hardware, *, at: Mapping[str, int] | None = None,
            uses: str | Expr = "live_peak") -> Fit:
    """The largest batch, resolution or context that a memory holds.

    memory: bytes, a size such as "80GB" (80·10⁹) or "80GiB" (80·2³⁰), or a device, whose capacity counts.
    at:     values of all other symbols.
    uses:   "live_peak"; "weights" (parameters and buffers); "weights+cache" (these and the inputs: what one call receives, for a
            decoding step the weights and the key-value cache); a metric in bytes, with its form after a colon ("saved:tinytl"),
            or "activations:RULE", at the width of the model's data; or an expression of bytes in the cost's symbols.

    Raises CostModelError where the use does not depend on the symbol, or the memory is not known.
    """
    if not isinstance(cost, Symbolic):
        raise CostModelError("the largest value is asked of formulas: max_fit(cost, ...), with the other symbols in at={...}")
    return largest(cost, symbol, memory, at or {}, str(uses),
                   lambda there: bytes_used(cost if isinstance(uses, Expr) else there, uses))


def largest(cost: Symbolic, symbol: str, memory: int | str | Hardware, at: Mapping[str, int], uses: str,
            bytes_of: Callable[[Symbolic], Expr]) -> Fit:
    """:func:`max_fit` of what a function says that a program takes, in internal symbols; ``uses`` is what people call it."""
    line, room, expr = line_of(cost, symbol, at), capacity(memory), bytes_of(cost)
    used = line.along(expr)
    if line.unknown not in used.free_symbols:
        raise CostModelError(f"{uses} does not depend on {symbol}: it takes {size(int(used))} whatever {symbol} is")
    formula, parts = None, linear(used, line.unknown)
    if parts:
        if parts[0] < 0:
            raise CostModelError(f"{uses} falls when {symbol} grows: there is no largest {symbol} that fits")
        most = int((room - parts[1]) // parts[0])  # the closed form
        answer = most if line.last is None else min(most, line.last)
        if line.scale == 1 and (general := linear(expr.expand(), line.unknown)):
            units = floor_div(*_whole(Integer(room) - general[1], general[0]))
            formula = cost.domain.in_user_symbols(line.variable.divisor * units)
    else:
        above = first_true(lambda i: evaluate(used, {line.unknown: i}) > room, line.first, line.last)
        answer = above - 1 if above is not None else line.first + 2**DOUBLINGS if line.last is None else line.last

    def taken(i: int) -> int:
        """Bytes at a value, of the program that the model is there."""
        point = line.point(i)
        return _bytes_at(point, expr if point.cost is cost else bytes_of(point.cost))

    def around() -> tuple[int | None, int | None, int | None]:
        """The value after the answer, and the bytes at both."""
        after = None if line.last is not None and answer >= line.last else max(answer + 1, line.first)
        return after, taken(answer) if answer >= line.first else None, None if after is None else taken(after)

    after, here, there = around()
    another = line.another(answer, after)
    if another:  # the formula is not that of the program there: each value is asked by itself
        above = first_true(lambda i: taken(i) > room, line.first, line.last)
        limit = line.last if above is None else above - 1
        if limit is not None:
            answer, formula = limit, None
            after, here, there = around()
    if not ((here is None or here <= room) and (there is None or there > room)):
        raise CostModelError(f"{uses} is not monotone in {symbol}: it takes {here} B at {line.value(answer)} and {there} B at the "
                             "next value; give another use")
    smaller = [] if here is None else sorted({max(answer // part, line.first) for part in (4, 2)} - {answer})
    return Fit(symbol, room, None if here is None else line.value(answer), here, None if after is None else line.value(after),
               there, formula, grows(used) and not another, tuple((line.value(i), taken(i)) for i in smaller))


@dataclass(frozen=True)
class Need(Facts):
    """What a memory must hold, and what it can, in bytes."""

    ASKED = "whether it fits"
    HEADS = heads(used=Column("used", "B"), capacity=Column("capacity", "B"))

    what: str
    used: int
    capacity: int

    @property
    def ok(self) -> bool:
        """Whether it fits."""
        return self.used <= self.capacity

    @property
    def ratio(self) -> float:
        """The part of the capacity that is used; above 1 it does not fit."""
        return self.used / self.capacity

    def drawn(self) -> Drawn:
        """The part of the memory that is used."""
        return Drawn("What fits", "part of the memory that is used", "", ((self.what, self.ratio),), (("all of it", 1.0),))

    def __str__(self) -> str:
        verdict = "fits" if self.ok else "does not fit"
        return f"{self.what}: {of_all(self.used, self.capacity)}, {self.ratio:.2f}x, {verdict}"


def fits(point: Point, memory: int | str | Hardware, *, flash: int | str | None = None,
         uses: str | Expr | None = None) -> tuple[Need, ...]:
    """Does a program fit, memory by memory: what ``uses`` says (as for :func:`max_fit`) in the memory, the weights in the flash.

    memory: bytes, a size such as "320kB", or a device, whose flash counts too where it has one.
    flash:  bytes, or a size; without any the weights are not looked at, since ``uses`` may hold them.
    uses:   by default "activations:peak" where there is a flash that holds the weights, else "live_peak", which has them.
    """
    if not isinstance(point, Point):
        raise CostModelError("whether a program fits is asked at a point: fits(cost.at(...), ...)")
    if isinstance(memory, str) and not is_size(memory) and not _half_a_size(memory):
        memory = load(memory)
    if isinstance(memory, Hardware) and flash is None:
        flash = next((int(level.capacity.value) for level in memory.levels if level.name == "flash"), None)
    uses = uses if uses is not None else "live_peak" if flash is None else "activations:peak"
    needs = [Need(str(uses), _bytes_at(point, bytes_used(point.cost, uses)), capacity(memory))]
    if flash is not None:
        needs.append(Need("weights", _bytes_at(point, bytes_used(point.cost, "weights")), capacity(flash)))
    return tuple(needs)


def _bytes_at(point: Point, expr: Expr) -> int:
    """Whole bytes: narrow types may leave a part of one."""
    return math.ceil(point.evaluate(expr))


def _whole(above: Expr, below: Expr) -> tuple[Expr, Expr]:
    """A quotient's parts without fractions: bits of narrow types are eighths of a byte."""
    numerator, denominator = sympy.fraction(sympy.together(above / below))
    return numerator.expand(), denominator.expand()


def capacity(memory: int | str | Hardware) -> int:
    """Bytes of a memory: a number, a size as text, or a device's main memory.

    >>> capacity("80GB"), capacity("80 GiB"), capacity("h100-sxm")
    (80000000000, 85899345920, 80000000000)
    """
    if isinstance(memory, int):
        if memory <= 0:
            raise CostModelError(f"a memory of {memory} B holds nothing: give a size such as 80GB, or a device")
        return memory
    if isinstance(memory, str) and (match := is_size(memory)):
        if match[2] not in _SIZES:
            raise CostModelError(f"{memory!r} has no unit of memory: write 80GB (80·10⁹ bytes) or 80GiB (80·2³⁰); the units are "
                                 f"{', '.join(_SIZES)}")
        return capacity(int(Decimal(match[1]) * _SIZES[match[2]]))
    if isinstance(memory, str) and (missing := _half_a_size(memory)):
        raise CostModelError(f"{memory!r} has no {missing}: write a number with its unit, as 80GB; the units are "
                             f"{', '.join(_SIZES)}")
    if isinstance(memory, str) and _NO_SIZE.fullmatch(memory.strip()):
        raise CostModelError(f"{memory!r} is no size: write a positive number in digits with its unit, as 80GB")
    if isinstance(memory, str):
        memory = load(memory)
    if not isinstance(memory, Hardware):
        raise CostModelError(f"{memory!r} is no memory: give whole bytes, a size such as 80GB, or a device")
    if memory.capacity is None:
        raise CostModelError(f"{memory.name} states no capacity: give the memory's size, such as 80GB")
    return int(memory.capacity.value)


def is_size(text: str) -> re.Match[str] | None:
    """A number and a unit, apart; a device's name is none."""
    return re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text.strip())


def _half_a_size(text: str) -> str:
    """What a size lacks that is no more than a number or a unit; empty for any other text."""
    if text.strip().replace(".", "", 1).isdigit():
        return "unit"
    return "number" if text.strip() in _SIZES else ""


def bytes_used(cost: Symbolic, uses: str | Expr) -> Expr:
    """What :func:`max_fit` calls ``uses``, as bytes in internal symbols."""
    if isinstance(uses, Expr):
        unknown = {s.name for s in uses.free_symbols} - set(cost.symbols)
        if unknown:
            near = did_you_mean(sorted(unknown)[0], cost.symbols)
            raise DomainError(f"unknown symbol {', '.join(sorted(unknown))}:{near} the symbols here are {', '.join(cost.symbols)}")
        return uses.xreplace({internal_symbol(v.symbol): _user_value(cost, v) for v in cost.domain.variables}).expand()
    if named("use of memory", uses, "live_peak") in _RECEIVED:
        return total(v.bytes for v in cost.program.inputs if v.origin in _RECEIVED[uses])
    metric, option = metrics.get_form(uses)
    expr = cost.price(metric.name, **option)
    if metric.unit == "elements":
        return (expr * sympy.Rational(_data_bits(cost), 8)).expand()
    if metric.unit != "B":
        raise CostModelError(f"{metric.name} is in {metric.unit}, not in bytes: it fills no memory")
    return expr


def _user_value(cost: Symbolic, v: Variable) -> Expr:
    """A symbol of the user's in internal variables, by which its divisor is written already."""
    return v.divisor * internal_symbol(v.name)


def _data_bits(cost: Symbolic) -> int:
    """Bits of an element of what the model works on: its widest activation is no narrower than its widest input."""
    return max((v.array.bits for v in cost.program.inputs if v.origin == "input"), default=8)


def size(count: float) -> str:
    """Bytes as people read them, decimal: 77.90 GB."""
    for unit in ("GB", "MB", "kB"):
        if count >= (scale := float(UNITS[unit][1])):
            return f"{count / scale:.2f} {unit}"
    return f"{count:.0f} B"


def of_all(used: float, whole: float) -> str:
    """Bytes of those that there are; to the byte where they would read the same and are not.

    >>> of_all(77.9e9, 80e9), of_all(80_000_000_001, 80e9)
    ('77.90 GB of 80.00 GB', '80,000,000,001 B of 80,000,000,000 B')
    """
    short = size(used), size(whole)
    return " of ".join(short if short[0] != short[1] or used == whole else (f"{used:,.0f} B", f"{whole:,.0f} B"))
