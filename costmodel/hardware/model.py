"""What a device is to the cost model: peaks by engine and type, bandwidth, capacity, and how a peak is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from costmodel.errors import CostModelError
from costmodel.hardware.calibrated import Calibration, LinkCalibration, ProductCalibration
from costmodel.hardware.quantity import Quantity
from costmodel.surface import said

ENGINES = ("matrix", "vector")
PRECISIONS = ("DEFAULT", "HIGH", "HIGHEST")

# The fusion policy of a device that states none: its compiler's, or layers where none is compiled for.
FUSION = {"gpu": "xla-gpu", "tpu": "xla-tpu", "cpu": "xla-cpu", "mcu": "layer", "npu": "layer", "example": "layer"}

# Spellings that jax.lax.Precision accepts for its three members.
_PRECISION_ALIASES = {
    "FASTEST": "DEFAULT",
    "BFLOAT16": "DEFAULT",
    "TENSORFLOAT32": "HIGH",
    "BFLOAT16_3X": "HIGH",
    "FLOAT32": "HIGHEST",
    "F32_F32_F32": "HIGHEST",
}
# jax.lax.DotAlgorithmPreset, named after the types of the operands and the accumulator: the type that the matrix engine multiplies
# in, and the operations that emulate one. An algorithm for any 8-bit type is that of the operands.
_ALGORITHMS = {
    "F16_F16_F16": ("float16", 1), "F16_F16_F32": ("float16", 1),
    "BF16_BF16_BF16": ("bfloat16", 1), "BF16_BF16_F32": ("bfloat16", 1), "BF16_BF16_F32_X3": ("bfloat16", 3),
    "BF16_BF16_F32_X6": ("bfloat16", 6), "BF16_BF16_F32_X9": ("bfloat16", 9),
    "TF32_TF32_F32": ("tf32", 1), "TF32_TF32_F32_X3": ("tf32", 3), "F64_F64_F64": ("float64", 1),
}
_OF_OPERANDS = ("ANY_F8_ANY_F8_F32", "ANY_F8_ANY_F8_F32_FAST_ACCUM", "ANY_F8_ANY_F8_ANY", "ANY_F8_ANY_F8_ANY_FAST_ACCUM")
# Units that evaluate exp, tanh and the like take these types in and work in float32.
_NARROW_FLOATS = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")


class MissingPeak(CostModelError):
    """The device has no peak for this engine and type; another type's peak is never taken in its place."""


class MissingEnergy(CostModelError):
    """No energy is stated for this operation and type, or for this memory; another's is never taken in its place."""


class HardwareFileError(CostModelError):
    """A device file breaks the schema; each of ``problems`` names the file, the key and what was expected there."""

    def __init__(self, *problems: str) -> None:
        more = f" (and {len(problems) - 1} more: `costmodel hw check` lists them)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)
        self.problems = problems


class UnknownHardware(CostModelError):
    """No shipped device, no device of the user and no file has this name."""


@dataclass(frozen=True)
class Level:
    """A memory other than the main one (a cache, a scratchpad, flash): capacity in bytes, bandwidth in B/s if known."""

    name: str
    capacity: Quantity
    bandwidth: Quantity | None = None


@dataclass(frozen=True)
class Link:
    """A connection of a device to others.

    bandwidth:  B/s of all of a device's connections of this sort; ``direction`` says what it counts: "each way", or "both ways"
                together.
    kind:       "ICI", "NVLink", "NVSwitch", "PCIe", "InfiniBand", …; what it is, for people.
    topology:   "torus" (each device has two neighbours along each of ``axes`` axes, which share the bandwidth), "ring" (the same
                with one axis, always closed), "full" (each device has a connection of its own to each other one of its ``domain``)
                or "switch" (any device reaches any other at the whole bandwidth).
    latency:    s from a device to the next one; None where nobody states it: bounds then have none.
    domain:     how many devices it connects at most, such as the 8 of a node; None: any number.
    wraparound: the least number of devices along an axis of a torus at which the axis is closed to a ring.
    source:     who states how many devices are connected how.
    """

    name: str
    bandwidth: Quantity
    direction: str
    kind: str = ""
    topology: str = "switch"
    latency: Quantity | None = None
    axes: int = 1
    domain: int | None = None
    wraparound: int = 1
    source: str = ""

    @property
    def one_way(self) -> float:
        """B/s in one direction."""
        return self.bandwidth.value / (2 if self.direction == "both ways" else 1)


