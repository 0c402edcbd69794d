"""Bad inputs: whatever a user types that cannot be meant ends in one line that says what to do. Bugs keep their traceback.

A table: command lines, with the words that the line must have.
"""

from __future__ import annotations

import re

import own_models
import pytest
from click.testing import CliRunner
from test_language import PYTHON

from costmodel.cli import main
from costmodel.errors import RankError

among_own_models = own_models.among_own_models  # a fixture
pytestmark = pytest.mark.usefixtures("among_own_models")

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
    "a range that is empty": ("roofline mlp --hw lecture --at n=9..1", "FIRST is above LAST"),
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
    "roofline: depth of 0": ("roofline mlp --hw lecture --by module --depth 0", "--depth 0 must be an integer of at least 1"),
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
    "where: 0 divides": ("show own:Net --input n,d --where 0|n", "0 divides no size"),
    "where: what cannot be": ("show own:Net --input n,d --where n>=d,d>=n+1", "'d>=n+1' cannot hold beside the others"),
    "where: more than itself": ("show own:Net --input n,d --where n>=n+1", "'n>=n+1' cannot hold beside the others"),
    "solve: a layer of a latency": ("solve mlp --over n --latency 9ms --hw lecture --layer linear1", "whole model"),
    "solve: a layer along a figure": ("solve mlp --over bandwidth --crossover --hw lecture --layer linear1", "of the model"),
    "vary: the same twice": ("sweep mlp --over n=1..4 --hw lecture --vary bandwidth=1TB/s --vary bandwidth=2TB/s", "once"),
    "vary: a value twice": ("sweep mlp --over n=1..4 --hw lecture --vary bandwidth=1TB/s..1TB/s:3", "has a value twice"),
    "vary: no end": ("sweep mlp --over n=1..4 --hw lecture --vary bandwidth=1e400|2", "positive numbers"),
    "keep: a figure that stands": ("sweep mlp --over n=1..4 --hw lecture --keep bandwidth>=1TB/s", "give it values by --vary"),
    "keep: a peak that stands": ("sweep mlp --over n=1..4 --hw lecture --keep matrix.float32>=1TFLOP/s", "values by --vary"),
    "more shards than inputs": ("show own:Net --input n,d --mesh data=2 --shard data --shard data", "2 times --shard for 1 input:"),
    "kw: the same twice": ("show own:Net --input n,d --kw twice=true --kw twice=false", "--kw gives twice twice"),
    "a mesh beyond every index": ("show own:Net --input n,d --mesh data=99999999999 --shard data,-", "more than jax counts"),
    "a model that returns text": ("show own:says --input n", "it returned a value of type <class 'str'>, which is no"),
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


def test_the_table_is_long_enough() -> None:
    assert len(TYPED) >= 60


@pytest.mark.parametrize("argument, shards, words", [("out_shardings", ("--shard", "data,-"), "out_shardings: "),
                                                     ("in_shardings[0]", (), "in_shardings[0]: "),
                                                     ("in_shardings[0]", ("--shard", "data,-"), "--shard 'data,-' has 3 entries"),
                                                     ("targets", ("--shard", "data,-"), "--shard 'data,-' has 3 entries")])
def test_a_partition_of_too_many_entries_is_that_of_who_wrote_it(argument: str, shards: tuple[str, ...], words: str,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise RankError(argument, ("data", None, None), "an array of shape (n, d)", 2)

    monkeypatch.setattr("costmodel.models.ModelEntry.analyze", refuses)
    result = CliRunner().invoke(main, ["show", "mlp", "--mesh", "data=2", *shards, "--no-cache"])
    assert result.exit_code == 2 and result.stderr.startswith(f"costmodel: {words}")
