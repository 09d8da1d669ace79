"""Losses: the distance of outputs from targets, and its gradients with respect to the outputs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence, Set
from copy import copy
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from nnarray import kernels
from nnarray.arguments import attribute_errors, explain_classes
from nnarray.backends import (
    as_data,
    detached,
    device_of,
    dtype_name,
    has_record,
    is_differentiated,
    is_traced,
    namespace,
    same_place,
    without_record,
)
from nnarray.caller import warn
from nnarray.checks import (
    above_zero,
    in_range,
    integer,
    is_several,
    numbers_of_python,
    refuse_crossed,
    refuse_other_sums,
    refuse_overflow,
)
from nnarray.kernels.compilation import quiet
from nnarray.kernels.standard.numerics import at_least_float32, at_least_float32_dtype, clamp, within
from nnarray.names import also, converted, named, shown
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
    def is_of_classes(self) -> bool:
        """Whether the outputs are logits, and the targets are classes or probabilities."""
        return self.out_activation in ("logistic", "softmax")

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
                f"{_fitting(target, shape)}{'' if type(self) in LOSSES.values() else OWN_TARGET}"
            )
        return _converted(target, dtype), None

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
        if not (is_recorded or type(self).__module__.startswith("nnarray.")) and is_differentiated(outputs):
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
                f"{'nn.losses.' if type(self) in LOSSES.values() else ''}{self!r}(model(X), y)."
            )
        return self.value_and_gradient(outputs, target, weights)[0]

    def kept(self) -> Loss:
        """The loss as a model keeps it: it refuses to be called, as X could be taken for the outputs."""
        if self._is_kept:
            return self
        other = copy(self)
        object.__setattr__(other, "_is_kept", True)  # no setting: files and comparisons do not see it
        return other


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


# --- Remedies where target and outputs do not fit --------------------------------------------------------------------

FLATTEN = (
    "The outputs have a row for each position of an example. For one row per example, put nn.Flatten() or "
    "nn.GlobalAvgPool() before the first Dense layer."
)


OWN_TARGET = " If this loss of your own takes another target, such as labels, define its method prepare."


def _fitting(target: Array, shape: Shape) -> str:
    """The remedy for a target that does not fit outputs of `shape`."""
    if (*target.shape, 1) == shape:
        return f"Pass {_column(target)}: nothing is broadcast silently."
    if target.shape == (*shape, 1):
        return f"Pass {_no_column(target)}: nothing is broadcast silently."
    if target.ndim == 0 or target.shape[0] != shape[0]:
        return "Pass one entry per example."
    if len(shape) > 2 and target.ndim <= 2:
        return FLATTEN
    if target.shape in (shape[:-1], (*shape[:-1], 1)) and _whole(target):
        labels = "y" if target.ndim < len(shape) else _no_column(target)
        integers = not same_place(target=target).isdtype(target.dtype, "real floating")
        more = (
            ("" if labels == "y" else f" and {labels}") if integers else f", and integers: {converted('y', of=labels)}"
        )
        return f"For labels, pass loss='cross_entropy'{more}."
    if target.ndim == 1:
        return "Give the last layer 1 output, and pass y[:, None]."
    if target.shape[:-1] == shape[:-1]:
        return f"Give the last layer {_outputs(target)}."
    return f"Reshape y to {shape}: nothing is broadcast silently."


def _fitting_labels(target: Array, shape: Shape) -> str:
    """The remedy for labels or probabilities that do not fit outputs of `shape`; it may be another loss."""
    classes = shape[-1]
    if target.shape[:1] != shape[:1] or len(shape) > 2:
        return _fitting(target, shape)
    regression = f"for regression, pass loss='mse'{'' if target.ndim > 1 else f' and {_column(target)}'}"
    if target.ndim != 1 and target.shape[-1] > 1:
        if target.shape[-1] != classes:
            return f"Give the last layer {_outputs(target)}; {regression}."
        return f"For several labels per example, pass loss='binary_cross_entropy'; {regression}."
    if classes > 1:
        regression = f"{regression}, and give the last layer 1 output"
    if not _whole(target):
        return f"F{regression[1:]}."
    if classes > 1:
        return f"Pass {_no_column(target)}."
    two, more = (f" and {_column(target)}", "") if target.ndim == 1 else ("", f" and pass {_no_column(target)}")
    if classes_in(target) > 2:
        more = f", nn.Dense({classes_in(target)}){more}"
    return (
        f"For two classes, pass loss='binary_cross_entropy'{two}; for more, give the last layer an output for each"
        f"{more}; {regression}."
    )


def _column(target: Array) -> str:
    return "y[:, None]" if target.ndim == 1 else "y[..., None]"


def _no_column(target: Array) -> str:
    return "y[:, 0]" if target.ndim == 2 else "y[..., 0]"


def _outputs(target: Array) -> str:
    return f"{target.shape[-1]} output{'s' if target.shape[-1] > 1 else ''}"


def _whole(target: Array) -> bool:
    """Whether all entries are integers, in any dtype, so that they may be labels. Waits for the device."""
    xp = same_place(target=target)
    if not xp.isdtype(target.dtype, "real floating"):
        return True
    return not is_traced(target) and bool(xp.all(xp.floor(target) == target))


@quiet  # infinity has no whole number
def classes_in(target: Array) -> int:
    """How many classes there are from the lowest label to the highest; 0 if these are no labels. It reads values."""
    several = target.ndim == 0 or any(size != 1 for size in target.shape[1:])
    if several or 0 in target.shape or is_traced(target) or not _whole(target):
        return 0
    xp = same_place(target=target)
    if not xp.isdtype(target.dtype, "real floating"):
        target = xp.astype(target, _index(target), copy=False)
    span = float(xp.max(target)) - float(xp.min(target))
    return int(span) + 1 if math.isfinite(span) else 0


MANY = 20  # so many integers are more often numbers than classes


def _index(labels: Array) -> DType:
    """The default integer dtype: PyTorch cannot compute the minimum of some unsigned integers."""
    return same_place(labels=labels).__array_namespace_info__().default_dtypes(device=device_of(labels))["integral"]


@quiet  # an overflow is reported by an error
def _converted(x: Array, dtype: DType, name: str = "target") -> Array:
    """`x` in the dtype of the outputs; checked to be finite before and after. Waits for the device."""
    converted: Array = same_place(x=x).astype(x, dtype, copy=False)
    if not is_traced(converted):
        refuse_overflow(converted, x, name)
    return converted


def checked_labels(labels: Array, classes: int, name: str, otherwise: str = "") -> Array:
    """Labels in the default integer dtype, each from 0 to classes - 1. Waits for the device.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If a label is out of range.
    """
    xp = same_place(labels=labels)
    if not xp.isdtype(labels.dtype, ("bool", "integral")):
        raise TypeError(
            f"{name} must be integers; got dtype {dtype_name(labels.dtype)}. Convert them: {converted('y')}."
        )
    labels = xp.astype(labels, _index(labels), copy=False)
    if not is_traced(labels) and labels.shape[0] > 0:
        lowest, highest = int(xp.min(labels)), int(xp.max(labels))
        if lowest < 0 or highest >= classes:
            wrong = lowest if lowest < 0 else highest
            raise ValueError(
                f"label {wrong} is out of range: with {classes} outputs, labels are 0 to {classes - 1}. "
                f"{_renumbered(lowest, highest, classes)}, or give the last layer an output for each class.{otherwise}"
            )
    return labels


def _renumbered(lowest: int, highest: int, classes: int) -> str:
    """The remedy for labels that do not begin at 0."""
    fit = lowest != 0 and highest - lowest < classes
    return f"Number them from 0: y {'-' if lowest > 0 else '+'} {abs(lowest)}" if fit else "Renumber them from 0"


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
    if isinstance(loss, Custom) or not type(loss).__module__.startswith("nnarray."):
        refuse_crossed(functools.partial(_losses, loss), ready, shape[1:], dtype, loss.label)
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
    each: Array = _converted(from_user, at_least_float32_dtype(xp, dtype), name)
    if not is_traced(from_user) and not (bool(xp.all(from_user >= 0)) and bool(xp.any(from_user > 0))):
        raise ValueError(f"{name} must not be negative, and at least one must be above 0.")
    return each if own is None else own * xp.reshape(each, each.shape + (1,) * (own.ndim - 1))


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """L_n = mean over the outputs of (o - t)^2.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> float(nn.losses.MeanSquaredError()(be.asarray([[1.0], [3.0]]), be.asarray([[0.0], [1.0]])))
    2.5
    """

    def entry(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """d^2 and 2 d."""
        d = outputs - target
        return d * d, 2.0 * d


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """L_n = mean over the outputs of |o - t|."""

    def entry(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """|d| and sign d, which is taken as 0 at 0."""
        xp, d = namespace(outputs), outputs - target
        return xp.abs(d), xp.sign(d)


@dataclass(frozen=True)
class Huber(Loss):
    """L_n = mean over the outputs of d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = o - t.

    Parameters
    ----------
    delta : float
        The error from which on the loss is linear, in units of the target; above 0.

    References
    ----------
    .. [1] Huber (1964), Annals of Mathematical Statistics 35(1), 73-101.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(self.delta, "Huber delta")
        object.__setattr__(self, "delta", float(self.delta))  # a number of NumPy's would lend arrays its dtype

    def entry(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """c (d - c / 2) and c, where c is d limited to -delta and delta."""
        d = outputs - target
        c = clamp(d, -self.delta, self.delta)
        return c * (d - 0.5 * c), c


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """L_n = -mean of (t ln p + (1 - t) ln(1 - p)), p = logistic(z): outputs z are logits, targets lie in [0, 1].

    Raises
    ------
    ValueError
        If a target lies outside [0, 1].
    """

    not_after = ("logistic", "softmax", "log_softmax", "hard_sigmoid")
    answer = "Then an output above 0 means label 1; the probability of label 1 is 1 / (1 + exp(-output))."
    out_activation = "logistic"

    def prepare(self, target: Array, shape: Shape, dtype: DType) -> tuple[Array, Array | None]:
        """The target, checked to lie in [0, 1]."""
        self._refuse_more_classes(target, shape, dtype)
        target, _ = super().prepare(target, shape, dtype)
        xp = same_place(target=target)
        if not is_traced(target) and not bool(xp.all((target >= 0) & (target <= 1))):
            labels = "For two classes, number them 0 and 1; for more, use cross_entropy. " if _whole(target) else ""
            raise ValueError(f"{self._range(target)}. {labels}For regression, pass loss='mse'.")
        return target, None

    def _refuse_more_classes(self, target: Array, shape: Shape, dtype: DType) -> None:
        """Refuse labels of more than two classes for one output, whether or not they are a column."""
        single = shape[1:] == (1,) and target.shape[:1] == shape[:1]
        classes = classes_in(target) if single else 0
        if classes > 2:
            labels, values = ("", " and y[:, None]") if target.ndim == 1 else (" and pass y[:, 0]", "")
            if classes > MANY:
                raise ValueError(
                    f"{self._range(_converted(target, dtype))}, which look like numbers: pass loss='mse'{values}. If "
                    f"they are classes, use cross_entropy, and give the last layer an output for each, "
                    f"nn.Dense({classes}){labels}."
                )
            raise ValueError(
                f"{self._range(_converted(target, dtype))}. For two classes, number them 0 and 1; for more, use "
                f"cross_entropy, give the last layer an output for each, nn.Dense({classes}){labels}. For regression, "
                f"pass loss='mse'{values}."
            )

    def _range(self, target: Array) -> str:
        xp = same_place(target=target)
        lowest, highest = float(xp.min(target)), float(xp.max(target))
        return f"BinaryCrossEntropy needs targets from 0 to 1; got values from {lowest:g} to {highest:g}"

    def entry(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """max(z, 0) - z t + ln(1 + exp(-|z|)) and p - t."""
        xp, z = namespace(outputs), within(outputs)
        loss = xp.maximum(z, 0.0) - z * target + xp.log1p(xp.exp(-xp.abs(z)))
        return loss, kernels.logistic(z) - target


def _as_float(x: Any) -> float:
    """A number of any library as a Python float; NaN if it is not a number."""
    try:
        return math.nan if isinstance(x, str | bytes) else float(x)
    except (TypeError, ValueError):
        return math.nan


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """L_n = -sum_k t_nk ln p_nk, p = softmax(z): outputs z are logits, shape (N, ..., K); in nats per example.

    Parameters
    ----------
    label_smoothing : float
        The smoothing s, with which t becomes (1 - s) t + s / K.
    class_weights : sequence of K floats, optional
        The weight of each class, above 0. With labels, the mean divides by the sum of the class weights of the
        examples.
    ignore_index : int, optional
        A label that does not count, such as -100, or that of padding: neither in the loss, nor in the number by which
        the mean divides, nor in metrics.

    Raises
    ------
    ValueError
        If a label is negative or not below K, a probability is negative, probabilities do not sum to 1, or the shapes
        do not fit.
    TypeError
        If labels are not integers.

    Notes
    -----
    The target is labels, integers of shape (N, ...), or probabilities of shape (N, ..., K), which sum to 1 over K.

    References
    ----------
    .. [1] Szegedy et al. (2016), Rethinking the Inception architecture, section 7 (label smoothing). CVPR.

    Examples
    --------
    >>> import nnarray as nn
    >>> be = nn.backend("numpy")
    >>> round(float(nn.losses.CrossEntropy()(be.asarray([[0.0, 0.0]]), be.asarray([1]))), 6)
    0.693147
    """

    not_after = ("softmax", "logistic", "hard_sigmoid")  # log_softmax of log_softmax is itself
    answer = "The largest output is still the most likely class."
    out_activation = "softmax"
    is_cross_entropy = True

    label_smoothing: float = field(default=0.0, kw_only=True)
    class_weights: Sequence[float] | None = field(default=None, kw_only=True)
    ignore_index: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ignore_index is not None:
            integer(self.ignore_index, "ignore_index", -(2**31), usual=-100)
        in_range(self.label_smoothing, "label_smoothing", 0, 1, symbol="s")
        if self.class_weights is not None:
            if isinstance(self.class_weights, Mapping | Set) or not is_several(self.class_weights):
                raise TypeError(
                    f"class_weights must be one number per class, in the order of the labels, such as (1.0, 9.0); got "
                    f"{type(self.class_weights).__name__}."
                )
            weights = tuple(map(_as_float, self.class_weights))
            if not all(0 < w < math.inf for w in weights):
                raise ValueError(f"class_weights must be finite numbers above 0; got {shown(self.class_weights)}.")
            object.__setattr__(self, "class_weights", weights)  # a tuple: a frozen dataclass must hash

    def __repr__(self) -> str:
        """Without `ignore_index` if there is none: settings that were written before it still are the same."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.ignore_index is None:
            del given["ignore_index"]
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def prepare(self, target: Array, shape: Shape, dtype: DType) -> tuple[Array, Array | None]:
        """Labels, or probabilities if there is label smoothing; and the weights from the classes."""
        xp, classes = same_place(target=target), shape[-1]
        if len(shape) < 2:
            raise ValueError(f"CrossEntropy needs outputs of shape (N, K), one logit per class; got {shape}.")
        if classes < 2:
            raise ValueError(
                f"CrossEntropy needs at least 2 classes; got outputs of shape {shape}, and a target of shape "
                f"{tuple(target.shape)}. {_fitting_labels(target, shape)}"
            )
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(f"class_weights has {len(self.class_weights)} entries for {classes} classes.")
        if target.shape == shape:
            return self._prepare_probabilities(xp, target, dtype)
        if target.shape != shape[:-1]:
            raise ValueError(
                f"CrossEntropy on outputs of shape {shape} needs labels of shape {shape[:-1]} "
                f"or probabilities of shape {shape}; got {tuple(target.shape)}. {_fitting_labels(target, shape)}"
            )
        return self._prepare_labels(xp, target, classes, dtype)

    def _prepare_probabilities(self, xp: Namespace, target: Array, dtype: DType) -> tuple[Array, None]:
        target = _converted(target, dtype)
        if not is_traced(target) and not bool(xp.all(target >= 0)):
            raise ValueError(
                f"CrossEntropy needs probabilities that are not negative; got {float(xp.min(target)):g}. "
                f"{_fitting_labels(target, target.shape)}"
            )
        sums = xp.sum(at_least_float32(target), axis=-1)
        refuse_other_sums(sums, "CrossEntropy", _fitting_labels(target, target.shape))
        target = self._smoothed(target)
        if self.class_weights is None:
            return target, None
        target = at_least_float32(target)
        return target * self._weights(xp, target), None

    def _prepare_labels(self, xp: Namespace, labels: Array, classes: int, dtype: DType) -> tuple[Array, Array | None]:
        if not _whole(labels):
            raise TypeError(
                f"CrossEntropy labels must be integers; got dtype {dtype_name(labels.dtype)}. "
                f"{_fitting_labels(labels, (*labels.shape, classes))}"
            )
        real = " For regression, pass loss='mse' and y[:, None], and give the last layer 1 output."
        counted = self.counted(labels)
        if counted is not None:
            labels = xp.where(counted, labels, xp.zeros_like(labels))
        labels = checked_labels(labels, classes, "CrossEntropy labels", real if labels.ndim == 1 else "")
        target, own = self._weighted_labels(xp, labels, classes, dtype)
        if counted is None:
            return target, own
        counts: Array = xp.astype(counted, at_least_float32_dtype(xp, dtype))
        return target, counts if own is None else counts * own

    def counted(self, target: Array) -> Array | None:
        """Which labels are not `ignore_index`; None if all count."""
        xp = same_place(target=target)
        if self.ignore_index is None or not xp.isdtype(target.dtype, "integral"):
            return None
        return xp.astype(target, _index(target), copy=False) != self.ignore_index

    def _weighted_labels(self, xp: Namespace, labels: Array, classes: int, dtype: DType) -> tuple[Array, Array | None]:
        """Labels or smoothed ones, and the weights from their classes."""
        if self.class_weights is None and self.label_smoothing == 0:
            return labels, None
        like = xp.zeros((0,), dtype=at_least_float32_dtype(xp, dtype), device=device_of(labels))
        hot = kernels.one_hot(labels, classes, like=like)
        if self.class_weights is None:
            return self._smoothed(hot), None
        weights = self._weights(xp, hot)
        own = xp.sum(hot * weights, axis=-1)  # the mean divides by the class weights of the examples
        return self._smoothed(hot) * weights / own[..., None], own

    def _smoothed(self, target: Array) -> Array:
        s = self.label_smoothing
        return (1.0 - s) * target + s / target.shape[-1] if s else target

    def _weights(self, xp: Namespace, like: Array) -> Array:
        return xp.asarray(self.class_weights, dtype=like.dtype, device=device_of(like))

    def per_example(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """The losses, and the gradient of their sum."""
        if target.ndim == outputs.ndim:
            return kernels.cross_entropy(outputs, target)
        return kernels.cross_entropy_of_labels(outputs, target)

    def of_prepared(self, outputs: Array, target: Array, weights: Array | None) -> tuple[Array, Array]:
        """As in every loss; faster for labels without weights."""
        kind = type(self)
        own = kind.per_example is CrossEntropy.per_example and kind.reduced is Loss.reduced
        if not own or weights is not None or target.ndim == outputs.ndim:
            return super().of_prepared(outputs, target, weights)
        total = None if self.reduction == "sum" else max(math.prod(target.shape), 1)
        return kernels.reduced_cross_entropy_of_labels(outputs, target, total=total)


@dataclass(frozen=True)
class Custom(Loss):
    """The loss that `custom` makes of a function."""

    function: Callable[[Array, Array], Array] = field(kw_only=True)

    @property
    def label(self) -> str:
        """The name of the function."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def prepare(self, target: Array, shape: Shape, dtype: DType) -> tuple[Array, Array | None]:
        """Any target with a row for each example; real numbers in the dtype of the outputs."""
        if target.ndim == 0 or target.shape[0] != shape[0]:
            raise ValueError(f"{self.label} needs a row of y for each example; got {tuple(target.shape)} for {shape}.")
        is_real = same_place(target=target).isdtype(target.dtype, "real floating")
        return _converted(target, dtype) if is_real else target, None

    def per_example(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """The mean of the function's entries for each example, and the gradient of their sum."""
        return differentiated(self._means, outputs, target, self.label)

    def _means(self, outputs: Array, target: Array) -> Any:
        losses: Any = self.function(outputs, target)
        if getattr(losses, "shape", None) == tuple(outputs.shape) and outputs.ndim > 1:
            return namespace(losses).mean(losses, axis=tuple(range(1, outputs.ndim)))
        return losses


def custom(function: Callable[[Array, Array], Array], *, reduction: str = "mean") -> Loss:
    """A loss from a function of your own: L_n = f(o_n, t_n). Its gradient follows from a record of f.

    Parameters
    ----------
    function : callable
        f(outputs, target) -> losses, written in the array API standard: one entry for each example, or of the outputs'
        shape, of which the mean is taken for each example. `outputs` are what the network returns, shape (N, ...).
        `target` is y, with a row for each example and any shape; real numbers have the dtype of the outputs.
    reduction : {"mean", "sum"}
        As for all losses.

    Returns
    -------
    Loss
        For `fit(loss=)`, `nn.value_and_grad` and `nn.testing.check_loss`.

    Raises
    ------
    TypeError
        If it is not a function.
    ValueError
        When it is used, if the losses have another shape: nothing is broadcast silently.

    Notes
    -----
    A file has no code. A model that was trained with such a loss is saved without it, unless f is decorated with
    `nn.register`.

    Examples
    --------
    >>> import nnarray as nn
    >>> def log_cosh(outputs, target):
    ...     xp = nn.namespace(outputs)
    ...     return xp.log(xp.cosh(outputs - target))
    >>> loss = nn.losses.custom(log_cosh)
    >>> X, y = nn.datasets.line(50, seed=0)
    >>> model = nn.Network(nn.Dense(1)).init((1,), seed=0)
    >>> history = model.fit(X, y, loss=loss, optimizer=nn.Adam(0.1), epochs=50)
    >>> history["loss"][-1] < history["loss"][0]
    True
    """
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"custom needs a function of outputs and targets; got {shown(function)}. Pass the function f.")
    return Custom(function=function, reduction=reduction)


LOSSES: dict[str, type[Loss]] = {
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "huber": Huber,
    "binary_cross_entropy": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
}


ALSO = also(
    mse="l2 l2_loss mse_loss mean_squared_error",
    mae="l1 l1_loss mae_loss mean_absolute_error absolute_error",
    huber="huber_loss smooth_l1 smooth_l1_loss",
    binary_cross_entropy="bce bce_loss bce_with_logits bce_with_logits_loss binary_cross_entropy_with_logits "
    "binary_cross_entropy_loss sigmoid_cross_entropy",
    cross_entropy="ce cross_entropy_loss log_loss softmax_cross_entropy categorical_cross_entropy "
    "sparse_categorical_cross_entropy",
    absent="rmse root_mean_squared_error squared_error half_squared_error mape mean_absolute_percentage_error msle "
    "mean_squared_logarithmic_error log_cosh nll nll_loss kl_div kl_divergence hinge squared_hinge categorical_hinge "
    "focal focal_loss binary_focal_cross_entropy categorical_focal_cross_entropy dice ctc poisson poisson_nll "
    "gaussian_nll quantile pinball cosine cosine_similarity triplet contrastive",
)


def loss_named(loss: Any) -> Loss:
    """The loss of that name, or the one given."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    if callable(loss):
        raise TypeError(
            f"a loss must be a name or an nn.Loss, such as nn.losses.Huber(0.5); got {shown(loss)}. For a loss of your "
            f"own, pass nn.losses.custom(f), where f(outputs, target) returns the loss of each example."
        )
    return named(loss, LOSSES, "loss", ALSO)()


explain_classes(__name__)

if not TYPE_CHECKING:  # a type checker would accept every name
    __getattr__ = attribute_errors(
        __name__,
        (each.__name__ for each in LOSSES.values()),
        {other: LOSSES[entry].__name__ for other, entry in ALSO.items() if entry},
    )
