"""The command that says how each figure of the lecture is made."""

from __future__ import annotations

from typing import NamedTuple

import click

from costmodel.cli.forms import forms, give
from costmodel.errors import CostModelError


class Made(NamedTuple):
    """A figure of the lecture: the notebook (of notebooks/) that it is explained in, and the command that makes it."""

    notebook: int
    figure: str
    command: str


_IMAGE = "--at n=1,h=224,w=224"
LECTURE = (
    Made(1, "a fully connected layer", "costmodel show linear --formulas"),
    Made(1, "a convolution in one dimension", "costmodel show conv1d --formulas"),
    Made(1, "a convolution", "costmodel show conv2d --formulas"),
    Made(1, "padding, and what its taps cost", "costmodel show conv2d_padded --formulas --taps valid"),
    Made(1, "a strided convolution", "costmodel show conv2d_strided --formulas"),
    Made(1, "a dilated convolution", "costmodel show conv2d_dilated --formulas"),
    Made(1, "a grouped convolution", "costmodel show conv2d_grouped --formulas"),
    Made(1, "a depthwise convolution", "costmodel show conv2d_depthwise --formulas"),
    Made(1, "zeros, constants, reflection and replication as padding",
         "costmodel compare pad_zero pad_reflect --at n=1,h=56,w=56,c=64,p=1"),
    Made(1, "pooling", "costmodel compare max_pool avg_pool --at n=1,h=55,w=55,c=96,k=3,s=2"),
    Made(1, "batch, layer, instance and group normalisation", "costmodel compare batch_norm layer_norm --at n=1,h=56,w=56,c=64"),
    Made(1, "what an activation function takes an element", "costmodel compare swish hard_swish --at n=1,h=1,w=1,c=1"),
    Made(2, "AlexNet, layer by layer", f"costmodel show alexnet_no_bias --by layer {_IMAGE}"),
    Made(2, "AlexNet's parameters, as bars", f"costmodel show alexnet_no_bias --by layer {_IMAGE} --metric params -o alexnet.svg"),
    Made(2, "VGG-16", f"costmodel show vgg16 --by layer {_IMAGE}"),
    Made(2, "ResNet-50", f"costmodel show resnet50 {_IMAGE}"),
    Made(2, "from ResNet-50 to MobileNetV2 parameters shrink, activations do not",
         f"costmodel compare resnet50 mobilenet_v2 {_IMAGE} -o shrunk.svg"),
    Made(2, "MobileNetV2: activations and weights by block", f"costmodel show mobilenet_v2 --by block {_IMAGE} -o blocks.svg"),
    Made(2, "MCUNet in int8: activations and weights by block",
         "costmodel show mcunet_in3 --by block --dtype int8 --donate input --at n=1,h=176,w=176 -o mcunet.svg"),
    Made(3, "memory over time", f"costmodel show mobilenet_v2 --by step --policy layer {_IMAGE} -o memory.svg"),
    Made(3, "in training, activations are the bottleneck",
         "costmodel train resnet18 --optimizer adamw --at n=32,h=224,w=224 -o training.svg"),
    Made(3, "the largest batch of a training step", "costmodel train resnet18 --optimizer adamw --at n=32,h=224,w=224 --fit 80GB"),
    Made(4, "the lecture's device", "costmodel hw show lecture -o roof.svg"),
    Made(4, "op1 to op6 under its roof",
         "costmodel roofline lecture_op1 --beside lecture_op2,lecture_op3,lecture_op4,lecture_op6 --hw lecture -o operations.svg"),
    Made(4, "fewer operations are no speed-up where memory binds",
         f"costmodel compare resnet50 mobilenet_v2 {_IMAGE} --hw lecture"),
    Made(4, "networks under several roofs", f"costmodel roofline resnet50 --hw h100-sxm,tpu-v5e,lecture {_IMAGE} -o roofs.svg"),
    Made(4, "devices and their ridge points", "costmodel hw list -o ridges.svg"),
    Made(4, "the memory wall", "costmodel hw wall -o wall.svg"),
    Made(5, "latency: the greater of computing and moving", f"costmodel roofline resnet50 --hw lecture {_IMAGE}"),
    Made(5, "latency and throughput over the batch",
         "costmodel sweep resnet50 --over n=1..256*2 --at h=224,w=224 --hw h100-sxm -o throughput.svg"),
    Made(5, "the largest batch within 10 ms", "costmodel solve resnet50 --over n --at h=224,w=224 --latency 10ms --hw h100-sxm"),
    Made(5, "pJ of an operation and of an access", "costmodel hw show horowitz-45nm"),
    Made(5, "where AlexNet's energy goes", f"costmodel energy alexnet --hw horowitz-45nm {_IMAGE} -o energy.svg"),
    Made(6, "GPT-2 in batch and sequence", "costmodel show gpt2 --formulas"),
    Made(6, "the fastest plan of GPT-3's size on 64 devices",
         "costmodel plan megatron_175b --devices 64 --hw a100-sxm-80gb --global-batch 64"),
    Made(6, "a page to play with", "costmodel page mobilenet_v2 --hw lecture,h100-sxm -o mobilenet_v2.html"),
)
NOTEBOOKS = {1: "1_layers", 2: "2_networks", 3: "3_memory", 4: "4_roofline", 5: "5_time_and_energy", 6: "6_your_own_model"}


@click.command()
@click.argument("notebook", type=int, required=False)
@forms
def lecture(notebook: int | None, form: str | None) -> None:
    """Each figure of the lecture and the command that makes it; of one NOTEBOOK, 1 to 6, if asked."""
    from costmodel.sheets import Column, Line, OneSheet, Sheet

    if notebook is not None and notebook not in NOTEBOOKS:
        raise CostModelError(f"there is no notebook {notebook}: give a number from 1 to {len(NOTEBOOKS)}")
    columns = (Column("figure"), Column("notebook", style="text"), Column("made by", style="text"))
    lines = tuple(Line(each.figure, (NOTEBOOKS[each.notebook], each.command)) for each in LECTURE
                  if notebook in (None, each.notebook))
    give(OneSheet(Sheet("", columns, lines)), form)
