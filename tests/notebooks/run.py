"""The course's notebooks, executed from the first cell to the last, each in a kernel of its own: ``make notebooks``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60  # seconds a cell

# What the notebooks print and others have published: the lecture's tables, MCUNet's paper, Horowitz's table.
PUBLISHED = {
    "1_layers": ["99"],  # by hand: 1 + 10 + 4·2 + 8·4 + 8·2 + 16·2
    "2_networks": ["conv1: 34848 parameters", "32 bit:  243.8 MB", " 8 bit:   61.0 MB", "4.43 times fewer parameters",
                   "1.79 times"],
    "3_memory": ["saved activations"],
    "4_roofline": ["57.8 MFLOP", "51.4 MFLOP", "924.8 MFLOP", "236.0 MFLOP", "231.2 MFLOP", "24.50 MiB", "174.1 MFLOP/MiB",
                   "13.6 times fewer multiply-accumulates"],
    "5_time_and_energy": ["139"],  # 640 pJ by 3.7 + 0.9
    "6_your_own_model": ["tensor=4, pipeline=16"],
}


def problem(path: Path) -> str:
    """What is wrong with a notebook, or nothing: a cell fails, a published figure does not come out, or something is said on
    stderr."""
    import nbformat  # of the extra `notebooks`, which tests do without
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=LIMIT, kernel_name="python3", resources={"metadata": {"path": folder}})
        try:
            client.execute()
        except CellExecutionError as error:
            return str(error)
    said = [text for cell in notebook.cells for output in cell.get("outputs", ())
            for text in (output.get("text", ""), output.get("data", {}).get("text/plain", ""))]
    if missing := [fact for fact in PUBLISHED[path.stem] if not any(fact in text for text in said)]:
        return f"none of its outputs has {missing}"
    warned = [output["text"] for cell in notebook.cells for output in cell.get("outputs", ())
              if output["output_type"] == "stream" and output["name"] == "stderr"]
    return f"stderr: {''.join(warned)}" if warned else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="notebooks to run (default: all)")
    wrong = []
    for path in parser.parse_args().notebooks or sorted((ROOT / "notebooks").glob("*.ipynb")):
        start = time.monotonic()
        found = problem(path)
        print(f"{'FAILED' if found else 'ok':6}  {path.name}  {time.monotonic() - start:.0f} s", flush=True)
        wrong += [f"{path.name}: {found}"] if found else []
    print("\n\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
