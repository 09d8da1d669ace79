"""Examples for training, checked once, where they enter."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

from nnarray import random
from nnarray.backends import as_data, device_of, same_place, without_record
from nnarray.checks import real
from nnarray.kernels.compilation import quiet
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.layers.base import Layer
from nnarray.layers.containers import heads_in, last_activation
from nnarray.losses import Loss, classes_in, combined_weights, prepared
from nnarray.random import Key
from nnarray.training.inputs import InMemory, Inputs, entered, pick, whole
from nnarray.training.trainee import Trainee
from nnarray.typing import Array, Shape


class Data(NamedTuple):
    """Examples in the form that steps read: inputs in the model's dtype, the target prepared by the loss."""

    inputs: Inputs
    target: Array
    weights: Array | None
    """Of the loss: those that the user gives, times those of classes."""
    y: Array
    sample_weight: Array | None = None
    """Those that the user gives; metrics count with them."""

    @property
    def examples(self) -> int:
        """The number of examples."""
        return len(self.inputs)

    @property
    def is_flat(self) -> bool:
        """Whether an example is a vector."""
        return len(self.inputs.shape) == 2

    @property
    def weighted(self) -> bool:
        """Whether the examples have weights."""
        return self.weights is not None

    def size_of_batches(self, wanted: int | None) -> int:
        """The batch size, at most the number of examples."""
        return min(wanted or self.examples, self.examples)

    @property
    def x(self) -> Any:
        """All inputs at once; those of a file are read now."""
        return self.inputs.rows(None)

    def batch(self, rows: Any) -> tuple[Any, Array, Array | None]:
        """The inputs, the target and the weights of these rows."""
        return self.joined(self.inputs.rows(rows), rows)

    def labels(self, rows: Any) -> tuple[Array, Array | None]:
        """The original targets of these rows, and the weights that the user gives them."""
        return pick(self.y, rows), None if self.sample_weight is None else pick(self.sample_weight, rows)

    def joined(self, x: Any, rows: Any) -> tuple[Any, Array, Array | None]:
        """As `batch`, for inputs that are already in memory."""
        return x, pick(self.target, rows), None if self.weights is None else pick(self.weights, rows)


def mass_of(weights: Array) -> Array:
    """The sum of the weights, shape (): added in at least float32."""
    return same_place(weights=weights).sum(at_least_float32(weights))


@quiet  # an overflow is reported by an error
def prepare(
    model: Trainee,
    X: Any,
    y: Any,
    weights: Any,
    loss: Loss,
    *,
    check_finite: bool = True,
    names: str = "X y sample_weight",
) -> Data:
    """Check the examples once, where they enter, and convert them to the form that steps read, without a record."""
    x_name, y_name, w_name = names.split()
    y = without_record(as_data(whole(model, y), y_name, model.theta))
    _refuse_probabilities(model.wiring.network, loss, y, model.output_shape)
    inputs = entered(model, X, x_name, check_finite=check_finite, of_y=tuple(y.shape))
    weights = None if weights is None else without_record(_as_weights(whole(model, weights), w_name))
    like = inputs.x if isinstance(inputs, InMemory) else model.theta
    xp = same_place(**{x_name: like, y_name: y, w_name: weights})
    if len(inputs) == 0:
        raise ValueError(f"{x_name} has no examples: its shape is {tuple(inputs.shape)}. Pass at least one example.")
    _refuse_other_length(inputs.shape, x_name, y, y_name)
    target, own = prepared(loss, y, (len(inputs), *model.output_shape), model.theta.dtype)
    combined = combined_weights(xp, own, weights, len(inputs), model.theta.dtype, w_name)
    return Data(inputs, target, combined, y, weights)


def _as_weights(weights: Any, name: str) -> Array:
    if isinstance(weights, Mapping):
        raise TypeError(
            f"{name} must be an array, one number per example; got {type(weights).__name__}. For weights of classes, "
            f"pass loss=nn.losses.CrossEntropy(class_weights=(1.0, 9.0))."
        )
    return as_data(weights, name)


def _refuse_probabilities(network: Layer, loss: Loss, y: Array, outputs: Shape) -> None:
    """Refuse a last activation before a loss that takes logits."""
    spoiled = [last for last in map(last_activation, (network, *heads_in(network))) if last in loss.not_after]
    if spoiled:
        raise ValueError(
            f"the network ends in {spoiled[0]!r}, but {loss.label} takes logits and applies its own activation. "
            f"Leave out the last activation. {_for_one_output(loss, y) if outputs == (1,) else loss.answer}"
        )


def _for_one_output(loss: Loss, y: Array) -> str:
    """How to learn these classes where one output is too few; else how to read it."""
    classes, column = classes_in(y), y.ndim > 1
    if classes <= 2 and loss.out_activation != "softmax":
        return loss.answer if column else f"Pass y[:, None]. {loss.answer}"
    several = f"give the last layer an output for each{f', nn.Dense({classes})' if classes > 2 else ''}"
    several += ", and pass y[:, 0]" if column else ""
    if classes > 2:
        return f"And y has {classes} classes: pass loss='cross_entropy', and {several}."
    single = "loss='binary_cross_entropy'" + ("" if column else " and y[:, None]")
    return f"And the network has one output: for two classes, pass {single}; for more, {several}."


def _refuse_other_length(shape: Shape, name: str, other: Array, other_name: str) -> None:
    count = shape[0]
    if other.ndim > 0 and other.shape[0] == count:
        return
    hint = ""
    if len(shape) > 2 and count == 1 and shape[1:2] == other.shape[:1]:
        inner = tuple(shape[2:])
        hint = f" Its second axis has that length: pass {name}[0, ...], and make the network by init({inner})."
    raise ValueError(
        f"{name} has {count} examples, but {other_name} has shape {tuple(other.shape)}; make their lengths equal.{hint}"
    )


def validation_split(
    model: Trainee, X: Any, y: Any, weights: Any, validation: Any, key: Key, *, check_finite: bool
) -> tuple[Any, Any, Any, Any]:
    """Hold out a random fraction of the examples, which were checked before, so that errors count all rows."""
    if not isinstance(validation, Real):
        return X, y, weights, validation
    fraction = real(validation, "validation", least=0.0, below=1.0, usual=0.2)
    y = as_data(y, "y")
    weights = None if weights is None else _as_weights(weights, "sample_weight")
    inputs = entered(model, X, "X", check_finite=check_finite, of_y=tuple(y.shape))
    xp, count = same_place(model=model.theta, y=y, sample_weight=weights), len(inputs)
    for name, other in (("y", y), ("sample_weight", weights)):
        if other is not None:  # some libraries do not raise for rows out of range
            _refuse_other_length(tuple(inputs.shape), "X", other, name)
    part = round(fraction * count)
    if not 0 < part < count:
        raise ValueError(
            f"validation={validation!r} of {count} examples gives {part} for validation and {count - part} for "
            f"training. Pass more examples, or another fraction."
        )
    order = random.permutation(key.fold("validation"), count, xp=xp, device=device_of(y))
    held, kept = order[:part], order[part:]
    held_out = (inputs.only(held), pick(y, held)) + (() if weights is None else (pick(weights, held),))
    return inputs.only(kept), pick(y, kept), None if weights is None else pick(weights, kept), held_out
