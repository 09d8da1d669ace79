"""Metrics: the quality of predictions, computed on the device of the outputs. All return an array of shape ().

All take the outputs first, then the target: `accuracy(model(X), y)`. scikit-learn has the other order. By name, any
order is right: `accuracy(target=y, outputs=model(X))`.

Metrics of classes read outputs in one of two ways. Either an example has one class: the largest of its outputs, or with
a single output whether it is above a threshold. Or, with `multilabel=True`, each output is a label of its own, which is
predicted if the output is above the threshold. The threshold of logits is 0, that of probabilities 0.5. Without one it
is 0. Labels are refused then, and outputs that could be probabilities are warned of. `Model.fit` and `Model.evaluate`
know from the loss which it is, and pass the sample weights too.
"""

# pyright: reportUnusedImport=false

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nnarray.arguments import attribute_errors
from nnarray.checks import is_several
from nnarray.metrics.counts import AVERAGES, Averaged, ClassMetric, confusion_matrix, f1, precision, recall
from nnarray.metrics.hits import TopK, accuracy, perplexity
from nnarray.metrics.labels import predicted_classes
from nnarray.metrics.ranks import roc_auc
from nnarray.metrics.values import mae, mse, r2, rmse
from nnarray.names import also, named, shown
from nnarray.typing import Array

Metric = Callable[..., Array]
"""A function of outputs and target."""

Measure = Callable[[Array, Array, Array | None], Any]
"""A function of outputs, target and the weights of the examples."""

METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "top_5": TopK(5),
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "roc_auc": roc_auc,
    "perplexity": perplexity,
    "r2": r2,
    "mse": mse,
    "rmse": rmse,
    "mae": mae,
}
COLUMNS = ("epoch", "loss", "lr", "seconds")
"""The names of the other columns of a history."""
LOW = ("perplexity", "mse", "rmse", "mae")
"""The names of those that should be low."""
METRICS |= {
    each.__name__: each
    for metric in (precision, recall, f1)
    for each in (Averaged(metric, average) for average in AVERAGES[1:])
}


ALSO = also(
    accuracy="acc accuracy_score categorical_accuracy sparse_categorical_accuracy",
    top_5="top_5_accuracy top_5_acc",
    precision="macro_precision precision_macro",
    recall="macro_recall recall_macro",
    f1="f1_score macro_f1 f1_macro",
    roc_auc="auc auroc roc_auc_score",
    r2="r2_score r_squared",
    mse="mean_squared_error",
    rmse="root_mean_squared_error",
    mae="mean_absolute_error",
    absent="binary_accuracy balanced_accuracy top_k_accuracy f2 fbeta "
    "average_precision loss cross_entropy log_loss adjusted_r2",
)


def _metric(metric: str | Metric) -> Metric:
    if isinstance(metric, str):
        if top := re.fullmatch(r"top_?([1-9]\d*)(_acc|_accuracy)?", metric.strip().lower().replace("-", "_")):
            return TopK(int(top[1]))
        return named(metric, METRICS, "metric", ALSO)
    if not callable(metric):
        raise TypeError(
            f"a metric must be a name or a function of outputs and target; got {shown(metric)}. Use one of "
            f"{', '.join(METRICS)}, or leave metrics out."
        )
    return metric


def measured(name: str, metric: Measure, outputs: Array, target: Array, weights: Array | None) -> float:
    """The value of a metric as a number. Waits for the device.

    Raises
    ------
    TypeError
        If the metric returns anything else; the message names it.
    """
    value: Any = metric(outputs, target, weights)
    try:
        if isinstance(value, str | bytes) or getattr(value, "shape", ()) != ():
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        shape = getattr(value, "shape", None)
        text = shown(value) if shape is None else f"{type(value).__name__} of shape {tuple(shape)}"
        raise TypeError(f"metric {name!r} must return one number; got {text}.") from None


def metrics_named(metrics: Any) -> dict[str, Metric]:
    """Metrics by the names of their columns in the history."""
    if not is_several(metrics) and not isinstance(metrics, Mapping):
        metrics = [metrics]
    chosen = [*map(_metric, metrics.values() if isinstance(metrics, Mapping) else metrics)]
    names = [*metrics] if isinstance(metrics, Mapping) else [getattr(m, "__name__", type(m).__name__) for m in chosen]
    if len(set(names)) < len(names):
        raise ValueError(
            f"metrics need different names; got {names}. The name of a metric is its __name__; for others, pass "
            f"metrics={{'first': f, 'second': g}}."
        )
    if taken := [name for name in names if not isinstance(name, str) or name in COLUMNS or name.startswith("val_")]:
        raise ValueError(
            f"a metric cannot be called {shown(taken[0])}: the history has another column of this name, or is without "
            f"names like it. Pass it by a name of its own: metrics={{'own': f}}."
        )
    return dict(zip(names, chosen, strict=True))


if not TYPE_CHECKING:  # a type checker would accept every name
    __getattr__ = attribute_errors(__name__, (*METRICS, "TopK", "confusion_matrix"), ALSO)
