"""The operations of the lecture's roofline example ("Basics of AI and deep learning", edge AI lecture), as layers.

The slide prints rounded figures of six operations and names none. Five are layers whose own figures round to what it prints
(``data/lecture_roofline.csv``, with 1 MB for 2²⁰ bytes); of the fifth, 172 MFLOP and 1.3 MB, no usual layer is known that does:

==========  =================================================  =======
operation   layer                                              bound
==========  =================================================  =======
op1         3x3 depthwise, 64 channels, 224x224                memory
op2         1x1, 512 to 1024 channels, 7x7                     memory
op3         3x3 in 4 groups of 16 channels, 224x224            memory
op4         7x7 with stride 2, 3 to 64 channels, 224x224       compute
op6         3x3, 128 to 128 channels, 28x28                    compute
==========  =================================================  =======
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn

from costmodel.models import ModelEntry

same3x3 = partial(nn.Conv, kernel_size=(3, 3), padding=1, use_bias=False)


def operation(name: str, layer: nn.Module, channels: int, size: int, summary: str, **more: str) -> ModelEntry:
    return ModelEntry(f"lecture_{name}", lambda: layer, (f"n,h,w,{channels}:float32",), at={"n": 1, "h": size, "w": size},
                      summary=f"{summary} ({name} of the lecture's roofline)", **more)


MODELS = (
    operation("op1", same3x3(64, feature_group_count=64), 64, 224, "3x3 depthwise convolution"),
    operation("op2", nn.Conv(1024, (1, 1), use_bias=False), 512, 7, "1x1 convolution"),
    operation("op3", same3x3(64, feature_group_count=4), 64, 224, "3x3 convolution in 4 groups"),
    operation("op4", nn.Conv(64, (7, 7), strides=2, padding=3, use_bias=False), 3, 224, "7x7 convolution with stride 2",
              where="2 | h, 2 | w"),
    operation("op6", same3x3(128), 128, 28, "3x3 convolution"),
)
