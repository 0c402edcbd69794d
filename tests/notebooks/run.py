"""The course's notebooks, executed from the first cell to the last, each in a kernel of its own: ``make notebooks``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 120  # seconds a cell


def problem(path: Path) -> str:
    """Why a notebook does not run, or nothing: a cell fails, or something is said on stderr."""
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
