"""Permutation importance: how much worse a network becomes when a column of the table is shuffled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nnarray import random
from nnarray.apps.workflow.inputs import Inputs, Part, Rows, Unknown
from nnarray.apps.workflow.scores import losses
from nnarray.apps.workflow.splits import shuffled
from nnarray.apps.workflow.steps import Trained
from nnarray.apps.workflow.using import outputs_of, weights_of
from nnarray.backends import backend_of, host_backend
from nnarray.datasets.sources import Source
from nnarray.model import Model

REPEATS, MOST = 5, 10_000  # shuffles of each column, of so many rows at most


class ColumnImportance(NamedTuple):
    """How much the loss rises when a column is shuffled among the rows."""

    name: str
    mean: float
    spread: float
    """Standard deviation over the shuffles, or over the folds of a cross-validation."""


class Importance(NamedTuple):
    """Of all columns, the most important first."""

    loss: str
    rows: int
    columns: list[ColumnImportance]
    folds: int = 1
    """The number of networks whose mean this is."""

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        columns = [each._asdict() for each in self.columns]
        folds = {"folds": self.folds} if self.folds > 1 else {}
        return {"rise of": self.loss, "rows": self.rows, "repeats": REPEATS, **folds, "columns": columns}


def importance_in(
    model: Model, inputs: Inputs, data: Path, *, unknown: Unknown = "error", most: int = MOST
) -> Importance:
    """On a table whose target is known: on all rows, or on a random sample if there are more than `most`.

    Raises
    ------
    ValueError
        If the model takes images, or no row has a target.
    """
    rows = _need_rows(inputs)
    be, dtype = backend_of(model.theta), model.theta.dtype
    X, y = _sampled(rows.parts(data, be, dtype, labelled=True, unknown=unknown), be, most)
    return importance(model, rows, X, y)


def importance_after(done: Trained) -> Importance | None:
    """On the rows that the training has not seen, or else held out; on a random sample if they are too many.

    None for images, and if all rows were trained on.
    """
    examples = done.examples
    rows = examples.test if len(examples.test) else examples.held_out
    if not isinstance(done.inputs, Rows) or len(rows) == 0:
        return None
    if len(rows) > MOST:
        rows = np.sort(rows[_order("sample", len(rows))[:MOST]])
    X = examples.X.rows(rows) if isinstance(examples.X, Source) else examples.X[rows]
    return importance(done.model, done.inputs, np.asarray(X), examples.y[rows])


def mean_over_folds(folds: Sequence[Importance]) -> Importance:
    """The mean over the networks of a cross-validation, and the spread between them.

    A network that has no use for a column, because it is constant in its training rows, loses nothing without it.
    """
    rises = [{column.name: column.mean for column in each.columns} for each in folds]
    columns: list[ColumnImportance] = []
    for name in dict.fromkeys(name for rise in rises for name in rise):
        values = [rise.get(name, 0.0) for rise in rises]
        columns.append(ColumnImportance(name, float(np.mean(values)), float(np.std(values, ddof=1))))
    rows = sum(each.rows for each in folds)
    return Importance(folds[0].loss, rows, sorted(columns, key=lambda each: -each.mean), len(folds))


def importance(model: Model, inputs: Rows, X: np.ndarray, y: np.ndarray) -> Importance:
    """Shuffle each column among the rows, all its inputs together, and compare the loss of the training.

    If classes had weights in the training, they have them here: by another loss, a column that the network is right to
    use could seem to do harm.

    Parameters
    ----------
    X : array, shape (n, d)
        Inputs on the host, of rows that the network was not trained on.
    y : array, shape (n,) or (n, t)
        Numbers of classes, or standardised values.

    References
    ----------
    .. [1] Breiman (2001), Random forests. Machine Learning 45(1), 5-32.
    """
    be, dtype, weights = backend_of(model.theta), model.theta.dtype, weights_of(model, y)

    def loss(inputs: np.ndarray) -> float:
        return _loss(outputs_of(model, be.asarray(inputs, dtype=dtype)), y, weights)

    before, start, found = loss(X), 0, list[ColumnImportance]()
    for column in inputs.preparation.columns:
        block = slice(start, start := start + len(column.features))
        rises: list[float] = []
        for k in range(REPEATS):
            mixed = X.copy()
            mixed[:, block] = X[_order(f"{column.name} {k}", len(X)), block]
            rises.append(loss(mixed) - before)
        found.append(ColumnImportance(column.name, float(np.mean(rises)), float(np.std(rises, ddof=1))))
    entropy = "cross_entropy" if weights is None else "cross_entropy (weighted)"
    name = entropy if inputs.classes else "rmse, in standard deviations of the target"
    return Importance(name, len(X), sorted(found, key=lambda each: -each.mean))


def _loss(outputs: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> float:
    """Of log-probabilities and numbers of classes the cross-entropy, else the root mean square error."""
    mean = float(np.average(losses(outputs, y), weights=weights))
    return mean if y.ndim == 1 else math.sqrt(mean)


def _sampled(parts: Iterator[Part], be: Any, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of all parts, or so many of them, each as likely as any other; in their order."""
    X, y, draws = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for i, part in enumerate(parts):
        assert part.y is not None
        X, y, draws = [*X, be.to_numpy(part.X)], [*y, part.y], [*draws, _uniform(i, len(part.y))]
        if sum(map(len, y)) > most:
            draw = np.concatenate(draws)
            kept = np.sort(np.argpartition(draw, most)[:most])
            X, y, draws = [np.concatenate(X)[kept]], [np.concatenate(y)[kept]], [draw[kept]]
    if not y or not sum(map(len, y)):
        raise ValueError("no example has a target that is known: there is nothing to compare with.")
    return np.concatenate(X), np.concatenate(y)


def _need_rows(inputs: Inputs) -> Rows:
    if not isinstance(inputs, Rows):
        raise ValueError("--importance is about the columns of a table, and the model takes images: leave it out.")
    return inputs


def _order(what: str, count: int) -> np.ndarray:
    return shuffled(random.Key(0).fold("importance").fold(what), count)


def _uniform(part: int, count: int) -> np.ndarray:
    host = host_backend()
    key = random.Key(0).fold("importance of a sample").fold(part)
    return np.asarray(random.uniform(key, (count,), xp=host.xp, dtype=host.xp.float64, device=host.device))
