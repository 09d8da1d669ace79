"""Metrics: the quality of predictions, computed on the device of the outputs. All return an array of shape ()."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nnarray import kernels
from nnarray.backends import default_float, device_of, is_traced, namespace, same_place
from nnarray.checks import integer, is_several
from nnarray.kernels.standard.numerics import at_least_float32, scale_of
from nnarray.names import also, named, shown
from nnarray.typing import Array, Shape

Metric = Callable[[Array, Array], Array]


def predicted_classes(outputs: Array) -> Array:
    """The most likely class of each example: the largest output, or with a single logit 1 if it is above 0, else 0."""
    xp = same_place(outputs=outputs)
    if _single(outputs):
        return xp.astype(xp.reshape(outputs, _label_shape(outputs)) > 0, _integer(outputs))
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
        return xp.argmax(xp.astype(target, default_float(xp, device_of(target)), copy=False), axis=-1)
    if target.shape not in (shape, (*shape, 1)):
        raise ValueError(
            f"outputs of shape {tuple(outputs.shape)} need labels of shape {shape} or probabilities of the outputs' "
            f"shape; got {tuple(target.shape)}."
        )
    if xp.isdtype(target.dtype, "real floating"):
        if not single:
            raise TypeError(f"labels must be integers; got dtype {target.dtype}. Convert them with astype.")
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


def _classes(outputs: Array) -> int:
    return 2 if _single(outputs) else outputs.shape[-1]


def _integer(x: Array) -> Any:
    xp = same_place(x=x)
    return xp.__array_namespace_info__().default_dtypes(device=device_of(x))["integral"]


def _fraction(hits: Array) -> Array:
    xp = same_place(hits=hits)
    return xp.mean(xp.astype(hits, default_float(xp, device_of(hits))))


def accuracy(outputs: Array, target: Array) -> Array:
    """The fraction of examples whose most likely class is the true one.

    Parameters
    ----------
    outputs : array, shape (N, ..., K), or (N,) or (N, ..., 1) for logits of two classes
    target : array of labels, shape (N, ...), or of probabilities, shape of `outputs`

    Raises
    ------
    TypeError
        If labels of more than two classes are not integers.
    ValueError
        If there are no examples, the shapes do not fit, or a label is negative or not below the number of classes.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> float(nn.metrics.accuracy(be.asarray([[0.1, 2.0], [1.0, 0.0]]), be.asarray([1, 1])))
    0.5
    """
    return _fraction(predicted_classes(outputs) == _true_classes(target, outputs))


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

    def __call__(self, outputs: Array, target: Array) -> Array:
        """The fraction, shape ()."""
        xp = same_place(outputs=outputs, target=target)
        if _single(outputs):
            raise ValueError(
                f"{self.__name__} needs one output per class; got outputs of shape {tuple(outputs.shape)}."
            )
        labels = _true_classes(target, outputs)
        own = xp.take_along_axis(outputs, labels[..., None], axis=-1)
        better = xp.sum(xp.astype(~(outputs <= own), labels.dtype), axis=-1)  # if its own output is nan, it ranks last
        return _fraction(better < self.k)


def confusion_matrix(outputs: Array, target: Array, classes: int | None = None) -> Array:
    """The number of examples of each true class (rows) by predicted class (columns).

    Parameters
    ----------
    outputs, target : array
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
    like = xp.zeros((0,), dtype=default_float(xp, device_of(outputs)), device=device_of(outputs))
    true, predicted = (
        kernels.one_hot(xp.reshape(labels, (-1,)), classes, like=like)
        for labels in (_true_classes(target, outputs, classes), predicted_classes(outputs))
    )
    return xp.astype(xp.matmul(true.T, predicted), _integer(outputs))


def _macro(outputs: Array, target: Array, value: Callable[[Array, Array, Array], tuple[Array, Array]]) -> Array:
    """The mean over the classes of a ratio of counts (hits, predicted, true); 0 where its denominator is 0."""
    xp = same_place(outputs=outputs, target=target)
    matrix = xp.astype(confusion_matrix(outputs, target), default_float(xp, device_of(outputs)))
    hits = xp.linalg.diagonal(matrix)
    top, bottom = value(hits, xp.sum(matrix, axis=0), xp.sum(matrix, axis=1))
    return xp.mean(xp.where(bottom > 0, top / xp.where(bottom > 0, bottom, 1.0), 0.0))


