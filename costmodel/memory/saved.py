"""What a training step keeps from its forward pass for its backward pass, as values, and by published counting rules.

The exact answer is structural: a residual is a value that the forward pass makes (or is given) and that the backward pass, or its
recomputation, reads. It equals what ``jax.vjp`` holds on to.
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, Rational

from costmodel.errors import CostModelError
from costmodel.fusion.graph import aliases
from costmodel.fusion.predicates import computes
from costmodel.rules.params import Contraction, Convolution
from costmodel.rules.traits import Trait
from costmodel.rules.work import CostTable, Equation, Value, total
from costmodel.surface import said
from costmodel.text import did_you_mean

BACKWARD_PHASES = ("backward", "recompute")


def has_backward(table: CostTable) -> bool:
    """Whether the program is a training step."""
    return any(e.phase in BACKWARD_PHASES for e in table)


def residuals(table: CostTable) -> tuple[tuple[Value, tuple[str, ...]], ...]:
    """(value, module path that made it) of each residual once, in order of first use; parameters and inputs have their own
    path. A view of a value is that value.

    Raises CostModelError for a program without a backward pass.
    """
    root = aliases(table)
    if not has_backward(table):
        raise CostModelError(f"this program has no backward pass: {no_backward()}")
    home: dict[Value, Equation] = {out: e for e in table for out in e.outs}
    found: dict[Value, tuple[str, ...]] = {}
    for e in table:
        if e.phase not in BACKWARD_PHASES:
            continue
        for v in e.ins:
            source = root(v)
            if source.origin == "literal" or source in found:
                continue
            maker = home.get(source)
            if maker is None:
                found[source] = tuple(source.name.split("/")[:-1])
            elif maker.phase not in BACKWARD_PHASES and Trait.CONSTANT not in maker.traits:
                found[source] = maker.path
    return tuple(found.items())


def no_backward() -> str:
    """Why a program may have none, and what to do."""
    way = said("analyse a gradient, or use analyze_training", "`costmodel train` analyses a step")
    return f"{way}, with a loss that depends on the parameters, and not through integers, argmax or stop_gradient alone"


def saved_bytes(table: CostTable, rule: str = "residuals") -> Expr:
    """Bytes kept under a rule of :data:`RULES`."""
    if rule not in RULES:
        raise CostModelError(f"unknown rule of saved activations {rule!r};{did_you_mean(rule, RULES)} choose one of "
                             f"{', '.join(RULES)}")
    return RULES[rule](table)


def _residuals(table: CostTable) -> Expr:
    return total(v.bytes for v, _ in residuals(table) if v.is_activation)


def _residuals_and_parameters(table: CostTable) -> Expr:
    return total(v.bytes for v, _ in residuals(table))


def _tinytl(table: CostTable, *, shared: bool = False) -> Expr:
    """Cai et al., TinyTL (NeurIPS 2020), appendix: the input of each trainable convolution or linear layer and of each batch
    normalisation at its own width, and one bit an element for each ReLU. A tensor that feeds two layers counts twice, unless
    ``shared``."""
    forward = [e for e in table if e.phase == ""]
    root = aliases(table)
    kept: list[tuple[Value | Equation, Expr]] = []
    normalised: set[tuple[str, ...]] = _batch_normalisations(table)
    seen_normalisation: set[tuple[str, ...]] = set()
    for e in forward:
        if isinstance(e.params, Contraction | Convolution):
            data = [v for v in e.ins if v.is_activation]
            if data and any(root(v).origin == "parameter" for v in e.ins):
                kept.append((root(data[0]), data[0].bytes))
        elif e.path in normalised and e.path not in seen_normalisation:
            data = [v for v in e.ins if v.is_activation and len(v.array.shape) > 1]
            if data:
                seen_normalisation.add(e.path)
                kept.append((root(data[0]), data[0].bytes))
        if _is_relu(e):
            kept.append((e, e.outs[0].array.size * Rational(1, 8)))
    return total(dict(kept).values() if shared else (size for _, size in kept))


def _batch_normalisations(table: CostTable) -> set[tuple[str, ...]]:
    """Paths of modules that keep a running mean and variance."""
    names: dict[tuple[str, ...], set[str]] = {}
    for v in table.buffers:
        *path, leaf = v.name.split("/")
        names.setdefault(tuple(path), set()).add(leaf)
    return {path for path, leaves in names.items() if {"mean", "var"} <= leaves}


def _is_relu(e: Equation) -> bool:
    """max(x, 0), also as the lower half of a ReLU6 (a clamp from 0)."""
    if Trait.ELEMENTWISE not in e.traits or not e.outs[0].array.shape:
        return False
    if computes(e, frozenset({"max"})):
        return any(v.origin == "literal" for v in e.ins)
    return computes(e, frozenset({"clamp"}))


RULES: dict[str, Callable[[CostTable], Expr]] = {
    "residuals": _residuals,
    "residuals+parameters": _residuals_and_parameters,
    "tinytl": _tinytl,
    "tinytl-shared": lambda table: _tinytl(table, shared=True),
}
