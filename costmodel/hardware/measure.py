"""This machine as a device: ceilings that compiled jax programs really reach on the first device of jax."""

from __future__ import annotations

import datetime
import importlib.metadata
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from costmodel.errors import CostModelError
from costmodel.hardware import machine
from costmodel.hardware.model import ENGINES, Hardware, Measurement, Passes
from costmodel.hardware.quantity import Quantity

if TYPE_CHECKING:
    from costmodel.hardware.probes import Probe

CACHED = (2**15, 2**17)  # elements of arrays that stay in a processor's caches
ROUNDS = 20  # more samples than this a probe would tell nothing new
PROGRAMS = 25  # about as many as there are probes: each may take such a share of the time

# (family, type, precision) of the contractions to try; "tf32" is what float32 at DEFAULT runs as on a GPU.
_MATRIX = {
    "cpu": (("float32", "float32", "HIGHEST"), *((t, t, "DEFAULT") for t in ("bfloat16", "float16", "int8"))),
    "gpu": (
        ("tf32", "float32", "DEFAULT"),
        ("float32", "float32", "HIGHEST"),
        *((t, t, "DEFAULT") for t in ("bfloat16", "float16", "float8_e4m3fn", "int8")),
    ),
    "tpu": tuple((t, t, "DEFAULT") for t in ("bfloat16", "float8_e4m3fn", "int8")),
}
_FLOAT32 = {
    "cpu": (Passes("float32"), Passes("float32"), Passes("float32")),
    "gpu": (Passes("tf32"), Passes("tf32"), Passes("float32")),
    "tpu": (Passes("bfloat16"), Passes("bfloat16", 3), Passes("bfloat16", 6)),
}
_VECTOR_STEPS = {"float32": (32, 64), "int32": (32, 64), "float16": (32, 64), "bfloat16": (32,)}
_NARROW_INTEGERS = ("bool", "int8", "uint8", "int16", "uint16", "uint32")


def check_seconds(seconds: float) -> None:
    """Raises CostModelError for what is no time to measure in."""
    if not 0 < seconds < math.inf:
        raise CostModelError(f"cannot measure for {seconds} seconds: give a positive time, such as 30")


def measure(seconds: float = 30.0) -> Hardware:
    """Time the first jax device for at most ``seconds``, compilation and first runs apart, and describe it as "local".

    Peaks are the best rates of contractions and of multiply-add chains over a few sizes, bandwidth that of a triad in
    place; each is the least of medians of repeated blocks, and all samples are kept. They are ceilings that programs
    reach, below a datasheet's. Raises :class:`CostModelError` if the device cannot run what its float32 policy needs.
    """
    check_seconds(seconds)
    import jax

    device = jax.devices()[0]
    kind = device.platform if device.platform in ("cpu", "tpu") else "gpu"
    refused: dict[str, str] = {}
    cache, memory = (machine.last_level_cache(), machine.memory()) if kind == "cpu" else (None, _device_memory(device))
    total = _stream_bytes(kind, cache, memory, seconds)
    probes = _admit(_families(kind, total), seconds, refused)
    _sample(probes, seconds)

    best: dict[str, Probe] = {}
    for probe in probes:
        if probe.family not in best or probe.rate > best[probe.family].rate:
            best[probe.family] = probe
    from costmodel.hardware.probes import UNARY

    environment = _environment(device, kind, cache, seconds)
    environment |= {f"refused: {name}": why for name, why in refused.items()}
    measurement = Measurement(
        machine=environment["cpu"] if kind == "cpu" else environment["device"],
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions={name: importlib.metadata.version(name) for name in ("jax", "jaxlib")}
        | {"python": platform.python_version()},
        environment=environment,
        samples={probe.name: tuple(probe.samples) for probe in probes},
    )
    weights = {name: _evaluation(name, probes) for name in UNARY if name in best}
    return _describe(kind, best, weights, measurement, _stream_doubt(total, cache), memory)


