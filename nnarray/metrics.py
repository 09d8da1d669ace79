"""Metrics: the quality of predictions, computed on the device of the outputs. All return an array of shape ().

All take the outputs first, then the target: `accuracy(model(X), y)`. scikit-learn has the other order. By name, any
order is right: `accuracy(target=y, outputs=model(X))`.

Metrics of classes read outputs in one of two ways. Either an example has one class: the largest of its outputs, or with
a single output whether it is above a threshold. Or, with `multilabel=True`, each output is a label of its own, which is
predicted if the output is above the threshold. The threshold of logits is 0, that of probabilities 0.5. Without one it
is 0. Labels are refused then, and outputs that could be probabilities are warned of. `Model.fit` and `Model.evaluate`
know from the loss which it is, and pass the sample weights too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nnarray import kernels
from nnarray.arguments import attribute_errors, explained
from nnarray.backends import default_float, device_of, dtype_name, is_traced, namespace, same_place
from nnarray.caller import warn
from nnarray.checks import integer, is_several, refuse_other_sums
from nnarray.kernels.standard.numerics import at_least_float32, scale_of
from nnarray.names import also, converted, named, shown
from nnarray.typing import Array, Shape

Metric = Callable[..., Array]
"""A function of outputs and target."""

Measure = Callable[[Array, Array, Array | None], Any]
"""A function of outputs, target and the weights of the examples."""


def predicted_classes(outputs: Array, threshold: float = 0.0) -> Array:
    """The most likely class of each example: the largest output, or of a single one 1 if it is above the threshold."""
    xp = same_place(outputs=outputs)
    if _single(outputs):
        return xp.astype(xp.reshape(outputs, _label_shape(outputs)) > threshold, _integer(outputs))
    return xp.argmax(outputs, axis=-1)


def _single(outputs: Array) -> bool:
    """Whether there is one logit for two classes, and not one per class."""
    return outputs.ndim == 1 or outputs.shape[-1] == 1


def _label_shape(outputs: Array) -> Shape:
    """The shape of the labels."""
    return tuple(outputs.shape if outputs.ndim == 1 else outputs.shape[:-1])


def _true_classes(target: Array, outputs: Array, classes: int | None = None) -> Array:
    """Labels, from labels, from probabilities of each class, or from probabilities of the second of two classes."""
    xp, shape, single = same_place(outputs=outputs, target=target), _label_shape(outputs), _single(outputs)
    if 0 in outputs.shape:
        raise ValueError(f"a metric needs at least one example; got outputs of shape {tuple(outputs.shape)}.")
    if target.shape == outputs.shape and not single:
        _refuse_several(target)
        return xp.argmax(xp.astype(target, default_float(xp, device_of(target)), copy=False), axis=-1)
    if target.shape not in (shape, (*shape, 1)):
        raise ValueError(
            f"outputs of shape {tuple(outputs.shape)} need labels of shape {shape} or probabilities of the outputs' "
            f"shape; got {tuple(target.shape)}.{_swapped(target, shape)}"
        )
    if xp.isdtype(target.dtype, "real floating"):
        if not single:
            raise TypeError(
                f"labels must be integers; got dtype {dtype_name(target.dtype)}. Convert them: {converted('y')}."
            )
        if not is_traced(target) and not bool(xp.all((target >= 0) & (target <= 1))):
            raise ValueError(
                f"a metric of classes needs labels, or probabilities from 0 to 1; got values from "
                f"{float(xp.min(target)):g} to {float(xp.max(target)):g}. For real values, use 'r2'."
            )
        target = target > 0.5
    classes = classes or _classes(outputs)
    labels = xp.astype(xp.reshape(target, shape), _integer(outputs))
    if not is_traced(labels) and not bool(xp.all((labels >= 0) & (labels < classes))):
        raise ValueError(
            f"labels must be 0 to {classes - 1}, because there are {classes} classes; got labels from "
            f"{int(xp.min(labels))} to {int(xp.max(labels))}."
        )
    return labels


def _swapped(target: Array, shape: Shape) -> str:
    return " Were outputs and labels swapped?" if target.ndim == len(shape) + 1 and target.shape[:-1] == shape else ""


def _threshold(outputs: Array, target: Array, threshold: float | None, multilabel: bool = False) -> float:
    """The threshold; without one it is 0, that of logits. Waits for the device, but not if one is given.

    Raises
    ------
    TypeError
        If there is none, and the outputs could be labels.
    """
    if threshold is not None or is_traced(outputs) or not (multilabel or _single(outputs)) or 0 in outputs.shape:
        return threshold or 0.0
    xp = same_place(outputs=outputs, target=target)
    if not xp.isdtype(outputs.dtype, "real floating"):
        more = " For predicted labels 0 and 1, pass threshold=0.5."
        swapped = _swapped(target, _label_shape(outputs)) or _swapped_scores(outputs, target)
        raise TypeError(
            f"a metric of classes takes the outputs first, then the labels; got outputs of dtype "
            f"{dtype_name(outputs.dtype)}.{swapped} A metric takes the outputs, not the predicted classes: "
            f"model(X).{more}"
        )
    if bool(xp.all((outputs >= 0) & (outputs <= 1))):
        warn(  # no error: a small batch of logits may lie there too
            f"the outputs, from {float(xp.min(outputs)):.4g} to {float(xp.max(outputs)):.4g}, could be probabilities, "
            f"but are taken as logits. For probabilities, pass threshold=0.5; for logits, pass threshold=0.0."
        )
    return 0.0


def _swapped_scores(outputs: Array, target: Array) -> str:
    """The question whether scores came second, where the first are labels."""
    xp = namespace(outputs)
    both = not xp.isdtype(outputs.dtype, "real floating") and xp.isdtype(target.dtype, "real floating")
    return " Were outputs and labels swapped?" if both else ""


def _refuse_several(target: Array) -> None:
    """Refuse labels of their own, of which the largest would say nothing: rows that do not sum to 1. Reads values."""
    xp = namespace(target)
    refuse_other_sums(
        xp.sum(at_least_float32(xp.astype(target, default_float(xp, device_of(target)), copy=False)), axis=-1),
        "a metric of one class per example",
        "Pass labels; or if each output is a label of its own, train with loss='binary_cross_entropy', or pass "
        "multilabel=True to the metric. For real values, use 'r2'.",
    )


def _classes(outputs: Array) -> int:
    return 2 if _single(outputs) else outputs.shape[-1]


def _integer(x: Array) -> Any:
    xp = same_place(x=x)
    return xp.__array_namespace_info__().default_dtypes(device=device_of(x))["integral"]


def _fraction(hits: Array, weights: Array | None) -> Array:
    """The weighted mean of truth values, of shape (N, ...)."""
    xp = same_place(hits=hits)
    each = xp.astype(hits, default_float(xp, device_of(hits)))
    return xp.mean(each) if weights is None else xp.sum(each * weights) / xp.sum(weights)


def _spread(weights: Array | None, shape: Shape, like: Array) -> Array | None:
    """Weights of the examples, shape (N,), at each position of these examples; they sum to more than 0."""
    if weights is None:
        return None
    xp = same_place(outputs=like, weights=weights)
    if weights.shape != shape[:1]:
        raise ValueError(f"weights must have shape {shape[:1]}, one per example; got {tuple(weights.shape)}.")
    column = xp.astype(weights, default_float(xp, device_of(like)), copy=False)
    return xp.broadcast_to(xp.reshape(column, column.shape + (1,) * (len(shape) - 1)), shape)


def _no_nan(outputs: Array) -> Array:
    """Whether an example, or position, has outputs that are numbers: of NaN, no class is the largest."""
    numbers = outputs == outputs
    return numbers if outputs.ndim == 1 else namespace(outputs).all(numbers, axis=-1)


def _true_labels(outputs: Array, target: Array) -> Array:
    """Truth values of labels of their own, checked, shape of the outputs."""
    xp = same_place(outputs=outputs, target=target)
    if target.shape != outputs.shape or 0 in outputs.shape:
        raise ValueError(
            f"several labels per example need a target of the outputs' shape {tuple(outputs.shape)}, and at least one "
            f"example; got {tuple(target.shape)}."
        )
    values = xp.astype(target, default_float(xp, device_of(target)), copy=False)
    if not is_traced(values) and not bool(xp.all((values >= 0) & (values <= 1))):
        raise ValueError(
            f"labels must be 0 or 1, or probabilities; got values from {float(xp.min(values)):g} to "
            f"{float(xp.max(values)):g}."
        )
    return values > 0.5


@explained
def accuracy(
    outputs: Array,
    target: Array,
    *,
    multilabel: bool = False,
    threshold: float | None = None,
    weights: Array | None = None,
) -> Array:
    """The fraction of examples whose most likely class is the true one; an output of NaN is wrong.

    Parameters
    ----------
    outputs : array, shape (N, ..., K), or (N,) or (N, ..., 1) for logits of two classes
    target : array of labels, shape (N, ...), or of probabilities, shape of `outputs`
    multilabel : bool
        Whether each output is a label of its own, and `target` has their shape. Then it is the fraction of the labels,
        over all examples and outputs, that are predicted right: 1 - the Hamming loss.
    threshold : float, optional
        A label, or the second of two classes, is predicted if its output is above: 0 for logits, 0.5 for probabilities.
        If None it is 0, with a warning if all outputs lie from 0 to 1.
    weights : array, shape (N,), optional
        How much each example counts.

    Raises
    ------
    TypeError
        If labels of more than two classes are not integers.
    ValueError
        If there are no examples, the shapes do not fit, or a label is negative or not below the number of classes; if
        probabilities do not sum to 1, except with `multilabel`.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> float(nn.metrics.accuracy(be.asarray([[0.1, 2.0], [1.0, 0.0]]), be.asarray([1, 1])))
    0.5
    >>> float(nn.metrics.accuracy(be.asarray([[3.0, 2.0], [1.0, -1.0]]), be.asarray([[1, 1], [0, 0]]), multilabel=True))
    0.75
    """
    threshold = _threshold(outputs, target, threshold, multilabel)
    if multilabel:
        hits = ((outputs > threshold) == _true_labels(outputs, target)) & (outputs == outputs)
    else:
        hits = (predicted_classes(outputs, threshold) == _true_classes(target, outputs)) & _no_nan(outputs)
    return _fraction(hits, _spread(weights, tuple(hits.shape), outputs))


@dataclass(frozen=True)
class TopK:
    """The fraction of examples whose true class is among the k most likely; an output of nan counts as least likely.

    Raises
    ------
    TypeError, ValueError
        If k is not an integer of at least 1, if there is not one output per class, or as in `accuracy`.
    """

    k: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", integer(self.k, "TopK k", 1, usual=5))

    @property
    def __name__(self) -> str:
        """The name of the metric in the history."""
        return f"top_{self.k}"

    def __call__(self, outputs: Array, target: Array, *, weights: Array | None = None) -> Array:
        """The fraction, shape (), of examples that count by their weights."""
        xp = same_place(outputs=outputs, target=target)
        if _single(outputs):
            raise ValueError(
                f"{self.__name__} needs one output per class; got outputs of shape {tuple(outputs.shape)}."
            )
        labels = _true_classes(target, outputs)
        own = xp.take_along_axis(outputs, labels[..., None], axis=-1)
        better = xp.sum(xp.astype(~(outputs <= own), labels.dtype), axis=-1)  # if its own output is nan, it ranks last
        return _fraction(better < self.k, _spread(weights, tuple(labels.shape), outputs))


@explained
def perplexity(outputs: Array, target: Array, *, weights: Array | None = None) -> Array:
    """exp(mean of -ln p_n,label(n)), p = softmax(outputs): how many equally likely classes would be as hard to guess.

    1 is perfect, and K is that of K equal probabilities. It is exp of the loss "cross_entropy".

    Parameters
    ----------
    outputs : array, shape (N, ..., K)
        Logits.
    target : array of labels, shape (N, ...), or of probabilities, shape of `outputs`
        Of probabilities, the largest is the label.
    weights : array, shape (N,), optional
        How much each example counts.

    Raises
    ------
    TypeError, ValueError
        If there is not one output per class, or as in `accuracy`.

    References
    ----------
    .. [1] Jelinek, Mercer, Bahl & Baker (1977), Perplexity - a measure of the difficulty of speech recognition tasks.
       Journal of the Acoustical Society of America 62, S63.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> float(nn.metrics.perplexity(be.asarray([[0.0, 0.0, 0.0, 0.0]]), be.asarray([2])))
    4.0
    """
    xp = same_place(outputs=outputs, target=target)
    if _single(outputs):
        raise ValueError(f"perplexity needs one output per class; got outputs of shape {tuple(outputs.shape)}.")
    labels = _true_classes(target, outputs)
    losses, _ = kernels.cross_entropy_of_labels(xp.reshape(outputs, (-1, outputs.shape[-1])), xp.reshape(labels, (-1,)))
    each = _spread(weights, tuple(labels.shape), losses)
    if each is None:
        return xp.exp(xp.mean(losses))
    each = xp.reshape(each, (-1,))
    return xp.exp(xp.sum(losses * each) / xp.sum(each))


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
    classes, least = classes or _classes(outputs), _classes(outputs)
    if classes < least:
        raise ValueError(f"a confusion matrix of these outputs needs at least {least} classes; got {classes}.")
    predicted, true = _one_hot_classes(outputs, target, classes, _threshold(outputs, target, threshold))
    return xp.astype(xp.matmul(true.T, predicted), _integer(outputs))


def _one_hot_classes(outputs: Array, target: Array, classes: int, threshold: float) -> tuple[Array, Array]:
    """1 at the predicted class and at the true one of each position, else 0; no class is predicted from NaN."""
    xp = same_place(outputs=outputs, target=target)
    like = xp.zeros((0,), dtype=default_float(xp, device_of(outputs)), device=device_of(outputs))
    true, predicted = (
        kernels.one_hot(xp.reshape(labels, (-1,)), classes, like=like)
        for labels in (_true_classes(target, outputs, classes), predicted_classes(outputs, threshold))
    )
    return predicted * xp.astype(xp.reshape(_no_nan(outputs), (-1, 1)), like.dtype), true


def _indicators(outputs: Array, target: Array, multilabel: bool, threshold: float) -> tuple[Array, Array]:
    """1 where a class is predicted, and where it is true, else 0; shape (M, K), for all positions of all examples."""
    if not multilabel:
        return _one_hot_classes(outputs, target, _classes(outputs), threshold)
    xp = same_place(outputs=outputs, target=target)
    dtype, both = default_float(xp, device_of(outputs)), (outputs > threshold, _true_labels(outputs, target))
    width = 1 if _single(outputs) else outputs.shape[-1]
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
        width = 1 if _single(outputs) else outputs.shape[-1]
        _refuse_average(average, width, multilabel)
        threshold = _threshold(outputs, target, threshold, multilabel)
        predicted, true = _indicators(outputs, target, multilabel, threshold)
        xp, each = namespace(predicted), _spread(weights, _label_shape(outputs), outputs)
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


@explained
def roc_auc(outputs: Array, target: Array, *, multilabel: bool = False, weights: Array | None = None) -> Array:
    """The area under the ROC curve: how often an example of the class scores above one of the others.

    AUC = P(s > t) + P(s = t) / 2, with s the score of an example of the class and t that of another example. It follows
    from the ranks of the scores [1]_. 1 is perfect, and 0.5 is that of a constant. With more than two classes, each is
    compared with all others, and the result is the mean over the classes.

    Parameters
    ----------
    outputs : array, shape (N, ..., K), or (N,) or (N, ..., 1) for scores of the second of two classes
        Scores of two classes are of any size: logits, or probabilities. Of more classes they are logits, whose softmax
        is compared, or probabilities: outputs that are not negative and sum to 1 in each row.
    target, multilabel
        As for `accuracy`. With `multilabel`, it is the mean over the labels.
    weights : array, shape (N,), optional
        How much each example counts.

    Returns
    -------
    array, shape ()
        NaN if an output is NaN.

    Raises
    ------
    TypeError, ValueError
        As `accuracy`; if a class, or a label, has no example, or none but its own: then there are no pairs to compare.

    References
    ----------
    .. [1] Hanley & McNeil (1982), The meaning and use of the area under a receiver operating characteristic (ROC)
       curve. Radiology 143(1), 29-36.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> float(nn.metrics.roc_auc(be.asarray([0.1, 0.4, 0.35, 0.8]), be.asarray([0, 0, 1, 1])))
    0.75
    """
    if swapped := _swapped_scores(outputs, target):
        raise TypeError(f"roc_auc takes the outputs first, then the labels.{swapped}")
    scores, true = _scores(outputs, target, multilabel)
    xp, each = namespace(scores), _spread(weights, _label_shape(outputs), scores)
    counted = xp.ones_like(scores[:, 0]) if each is None else xp.astype(xp.reshape(each, (-1,)), scores.dtype)
    of_class, others = (xp.astype(part, scores.dtype) * counted[:, None] for part in (true, ~true))
    _refuse_absent(of_class, others)
    columns = range(scores.shape[1])
    return xp.mean(xp.stack([_area(scores[:, k], of_class[:, k], others[:, k]) for k in columns]))


def _scores(outputs: Array, target: Array, multilabel: bool) -> tuple[Array, Array]:
    """Scores to compare, and truth values, shape (M, K) for all positions; a column alone for two classes."""
    xp, width = same_place(outputs=outputs, target=target), 1 if _single(outputs) else outputs.shape[-1]
    if not xp.isdtype(outputs.dtype, "real floating"):
        outputs = xp.astype(outputs, default_float(xp, device_of(outputs)))
    scores = at_least_float32(xp.reshape(outputs, (-1, width)))
    if multilabel:
        return scores, xp.reshape(_true_labels(outputs, target), (-1, width))
    labels = xp.reshape(_true_classes(target, outputs), (-1,))
    if width <= 2:
        return scores if width == 1 else scores[:, 1:] - scores[:, :1], labels[:, None] == 1
    given = xp.all(scores >= 0) & xp.all(xp.abs(xp.sum(scores, axis=-1) - 1.0) < 0.01)
    numbers = xp.arange(width, dtype=labels.dtype, device=device_of(labels))
    return xp.where(given, scores, kernels.softmax(scores)), labels[:, None] == numbers


def _area(scores: Array, of_class: Array, others: Array) -> Array:
    """The area under the ROC curve, from the weights of the examples of a class and of the others, shape (M,) each."""
    xp = namespace(scores)
    order = xp.argsort(scores)
    ranked, of_class, others = (xp.take(x, order) for x in (scores, of_class, others))
    below, lower = _sums_before(others), xp.searchsorted(ranked, ranked)
    up_to = ranked.shape[0] - xp.searchsorted(-xp.flip(ranked), -ranked)  # all but those that are higher
    area = xp.sum(of_class * 0.5 * (xp.take(below, lower) + xp.take(below, up_to)))
    area = area / (xp.sum(of_class) * xp.sum(others))
    return xp.where(xp.all(ranked == ranked), area, xp.full_like(area, xp.nan))


def _sums_before(x: Array) -> Array:
    """0, x_0, x_0 + x_1, ..., shape (M + 1,).

    Sums of two, four, eight, ... entries are added: in log2(M) passes, and in float32 with fewer roundings than one by
    one.
    """
    xp, step = namespace(x), 1
    sums = xp.concat([xp.zeros_like(x[:1]), x])
    while step < sums.shape[0]:
        sums = sums + xp.concat([xp.zeros_like(sums[:step]), sums[:-step]])
        step *= 2
    return sums


def _refuse_absent(of_class: Array, others: Array) -> None:
    """Refuse classes without an example, or with all of them: there are no pairs. Waits for the device."""
    xp = namespace(of_class)
    if is_traced(of_class):
        return
    sides = zip(xp.sum(of_class, axis=0), xp.sum(others, axis=0), strict=True)
    for k, (mine, rest) in enumerate(sides):
        if not (float(mine) > 0 and float(rest) > 0):
            how_many, name = "no" if float(rest) > 0 else "every", 1 if of_class.shape[1] == 1 else k
            raise ValueError(
                f"roc_auc compares the examples of a class with all others, but {how_many} example is of class {name}. "
                f"Pass examples of all classes, or leave roc_auc out."
            )


def _squares(x: Array, weighting: Array) -> tuple[Array, Array]:
    """(scale, sum of weighting (x / scale)^2) over the examples: squares that neither overflow nor vanish."""
    scale = scale_of(x, 0)
    return scale, namespace(x).sum(weighting * (x / scale) ** 2, axis=0, keepdims=True)


@explained
def r2(outputs: Array, target: Array, weights: Array | None = None) -> Array:
    """1 - sum of w (t - o)^2 / sum of w (t - mean t)^2, mean over the outputs: 1 is perfect, 0 is the mean's.

    For a constant target it is 1 if all predictions are exact, else 0. The weights w have shape (N,); all are 1 if
    None. Differences are scaled before they are squared, so that numbers of any size in the dtype are safe.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    xp = same_place(outputs=outputs, target=target)
    _refuse_other_shape("r2", outputs, target)
    outputs = 0.5 * at_least_float32(outputs)  # no difference of halves overflows
    target = 0.5 * xp.astype(target, outputs.dtype, copy=False)
    ones = xp.ones(target.shape[:1], dtype=target.dtype, device=device_of(target))
    weighting = _shares(ones if weights is None else weights, target)
    away = target - target[:1, ...]
    (a, residual), (b, spread) = (
        _squares(target - outputs, weighting),
        _squares(away - xp.sum(weighting * away, axis=0), weighting),
    )
    ratio = a / b * (residual / xp.where(spread > 0, spread, 1.0)) * (a / b)
    met = xp.where(residual == 0, 1.0, xp.zeros_like(residual))
    return xp.mean(xp.where(spread > 0, 1.0 - ratio, met))


