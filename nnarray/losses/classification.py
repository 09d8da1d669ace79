"""Losses of classes, and of several labels per example."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, fields
from typing import Any

from nnarray import kernels
from nnarray.backends import (
    device_of,
    dtype_name,
    is_traced,
    namespace,
    same_place,
)
from nnarray.checks import (
    in_range,
    integer,
    is_several,
    refuse_other_sums,
)
from nnarray.kernels.standard.numerics import at_least_float32, at_least_float32_dtype, within
from nnarray.losses.base import Loss
from nnarray.losses.targets import MANY, checked_labels, classes_in, fitting_labels, in_dtype, index_dtype, is_whole
from nnarray.names import shown
from nnarray.typing import Array, DType, Namespace, Shape


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
            labels = "For two classes, number them 0 and 1; for more, use cross_entropy. " if is_whole(target) else ""
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
                    f"{self._range(in_dtype(target, dtype))}, which look like numbers: pass loss='mse'{values}. If "
                    f"they are classes, use cross_entropy, and give the last layer an output for each, "
                    f"nn.Dense({classes}){labels}."
                )
            raise ValueError(
                f"{self._range(in_dtype(target, dtype))}. For two classes, number them 0 and 1; for more, use "
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
        the mean divides, nor in metrics. A batch without any other counts nothing; `fit` refuses targets without any.

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
                f"{tuple(target.shape)}. {fitting_labels(target, shape)}"
            )
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(f"class_weights has {len(self.class_weights)} entries for {classes} classes.")
        if target.shape == shape:
            return self._prepare_probabilities(xp, target, dtype)
        if target.shape != shape[:-1]:
            raise ValueError(
                f"CrossEntropy on outputs of shape {shape} needs labels of shape {shape[:-1]} "
                f"or probabilities of shape {shape}; got {tuple(target.shape)}. {fitting_labels(target, shape)}"
            )
        return self._prepare_labels(xp, target, classes, dtype)

    def _prepare_probabilities(self, xp: Namespace, target: Array, dtype: DType) -> tuple[Array, None]:
        target = in_dtype(target, dtype)
        if not is_traced(target) and not bool(xp.all(target >= 0)):
            raise ValueError(
                f"CrossEntropy needs probabilities that are not negative; got {float(xp.min(target)):g}. "
                f"{fitting_labels(target, target.shape)}"
            )
        sums = xp.sum(at_least_float32(target), axis=-1)
        refuse_other_sums(sums, "CrossEntropy", fitting_labels(target, target.shape))
        target = self._smoothed(target)
        if self.class_weights is None:
            return target, None
        target = at_least_float32(target)
        return target * self._weights(xp, target), None

    def _prepare_labels(self, xp: Namespace, labels: Array, classes: int, dtype: DType) -> tuple[Array, Array | None]:
        if not is_whole(labels):
            raise TypeError(
                f"CrossEntropy labels must be integers; got dtype {dtype_name(labels.dtype)}. "
                f"{fitting_labels(labels, (*labels.shape, classes))}"
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

    @property
    def leaves_out(self) -> bool:
        """Whether there is an `ignore_index`."""
        return self.ignore_index is not None

    def counted(self, target: Array) -> Array | None:
        """Which labels are not `ignore_index`; None if all count."""
        xp = same_place(target=target)
        if self.ignore_index is None or not xp.isdtype(target.dtype, "integral"):
            return None
        return xp.astype(target, index_dtype(target), copy=False) != self.ignore_index

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
