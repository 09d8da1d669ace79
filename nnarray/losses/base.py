"""What all losses share: checks of the arguments, weights, the reduction, and their gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from nnarray import kernels
from nnarray.backends import (
    as_data,
    detached,
    has_record,
    is_differentiated,
    is_traced,
    namespace,
    same_place,
    without_record,
)
from nnarray.caller import warn
from nnarray.checks import numbers_of_python, refuse_crossed
from nnarray.kernels.compilation import quiet
from nnarray.kernels.standard.numerics import at_least_float32, at_least_float32_dtype
from nnarray.losses.targets import fitting, in_dtype
from nnarray.names import shown
from nnarray.recording import Traced, constant, newest, stripped
from nnarray.recording.recorded import Recorded
from nnarray.typing import Array, DType, Namespace, Shape


@dataclass(frozen=True)
class Loss:
    """A loss of each example, reduced to one number.

    To write a loss of your own, derive from this class. If each output has its own target, define `entry(outputs,
    target)`, which returns the loss of each output and its derivative with respect to that output. Otherwise define
    `per_example(outputs, target)`, which returns the losses, one entry per example, and the gradient of their sum
    with respect to the outputs. Both may return the losses alone: then the gradient follows from a record of them.
    This class applies weights and the reduction, and checks the arguments. For a function of outputs and targets,
    `nn.losses.custom` makes a loss of it.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        The mean over the examples, or their sum. With weights w: sum of w L / sum of w, or sum of w L.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import nnarray as nn
    >>> @dataclass(frozen=True)
    ... class LogCosh(nn.Loss):
    ...     '''L = mean of ln cosh(o - t).'''
    ...     def entry(self, outputs, target):
    ...         xp = nn.namespace(outputs)
    ...         d = outputs - target
    ...         far = xp.abs(d)
    ...         return far + xp.log1p(xp.exp(-2.0 * far)) - 0.6931471805599453, xp.tanh(d)
    >>> be = nn.backend("numpy")
    >>> value, gradient = LogCosh().value_and_gradient(be.asarray([[0.0], [2.0]]), be.asarray([[0.0], [2.0]]))
    >>> float(value)
    0.0
    """

    reduction: str = field(default="mean", kw_only=True)

    not_after: ClassVar[tuple[str, ...]] = ()
    """Activations that must not be the last layer of a network."""
    answer: ClassVar[str] = ""
    """How to read predictions from the logits, without a softmax or a logistic function."""
    out_activation: ClassVar[str] = "identity"
    """The function that turns outputs into predictions: logits into probabilities."""

    _is_kept: ClassVar[bool] = False
    """Whether a model keeps it: `kept` sets it on the instance."""

    is_cross_entropy: ClassVar[bool] = False
    """Whether it is `kernels.cross_entropy` of the prepared target, which engines fuse with the last product."""

    def __post_init__(self) -> None:
        numbers_of_python(self)
        if self.reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum'; got {shown(self.reduction)}.")

    def counted(self, target: Array) -> Array | None:
        """Which entries of a target count, truth values of its shape; None if all do. Metrics leave out the others."""
        return None

    @property
    def leaves_out(self) -> bool:
        """Whether a target may have entries that do not count, so that `prepare` returns a weight of 0 for them."""
        return type(self).counted is not Loss.counted

    @property
    def is_of_classes(self) -> bool:
        """Whether the outputs are logits, and the targets are classes or probabilities."""
        return self.out_activation in ("logistic", "softmax")

    @property
    def is_own(self) -> bool:
        """Whether the user wrote it."""
        return not type(self).__module__.startswith("nnarray.")

    def entry(self, outputs: Array, target: Array) -> Any:
        """The loss of each output, and its derivative with respect to that output; at least float32.

        It must be a pure function that computes each entry independently: engines run it on symbols to make
        loops from it. If it returns the loss alone, the derivative follows from a record, and the layers compute.
        """
        raise NotImplementedError

    def per_example(self, outputs: Array, target: Array) -> Any:
        """The loss of each example, the mean of its entries, and the gradient of their sum, shaped as `outputs`."""
        return kernels.mean_of_entries(outputs, target, self.entry)

    def prepare(self, target: Array, shape: Shape, dtype: DType) -> tuple[Array, Array | None]:
        """The checked target in the form that `per_example` reads, and the weights that follow from it, if any.

        It is called once, where data enter. It reads values, so it waits for the device. By default a target has the
        outputs' shape and dtype. A loss of your own that takes another target, such as labels, overrides this method.

        Parameters
        ----------
        target : array, shape (N, ...)
            As the user passes it: y.
        shape : tuple of int
            The shape of the outputs, with N.
        dtype : dtype
            That of the outputs.

        Returns
        -------
        target : array, shape (N, ...)
            The second argument of `per_example`.
        weights : array, shape (N,) or (N, ...), or None
            The weight of each entry of the losses.

        Raises
        ------
        ValueError
            If the target does not fit outputs of `shape`, or has values out of range.
        """
        if target.shape != shape:
            raise ValueError(
                f"{self.label} needs a target of the outputs' shape {shape}; got {tuple(target.shape)}. "
                f"{fitting(target, shape)}{OWN_TARGET if self.is_own else ''}"
            )
        return in_dtype(target, dtype), None

    @property
    def label(self) -> str:
        """The name of the loss in messages."""
        return type(self).__name__

    def reduced(self, losses: Array, gradient: Array, weights: Array | None) -> tuple[Array, Array]:
        """The losses of all examples reduced to one number, and its gradient."""
        xp, dtype, total = same_place(losses=losses), gradient.dtype, max(math.prod(losses.shape), 1)
        gradient = at_least_float32(gradient)  # the largest number of half precision is 65,504
        if weights is not None:
            column = xp.reshape(at_least_float32(weights), weights.shape + (1,) * (losses.ndim - weights.ndim))
            each: Array = xp.broadcast_to(column, losses.shape)
            losses = losses * each
            gradient = gradient * xp.reshape(each, each.shape + (1,) * (gradient.ndim - each.ndim))
            total = xp.sum(each)
            total = xp.where(total > 0, total, 1.0)  # a batch whose weights are all 0 has loss 0
        if self.reduction == "sum":
            return xp.sum(losses), xp.astype(gradient, dtype, copy=False)
        return xp.sum(losses / total), xp.astype(gradient / total, dtype, copy=False)

    def value_and_gradient(self, outputs: Array, target: Array, weights: Array | None = None) -> tuple[Array, Array]:
        """The loss, shape (), and its gradient with respect to the outputs.

        Parameters
        ----------
        outputs : array, shape (N, ...), real floating
        target : array
            Same library and device.
        weights : array, shape (N,), optional
            The weight of each example.
        """
        if any(isinstance(x, Traced) for x in (outputs, target, weights)):
            return self._traced(outputs, target, weights)
        outputs, target, weights = checked(self, outputs, target, weights)
        _warn_of_probabilities(self, outputs)
        value, gradient = self.of_prepared(without_record(outputs), target, weights)
        return kernels.linked(value, [outputs], [gradient]), gradient

    def _traced(self, outputs: Any, target: Any, weights: Any) -> tuple[Array, Array]:
        """As `value_and_gradient`, in a function that is differentiated."""
        refuse_records(target=target, weights=weights)
        _, target, weights = checked(self, stripped(outputs), stripped(target), stripped(weights))
        value, gradient = self.of_prepared(constant(outputs), constant(target), constant(weights))
        return kernels.linked(value, [outputs], [gradient]), gradient

    def of_prepared(self, outputs: Array, target: Array, weights: Array | None) -> tuple[Array, Array]:
        """As `value_and_gradient`, with a target and weights that `prepare` returned."""
        pair: Any = self.per_example(outputs, target)
        is_recorded = hasattr(pair, "shape")
        if is_recorded:
            pair = differentiated(self.per_example, outputs, target, f"{self.label}.per_example")
        shapes = [getattr(each, "shape", None) for each in pair] if isinstance(pair, tuple | list) else []
        if len(shapes) != 2 or shapes[1] != outputs.shape or not shapes[0] or shapes[0][0] != outputs.shape[0]:
            raise TypeError(
                f"{self.label}.per_example must return the losses, one entry per example, or a pair, the losses and "
                f"the gradient of their sum, of the outputs' shape {tuple(outputs.shape)}; got {shown(pair)}."
            )
        losses, gradient = pair
        if self.is_own and not is_recorded and is_differentiated(outputs):
            losses = self._with_own_gradient(outputs, target)
        return self.reduced(losses, gradient, weights)

    def _with_own_gradient(self, outputs: Array, target: Array) -> Array:
        """The losses, whose derivatives with respect to the outputs, by the library, are those of `per_example`."""

        def nothing(outputs: Array, target: Array) -> Any:
            losses, gradient = self.per_example(outputs, target)
            shape = losses.shape + (1,) * (gradient.ndim - losses.ndim)
            xp = namespace(outputs)
            return xp.zeros_like(losses), lambda g: (xp.reshape(g, shape) * gradient, None)

        losses = self.per_example(detached(outputs), target)[0]
        return losses + kernels.with_pullback(outputs, target, function=nothing)

    def __call__(self, outputs: Array, target: Array, weights: Array | None = None) -> Array:
        """The loss, shape ().

        Raises
        ------
        TypeError
            If a model keeps this loss, as `model.loss`: X could be taken for the outputs.
        """
        if self._is_kept:
            raise TypeError(
                f"model.loss is the loss that the model was trained with, {self!r}, a function of outputs and targets. "
                f"For the loss of examples, write model.evaluate(X, y)['loss']; for that of outputs, "
                f"{'' if self.is_own else 'nn.losses.'}{self!r}(model(X), y)."
            )
        return self.value_and_gradient(outputs, target, weights)[0]

    def kept(self) -> Loss:
        """The loss as a model keeps it: it refuses to be called, as X could be taken for the outputs."""
        if self._is_kept:
            return self
        other = copy(self)
        object.__setattr__(other, "_is_kept", True)  # no setting: files and comparisons do not see it
        return other


OWN_TARGET = " If this loss of your own takes another target, such as labels, define its method prepare."


@quiet  # logits may be infinite
def _warn_of_probabilities(loss: Loss, outputs: Array) -> None:
    """Warn of probabilities where logits are taken, in a call by hand. Waits for the device."""
    if not loss.is_of_classes or is_traced(outputs) or has_record(outputs):
        return
    xp, softmax = same_place(outputs=outputs), loss.out_activation == "softmax"
    if not softmax and math.prod(outputs.shape) < FEW_LOGITS:
        return
    alike = xp.all((outputs >= 0) & (outputs <= 1))
    if softmax:
        alike = alike & xp.all(xp.abs(xp.sum(at_least_float32(outputs), axis=-1) - 1.0) < 1e-3)
    if not bool(alike):
        return
    what, of = ("sum to 1 in each row", "xp.log(p)") if softmax else ("lie from 0 to 1", "xp.log(p / (1 - p))")
    warn(
        f"the outputs {what}, as probabilities do, but {loss.label} takes logits. Pass model(X), not "
        f"model.predict_proba(X); of probabilities p: xp = nn.namespace(p); logits = {of}."
    )


FEW_LOGITS = 8  # so few may all lie from 0 to 1 by chance


def differentiated(function: Callable[..., Any], outputs: Array, target: Array, name: str) -> tuple[Array, Array]:
    """The losses that a function returns, and the gradient of their sum with respect to the outputs, by a record.

    Raises
    ------
    TypeError, ValueError
        If it returns anything but losses, an entry for each example or for parts of it.
    """
    recorded = Recorded(function, (outputs, target), (0,), has_aux=False)
    losses, shape = recorded.value(recorded.y), tuple(outputs.shape)
    given: Any = getattr(losses, "shape", None)
    if not given or tuple(given) != shape[: len(given)]:
        what = shown(losses) if given is None else f"shape {tuple(given)}"
        raise ValueError(
            f"{name} must return losses of shape ({shape[0]},), one entry per example, for outputs of shape {shape} "
            f"and a target of shape {tuple(target.shape)}; got {what}. Sum over the other axes: the mean over the "
            f"examples is taken later."
        )
    return losses, recorded.gradients(namespace(losses).ones_like(losses), keep=False)[0]


def checked(loss: Loss, outputs: Array, target: Array, weights: Array | None) -> tuple[Array, Array, Array | None]:
    """Outputs, target and weights, checked, in the form that the loss reads."""
    outputs, target = as_data(outputs, "outputs"), as_data(target, "target")
    weights = None if weights is None else as_data(weights, "weights")
    refuse_records(target=target, weights=weights)
    xp = same_place(outputs=outputs, target=target, weights=weights)
    if not xp.isdtype(outputs.dtype, "real floating"):
        raise TypeError(f"outputs must be real floating numbers; got dtype {outputs.dtype}.")
    if outputs.ndim == 0 or outputs.shape[0] == 0:
        raise ValueError(f"{loss.label} needs at least one example; got outputs of shape {tuple(outputs.shape)}.")
    target, own = prepared(loss, target, tuple(outputs.shape), outputs.dtype)
    return outputs, target, combined_weights(xp, own, weights, outputs.shape[0], outputs.dtype)


def prepared(loss: Loss, target: Array, shape: Shape, dtype: DType) -> tuple[Array, Array | None]:
    """`loss.prepare`; a loss of the user's own must not cross its examples."""
    ready, own = loss.prepare(target, shape, dtype)
    if loss.is_own:
        refuse_crossed(partial(_losses, loss), ready, shape[1:], dtype, loss.label)
    return ready, own


