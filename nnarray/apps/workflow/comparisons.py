"""What else could be trained on the same examples: a linear model, and the network on other parts of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from nnarray.apps.workflow.importance import Importance, importance_after, mean_over_folds
from nnarray.apps.workflow.inputs import Examples, Rows, Watch
from nnarray.apps.workflow.scores import Scores, losses
from nnarray.apps.workflow.steps import Plan, Trained, model_for, read, train
from nnarray.apps.workflow.using import weights_of
from nnarray.backends import Backend
from nnarray.checks import integer
from nnarray.datasets.sources import Source

log = logging.getLogger("nnarray")


Verdict = Literal["better", "as well", "worse"]


def linear_model(path: Path, examples: Examples, plan: Plan, be: Backend) -> Trained | None:
    """A network without hidden layers on the same inputs: a linear model.

    None where there is nothing to compare with, or where it would cost too much: for images, if nothing is held out, if
    the network itself is linear, and if the examples are on the disk or the steps on a cluster.
    """
    tables = isinstance(examples.inputs, Rows) and not isinstance(examples.X, Source) and plan.scheduler is None
    if not tables or len(examples.held_out) == 0 or not plan.dense_sizes:
        return None
    linear = replace(plan, hidden=(), dropout=0.0, resume=False)
    with _labelled("linear model"):
        return train(model_for(path, examples, linear, be), examples, linear)


@contextmanager
def _labelled(what: str) -> Generator[None]:
    """Begin the lines of the log with this meanwhile, for the training is not that of the model which is saved."""

    def label(record: logging.LogRecord) -> bool:
        record.msg = f"{what}: {record.msg}"
        return True

    log.addFilter(label)
    try:
        yield
    finally:
        log.removeFilter(label)


def excess_of(linear: Trained, network: Trained) -> np.ndarray:
    """How much larger the loss of the linear model is, for each held-out example, shape (n,).

    The loss is that of the training: with its weights, if classes had some.
    """
    excess = losses(linear.outputs, linear.y) - losses(network.outputs, network.y)
    weights = weights_of(network.model, network.y)
    return excess if weights is None else weights * excess


def verdict(excess: np.ndarray) -> Verdict:
    """How well the linear model predicts, compared with the network: a difference counts beyond one standard error.

    Parameters
    ----------
    excess : array, shape (n,)
        As `excess_of` returns it.

    References
    ----------
    .. [1] Breiman, Friedman, Olshen & Stone (1984), Classification and Regression Trees, section 3.4.3: of all models
       within one standard error, the simplest.

    Examples
    --------
    >>> verdict(np.asarray([0.1, -0.1, 0.2])), verdict(np.asarray([0.2, 0.1, 0.2]))
    ('as well', 'worse')
    """
    mean, n = float(np.mean(excess)), len(excess)
    error = float(np.std(excess, ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    return "better" if mean < -error else "as well" if mean <= error else "worse"


class Fold(NamedTuple):
    """A network of a cross-validation."""

    scores: Scores
    """On the examples that were held out."""
    epoch: int
    """The best one."""
    linear: Scores | None
    """Of the linear model on the same examples."""
    excess: np.ndarray
    """As `excess_of` returns it; empty without a linear model."""
    values: tuple[np.ndarray, np.ndarray] | None = None
    """Predicted and true values of the held-out examples, shape (n, t) each; None for classes."""
    importance: Importance | None = None
    """Of the columns, on the held-out examples; None for images, and if nobody asks for it."""


class Folded(NamedTuple):
    """The networks of a cross-validation."""

    folds: list[Fold]

    @property
    def scores(self) -> list[Scores]:
        """Of each fold."""
        return [fold.scores for fold in self.folds]

    @property
    def epochs(self) -> list[int]:
        """The best epoch of each fold."""
        return [fold.epoch for fold in self.folds]

    @property
    def linear(self) -> dict[str, float]:
        """By metric: the mean of the linear models; none if there are none."""
        linear = [fold.linear for fold in self.folds if fold.linear]
        return {name: float(np.mean([each.rows[name][0] for each in linear])) for name in _shared(linear)}

    @property
    def verdict(self) -> Verdict | None:
        """On the linear models, over all held-out examples."""
        return verdict(np.concatenate([fold.excess for fold in self.folds])) if self.linear else None

    @property
    def confusion(self) -> np.ndarray | None:
        """All held-out examples, each by its class and the one that the network of its fold predicts."""
        matrices = [scores.confusion for scores in self.scores if scores.confusion is not None]
        return np.sum(matrices, axis=0) if matrices else None

    @property
    def pooled(self) -> Scores:
        """The mean scores, and the confusion matrix of all held-out examples."""
        first, count = self.scores[0], sum(scores.examples for scores in self.scores)
        rows = {name: (mean, base) for name, (mean, _, base) in self.rows.items()}
        return Scores(count, first.baseline, rows, first.classes, self.confusion)

    @property
    def values(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Predicted and true values of all held-out examples; None for classes."""
        pairs = [fold.values for fold in self.folds if fold.values is not None]
        return (np.concatenate([p for p, _ in pairs]), np.concatenate([t for _, t in pairs])) if pairs else None

    @property
    def importance(self) -> Importance | None:
        """Of the columns, each network on the examples that it was not trained on."""
        each = [fold.importance for fold in self.folds if fold.importance is not None]
        return mean_over_folds(each) if each else None

    @property
    def rows(self) -> dict[str, tuple[float, float, float]]:
        """By metric: the mean, the spread over the folds (standard deviation of n - 1), and the baseline's mean."""
        made: dict[str, tuple[float, float, float]] = {}
        for name in _shared(self.scores):
            mine, base = np.asarray([scores.rows[name] for scores in self.scores]).T
            made[name] = float(mine.mean()), float(mine.std(ddof=1)), float(base.mean())
        return made

    @property
    def mean_epoch(self) -> int:
        """The mean best epoch, at least 1."""
        return max(1, round(float(np.mean(self.epochs))))

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        return self.pooled.to_json() | {
            "of": f"held-out examples of {len(self.scores)} folds",
            "spread": {name: spread for name, (_, spread, _) in self.rows.items()},
            "best epochs": self.epochs,
            **({"linear model": self.linear, "linear model predicts": self.verdict} if self.linear else {}),
        }


