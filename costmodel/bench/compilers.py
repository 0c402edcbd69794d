"""What a compiler makes of a program, for a device that need not be there: its kernels, their bytes, and its own figures.

XLA compiles for a TPU or a GPU from a description of it (``targets.toml``). That takes environment variables which must be set
before jax starts; :func:`prepare` sets them for a process that is to do nothing else, which is what the command line does.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costmodel.bench import hlo
from costmodel.bench.hlo_kernels import Kernel, kernels, unknown_loops
from costmodel.errors import CostModelError
from costmodel.text import did_you_mean

if TYPE_CHECKING:
    from costmodel.trace.requests import Traced

FORMAT = "costmodel-compiled-1"

# By platform: the environment to compile in without the device, what to install, and the package that shows that it is.
_ENVIRONMENT = {
    "cpu": {},
    "tpu": {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"},
    "cuda": {"JAX_PLATFORMS": "cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"},
}
_EXTRA = {"tpu": "tpu", "cuda": "cuda12"}
_PACKAGES = {"cpu": (), "tpu": ("libtpu",), "cuda": ("jax-cuda12-plugin",)}
# Fields of a GPU's description that hold the name of an enumeration's value, not text.
_ENUMERATIONS = {"feature_extension"}


@dataclass(frozen=True)
class Row:
    """Kernels of one kind and module that run equally often.

    runs:    how often each runs; ``kernels`` how many there are.
    bytes:   logical bytes of one run of all of them, in all memories; ``main`` in the main memory.
    stated:  bytes of one run of all of them, by the rule of XLA's own analysis; -1 each for custom calls.
    """

    kind: str
    module: str
    runs: int
    kernels: int
    bytes: float
    main: float
    stated: float


@dataclass(frozen=True)
class Compiled:
    """A program, compiled. All sizes in bytes.

    stated: XLA's own analysis of the compiled program: ``flops``, ``bytes accessed``.
    memory: ``argument``, ``output``, ``temporary`` and ``alias`` (results that take the place of arguments).
    unknown_loops: loops that run as often as their data say; they are counted as one run.
    """

    compiler: str
    versions: Mapping[str, str]
    stated: Mapping[str, float]
    memory: Mapping[str, int]
    rows: tuple[Row, ...]
    unknown_loops: int = 0

    @property
    def policy(self) -> str:
        """The fusion policy that stands for this compiler."""
        return target(self.compiler)["policy"]

    @property
    def order(self) -> str:
        """The order of kernels that stands for this compiler's."""
        return target(self.compiler)["order"]

    @property
    def on_chip(self) -> bool:
        """Does the compiler keep arrays in a memory on the chip, as that for TPUs does?"""
        return target(self.compiler)["platform"] == "tpu"

    @property
    def bytes(self) -> float:
        """Logical bytes through the device's main memory, all runs of all kernels; on a TPU without copies of arguments and results
        into another layout, which a program that runs step after step makes once, and without what is fetched for the next call."""
        return sum(r.main * r.runs for r in self.rows if not (self.on_chip and r.kind in ("entry copy", "next call")))

    @property
    def borders(self) -> float:
        """Logical bytes across the kernels' borders, on-chip memory included: where there is none, the same as :attr:`bytes`."""
        return sum(map(self.crossing, self.rows))

    def crossing(self, row: Row) -> float:
        """What a row contributes to :attr:`borders`: moves between the memories are no kernels."""
        apart = self.on_chip and row.kind in ("entry copy", "next call", "prefetch")
        return 0.0 if apart else row.bytes * row.runs

    @property
    def peak(self) -> int:
        """Arguments, results and temporaries: what the program needs while it runs."""
        m = self.memory
        return m["argument"] + m["output"] + m["temporary"] - m["alias"]

    @property
    def kernels(self) -> int:
        """Kernels run."""
        return sum(row.kernels * row.runs for row in self.rows)

    def to_record(self) -> dict[str, Any]:
        """As plain data, rows by module."""
        modules: dict[str, list[Any]] = {}
        for r in self.rows:
            modules.setdefault(r.module, []).append([r.kind, r.runs, r.kernels, *map(_integer, (r.bytes, r.main, r.stated))])
        return {"format": FORMAT, "compiler": self.compiler, "versions": dict(self.versions), "stated": dict(self.stated),
                "memory": dict(self.memory), "unknown_loops": self.unknown_loops, "kernels": modules}


