"""Figures of a training and of its predictions, in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnarray import plotting
from nnarray.apps.workflow.steps import Trained
from nnarray.persistence import files
from nnarray.plotting import BLUE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 40  # with names in a figure of a confusion matrix


def prepare(folder: Path) -> None:
    """Make the folder, and check before the training that figures can be drawn and written.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    OSError
        If the folder cannot be made, or written to.
    """
    plotting.need_matplotlib()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; pass the path of a folder for the report.")
    folder.mkdir(parents=True, exist_ok=True)
    files.prove(folder / "report.json")


def draw(done: Trained, folder: Path) -> list[Path]:
    """Write the loss curve, the confusion matrix or predicted over true values, and the numbers in report.json."""
    figures = {"training.png": _history(done)}
    if done.inputs.classes:
        if len(done.inputs.classes) <= MOST_CLASSES:
            figures["confusion.png"] = _confusion(done)
    else:
        figures["predictions.png"] = _predictions(done)
    for name, figure in figures.items():
        plotting.save(figure, folder / name)
    report = {"model": done.model.metadata, "history": dict(done.model.history)}
    files.replace(folder / "report.json", lambda part: _write(part, json.dumps(report, indent=2)))
    return [folder / name for name in figures]


def _write(part: Path, text: str) -> None:
    part.write_text(text, encoding="utf-8")


def _history(done: Trained) -> Figure:
    with plotting.picture(6.4, 4.0) as figure:
        plotting.plot_history(done.model.history, ax=figure.subplots())
    return figure


def _confusion(done: Trained) -> Figure:
    names = done.inputs.classes
    assert done.scores.confusion is not None
    with plotting.picture(2.5 + 0.6 * len(names), 2.0 + 0.6 * len(names)) as figure:
        plotting.plot_confusion(done.scores.confusion, names, ax=figure.subplots())
    return figure


def _predictions(done: Trained) -> Figure:
    """Draw predicted over true values, one axes per target; both are equal on the grey line."""
    targets = done.inputs.targets
    predicted, true = (done.inputs.values(each) for each in (done.outputs, done.y))  # type: ignore[union-attr]
    with plotting.picture(4.4 * len(targets), 4.4) as figure:
        for j, (name, axes) in enumerate(zip(targets, figure.subplots(1, len(targets), squeeze=False)[0], strict=True)):
            ends = [float(f(np.concatenate([predicted[:, j], true[:, j]]))) for f in (np.min, np.max)]
            axes.plot(ends, ends, color="grey", linewidth=1.0)
            axes.scatter(true[:, j], predicted[:, j], s=12.0, color=BLUE, alpha=0.5, linewidths=0)
            axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}", aspect="equal")
    return figure
