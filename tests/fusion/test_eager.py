"""The policy ``eager``: layers of transformers in plain Flax have the kernels that PyTorch launches for them, call by call.

The lists are written by hand from PyTorch's forward code (Hugging Face's GPT-2, BERT and OPT) and ``derivatives.yaml``: an entry is
an ATen call. What jax's program does otherwise is said where it matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import lax

import costmodel as cm
from costmodel.fusion import Kernel, policy
from costmodel.symbolic.forms import symbol

WIDTH, HEADS = 768, 12
LOWEST = float(jnp.finfo(jnp.float32).min)


class Layer(nn.Module):
    """A transformer's layer as the papers' codes have it. ``style`` is gpt (a norm first, one product for q, k and v, GELU by
    tanh), bert (a norm last, GELU by the error function) or opt (a norm first, scaled queries, ReLU)."""

    style: str
    train: bool = False

    def heads(self, x: Any) -> Any:
        return x.reshape(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(0, 2, 1, 3)

    def dropout(self, x: Any) -> Any:
        return nn.Dropout(0.1, deterministic=not self.train)(x)

    def attention(self, x: Any, mask: Any) -> Any:
        width = (WIDTH // HEADS)**0.5
        if self.style == "gpt":
            q, k, v = jnp.split(nn.Dense(3 * WIDTH)(x), 3, axis=-1)
        else:
            q, k, v = (nn.Dense(WIDTH)(x) for _ in range(3))
        if self.style == "opt":
            q = q / width
        q, k, v = map(self.heads, (q, k, v))
        scores = q @ k.swapaxes(-1, -2)
        if self.style == "gpt":
            scores = jnp.where(mask, scores / width, LOWEST)
        elif self.style == "bert":
            scores = scores / width + mask
        else:
            scores = jnp.maximum(scores + mask, LOWEST)
        mixed = self.dropout(jax.nn.softmax(scores)) @ v
        return self.dropout(nn.Dense(WIDTH)(mixed.transpose(0, 2, 1, 3).reshape(x.shape)))

    def mlp(self, x: Any) -> Any:
        activation = {"gpt": nn.gelu, "bert": partial(nn.gelu, approximate=False), "opt": nn.relu}[self.style]
        return self.dropout(nn.Dense(WIDTH)(activation(nn.Dense(4 * WIDTH)(x))))

    @nn.compact
    def __call__(self, x: Any, mask: Any) -> Any:
        if self.style == "bert":
            x = nn.LayerNorm()(x + self.attention(x, mask))
            return nn.LayerNorm()(x + self.mlp(x))
        x = x + self.attention(nn.LayerNorm()(x), mask)
        return x + self.mlp(nn.LayerNorm()(x))


MASKS: dict[str, Callable[[Any, Any], Any]] = {
    "gpt": lambda b, s: cm.spec((1, 1, s, s), "bool"),  # a buffer, of which a slice is taken: a view
    "bert": lambda b, s: cm.spec((b, 1, 1, s)),
    "opt": lambda b, s: cm.spec((b, 1, s, s)),
}


def kernels_of(style: str, *, train: bool, backward: bool) -> tuple[Kernel, ...]:
    """The kernels of a layer, with the gradient of its parameters and input if ``backward``."""
    model = Layer(style, train)
    b, s = cm.dims("b s")
    x, mask = cm.spec((b, s, WIDTH)), MASKS[style](b, s)
    if not backward:
        return cm.analyze(model, x, mask, rngs=("dropout",) if train else ()).kernels("eager")
    shapes = (jax.ShapeDtypeStruct(tuple(d if isinstance(d, int) else 4 for d in a.shape), a.dtype) for a in (x, mask))
    variables = jax.eval_shape(Layer(style).init, jax.random.key(0), *shapes)

    def step(variables, x, mask, key, cotangent):
        y, pullback = jax.vjp(lambda v, x: model.apply(v, x, mask, rngs={"dropout": key}), variables, x)
        return y, pullback(cotangent)

    return cm.analyze(step, variables, x, mask, jax.eval_shape(lambda: jax.random.key(0)), x, params=0).kernels("eager")


# -- by hand: (ATen call, kind of kernel) ----------------------------------------------------------------------------------------

NORM = [("native_layer_norm", "reduce")]
LINEAR = [("addmm: a product adds its bias", "dot")]
ADD = [("add", "elementwise")]
DROPOUT = [("native_dropout", "elementwise")]
SOFTMAX = [("_softmax", "reduce")]
PRODUCT = [("bmm", "dot")]
INTO_HEADS = [("clone: matmul reshapes what it is given to (batch · heads, ·, ·), which a transposed view is not", "copy")]
BACK = [("clone: (batch, heads, s, width) transposed and reshaped to (batch, s, heads · width)", "copy")]
GELU_TANH = [(call, "elementwise") for call in ("pow", "mul", "add", "mul", "tanh", "add", "mul", "mul")]  # NewGELUActivation

NORM_BACKWARD = [("native_layer_norm_backward: gain and bias", "reduce"), ("native_layer_norm_backward: input", "reduce")]
LINEAR_BACKWARD = [("sum: the bias", "reduce"), ("mm: the weight", "dot"), ("mm: the input", "dot")]
PRODUCT_BACKWARD = [("bmm: the left operand", "dot"), ("bmm: the right operand", "dot")]
DROPOUT_BACKWARD = [("native_dropout_backward", "elementwise")]
SOFTMAX_BACKWARD = [("_softmax_backward_data", "reduce")]
ACCUMULATE = [("add: two cotangents of one value", "elementwise")]
# The last product has two operands with a gradient, three others a constant; pow_backward is pow, mul, mul; x is used three times.
# (jax's integer_pow and its derivative are the same calls.)
GELU_TANH_BACKWARD = [(call, "elementwise") for call in (
    "mul", "mul", "mul", "tanh_backward", "mul", "mul", "pow", "mul", "mul", "add", "add")]


def elementwise(call: str) -> list[tuple[str, str]]:
    return [(call, "elementwise")]


def forward(style: str, dropout: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A layer's calls, in order."""
    scores = {"gpt": [*elementwise("div"), *elementwise("where")], "bert": [*elementwise("div"), *elementwise("add: the mask")],
              "opt": [*elementwise("add: the mask"), *elementwise("maximum")]}[style]
    activation = {"gpt": GELU_TANH, "bert": elementwise("gelu"), "opt": elementwise("relu")}[style]
    products = LINEAR if style == "gpt" else 3 * LINEAR
    scale = elementwise("mul: the queries") if style == "opt" else []
    attention = [*products, *scale, *3 * INTO_HEADS, *PRODUCT, *scores, *SOFTMAX, *dropout, *PRODUCT, *BACK, *LINEAR, *dropout]
    mlp = [*LINEAR, *activation, *LINEAR, *dropout]
    if style == "bert":
        return [*attention, *ADD, *NORM, *mlp, *ADD, *NORM]
    return [*NORM, *attention, *ADD, *NORM, *mlp, *ADD]