def from_record(record: Mapping[str, Any]) -> Compiled:
    """The program of :meth:`Compiled.to_record`. Raises CostModelError for what is none."""
    if record.get("format") != FORMAT:
        raise CostModelError(f"not a record of a compiled program: expected format {FORMAT!r}")
    rows = tuple(Row(kind, module, *rest) for module, found in record["kernels"].items() for kind, *rest in found)
    return Compiled(record["compiler"], record["versions"], record["stated"], record["memory"], rows, record["unknown_loops"])


def _integer(x: float) -> float:
    return int(x) if x == int(x) else x


# -- targets ------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def targets() -> Mapping[str, Mapping[str, Any]]:
    """What can be compiled for, by name."""
    return tomllib.loads((Path(__file__).parent / "targets.toml").read_text(encoding="utf-8"))


def target(compiler: str) -> Mapping[str, Any]:
    """Raises CostModelError for an unknown name, with those there are."""
    if compiler not in targets():
        raise CostModelError(f"unknown compiler {compiler!r};{did_you_mean(compiler, targets())} choose one of "
                             f"{', '.join(targets())}")
    return targets()[compiler]


def prepare(compiler: str) -> None:
    """Make this process one that compiles for ``compiler``; before jax is imported. Raises CostModelError where the compiler is not
    installed."""
    os.environ.update(environment(compiler))


def environment(compiler: str) -> Mapping[str, str]:
    """The variables of such a process. Raises CostModelError where the compiler is not installed."""
    _require(compiler)
    return _ENVIRONMENT[target(compiler)["platform"]]


def _require(compiler: str) -> None:
    platform = target(compiler)["platform"]
    for package in _PACKAGES[platform]:
        if importlib.util.find_spec(package.replace("-", "_")) is None:
            extra = _EXTRA[platform]
            raise CostModelError(f"{compiler} needs the extra {extra}: pip install 'jax-costmodel[{extra}]'")


def installed(compiler: str) -> dict[str, str]:
    """Versions of what compiles, by package."""
    return {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", *_PACKAGES[target(compiler)["platform"]])}


def _ready(compiler: str) -> None:
    """Was this process prepared? It is not ours to change a user's process under their feet."""
    _require(compiler)
    wanted = _ENVIRONMENT[target(compiler)["platform"]]
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        raise CostModelError(f"{compiler} compiles in a process of its own: run `costmodel judge MODEL --compiler {compiler}`, or "
                             f"start Python with {' '.join(f'{name}={value}' for name, value in wanted.items())}")


def text_proto(value: Mapping[str, Any], indent: str = "") -> str:
    """Nested tables as a text-format protocol buffer.

    >>> print(text_proto({"name": "a b", "capability": {"major": 9}}))
    name: "a b"
    capability {
      major: 9
    }
    """
    def lines() -> Iterator[str]:
        for name, item in value.items():
            if isinstance(item, Mapping):
                yield f"{indent}{name} {{\n{text_proto(item, indent + '  ')}\n{indent}}}"
            else:
                text = isinstance(item, str) and name not in _ENUMERATIONS
                yield f'{indent}{name}: "{item}"' if text else f"{indent}{name}: {item}"

    return "\n".join(lines())


# -- compiling ----------------------------------------------------------------------------------------------------------------


def compile_for(traced: Traced, compiler: str, donate: Sequence[str] = ()) -> Compiled:
    """Compile a concrete program; ``donate`` names the roles of arguments whose memory results may take (``parameter``,
    ``optimizer``, ``buffer``, ``input``).

    Raises CostModelError where the compiler is not installed, the process is not prepared for it, or it refuses the program.
    """
    import jax
    from jax.extend import core as jex_core

    _ready(compiler)
    avals = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in traced.jaxpr.in_avals]
    given_up = tuple(n for n, leaf in enumerate(traced.leaves) if leaf.role in donate)
    sharding = _sharding(compiler)
    where = {} if sharding is None else {"in_shardings": sharding, "out_shardings": sharding}
    try:
        program = jax.jit(jex_core.jaxpr_as_fun(traced.jaxpr), donate_argnums=given_up, keep_unused=True, **where)
        compiled = program.lower(*avals).compile()
    except jax.errors.JaxRuntimeError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CostModelError(f"{compiler} does not compile this program: {reason}; try another point") from error
    module = hlo.parse(compiled.as_text())
    return Compiled(compiler, installed(compiler), _stated(compiled), _memory(compiled), rows(module, traced.root),
                    unknown_loops(module))