def precision(outputs: Array, target: Array) -> Array:
    """The fraction of the examples predicted as a class that belong to it; mean over the classes."""
    return _macro(outputs, target, lambda hits, predicted, true: (hits, predicted))


def recall(outputs: Array, target: Array) -> Array:
    """The fraction of the examples of a class that are predicted as it; mean over the classes."""
    return _macro(outputs, target, lambda hits, predicted, true: (hits, true))


def f1(outputs: Array, target: Array) -> Array:
    """F1 = 2 precision recall / (precision + recall) of each class; mean over the classes."""
    return _macro(outputs, target, lambda hits, predicted, true: (2.0 * hits, predicted + true))


def _squares(x: Array, weighting: Array) -> tuple[Array, Array]:
    """(scale, sum of weighting (x / scale)^2) over the examples: squares that neither overflow nor vanish."""
    scale = scale_of(x, 0)
    return scale, namespace(x).sum(weighting * (x / scale) ** 2, axis=0, keepdims=True)


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
    if outputs.shape != target.shape or 0 in outputs.shape:
        raise ValueError(
            f"r2 needs outputs and target of one shape, and at least one example; got {tuple(outputs.shape)} and "
            f"{tuple(target.shape)}."
        )
    outputs = 0.5 * at_least_float32(outputs)  # no difference of halves overflows
    target = 0.5 * xp.astype(target, outputs.dtype, copy=False)
    weighting = xp.ones_like(target) if weights is None else xp.astype(weights, target.dtype, copy=False)
    if weights is not None:
        weighting = xp.reshape(weighting, target.shape[:1] + (1,) * (target.ndim - 1))
    weighting = weighting / xp.sum(weighting, axis=0)
    away = target - target[:1, ...]
    (a, residual), (b, spread) = (
        _squares(target - outputs, weighting),
        _squares(away - xp.sum(weighting * away, axis=0), weighting),
    )
    ratio = a / b * (residual / xp.where(spread > 0, spread, 1.0)) * (a / b)
    met = xp.where(residual == 0, 1.0, xp.zeros_like(residual))
    return xp.mean(xp.where(spread > 0, 1.0 - ratio, met))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "top_5": TopK(5),
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "r2": r2,
}


ALSO = also(
    accuracy="acc accuracy_score categorical_accuracy sparse_categorical_accuracy",
    top_5="top_5_accuracy top_5_acc",
    precision="macro_precision precision_macro",
    recall="macro_recall recall_macro",
    f1="f1_score macro_f1 f1_macro",
    r2="r2_score r_squared",
    absent="binary_accuracy balanced_accuracy top_1 top_2 top_3 top_10 top_k_accuracy precision_micro recall_micro "
    "f1_micro precision_weighted recall_weighted f1_weighted f2 fbeta auc roc_auc average_precision mse mae rmse loss "
    "cross_entropy log_loss adjusted_r2",
)


def _metric(metric: str | Metric) -> Metric:
    if isinstance(metric, str):
        return named(metric, METRICS, "metric", ALSO)
    if not callable(metric):
        raise TypeError(
            f"a metric must be a name or a function of outputs and target; got {shown(metric)}. Use one of "
            f"{', '.join(METRICS)}, or leave metrics out."
        )
    return metric


def measured(name: str, metric: Metric, outputs: Array, target: Array) -> float:
    """The value of a metric as a number. Waits for the device.

    Raises
    ------
    TypeError
        If the metric returns anything else; the message names it.
    """
    value: Any = metric(outputs, target)
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
    if not is_several(metrics):
        metrics = [metrics]
    chosen = [_metric(m) for m in metrics]
    names = [getattr(m, "__name__", type(m).__name__) for m in chosen]
    if len(set(names)) < len(names):
        raise ValueError(f"metrics need different names; got {names}. The name of a metric is its __name__.")
    return dict(zip(names, chosen, strict=True))
