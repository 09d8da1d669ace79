"""Targets: their dtypes, labels, and the remedies where they do not fit the outputs."""

from __future__ import annotations

import math

from nnarray.backends import (
    device_of,
    dtype_name,
    is_traced,
    same_place,
)
from nnarray.checks import (
    refuse_overflow,
)
from nnarray.kernels.compilation import quiet
from nnarray.names import converted
from nnarray.typing import Array, DType, Shape

FLATTEN = (
    "The outputs have a row for each position of an example. For one row per example, put nn.Flatten() or "
    "nn.GlobalAvgPool() before the first Dense layer."
)


def fitting(target: Array, shape: Shape) -> str:
    """The remedy for a target that does not fit outputs of `shape`."""
    if (*target.shape, 1) == shape:
        return f"Pass {_column(target)}: nothing is broadcast silently."
    if target.shape == (*shape, 1):
        return f"Pass {_no_column(target)}: nothing is broadcast silently."
    if target.ndim == 0 or target.shape[0] != shape[0]:
        return "Pass one entry per example."
    if len(shape) > 2 and target.ndim <= 2:
        return FLATTEN
    if target.shape in (shape[:-1], (*shape[:-1], 1)) and is_whole(target):
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


def fitting_labels(target: Array, shape: Shape) -> str:
    """The remedy for labels or probabilities that do not fit outputs of `shape`; it may be another loss."""
    classes = shape[-1]
    if target.shape[:1] != shape[:1] or len(shape) > 2:
        return fitting(target, shape)
    regression = f"for regression, pass loss='mse'{'' if target.ndim > 1 else f' and {_column(target)}'}"
    if target.ndim != 1 and target.shape[-1] > 1:
        if target.shape[-1] != classes:
            return f"Give the last layer {_outputs(target)}; {regression}."
        return f"For several labels per example, pass loss='binary_cross_entropy'; {regression}."
    if classes > 1:
        regression = f"{regression}, and give the last layer 1 output"
    if not is_whole(target):
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


def is_whole(target: Array) -> bool:
    """Whether all entries are integers, in any dtype, so that they may be labels. Waits for the device."""
    xp = same_place(target=target)
    if not xp.isdtype(target.dtype, "real floating"):
        return True
    return not is_traced(target) and bool(xp.all(xp.floor(target) == target))


@quiet  # infinity has no whole number
def classes_in(target: Array) -> int:
    """How many classes there are from the lowest label to the highest; 0 if these are no labels. It reads values."""
    several = target.ndim == 0 or any(size != 1 for size in target.shape[1:])
    if several or 0 in target.shape or is_traced(target) or not is_whole(target):
        return 0
    xp = same_place(target=target)
    if not xp.isdtype(target.dtype, "real floating"):
        target = xp.astype(target, index_dtype(target), copy=False)
    span = float(xp.max(target)) - float(xp.min(target))
    return int(span) + 1 if math.isfinite(span) else 0


MANY = 20  # so many integers are more often numbers than classes


def index_dtype(labels: Array) -> DType:
    """The default integer dtype: PyTorch cannot compute the minimum of some unsigned integers."""
    return same_place(labels=labels).__array_namespace_info__().default_dtypes(device=device_of(labels))["integral"]


@quiet  # an overflow is reported by an error
def in_dtype(x: Array, dtype: DType, name: str = "target") -> Array:
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
    labels = xp.astype(labels, index_dtype(labels), copy=False)
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
