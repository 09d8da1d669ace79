"""What metrics of classes read: labels, predicted classes, thresholds and weights, checked."""

from __future__ import annotations

from typing import Any

from nnarray.backends import default_float, device_of, dtype_name, is_traced, namespace, same_place
from nnarray.caller import warn
from nnarray.checks import refuse_other_sums
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.names import converted
from nnarray.typing import Array, Shape


def predicted_classes(outputs: Array, threshold: float = 0.0) -> Array:
    """The most likely class of each example: the largest output, or of a single one 1 if it is above the threshold."""
    xp = same_place(outputs=outputs)
    if is_single(outputs):
        return xp.astype(xp.reshape(outputs, label_shape(outputs)) > threshold, integer_dtype(outputs))
    return xp.argmax(outputs, axis=-1)


def is_single(outputs: Array) -> bool:
    """Whether there is one logit for two classes, and not one per class."""
    return outputs.ndim == 1 or outputs.shape[-1] == 1


def label_shape(outputs: Array) -> Shape:
    """The shape of the labels."""
    return tuple(outputs.shape if outputs.ndim == 1 else outputs.shape[:-1])


def true_classes(target: Array, outputs: Array, classes: int | None = None) -> Array:
    """Labels, from labels, from probabilities of each class, or from probabilities of the second of two classes."""
    xp, shape, single = same_place(outputs=outputs, target=target), label_shape(outputs), is_single(outputs)
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
    classes = classes or classes_of(outputs)
    labels = xp.astype(xp.reshape(target, shape), integer_dtype(outputs))
    if not is_traced(labels) and not bool(xp.all((labels >= 0) & (labels < classes))):
        raise ValueError(
            f"labels must be 0 to {classes - 1}, because there are {classes} classes; got labels from "
            f"{int(xp.min(labels))} to {int(xp.max(labels))}."
        )
    return labels


def _swapped(target: Array, shape: Shape) -> str:
    return " Were outputs and labels swapped?" if target.ndim == len(shape) + 1 and target.shape[:-1] == shape else ""


def known_threshold(outputs: Array, target: Array, threshold: float | None, multilabel: bool = False) -> float:
    """The threshold; without one it is 0, that of logits. Waits for the device, but not if one is given.

    Raises
    ------
    TypeError
        If there is none, and the outputs could be labels.
    """
    if threshold is not None or is_traced(outputs) or not (multilabel or is_single(outputs)) or 0 in outputs.shape:
        return threshold or 0.0
    xp = same_place(outputs=outputs, target=target)
    if not xp.isdtype(outputs.dtype, "real floating"):
        more = " For predicted labels 0 and 1, pass threshold=0.5."
        swapped = _swapped(target, label_shape(outputs)) or swapped_scores(outputs, target)
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


def swapped_scores(outputs: Array, target: Array) -> str:
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


def classes_of(outputs: Array) -> int:
    """The number of classes."""
    return 2 if is_single(outputs) else outputs.shape[-1]


def integer_dtype(x: Array) -> Any:
    """The default dtype of integers where `x` is."""
    xp = same_place(x=x)
    return xp.__array_namespace_info__().default_dtypes(device=device_of(x))["integral"]


def fraction(hits: Array, weights: Array | None) -> Array:
    """The weighted mean of truth values, of shape (N, ...)."""
    xp = same_place(hits=hits)
    each = xp.astype(hits, default_float(xp, device_of(hits)))
    return xp.mean(each) if weights is None else xp.sum(each * weights) / xp.sum(weights)


def spread_over(weights: Array | None, shape: Shape, like: Array) -> Array | None:
    """Weights of the examples, shape (N,), at each position of these examples; they sum to more than 0."""
    if weights is None:
        return None
    xp = same_place(outputs=like, weights=weights)
    if weights.shape != shape[:1]:
        raise ValueError(f"weights must have shape {shape[:1]}, one per example; got {tuple(weights.shape)}.")
    column = xp.astype(weights, default_float(xp, device_of(like)), copy=False)
    return xp.broadcast_to(xp.reshape(column, column.shape + (1,) * (len(shape) - 1)), shape)


def has_numbers(outputs: Array) -> Array:
    """Whether an example, or position, has outputs that are numbers: of NaN, no class is the largest."""
    numbers = outputs == outputs
    return numbers if outputs.ndim == 1 else namespace(outputs).all(numbers, axis=-1)


def true_labels(outputs: Array, target: Array) -> Array:
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