def _losses(loss: Loss, outputs: Array, target: Array) -> Array:
    """What `per_example` returns, without a gradient."""
    found = loss.per_example(outputs, target)
    return found[0] if isinstance(found, tuple | list) else found


def refuse_records(**arrays: Any) -> None:
    """Refuse targets and weights with a gradient record: losses have no gradient with respect to them."""
    for name, each in arrays.items():
        if has_record(each) or newest([each]) is not None:
            remedy = f"{name}.detach()" if has_record(each) else f"nn.stop_gradient({name})"
            raise ValueError(
                f"{name} has a gradient record, but a loss has a gradient with respect to its outputs only. Pass "
                f"{remedy}."
            )


def combined_weights(
    xp: Namespace, own: Array | None, from_user: Array | None, count: int, dtype: DType, name: str = "weights"
) -> Array | None:
    """The product of the weights that follow from the target and those that the user gives."""
    if from_user is None:
        return own
    if from_user.shape != (count,):
        raise ValueError(f"{name} must have shape ({count},), one entry per example; got {tuple(from_user.shape)}.")
    each: Array = in_dtype(from_user, at_least_float32_dtype(xp, dtype), name)
    if not is_traced(from_user) and not (bool(xp.all(from_user >= 0)) and bool(xp.any(from_user > 0))):
        raise ValueError(f"{name} must not be negative, and at least one must be above 0.")
    return each if own is None else own * xp.reshape(each, each.shape + (1,) * (own.ndim - 1))
