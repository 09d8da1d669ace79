"""Metrics from the counts of each class: what is predicted, what is true, and both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from nnarray import kernels
from nnarray.arguments import explained
from nnarray.backends import default_float, device_of, namespace, same_place
from nnarray.metrics.labels import (
    classes_of,
    has_numbers,
    integer_dtype,
    is_single,
    known_threshold,
    label_shape,
    predicted_classes,
    spread_over,
    true_classes,
    true_labels,
)
from nnarray.names import shown
from nnarray.typing import Array


@explained
def confusion_matrix(
    outputs: Array, target: Array, classes: int | None = None, *, threshold: float | None = None
) -> Array:
    """The number of examples of each true class (rows) by predicted class (columns).

    scikit-learn's has the same axes, but takes the labels first.

    An example with an output of NaN has no predicted class, and is not counted.

    Parameters
    ----------
    outputs, target, threshold
        As for `accuracy`.
    classes : int, optional
        At least the number of outputs, or 2 with a single logit, which are also the defaults.

    Returns
    -------
    array, shape (classes, classes), the default integer dtype

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> nn.metrics.confusion_matrix(be.asarray([[0.0, 1.0], [1.0, 0.0]]), be.asarray([1, 1])).tolist()
    [[0, 0], [1, 1]]
    """
    xp = same_place(outputs=outputs, target=target)
    classes, least = classes or classes_of(outputs), classes_of(outputs)
    if classes < least:
        raise ValueError(f"a confusion matrix of these outputs needs at least {least} classes; got {classes}.")
    predicted, true = _one_hot_classes(outputs, target, classes, known_threshold(outputs, target, threshold))
    return xp.astype(xp.matmul(true.T, predicted), integer_dtype(outputs))


def _one_hot_classes(outputs: Array, target: Array, classes: int, threshold: float) -> tuple[Array, Array]:
    """1 at the predicted class and at the true one of each position, else 0; no class is predicted from NaN."""
    xp = same_place(outputs=outputs, target=target)
    like = xp.zeros((0,), dtype=default_float(xp, device_of(outputs)), device=device_of(outputs))
    true, predicted = (
        kernels.one_hot(xp.reshape(labels, (-1,)), classes, like=like)
        for labels in (true_classes(target, outputs, classes), predicted_classes(outputs, threshold))
    )
    return predicted * xp.astype(xp.reshape(has_numbers(outputs), (-1, 1)), like.dtype), true


def _indicators(outputs: Array, target: Array, multilabel: bool, threshold: float) -> tuple[Array, Array]:
    """1 where a class is predicted, and where it is true, else 0; shape (M, K), for all positions of all examples."""
    if not multilabel:
        return _one_hot_classes(outputs, target, classes_of(outputs), threshold)
    xp = same_place(outputs=outputs, target=target)
    dtype, both = default_float(xp, device_of(outputs)), (outputs > threshold, true_labels(outputs, target))
    width = 1 if is_single(outputs) else outputs.shape[-1]
    predicted, true = (xp.reshape(xp.astype(each, dtype), (-1, width)) for each in both)
    return predicted, true


AVERAGES = ("macro", "micro", "weighted", "binary", "samples")


class ClassMetric(Protocol):
    """A ratio of counts of each class, and its averages: `precision`, `recall` and `f1`."""

    __name__: str

    def __call__(
        self,
        outputs: Array,
        target: Array,
        *,
        average: str | None = "macro",
        multilabel: bool = False,
        threshold: float | None = None,
        weights: Array | None = None,
    ) -> Array:
        """The average, shape (); shape (K,) of all classes if it is None."""
        ...


def _of_counts(ratio: Callable[[Array, Array, Array], tuple[Array, Array]]) -> ClassMetric:
    """A metric of a ratio of the counts hits, predicted and true of a class; 0 where its denominator is 0."""

    def metric(
        outputs: Array,
        target: Array,
        *,
        average: str | None = "macro",
        multilabel: bool = False,
        threshold: float | None = None,
        weights: Array | None = None,
    ) -> Array:
        width = 1 if is_single(outputs) else outputs.shape[-1]
        _refuse_average(average, width, multilabel)
        threshold = known_threshold(outputs, target, threshold, multilabel)
        predicted, true = _indicators(outputs, target, multilabel, threshold)
        xp, each = namespace(predicted), spread_over(weights, label_shape(outputs), outputs)
        each = None if each is None else xp.reshape(each, (-1, 1))
        of_samples = average == "samples"
        counted = (true * predicted, predicted, true)
        counts = [xp.sum(x if each is None or of_samples else x * each, axis=int(of_samples)) for x in counted]
        if average == "binary":
            counts = [x[-1:] for x in counts]
        if average == "micro":
            counts = [xp.sum(x, keepdims=True) for x in counts]
        top, bottom = ratio(*counts)
        values = xp.where(bottom > 0, top / xp.where(bottom > 0, bottom, 1.0), 0.0)
        if average is None:
            return values
        if average == "weighted":
            return _weighted_mean(values, counts[2])
        return _weighted_mean(values, each[:, 0] if of_samples and each is not None else xp.ones_like(values))

    metric.__name__, metric.__qualname__, metric.__doc__ = ratio.__name__, ratio.__qualname__, ratio.__doc__
    of_counts: Any = explained(metric)
    return of_counts


def _refuse_average(average: str | None, width: int, multilabel: bool) -> None:
    """Refuse an average that is unknown, or that these outputs do not have."""
    if average is not None and average not in AVERAGES:
        raise ValueError(f"average must be one of {', '.join(map(repr, AVERAGES))}, None; got {shown(average)}.")
    if average == "binary" and width > (1 if multilabel else 2):
        raise ValueError(f"average='binary' needs two classes; got {width} outputs. Use 'macro'.")
    if average == "samples" and not multilabel:
        raise ValueError(
            "average='samples' is for several labels per example; pass multilabel=True, or use average='macro'."
        )


def _weighted_mean(values: Array, weights: Array) -> Array:
    """The mean by weights, shape (); 0 if they sum to 0."""
    xp = namespace(values)
    total = xp.sum(weights)
    return xp.sum(values * weights) / xp.where(total > 0, total, 1.0)


@_of_counts
def precision(hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
    """Precision = hits / predicted: the fraction of the examples predicted as a class that belong to it.

    Parameters
    ----------
    outputs, target, multilabel, threshold, weights
        As for `accuracy`. With `multilabel`, each label counts as a class.
    average : {"macro", "micro", "weighted", "binary", "samples"} or None
        "macro" is the mean over the classes, also over two; "micro" is the ratio of the sums of their counts;
        "weighted" is the mean weighted by how often each class is true; "binary" is that of class 1 of two. "samples"
        is the mean over the examples of the ratio of each example's labels, which needs `multilabel`. None gives the
        values of all classes, shape (K,). They are those of scikit-learn with all classes as `labels`; its default is
        "binary".

    Raises
    ------
    TypeError, ValueError
        As `accuracy`; if the average is unknown, is "binary" for more than two classes, or "samples" for one class per
        example.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> outputs, labels = be.asarray([-1.0, 2.0, 3.0, 1.0]), be.asarray([0, 1, 1, 0])
    >>> float(nn.metrics.precision(outputs, labels)), float(nn.metrics.precision(outputs, labels, average="micro"))
    (0.8333333333333333, 0.75)
    >>> nn.metrics.precision(outputs, labels, average=None).round(3).tolist()
    [1.0, 0.667]
    """
    return hits, predicted


@_of_counts
def recall(hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
    """Recall = hits / true: the fraction of the examples of a class that are predicted as it.

    The arguments and errors are those of `precision`.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> float(nn.metrics.recall(be.asarray([-1.0, 2.0, 3.0, 1.0]), be.asarray([0, 1, 1, 0]), average="binary"))
    1.0
    """
    return hits, true


@_of_counts
def f1(hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
    """F1 = 2 precision recall / (precision + recall) = 2 hits / (predicted + true), of each class.

    The arguments and errors are those of `precision`.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> outputs, labels = be.asarray([-1.0, 2.0, 3.0, 1.0]), be.asarray([0, 1, 1, 0])
    >>> [round(float(nn.metrics.f1(outputs, labels, average=each)), 3) for each in ("macro", "binary")]
    [0.733, 0.8]
    """
    return 2.0 * hits, predicted + true


@dataclass(frozen=True)
class Averaged:
    """A metric with another average, under the name `<metric>_<average>`."""

    metric: Callable[..., Array]
    average: str

    @property
    def __name__(self) -> str:
        """The name of the metric in the history."""
        return f"{self.metric.__name__}_{self.average}"

    def __call__(
        self,
        outputs: Array,
        target: Array,
        *,
        multilabel: bool = False,
        threshold: float | None = None,
        weights: Array | None = None,
    ) -> Array:
        """The metric, shape ()."""
        more = {"multilabel": multilabel, "threshold": threshold, "weights": weights}
        return self.metric(outputs, target, average=self.average, **more)
