"""One inlined equation to one costed equation: look up its rule, apply it, check what it returns."""

from __future__ import annotations

from typing import Any

from costmodel.dims import Domain
from costmodel.errors import CostModelError, UnknownPrimitive
from costmodel.forms import ZERO
from costmodel.program import Raw
from costmodel.rules import Eqn, lookup
from costmodel.work import Equation, Work


def cost_equation(index: int, r: Raw, domain: Domain, unknown: str, *, folded: bool = False) -> Equation:
    """Apply the rule of ``r``'s primitive. ``folded`` says that the compiler knows its result, so that it costs nothing.

    Raises UnknownPrimitive without a rule (unless ``unknown="warn"``), CostModelError for a rule that states the wrong number of
    operands.
    """
    view = Eqn(r.primitive, tuple(v.array for v in r.ins), tuple(v.array for v in r.outs), domain.assumptions)
    found = lookup(r.primitive)
    if folded:
        return _equation(index, r, _nothing(r), "shape constant", "free")
    if found is None:
        if unknown != "warn":
            raise UnknownPrimitive(unknown_message(r, view))
        return _equation(index, r, _nothing(r), "", "unknown")
    try:
        work = found.function(view, **r.params)
    except UnknownPrimitive as refusal:  # a rule may decline what it cannot see into
        if unknown != "warn":
            raise UnknownPrimitive(f"{refusal} (at {'/'.join(r.path) or 'the top level'})") from None
        return _equation(index, r, _nothing(r), found.name, "unknown")
    if len(work.read) != len(r.ins) or len(work.written) != len(r.outs):
        raise CostModelError(f"rule {found.name} of primitive {r.primitive!r} states {len(work.read)} reads and "
                             f"{len(work.written)} writes for {len(r.ins)} operands and {len(r.outs)} results")
    if any(_is_immediate(v) for v in r.ins):
        read = tuple(ZERO if _is_immediate(v) else e for v, e in zip(r.ins, work.read, strict=True))
        work = Work(work.ops, read, work.written)
    status = "bounded" if r.bounded and found.status == "exact" else found.status
    return _equation(index, r, work, found.name, status)


def _is_immediate(value: Any) -> bool:
    """A scalar literal is part of the program text: it is not read from memory."""
    return value.origin == "literal" and not value.array.shape


def _nothing(r: Raw) -> Work:
    return Work((), (ZERO,) * len(r.ins), (ZERO,) * len(r.outs))


def _equation(index: int, r: Raw, work: Work, rule: str, status: str) -> Equation:
    return Equation(index, r.primitive, r.path, r.phase, r.times, r.ins, r.outs, work, detail(r), rule, status)


def unknown_message(r: Raw, view: Eqn) -> str:
    where = "/".join(r.path) or "the top level"
    shapes = ", ".join(map(str, view.ins))
    return (f"primitive {r.primitive!r} at {where} on ({shapes}) has no cost rule; register one with "
            f"@cm.rule({r.primitive!r}), or pass unknown=\"warn\" to leave it out and be told")


# Parameters worth showing when an equation is explained; the rest is plumbing.
_SHOWN = ("dimension_numbers", "window_strides", "padding", "lhs_dilation", "rhs_dilation", "feature_group_count",
          "batch_group_count", "window_dimensions", "axes", "dimension", "axis", "y", "precision", "permutation", "new_sizes")


def detail(r: Raw) -> str:
    """The parameters that decide the cost, as text."""
    shown = []
    for key in _SHOWN:
        value = r.params.get(key)
        if value is None or (key in ("feature_group_count", "batch_group_count") and str(value) == "1"):
            continue
        if key.endswith("dilation") and all(str(v) == "1" for v in value):
            continue
        if key == "dimension_numbers" and hasattr(value, "_fields"):
            continue
        shown.append(f"{key}={value}".replace(" ", ""))
    return " ".join(shown)
