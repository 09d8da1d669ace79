"""From outputs to probabilities and classes, by the loss that a model was trained with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from nnarray import kernels
from nnarray.backends import namespace
from nnarray.checks import is_several
from nnarray.layers.containers import last_activation
from nnarray.losses import Loss
from nnarray.metrics import Measure, Metric, predicted_classes
from nnarray.names import shown
from nnarray.training.trainee import Trainee
from nnarray.typing import Array, Shape

ARE_PROBABILITIES: dict[str, Callable[[Array], Array]] = {
    "softmax": lambda outputs: outputs,
    "log_softmax": lambda outputs: namespace(outputs).exp(outputs),
}
"""By the last activation of a network: the function from outputs to probabilities, for any loss."""

OF_LOGITS: dict[str, Callable[[Array], Array]] = {"softmax": kernels.softmax, "logistic": kernels.logistic}


def known_loss(model: Trainee, asker: str) -> Loss:
    """The loss that the model was trained with.

    Raises
    ------
    ValueError
        If it knows none.
    """
    if model.loss is None:
        raise ValueError(
            f"{asker} needs the loss that the model was trained with, but this model was not trained by fit. Set it: "
            f"model.loss = 'cross_entropy', or 'mse', ..."
        )
    return model.loss


def is_of_single_labels(loss: Loss, outputs: Shape) -> bool:
    """Whether an example has one class: not where a logistic function of each of several outputs is a label's."""
    return loss.is_of_classes and bool(outputs) and (loss.out_activation == "softmax" or outputs[-1] == 1)


def to_probabilities(model: Trainee, asker: str = "predict_proba") -> Callable[[Array], Array]:
    """The function from the model's outputs to probabilities.

    Raises
    ------
    ValueError
        If its outputs are values, not classes, or a softmax of a single output.
    """
    last = last_activation(model.wiring.network)
    if last in ARE_PROBABILITIES and model.output_shape[-1:] == (1,):
        raise ValueError(
            f"{asker} needs at least 2 outputs: the network ends in {last!r} of 1 output, whose probability is always "
            f"1. Give the last layer one output per class."
        )
    if last in ARE_PROBABILITIES:
        return ARE_PROBABILITIES[last]
    loss = known_loss(model, asker)
    if not loss.is_of_classes:
        raise ValueError(
            f"{asker} needs a model that predicts classes, but this one was trained with {loss.label}: its outputs are "
            f"values. Call model.predict(X); for classes, train with loss='cross_entropy'."
        )
    return OF_LOGITS[loss.out_activation]


def to_classes(model: Trainee) -> Callable[[Array], Array]:
    """The function from the model's outputs to labels.

    Raises
    ------
    ValueError
        If its outputs are values, or if each output is a separate label.
    """
    to_probabilities(model, "predict_class")
    ends_in_classes = last_activation(model.wiring.network) in ARE_PROBABILITIES
    if not ends_in_classes and not is_of_single_labels(known_loss(model, "predict_class"), model.output_shape):
        raise ValueError(
            f"predict_class gives one class per example, but each of the {model.output_shape[-1]} outputs is a "
            f"separate label here. Use model.predict_proba(X) > 0.5."
        )
    return predicted_classes


def measures(metrics: Mapping[str, Metric], loss: Loss, outputs: Shape) -> dict[str, Measure]:
    """Metrics of a model that is trained with this loss, and has outputs of this shape.

    A metric with the keyword `multilabel` reads classes. A metric with the keyword `weights` gets the weights of the
    examples; all others count each example once.

    Raises
    ------
    ValueError
        If a metric of classes cannot know what an output means.
    """
    return {name: _measure(name, metric, loss, outputs) for name, metric in metrics.items()}


def _measure(name: str, metric: Metric, loss: Loss, outputs: Shape) -> Measure:
    keywords, fixed = _keywords(metric), {}
    if "multilabel" in keywords:
        _refuse_values(name, loss, outputs)
        fixed["multilabel"] = loss.is_of_classes and not is_of_single_labels(loss, outputs)

    def measure(found: Array, target: Array, weights: Array | None) -> Any:
        weighted = {"weights": weights} if weights is not None and "weights" in keywords else {}
        return metric(found, target, **fixed, **weighted)

    return measure


def _keywords(metric: Metric) -> tuple[str, ...]:
    """The arguments of a metric after outputs and target."""
    try:
        return tuple(inspect.signature(metric).parameters)[2:]
    except (TypeError, ValueError):  # a function that is not written in Python
        return ()


def _refuse_values(name: str, loss: Loss, outputs: Shape) -> None:
    """Refuse classes of a single output that the loss does not read as a logit."""
    if loss.is_of_classes or outputs[-1:] not in ((), (1,)):
        return
    raise ValueError(
        f"{name} needs classes, but {loss.label} reads the single output as a value, for which no threshold is known. "
        f"For labels 0 and 1, train with loss='binary_cross_entropy'; for values, use 'r2'. A loss of your own that "
        f"reads a logit says so with out_activation = 'logistic'."
    )


def class_names(model: Trainee) -> tuple[str, ...]:
    """The names of the classes in the model's metadata.

    Raises
    ------
    ValueError
        If there are none, or not one per class.
    """
    noted, count = model.metadata.get("classes"), max(model.output_shape[-1], 2)
    if noted is None:
        raise ValueError(
            "the model has no names of classes. Set them in the order of the labels: model.metadata['classes'] = "
            "['cat', 'dog']."
        )
    return checked_names(noted, count, "model.metadata['classes']")


def checked_names(names: Any, count: int, origin: str) -> tuple[str, ...]:
    """Names of classes: as many as needed, all different."""
    if not is_several(names) or isinstance(names, Mapping):
        raise TypeError(f"{origin} must be names, one per class, such as ('cat', 'dog'); got {shown(names)}.")
    several = tuple(map(str, names))
    if len(several) != count or len(set(several)) < count:
        raise ValueError(
            f"{origin} must have {count} different names, one per class, in the order of the labels; got "
            f"{shown(names)}."
        )
    return several