@dataclass(frozen=True)
class Energies:
    """Energies of operations and of bytes moved. Mappings are to be read, not changed.

    operations:   (operation, dtype) -> J.
    memory:       memory -> J/B; "link" is the connection to other devices.
    main:         the memory that holds a program's arrays.
    composed:     operation -> how many of which stated operations stand for it; "transcendental" for any special function.
    runs_as:      dtype -> dtype whose energies it takes, where the file states so.
    static_power: W drawn whatever is computed.
    notes:        what the file says of ``composed`` and ``runs_as``: where they come from and what may be wrong with them.
    """

    name: str
    title: str
    year: int | None
    operations: Mapping[tuple[str, str], Quantity] = field(hash=False)
    memory: Mapping[str, Quantity] = field(hash=False)
    main: str
    composed: Mapping[str, Mapping[str, float]] = field(default_factory=dict, hash=False)
    runs_as: Mapping[str, str] = field(default_factory=dict, hash=False)
    static_power: Quantity | None = None
    notes: Mapping[str, str] = field(default_factory=dict, hash=False)

    def operation(self, name: str, dtype: str, *, accumulate: str | None = None, special: bool = False) -> Fraction:
        """Exact J of one operation; in a composed one, additions are in the type ``accumulate`` where one is given.

        Raises :class:`MissingEnergy` where the file states neither the operation nor what it is composed of.
        """
        if (stated := self._stated(name, dtype)) is not None:
            return stated
        parts = self.composed.get(name, self.composed.get("transcendental") if special else None)
        if parts is None:
            raise MissingEnergy(f"{self.name} states no energy for {name} in {dtype}; it has {self._has(dtype)}. "
                                "Add it to the file, or say in [energy.composed] what it is made of")
        total = Fraction(0)
        for part, times in parts.items():
            of = accumulate if part == "add" and accumulate else dtype
            joules = self._stated(part, of)
            if joules is None:
                raise MissingEnergy(f"{self.name} states no energy for {part} in {of}, a part of {name} in {dtype}; it has "
                                    f"{self._has(of)}. Add it to the file, or price another type with "
                                    + said("reprice(dtype=…)", "--dtype"))
            total += joules * Fraction(repr(times))
        return total

    def byte(self, memory: str | None = None) -> Fraction:
        """Exact J of a byte read from or written to a memory, by default the main one."""
        name = memory or self.main
        if name not in self.memory:
            raise MissingEnergy(f"{self.name} states no energy for the memory {name!r}; it has {', '.join(self.memory)}")
        return Fraction(repr(self.memory[name].value))

    def _stated(self, name: str, dtype: str) -> Fraction | None:
        quantity = self.operations.get((name, self.runs_as.get(dtype, dtype)))
        return None if quantity is None else Fraction(repr(quantity.value))

    def _has(self, dtype: str) -> str:
        names = [name for name, of in self.operations if of == self.runs_as.get(dtype, dtype)]
        types = dict.fromkeys(of for _, of in self.operations)
        return f"{', '.join(names)} in {dtype}" if names else f"no operation in that type, only in {', '.join(types)}"


@dataclass(frozen=True)
class Passes:
    """How float32 contractions run at one precision: ``passes`` contractions in ``dtype``."""

    dtype: str
    passes: int = 1


