"""Scores of outputs, added up part by part, and of a baseline: always the most common class, or the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from nnarray.metrics import roc_auc

RARE = 0.5  # of the examples of a class on average: with fewer, accuracy says little about the class


class Scores(NamedTuple):
    """The scores of the network, and of the baseline."""

    examples: int
    baseline: str
    """The prediction of the baseline for every example."""
    rows: dict[str, tuple[float, float]]
    """By metric: the network's value and the baseline's."""
    classes: tuple[str, ...] = ()
    confusion: np.ndarray | None = None
    """The number of examples of each class (rows) by predicted class (columns)."""

    @property
    def no_better(self) -> list[str]:
        """The metrics in which the network is not better than the baseline, if a constant can be good at them."""
        lower = ("cross_entropy", "rmse")
        return [
            name
            for name, (mine, base) in self.rows.items()
            if (name == "accuracy" and not mine > base) or (name.startswith(lower) and not mine < base)
        ]

    @property
    def by_class(self) -> list[tuple[str, int, float, float, float]]:
        """For each class: its name, number of examples, recall, precision and F1."""
        if self.confusion is None:
            return []
        true, predicted, hits = self.confusion.sum(axis=1), self.confusion.sum(axis=0), np.diagonal(self.confusion)
        recall, precision, f1 = map(_ratios, (hits, hits, 2 * hits), (true, predicted, true + predicted))
        return list(zip(self.classes, true.tolist(), recall, precision, f1, strict=True))

    @property
    def overlooked(self) -> list[tuple[str, int, int]]:
        """The rare classes of which over half is predicted as another: name, number of these, number of examples."""
        few = RARE * self.examples / max(len(self.classes), 1)
        rows = [(name, n - round(recall * n), n) for name, n, recall, *_ in self.by_class if 0 < n < few]
        return [(name, lost, n) for name, lost, n in rows if 2 * lost > n]

    def to_json(self) -> dict[str, Any]:
        """The scores for JSON: a number that does not exist is null."""
        made: dict[str, Any] = {
            "examples": self.examples,
            "metrics": {name: _finite(mine) for name, (mine, _) in self.rows.items()},
            "baseline": {"predicts": self.baseline} | {name: _finite(base) for name, (_, base) in self.rows.items()},
        }
        made["no better than baseline"] = self.no_better
        if self.confusion is not None:
            made |= {"classes": list(self.classes), "confusion": self.confusion.tolist()}
            made["overlooked classes"] = [name for name, _, _ in self.overlooked]
        return made


def _ratio(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom else math.nan


def _ratios(top: np.ndarray, bottom: np.ndarray) -> list[float]:
    return [_ratio(*each) for each in zip(top, bottom, strict=True)]


def _refuse_none(count: int) -> None:
    if count == 0:
        raise ValueError("no example has a known target, so there are no scores. Pass data with targets.")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def losses(outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The loss of each example, shape (n,): -log p of its class, or the mean square of its errors."""
    return -outputs[np.arange(len(y)), y] if y.ndim == 1 else np.mean((outputs - y) ** 2, axis=1)


