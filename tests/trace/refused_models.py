"""Models that jax refuses with symbolic sizes: (what the one line must say of the cause, the model), and the same model mended."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

TABLE = jnp.ones((512, 8))


def integer(x):
    return jnp.zeros((int(x.shape[0]) // 2,)) + x.sum()


def integer_mended(x):
    return jnp.zeros((x.shape[0] // 2,)) + x.sum()


def length(x):
    return x * len(x)


def length_mended(x):
    return x * x.shape[0]


def steps(x):
    return sum(x[i] for i in range(x.shape[0]))


def steps_mended(x):
    return lax.scan(lambda total, row: (total + row, None), jnp.zeros(x.shape[1:]), x)[0]


def rows(x):
    total = 0
    for row in x:
        total = total + jnp.tanh(row)
    return total


def rows_mended(x):
    return jax.vmap(jnp.tanh)(x).sum(0)


def real(x):
    return x / float(x.shape[1])


def real_mended(x):
    return x / jnp.sqrt(x.shape[1]) ** 2


def root(x):
    return x / math.sqrt(x.shape[1])


def root_mended(x):
    return x / jnp.sqrt(x.shape[1])


def power(x):
    return x / x.shape[1] ** 0.5


power_mended = root_mended


def host(x):
    return x + np.zeros(x.shape)


def host_mended(x):
    return x + jnp.zeros(x.shape)


def half(x):
    return jnp.zeros((x.shape[0] / 2,)) + x.sum()


def half_mended(x):
    return jnp.zeros((x.shape[0] // 2,)) + x.sum()


def rounded(x):
    return x[: round(x.shape[0] * 0.5)]


def rounded_mended(x):
    return x[: x.shape[0] // 2]


def repeated(x):
    return jnp.stack([x.sum()] * x.shape[0])


def repeated_mended(x):
    return jnp.broadcast_to(x.sum(), (x.shape[0],))


def compared(x):
    return x[:512] if x.shape[0] > 512 else x


def table(x):
    return x.sum() + lax.dynamic_slice(TABLE, (0, 0), (x.shape[0], 8))


def related(x):
    return x[:, 0] if x.shape[1] >= 2 * x.shape[0] else x[:, 1]


def divided(x):
    return x.reshape(-1, 32)


def by_value(x):
    return x if x.sum() > 0 else -x


def by_item(x):
    return x * x.max().item()


def kinds(x):
    return jnp.unique(x)


def kinds_mended(x):
    return jnp.unique(x, size=8)


def places(x):
    return jnp.nonzero(x > 0)[0]


def places_mended(x):
    return jnp.nonzero(x > 0, size=8)[0]


def constant(x):
    return jnp.tile(x, x)
