"""Programs timed on this machine, and the records of it: `python -m costmodel.bench.timing FILE [--seconds S] [NAME@SYMBOL=N,… …]`.

A record says which program at which point, on what machine with which versions, and two times: ``samples``, seconds of single calls
with the wait for their result, and ``stream``, seconds a call where many are handed over before the first is waited for, which a
device that runs beside its host does back to back. Nothing is predicted here, so that records outlive every model of time.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from costmodel.arguments import point as values_of
from costmodel.bench import micro
from costmodel.bench.calls import compile_traced, environment_of, time_calls, xla_figures
from costmodel.bench.lines import append
from costmodel.errors import CostModelError
from costmodel.models import ModelEntry, model
from costmodel.trace.requests import request

FORMAT = "costmodel-time-1"
STREAMS = 5  # repetitions of a stream
STREAM_SECONDS = 0.1  # about as long as each of them is


def entry_of(name: str) -> ModelEntry:
    """A microbenchmark, or a model of a zoo."""
    return micro.MODELS[name] if name in micro.MODELS else model(name)


def at_point(entry: ModelEntry, values: Mapping[str, int]) -> ModelEntry:
    """The entry with integers for its symbols. Raises CostModelError for one whose builder takes symbols too."""
    if entry.dims:
        raise CostModelError(f"{entry.name} is built from symbols ({entry.dims}): give a model whose symbols are its inputs'")
    texts = [re.sub(r"[A-Za-z_]\w*", lambda m: str(values[m[0]]), shape) + colon + dtype
             for shape, colon, dtype in (text.partition(":") for text in entry.inputs)]
    return entry.with_inputs(texts, where="")


def measure(name: str, values: Mapping[str, int], *, repeat: int = 20, warmup: int = 3) -> dict[str, Any]:
    """Compile and time a program at a point; its record."""
    entry = at_point(entry_of(name), values)
    program, inputs = entry.make()
    traced = request(program, *inputs, kwargs=entry.kwargs, params=entry.params).run()
    compiled, arguments, seconds = compile_traced(traced)
    samples = time_calls(compiled, arguments, repeat, warmup)
    return {"format": FORMAT, "name": name, "point": dict(values), "samples": samples,
            "stream": _stream(compiled, arguments, samples), "compile_seconds": seconds, "xla": xla_figures(compiled),
            "environment": environment_of(jax.devices()[0])}


def _stream(compiled: Any, arguments: Sequence[Any], samples: Sequence[float]) -> tuple[float, ...]:
    """Seconds a call, of several streams of calls."""
    calls = max(2, min(1000, int(STREAM_SECONDS / statistics.median(samples))))
    found = []
    for _ in range(STREAMS):
        start = time.perf_counter()
        for _ in range(calls - 1):
            compiled(*arguments)
        jax.block_until_ready(compiled(*arguments))
        found.append((time.perf_counter() - start) / calls)
    return tuple(found)


def suite(programs: Iterable[tuple[str, Mapping[str, int]]], save: str, seconds: float,
          say: Callable[[str], None] = print, step: Callable[[], None] = lambda: None) -> None:
    """Time programs one after another for at most so many seconds, appending a record each; one that does not run is said so.
    ``step`` is called after each."""
    deadline = time.perf_counter() + seconds
    for name, values in programs:
        if time.perf_counter() > deadline:
            say(f"out of time before {name} at {dict(values)}")
            return
        start = time.perf_counter()
        try:
            record = measure(name, values)
        except Exception as error:  # whatever a backend raises for a type or a size that it does not have
            say(f"{name} at {dict(values)} does not run: {type(error).__name__}: {str(error).splitlines()[0][:160]}")
            step()
            continue
        append(save, record)
        step()
        say(f"{name} {dict(values)}: call {statistics.median(record['samples']):.4g} s, stream "
            f"{statistics.median(record['stream']):.4g} s, took {time.perf_counter() - start:.1f} s")


def main() -> None:
    """What `python -m costmodel.bench.timing FILE PROGRAMS…` does."""
    parser = argparse.ArgumentParser(description="Time programs on this machine and append records to FILE.")
    parser.add_argument("file")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("programs", nargs="*", metavar="NAME@SYMBOL=N,…", help="models at points, or micro / micro-small")
    asked = parser.parse_intermixed_args()
    wanted: list[tuple[str, Mapping[str, int]]] = []
    for text in asked.programs:
        name, _, at = text.partition("@")
        sets = {"micro": micro.POINTS, "micro-small": micro.SMALL}
        wanted += sets[name] if name in sets else [(name, values_of((at,)))]
    suite(wanted, asked.file, asked.seconds)


if __name__ == "__main__":
    main()
