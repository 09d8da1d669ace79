"""Faults of X and of y: where both have one, a single error names both."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from nnarray.backends import as_data, same_place, without_record
from nnarray.datasets.streams import Stream
from nnarray.kernels.compilation import quiet
from nnarray.losses import Loss
from nnarray.recording import Traced
from nnarray.training.automatic import decided
from nnarray.training.inputs import inputs_of, whole
from nnarray.training.trainee import Trainee
from nnarray.typing import Shape


@contextmanager
def naming_both(model: Trainee, X: Any, y: Any, loss: Loss, *, check_finite: bool) -> Generator[None]:
    """Within it, an error names the faults of X and of y if both have one, so that one look repairs both.

    Nothing is looked at a second time unless there is an error.

    Raises
    ------
    TypeError, ValueError
        The error of the block, or the one that names both.
    """
    try:
        yield
    except (TypeError, ValueError):
        if y is None or isinstance(X, Stream) or isinstance(model.theta, Traced) or _is_of_x(model, X, y):
            raise
        shape = _shape_of(y) or ()
        of_x = _fault(partial(inputs_of, model, X, check_finite=check_finite, of_y=tuple(shape)))
        of_y = _fault(partial(_check_target, model, y, loss))
        if of_x is None and of_y is not None and _is_kept(model, loss):
            raise _kind(of_y)(f"{of_y} {_kept(model)}") from None
        if of_x is None or of_y is None:
            raise
        raise _kind(of_x)(f"X and y are both wrong. (1) {of_x} (2) {of_y}") from None


def _kind(error: Exception) -> type[TypeError] | type[ValueError]:
    return TypeError if isinstance(error, TypeError) else ValueError


def _is_kept(model: Trainee, loss: Loss) -> bool:
    """Whether nobody has named a loss, and the model keeps its own."""
    return model.loss is not None and loss is not model.loss and decided(loss, model, None, None)[1] is model.loss


def _kept(model: Trainee) -> str:
    """The reason why y does not choose the loss, and how to choose another one."""
    return (
        f"The model keeps the loss that it was trained with, {model.loss!r}. For another one, pass it, such as "
        f"loss='mse'; after model.loss = None, y chooses it again."
    )


def _is_of_x(model: Trainee, X: Any, y: Any) -> bool:
    """Whether one message says it: X and y are swapped, or the network is made for examples with other axes."""
    of_x, of_y = _shape_of(X), _shape_of(y)
    if of_x is None or not isinstance(model.input_shape, tuple) or of_x[1:] == model.input_shape:
        return False
    return len(of_x) != len(model.input_shape) + 1 or (of_y is not None and of_y[1:] == model.input_shape)


def _shape_of(x: Any) -> Shape | None:
    try:
        return getattr(x, "shape", None)
    except RuntimeError:  # tensors of another layout have none
        return None


@quiet  # an overflow is reported by an error
def _fault(check: Callable[[], object]) -> TypeError | ValueError | None:
    try:
        check()
    except (TypeError, ValueError) as error:
        return error
    return None


def _check_target(model: Trainee, y: Any, loss: Loss) -> None:
    """Refuse a target that does not fit the model and the loss, whatever X is."""
    target = without_record(as_data(whole(model, y), "y", model.theta))
    same_place(model=model.theta, y=target)
    _, chosen = decided(loss, model, None, target)
    chosen.prepare(target, (*target.shape[:1], *model.output_shape), model.theta.dtype)
