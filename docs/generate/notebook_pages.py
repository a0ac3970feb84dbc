"""Run the notebooks from a clean kernel, and write their outputs or only check that they run."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
from pathlib import Path

import matplotlib
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
QUICK = "COSTLAB_QUICK"  # notebooks that find it in the environment run only a few short rounds
PATIENCE = 900  # seconds for one cell
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
RICHER = ("text/html", "text/markdown", "image/png")  # than plain text, which then stands for nothing


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def sources_digest(notebook: NotebookNode) -> str:
    """Tells whether outputs are those of the cells beside them."""
    cells = [[cell.cell_type, cell.source] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def executed(path: Path, quick: bool) -> NotebookNode:
    """The notebook with the outputs of a run from a clean kernel, in an empty folder, on one thread.

    Raises:
        CellExecutionError: a cell does.
    """
    notebook = read(path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    environment["MPLCONFIGDIR"] = matplotlib.get_cachedir()  # one that can be written: without it, a warning is shown
    environment.pop(QUICK, None)
    if quick:
        environment[QUICK] = "1"
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=PATIENCE,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=environment)
    return notebook


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Without what differs from run to run and what a page does not show."""
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if any(kind in data for kind in RICHER):
                data.pop("text/plain", None)
            output.pop("metadata", None)
            if output.output_type in ("display_data", "execute_result"):
                output.metadata = {}
    notebook.metadata = {
        **KERNEL,
        "language_info": {"name": "python"},
        "costlab": {"sources": sources_digest(notebook)},
    }
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS)
    for path in parser.parse_args().notebooks:
        print(f"notebooks: running {path.name}")
        nbformat.write(tidy(executed(path, quick=False)), path)


if __name__ == "__main__":
    main()
