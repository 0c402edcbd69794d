"""A sweep on the disk, written as it goes: a Zarr store, or a folder of Parquet files. A run that was killed goes on where it was.

A block is finished once its line stands in the list of finished blocks, which comes after the block's data: what was cut off is
computed again. The list opens with a digest of what was asked, so that another sweep is not mixed with this one.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from costmodel.errors import CostModelError
from costmodel.files import append_line, refusals, write_bytes, write_text
from costmodel.pricing.grid.answers import Chunk, Condition, all_dims
from costmodel.pricing.grid.job import CHUNK, Job, tracked
from costmodel.surface import option
from costmodel.symbolic.blocks import Slices

FINISHED = ".blocks.jsonl"  # beside a Zarr store, whose name it follows
MANIFEST = "manifest.json"  # in a folder of Parquet files

Evaluate = Callable[[Sequence[Slices]], Iterable[Mapping[str, np.ndarray]]]


def digest(job: Job, lengths: Sequence[int], where: Sequence[Condition]) -> str:
    """What a sweep is: its plan, its grid, how it is cut and what is left out. Not where the program is looked at again: jax's own
    tables ask whether sizes are equal where hashes happen to be near, which is another boundary in each process."""
    text = hashlib.sha256(job.text.encode())
    arrays = [*job.coords.items(), *job.grid.values.items(), *job.figures.items()]
    for name, array in arrays:
        text.update(f"{name}{array.shape}{array.tolist() if array.dtype.kind == 'O' else ''}".encode())
        text.update(b"" if array.dtype.kind == "O" else np.ascontiguousarray(array).tobytes())
    text.update(repr((tuple(lengths), tuple(where), job.devices)).encode())
    return text.hexdigest()


def write(job: Job, path: str, where: Sequence[Condition], evaluate: Evaluate, most: int = CHUNK) -> None:
    """Write a sweep into a ``.zarr`` store or a ``.parquet`` folder, what is finished there already left out.

    Raises CostModelError where the path holds another sweep, or the library is missing.
    """
    lengths = job.chunk_lengths(most)
    blocks = list(job.chunks(lengths))
    sink: _Zarr | _Parquet
    if path.endswith(".zarr"):
        if where:
            raise CostModelError(f"a Zarr store keeps the whole grid: give {option('where', flag='--keep')} with "
                                 f"{option('best')}, {option('pareto')} or a .parquet folder")
        sink = _Zarr(job, path, lengths)
    elif path.endswith(".parquet"):
        sink = _Parquet(job, path, where, len(blocks))
    else:
        raise CostModelError(f"{option('out', path, '-o')} names no kind of store: end it in .zarr or .parquet")
    done = sink.open(digest(job, lengths, where))
    left = [i for i in range(len(blocks)) if i not in done]
    found = iter(evaluate([blocks[i] for i in left]))
    for slices, i in zip(tracked([blocks[i] for i in left], "sweep"), left, strict=True):
        sink.put(i, slices, next(found))


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        extra = {"zarr": "zarr", "pyarrow": "parquet", "pyarrow.parquet": "parquet"}[name]
        raise CostModelError(f"this store needs {name.split('.')[0]}: pip install 'jax-costmodel[{extra}]'") from None


class _Zarr:
    """A group with an array a variable and one an axis, which xarray opens as a Dataset."""

    def __init__(self, job: Job, path: str, lengths: Sequence[int]) -> None:
        self.job, self.path, self.lengths = job, Path(path), dict(zip(job.lengths, lengths, strict=True))
        self.list = Path(path + FINISHED)
        self.zarr = _library("zarr")

    def open(self, what: str) -> set[int]:
        lines = _lines(self.list)
        if self.path.exists() and lines and lines[0].get("sweep") != what:
            raise CostModelError(f"{self.path} holds another sweep; give another path, or remove it and {self.list.name}")
        if self.path.exists() and {"made": True} in lines:
            self.group = self.zarr.open_group(str(self.path), mode="r+")
            return {line["block"] for line in lines if "block" in line}
        if self.path.exists() and not lines:
            raise CostModelError(f"{self.path} is there already and holds no sweep; give another path, or remove it")
        with refusals(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.list, json.dumps({"sweep": what}) + "\n")
        self._create()
        append_line(self.list, json.dumps({"made": True}))
        return set()

    def _create(self) -> None:
        job = self.job
        with refusals(self.path):
            self.group = self.zarr.open_group(str(self.path), mode="a", attributes=dict(job.attrs))
            for name, values in self._coords().items():
                dtype = str if values.dtype.kind == "U" else values.dtype
                array = self._array(name, values.shape, dtype, values.shape, (name,), dict(job.about.get(name, {})))
                array[...] = values
            for name in job.plan.variables:
                dims = job.plan.dims(name)
                attributes: dict[str, Any] = dict(job.about[name])
                chunks = tuple(self.lengths.get(d, 1) for d in dims)
                if name == "bound":
                    attributes |= {"flag_values": list(range(len(job.plan.units))), "flag_meanings": " ".join(job.plan.units)}
                self._array(name, job.full_shape(name), job.plan.dtype(name), chunks, dims, attributes)

    def _array(self, name: str, shape: Any, dtype: Any, chunks: Any, dims: Any, attributes: Any) -> Any:
        return self.group.create_array(name, shape=shape, dtype=dtype, chunks=tuple(max(1, c) for c in chunks),
                                       dimension_names=list(dims), attributes=attributes, overwrite=True)

    def _coords(self) -> dict[str, np.ndarray]:
        found = {name: a.astype(np.float64) if a.dtype.kind == "O" else a for name, a in self.job.coords.items()}
        if self.job.devices:
            found["hardware"] = np.array(self.job.devices, dtype=str)
        return found

    def put(self, i: int, slices: Slices, values: Mapping[str, np.ndarray]) -> None:
        with refusals(self.path):
            for name, array in values.items():
                self.group[name][self.job.index(name, slices)] = array
        append_line(self.list, json.dumps({"block": i}))


def _lines(path: Path) -> list[dict[str, Any]]:
    """The records of a list, none where there is no list; a line that was cut off is none."""
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


class _Parquet:
    """A folder with a file a block, in long form: a row a point that meets the conditions; and a manifest."""

    def __init__(self, job: Job, path: str, where: Sequence[Condition], count: int) -> None:
        self.job, self.path, self.where, self.count = job, Path(path), where, count
        self.arrow, self.parquet = _library("pyarrow"), _library("pyarrow.parquet")

    def open(self, what: str) -> set[int]:
        self.what = what
        manifest = self.path / MANIFEST
        if manifest.is_file():
            known = json.loads(manifest.read_text(encoding="utf-8"))
            if known.get("sweep") != what:
                raise CostModelError(f"{self.path} holds another sweep; give another path, or remove it")
            return {i for i in range(self.count) if (self.path / self._name(i)).is_file()}
        if self.path.exists() and any(self.path.iterdir()):
            raise CostModelError(f"{self.path} is there already and holds no sweep; give another path, or remove it")
        with refusals(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self._manifest(complete=False)
        return set()

    def _manifest(self, complete: bool) -> None:
        job = self.job
        data = {"sweep": self.what, "blocks": self.count, "complete": complete, "attributes": dict(job.attrs),
                "variables": {name: dict(job.about[name]) for name in job.plan.variables}}
        write_text(self.path / MANIFEST, json.dumps(data, indent=1))

    @staticmethod
    def _name(i: int) -> str:
        return f"block-{i:06}.parquet"

    def put(self, i: int, slices: Slices, values: Mapping[str, np.ndarray]) -> None:
        """The file appears whole, under its name, or not at all."""
        out = io.BytesIO()
        self.parquet.write_table(self.arrow.table(dict(columns(Chunk(self.job, slices, values), self.where))), out)
        write_bytes(self.path / self._name(i), out.getvalue())
        if all((self.path / self._name(j)).is_file() for j in (0, self.count - 1)) and len(
                list(self.path.glob("block-*.parquet"))) == self.count:
            self._manifest(complete=True)


def columns(chunk: Chunk, where: Sequence[Condition]) -> Iterator[tuple[str, np.ndarray]]:
    """A chunk in long form: of every axis and variable a column, of the points that meet the conditions."""
    holds = chunk.allowed(where).ravel()
    for name in (*all_dims(chunk.job), *chunk.values):
        values = np.broadcast_to(chunk.whole(name), chunk.shape).ravel()[holds]
        if name == "hardware":
            values = np.array(chunk.job.devices)[values]
        yield name, values.astype(np.float64) if values.dtype.kind == "O" else chunk.job.labels(name, values)
