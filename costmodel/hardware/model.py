"""What a device is to the cost model: peaks by engine and type, bandwidth, capacity, and how a peak is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from costmodel.errors import CostModelError

ENGINES = ("matrix", "vector")
PRECISIONS = ("DEFAULT", "HIGH", "HIGHEST")

# Spellings that jax.lax.Precision accepts for its three members.
_PRECISION_ALIASES = {
    "FASTEST": "DEFAULT",
    "BFLOAT16": "DEFAULT",
    "TENSORFLOAT32": "HIGH",
    "BFLOAT16_3X": "HIGH",
    "FLOAT32": "HIGHEST",
}
# Units that evaluate exp, tanh and the like take these types in and work in float32.
_NARROW_FLOATS = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")


class MissingPeak(CostModelError):
    """The device has no peak for this engine and type; another type's peak is never taken in its place."""


class HardwareFileError(CostModelError):
    """A device file breaks the schema; the message names the file, the key and what was expected there."""


class UnknownHardware(CostModelError):
    """No shipped device, no device of the user and no file has this name."""


@dataclass(frozen=True)
class Quantity:
    """A number in base units with where it comes from.

    value:    in ``unit``, one of FLOP/s, OP/s, B/s, B, s, W, FLOP.
    source:   who says so.
    doubt:    what may be wrong with it; empty if nothing is known to be.
    measured: it was timed on the device, not read in a datasheet.
    """

    value: float
    unit: str
    source: str
    doubt: str = ""
    measured: bool = False


@dataclass(frozen=True)
class Level:
    """A memory other than the main one (a cache, a scratchpad, flash): capacity in bytes, bandwidth in B/s if known."""

    name: str
    capacity: Quantity
    bandwidth: Quantity | None = None


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

    kind:                  "gpu", "tpu", "cpu", "mcu" or "example".
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
    levels:                further memories, nearest to the arithmetic first.
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
    levels: tuple[Level, ...] = ()
    vector_runs_as: Mapping[str, str] = field(default_factory=dict, hash=False)
    vector_source: str = ""
    measurement: Measurement | None = None

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
                   decides how a float32 contraction runs on the matrix engine, and nothing else.

        Raises :class:`MissingPeak` where the device states none.
        """
        name = _dtype_name(dtype)
        if engine == "transcendental":
            base = "float32" if name in _NARROW_FLOATS else name
            return self.peak("vector", base) / self.transcendental_weight
        if engine == "matrix" and name == "float32":
            how = self.float32[_precision_name(precision)]
            return self._published(engine, how.dtype, name) / how.passes
        if engine == "vector":
            return self._published(engine, self.vector_runs_as.get(name, name), name)
        return self._published(engine, name, name)

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
            raise MissingPeak(
                f"{self.name} has no {engine} peak for {asked}{via}; it has: {has}. "
                f"Price the counts in one of these with reprice(dtype=…), or add the peak to the device's file"
            )
        return quantity.value


def _dtype_name(dtype: Any) -> str:
    # A numpy dtype has .name; a scalar type such as jnp.bfloat16 or np.float32 has __name__.
    return dtype if isinstance(dtype, str) else str(getattr(dtype, "name", None) or getattr(dtype, "__name__", dtype))


def _precision_name(precision: Any) -> str:
    if precision is None:
        return "DEFAULT"
    if isinstance(precision, Sequence) and not isinstance(precision, str):
        return max((_precision_name(each) for each in precision), key=PRECISIONS.index, default="DEFAULT")
    name = str(getattr(precision, "name", precision)).upper()
    name = _PRECISION_ALIASES.get(name, name)
    if name not in PRECISIONS:
        raise CostModelError(f"precision {precision!r} is not priced: use one of {', '.join(PRECISIONS)}")
    return name
