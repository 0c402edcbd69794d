"""Where a user types commands: a folder with models of the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

OWN = '''
import jax.numpy as jnp
import flax.linen as nn
from flax import nnx

class Net(nn.Module):
    @nn.compact
    def __call__(self, x, twice=False):
        return nn.Dense(10)(x)

class Bare(nn.Module):
    width: int = 3

base = nn.Module()

def halves(x):
    return jnp.zeros(int(x.shape[0]) // 2) + x.sum()

def stops(x):
    raise KeyboardInterrupt

def product(p, x):
    return x @ p

def two(y, t):
    return ((y - t) ** 2).mean()

def rows(y):
    return y

def says(x):
    return "x"

def nothing(y):
    return jnp.argmax(y).astype("float32")

def reshaped(x):
    return x.reshape(-1, 4)

def sliced(x):
    return x[: x.shape[0] - 3]

def branch(x):
    return x if x.shape[0] > 7 else x[:1]

class Net2(nnx.Module):
    def __init__(self, rngs):
        self.l = nnx.Linear(4, 4, rngs=rngs)
    def __call__(self, x):
        return self.l(x)

def makes(n):
    return Net2(rngs=nnx.Rngs(0))

def strange(n):
    return "n,3"
'''


@pytest.fixture
def among_own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A terminal 200 wide, no devices of the user, ``own.py`` and a device file that is none in the working directory."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "there.toml").write_text("mine", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    return tmp_path
