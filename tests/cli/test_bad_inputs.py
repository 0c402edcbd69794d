"""Bad inputs: whatever a user types or calls that cannot be meant ends in one line that says what to do; Ctrl-C ends with 130.

Two tables: command lines with the words that the line must have, and calls. Bugs keep their traceback.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from flax import nnx
from test_language import PYTHON

import costmodel as cm
from costmodel import solve
from costmodel.cli import main
from costmodel.hardware import energy_tables, load, template
from costmodel.models import model
from costmodel.solve.compare import compare

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
NET = ("show", "own:Net", "--input", "n,d", "--no-verify")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "there.toml").write_text("mine", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    return tmp_path


TYPED: dict[str, tuple[str, str]] = {
    # what was dropped in silence
    "solve: --at binds what is solved for": ("solve mlp --over n --fit 1GB --at n=4", "leave it out of --at"),
    "a range binds what runs": ("roofline mlp --hw lecture --at n=1..4,n=2", "leave it out of --at"),
    "roofline: --depth without --by module": ("roofline mlp --hw lecture --depth 1", "--by module"),
    "roofline: --depth by kind": ("roofline mlp --hw lecture --depth 1 --by kind", "--by module"),
    "roofline: --by over a range": ("roofline mlp --hw lecture --at n=1..4 --by module", "without a range"),
    "show: --depth by op": ("show mlp --by op --depth 1", "--by module"),
    "show: two forms": ("show mlp --csv --json", "--csv and --json are different forms"),
    "show: three forms": ("show mlp --latex --csv --json", "give one of them"),
    "show: a policy without kernels": ("show mlp --policy layer", "--by kernel goes with --policy"),
    "solve: a layer of a fit": ("solve mlp --over n --fit 1GB --layer linear1", "whole model"),
    # what is not of its form
    "input: nothing between commas": ("show own:Net --input n,,3", "'n,h,w,3:float32'"),
    "input: nothing before a comma": ("show own:Net --input ,3", "'n,h,w,3:float32'"),
    "input: a negative size": ("show own:Net --input n,-3", "'n,h,w,3:float32'"),
    "input: a formula": ("show own:Net --input n,2*d", "'n,h,w,3:float32'"),
    "input: no such dtype": ("show own:Net --input n,d:float33", "bfloat16"),
    "input: a size of 0 for a symbol": ("show own:Net --input n,d --at n=0,d=1", "n >= 1"),
    "where: no clause": ("show own:Net --input n,d --where n=3", "'a >= b'"),
    "where: contradiction": ("show own:Net --input n,d --where n>=4,n<=2", "n has no value"),
    "at: no value": ("show mlp --at n=", "is not an integer"),
    "at: a range where none is meant": ("show mlp --at n=1..4", "is not an integer"),
    "at: two equals": ("show mlp --at n==1", "is not an integer"),
    "at: the same twice": ("show mlp --at n=1 --at n=2", "one value"),
    "kw: no value": ("show own:Net --input n,d --kw twice", "--kw train=false"),
    "kw: no name": ("show own:Net --input n,d --kw =3", "--kw train=false"),
    "depth: negative": ("show mlp --depth -1", "at least 1"),
    "size: no unit": ("solve mlp --over n --fit 80", "80GB"),
    "size: nothing": ("solve mlp --over n --fit GB", "80GB"),
    "time: no unit": ("solve mlp --latency 50", "50ms"),
    "roofline: --near over a range": ("roofline mlp --hw lecture --at n=1..4 --near 8KiB", "without a range"),
    "a memory that is not there": ("roofline mlp --hw h100-sxm --near SRAM", "it has L2"),
    "a kind of device": ("hw new chip --kind nqu", "did you mean npu"),
    "a range that is empty": ("roofline mlp --hw lecture --at n=9..1", "FIRST..LAST"),
    # names that are not there, and those nearest to them
    "command": ("shwo mlp", "show"),
    "command of hw": ("hw shwo", "show"),
    "option": ("show mlp --dept 1", "--depth"),
    "model": ("show resnet5", "did you mean resnet50"),
    "model to compare": ("compare resnet18 resnet19", "did you mean resnet18"),
    "attribute of a module": ("show own:net --input n,d", "did you mean Net"),
    "module": ("show owm:Net --input n,d", "run from the folder that holds it"),
    "device": ("roofline mlp --hw h100-smx", "did you mean h100-sxm"),
    "device shown": ("hw show tpuv5e", "did you mean tpu-v5e"),
    "table of energies": ("energy mlp --hw horowitz-65nm", "did you mean horowitz-45nm"),
    "device for energy": ("energy mlp --hw lectur", "did you mean lecture"),
    "policy": ("roofline mlp --hw h100-sxm --policy xla-gpus", "did you mean xla-gpu"),
    "policy of a table": ("show mlp --by kernel --policy unfuse", "did you mean unfused"),
    "dtype": ("roofline mlp --hw lecture --dtype bfloat61", "did you mean bfloat16"),
    "metric": ("solve mlp --over n --fit 1GB --uses model_sise", "did you mean model_size"),
    "form of a metric": ("solve mlp --over n --fit 1GB --uses activations:peek", "did you mean peak"),
    "rows of a table": ("show mlp --by modules", "did you mean module"),
    "rows of a roofline": ("roofline mlp --hw lecture --by kernels", "did you mean kernel"),
    "layer": ("explain mlp linear9", "did you mean linear"),
    "symbol": ("show own:Net --input batch,d --at bacth=1,d=2", "did you mean batch"),
    "symbol to solve for": ("solve own:Net --input batch,d --over bacth --fit 1GB", "did you mean batch"),
    "symbol of either model": ("compare mlp mlp --at q=1", "neither model has a symbol q"),
    "symbol of one model": ("compare mlp linear --at-b a=1", "the symbols here are c_i, c_o, n"),
    "compiler": ("judge mlp --compiler xla-cpus", "did you mean xla-cpu"),
    "form of taps": ("show mlp --taps vlid", "'dense', 'valid'"),
    # what cannot be done
    "hw new: a shipped name": ("hw new h100-sxm", "give another one"),
    "hw new: a shipped table's name": ("hw new horowitz-45nm", "give another one"),
    "hw new: no name": ("hw new MyChip", "lower-case"),
    "hw new: a file that is there": ("hw new there", "with -o"),
    "hw check: no file": ("hw check none.toml", "there is no device file"),
    "a picture of no kind": ("roofline mlp --hw lecture -o roof.jpeg", ".svg, .png"),
    "a folder that is not there": ("roofline mlp --hw lecture -o none/roof.svg", "cannot write"),
    "no device": ("roofline mlp --hw ,", "costmodel hw list"),
    "a peak that is not there": ("roofline mlp --hw lecture --dtype float64", "it has: float32"),
    "a device without that memory": ("energy mlp --hw horowitz-45nm --weights SRRAM", "it has register file, SRAM, DRAM"),
    "a module that cannot be called": ("show own:Bare --input n", "has no __call__"),
    "flax's own Module": ("show own:base --input n", "has no __call__"),
    "no runs": ("check mlp --hw lecture --repeat 0", "at least 1"),
    "no question": ("solve mlp --over n", "--fit SIZE"),
    # what another surface would mend otherwise
    "no peak in that type": ("roofline mlp --hw lecture --dtype float16", "with --dtype"),
    "no energy in that type": ("energy mlp --hw horowitz-45nm --dtype float8_e4m3fn", "float8_e4m3fn"),
    "energies in place of a device": ("roofline mlp --hw horowitz-45nm", "`costmodel energy`"),
    "memory of blocks without a point": ("show own:Net --input n,d --by block", "give --at"),
    "memory over time without a point": ("show own:Net --input n,d --by step -o x.svg", "give --at"),
    "bars without a point": ("show own:Net --input n,d -o x.svg", "give --at"),
    "a symbol without a value": ("roofline own:Net --input n,d --hw lecture --at n=2", "give it a value, as --at d=INT"),
    "no symbol with a value": ("roofline own:Net --input n,d --hw lecture", "--at d=INT,n=INT"),
    "a symbol of a sweep without a value": ("sweep own:Net --input n,d --over n=1..4", "d"),
    "a mesh's axis on a link": ("roofline mlp --hw h100-sxm --mesh data=2 --topology model=NVLink", "--topology lays 'model'"),
    "what is saved of a forward pass": ("show mlp --by saved", "`costmodel train`"),
    "a size that is not divided": ("show own:reshaped --input n,3 --by-fit never", "--where '4 | n'"),
    "a size that may be too small": ("show own:sliced --input n --by-fit never", "--where '32 | h, h >= 8'"),
    "a bound that decides": ("show own:branch --input n --by-fit never", "--where 'n <= 7' or --where 'n >= 8'"),
    "a random stream of a function": ("show own:product --input n,n --input n,n --rng dropout", "--rng and --mutable are for"),
    "a factory of modules": ("show own:makes --input n", "a function without parameters that returns it"),
    "a factory of inputs that are none": ("show own:Net --input own:strange", "jax.ShapeDtypeStruct"),
    "energy of no device": ("sweep mlp --over n=1..4 --metrics energy", "--hw"),
    "figures of no device": ("sweep mlp --over n=1..4 --vary bandwidth=1TB/s|2TB/s", "--vary varies figures of devices"),
    "two answers of a sweep": ("sweep mlp --over n=1..4 --best macs --pareto macs,live_peak", "--best, --pareto and a store"),
    "a condition that is none": ("sweep mlp --over n=1..4 --keep live_peak", "--keep live_peak is no condition"),
    "best over no axis": ("sweep mlp --over n=1..4 --best macs,q", "--best macs over q"),
    "roofline: depth of 0": ("roofline mlp --hw lecture --by module --depth 0", "--depth 0 must be at least 1"),
    "near of one kernel": ("roofline mlp --hw h100-sxm --policy compulsory --near L2", "--near is of the tiles"),
    "a nearer memory of 0": ("roofline mlp --hw h100-sxm --near 0B", "0"),
    # what was dropped, or taken for something else
    "an empty dtype": ("show mlp --dtype=", "--dtype is empty"), "an empty kind": ("hw new chip --kind=", "is empty"),
    "an empty policy": ("roofline mlp --hw lecture --policy=", "is empty"),
    "an empty stream": ("show mlp --rng=", "--rng is empty"), "an empty optimizer": ("train mlp --optimizer=", "is empty"),
    "an empty symbol": ("solve mlp --over= --fit 1GB", "--over is empty"),
    "no metrics": ("sweep mlp --over n=1..4 --metrics=", "--metrics is empty"),
    "a column without a picture": ("show mlp --metric params", "give -o FILE too"),
    "memory to reuse without memory": ("show mlp --donate input", "--by block or --by step"),
    "memory of nothing to reuse": ("show mlp --by block --donate inptu", "did you mean input"),
    "blocks to depth 0": ("show mlp --by block --depth 0", "at least 1"),
    "steps to a depth": ("show mlp --by step --depth 2", "give --by block or module"),
    "energy: depth of kernels": ("energy mlp --hw horowitz-45nm --by kernel --depth 2", "give --by module"),
    "energy: depth of the whole": ("energy mlp --hw horowitz-45nm --depth 1", "give --by module"),
    "energy: depth of 0": ("energy mlp --hw horowitz-45nm --by module --depth 0", "at least 1"),
    "input: no type after the colon": ("show own:Net --input n,d:", "no type after its colon"),
    "no module": ("show :x", "package.module:attribute"), "no attribute": ("show own:", "package.module:attribute"),
    "a memory of nothing": ("solve mlp --over n --fit 0GB", "holds nothing"),
    "a memory below nothing": ("solve mlp --over n --fit=-1GB", "is no size"),
    "a memory that is no number": ("solve mlp --over n --fit NaNGB", "is no size"),
    "a memory in exponents": ("solve mlp --over n --fit 1e99GB", "is no size"),
    "no time": ("solve mlp --over n --latency 0ms --hw lecture", "is no time"),
    "no such symbol to solve for": ("solve mlp --over m --fit 1GB", "m is no symbol of mlp: solve for one of a, b, c, d, n"),
    "no such symbol in a range": ("roofline mlp --hw lecture --at m=1..4", "m is no symbol of mlp"),
    "a range without end": ("roofline mlp --hw lecture --at n=1..99999999999", "at most 1,000,000"),
    "a range beyond every index": ("roofline mlp --hw lecture --at n=1..99999999999999999999", "at most 1,000,000"),
    "an axis beyond every index": ("sweep mlp --over n=1..99999999999999999999", "at most 1,000,000"),
    "an axis without end": ("sweep mlp --over n=1..99999999999", "at most 1,000,000"),
    "a figure without end": ("sweep mlp --over n=1..4 --hw lecture --vary bandwidth=1TB/s..2TB/s:99999999999", "at most 1,000"),
    "an axis backwards": ("sweep mlp --over n=4..1", "FIRST is above LAST"),
    "bandwidth in bytes": ("sweep mlp --over n=1..4 --hw lecture --vary bandwidth=1TB|2TB", "'1TB' is in B, and B/s is meant"),
    "a peak in bytes a second": ("sweep mlp --over n=1..4 --hw lecture --vary matrix.float32=1TB/s|2TB/s", "FLOP/s or OP/s is"),
    "memory in seconds": ("sweep mlp --over n=1..4 --keep live_peak<=80ms", "'80ms' is in s, and B is meant"),
    "time in bytes": ("sweep mlp --over n=1..4 --hw lecture --keep time<=80GB", "'80GB' is in B, and s is meant"),
    "a tie to nothing": ("sweep mlp --over n=1..4 --tie a=q", "--tie a=q follows a symbol that has no values"),
    "microbatches without end": ("train mlp --microbatch 99999999999999999999", "--microbatch"),
    "a target that is no JSON": ("train mlp --loss own:two --target {", "is no JSON"),
    "no devices": ("plan megatron_175b --devices 0 --hw a100-sxm-80gb --global-batch 64", "--devices 0 must be"),
    "no batch": ("plan megatron_175b --devices 8 --hw a100-sxm-80gb --global-batch 0", "--global-batch 0 must be"),
    "no plans": ("plan megatron_175b --devices 8 --hw a100-sxm-80gb --global-batch 8 --count 0", "--count 0 must be"),
    "a plan of no stack": ("plan mlp --devices 8 --hw a100-sxm-80gb --global-batch 8", "such as megatron_175b"),
    "to measure forever": ("hw measure --seconds inf", "give a positive time"),
    "to measure for no number": ("calibrate local --seconds nan", "give a positive time"),
    "to wait for no number": ("calibrate local --apart nan", "--apart is nan: give the seconds"),
    "runs of no file": ("calibrate h100-sxm --from none.jsonl", "none.jsonl cannot be read: No such file or directory;"),
    # a training step
    "train: a loss with targets": ("train own:Net --input n,d --loss own:two", "give --target for each argument"),
    "train: targets of a loss without": ("train own:Net --input n,d --loss own:nothing --target n", "the outputs and 1 target:"),
    "train: a loss that is no number": ("train own:Net --input n,d --loss own:rows", "take its mean or sum"),
    "train: a loss without a gradient": ("train own:Net --input n,d --loss own:nothing --at n=4,d=4", "no backward pass"),
    "train: a fixed batch": ("train own:Net --input 8,d --microbatch 3 --at d=4", "--microbatch 3 does not divide a batch of 8"),
    "train: integers": ("train own:Net --input n,d --compute-dtype int8 --at n=4,d=4", "gradients need a floating type"),
    "train: 64 bits": ("train own:Net --input n,d --compute-dtype float64 --at n=4,d=4", "JAX_ENABLE_X64=1"),
    "64 bits": ("show own:Net --input n,d:float64", "JAX_ENABLE_X64=1"),
    "train: a function's parameters": ("train own:product --input d,d --input n,d", "--params 0"),
    "no such argument": ("show own:product --input d,d --input n,d --params 2", "--params 2 is not an argument"),
    "parameters of a module": ("show own:Net --input n,d --params 0", "Net has parameters of its own"),
    "no fit, no symbols": ("show own:halves --input n --by-fit never", "own.py:17: `int(x.shape[0])`; `int()` of a dimension"),
}


def one_line(stderr: str) -> str:
    (line,) = stderr.splitlines()
    assert line.startswith("costmodel: ") and "Traceback" not in line
    echoed = re.sub(r"'[^']*'", "''", line)  # what was typed may look like Python
    assert not PYTHON.search(echoed), "a command line names options"
    return line


@pytest.mark.parametrize("typed, words", TYPED.values(), ids=TYPED)
def test_what_is_typed_wrong_ends_in_one_line(typed: str, words: str) -> None:
    result = CliRunner().invoke(main, typed.split())
    assert result.exit_code == 2, result.output
    assert result.stdout == "" and words in one_line(result.stderr)


N, D = cm.dims("n d")


@cache
def dense() -> Any:
    return cm.analyze(nn.Dense(10), cm.spec((N, D)))


@cache
def integers() -> Any:
    return cm.analyze(jnp.matmul, cm.spec((N, D), "int16"), cm.spec((D, N), "int16"))


def squares(y: Any) -> Any:
    return (y**2).sum()


def step(**options: Any) -> Any:
    return cm.analyze_training(nn.Dense(10), (N, D), **{"loss": squares, **options})


INPUTS = "Analyse the program with inputs of"
CALLED: dict[str, tuple[Callable[[], Any], str]] = {
    "dims: a name twice": (lambda: cm.dims("n n"), "named twice"),
    "dims: no name": (lambda: cm.dims(""), "cm.dims('n')"),
    "dims: a keyword": (lambda: cm.dims("for"), "use letters"),
    "dims: no value": (lambda: cm.dims("n", min=4, max=2), "n has no value"),
    "dims: min of 0": (lambda: cm.dims("n", min=0), "at least 1"),
    "an input as text": (lambda: cm.analyze(squares, "n,3"), "cm.spec"),
    "a class": (lambda: cm.analyze(nn.Dense, (N, D)), "pass an instance"),
    "no model": (lambda: cm.analyze(3, (N, D)), "neither a Flax module nor a function"),
    "flax's own Module": (lambda: cm.analyze(nn.Module(), (N, D)), "has no __call__"),
    "nnx's own Module": (lambda: cm.analyze(nnx.Module(), (N, D)), "has no __call__"),
    "a symbol of two domains": (lambda: cm.analyze(jnp.add, (N,), (cm.dims("n", multiple_of=8),)), "declared twice"),
    "a point without a symbol": (lambda: dense().at(n=1), "give a value for each of d, n"),
    "a point with another symbol": (lambda: dense().at(nn=1, d=1), "did you mean n"),
    "a point that is no integer": (lambda: dense().at(n=1.5, d=1), "is not an integer"),
    "a metric": (lambda: dense().metric("flop"), "did you mean flops"),
    "a metric's option": (lambda: dense().metric("flops", tap="valid"), "did you mean taps"),
    "a metric without options": (lambda: dense().metric("params", rule="total"), "params has no option 'rule'"),
    "taps": (lambda: dense().metric("flops", taps="vlid"), "did you mean valid"),
    "a form of bytes": (lambda: dense().bytes("compulsive"), "did you mean compulsory"),
    "a rule of activations": (lambda: dense().activations("peek"), "did you mean peak"),
    "a rule of what is saved": (lambda: dense().saved("residual"), "did you mean residuals"),
    "an order": (lambda: dense().live_peak(order="memry"), "did you mean memory"),
    "donate as text": (lambda: dense().live_peak(donate="input"), "donate=('input',)"),
    "donate as text, of a metric": (lambda: dense().metric("live_peak", donate="input"), "donate=('input',)"),
    "donate as text, of a profile": (lambda: dense().at(n=1, d=1).live_profile(donate="input"), "donate=('input',)"),
    "donate nothing of that name": (lambda: dense().live_peak(donate=("inputs",)), "did you mean input"),
    "a phase": (lambda: dense().filter_phase("bakward"), "did you mean backward"),
    "a large symbol": (lambda: dense().leading_order("batch"), "the symbols here are d, n"),
    "a dtype": (lambda: dense().reprice("bflot16"), "did you mean bfloat16"),
    "a layer": (lambda: model("mlp").analyze(verify=False).explain("linear_1"), "did you mean linear1"),
    "a policy": (lambda: dense().kernels("xla_gpu"), "did you mean xla-gpu"),
    "rows": (lambda: dense().table(by="layers"), "did you mean layer"),
    "depth of kernels": (lambda: dense().at(n=1, d=1).roofline("lecture").by("kernel", 1), "by='module'"),
    "depth of 0": (lambda: dense().at(n=1, d=1).roofline("lecture").by("module", 0), "at least 1"),
    "integers that a device has no peak for": (lambda: integers().roofline("h100-sxm", n=8, d=8), INPUTS),
    "integers repriced": (lambda: integers().reprice("int8").roofline("h100-sxm", n=8, d=8), INPUTS),
    "floats that a device has no peak for": (lambda: dense().reprice("float64").roofline("lecture", n=8, d=8), "reprice(dtype=…)"),
    "a device": (lambda: load("a100"), "did you mean a100-pcie-40gb"),
    "energies as a device": (lambda: load(energy_tables()[0]), "energies only"),
    "a new device of an old name": (lambda: template("lecture"), "give another one"),
    "a symbol to solve for": (lambda: solve.max_fit(dense(), "m", "1GB"), "solve for one of"),
    "a symbol that is bound": (lambda: solve.max_fit(dense(), "n", "1GB", at={"n": 1, "d": 1}), "solve for one of"),
    "a sweep of another symbol": (lambda: dense().sweep(n=[1, 2], dd=[1]), "did you mean d"),
    "a sweep of nothing": (lambda: dense().sweep(n=[], d=[1]), "the grid of n is empty"),
    "a model": (lambda: model("resnet5"), "did you mean resnet50"),
    "what is unknown": (lambda: cm.analyze(squares, (N,), unknown="ignore"), "'warn'"),
    "branches": (lambda: cm.analyze(squares, (N,), branches="most"), "max"),
    "dims: no text": (lambda: cm.dims(3), "as text"),
    "dims: constraints that are no text": (lambda: cm.dims("n", where=3), "as text"),
    "dims: a bound as text": (lambda: cm.dims("n", min="4"), "min='4' must be an integer"),
    "dims: half a size": (lambda: cm.dims("n", min=2.5), "min=2.5 must be an integer"),
    "spec: text": (lambda: cm.spec("n,3"), "is no shape"), "spec: a size alone": (lambda: cm.spec(3), "3 is no shape"),
    "spec: half a size": (lambda: cm.spec((2.5,)), "is no shape"),
    "spec: a negative size": (lambda: cm.spec((-1, 3)), "is no shape"), "spec: no type": (lambda: cm.spec((2,), None), "no"),
    "a size of no bits": (lambda: dense().model_size(bits=0), "bits=0 must be"),
    "bits as text": (lambda: dense().model_size(bits="8"), "bits='8' must be"),
    "saturation within twice": (lambda: solve.saturation(dense(), "n", "lecture", at={"d": 3}, within=2), "between 0 and 1"),
    "a time that is none": (lambda: solve.max_batch(dense(), "n", "lecture", float("nan"), at={"d": 3}), "a time of nan s"),
    "elasticities of formulas": (lambda: solve.elasticities(dense(), "lecture"), "at a point"),
    "formulas compared": (lambda: compare(dense(), dense()), "at points"),
    "the largest batch at a point": (lambda: solve.largest_batch(dense().at(n=1, d=1), "1GB", {}), "asked of formulas"),
    "blocks to depth 0": (lambda: dense().at(n=1, d=1).blocks(0), "depth=0 must be at least 1"),
    "no device": (lambda: dense().at(n=1, d=1).roofline(3), "3 is no device"),
    "training in integers": (lambda: step(compute_dtype="int8"), "gradients need a floating type"),
    "training in 64 bits": (lambda: step(compute_dtype="float64"), "jax_enable_x64"),
    "inputs of 64 bits": (lambda: cm.analyze(squares, cm.spec((N,), "int64")), "jax_enable_x64"),
    "a loss by name": (lambda: step(loss="cross-entropy"), "is no function"),
    "a loss of more targets": (lambda: step(loss=lambda y, t: (y - t).sum()), "give targets=(…) for each"),
    "a loss of rows": (lambda: step(loss=lambda y: y), "take its mean or sum"),
    "a loss that is a pair": (lambda: step(loss=lambda y: (y.sum(), y)), "tuple"),
    "one target by itself": (lambda: step(loss=lambda y, t: (y - t).sum(), targets=cm.spec((N, 10))), "targets=(target,)"),
    "half a microbatch": (lambda: step(microbatches=2.5), "an integer of at least 1"),
    "a microbatch as text": (lambda: step(microbatches="2"), "an integer of at least 1"),
    "a fixed batch": (lambda: cm.analyze_training(nn.Dense(2), (9, D), loss=squares, microbatches=2), "does not divide a batch"),
    "remat: True": (lambda: step(remat=True), "choose one of none, full"),
    "remat: a list": (lambda: step(remat=["dots"]), "choose one of none, full"),
    "what is saved of a forward pass": (lambda: dense().saved(), "use analyze_training"),
    "side by side: nothing": (lambda: cm.side_by_side(), "one cost or more"),
    "side by side: no metrics": (lambda: cm.side_by_side(dense(), metrics=()), "their metrics by name"),
    "side by side: a name": (lambda: cm.side_by_side("mlp"), "is no cost"),
    "side by side: a list": (lambda: cm.side_by_side([dense(), dense()]), "each by itself"),
    "side by side: a number": (lambda: cm.side_by_side(dense(), metrics=[3]), "their metrics by name"),
    "side by side: a metric": (lambda: cm.side_by_side(dense(), metrics="mac"), "did you mean macs"),
    "params of a module": (lambda: cm.analyze(nn.Dense(2), (N, D), params=0), "has parameters of its own"),
    "text that is no cost": (lambda: cm.from_json("{}"), "cost"),
}


@pytest.mark.parametrize("call, words", CALLED.values(), ids=CALLED)
def test_what_is_called_wrong_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(cm.CostModelError) as raised:
        call()
    assert "\n" not in str(raised.value) and words in str(raised.value)


def test_what_is_meant_is_done() -> None:
    """Kin of what is refused above: one metric as text, no rematerialisation as None, halves of an even batch."""
    assert cm.side_by_side(dense(), metrics="macs").asked == ("macs",)
    assert step(remat=None).macs == step().macs
    assert dense().model_size(bits=np.int64(4)) == dense().model_size(bits=4)
    halves = step(microbatches=2)
    assert "2 | n" in halves.domain.texts and str(halves.domain).count("2 | n") == 1
    with pytest.raises(cm.CostModelError, match=r"n=9 is outside the domain 2 \| n"):
        halves.at(n=9, d=1)


def test_the_tables_are_long_enough() -> None:
    assert len(TYPED) >= 60 and len(CALLED) >= 40


NOISY = """
import flax.linen as nn
print("NOISE")

