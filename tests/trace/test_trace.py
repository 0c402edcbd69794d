"""What becomes of a model's call: roles of its inputs, module paths, phases, options of the call, and errors in one line."""

from __future__ import annotations

import os
import traceback
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import costmodel as cm
from costmodel.trace.requests import Request

N, M, S = cm.symbols("n m s")


def roles(cost: cm.Cost) -> dict[str, str]:
    """Role of each traced input by name."""
    return {v.name: v.origin for v in cost.program.inputs}


def paths(cost: cm.Cost, primitive: str, phase: str = "") -> list[str]:
    return [e.module for e in cost.program if e.primitive == primitive and e.phase == phase]


class Block(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.BatchNorm(use_running_average=not train, name="norm")(nn.Dense(self.features, name="dense")(x))
        return nn.Dropout(0.5, deterministic=not train)(x)

    @nn.compact
    def twice(self, x):
        return nn.Dense(self.features, name="dense")(x) * 2.0


class Net(nn.Module):
    def setup(self):
        self.blocks = [Block(4) for _ in range(2)]
        self.head = nn.Dense(3)

    def __call__(self, x, train: bool = False):
        for block in self.blocks:
            x = block(x, train)
        return self.head(x)

    def features(self, x):
        return self.blocks[0](x)


class NnxBlock(nnx.Module):
    def __init__(self, size: int, *, rngs: nnx.Rngs):
        self.dense = nnx.Linear(size, size, rngs=rngs)
        self.norm = nnx.BatchNorm(size, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x, train: bool = False):
        x = self.norm(self.dense(x), use_running_average=not train)
        return self.dropout(x, deterministic=not train)


class NnxNet(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs):
        self.blocks = nnx.List([NnxBlock(4, rngs=rngs) for _ in range(2)])
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x, train: bool = False):
        for block in self.blocks:
            x = block(x, train)
        return self.head(x)

    def features(self, x):
        return self.blocks[0](x)


def nnx_net() -> NnxNet:
    return cm.abstract(lambda: NnxNet(rngs=nnx.Rngs(0)))


NETS = {"linen": Net, "nnx": nnx_net}
BOTH = pytest.mark.parametrize("build", NETS.values(), ids=list(NETS))
BLOCK0 = {"linen": "blocks_0", "nnx": "blocks/0", "nnx transform": "blocks/0"}


@pytest.fixture
def x():
    return cm.spec((cm.dims("n"), 4))


# -- roles -------------------------------------------------------------------------------------------------------------------


def test_roles_in_linen(x):
    cost = cm.analyze(Net(), x)
    found = roles(cost)
    assert found["blocks_0/dense/kernel"] == found["head/bias"] == found["blocks_1/norm/scale"] == "parameter"
    assert found["blocks_0/norm/mean"] == found["blocks_1/norm/var"] == "buffer"
    assert found["0"] == "input"
    assert cost.params == 2 * (4 * 4 + 4 + 2 * 4) + 4 * 3 + 3
    assert cost.buffers == 2 * 2 * 4


def test_roles_in_nnx(x):
    cost = cm.analyze(nnx_net(), x)
    found = roles(cost)
    assert found["blocks/0/dense/kernel"] == found["head/bias"] == found["blocks/1/norm/scale"] == "parameter"
    assert found["blocks/0/norm/mean"] == found["blocks/1/norm/var"] == "buffer"
    assert {role for name, role in found.items() if "rngs" in name} == {"rng"}
    assert found["0"] == "input"
    assert (cost.params, cost.buffers) == (cm.analyze(Net(), x).params, cm.analyze(Net(), x).buffers)


def test_roles_in_a_function(x):
    def f(params, x, scale):
        return x @ params["layer"]["w"] * scale

    cost = cm.analyze(f, {"layer": {"w": cm.spec((4, 3))}}, x, 2.0, params=0)
    assert roles(cost) == {"layer/w": "parameter", "1": "input", "2": "input"}
    assert cost.params == 12
    assert cm.analyze(f, {"layer": {"w": cm.spec((4, 3))}}, x, 2.0).params == 0


