"""The lecture "Basics of AI and deep learning" (edge AI): its formulas, its AlexNet table and its networks' insights, derived.

Its roofline examples are in test_lecture_roofline.py.
"""

from __future__ import annotations

import flax.linen as nn
import pytest
import sympy
from jax import lax

import costmodel as cm
from zoo import lecture_padding
from zoo._published import rows

N, C, C_I, C_O, H, W, L, K, K_H, K_W, G, S, P = cm.symbols("n c c_i c_o h w l k k_h k_w g s p")


def same(a, b) -> bool:
    """Equality of closed forms, decided by expansion."""
    return sympy.expand(a - b) == 0


def output_size(size, k, p=0, s=1):
    """The textbook's (size + 2p - k)/s + 1, rounded down."""
    return cm.FloorDiv(size + 2 * p - k, s) + 1


def convolution(c_i, c_o, g=1, p=0, s=1):
    """The lecture's (parameters, MACs) of a convolution in g groups, bias apart."""
    params = c_o * c_i * K_H * K_W / g
    return params, N * params * output_size(H, K_H, p, s) * output_size(W, K_W, p, s)


# -- the four-row table: zoo layers, each as general as it is written there --------------------------------------------------

LAYERS = {
    "linear": (C_O * C_I, N * C_O * C_I),
    "conv2d": convolution(C_I, C_O),
    "conv2d_padded": convolution(C_I, C_O, p=P),
    "conv2d_strided": convolution(C_I, C_O, p=P, s=S),
    "conv2d_grouped": convolution(C_I, C_O, g=G),
    "conv2d_depthwise": convolution(C, C, g=C),
    "conv1d": (C_O * C_I * K, N * C_O * C_I * K * output_size(L, K)),
    "gemm": (0, cm.symbols("m") * N * K),
    "matrix_vector": (0, cm.symbols("m") * N),
}


@pytest.mark.parametrize("name", LAYERS)
def test_formulas_of_layers_are_the_textbooks(name, cost_of):
    params, macs = LAYERS[name]
    assert same(cost_of(name).params, params)
    assert same(cost_of(name).macs, macs)


@pytest.mark.parametrize("grouped", [False, True])
def test_grouped_convolution_with_every_size_a_symbol(grouped):
    """n, c_i, c_o, h, w, k_h, k_w, g, s, p at once; padding is lax.pad + VALID, where p may be a symbol."""
    where = ("g | c_i, g | c_o, " if grouped else "") + "h + 2*p >= k_h, w + 2*p >= k_w"
    n, h, w, c_i, c_o, k_h, k_w, g, s, p = cm.dims("n h w c_i c_o k_h k_w g s p", where=where)

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = lax.pad(x, 0.0, ((0, 0, 0), (p, p, 0), (p, p, 0), (0, 0, 0)))
            return nn.Conv(c_o, (k_h, k_w), (s, s), "VALID", feature_group_count=g if grouped else 1, use_bias=False)(x)

    cost = cm.analyze(Layer(), (n, h, w, c_i))
    params, macs = convolution(C_I, C_O, G if grouped else 1, P, S)
    assert same(cost.params, params)
    assert same(cost.macs, macs)
    assert cost.program.outputs[0].array.shape[0] == N


def test_depthwise_convolution_with_padding_and_stride():
    n, h, w, c, k_h, k_w, s, p = cm.dims("n h w c k_h k_w s p", where="h + 2*p >= k_h, w + 2*p >= k_w")

    def layer(kernel, x):
        x = lax.pad(x, 0.0, ((0, 0, 0), (p, p, 0), (p, p, 0), (0, 0, 0)))
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (s, s), "VALID", feature_group_count=c, dimension_numbers=layout)

    cost = cm.analyze(layer, (k_h, k_w, 1, c), (n, h, w, c), params=0)
    params, macs = convolution(C, C, C, P, S)
    assert same(cost.params, params)
    assert same(cost.macs, macs)


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_pooling_has_the_textbooks_output_and_no_parameters(name, cost_of):
    cost = cost_of(name)
    size = [cost.evaluate(d) for d in cost.program.outputs[0].array.shape]
    assert size == [N, output_size(H, K, s=S), output_size(W, K, s=S), C]
    outputs = N * C * size[1] * size[2]
    assert cost.params == cost.macs == 0
    # k² - 1 comparisons or additions an output; the mean also divides.
    assert same(cost.flops, outputs * (K**2 - 1) + (outputs if name == "avg_pool" else 0))


@pytest.mark.parametrize("name", [e.name for e in lecture_padding.MODELS])
def test_padding_adds_p_on_each_side_and_computes_nothing(name, cost_of):
    cost = cost_of(name)
    assert [cost.evaluate(d) for d in cost.program.outputs[0].array.shape] == [N, H + 2 * P, W + 2 * P, C]
    assert cost.params == cost.macs == cost.flops == cost.transcendentals == 0


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "instance_norm", "group_norm"])
def test_normalisations_have_a_scale_and_a_bias_a_channel(name, cost_of):
    cost = cost_of(name)
    assert cost.params == 2 * C
    assert cost.macs == 0
    assert cost.buffers == (2 * C if name == "batch_norm" else 0)


def test_mlp_in_symbolic_widths(cost_of):
    a, b, c, d = cm.symbols("a b c d")
    weights = d * a + a * b + b * c
    assert same(cost_of("mlp").params, weights + a + b + c)
    assert same(cost_of("mlp").macs, N * weights)