def _sharding(compiler: str) -> Any:
    """One device of the target; None for the processor that is here."""
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    found = target(compiler)
    if found["platform"] == "cpu":
        return None
    options = {}
    if "target" in found:
        options = {"topology": found["topology"], "target_config": text_proto(found["target"])}
    topology = topologies.get_topology_desc(platform=found["platform"], topology_name=found["topology"], **options)
    return SingleDeviceSharding(topology.devices[0])


def _stated(compiled: Any) -> dict[str, float]:
    from costmodel import _jax_compat as compat

    figures = compiled.cost_analysis() or compat.hlo_cost_analysis(compiled)
    return {key: float(figures[key]) for key in ("flops", "bytes accessed") if key in figures}


def _memory(compiled: Any) -> dict[str, int]:
    found = compiled.memory_analysis()
    names = {"argument": "argument", "output": "output", "temp": "temporary", "alias": "alias"}
    return {name: int(getattr(found, f"{theirs}_size_in_bytes")) for theirs, name in names.items()}


# -- rows ---------------------------------------------------------------------------------------------------------------------


def rows(module: hlo.Module, root: str) -> tuple[Row, ...]:
    """Kernels of optimised HLO, those of a kind and module that run equally often together, in order of first appearance. ``root``
    is the name that the root module has in name stacks."""
    groups: dict[tuple[str, str, int, bool], list[Kernel]] = {}
    for k in kernels(module):
        groups.setdefault((k.kind, module_of(k.op_name, root), k.times, k.stated < 0), []).append(k)
    return tuple(Row(kind, path, times, len(ks), *_sums(ks)) for (kind, path, times, _), ks in groups.items())


def module_of(op_name: str, root: str) -> str:
    """The module that a name stack ends in, as our own tables call it; an optimizer's is ``(update)``.

    >>> module_of("jit(f)/transpose(jvp(ResNet))/layer1_0/jit(relu)/max", "ResNet")
    'layer1_0'
    """
    from costmodel.program.scopes import JAX_SCOPES
    from costmodel.trace.training import UPDATE_SCOPE

    scopes: list[str] = []
    for scope in op_name.split(";")[0].split("/")[:-1]:
        while wrapped := re.fullmatch(r"(\w+)\((.*)\)", scope):
            scope = "" if wrapped[1] in JAX_SCOPES else wrapped[2]
        if scope == UPDATE_SCOPE:
            return "(update)"
        if scope and scope not in JAX_SCOPES and "," not in scope and "->" not in scope:
            scopes.append(scope.split(".")[0])
    return "/".join(scopes[1:] if root and scopes[:1] == [root] else scopes)


def _sums(ks: Sequence[Kernel]) -> tuple[float, float, float]:
    return sum(k.bytes for k in ks), sum(k.main for k in ks), sum(k.stated for k in ks)
