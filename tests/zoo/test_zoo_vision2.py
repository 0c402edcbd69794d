"""Later vision models of the zoo (ViT, EfficientNet, ConvNeXt, U-Net, DiT): their closed forms, derived from the papers."""

from __future__ import annotations

import pytest
from sympy import Rational, expand

import costmodel as cm
from zoo import convnext, dit, efficientnet, unet, vit

n, h, w, c, s, d = cm.symbols("n h w c s d")


# -- transformers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "config"), [("vit_b_16", vit.VIT_B16), ("vit_l_16", vit.VIT_L16)])
def test_vit(name, config, cost_of):
    """Patches, then per layer 12·d² a token and 2·d a pair of tokens, then the class token through the last layer."""
    width, patches = config.width, h * w / config.patch**2
    tokens = patches + 1
    layers = config.layers * (12 * tokens * width**2 + 2 * tokens**2 * width)
    cost = cost_of(name)
    assert cost.macs == expand(n * (patches * 3 * config.patch**2 * width + layers + width * config.num_classes))
    assert cost.params.coeff(h * w) == Rational(width, config.patch**2)  # the table of positions


def test_vits_published_integers(cost_of):
    base, large = (cost_of(name).at(n=1, h=224, w=224) for name in ("vit_b_16", "vit_l_16"))
    assert (base.params, base.macs, large.params) == (86_567_656, 17_563_828_224, 304_326_632)
    assert round(large.macs / 1e9, 3) == 61.555


def test_attention_takes_over_with_resolution(cost_of):
    """From 224 to 448 pixels, four times the patches, ViT's products grow more than fourfold, ConvNeXt's exactly so."""
    at = {name: [cost_of(name).at(n=1, h=size, w=size).macs for size in (224, 448)] for name in ("vit_b_16", "convnext_tiny")}
    assert at["vit_b_16"][1] > 4.4 * at["vit_b_16"][0]
    head = 768 * 1000
    assert at["convnext_tiny"][1] - head == 4 * (at["convnext_tiny"][0] - head)


def test_dit_xl_2(cost_of):
    cost = cost_of("dit_xl_2").at(n=1, h=32, w=32)
    assert cost.params + cost.buffers == 675_129_632  # the released weights hold the fixed table of positions, too
    assert round(cost.macs / 1e9, 1) == 118.6  # the paper's "Gflops"


def test_a_dit_layer(cost_of):
    """A GPT layer less its affine norms, and a linear layer of 6·d² on each image's condition."""
    block, plain = cost_of("dit_block"), cost_of("transformer_block")
    assert block.params == 18 * d**2 + 15 * d == plain.params - 4 * d + 6 * d**2 + 6 * d
    assert block.macs == expand(plain.macs.xreplace({cm.symbols("b"): n}) + 6 * n * d**2)


def test_dits_positions_are_distinct():
    table = dit.grid_positions(4, 6, 32)
    distances = ((table[:, None] - table[None]) ** 2).sum(axis=-1)
    assert table.shape == (24, 32) and (distances < 1e-6).sum() == 24


# -- convolutional networks --------------------------------------------------------------------------------------------------


def test_efficientnet(cost_of):
    cost = cost_of("efficientnet_b0")
    at = cost.at(n=1, h=224, w=224)
    assert (at.params, at.macs) == (5_288_548, 385_814_752)
    gates = cost.macs.xreplace({h: 0, w: 0})  # what does not grow with the image: squeeze-and-excitation and the classifier
    outputs = [features for _, _, _, features, blocks in efficientnet.STAGES for _ in range(blocks)]
    inputs = [32, *outputs[:-1]]  # the stem has 32
    expansions = [expansion for expansion, *_, blocks in efficientnet.STAGES for _ in range(blocks)]
    squeeze = sum(2 * (features // 4) * features * expansion for features, expansion in zip(inputs, expansions, strict=True))
    assert gates == n * (squeeze + 1280 * 1000)


def test_convnext(cost_of):
    """A stage of width d: per place 49·d + 8·d² a block, and 4·d·d/2 in the halving before it."""
    places, widths = h * w / 16, convnext.CONVNEXT_TINY.widths
    macs = places * 48 * widths[0]
    for stage, (depth, width) in enumerate(zip(convnext.CONVNEXT_TINY.depths, widths, strict=True)):
        if stage:
            places = places / 4
            macs += places * 4 * widths[stage - 1] * width
        macs += places * depth * (49 * width + 8 * width**2)
    cost = cost_of("convnext_tiny")
    assert cost.macs == expand(n * (macs + widths[-1] * 1000))
    at = cost.at(n=1, h=224, w=224)
    assert (at.params, at.macs) == (28_589_128, 4_455_531_264)


def test_unet(cost_of):
    """Per level of width f at p places: two 3×3 convolutions down, one 2×2 up from twice the width, two 3×3 up."""
    macs, params, features_in, places = 0, 0, 3, h * w
    widths = unet.UNet().widths
    for level, f in enumerate(widths):
        macs += places * 9 * f * (features_in + f)
        params += 9 * f * (features_in + f) + 4 * f
        if level < len(widths) - 1:
            macs += places * (2 * f * f + 9 * f * (2 * f + f))  # each result of the 2×2 up-convolution has one tap
            params += 8 * f * f + f + 9 * f * (2 * f + f) + 4 * f
        features_in, places = f, places / 4
    macs += h * w * widths[0] * 2
    params += widths[0] * 2 + 2
    cost = cost_of("unet")
    assert cost.params == params == 31_037_698
    assert cost.macs == expand(n * macs)


def test_unet_wants_levels_that_meet(cost_of):
    with pytest.raises(cm.DomainError, match="h"):
        cost_of("unet").at(n=1, h=500, w=512)


def test_a_small_unet_with_any_number_of_channels(cost_of):
    cost = cost_of("unet_small")
    assert cost.params.coeff(c) == 9 * 16
    assert cost.macs.coeff(c) == 9 * 16 * n * h * w