def test_tied_weights_count_once():
    class Tied(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            embed = nn.Embed(11, 4)
            return embed.attend(embed(tokens))

    n, s = cm.dims("n s")
    cost = cm.analyze(Tied(), cm.spec((n, s), "int32"))
    assert cost.params == 44
    assert cost.macs == 44 * N * S


# -- module paths and phases -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NETS)
def test_module_paths(kind, x):
    block = BLOCK0[kind]
    cost = cm.analyze(NETS[kind](), x)
    assert paths(cost, "dot_general") == [f"{block}/dense", f"{block.replace('0', '1')}/dense", "head"]
    assert paths(cost, "rsqrt") == [f"{block}/norm", f"{block.replace('0', '1')}/norm"]
    assert cost.explain(f"{block}/dense").lines
    with pytest.raises(cm.CostModelError, match="did you mean"):
        cost.explain(f"{block}/dence")


@pytest.mark.parametrize("kind", ["linen", "nnx", "nnx transform"])
def test_gradients_keep_the_module_path_in_the_backward_phase(kind, x):
    """d loss / d parameters: backward of each dot is two dots, but the first layer's input needs none."""
    if kind == "linen":
        variables = jax.eval_shape(Net().init, jax.random.key(0), jnp.zeros((2, 4)))
        stats = {"batch_stats": variables["batch_stats"]}

        def loss(params, stats, x):
            return Net().apply({"params": params, **stats}, x).sum()

        cost = cm.analyze(jax.value_and_grad(loss), variables["params"], stats, x, params=0)
    elif kind == "nnx":
        graph, params, rest = nnx.split(nnx_net(), nnx.Param, ...)

        def loss(params, rest, x):
            return nnx.merge(graph, params, rest)(x).sum()

        cost = cm.analyze(jax.value_and_grad(loss), params, rest, x, params=0)
    else:
        class Step(nnx.Module):
            def __init__(self):
                self.net = nnx_net()

            def __call__(self, x):
                return nnx.value_and_grad(lambda net: net(x).sum())(self.net)

        cost = cm.analyze(Step(), x)
    first, second = f"{BLOCK0[kind]}/dense", f"{BLOCK0[kind].replace('0', '1')}/dense"
    # A function has no root module to leave out, so Linen's own name comes first there.
    forward, backward = ([p.removeprefix("Net/") for p in paths(cost, "dot_general", phase)] for phase in ("", "backward"))
    assert forward == [first, second, "head"]
    assert sorted(backward) == sorted([first, second, second, "head", "head"])
    assert cost.macs == N * (3 * (16 + 16 + 12) - 16)
    assert cost.params == cm.analyze(Net(), x).params


# -- the call's options ------------------------------------------------------------------------------------------------------


@BOTH
def test_method_by_name_and_as_a_function(build, x):
    model = build()
    for method in ("features", type(model).features):
        cost = cm.analyze(model, x, method=method)
        assert cost.macs == 16 * N
    with pytest.raises(cm.TraceError, match="nosuch"):
        cm.analyze(model, x, method="nosuch")


def test_a_linen_method_that_makes_its_own_submodules(x):
    assert cm.analyze(Block(5), x, method="twice").flops == (2 * 4 * 5 + 2 * 5) * N


@BOTH
def test_keyword_arguments(build, x):
    """train=True normalises with the batch's statistics: what is a Python value stays one."""
    stored = cm.analyze(build(), x, kwargs={"train": False})
    assert stored.flops == cm.analyze(build(), x).flops
    with_scale = cm.analyze(lambda x, scale, negate: -x * scale if negate else x * scale, x,
                            kwargs={"scale": cm.spec((4,)), "negate": True})
    assert with_scale.flops == 8 * N
    assert roles(with_scale) == {"0": "input", "scale": "input"}


@BOTH
def test_dropout_needs_its_random_stream_and_batch_statistics_are_mutable(build, x):
    train = {"kwargs": {"train": True}, "mutable": ["batch_stats"] if build is Net else True}
    cost = cm.analyze(build(), x, rngs=("dropout",) if build is Net else (), **train)
    assert "rng" in roles(cost).values()
    assert cost.coverage.unknown == {}
    assert cost.flops != cm.analyze(build(), x).flops
    # The updated statistics are results: two of each normalisation, besides the network's own.
    assert sum(v.array.shape == (4,) for v in cost.program.outputs) >= 4
    assert cost.at(n=8).params == cm.analyze(build(), x).at(n=8).params
    if build is Net:
        with pytest.raises(cm.TraceError, match="dropout"):
            cm.analyze(build(), x, **train)


def test_mutable_state_of_ones_own(x):
    class Counter(nn.Module):
        @nn.compact
        def __call__(self, x):
            seen = self.variable("statistics", "sum", lambda: jnp.zeros(4))
            if not self.is_initializing():
                seen.value = seen.value + x.sum(axis=0)
            return x

    cost = cm.analyze(Counter(), x, mutable=["statistics"])
    assert roles(cost) == {"sum": "buffer", "0": "input"}
    assert (cost.params, cost.buffers) == (0, 4)
    assert cost.flops == 4 * N - 4 + 4
    assert [v.array.shape for v in cost.program.outputs][-1] == (4,)


def test_several_inputs_and_pytrees():
    n, m = cm.dims("n m")

    def f(batch: dict[str, Any], pair: tuple[Any, Any]):
        return batch["x"] @ pair[0] + pair[1], batch["mask"]

    cost = cm.analyze(f, {"x": cm.spec((n, m)), "mask": cm.spec((n,), "bool")}, (cm.spec((m, 3)), cm.spec((3,))))
    assert cost.macs == 3 * M * N
    assert roles(cost) == {"0/x": "input", "0/mask": "input", "1/0": "input", "1/1": "input"}


@pytest.mark.parametrize(("dtype", "bytes_", "floating"), [
    ("float32", 4, True), ("bfloat16", 2, True), ("float16", 2, True), ("float8_e4m3fn", 1, True), ("int8", 1, False),
    ("int32", 4, False),
])
def test_dtypes(dtype, bytes_, floating):
    n, m = cm.dims("n m")
    cost = cm.analyze(lambda x, y: jax.lax.dot(x, y), cm.spec((n, m), dtype), cm.spec((m, 5), dtype))
    assert cost.macs == 5 * M * N
    assert (cost.flops, cost.ops) == ((10 * M * N, 0) if floating else (0, 10 * M * N))
    assert cost.bytes("compulsory") == bytes_ * (M * N + 5 * M + 5 * N)


def test_arrays_and_numbers_are_inputs_too():
    cost = cm.analyze(lambda x, y: x * y, jnp.ones((3, 2)), 2.0)
    assert cost.at().flops == 6


# -- nothing is left behind --------------------------------------------------------------------------------------------------


def calls() -> dict[type, Any]:
    return {cls: cls.__call__ for cls in (NnxNet, NnxBlock, nnx.Linear, nnx.BatchNorm, nnx.Dropout)}


def test_nnx_classes_are_restored_after_success_and_after_an_exception(x):
    before = calls()
    cm.analyze(nnx_net(), x)
    assert calls() == before
    with pytest.raises(cm.TraceError):
        cm.analyze(nnx_net(), cm.spec((cm.dims("n"), 5)))
    assert calls() == before

    class Interrupted(nnx.Module):
        def __init__(self):
            self.net = nnx_net()

        def __call__(self, x):
            self.net(x)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cm.analyze(Interrupted(), x)
    assert calls() == before


def test_nnx_inherited_call_and_super():
    class Base(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs):
            self.linear = nnx.Linear(4, 4, rngs=rngs)

        def __call__(self, x):
            return self.linear(x)

    class Inherits(Base):
        pass

    class Calls(Base):
        def __call__(self, x):
            return super().__call__(x) * 2.0

    class Holder(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs):
            self.first, self.second = Inherits(rngs=rngs), Calls(rngs=rngs)

        def __call__(self, x):
            return self.second(self.first(x))

    before = Base.__call__
    cost = cm.analyze(cm.abstract(lambda: Holder(rngs=nnx.Rngs(0))), (cm.dims("n"), 4))
    assert paths(cost, "dot_general") == ["first/linear", "second/linear"]
    assert paths(cost, "mul") == ["second"]
    assert Base.__call__ is before and "__call__" not in vars(Inherits)


# -- errors ------------------------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x if x.sum() > 0 else -x


def training(x, *, loss=lambda y: y.sum(), **options):
    return cm.analyze_training(Net(), x, loss=loss, **options)


ERRORS = {
    "a Linen class": (lambda x: cm.analyze(Net, x), ["Net is a class", "Net(...)"]),
    "an NNX class": (lambda x: cm.analyze(NnxNet, x), ["NnxNet is a class", "cm.abstract"]),
    "not callable": (lambda x: cm.analyze(3, x), ["int", "neither a Flax module nor a function"]),
    "a bad dtype": (lambda x: cm.spec((1, 2), "float33"), ["float33", "bfloat16"]),
    "a dtype of the wrong type": (lambda x: cm.spec((1, 2), 33), ["33"]),
    "an input that is no array": (lambda x: cm.analyze(lambda a: a, "text"), ["'text'", "cm.spec"]),
    "an argument that is not there": (lambda x: cm.analyze(lambda a: a, x, params=1), ["params=1", "1 inputs"]),
    "a method of a function": (lambda x: cm.analyze(lambda a: a, x, method="m"), ["method=", "Flax"]),
    "a wrong number of inputs": (lambda x: cm.analyze(Net(), x, x, x), ["Net does not trace", "argument"]),
    "a wrong number of a function's inputs": (lambda x: cm.analyze(lambda a: a, x, x), ["does not trace", "argument"]),
    "kwargs of analyze": (lambda x: cm.analyze(Net(), x, kwargs={"rngs": {}}), ["rngs", "analyze itself"]),
    "a loss of other arguments": (lambda x: training(x, loss=lambda y, target: 0.0), ["the loss <lambda>", "'target'"]),
    "a loss that is no scalar": (lambda x: training(x, loss=lambda y: y), ["a gradient is of one number", "mean or sum"]),
    "no optimizer": (lambda x: training(x, optimizer="adam"), ["'adam'", "optax.adamw"]),
    "a scalar to split": (lambda x: training(x, loss=lambda y, t: y.sum() + t, targets=[cm.spec(())], microbatches=2),
                          ["microbatches=2", "scalar"]),
    "shapes that do not fit": (lambda x: cm.analyze(jnp.matmul, x, x), ["matmul does not trace"]),
    "a branch on data": (lambda x: cm.analyze(Branches(), x), ["Branches does not trace"]),
    "a wrong unknown=": (lambda x: cm.analyze(Net(), x, unknown="ignore"), ["'ignore'", "'warn'"]),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_are_one_line_that_says_what_to_do(kind, x):
    cause, parts = ERRORS[kind]
    with pytest.raises(cm.CostModelError) as raised:
        cause(x)
    message = str(raised.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_mistake_of_costmodel_is_a_traceback(monkeypatch, x):
    """It is never told as one of the model."""
    monkeypatch.setattr(Request, "split_kwargs", lambda self: None)
    for model in (Net(), nnx_net(), lambda x: x):
        with pytest.raises(TypeError, match="unpack") as raised:
            cm.analyze(model, x)
        assert raised.traceback[-1].path.name == "pure.py"


def test_a_mistake_of_the_model_is_shown_without_frames_of_jax(x):
    @jax.jit
    def wrong(x):
        raise ValueError("of the model")

    with pytest.raises(cm.TraceError, match="of the model") as raised:
        cm.analyze(wrong, x)
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(raised.value.__cause__.__traceback__)]
    assert files[-1] == __file__
    assert sum(f"jax{os.sep}_src" in file for file in files) <= 1
