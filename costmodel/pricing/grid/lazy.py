"""A sweep on other machinery: lazily with Dask, whose workers compile the plan's text themselves, or jitted with jax."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.pricing.grid.job import Job, Patch, apply
from costmodel.pricing.grid.plan import sheet_of
from costmodel.pricing.grid.store import Evaluate
from costmodel.symbolic.blocks import Slices

Place = tuple[int, ...]

_BATCH = 8  # blocks that Dask computes at once for a store, so that what waits to be written stays small
_LAZY_CHUNK = 2**20


def block(text: str, values: Mapping[str, np.ndarray], shape: tuple[int, ...],
          patches: Sequence[Patch]) -> dict[str, np.ndarray]:
    """Every variable on a chunk, from data alone: what a worker runs."""
    found = sheet_of(text).chunk(values, shape)
    apply(patches, found)
    return found


def evaluator(job: Job, chunks: Any, backend: str) -> Evaluate:
    """What computes blocks for a store: this process one after the other, or Dask a few at once."""
    if backend not in ("numpy", "jax"):
        raise CostModelError(f"backend={backend!r} is 'numpy' or 'jax'")
    if chunks is None:
        return lambda blocks: (_of_jax(job, slices) if backend == "jax" else job.chunk(slices) for slices in blocks)
    dask = _dask()

    def compute(blocks: Sequence[Slices]) -> Iterator[Mapping[str, np.ndarray]]:
        text = dask.delayed(job.text)
        for i in range(0, len(blocks), _BATCH):
            yield from dask.compute(*(_delayed(dask, job, text, slices) for slices in blocks[i:i + _BATCH]))

    return compute


def _dask() -> Any:
    try:
        import dask
        import dask.array
    except ImportError:
        raise CostModelError("chunks= needs Dask: pip install 'jax-costmodel[dask]'") from None
    return dask


def _delayed(dask: Any, job: Job, text: Any, slices: Slices) -> Any:
    shape = tuple(s.stop - s.start for s in slices)
    return dask.delayed(block, pure=True)(text, job.values(slices), shape, job.patches_in(slices))


def chunk_lengths(job: Job, chunks: Any) -> tuple[int, ...]:
    """Lengths of chunks by axis: of a mapping, of a number for all, or chosen ("auto")."""
    if chunks == "auto":
        return job.chunk_lengths(_LAZY_CHUNK)
    given = chunks if isinstance(chunks, Mapping) else dict.fromkeys(job.lengths, chunks)
    if unknown := set(given) - set(job.lengths):
        raise CostModelError(f"chunks= names {', '.join(sorted(unknown))}: the axes are {', '.join(job.lengths)}")
    wrong = [v for v in given.values() if isinstance(v, bool) or not isinstance(v, int) or (v < 1 and v != -1)]
    if wrong:
        raise CostModelError(f"chunks={wrong[0]!r} is no length: give integers, -1 for a whole axis, or 'auto'")
    return tuple(length if given.get(name, -1) == -1 else min(length, given[name]) for name, length in job.lengths.items())


def lazy(job: Job, chunks: Any) -> dict[str, Any]:
    """Every variable as a Dask array of our compiled formulas."""
    dask = _dask()
    lengths = chunk_lengths(job, chunks)
    counts = tuple(-(-n // step) for n, step in zip(job.shape, lengths, strict=True))
    blocks = dict(zip(np.ndindex(*counts), job.chunks(lengths), strict=True))
    text = dask.delayed(job.text)
    made = {place: _delayed(dask, job, text, slices) for place, slices in blocks.items()}
    return {name: _joined(dask, job, name, blocks, made, counts) for name in job.plan.variables}


def _joined(dask: Any, job: Job, name: str, blocks: Mapping[Place, Slices], made: Mapping[Place, Any], counts: Place) -> Any:
    """The blocks of a variable, each where it stands. Labels are made on the workers too."""
    timed = "hardware" in job.plan.dims(name)
    rank = len(counts) if timed else len(job.grid.axes)
    dtype = job.labels(name, np.zeros(0, job.plan.dtype(name))).dtype

    def nested(place: Place) -> Any:
        if len(place) < rank:
            return [nested((*place, i)) for i in range(counts[len(place)])]
        place = (*place, *([0] * (len(counts) - rank)))
        shape = tuple(s.stop - s.start for s in blocks[place])
        shape = (len(job.devices), *shape) if timed else shape[:rank]
        part = dask.delayed(_labelled, pure=True)(made[place], name, job.plan.units)
        return dask.array.from_delayed(part, shape, dtype=dtype)

    return dask.array.block(nested(()))


def _labelled(values: Mapping[str, np.ndarray], name: str, units: Sequence[str]) -> np.ndarray:
    return np.array(units)[values[name]] if name == "bound" else values[name]


def on_jax(job: Job) -> dict[str, np.ndarray]:
    """Every variable by jax, chunk by chunk."""
    whole = {name: np.empty(job.full_shape(name), job.plan.dtype(name)) for name in job.plan.variables}
    for slices in job.chunks(job.chunk_lengths()):
        for name, values in _of_jax(job, slices).items():
            whole[name][job.index(name, slices)] = values
    return whole


def _of_jax(job: Job, slices: Slices) -> dict[str, np.ndarray]:
    """A chunk, jitted once a shape, in 64 bits."""
    import jax

    if any(mode == "rounded" for _, _, mode in job.plan.metrics):
        return job.chunk(slices)  # integers beyond 64 bits are Python's
    sheet = sheet_of(job.text)
    shape = tuple(s.stop - s.start for s in slices)
    with jax.enable_x64(True):
        values = {name: np.asarray(a, np.float64 if a.dtype.kind in "Of" else np.int64) for name, a in job.values(slices).items()}
        found = {name: np.array(a) for name, a in sheet.jitted(values, shape).items()}
    apply(job.patches_in(slices), found)
    return found