@explained
def mse(outputs: Array, target: Array, weights: Array | None = None) -> Array:
    """sum of w (t - o)^2 / sum of w, mean over the outputs. The weights w have shape (N,); all are 1 if None.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    return _mean_error("mse", lambda d: d**2, outputs, target, weights)


@explained
def rmse(outputs: Array, target: Array, weights: Array | None = None) -> Array:
    """The square root of `mse`, in the unit of the target."""
    return namespace(outputs).sqrt(_mean_error("rmse", lambda d: d**2, outputs, target, weights))


@explained
def mae(outputs: Array, target: Array, weights: Array | None = None) -> Array:
    """sum of w abs(t - o) / sum of w, mean over the outputs. The arguments are those of `mse`."""
    return _mean_error("mae", lambda d: namespace(d).abs(d), outputs, target, weights)


def _mean_error(name: str, of: Callable[[Array], Array], outputs: Array, target: Array, weights: Array | None) -> Array:
    xp = same_place(outputs=outputs, target=target)
    _refuse_other_shape(name, outputs, target)
    outputs = at_least_float32(outputs)
    errors = of(xp.astype(target, outputs.dtype, copy=False) - outputs)
    return xp.mean(errors) if weights is None else xp.mean(xp.sum(errors * _shares(weights, errors), axis=0))


def _refuse_other_shape(name: str, outputs: Array, target: Array) -> None:
    if outputs.shape != target.shape or 0 in outputs.shape:
        raise ValueError(
            f"{name} needs outputs and target of one shape, and at least one example; got {tuple(outputs.shape)} and "
            f"{tuple(target.shape)}."
        )


def _shares(weights: Array, like: Array) -> Array:
    """The weights of the examples as parts of their sum, which broadcast to the shape of `like`."""
    xp = namespace(like)
    column = xp.reshape(xp.astype(weights, like.dtype, copy=False), like.shape[:1] + (1,) * (like.ndim - 1))
    return column / xp.sum(column, axis=0)


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