def _families(kind: str, total: int) -> Iterator[tuple[str, Callable[[], Iterator[Probe]]]]:
    """Name and maker of each family of probes, the sizes of each ascending."""
    from costmodel.hardware import probes

    big = kind != "cpu"
    sizes = (2048, 4096, 8192) if big else (512, 1024, 2048)
    lengths = (2**22, 2**25) if big else (2**17, 2**20)
    for name, dtype, precision in _MATRIX[kind]:
        family = f"matrix {name}"
        yield family, partial(probes.matmuls, dtype, precision, sizes, family)
    for dtype, steps in _VECTOR_STEPS.items():
        for length in steps:
            family = f"vector {dtype}"
            yield family, partial(probes.chains, dtype, lengths, length, family)
    for name in probes.UNARY:
        if big:  # alone, the memory hides it
            yield name, partial(probes.unaries, name, lengths)
            continue
        for without in (False, True):
            yield name, partial(probes.in_kernels, name, CACHED, without=without)
    yield "bandwidth", partial(probes.stream, total)
    yield "call", probes.call
    for count in probes.KERNELS:
        yield "kernels", partial(probes.kernels, count)


def _admit(
    families: Iterator[tuple[str, Callable[[], Iterator[Probe]]]], seconds: float, refused: dict[str, str]
) -> list[Probe]:
    """Compile and run each probe once; leave out sizes too slow for their share of the time, but not the smallest."""
    from costmodel.hardware.probes import BLOCK

    share = seconds / PROGRAMS / BLOCK
    admitted = []
    for name, make in families:
        last: Probe | None = None
        took = 0.0
        try:
            for probe in make():
                if last is not None and took * probe.work / last.work > share:
                    break
                probe.sample()
                took, last = probe.sample(), probe
                admitted.append(probe)
        except Exception as error:  # whatever a backend raises for a type that it does not have
            refused[name] = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
    return admitted


def _sample(probes: list[Probe], seconds: float) -> None:
    """Blocks of samples in rounds over all probes, so that a busy spell of the machine spoils a round, not a probe."""
    from costmodel.hardware.probes import BLOCK

    deadline = time.perf_counter() + seconds
    for turn in range(ROUNDS):
        for probe in probes:
            expected = probe.seconds * BLOCK if turn else 0.0
            if turn and time.perf_counter() + expected > deadline:
                continue
            for index in range(BLOCK):
                if index and time.perf_counter() > deadline:
                    break
                probe.samples.append(probe.sample())


def _evaluation(name: str, probes: list[Probe]) -> float:
    """Seconds of one evaluation of a transcendental function: alone, or the difference that it makes to a kernel, the median over
    sizes. A difference that is lost in the noise is none, and counts as a multiply-add."""
    from costmodel.hardware.probes import WITHOUT

    alone, bare = ([p for p in probes if p.family == family] for family in (name, name + WITHOUT))
    if not bare:
        return min(1 / p.rate for p in alone)
    return statistics.median(max(0.0, 1 / p.rate - 1 / q.rate) for p, q in zip(alone, bare, strict=False))