@dataclass(frozen=True)
class Measurement:
    """How the measured figures were obtained: raw samples in seconds, by probe, in the order in which they came."""

    machine: str
    date: str
    versions: Mapping[str, str] = field(hash=False)
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Hardware:
    """A device as a roofline sees it. Mappings are to be read, not changed.

    kind:                  "gpu", "tpu", "cpu", "npu", "mcu" or "example".
    year:                  of release, where there is one.
    peaks:                 (engine, dtype) -> dense peak; 2 operations a multiply-add; "matrix" or "vector".
    bandwidth, capacity:   of the main memory, B/s and bytes.
    float32:               precision -> the passes that float32 contractions take at it; the device's stated policy.
    float32_source:        who states that policy.
    vector_runs_as:        dtype -> dtype in which the vector engine computes it, where the device states so.
    vector_source:         who states that.
    transcendental_weight: FLOP of the float32 vector peak that one exp, tanh, ... costs.
    launch_overhead:       s a kernel of a compiled program, apart from its work.
    call_overhead:         s a call of a compiled program from Python, including the wait for its result.
    power:                 W at full load.
    clock:                 Hz that the peaks are stated at, where cycles are what people count or it does not last.
    lasting:               Hz that it runs at for longer than seconds, where that is less; see :meth:`sustained`.
    levels:                further memories, nearest to the arithmetic first.
    sparse:                (engine, dtype) -> peak that is reached with structured sparsity only; no price uses it.
    links:                 connections to other devices, the nearest (of the smallest domain) first.
    energies:              of its operations and memories, where it states them.
    calibration:           fusion policy -> how long its kernels really take; only predictions use it, never bounds.
    fusion:                the fusion policy that programs for it are priced under by default.
    collectives:           how long collectives over its links really take, by link and kind; only predictions use it.
    products:              how long products of matrices really take by their shape, a type each; only predictions use it.
    topology:              which links the axes of a mesh are laid on, by name; of those that are not there the innermost on the
                           nearest link.
    """

    name: str
    title: str
    kind: str
    year: int | None
    peaks: Mapping[tuple[str, str], Quantity] = field(hash=False)
    bandwidth: Quantity
    float32: Mapping[str, Passes] = field(hash=False)
    float32_source: str
    weight: Quantity
    capacity: Quantity | None = None
    launch_overhead: Quantity | None = None
    call_overhead: Quantity | None = None
    power: Quantity | None = None
    clock: Quantity | None = None
    lasting: Quantity | None = None
    levels: tuple[Level, ...] = ()
    vector_runs_as: Mapping[str, str] = field(default_factory=dict, hash=False)
    vector_source: str = ""
    measurement: Measurement | None = None
    sparse: Mapping[tuple[str, str], Quantity] = field(default_factory=dict, hash=False)
    links: tuple[Link, ...] = ()
    energies: Energies | None = None
    calibration: Mapping[str, Calibration] = field(default_factory=dict, hash=False)
    fusion: str = ""
    collectives: tuple[LinkCalibration, ...] = ()
    products: tuple[ProductCalibration, ...] = ()
    topology: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.fusion:
            object.__setattr__(self, "fusion", FUSION.get(self.kind, "layer"))

    @property
    def measured(self) -> bool:
        """Whether any figure was timed on the device; each :class:`Quantity` says whether it is one of them."""
        return self.measurement is not None

    @property
    def one_unit(self) -> bool:
        """Contractions and elementwise work share the arithmetic units, so their times add: processors, microcontrollers, and
        the single roof of a textbook's example."""
        return self.kind in ("cpu", "mcu", "example")

    @property
    def transcendental_weight(self) -> float:
        """FLOP of the float32 vector peak that one transcendental costs."""
        return self.weight.value

    def sustained(self) -> Hardware:
        """The device at the clock that lasts: its peaks are lower by as much, its bandwidth is not. Raises CostModelError where the
        file states none."""
        if self.lasting is None or self.clock is None:
            raise CostModelError(f"{self.name} states no clock that lasts: add one under [sustained] to its file")
        slower = self.lasting.value / self.clock.value
        peaks = {key: replace(peak, value=peak.value * slower, source=f"{peak.source}; at the sustained clock")
                 for key, peak in self.peaks.items()}
        return replace(self, peaks=peaks, clock=self.lasting, lasting=None, title=f"{self.title}, sustained")

    def cycles_a_mac(self, found: Calibration, kind: str, dtype: str) -> float | None:
        """Clock cycles that a multiply-accumulate takes in kernels of a kind, as calibrated; None where no clock is stated."""
        peak = self.peaks.get(("matrix", dtype))
        return None if self.clock is None or peak is None else 2 * self.clock.value / peak.value / found.of(kind)

    def at_precision(self, precision: str) -> Hardware:
        """The device on which float32 contractions that ask for no precision run at this one: "highest", "high" or "default"."""
        name = _precision_name(precision)
        stricter = PRECISIONS[PRECISIONS.index(name):]
        float32 = {p: self.float32[p if p in stricter else name] for p in PRECISIONS}
        return replace(self, float32=float32)

    def laid(self, topology: Mapping[str, str]) -> Hardware:
        """The device on whose links a mesh's axes are laid so, by name: ``{"data": "InfiniBand", "model": "ICI 2"}``."""
        return replace(self, topology=dict(topology))

    @property
    def default_precision(self) -> dict[str, str]:
        """The type in which the matrix engine runs what was traced in the key's type, at precision DEFAULT."""
        return {"float32": self.float32["DEFAULT"].dtype}

    def dtypes(self, engine: str) -> tuple[str, ...]:
        """The types that have a peak on ``engine``, sorted."""
        return tuple(sorted(dtype for owner, dtype in self.peaks if owner == engine))

    def peak(self, engine: str, dtype: Any, precision: Any = None) -> float:
        """Peak rate in FLOP/s (OP/s for integers), or of the engine "transcendental" in evaluations/s.

        engine:    "matrix", "vector" or "transcendental".
        dtype:     a numpy or jax type or its name, as traced.
        precision: None, a ``jax.lax.Precision``, its name, or the pair of a ``dot_general`` (its higher member counts);
                   decides how a float32 contraction runs on the matrix engine. Or a ``jax.lax.DotAlgorithmPreset`` or its name,
                   which decides that of any type. Nothing else depends on it.

        Raises :class:`MissingPeak` where the device states none.
        """
        name = _dtype_name(dtype)
        if engine == "transcendental":
            base = "float32" if name in _NARROW_FLOATS else name
            return self.peak("vector", base) / self.transcendental_weight
        if engine == "matrix":
            how = self.passes(name, precision)
            return self._published(engine, how.dtype, name) / how.passes
        if engine == "vector":
            return self._published(engine, self.vector_runs_as.get(name, name), name)
        return self._published(engine, name, name)

    def passes(self, dtype: str, precision: Any = None) -> Passes:
        """How contractions of a type run on the matrix engine; ``precision`` as in :meth:`peak`."""
        if (algorithm := _algorithm(precision)) is not None:
            return Passes(*_ALGORITHMS.get(algorithm, (dtype, 1)))
        return self.float32[_precision_name(precision)] if dtype == "float32" else Passes(dtype)

    def ridge_point(self, engine: str, dtype: Any, precision: Any = None) -> float:
        """Operational intensity, in FLOP/B, above which the engine and not the memory bounds the time."""
        return self.peak(engine, dtype, precision) / self.bandwidth.value

    def _published(self, engine: str, dtype: str, asked: str) -> float:
        if engine not in ENGINES:
            raise MissingPeak(f"engine {engine!r} has no peak: ask for matrix, vector or transcendental")
        quantity = self.peaks.get((engine, dtype))
        if quantity is None:
            has = ", ".join(self.dtypes(engine)) or "none"
            via = "" if dtype == asked else f" (run as {dtype})"
            # A repricing changes floating-point types and no others.
            cure = ("Analyse the program with inputs of one of these types" if asked.startswith(("int", "uint", "bool")) else
                    "Price the counts in one of these with " + said("reprice(dtype=…)", "--dtype"))
            raise MissingPeak(f"{self.name} has no {engine} peak for {asked}{via}; it has: {has}. {cure}, or add the peak to the "
                              "device's file")
        return quantity.value


