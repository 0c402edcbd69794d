"""Records of earlier checks as a page: `python -m costmodel.bench.records docs/measurements/*.jsonl > docs/measured.md`."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from costmodel.bench.checked import FORMAT
from costmodel.errors import CostModelError
from costmodel.text import si

_HEAD = """# Predicted and measured

Written by `python -m costmodel.bench.records docs/measurements/*.jsonl` from the raw records beside it, nothing by hand.
A record is what `costmodel check MODEL --at … --save FILE` appends: every sample, the machine, the versions, the date.

`lower` and `upper` are the roofline's bounds on the ceilings that `costmodel hw measure` found on that machine, for two extremes of
fusion: `unfused` (every equation through memory) and `layer` (a convolution with its normalisation and activation is one kernel).
"""


def load_records(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Records of JSON-lines files, in order. Raises CostModelError naming the line of one that is none."""
    records = []
    for path in paths:
        for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise CostModelError(f"{path}:{number}: not a record of a check: {error}") from None
            if not isinstance(record, dict) or record.get("format") != FORMAT:
                raise CostModelError(f"{path}:{number}: not a record of a check: expected format {FORMAT!r}")
            records.append(record)
    return records


def markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """A page with one table a machine and day, and how far the bounds were off in the median."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for r in records:
        where = r["environment"]
        groups.setdefault((where["device"], where["machine"], where["jax"], where["date"][:10]), []).append(r)
    parts = [_HEAD]
    for (device, machine, jax_version, date), rows in groups.items():
        on = device if device == machine else f"{device}, {rows[0]['environment']['cpus']} x {machine}"
        parts.append(f"## {on}, jax {jax_version}, {date}\n\n" + _table(rows))
    return "\n".join(parts)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    policies = [p["policy"] for p in rows[0]["predictions"]]
    head = ["model", "at", "measured (quartiles)"]
    for policy in policies:
        head += [f"{policy}: lower to upper", "measured / upper"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in rows:
        first, median, third = r["quartiles"]
        cells = [r["name"], ", ".join(f"{k}={v}" for k, v in r["point"].items()),
                 f"{si(median, 's')} ({si(first, 's')} to {si(third, 's')})"]
        for p in r["predictions"]:
            cells += [f"{si(p['lower'], 's')} to {si(p['upper'], 's')}", f"{median / p['upper']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    ratios = {policy: statistics.median(r["quartiles"][1] / r["predictions"][i]["upper"] for r in rows)
              for i, policy in enumerate(policies)}
    told = ", ".join(f"{ratio:.2f} under `{policy}`" for policy, ratio in ratios.items())
    return "\n".join([*lines, "", f"Median of measured / upper over {len(rows)} rows: {told}.", ""])


if __name__ == "__main__":
    print(markdown(load_records(sys.argv[1:])), end="")