def backward(style: str, dropout: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The calls of a layer's backward pass. Those that add a gradient to ``.grad``, one a parameter, are not in jax's program."""
    activation = {"gpt": GELU_TANH_BACKWARD, "bert": elementwise("gelu_backward"), "opt": elementwise("threshold_backward")}[style]
    scores = {"gpt": [*elementwise("where"), *elementwise("div")], "bert": elementwise("div"),  # nobody needs the mask's gradient
              "opt": elementwise("maximum's: where, counted as one")}[style]
    mlp = [*dropout, *LINEAR_BACKWARD, *activation, *LINEAR_BACKWARD]
    core = [*dropout, *LINEAR_BACKWARD, *INTO_HEADS, *PRODUCT_BACKWARD, *dropout, *SOFTMAX_BACKWARD, *scores, *PRODUCT_BACKWARD]
    if style == "gpt":  # cat reads k's cotangent, which kᵀ's is transposed, by its strides; those of q and v were copied for a view
        joined = [*2 * BACK, ("cat: the cotangents of the three parts", "copy"), *LINEAR_BACKWARD]
    else:  # addmm's operand is (batch · s, heads · width): k's cotangent, too, is copied
        scale = elementwise("mul: the queries") if style == "opt" else []
        joined = [*3 * BACK, *scale, *3 * LINEAR_BACKWARD, *2 * ACCUMULATE]
    return [*mlp, *NORM_BACKWARD, *ACCUMULATE, *core, *joined, *NORM_BACKWARD, *ACCUMULATE]


def kinds(calls: list[tuple[str, str]]) -> list[str]:
    return [kind for _, kind in calls]


@pytest.mark.parametrize(("style", "count"), [("gpt", 25), ("bert", 20), ("opt", 21)])
def test_a_layer_has_the_kernels_of_its_aten_calls(style: str, count: int) -> None:
    calls = forward(style, dropout=[])
    assert len(calls) == count
    assert [k.kind for k in kernels_of(style, train=False, backward=False)] == kinds(calls)


@pytest.mark.parametrize(("style", "count"), [("gpt", (28, 43)), ("bert", (23, 40)), ("opt", (24, 41))])
def test_a_training_layer_has_the_kernels_of_its_aten_calls_both_ways(style: str, count: tuple[int, int]) -> None:
    there, back = forward(style, DROPOUT), backward(style, DROPOUT_BACKWARD)
    assert (len(there), len(back)) == count
    found = [k.kind for k in kernels_of(style, train=True, backward=True)]
    assert found[:len(there)] == kinds(there)
    assert Counter(found[len(there):]) == Counter(kinds(back))


def test_without_dropout_the_backward_pass_mirrors_what_is_left() -> None:
    found = [k.kind for k in kernels_of("bert", train=False, backward=True)]
    there = forward("bert", dropout=[])
    assert found[:len(there)] == kinds(there)
    assert Counter(found[len(there):]) == Counter(kinds(backward("bert", dropout=[])))


def test_heads_of_an_einsum_are_copied_once() -> None:
    """Flax's attention contracts (batch, s, heads, width) as it is: torch.einsum permutes and copies into batches; q, k and v once
    each, and the result back. It scales q, and its projections give heads at once."""
    b, s = cm.dims("b s")
    attention = nn.MultiHeadDotProductAttention(HEADS)
    found = [k.kind for k in cm.analyze(attention, cm.spec((b, s, WIDTH))).kernels("eager")]
    assert Counter(found) == Counter(kinds([*3 * LINEAR, *elementwise("div"), *3 * INTO_HEADS, *PRODUCT, *SOFTMAX, *PRODUCT, *BACK,
                                            *LINEAR]))


# -- composites: (function, kernels forward, kernels backward); each is one entry of ATen's derivatives.yaml ----------------------

n, d = cm.dims("n d")
ONE: dict[str, tuple[Callable[..., Any], int, int]] = {
    "softmax": (jax.nn.softmax, 1, 1),
    "log_softmax": (jax.nn.log_softmax, 1, 1),
    "gelu": (partial(jax.nn.gelu, approximate=False), 1, 1),
    "gelu by its formula": (lambda x: 0.5 * x * (1 + lax.erf(x / 2**0.5)), 1, 1),
    "gelu by tanh": (jax.nn.gelu, 8, 11),
    "silu": (jax.nn.silu, 1, 1),
    "hardswish": (jax.nn.hard_swish, 1, 1),
    "relu": (jax.nn.relu, 1, 1),
    "hardtanh (relu6)": (jax.nn.relu6, 1, 1),
    "leaky_relu": (jax.nn.leaky_relu, 1, 1),
    "elu": (jax.nn.elu, 1, 1),
    "softplus": (jax.nn.softplus, 1, 1),
    "tanh": (jnp.tanh, 1, 1),
    "sigmoid": (jax.nn.sigmoid, 1, 1),
    "mean": (lambda x: x.mean(-1), 1, 2),  # div, and what it returns is written out: here nothing reads it as an expanded view
    "softmax of softmax": (lambda x: jax.nn.softmax(jax.nn.softmax(x)), 2, 2),
    "add": (lambda x: x + 1.0, 1, 0),
    "transpose, mul": (lambda x: x.T * 2.0, 1, 1),
}


def both_ways(function: Callable[..., Any], *arguments: Any) -> tuple[list[Kernel], list[Kernel]]:
    def step(cotangent, *arguments):
        y, pullback = jax.vjp(function, *arguments)
        return y, pullback(cotangent)

    y = cm.analyze(function, *arguments).program.outputs[0].array
    shapes = {"n*d": (n, d), "n": (n,), "d*n": (d, n)}
    cotangent = cm.spec(shapes["*".join(map(str, y.shape))])
    found = cm.analyze(step, cotangent, *arguments).kernels("eager")
    return [k for k in found if k.main.phase == ""], [k for k in found if k.main.phase == "backward"]


@pytest.mark.parametrize("name", ONE)
def test_a_function_is_as_many_kernels_as_calls(name: str) -> None:
    function, there, back = ONE[name]
    found = both_ways(function, cm.spec((n, d)))
    late = sum(k.main.phase == "" for k in found[0][there:])  # pow and mul of pow_backward, computed when they are needed
    assert (len(found[0]) - late, len(found[1]) + late) == (there, back)


NORMS: dict[str, tuple[nn.Module, int, int]] = {
    "native_layer_norm, E[x²] - E[x]²": (nn.LayerNorm(), 1, 2),
    "native_layer_norm, E[(x - E[x])²]": (nn.LayerNorm(use_fast_variance=False), 1, 2),
    "native_layer_norm without gain": (nn.LayerNorm(use_scale=False, use_bias=False), 1, 1),
    "_fused_rms_norm": (nn.RMSNorm(), 1, 2),
    "native_batch_norm with its running statistics": (nn.BatchNorm(use_running_average=False), 1, 1),
    "native_batch_norm, E[(x - E[x])²]": (nn.BatchNorm(use_running_average=False, use_fast_variance=False), 1, 1),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_normalisation_is_one_kernel_and_two_or_one_back(name: str) -> None:
    module, there, back = NORMS[name]
    variables = jax.tree.map(lambda a: cm.spec((d,)), module.init(jax.random.key(0), jnp.ones((2, 8))))

    def step(parameters, state, x, cotangent):
        y, pullback, state = jax.vjp(lambda p, x: module.apply({"params": p, **state}, x, mutable=list(state)), parameters, x,
                                     has_aux=True)
        return y, pullback(cotangent), state

    state = {name: value for name, value in variables.items() if name != "params"}
    found = cm.analyze(step, variables.get("params", {}), state, cm.spec((n, d)), cm.spec((n, d))).kernels("eager")
    phases = Counter(k.main.phase or "forward" for k in found)
    assert [phases["forward"], phases["backward"]] == [there, back] and {k.kind for k in found} == {"reduce"}


def test_a_stored_normalisation_is_one_kernel() -> None:
    """native_batch_norm in inference; group_norm, whose statistics are one value for the channels of a group."""
    for module in (nn.BatchNorm(use_running_average=True), nn.GroupNorm(4)):
        assert len(cm.analyze(module, cm.spec((n, 8, 8, 32))).kernels("eager")) == 1


def test_composites_move_what_the_framework_moves() -> None:
    """_softmax reads x and writes y; _softmax_backward_data reads the cotangent and y. gelu_backward reads the cotangent and x.
    Softmax's sum, one value a line, is kept as well: PyTorch does without it."""
    size, lines = 4 * symbol("n") * symbol("d"), 4 * symbol("n")
    (there,), (back,) = both_ways(jax.nn.softmax, cm.spec((n, d)))
    assert (there.bytes, back.bytes) == (2 * size + lines, 3 * size + lines)
    assert next(v for v, _ in there.writes if v.array.size * 4 == size) in [v for v, _ in back.reads]
    (there,), (back,) = both_ways(ONE["gelu"][0], cm.spec((n, d)))
    assert (there.bytes, back.bytes) == (2 * size, 3 * size)
    (there,), (back,) = both_ways(jax.nn.relu, cm.spec((n, d)))
    assert (there.bytes, back.bytes) == (2 * size, 3 * size)
    assert there.writes[0][0] in [v for v, _ in back.reads]  # threshold_backward reads the result


def test_what_strides_express_moves_nothing() -> None:
    x, w = cm.spec((n, d)), cm.spec((d, d))
    for free in (lambda x, w: x @ w.T, lambda x, w: x[1:] @ w, lambda x, w: x.reshape(-1, 1, x.shape[1]) @ w):
        assert [k.kind for k in cm.analyze(free, x, w).kernels("eager")] == ["dot"]
    merged = cm.analyze(lambda x: x.transpose(1, 0, 2).reshape(x.shape[1], -1) * 2.0, cm.spec((n, d, 8)))
    assert [k.kind for k in merged.kernels("eager")] == ["copy", "elementwise"]  # x.transpose(0, 1).reshape(d, -1) copies
    split = cm.analyze(lambda x: x.reshape(x.shape[0], 2, -1).transpose(1, 0, 2) * 2.0, cm.spec((n, 8)))
    assert [k.kind for k in split.kernels("eager")] == ["elementwise"]


def test_a_product_writes_its_result_in_either_order() -> None:
    """jax has the cotangent of a product's right operand as the transpose of a product; autograd as mm(left.T, cotangent)."""
    a = cm.spec((n, 8, d))
    turned = cm.analyze(lambda a, b: jnp.einsum("nid,njd->nij", a, b).transpose(0, 2, 1).reshape(a.shape[0], -1) * 2.0, a, a)
    assert [k.kind for k in turned.kernels("eager")] == ["dot", "elementwise"]


def test_changes_of_type_are_kernels_and_those_inside_a_composite_are_not() -> None:
    half = cm.spec((n, d), "bfloat16")
    assert len(cm.analyze(lambda x: x.astype("float32"), half).kernels("eager")) == 1
    inside = cm.analyze(nn.LayerNorm(dtype="bfloat16"), half).kernels("eager")  # statistics in float32: native_layer_norm, too
    assert len(inside) == 1


def test_a_bias_is_added_by_a_product_and_something_else_is_not() -> None:
    x, w = cm.spec((n, d)), cm.spec((d, d))
    assert len(cm.analyze(lambda x, w, b: x @ w + b, x, w, cm.spec((d,))).kernels("eager")) == 1
    assert len(cm.analyze(lambda x, w, y: x @ w + y, x, w, x).kernels("eager")) == 2
    assert len(cm.analyze(lambda x, w, y: x @ w + y, x, w, cm.spec((n, 1))).kernels("eager")) == 2
    assert len(cm.analyze(nn.Conv(8, (3, 3)), cm.spec((n, 16, 16, 4))).kernels("eager")) == 1


def test_an_eager_framework_writes_over_nothing() -> None:
    assert policy("eager").buffer_sharing is None
