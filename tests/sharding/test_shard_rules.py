"""Parameters sharded by rules that one types: by path, by logical axis."""

from __future__ import annotations

import flax.linen as nn
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

import costmodel as cm
from costmodel.errors import CostModelError
from costmodel.sharding.rules import rules

n, d, f = cm.dims("n d f")
MESH = {"data": 2, "model": 4}
N, D, F, data, model = cm.symbols("n d f data model")


class Logical(nn.Module):
    hidden: int

    @nn.compact
    def __call__(self, x):
        for axes, width in ((("embed", "mlp"), self.hidden), (("mlp", "embed"), x.shape[-1])):
            x = nn.Dense(width, kernel_init=nn.with_partitioning(nn.initializers.ones, axes), use_bias=False)(x)
        return x


class LogicalNnx(nnx.Module):
    def __init__(self, into, hidden, rngs):
        split = [nnx.with_partitioning(nnx.initializers.ones, axes) for axes in (("embed", "mlp"), ("mlp", "embed"))]
        self.up = nnx.Linear(into, hidden, kernel_init=split[0], use_bias=False, rngs=rngs)
        self.down = nnx.Linear(hidden, into, kernel_init=split[1], use_bias=False, rngs=rngs)

    def __call__(self, x):
        return self.down(self.up(x))


def of_nnx():
    with nnx.use_eager_sharding(False):
        return cm.abstract(lambda: LogicalNnx(d, f, nnx.Rngs(0)))


def analyzed(make, *texts):
    return cm.analyze(make(), (n, d), mesh=MESH, in_shardings=P("data"), param_shardings=rules(texts), verify=False)


@pytest.mark.parametrize("make", [lambda: Logical(f), of_nnx], ids=["linen", "nnx"])
def test_logical_axes_are_what_flaxs_own_rules_say(make):
    """Fully sharded along data beside the tensor-parallel axis: both weights are shared by all devices."""
    cost = analyzed(make, "mlp=model; embed=data")
    assert cost.params == 2 * D * F / (data * model)
    if isinstance(make(), nn.Module):
        with nn.logical_axis_rules((("mlp", "model"), ("embed", "data"))):
            own = cm.analyze(make(), (n, d), mesh=MESH, in_shardings=P("data"), verify=False)
        assert cost.wire_bytes() == own.wire_bytes() != 0


def test_a_path_goes_before_a_logical_axis_and_the_first_that_fits_counts():
    cost = analyzed(lambda: Logical(f), "*_0/kernel=-,-", "Dense_0/kernel=data", "mlp=model; embed=-")
    assert cost.params == D * F + D * F / model


def test_an_axis_is_used_once_in_an_array():
    """As Flax has it, a second logical axis on the same axis of the mesh takes its next rule, else none."""
    assert analyzed(lambda: Logical(f), "mlp=model; embed=model").params == 2 * D * F / model
    assert analyzed(lambda: Logical(f), "mlp=model; embed=model; embed=data").params == 2 * D * F / (data * model)


@pytest.mark.parametrize("texts, what", [
    (("*/kernel",), "not of the form PATTERN=AXIS"), (("",), "not of the form"),
    (("*/kernel=data,data",), "two dimensions along data"),
    (("*/kernel=a b",), "no name of an axis"), (("Dense_9/kernel=model",), "no parameter .* did you mean Dense_"),
    (("embd=model",), "did you mean embed"), (("Dense_0/kernel=-,-,model",), "of 3 dimensions, and Dense_0/kernel has 2"),
    (("mlp=model,data",), "mlp is one dimension"), (("mlp=rows",), "rows, which is no axis of the mesh"),
])
def test_mistakes_in_rules_are_one_line(texts, what):
    with pytest.raises(CostModelError, match=what) as told:
        analyzed(lambda: Logical(f), *texts)
    assert "\n" not in str(told.value)


def test_a_function_without_parameters_has_none_that_rules_could_be_of():
    with pytest.raises(CostModelError, match="holds no parameters"):
        cm.analyze(lambda x: x @ x, (n, n), mesh=MESH, param_shardings=rules(["*=data"]))
