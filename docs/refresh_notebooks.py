"""Run the notebooks, and keep what they print: `python docs/refresh_notebooks.py`, after a change to one of them.

Figures, widgets and the numbers of cells are left out: a notebook in the repository holds texts only.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent / "notebooks"
FIGURES = {"image/png", "image/svg+xml", "text/html", "application/vnd.jupyter.widget-view+json"}


def refresh(path: Path) -> None:
    """Run one notebook, and write it back without what changes from run to run."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [kept for kept in cell.outputs if not FIGURES & set(kept.get("data", {}))]
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
            cell.metadata.pop("execution", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}  # not the version that happened to run it
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for found in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        print(found.name)
        refresh(found)
