"""Figures of a training and of its predictions, in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nnarray import files, plotting
from nnarray.apps.workflow.comparisons import Folded
from nnarray.apps.workflow.importance import Importance, importance_after
from nnarray.apps.workflow.inputs import Rows
from nnarray.apps.workflow.steps import Trained
from nnarray.plotting import BLUE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 40  # with names in a figure of a confusion matrix
MOST_COLUMNS = 30  # in a figure of importance
MOST_LETTERS = 30  # of the name of a column there: longer names would leave no room for the bars

NOT_HELD_OUT = (
    "the report does not show how important each column is, because no examples were held out; use --validation, "
    "--test or --folds"
)


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


class Drawn(NamedTuple):
    """What a report has, and what it lacks."""

    files: list[Path]
    notes: list[str]


def draw(done: Trained, folder: Path, folded: Folded | None = None) -> Drawn:
    """Write figures: loss curve, confusion matrix or predicted over true values, importance of columns.

    They show examples that were not trained on, if there are any: after a cross-validation, those of all its folds. The
    numbers are in report.json, the scores first.
    """
    figures = {"training.png": _history(done)}
    confusion = done.scores.confusion if folded is None else folded.confusion
    values = done.values if folded is None else folded.values
    if confusion is not None and len(done.inputs.classes) <= MOST_CLASSES:
        figures["confusion.png"] = _confusion(confusion, done.inputs.classes)
    if values is not None:
        figures["predictions.png"] = _predictions(*values, done.inputs.targets)
    columns = importance_after(done) or (None if folded is None else folded.importance)
    if columns is not None:
        figures["importance.png"] = _importance(columns)
    for name, figure in figures.items():
        plotting.save(figure, folder / name)
    scores = {name: done.model.metadata[name] for name in ("scores", "test scores") if name in done.model.metadata}
    report = {**scores, "model": done.model.metadata, "history": dict(done.model.history)}
    report |= {} if columns is None else {"importance": columns.to_json()}
    files.replace(folder / "report.json", lambda part: _write(part, json.dumps(report, indent=2)))
    lacks = columns is None and isinstance(done.inputs, Rows)
    return Drawn([folder / name for name in figures], [NOT_HELD_OUT] if lacks else [])


def _write(part: Path, text: str) -> None:
    part.write_text(text, encoding="utf-8")


def _history(done: Trained) -> Figure:
    with plotting.picture(6.4, 4.0) as figure:
        plotting.plot_history(done.model.history, ax=figure.subplots())
    return figure


def _confusion(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    with plotting.picture(2.5 + 0.6 * len(names), 2.0 + 0.6 * len(names)) as figure:
        plotting.plot_confusion(matrix, names, ax=figure.subplots())
    return figure


def _importance(importance: Importance) -> Figure:
    """A bar for each column, the most important on top; the line through its end is the spread."""
    shown = importance.columns[:MOST_COLUMNS][::-1]
    with plotting.picture(6.4, 1.2 + 0.3 * len(shown)) as figure:
        axes = figure.subplots()
        means, spreads = ([getattr(each, part) for each in shown] for part in ("mean", "spread"))
        axes.barh(range(len(shown)), means, xerr=spreads, color=BLUE, ecolor="grey")
        axes.set_yticks(range(len(shown)), [_shortened(each.name) for each in shown])
        figure.supxlabel(f"rise of {importance.loss}, the column shuffled", fontsize="medium")  # as wide as the figure
    return figure


def _shortened(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 3]}..."


def _predictions(predicted: np.ndarray, true: np.ndarray, targets: Sequence[str]) -> Figure:
    """Draw predicted over true values, one axes per target; both are equal on the grey line."""
    with plotting.picture(4.4 * len(targets), 4.4) as figure:
        for j, (name, axes) in enumerate(zip(targets, figure.subplots(1, len(targets), squeeze=False)[0], strict=True)):
            ends = [float(f(np.concatenate([predicted[:, j], true[:, j]]))) for f in (np.min, np.max)]
            axes.plot(ends, ends, color="grey", linewidth=1.0)
            axes.scatter(true[:, j], predicted[:, j], s=12.0, color=BLUE, alpha=0.5, linewidths=0)
            axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}", aspect="equal")
    return figure
