"""The lecture's normalisations: batch, layer, instance, group ("Basics of AI and deep learning", edge AI lecture).

They differ in the elements that share a mean and a variance: batch normalisation n·h·w of a channel (stored statistics
in inference, so nothing is reduced), layer normalisation the channels of a position, instance normalisation h·w of one
image's channel, group normalisation h·w of a group of channels. Each has a scale and a bias a channel: 2·c parameters.
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn

from costmodel.models import ModelEntry

# JAX cannot trace a symbolic number of groups: flax asserts that it is an integer.
GROUPS = 32

norm_entry = partial(ModelEntry, inputs=("n,h,w,c:float32",), at={"n": 1, "h": 56, "w": 56, "c": 64})

MODELS = (
    norm_entry("batch_norm", partial(nn.BatchNorm, use_running_average=True), summary="batch normalisation, inference"),
    norm_entry("layer_norm", nn.LayerNorm, summary="layer normalisation over the channels"),
    norm_entry("instance_norm", nn.InstanceNorm, summary="instance normalisation"),
    norm_entry(
        "group_norm",
        partial(nn.GroupNorm, num_groups=GROUPS),
        where=f"{GROUPS} | c",
        summary=f"group normalisation, {GROUPS} groups",
    ),
)
