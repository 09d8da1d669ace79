"""From outputs to probabilities and classes, by the loss that a model was trained with."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

from nnarray import kernels
from nnarray.backends import as_data, device_of, is_traced, namespace, same_place
from nnarray.caller import warn
from nnarray.checks import is_several
from nnarray.layers.containers import last_activation
from nnarray.losses import Loss, checked_labels
from nnarray.metrics import METRICS, Measure, Metric, predicted_classes
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
            f"{asker} needs the loss that the model was trained with, but {_why_none(model)}. Set it: "
            f"model.loss = {_usual(model.output_shape)!r}, or 'mse', ..."
        )
    return model.loss


def _usual(outputs: Shape) -> str:
    """The name of the loss of classes that suits outputs of this shape."""
    return "binary_cross_entropy" if outputs[-1:] == (1,) else "cross_entropy"


def _why_none(model: Trainee) -> str:
    """The reason why a model has no loss."""
    trained = model.history.settings.get("loss")
    if trained is None:
        return "this model was not trained by fit"
    return f"model.loss is None; it was {trained}. A file has no code: a loss of your own needs @nn.register"


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
    examples, or ones if there are none and it has no default; all others count each example once.

    Raises
    ------
    ValueError
        If a metric of classes cannot know what an output means.
    """
    return {name: _measure(name, metric, loss, outputs) for name, metric in metrics.items()}


def _measure(name: str, metric: Metric, loss: Loss, outputs: Shape) -> Measure:
    keywords, fixed = _keywords(metric), dict[str, Any]()
    needs_weights = keywords.get("weights", False)
    if "multilabel" in keywords:
        _refuse_values(name, loss, outputs)
        fixed["multilabel"] = loss.is_of_classes and not is_of_single_labels(loss, outputs)
        if "threshold" in keywords and metric in METRICS.values():
            fixed["threshold"] = 0.0  # logits, whatever their range

    def measure(found: Array, target: Array, weights: Array | None) -> Any:
        found, target, weights = counted(loss, found, target, weights)
        if 0 in target.shape:  # nothing counts
            return math.nan
        if weights is None and needs_weights:
            weights = namespace(found).ones(found.shape[:1], dtype=found.dtype, device=device_of(found))
        weighted = {"weights": weights} if weights is not None and "weights" in keywords else {}
        return metric(found, target, **fixed, **weighted)

    return measure


def counted(loss: Loss, outputs: Array, y: Array, weights: Array | None) -> tuple[Array, Array, Array | None]:
    """Outputs, targets and weights without those of labels that the loss ignores; unchanged if it ignores none."""
    kept = loss.counted(y)
    if kept is None:
        return outputs, y, weights
    if weights is not None:
        column = namespace(weights).reshape(weights, weights.shape + (1,) * (y.ndim - 1))
        weights = namespace(weights).broadcast_to(column, y.shape)[kept]
    return outputs[kept], y[kept], weights


def _keywords(metric: Metric) -> dict[str, bool]:
    """The arguments of a metric after outputs and target, and whether it cannot be called without."""
    try:
        after = [*inspect.signature(metric).parameters.values()][2:]
    except (TypeError, ValueError):  # a function that is not written in Python
        return {}
    return {each.name: each.default is each.empty for each in after}


def _refuse_values(name: str, loss: Loss, outputs: Shape) -> None:
    """Refuse classes of a single output that the loss does not read as a logit."""
    if loss.is_of_classes or outputs[-1:] not in ((), (1,)):
        return
    raise ValueError(
        f"{name} needs classes, but {loss.label} reads the single output as a value, for which no threshold is known. "
        f"For labels 0 and 1, train with loss='binary_cross_entropy'; for values, use 'r2'. A loss of your own that "
        f"reads a logit says so with out_activation = 'logistic'."
    )


def chosen_outputs(model: Trainee, X: Array, asked: Any) -> Array | None:
    """The output of each example whose gradient is asked for, shape (N,); None for the largest one, the class.

    Raises
    ------
    TypeError, ValueError
        If they are not integers in range, or if none is given and the outputs are values, of which none is chosen.
    """
    count = model.output_shape[0]
    if asked is None:
        _refuse_to_choose(model, count)
        return None
    if isinstance(asked, Integral) and not isinstance(asked, bool):
        _refuse_output(int(asked), count)
        xp = same_place(X=X)
        return xp.full(X.shape[:1], int(asked), dtype=xp.int32, device=device_of(X))
    classes = as_data(asked, "classes")
    xp = same_place(X=X, classes=classes)
    if classes.shape != X.shape[:1]:
        raise ValueError(
            f"classes must be one integer, or have shape {tuple(X.shape[:1])}, one per example; got "
            f"{tuple(classes.shape)}."
        )
    if xp.isdtype(classes.dtype, "integral") and not is_traced(classes) and classes.shape[0] > 0:
        for end in (xp.min, xp.max):
            _refuse_output(int(end(classes)), count)
    return checked_labels(classes, count, "classes")


def _refuse_output(output: int, count: int) -> None:
    if not 0 <= output < count:
        raise ValueError(
            f"output {output} is out of range: with {count} outputs, they are 0 to {count - 1}. Pass the number of an "
            f"output, or of a class, counted from 0."
        )


def _refuse_to_choose(model: Trainee, count: int) -> None:
    """Refuse the largest of several values: it changes from row to row, and means nothing."""
    if count == 1 or last_activation(model.wiring.network) in ARE_PROBABILITIES:
        return
    if model.loss is None:
        warn(
            f"input_gradient takes the {count} outputs for classes, and the largest one of each example; model.loss is "
            f"None and does not say what they are. For classes, set model.loss = 'cross_entropy'; for values, pass the "
            f"number of one, counted from 0: model.input_gradient(X, 0).",
            UserWarning,
        )
    elif not model.loss.is_of_classes:
        raise ValueError(
            f"input_gradient needs one of the {count} outputs: they are values, as the model was trained with "
            f"{model.loss.label}. Pass its number, counted from 0: model.input_gradient(X, 0)."
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