def _describe(
    kind: str, best: dict[str, Probe], evaluations: dict[str, float], measurement: Measurement, stream_doubt: str,
    memory: int | None
) -> Hardware:
    from costmodel.hardware.probes import BLOCK, KERNELS, OCCURS, UNARY

    def quantity(value: float, unit: str, source: str, doubt: str = "") -> Quantity:
        return Quantity(value, unit, f"measured: {source}; least of medians of {BLOCK}", doubt, measured=True)

    peaks = {}
    for family, probe in best.items():
        engine, _, dtype = family.partition(" ")
        if engine in ENGINES:
            unit = "OP/s" if dtype.startswith("int") else "FLOP/s"
            what = "square contraction" if engine == "matrix" else "multiply-add chain"
            peaks[engine, dtype] = quantity(probe.rate, unit, f"{what}, {probe.setting}")
    policy = dict(zip(("DEFAULT", "HIGH", "HIGHEST"), _FLOAT32[kind], strict=True))
    needed = {("matrix", how.dtype) for how in policy.values()} | {("vector", "float32")}
    lacking = [" ".join(key) for key in sorted(needed - set(peaks))]
    lacking += [name for name in ("bandwidth", *UNARY) if name not in best]
    if lacking:
        why = "; ".join(f"{key}: {text}" for key, text in measurement.environment.items() if "refused" in key)
        raise CostModelError(f"this machine did not run {', '.join(lacking)}: check the jax installation ({why})")

    weights = {name: max(2.0, peaks["vector", "float32"].value * evaluations[name]) for name in UNARY}
    each = ", ".join(f"{name} {value:.1f}" for name, value in weights.items())
    geometric = math.prod(weights.values()) ** (1 / len(weights))
    one, many = (best.get(f"kernels: {count}") for count in KERNELS)
    overhead = (many.seconds - one.seconds) / (KERNELS[1] - KERNELS[0]) if one and many else 0.0
    narrow = {t: "int32" for t in _NARROW_INTEGERS if ("vector", "int32") in peaks}
    return Hardware(
        name="local",
        title=f"This machine: {measurement.machine}",
        kind=kind,
        year=None,
        peaks=peaks,
        bandwidth=quantity(best["bandwidth"].rate, "B/s", f"triad in place, {best['bandwidth'].setting}", stream_doubt),
        float32=policy,
        float32_source=f"documentation of jax.lax.Precision, for {kind}",
        weight=quantity(geometric, "FLOP", f"geometric mean of {each} FLOP of the vector peak"
                        + (f", in {' and '.join(where for where, *_ in OCCURS.values())}" if kind == "cpu" else "")),
        capacity=Quantity(float(memory), "B", "as the system reports it", measured=True) if memory else None,
        launch_overhead=Quantity(
            overhead,
            "s",
            f"measured: programs of {KERNELS[1]} and {KERNELS[0]} dependent 8 x 8 contractions, difference a kernel",
            "includes the little work of an 8 x 8 contraction",
            measured=True,
        )
        if overhead > 1e-9
        else None,
        call_overhead=quantity(best["call"].seconds, "s", "call of a compiled addition of 8 numbers, with its wait")
        if "call" in best
        else None,
        vector_runs_as=narrow,
        vector_source="taken to run at the rate of int32" if narrow else "",
        measurement=measurement,
    )


def _stream_bytes(kind: str, cache: int | None, memory: int | None, seconds: float) -> int:
    """Bytes of the triad's arrays: four times the last cache, but no more than memory and time allow."""
    from costmodel.hardware.probes import BLOCK

    wanted = 4 * cache if cache else (2**28 if kind == "cpu" else 2**31)
    slow = 1e10 if kind == "cpu" else 2e11  # B/s that any such device moves
    affordable = max(2**24, int(slow * seconds / PROGRAMS / BLOCK))
    return min(wanted, affordable, memory // 8 if memory else wanted)


def _stream_doubt(total: int, cache: int | None) -> str:
    if cache is None:
        return f"arrays of {total / 2**20:.0f} MiB together; the size of the last cache is not known"
    ratio = f"{total / cache:.2g} times the last cache of {cache / 2**20:.0f} MiB"
    doubt = f"arrays of {total / 2**20:.0f} MiB together, {ratio}"
    return doubt if total >= 4 * cache else f"{doubt}: partly the cache's bandwidth"


def _device_memory(device: Any) -> int | None:
    # What XLA may allocate; by default three quarters of a GPU's memory.
    stats = device.memory_stats() or {}
    return stats.get("bytes_limit")


def _environment(device: Any, kind: str, cache: int | None, seconds: float) -> dict[str, str]:
    return {
        "backend": device.platform,
        "device": device.device_kind,
        "cpu": machine.cpu_model(),
        "cpus": str(machine.cpu_count()),
        "system": platform.platform(terse=True),
        "seconds": f"{seconds:g}",
    } | ({"last_level_cache": f"{cache} B"} if kind == "cpu" and cache else {})