class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        print("NOISE")
        return nn.Dense(10)(x)
"""
OF_NOISY = ("show", "explain", "roofline --hw lecture", "energy --hw horowitz-45nm", "train", "solve --fit 1GB", "page -o net.html",
            "mfu --hw lecture --time 3ms", "show --json")


@pytest.mark.parametrize("command", OF_NOISY)
def test_what_a_model_prints_is_not_in_the_result(command: str, surroundings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (surroundings / "noisy.py").write_text(NOISY, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "noisy", raising=False)
    name, *options = command.split()
    result = CliRunner().invoke(main, [name, "noisy:Net", "--input", "n,4", "--at", "n=2", "--no-cache", *options])
    assert result.exit_code == 0 and result.stdout and "NOISE" not in result.stdout and "NOISE" in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's device that is always full")
def test_output_that_finds_no_room_is_one_line() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([sys.executable, "-m", "costmodel", "lecture", "4"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "no space is left" in one_line(done.stderr)


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------------------


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["costmodel.arguments.model", "costmodel.program.fit.result.raw_program",
                                   "costmodel.program.table.cost_table", "costmodel.arguments._verify",
                                   "costmodel.pricing.table.build", "costmodel.sheets.terminal.text",
                                   "costmodel.pricing.roofline.price", "costmodel.cli.price.end", "click.echo"])
def test_ctrl_c_ends_with_130_wherever_it_comes(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import costmodel.pricing.roofline
    import costmodel.pricing.table  # noqa: F401

    if where == "click.echo":
        monkeypatch.setattr("costmodel.cli.forms.click.echo", _once(interrupted))
    elif where == "costmodel.pricing.table.build":
        monkeypatch.setattr(where, interrupted)
        assert CliRunner().invoke(main, ["show", "mlp", "--no-verify"]).exit_code == 130
        return
    else:
        monkeypatch.setattr(where, interrupted)
    result = CliRunner().invoke(main, ["roofline", "mlp", "--hw", "lecture", "--no-cache"])
    assert result.exit_code == 130 and "Traceback" not in result.output


def _once(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function the first time, and nothing after that."""
    calls = iter([function])
    return lambda *args, **kwargs: next(calls, lambda *a, **k: None)(*args, **kwargs)


def test_ctrl_c_inside_the_users_model_ends_with_130() -> None:
    for by_fit in ("auto", "never", "always"):
        result = CliRunner().invoke(main, ["show", "own:stops", "--input", "n", "--by-fit", by_fit])
        assert result.exit_code == 130 and "Traceback" not in result.output


# -- a reader that goes away -------------------------------------------------------------------------------------------------------


def test_a_picture_is_written_though_nobody_reads_the_text(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        arguments = ["roofline", "mlp", "--hw", "lecture", "--no-verify", "-o", "roof.svg"]
        done = subprocess.run([sys.executable, "-m", "costmodel", *arguments], stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert done.stderr == "" and "<svg" in (tmp_path / "roof.svg").read_text(encoding="utf-8")