def _dtype_name(dtype: Any) -> str:
    # A numpy dtype has .name; a scalar type such as jnp.bfloat16 or np.float32 has __name__.
    return dtype if isinstance(dtype, str) else str(getattr(dtype, "name", None) or getattr(dtype, "__name__", dtype))


def _algorithm(precision: Any) -> str | None:
    """The name of an algorithm for contractions, if the precision is one; of a pair, which is twice the same."""
    if isinstance(precision, Sequence) and not isinstance(precision, str):
        return next((name for each in precision if (name := _algorithm(each)) is not None), None)
    name = str(getattr(precision, "name", precision)).upper()
    return name if name in _ALGORITHMS or name in _OF_OPERANDS else None


def _precision_name(precision: Any) -> str:
    if precision is None:
        return "DEFAULT"
    if isinstance(precision, Sequence) and not isinstance(precision, str):
        return max((_precision_name(each) for each in precision), key=PRECISIONS.index, default="DEFAULT")
    name = str(getattr(precision, "name", precision)).upper()
    name = _PRECISION_ALIASES.get(name, name)
    if name not in PRECISIONS:
        raise CostModelError(f"precision {precision!r} is not priced: use one of {', '.join(PRECISIONS)}, or a preset of "
                             "jax.lax.DotAlgorithmPreset")
    return name