def balanced_weights(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """The weight N / (K n_k) of each class, shape (K,): all classes count alike, and an example 1 on average.

    Parameters
    ----------
    counts : sequence of int, or array, shape (K,)
        The number of examples of each class.
    """
    counts = np.asarray(counts)
    return counts.sum() / (len(counts) * np.maximum(counts, 1))


@dataclass
class ClassTally:
    """Accuracy, its mean over the classes, macro-averaged F1, and cross-entropy of probabilities; of two also ROC AUC.

    The baseline always predicts the most common class of the training data, with its class frequencies as
    probabilities.

    Parameters
    ----------
    classes : sequence of str
    counts : sequence of int
        The number of training examples of each class.
    """

    classes: Sequence[str]
    counts: Sequence[int]
    matrix: np.ndarray = field(init=False)
    loss: float = field(default=0.0, init=False)
    ranked: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list, init=False)
    """Of two classes: the log-odds of the second, and the classes, of all examples, as their ranks are compared."""

    def __post_init__(self) -> None:
        self.matrix = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)

    def add(self, log_probabilities: np.ndarray, y: np.ndarray) -> None:
        """Add some examples: outputs of shape (n, K), and their class numbers."""
        predicted = log_probabilities.argmax(axis=1)
        np.add.at(self.matrix, (y, predicted), 1)
        self.loss += float(losses(log_probabilities, y).sum(dtype=np.float64))
        if len(self.classes) == 2:
            self.ranked.append((log_probabilities[:, 1] - log_probabilities[:, 0], y))

    def scores(self) -> Scores:
        """The scores of all examples so far; there must be at least one."""
        true, count = self.matrix.sum(axis=1), int(self.matrix.sum())
        _refuse_none(count)
        frequencies = np.asarray(self.counts, dtype=float) / sum(self.counts)
        common = int(frequencies.argmax())
        always = np.zeros_like(self.matrix)
        always[:, common] = true
        prior = -float(true @ np.log(np.maximum(frequencies, 1e-12)))
        rows = {
            "accuracy": (_ratio(np.trace(self.matrix), count), _ratio(true[common], count)),
            "balanced_accuracy": (_mean_recall(self.matrix), _mean_recall(always)),
            "f1": (_f1(self.matrix), _f1(always)),
            "cross_entropy": (_ratio(self.loss, count), _ratio(prior, count)),
        }
        if self.ranked and true.all():  # of a single class, there is nothing to compare
            odds: Any = np.concatenate([scores for scores, _ in self.ranked])
            labels: Any = np.concatenate([y for _, y in self.ranked])
            rows["roc_auc"] = float(roc_auc(odds, labels)), 0.5
        return Scores(count, self.classes[common], rows, tuple(self.classes), self.matrix)


def _mean_recall(matrix: np.ndarray) -> float:
    """The mean of the recall over the classes that occur: always predicting one of K scores 1 / K."""
    true = matrix.sum(axis=1)
    return float(np.mean(np.diagonal(matrix)[true > 0] / true[true > 0]))


def _f1(matrix: np.ndarray) -> float:
    """The mean of F1 = 2 precision recall / (precision + recall) over the classes that occur."""
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    present = true + predicted > 0
    return (
        float(np.mean(2.0 * np.diagonal(matrix)[present] / (true + predicted)[present])) if present.any() else math.nan
    )


@dataclass
class ValueTally:
    """Root mean square error, mean absolute error (both in the units of the target) and R2 of predicted values.

    The baseline always predicts the mean of the training data.

    Parameters
    ----------
    targets : sequence of str
    scales : sequence of float
        The standard deviation of each target in the training data: the unit of the outputs, where 0 is the mean.
    means : sequence of float
    """

    targets: Sequence[str]
    means: Sequence[float]
    scales: Sequence[float]
    count: int = field(default=0, init=False)
    sums: Any = field(default=0.0, init=False)

    def add(self, outputs: np.ndarray, y: np.ndarray) -> None:
        """Add some examples: standardised outputs and targets, shape (n, t)."""
        error = outputs.astype(np.float64) - y
        self.count += len(y)
        self.sums = self.sums + np.stack(
            [(error**2).sum(0), np.abs(error).sum(0), y.sum(0), (y**2).sum(0), np.abs(y).sum(0)]
        )

    def scores(self) -> Scores:
        """The scores of all examples so far; there must be at least one."""
        _refuse_none(self.count)
        squared, absolute, total, squares, distances = self.sums / self.count
        spread = squares - total**2  # around the mean of these examples
        rows: dict[str, tuple[float, float]] = {}
        for j, (name, scale) in enumerate(zip(self.targets, self.scales, strict=True)):
            of = f" of {name}" if len(self.targets) > 1 else ""
            rows[f"rmse{of}"] = scale * math.sqrt(squared[j]), scale * math.sqrt(squares[j])
            rows[f"mae{of}"] = scale * float(absolute[j]), scale * float(distances[j])
            rows[f"r2{of}"] = 1.0 - _ratio(squared[j], spread[j]), 1.0 - _ratio(squares[j], spread[j])
        return Scores(self.count, ", ".join(f"{mean:g}" for mean in self.means), rows)


Tally = ClassTally | ValueTally
