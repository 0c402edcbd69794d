"""How a model is trained, by the names that the command line has: the loss, the optimizer, what is computed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from costmodel.errors import CostModelError
from costmodel.text import did_you_mean

OPTIMIZERS = ("adamw", "adam", "sgd", "lion", "adafactor", "none")


@dataclass(frozen=True)
class Loss:
    """A loss by name: ``of(outputs, *targets)`` is a scalar, and ``targets`` makes the targets from the abstract outputs."""

    of: Callable[..., Any]
    targets: Callable[[Any], tuple[Any, ...]]
    summary: str


@dataclass(frozen=True)
class Recipe:
    """A training step by names.

    optimizer:     of optax, with its usual arguments (sgd: momentum 0.9); "none" stops at the gradients.
    loss:          a name of :data:`LOSSES`, or ``loss(outputs, *targets)`` -> scalar.
    targets:       abstract arrays that a loss of the user's own takes; a named one has those that belong to the outputs.
    remat:         what the backward pass computes again, a name of :data:`costmodel.trace.remat.REMAT`.
    microbatches, compute_dtype: as for :func:`costmodel.analyze_training`.
    """

    optimizer: str = "adamw"
    loss: str | Callable[..., Any] = "squares"
    targets: tuple[Any, ...] = ()
    remat: str = "none"
    microbatches: int = 1
    compute_dtype: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """As options of an analysis of a training step. Raises CostModelError for a name that is none."""
        if callable(self.loss):
            loss, targets = self.loss, self.targets
        else:
            named = named_loss(self.loss)
            if self.targets:
                raise CostModelError(f"the loss {self.loss!r} has targets of its own: leave out --target, or give a loss as "
                                     "module:function")
            loss, targets = named.of, named.targets  # type: ignore[assignment]  # known when the outputs are
        return {"loss": loss, "targets": targets, "optimizer": _optimizer(self.optimizer), "remat": self.remat,
                "microbatches": self.microbatches, "compute_dtype": self.compute_dtype}

    def __str__(self) -> str:
        loss = self.loss if isinstance(self.loss, str) else getattr(self.loss, "__name__", "own loss")
        parts = [f"{self.optimizer} step" if self.optimizer != "none" else "gradients"]
        parts += [f"loss {loss}"] if loss != "squares" else []
        parts += [f"remat {self.remat}"] if self.remat != "none" else []
        parts += [f"{self.microbatches} microbatches"] if self.microbatches > 1 else []
        parts += [f"computed in {self.compute_dtype}"] if self.compute_dtype else []
        return ", ".join(parts)


def named_loss(name: str) -> Loss:
    """The loss of that name. Raises CostModelError naming those that there are."""
    if name not in LOSSES:
        raise CostModelError(f"no loss is called {name!r};{did_you_mean(name, LOSSES)} choose one of {', '.join(LOSSES)}, or give "
                             "a function as module:function")
    return LOSSES[name]


def _optimizer(name: str) -> Any:
    import optax

    if name not in OPTIMIZERS:
        raise CostModelError(f"no optimizer is called {name!r};{did_you_mean(name, OPTIMIZERS)} choose one of "
                             f"{', '.join(OPTIMIZERS)}")
    if name == "none":
        return None
    return optax.sgd(0.1, momentum=0.9) if name == "sgd" else getattr(optax, name)(1e-3)


def _first(outputs: Any) -> Any:
    import jax

    return jax.tree.leaves(outputs)[0]


def _squares(outputs: Any) -> Any:
    return (_first(outputs) ** 2).mean()


def _mean_squares(outputs: Any, targets: Any) -> Any:
    return ((_first(outputs) - targets) ** 2).mean()


def _cross_entropy(outputs: Any, labels: Any) -> Any:
    import optax

    return optax.softmax_cross_entropy_with_integer_labels(_first(outputs), labels).mean()


def _labels(outputs: Any) -> tuple[Any, ...]:
    """One integer for each row of logits: a class, or a token."""
    import jax

    logits = _first(outputs)
    if len(logits.shape) < 2:
        raise CostModelError(f"cross-entropy needs logits of shape (batch, …, classes), and the model gives {tuple(logits.shape)}: "
                             "give another --loss")
    return (jax.ShapeDtypeStruct(logits.shape[:-1], "int32"),)


def _alike(outputs: Any) -> tuple[Any, ...]:
    import jax

    first = _first(outputs)
    return (jax.ShapeDtypeStruct(first.shape, first.dtype),)


LOSSES = {
    "squares": Loss(_squares, lambda outputs: (), "the mean of squares of the first result, without targets"),
    "mean-squares": Loss(_mean_squares, _alike, "the mean of squares of its differences from targets of its shape"),
    "cross-entropy": Loss(_cross_entropy, _labels, "the softmax cross-entropy of logits with integer labels, a mean"),
}
