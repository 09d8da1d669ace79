"""How much each class counts, as weights of examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnarray.backends import as_data, device_of, namespace, without_record
from nnarray.checks import above_zero, integer
from nnarray.kernels.standard.numerics import at_least_float32_dtype
from nnarray.losses import Loss, checked_labels
from nnarray.names import shown
from nnarray.training.answers import is_of_single_labels
from nnarray.training.trainee import Trainee
from nnarray.typing import Array

BALANCED = "balanced"
ClassWeight = str | dict[int, float] | None


def checked_class_weight(given: Any) -> ClassWeight:
    """The word "balanced", or weights by label.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or a weight is not above 0.
    """
    if given is None or (isinstance(given, str) and given == BALANCED):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(
            f"class_weight must be 'balanced', or map labels to weights, such as {{0: 1.0, 1: 9.0}}; got "
            f"{shown(given)}."
        )
    for label, weight in given.items():
        above_zero(weight, f"class_weight[{label!r}]")
    return {integer(label, "each label of class_weight", 0, usual=1): float(each) for label, each in given.items()}


def weighted(class_weight: ClassWeight, model: Trainee, loss: Loss, y: Any, weights: Array | None) -> Array | None:
    """The weights of the examples, times those of their classes; waits for the device.

    "balanced" is N / (K count) for each of the K classes that there are: all count alike in the sum.

    Raises
    ------
    TypeError, ValueError
        If the targets are no labels, one an example; if a label is out of range; or if the loss has weights of classes.
    """
    if class_weight is None:
        return weights
    labels, classes = _labels(model, loss, y), max(model.output_shape[-1], 2)
    xp, dtype = namespace(labels), at_least_float32_dtype(namespace(labels), model.theta.dtype)
    if isinstance(class_weight, str):
        counts = [float(xp.sum(xp.astype(labels == k, labels.dtype))) for k in range(classes)]
        present = sum(count > 0 for count in counts)
        factors = [labels.shape[0] / (present * count) if count else 1.0 for count in counts]
    else:
        if unknown := [label for label in class_weight if label >= classes]:
            raise ValueError(
                f"class_weight names the label {unknown[0]}; with {classes} classes, labels are 0 to {classes - 1}."
            )
        factors = [class_weight.get(k, 1.0) for k in range(classes)]
    own: Array = xp.take(xp.asarray(factors, dtype=dtype, device=device_of(labels)), labels, axis=0)
    return own if weights is None else own * xp.astype(as_data(weights, "sample_weight"), dtype)


def _labels(model: Trainee, loss: Loss, y: Any) -> Array:
    """The labels in y, shape (N,)."""
    if getattr(loss, "class_weights", None) is not None:
        raise ValueError("the loss has class_weights, and fit a class_weight: leave out one of the two.")
    outputs = model.output_shape
    if not is_of_single_labels(loss, outputs) or len(outputs) != 1:
        raise ValueError(
            f"class_weight needs a loss of classes, and one class an example; got {loss.label} of outputs of shape "
            f"{(None, *outputs)}. Weigh the examples by sample_weight, or positions by "
            f"nn.losses.CrossEntropy(class_weights=...)."
        )
    y = without_record(as_data(y, "y"))
    if y.shape[1:] == (1,) and outputs == (1,):
        y = y[:, 0]
    xp = namespace(y)
    if y.ndim == 1 and xp.isdtype(y.dtype, "real floating") and outputs == (1,) and bool(xp.all((y == 0) | (y == 1))):
        y = xp.astype(y, xp.int32)
    if y.ndim != 1 or not xp.isdtype(y.dtype, ("bool", "integral")):
        raise ValueError(
            f"class_weight needs labels, one an example, and y has shape {tuple(y.shape)} and dtype {y.dtype}. Weigh "
            f"the examples by sample_weight."
        )
    return checked_labels(y, max(outputs[-1], 2), "y")
