"""What jax refuses is told with the line of the model's source, and with a cure that works: each is tried."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
import refused_models as models
from jax import lax

import costmodel as cm
from costmodel.trace.places import place_of


def refusal(model: Callable[..., Any], x: Any) -> str:
    with pytest.raises(cm.TraceError) as raised:
        cm.analyze(model, x, fit="never")
    assert "\n" not in str(raised.value)
    return str(raised.value)


def line_of(model: Callable[..., Any], text: str) -> int:
    """The line of the file in which a model says this."""
    source = open(models.__file__, encoding="utf-8").read().splitlines()
    return next(n for n, line in enumerate(source, start=1) if n > model.__code__.co_firstlineno and text in line)


# By model: the expression that is refused, and words of the cure. Another way to write it is "…_mended".
WRITTEN = {
    "integer": ("int(x.shape[0])", "`int()` of a dimension: leave it out, and divide by `//`"),
    "length": ("len(x)", "use `x.shape[0]`"),
    "steps": ("range(x.shape[0])", "use lax.scan or lax.fori_loop"),
    "rows": ("for row in x:", "use lax.scan or jax.vmap"),
    "real": ("float(x.shape[1])", "`jnp.sqrt(n)`"),
    "root": ("math.sqrt(x.shape[1])", "`jnp.sqrt(n)`"),
    "power": ("x.shape[1] ** 0.5", "`jnp.sqrt(n)`"),
    "host": ("np.zeros(x.shape)", "use `jnp.zeros` in place of `np.zeros`"),
    "half": ("jnp.zeros((x.shape[0] / 2,))", "use `//` in place of `/`"),
    "rounded": ("x[: round(x.shape[0] * 0.5)]", "use `//` in place of `/`, `round` or a factor such as 0.5"),
    "kinds": ("jnp.unique(x)", "`jnp.unique` is depends on data: give it size=…"),
    "places": ("jnp.nonzero(x > 0)", "`jnp.nonzero` is depends on data: give it size=…"),
    "repeated": ("[x.sum()] * x.shape[0]", "use jnp.broadcast_to or jnp.repeat"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_line_and_another_way_to_write_it(name: str) -> None:
    model, (expression, cure) = getattr(models, name), WRITTEN[name]
    x = cm.spec(cm.dims("n d"))
    message = refusal(model, x)
    assert f"at refused_models.py:{line_of(model, expression)}: `{expression}`" in message and cure in message
    cm.analyze(getattr(models, f"{name}_mended"), x, fit="never")


# By model: what to declare; each of the declarations is tried.
DECLARED = {
    "compared": ("declare n <= 512 or n >= 513: cm.dims('n', max=512) or cm.dims('n', min=513)", [{"max": 512}, {"min": 513}]),
    "table": ("declare n <= 512 or n >= 513: cm.dims('n', max=512) or", [{"max": 512}]),
}


@pytest.mark.parametrize("name", DECLARED)
def test_the_bound_that_decides(name: str) -> None:
    cure, declarations = DECLARED[name]
    d = cm.dims("d")
    assert cure in refusal(getattr(models, name), cm.spec((cm.dims("n"), d)))
    for declaration in declarations:
        cm.analyze(getattr(models, name), cm.spec((cm.dims("n", **declaration), d)), fit="never")


def test_the_bound_of_a_multiple_is_in_the_users_symbol() -> None:
    message = refusal(models.compared, cm.spec((cm.dims("n", multiple_of=8), cm.dims("d"))))
    assert "cm.dims('n', max=512)" in message
    cm.analyze(models.compared, cm.spec((cm.dims("n", multiple_of=8, max=512), cm.dims("d"))), fit="never")


def test_which_of_two_is_greater() -> None:
    n, d = cm.dims("n d")
    assert "cm.dims('d n', where='d >= 2*n')" in refusal(models.related, cm.spec((n, d)))
    d, n = cm.dims("d n", where="d >= 2*n")
    cm.analyze(models.related, cm.spec((n, d)), fit="never")


def test_the_divisor_that_decides() -> None:
    n, d = cm.dims("n d")
    assert "declare 32 | d or 32 | n: cm.dims('d', multiple_of=32)" in refusal(models.divided, cm.spec((n, d)))
    cm.analyze(models.divided, cm.spec((n, cm.dims("d", multiple_of=32))), fit="never")
    assert "declare 8 | n" in refusal(models.divided, cm.spec((n, 4)))
    cm.analyze(models.divided, cm.spec((cm.dims("n", multiple_of=8), 4)), fit="never")


@pytest.mark.parametrize("name, expression", [("by_value", "x.sum() > 0"), ("by_item", "x.max().item()")])
def test_values_of_data(name: str, expression: str) -> None:
    message = refusal(getattr(models, name), cm.spec(cm.dims("n d")))
    assert f"`{expression}`" in message and "use jnp.where or lax.cond" in message


def test_an_integer_where_nothing_that_is_declared_helps() -> None:
    message = refusal(models.constant, cm.spec(cm.dims("n d")))
    assert "takes n for an integer: give it as one" in message and "declare more" not in message


@pytest.mark.slow
def test_every_refusal_of_jaxs_functions_over_symbols_has_its_line_and_a_cure() -> None:
    """Each public function of jnp, lax, jax.nn, jnp.linalg and jnp.fft, called with an array, two arrays, or an array and integers:
    whatever jax says of a symbol or of data that it does not know."""
    x, indices = cm.spec(cm.dims("n d")), cm.spec((cm.dims("n"),), "int32")
    met = []
    for module in (jnp, lax, jax.nn, jnp.linalg, jnp.fft):
        for name, function in vars(module).items():
            if name.startswith("_") or not callable(function) or isinstance(function, type):
                continue
            for arrays in ((x,), (x, x), (x, indices)):
                said = _said(function, arrays)
                if re.search("DimExpr|Symbolic|Concretization|nconclusive|Tracer[A-Z]", said) and "argument" not in said:
                    met.append((f"{module.__name__}.{name}", said))
    without = [(name, said) for name, said in met if "; " not in said.split(", at test_refusals.py", 1)[-1]]
    assert len(met) > 100 and [said for _, said in met if ", at test_refusals.py:" not in said] == []
    assert without == []


def _said(function: Callable[..., Any], arrays: tuple[Any, ...]) -> str:
    try:
        cm.analyze(lambda *given: function(*given), *arrays, fit="never", verify=False)
    except cm.CostModelError as refused:
        return str(refused)
    return ""


def test_the_line_is_the_models_and_no_librarys() -> None:
    """Also where Flax calls it, and where it is deep in jax that it is refused."""
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return models.table(nn.Dense(8)(x))

    assert f"refused_models.py:{line_of(models.table, 'dynamic_slice')}" in refusal(Net(), cm.spec(cm.dims("n d")))


def test_without_a_line_of_the_models_there_is_none() -> None:
    try:
        int("x")
    except ValueError as error:
        place = place_of(error)
    assert place is not None and place.where.startswith("test_refusals.py:") and place.text == 'int("x")'
    assert place_of(ValueError("never raised")) is None


# -- one name, two domains ---------------------------------------------------------------------------------------------------------

N, EIGHTHS = cm.dims("n"), cm.dims("n", multiple_of=8)


@pytest.mark.parametrize("fit", ["auto", "never", "always"])
@pytest.mark.parametrize("operation", ["add", "matmul", "stack", "where", "einsum", "apart"])
def test_a_symbol_of_two_domains_is_said_to_be_one(operation: str, fit: str) -> None:
    made = {"add": lambda x, y: x + y, "matmul": lambda x, y: x @ y, "stack": lambda x, y: jnp.stack([x, y]),
            "where": lambda x, y: jnp.where(x > 0, x, y), "einsum": lambda x, y: jnp.einsum("i,i->", x, y),
            "apart": lambda x, y: (x * 2, y * 2)}[operation]
    with pytest.raises(cm.DomainError, match=r"n was declared twice, as 'n >= 1' and as '8 \| n': declare it once"):
        cm.analyze(made, (N,), (EIGHTHS,), fit=fit)
