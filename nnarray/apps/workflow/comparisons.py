"""What else could be trained on the same examples: a linear model, and the network on other parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nnarray.apps.workflow.inputs import Examples, Rows, Watch
from nnarray.apps.workflow.scores import Scores
from nnarray.apps.workflow.steps import Plan, Trained, model_for, read, train
from nnarray.backends import Backend
from nnarray.checks import integer
from nnarray.datasets.sources import Source

LINEAR_LR = 0.01  # of Adam: a single layer bears longer steps


def linear_scores(path: Path, examples: Examples, plan: Plan, be: Backend) -> Scores | None:
    """The held-out scores of a network without hidden layers on the same inputs: a linear model.

    None where there is nothing to compare with, or where it would cost too much: for images, if nothing is held out, if
    the network itself is linear, and if the examples are on the disk or the steps on a cluster.
    """
    tables = isinstance(examples.inputs, Rows) and not isinstance(examples.X, Source) and plan.scheduler is None
    if not tables or len(examples.held_out) == 0 or not plan.dense_sizes:
        return None
    lr = LINEAR_LR if plan.lr is None and plan.optimizer is None else plan.lr
    linear = replace(plan, hidden=(), dropout=0.0, lr=lr, resume=False)
    return train(model_for(path, examples, linear, be), examples, linear).scores


def as_good(linear: Scores, network: Scores) -> bool:
    """Whether the linear model is at least as good in all that early stopping and people go by."""
    names = [name for name in network.rows if name.startswith(("accuracy", "cross_entropy", "rmse"))]
    sign = {name: 1.0 if name == "accuracy" else -1.0 for name in names}
    return all(sign[name] * linear.rows[name][0] >= sign[name] * network.rows[name][0] for name in names)


class Folded(NamedTuple):
    """The scores of the networks of a cross-validation."""

    scores: list[Scores]
    """Of each fold, on the examples that were held out in it."""
    epochs: list[int]
    """The best epoch of each."""

    @property
    def rows(self) -> dict[str, tuple[float, float, float]]:
        """By metric: the mean, the spread over the folds (standard deviation of n - 1), and the baseline's mean."""
        made: dict[str, tuple[float, float, float]] = {}
        for name in self.scores[0].rows:
            mine, base = np.asarray([scores.rows[name] for scores in self.scores]).T
            made[name] = float(mine.mean()), float(mine.std(ddof=1)), float(base.mean())
        return made

    @property
    def mean_epoch(self) -> int:
        """The mean best epoch, at least 1."""
        return max(1, round(float(np.mean(self.epochs))))

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        rows = self.rows.items()
        return {
            "examples": sum(scores.examples for scores in self.scores),
            "of": f"held-out examples of {len(self.scores)} folds",
            "metrics": {name: mean for name, (mean, _, _) in rows},
            "spread": {name: spread for name, (_, spread, _) in rows},
            "baseline": {"predicts": self.scores[0].baseline} | {name: base for name, (_, _, base) in rows},
            "best epochs": self.epochs,
        }


def cross_validated(
    path: Path,
    plan: Plan,
    folds: int,
    be: Backend,
    watch: Watch = lambda what, fraction: None,
    callbacks: Sequence[Any] = (),
) -> Folded:
    """Train on all but one of so many parts, and score on that one, for each; each class is in all parts alike.

    The data are read again for each fold, because the preparation is learned from its training part.

    Raises
    ------
    ValueError
        If there are fewer than 2 folds, or more than examples, or the plan resumes another training.
    """
    integer(folds, "--folds", 2, usual=5)
    if plan.resume:
        raise ValueError("--folds trains several networks, none of which is saved: leave out --resume, or --folds.")
    done = [_fold(path, replace(plan, fold=(k, folds)), be, watch, callbacks) for k in range(folds)]
    return Folded(
        [each.scores for each in done], [each.best_epoch or len(each.model.history["epoch"]) for each in done]
    )


def _fold(path: Path, plan: Plan, be: Backend, watch: Watch, callbacks: Sequence[Any]) -> Trained:
    examples = read(path, plan, watch)
    examples = examples._replace(test=examples.test[:0])  # scored once, by the network that is saved
    if plan.fold is not None:
        watch(f"training, fold {plan.fold[0] + 1} of {plan.fold[1]}", plan.fold[0] / plan.fold[1])
    return train(model_for(path, examples, plan, be), examples, plan, None, callbacks)


def on_all(plan: Plan, folded: Folded) -> Plan:
    """The plan of the network that is saved: on all examples but the test part, for the mean best epoch."""
    return replace(plan, validation=0.0, epochs=folded.mean_epoch, early_stopping=False, patience=None)
