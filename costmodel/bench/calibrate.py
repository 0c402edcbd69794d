"""``costmodel calibrate``: a device's calibrations from measured runs, and those runs on this machine."""

from __future__ import annotations

import dataclasses
import datetime
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from costmodel.bench import micro
from costmodel.bench.fitting import RELATIVE, by_kind, calibration, fit, fitted, of_one_factor, spread
from costmodel.bench.microcontrollers import of_kinds, power
from costmodel.bench.runs import Run, busy, environment, load_runs
from costmodel.bench.timing import measure, suite
from costmodel.errors import CostModelError
from costmodel.hardware import Calibration, Hardware, Quantity, load, user_directory

NETWORKS: tuple[tuple[str, Mapping[str, int]], ...] = (
    ("resnet18", {"n": 1, "h": 224, "w": 224}), ("mobilenet_v2", {"n": 1, "h": 224, "w": 224}),
    ("bert_base", {"b": 1, "s": 128}), ("vgg11_bn", {"n": 1, "h": 224, "w": 224}))
# An accelerator waits for its host in small batches: kernels show in large ones, launches and calls in small ones.
LARGE: tuple[tuple[str, Mapping[str, int]], ...] = (
    ("resnet18", {"n": 16, "h": 224, "w": 224}), ("mobilenet_v2", {"n": 1, "h": 224, "w": 224}),
    ("mobilenet_v2", {"n": 32, "h": 224, "w": 224}), ("bert_base", {"b": 8, "s": 512}), ("vgg11_bn", {"n": 32, "h": 224, "w": 224}))
PROBE = ("micro_dot_float32", {"m": 512, "n": 512, "k": 512})  # what is timed first and last
QUIET = 0.15  # quartiles of a quiet machine are not further apart, nor is its first median from its last
AGREE = 0.2  # two runs of a network on a quiet machine do not differ by more
APART = 80.0  # s between them
FLOOR = 3  # a kernel that takes fewer times a call's own time tells nothing of its kind


def calibrated(device: Hardware, runs: Sequence[Run], say: Callable[[str], None] = print, software: str = "") -> Hardware:
    """The device with a calibration for each policy that runs are of; where several programs ran the networks, ``software`` says
    which counts. Raises CostModelError where no run is of this device, or of several programs."""
    own = [run for run in runs if run.device in ("", device.name) and (not software or run.software == software)]
    if len(ran := list(dict.fromkeys(run.software for run in own))) > 1:
        raise CostModelError(f"these runs are of {', '.join(ran)}: say which, as --software '{ran[0]}'")
    if not own:
        named = ", ".join(dict.fromkeys(run.device for run in runs)) or "none"
        raise CostModelError(f"no run is of {device.name}{software and f' by {software}'}; the devices of these files: {named}")
    found = dict(device.calibration)
    for policy in dict.fromkeys(run.policy or device.fusion for run in own):
        found[policy] = of_policy(device, [r for r in own if (r.policy or device.fusion) == policy], policy)
        say(told(found[policy]))
    return dataclasses.replace(device, calibration=found)


def of_policy(device: Hardware, runs: Sequence[Run], policy: str) -> Calibration:
    """The calibration from runs of one policy: microbenchmarks give what kernels of a kind reach, networks the rest. On a
    microcontroller, networks give both."""
    busys = [busy(run, device) for run in runs]
    if device.kind == "mcu":
        found = fitted(runs, busys, policy, _date(), of_kinds)
        watts = power(runs)
        drawn = Quantity(float(f"{watts:.4g}"), "W", "mean of joules / seconds of these runs", measured=True) if watts else None
        return dataclasses.replace(found, power=drawn)
    small = [(run, b) for run, b in zip(runs, busys, strict=True) if run.model in micro.MODELS]
    networks = [(run, b) for run, b in zip(runs, busys, strict=True) if run.model not in micro.MODELS]
    kinds: Mapping[str, float] = RELATIVE.get(policy, {})
    if small:
        least = min(run.seconds for run, _ in small)
        kinds = by_kind([(run.seconds, b) for run, b in small], FLOOR * least)
    if not networks:
        raise CostModelError("no run is of a network: launches and calls show only in whole programs")
    own, parts = [run for run, _ in networks], [b for _, b in networks]
    if small and device.kind == "cpu" and device.launch_overhead and device.call_overhead:
        return fitted(own, parts, policy, _date(), of_one_factor, kinds=kinds, launch=device.launch_overhead.value,
                      call=device.call_overhead.value)
    return calibration(own, parts, policy, _date(), call=all(run.versions for run in own), kinds=kinds)


def told(found: Calibration) -> str:
    """A line about a calibration."""
    kinds = "; " + ", ".join(f"{kind} {q.value:.3g}" for kind, q in found.kinds.items()) if found.kinds else ""
    call = f", {1e6 * found.call.value:.3g} µs a call" if found.call else ""
    return (f"policy {found.policy!r}: {found.efficiency.value:.3g} of the ceilings, {1e6 * found.launch.value:.3g} µs a kernel"
            f"{call}; {found.runs} runs of {found.models} models, ±{100 * found.error:.0f} %{kinds}")


