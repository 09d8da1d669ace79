"""The loss that follows from y, where nobody has named one; what could be meant in two ways is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from nnarray.backends import as_data, backend_of, is_traced, same_place, without_record
from nnarray.checks import refuse_non_finite
from nnarray.datasets.streams import Begun, Stream
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.losses import MANY, BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError, classes_in, loss_named
from nnarray.names import converted
from nnarray.training.inputs import whole
from nnarray.training.streamed import StreamBatch
from nnarray.training.trainee import Trainee
from nnarray.typing import Array, Namespace, Shape

AUTO = "auto"


@dataclass(frozen=True)
class Automatic(Loss):
    """The loss that `decided` chooses when y is there.

    Of integers and truth values it is the cross-entropy, or the binary one where y has the shape of outputs that are
    one; of real numbers the mean squared error.
    """

    def of(self, y: Array, outputs: Shape) -> Loss:
        """That of targets y, for outputs of this shape an example.

        Raises
        ------
        ValueError
            If y could be meant in two ways; the message names both.
        """
        xp, alike = same_place(y=y), y.ndim > 0 and tuple(y.shape[1:]) == outputs
        if not xp.isdtype(y.dtype, ("bool", "integral")):
            _refuse_classes(xp, y, outputs)
            return MeanSquaredError()
        if outputs == (1,) and y.ndim == 1:
            _refuse_for_one_output(y)
        if alike and outputs[-1] > 1:
            raise ValueError(
                f"integers of the outputs' shape {(y.shape[0], *outputs)} could be meant in three ways: for rows with "
                f"one 1 each, pass loss='cross_entropy'; for several labels an example, loss='binary_cross_entropy'; "
                f"for numbers, loss='mse'."
            )
        return BinaryCrossEntropy() if alike else CrossEntropy()


def _refuse_for_one_output(y: Array) -> NoReturn:
    """Refuse integers where it is not known whether they are classes or numbers."""
    classes = classes_in(y)
    if classes > MANY:
        raise ValueError(
            f"with a network of one output, these integers, {classes} from the lowest to the highest, look like "
            f"numbers: pass loss='mse' and y[:, None]. If they are classes, give the last layer an output for each, "
            f"nn.Dense({classes}), and number them from 0."
        )
    here, layer = (f", here {classes}", f", nn.Dense({classes})") if classes > 2 else ("", "")
    raise ValueError(
        f"with a network of one output, these integers could be two classes or numbers: for two classes, pass "
        f"loss='binary_cross_entropy' and y[:, None]; for more{here}, give the last layer an output for each{layer}; "
        f"for numbers, pass loss='mse' and y[:, None]. For classes, the last layer has no activation."
    )


def _refuse_classes(xp: Namespace, y: Array, outputs: Shape) -> None:
    """Refuse real numbers that look like classes or probabilities: the squared error would be silently wrong."""
    if y.ndim == 1 and len(outputs) == 1 and outputs[0] > 1:
        refuse_non_finite(y, "target")
        raise ValueError(
            f"y has real numbers of shape {tuple(y.shape)}, and the network {outputs[0]} outputs: for classes, pass "
            f"integers, {converted('y')}; for one number per example, give the last layer 1 output and pass y[:, None]."
        )
    if tuple(y.shape[1:]) != outputs or 0 in y.shape or is_traced(y):
        return  # the loss says what does not fit; and nobody can look at values inside jax.jit
    binary = bool(xp.all((y == 0) | (y == 1)))
    if binary or (outputs[-1] > 1 and _are_probabilities(xp, y)):
        kind, what = ("are all 0 or 1", "classes") if binary else ("sum to 1 in each row", "probabilities")
        single = "loss='binary_cross_entropy'"
        several = "loss='cross_entropy', or 'binary_cross_entropy' where each output is a label of its own"
        raise ValueError(
            f"y holds real numbers that {kind}, and could be meant in two ways: for {what}, pass "
            f"{several if outputs[-1] > 1 else single}; for numbers, pass loss='mse'."
        )


def _are_probabilities(xp: Namespace, y: Array) -> bool:
    sums = xp.sum(at_least_float32(y), axis=-1)
    return bool(xp.all(y >= 0)) and bool(xp.all(xp.abs(sums - 1.0) < 0.01))


def loss_or_auto(loss: Any) -> Loss:
    """The loss of that name, or the one given; of "auto", what `decided` takes."""
    return Automatic() if isinstance(loss, str) and loss == AUTO else loss_named(loss)


def decided(loss: Loss, model: Trainee, X: Any, y: Any) -> tuple[Any, Loss]:
    """X, and the loss that is meant: the model's own if it has one, as `evaluate` takes it; else it follows from y.

    The first batch of a stream says it, and is not lost.

    Without y, and without a stream, nothing is decided: there is nothing to train on.
    """
    if not isinstance(loss, Automatic):
        return X, loss
    if model.loss is not None:
        return X, model.loss
    if isinstance(X, Stream):
        X = Begun(X)
        with StreamBatch(X.first, 0, 0).naming() as batch:
            return X, loss.of(as_data(_moved(model, batch.parts[1]), "y"), model.output_shape)
    if y is None:
        return X, loss
    return X, loss.of(without_record(as_data(whole(model, y), "y", model.theta)), model.output_shape)


def _moved(model: Trainee, y: Any) -> Any:
    return None if y is None else backend_of(model.theta).asarray(y)
