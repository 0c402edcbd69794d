"""What the backward pass computes again instead of holding it: the policies of ``jax.checkpoint``, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from costmodel.errors import CostModelError
from costmodel.surface import option
from costmodel.text import did_you_mean

# The name, and what of the forward pass is held (None: nothing is computed again).
REMAT = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_saveable,
    "dots-no-batch": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def named(name: str | None) -> str:
    """The name of a policy; None is "none". Raises CostModelError for what is no policy."""
    if name is None:
        return "none"
    if not isinstance(name, str) or name not in REMAT:
        raise CostModelError(f"{option('remat', name)} is no policy of rematerialisation;{did_you_mean(name, REMAT)} choose one of "
                             f"{', '.join(REMAT)}; for single blocks wrap them in the model (nn.remat, nnx.remat, jax.checkpoint)")
    return name


def checkpointed(call: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The call of a model as a whole under a policy."""
    policy = REMAT[name]
    return call if policy is None else jax.checkpoint(call, policy=policy)