# -- receptive field ---------------------------------------------------------------------------------------------------------


def test_receptive_field_of_stacked_convolutions():
    """L layers of k see L·(k - 1) + 1 rows: the size at which L unpadded layers leave one row, and h - field + 1 in general."""
    n, c, h, k = cm.dims("n c h k", where="h >= 3*k")
    for layers in (1, 2, 3):
        stack = nn.Sequential([nn.Conv(c, (k,), padding="VALID") for _ in range(layers)])
        cost = cm.analyze(stack, (n, h, c))
        field = cm.receptive_field(K, layers=layers)
        assert same(field, layers * (K - 1) + 1)
        assert cost.evaluate(cost.program.outputs[0].array.shape[1]) == sympy.expand(H - field + 1)


# -- AlexNet, row by row -----------------------------------------------------------------------------------------------------

ALEXNET = {row["layer"]: row for row in rows("lecture_alexnet.csv")}
ALEXNET_LAYERS = [name for name in ALEXNET if not name.startswith(("total", "peak"))]
AT = {"n": 1, "h": 224, "w": 224}


def integer(text: str) -> int:
    """A cell of the table; the lecture leaves zeros out."""
    return int(text) if text else 0


def test_alexnet_row_by_row(cost_of):
    table = cost_of("alexnet_no_bias").at(**AT).table(by="layer", collapse=False)
    column = {name: i for i, (name, _) in enumerate(table.columns)}
    assert len(table.rows) == len(ALEXNET_LAYERS)
    for name, row in zip(ALEXNET_LAYERS, table.rows, strict=True):
        expected = ALEXNET[name]
        assert row.output == "1×" + expected["output"].replace("x", "×"), name
        assert row.cells[column["params"]] == integer(expected["params"]), name
        assert row.cells[column["MACs"]] == integer(expected["macs"]), name
        assert row.cells[column["activations"]] == integer(expected["activations"]), name
        assert row.label.startswith((name, "input", "reduce_window_max")), name


def test_alexnet_totals(cost_of):
    ours = cost_of("alexnet_no_bias").at(**AT)
    assert ours.params == int(ALEXNET["total"]["params"]) == 60_954_656
    assert cost_of("alexnet").at(**AT).params == int(ALEXNET["total_with_bias"]["params"]) == 60_965_224
    assert ours.macs == int(ALEXNET["total"]["macs"]) == 724_406_816
    assert ours.activations() == int(ALEXNET["total"]["activations"]) == 932_264
    assert ours.activations("peak") == int(ALEXNET["peak"]["activations"]) == 440_928
    assert 1.4e9 <= ours.flops < 1.5e9  # "1.4 GFLOP": 2 a MAC, and little besides
    assert sum(integer(ALEXNET[name]["macs"]) for name in ALEXNET_LAYERS) == ours.macs  # the table itself adds up


def test_alexnet_model_size(cost_of):
    ours = cost_of("alexnet_no_bias").at(**AT)
    assert round(ours.model_size() / 10**6) == 244
    assert round(ours.model_size() / 2**20, 1) == 232.5
    assert round(ours.model_size(bits=8) / 10**6) == 61
    assert ours.model_size(bits=32) == ours.model_size()


# -- insights about networks -------------------------------------------------------------------------------------------------


def test_parameters_shrink_from_resnet_to_mobilenet_and_peak_activations_do_not(cost_of):
    """The lecture, after MCUNet: about 70 % top-1 with ResNet-18 or MobileNetV2-0.75."""
    big, small = cost_of("resnet18").at(**AT), cost_of("mobilenet_v2_w075").at(**AT)
    assert 4.4 < big.params / small.params < 4.6
    assert small.activations("peak") > big.activations("peak")
    big, small = cost_of("resnet50").at(**AT), cost_of("mobilenet_v2").at(**AT)
    assert big.params / small.params > 5
    assert big.activations("peak") / small.activations("peak") < 1.3


def test_peak_activations_of_mobilenet_are_in_its_first_blocks(cost_of):
    cost = cost_of("mobilenet_v2").at(**AT)
    sizes = [(cost.evaluate((k.inputs + k.outputs).expand()), k.path) for k in cost.kernels("layer")]
    peak, path = max(sizes)
    assert peak == cost.activations("peak") == 1_505_280
    assert path[0] == "stage2_0"
    later = max(size for size, path in sizes if path and path[0] > "stage2_1" and path[0].startswith("stage"))
    assert peak > 2.5 * later  # unbalanced: no layer after the second stage needs even 40 % of it


def test_activations_and_not_parameters_bound_inference_on_microcontrollers(cost_of):
    """An int8 MCUNet: its peak activations do not fit the 320 kB of SRAM at 224, its parameters fit the 1 MB of flash."""
    cost = cost_of("mcunet_in3").at(**AT)
    assert cost.model_size(bits=8) < 2**20
    assert cost.activations("peak") > 320 * 1024


def test_the_row_check_can_fail(cost_of):
    """One slide misprints conv1's 34 848 parameters as 24 848: the row check tells them apart."""
    table = cost_of("alexnet_no_bias").at(**AT).table(by="layer", collapse=False)
    assert "24 848" in ALEXNET["conv1"]["source"]
    assert 24_848 not in table.rows[1].cells