def typical(devices: Mapping[Hardware, Sequence[Run]], policy: str) -> Calibration:
    """What is typical of a class of devices: geometric means over those measured; the spread is that of each device's runs as the
    others predict them."""
    busys = {d: [busy(run, d) for run in runs] for d, runs in devices.items()}
    fits = {d: fit([(r.seconds, b) for r, b in zip(runs, busys[d], strict=True)], kinds=RELATIVE.get(policy))
            for d, runs in devices.items()}

    def mean(among: Iterable[float]) -> float:
        return float(np.exp(np.mean(np.log(list(among)))))

    logs = []
    for d, runs in devices.items():
        others = [fits[o] for o in devices if o is not d]
        reached, launch = mean(f.reached for f in others), statistics.median(f.launch for f in others)
        scaled = dataclasses.replace(fits[d], reached=reached, launch=launch,
                                     kinds={k: e * reached / fits[d].reached for k, e in fits[d].kinds.items()})
        logs += [math.log(run.seconds / scaled.predicted(b)) for run, b in zip(runs, busys[d], strict=True)]
    runs = [run for own in devices.values() for run in own]
    reached = mean(f.reached for f in fits.values())
    source = f"geometric mean of {len(devices)} devices, {len(runs)} runs"

    def part(value: float) -> Quantity:
        return Quantity(float(f"{value:.4g}"), "1", source, measured=True)

    usual = statistics.median(f.launch for f in fits.values())
    a_kernel = Quantity(float(f"{usual:.4g}"), "s", f"median of {len(devices)} devices", measured=True)
    kinds = {kind: part(e * reached) for kind, e in RELATIVE.get(policy, {}).items()}
    return Calibration(policy, part(reached), a_kernel, float(f"{math.sqrt(statistics.fmean(x * x for x in logs)):.4g}"), len(runs),
                       len({run.family for run in runs}), _date(), environment(runs), None, kinds)


def networks(device: Hardware) -> tuple[tuple[str, Mapping[str, int]], ...]:
    """The networks that a machine of this kind is calibrated on."""
    return NETWORKS if device.kind == "cpu" else LARGE


def programs_here(device: Hardware) -> tuple[tuple[str, Mapping[str, int]], ...]:
    """What is measured: the networks, the microbenchmarks, and the networks again."""
    small = micro.SMALL if device.kind == "cpu" else micro.POINTS
    return (*networks(device), *small, *networks(device))


def measure_here(device: Hardware, save: str | Path, seconds: float, say: Callable[[str], None] = print,
                 step: Callable[[], None] = lambda: None, apart: float = APART) -> tuple[list[Run], str]:
    """Time microbenchmarks and a few networks on this machine, each record appended to a file; the runs, and what makes them
    doubtful (empty if nothing does).

    The networks are timed twice, ``apart`` seconds from each other or more: a machine whose two runs differ was not quiet.
    """
    earlier = len(load_runs([save])) if Path(save).exists() else 0
    first, begun = measure(*PROBE)["samples"], time.perf_counter()
    if (doubt := _restless(first)):
        say(f"this machine is busy: {doubt}; what is measured now is not to be trusted")
    programs, again = programs_here(device), networks(device)
    suite(programs[:-len(again)], str(save), seconds, say, step)
    if (wait := apart - (time.perf_counter() - begun)) > 0:
        say(f"waiting {wait:.0f} s: two runs {apart:g} s apart must agree")
        time.sleep(wait)
    suite(again, str(save), seconds, say, step)
    last = measure(*PROBE)["samples"]
    drift = abs(math.log(statistics.median(last) / statistics.median(first)))
    if drift > QUIET:
        doubt = f"the same product took {100 * drift:.0f} % more or less at the end than at the start"
    runs = load_runs([save])[earlier:]
    return runs, doubt or _restless(last) or disagreement(runs)


def disagreement(runs: Sequence[Run]) -> str:
    """What differs most among programs that were timed twice, in words, if it differs too much."""
    times: dict[str, list[float]] = {}
    for run in runs:
        times.setdefault(run.told, []).append(run.seconds)
    worst, told = max(((max(each) / min(each) - 1, told) for told, each in times.items()), default=(0.0, ""))
    return f"{told} took {100 * worst:.0f} % longer in one of two runs" if worst > AGREE else ""


def _restless(samples: Sequence[float]) -> str:
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return f"quartiles of a product's time are {100 * (high - low) / median:.0f} % apart" if (high - low) / median > QUIET else ""


def device_of(name: str) -> Hardware:
    """The device to be calibrated; this machine is measured first where it was not."""
    from costmodel.bench.run import local

    return local() if name == "local" else load(name)


def own_file(device: Hardware) -> Path:
    """Where the user's version of a device stands."""
    return user_directory() / f"{device.name}.toml"


def _date() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


__all__ = ["calibrated", "device_of", "measure_here", "networks", "of_policy", "own_file", "spread", "told", "typical"]
