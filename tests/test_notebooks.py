"""The notebooks run from top to bottom on more than one backend, and say what they said when they were written.

In the repository a notebook holds the texts that its cells print, and no figures: these are drawn anew where the
notebook is run, so that a figure never shows what the code no longer does.
"""

from __future__ import annotations

import asyncio
import doctest
import os
import time
import warnings
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat
import pytest
from jupyter_client.channels import AsyncZMQSocketChannel
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
FLAG = 'nn.backend("numpy")'
SHORT = ("1", "2")  # what the long ones do on PyTorch, other tests do in less time
RUNS = [
    (path, flag) for path in NOTEBOOKS for flag in ("numpy", "torch") if flag == "numpy" or path.name.startswith(SHORT)
]
DRAWING = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
NOT_DRAWING = {"MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore:FigureCanvasAgg is non-interactive"}
SAME = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
FIGURES = ("image/png", "image/svg+xml", "text/html", "application/vnd.jupyter.widget-view+json")


@pytest.fixture(autouse=True)
def _listening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are asked for every second: where a widget draws, nbclient can miss that one has come, and waits."""
    plain = AsyncZMQSocketChannel.get_msg

    async def get_msg(self: Any, timeout: float | None = None) -> Any:
        end = time.monotonic() + (1e9 if timeout is None else timeout)
        while True:
            try:
                return await plain(self, timeout=min(1.0, max(0.0, end - time.monotonic())))
            except Empty:
                if time.monotonic() >= end:
                    raise

    monkeypatch.setattr(AsyncZMQSocketChannel, "get_msg", get_msg)


def read(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbformat about its own future
        return nbformat.read(path, as_version=4)


def texts(cell: Any) -> str:
    """What a cell prints, and the value of its last line; the name of a figure is no text."""
    said = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream" and output.name == "stdout":
            said.append(output.text)
        elif output.output_type == "execute_result" and not set(output.data) & set(FIGURES):
            said.append(output.data["text/plain"] + "\n")
    return "".join(said)


def draws(cell: Any) -> bool:
    return any(set(output.get("data", {})) & set(FIGURES) for output in cell.get("outputs", []))


def errors_in_widgets(notebook: Any) -> list[str]:
    """Those that a slider's function raises, which are shown in its own output and stop nothing."""
    widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    outputs = [output for widget in widgets.values() for output in widget["state"].get("outputs", [])]
    return [f"{each['ename']}: {each['evalue']}" for each in outputs if each["output_type"] == "error"]


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def executed(path: Path, flag: str, folder: Path) -> Any:
    """The notebook as it comes out, with the one line at its top changed.

    Figures are made on every backend, of arrays on the host, and drawn on the first: it is a third of the time.
    """
    notebook = read(path)
    for cell in code_cells(notebook):
        cell.source = cell.source.replace(FLAG, FLAG.replace("numpy", flag))
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | (DRAWING if flag == "numpy" else NOT_DRAWING)
    (folder / "matplotlibrc").write_text("figure.max_open_warning: 0\n", encoding="utf-8")
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the kernel's own libraries
        asyncio.run(client.async_execute(env=environment))
    return notebook


@pytest.mark.parametrize(("path", "flag"), RUNS, ids=lambda each: getattr(each, "stem", each))
def test_a_notebook_runs_and_says_what_it_said(path: Path, flag: str, tmp_path: Path) -> None:
    before, after = read(path), executed(path, flag, tmp_path)
    drawn = 0
    for cell, now in zip(code_cells(before), code_cells(after), strict=True):
        wanted, got = texts(cell), texts(now)
        assert doctest.OutputChecker().check_output(wanted, got, SAME), (
            f"{path.name} on {flag}:\n{cell.source}\nsays\n{wanted}\nprints\n{got}"
        )
        errors = [output for output in now.outputs if output.output_type == "stream" and output.name == "stderr"]
        assert not errors, errors
        drawn += draws(now)
    assert not errors_in_widgets(after)
    assert drawn > 2 or flag != "numpy"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_in_the_repository_is_clean(path: Path) -> None:
    notebook = read(path)
    first = next(cell for cell in code_cells(notebook) if "nn.backend" in cell.source)
    assert f"be = {FLAG}" in first.source, "the backend is chosen by one line at the top"
    assert sum(cell.source.count("nn.backend(") for cell in code_cells(notebook)) == 1
    for cell in code_cells(notebook):
        assert cell.execution_count is None
        assert not draws(cell), f"{path.name} holds a figure; strip it"
        assert all(output.output_type != "error" for output in cell.outputs)
    assert notebook.metadata.kernelspec.name == "python3"


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