def _shared(scores: Sequence[Scores]) -> list[str]:
    """The metrics that all have: there is no ROC AUC where a fold has a single class."""
    return [name for name in scores[0].rows if all(name in each.rows for each in scores)] if scores else []


def cross_validated(
    path: Path,
    plan: Plan,
    folds: int,
    be: Backend,
    watch: Watch = lambda what, fraction: None,
    callbacks: Sequence[Any] = (),
    *,
    linear: bool = False,
    importance: bool = False,
) -> Folded:
    """Train on all but one of so many parts, and score on that one, for each; each class is in all parts alike.

    The data are read again for each fold, because the preparation is learned from its training part. With `linear`, a
    linear model is trained beside each network. With `importance`, the columns of a table are shuffled for each.

    Raises
    ------
    ValueError
        If there are fewer than 2 folds, or more than examples.
    """
    integer(folds, "--folds", 2, usual=5)
    plans = [replace(plan, fold=(k, folds), resume=False) for k in range(folds)]  # none of their networks is saved
    return Folded([_fold(path, each, be, watch, callbacks, linear, importance) for each in plans])


def _fold(
    path: Path, plan: Plan, be: Backend, watch: Watch, callbacks: Sequence[Any], linear: bool, importance: bool
) -> Fold:
    examples = read(path, plan, watch)
    examples = examples._replace(test=examples.test[:0])  # scored once, by the network that is saved
    if plan.fold is not None:
        watch(f"training, fold {plan.fold[0] + 1} of {plan.fold[1]}", plan.fold[0] / plan.fold[1])
    with _labelled(f"fold {plan.fold[0] + 1} of {plan.fold[1]}" if plan.fold else "fold"):
        done = train(model_for(path, examples, plan, be), examples, plan, None, callbacks)
        beside = linear_model(path, examples, plan, be) if linear else None
    excess = np.zeros(0) if beside is None else excess_of(beside, done)
    epoch = done.best_epoch or len(done.model.history["epoch"])
    columns = importance_after(done) if importance else None
    return Fold(done.scores, epoch, None if beside is None else beside.scores, excess, done.values, columns)


def on_all(plan: Plan, folded: Folded) -> Plan:
    """The plan of the network that is saved: on all examples but the test part, for the mean best epoch."""
    epochs, folds = folded.mean_epoch, len(folded.folds)
    return replace(plan, validation=0.0, epochs=epochs, early_stopping=False, patience=None, folds=folds)
