"""What outputs say: probabilities and classes, by the loss that a model was trained with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnarray import kernels
from nnarray.backends import namespace
from nnarray.checks import is_several
from nnarray.layers.containers import last_activation
from nnarray.losses import Loss
from nnarray.metrics import predicted_classes
from nnarray.names import shown
from nnarray.training.trainee import Trainee
from nnarray.typing import Array, Shape

ARE_PROBABILITIES: dict[str, Callable[[Array], Array]] = {
    "softmax": lambda outputs: outputs,
    "log_softmax": lambda outputs: namespace(outputs).exp(outputs),
}
"""What makes probabilities of the outputs of a network that ends so, whatever its loss."""

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
            f"{asker} goes by the loss that the model was trained with, and this model knows none: it was not trained "
            f"by fit. Set it, model.loss = 'cross_entropy', or 'mse', ..."
        )
    return model.loss


def is_of_single_labels(loss: Loss, outputs: Shape) -> bool:
    """Whether an example has one class: not where a logistic function of each of several outputs is a label's."""
    return loss.is_of_classes and bool(outputs) and (loss.out_activation == "softmax" or outputs[-1] == 1)


def to_probabilities(model: Trainee, asker: str = "predict_proba") -> Callable[[Array], Array]:
    """What makes probabilities of the model's outputs.

    Raises
    ------
    ValueError
        If its outputs are values and no classes.
    """
    last = last_activation(model.wiring.network)
    if last in ARE_PROBABILITIES:
        return ARE_PROBABILITIES[last]
    loss = known_loss(model, asker)
    if not loss.is_of_classes:
        raise ValueError(
            f"{asker} needs a model of classes, and this one was trained with {loss.label}: its outputs are values. "
            f"Call model.predict(X); for classes, train with loss='cross_entropy'."
        )
    return OF_LOGITS[loss.out_activation]


def to_classes(model: Trainee) -> Callable[[Array], Array]:
    """What makes labels of the model's outputs.

    Raises
    ------
    ValueError
        If its outputs are values, or if each is a label of its own.
    """
    to_probabilities(model, "predict_class")
    ends_in_classes = last_activation(model.wiring.network) in ARE_PROBABILITIES
    if not ends_in_classes and not is_of_single_labels(known_loss(model, "predict_class"), model.output_shape):
        raise ValueError(
            f"predict_class gives one class an example, and each of the {model.output_shape[-1]} outputs is a label of "
            f"its own here. Use model.predict_proba(X) > 0.5."
        )
    return predicted_classes


def class_names(model: Trainee) -> tuple[str, ...]:
    """The names of the classes that the model has noted.

    Raises
    ------
    ValueError
        If it has none, or not one an output.
    """
    noted, count = model.metadata.get("classes"), max(model.output_shape[-1], 2)
    if noted is None:
        raise ValueError(
            "the model has no names of classes. Note them, model.metadata['classes'] = ['cat', 'dog'], in the order "
            "of the labels."
        )
    return checked_names(noted, count, "model.metadata['classes']")


def checked_names(names: Any, count: int, origin: str) -> tuple[str, ...]:
    """Names of so many classes, each another one."""
    if not is_several(names) or isinstance(names, Mapping):
        raise TypeError(f"{origin} must be names, one a class, such as ('cat', 'dog'); got {shown(names)}.")
    several = tuple(map(str, names))
    if len(several) != count or len(set(several)) < count:
        raise ValueError(
            f"{origin} must name {count} classes, each by a name of its own, in the order of the labels; got "
            f"{shown(names)}."
        )
    return several
